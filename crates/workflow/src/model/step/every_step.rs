//! What becomes of a failure, in steps of every kind: `retry` and `on_error`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Millis, Step};

/// When and how often a failed attempt is made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// All attempts, the first one included.
    #[serde(default = "Retry::default_attempts")]
    pub attempts: u32,
    #[serde(default)]
    pub backoff: Backoff,
    /// No attempt starts later than this after the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Millis>,
    /// A filter over the error (`code`, `source`, `status`, …); without it, what can be retried is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Value>,
}

impl Retry {
    pub const DEFAULT_ATTEMPTS: u32 = 3;

    fn default_attempts() -> u32 {
        Self::DEFAULT_ATTEMPTS
    }
}

/// The wait before attempt n + 1: `initial × factor^(n-1)`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    pub initial: Millis,
    pub factor: f64,
    pub max: Millis,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { initial: Millis::seconds(1), factor: 2.0, max: Millis::seconds(300) }
    }
}

/// What happens when a step has failed for good.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on; the step reads like a skipped one.
    Continue,
    /// The run waits for a person, who says how the step goes on.
    Pause,
    /// These steps run, seeing `error`; their last output is the step's, and the run goes on.
    #[serde(untagged)]
    Do {
        #[serde(rename = "do")]
        steps: Vec<Step>,
    },
}

impl OnError {
    pub(super) fn is_fail(&self) -> bool {
        *self == OnError::Fail
    }
}
