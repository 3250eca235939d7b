//! The steps that wait: for a time, for a person, for another run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Millis, OnError, Template, empty_object};

/// Waits; exactly one of the two is there. Output: `{until}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delay {
    /// So long from when the step starts: a duration, or a template that gives one.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<Template>,
    /// Up to a time: `2026-03-31T09:00:00Z`, or a template that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Template>,
}

impl Delay {
    /// Nobody waits longer in earnest.
    pub const LONGEST: Millis = Millis::seconds(366 * 24 * 3600);
}

/// Waits for a person, who gives it by a link or the API. Output: what they gave.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WaitForInput {
    /// Of what is given; without it everything is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Above the form that the link shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
    /// When nobody gave it in time; `on_error` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnError>,
}

impl WaitForInput {
    /// How long it waits that does not say.
    pub const DEFAULT_TIMEOUT: Millis = Millis::seconds(7 * 24 * 3600);
}

/// Starts a run of another workflow, as if by hand. Output: the run's result, or `{run_id}` when it is not waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunWorkflow {
    pub workflow: String,
    #[serde(default = "empty_object")]
    pub input: Value,
    #[serde(default = "RunWorkflow::waits")]
    pub wait: bool,
}

impl RunWorkflow {
    fn waits() -> bool {
        true
    }
}
