//! The code-action host: compiles strangers' WebAssembly, runs it under limits and meters it.

pub mod admit;
pub mod config;
mod error;
mod host;
mod limits;
mod usage;

pub use admit::{Admitted, CompileLimits, CompileStrategy, GuestKind, Metadata, Refusal};
pub use error::{CallError, ErrorSource, code};
pub use host::{Action, ActionInfo, Call, Host, HostConfig, HostError, LoadError, Outcome};
pub use limits::{Limits, LimitsPatch, parse_bytes};
pub use usage::{LogLevel, LogLine, Usage};

/// The text of a JSON value in its one canonical form: no spaces, keys sorted. What is stored,
/// hashed and given to actions is this text.
pub fn canonical_json(value: &serde_json::Value) -> String {
    value.to_string()
}
