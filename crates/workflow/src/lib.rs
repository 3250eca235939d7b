//! Workflow definitions, their validation, expressions, and the pure run state machine.

pub mod document;
pub mod expr;
pub mod machine;
pub mod model;
pub mod problem;
