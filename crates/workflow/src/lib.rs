//! Workflow definitions, their validation, expressions, and the pure run state machine.

pub mod model;
