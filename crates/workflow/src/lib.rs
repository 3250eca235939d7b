//! Workflow definitions, their validation, expressions, and the pure run state machine.

pub mod check;
pub mod connection;
pub mod depth;
pub mod distinct;
pub mod document;
pub mod expr;
pub mod graph;
pub mod graph_draw;
pub mod json_schema;
pub mod machine;
pub mod model;
pub mod problem;
pub mod schema;
pub mod schema_cost;
pub mod schema_file;
pub mod sieve;
pub mod timetable;
