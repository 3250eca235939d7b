//! What can go wrong in a call, in one shape: `{source, code, message, limit?, used?, details?}`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Who is responsible for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorSource {
    /// The guest's own code said so, or broke.
    Action,
    /// A rule of the sandbox was hit: a limit, a trap, an output that is not JSON.
    Sandbox,
    /// The host could not run the call at all; nothing is known about the action.
    Engine,
}

/// Every code that the sandbox itself gives out. A guest's `failure` brings codes of its own.
pub mod code {
    /// The call used up its fuel. Deterministic.
    pub const FUEL_EXHAUSTED: &str = "fuel_exhausted";
    /// Starting the module used up the fuel that every module has for that. Deterministic.
    pub const START_FUEL_EXHAUSTED: &str = "start_fuel_exhausted";
    /// The guest ended itself while it was starting, before anything was asked of it. Deterministic.
    pub const START_EXIT: &str = "start_exit";
    /// Memories and tables together would have outgrown the limit, and the guest broke on that.
    pub const MEMORY_LIMIT: &str = "memory_limit";
    /// The guest slept past its budget of virtual time. Deterministic.
    pub const SLEEP_LIMIT: &str = "sleep_limit";
    /// The output is larger than the limit. Deterministic.
    pub const OUTPUT_TOO_LARGE: &str = "output_too_large";
    /// The guest passed a host function more than it takes. Deterministic.
    pub const ARGUMENT_TOO_LARGE: &str = "argument_too_large";
    /// The guest held more handles (of streams, timers and the like) at once than it may. Deterministic.
    pub const HANDLE_LIMIT: &str = "handle_limit";
    /// The input is larger than the limit: the guest was never started.
    pub const INPUT_TOO_LARGE: &str = "input_too_large";
    /// The input is not one JSON value that the sandbox takes, or does not fit the action.
    pub const INVALID_INPUT: &str = "invalid_input";
    /// The output is not UTF-8, or not exactly one JSON value by the rules. Deterministic.
    pub const INVALID_OUTPUT: &str = "invalid_output";
    /// WebAssembly trapped: unreachable code, an access out of bounds, stack overflow, …
    pub const TRAP: &str = "trap";
    /// The guest panicked and told where.
    pub const PANIC: &str = "panic";
    /// The wall-clock limit passed. A backstop, and the one code that may be retried.
    pub const DEADLINE: &str = "deadline";
    /// A command ended with a status other than 0.
    pub const EXIT: &str = "exit";
    /// The guest failed with something else than a code where its own code should be. SDKs give it to errors that
    /// have none.
    pub const GUEST_ERROR: &str = "guest_error";
    /// The host is shutting down or out of resources.
    pub const UNAVAILABLE: &str = "unavailable";
    /// A fault of the host.
    pub const INTERNAL: &str = "internal";
}

/// A call that gave no output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallError {
    /// Who is responsible.
    pub source: ErrorSource,
    /// One of [`code`], or the guest's own for [`ErrorSource::Action`].
    pub code: String,
    /// What is wrong, where, and what would be right.
    pub message: String,
    /// The limit that was hit, in the unit of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How much was used or asked for when it was hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// More, as JSON: the guest's own details, a trap's backtrace, a command's last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// Whether another attempt with the same input may end otherwise.
    #[serde(default)]
    pub retryable: bool,
    /// The least time before that attempt, if the guest asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl CallError {
    /// An error without limit, details or retry.
    pub fn new(source: ErrorSource, code: &str, message: impl Into<String>) -> Self {
        Self {
            source,
            code: code.to_owned(),
            message: message.into(),
            limit: None,
            used: None,
            details: None,
            retryable: false,
            retry_after_ms: None,
        }
    }

    pub(crate) fn sandbox(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorSource::Sandbox, code, message)
    }

    pub(crate) fn limit(mut self, limit: u64, used: impl Into<Option<u64>>) -> Self {
        self.limit = Some(limit);
        self.used = used.into();
        self
    }

    pub(crate) fn details(mut self, details: impl Into<Option<serde_json::Value>>) -> Self {
        self.details = details.into();
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for CallError {}
