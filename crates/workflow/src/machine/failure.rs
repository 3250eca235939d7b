//! Why a step or a run failed, in the one form it has everywhere.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who says that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The user's code gave an error of its own.
    Action,
    /// The sandbox ended the user's code.
    Sandbox,
    /// Everything else: records, HTTP, mail, templates, time-outs.
    Engine,
}

/// A failure, as stored, shown, and seen by templates as `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub source: Source,
    /// From one documented list, or the action's own.
    pub code: String,
    pub message: String,
    /// Whether the same attempt could end otherwise another time.
    #[serde(default)]
    pub retryable: bool,
    /// The other side asked to be left alone for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// Codes that the machine itself gives, and those that it treats apart.
pub mod code {
    /// A template could not be rendered.
    pub const TEMPLATE: &str = "template_error";
    /// A template would take too many steps or bytes, or give a value that is too deep.
    pub const TEMPLATE_LIMIT: &str = "template_limit";
    /// A condition could not be decided.
    pub const CONDITION: &str = "condition_error";
    /// A rendered value is not what the step takes there.
    pub const INVALID_STEP: &str = "invalid_step_input";
    /// A `stop` step with `status: failed`.
    pub const STOPPED: &str = "stopped";
    /// A call was in flight when the run was cancelled: what became of it is not known.
    pub const INTERRUPTED: &str = "interrupted";
    /// The attempt took longer than the step's `timeout` (given by the engine).
    pub const TIMEOUT: &str = "timeout";
    /// The one failure of the sandbox that says nothing about the code: the wall clock, a backstop.
    pub const DEADLINE: &str = "deadline";
}

impl Failure {
    /// A failure of the engine that no other attempt would mend.
    pub fn engine(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure {
            source: Source::Engine,
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after_ms: None,
            limit: None,
            used: None,
            details: None,
        }
    }

    /// The same, but another attempt may go better.
    pub fn retryable(self) -> Failure {
        Failure { retryable: true, ..self }
    }

    /// Whether the same input must give the same failure again: then no attempt is made by itself.
    pub fn is_deterministic(&self) -> bool {
        match self.source {
            Source::Action => !self.retryable,
            Source::Sandbox => self.code != code::DEADLINE,
            Source::Engine => {
                matches!(
                    self.code.as_str(),
                    code::TEMPLATE
                        | code::TEMPLATE_LIMIT
                        | code::CONDITION
                        | code::INVALID_STEP
                        | code::STOPPED
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(source: Source, code: &str, retryable: bool) -> Failure {
        Failure { source, retryable, ..Failure::engine(code, "") }
    }

    #[test]
    fn what_is_deterministic_is_never_retried_by_itself() {
        assert!(failure(Source::Sandbox, "fuel_exhausted", true).is_deterministic());
        assert!(failure(Source::Sandbox, "trap", false).is_deterministic());
        assert!(!failure(Source::Sandbox, "deadline", true).is_deterministic());
        assert!(failure(Source::Action, "bad_phone", false).is_deterministic());
        assert!(!failure(Source::Action, "busy", true).is_deterministic());
        assert!(!failure(Source::Engine, "http_status", false).is_deterministic());
        assert!(failure(Source::Engine, "template_error", true).is_deterministic());
    }
}
