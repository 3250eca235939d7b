//! Runs: journal, scheduler, triggers and step executors over store, records, sandbox and workflow.
//!
//! [`Engine::open`] takes an [`EngineConfig`] and [`Ports`]; everything else hangs off the [`Workspace`] handle.
mod api;
mod config;
mod error;
pub mod outside;
pub mod ports;

pub use api::*;
pub use config::{BurstLimits, EngineConfig, Retention};
pub use error::{EngineError, ErrorKind, OpenError, Problem};
pub use ports::Ports;
