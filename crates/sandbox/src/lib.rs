//! The code-action host: compiles strangers' WebAssembly, runs it under limits and meters it.

pub mod admit;
mod call;
mod clock;
pub mod config;
mod error;
mod failure;
mod guests;
mod host;
mod json;
mod limiter;
mod limits;
mod log;
mod rng;
mod sinks;
mod state;
mod stubs;
mod ticker;
mod usage;
mod wasi_p1;
mod wasi_p2;

pub use admit::{Admitted, CompileLimits, CompileStrategy, GuestKind, Metadata, Refusal};
pub use error::{CallError, ErrorSource, code};
pub use host::{Action, ActionInfo, Call, Host, HostConfig, HostError, LoadError, Outcome};
pub use json::canonical_json;
pub use limits::{Limits, LimitsPatch, parse_bytes};
pub use usage::{LogLevel, LogLine, Usage};
