//! Workflow definitions, their validation, expressions, and the pure run state machine.

pub mod expr;
pub mod machine;
pub mod model;
