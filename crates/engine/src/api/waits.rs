//! What runs wait for: others, before they begin; a time, when they go on by themselves.
use super::FailureDetail;
use serde::{Deserialize, Serialize};
use stepwell_workflow::machine;

/// When what waits goes on by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wakes {
    pub at: jiff::Timestamp,
    pub what: WakesFor,
    /// By its path.
    pub step: String,
    /// Which attempt that is, when one run is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// And how many there are at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Why the attempt before has failed, in a run's line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WakesFor {
    /// The next attempt at a step that failed.
    Attempt,
    /// The step after a delay.
    Delay,
    /// The end of the patience with what has not come.
    Timeout,
}

impl From<machine::TimerKind> for WakesFor {
    fn from(kind: machine::TimerKind) -> Self {
        match kind {
            machine::TimerKind::Retry => Self::Attempt,
            machine::TimerKind::Delay => Self::Delay,
            machine::TimerKind::Timeout => Self::Timeout,
        }
    }
}

/// What keeps a queued run from beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    pub what: Awaited,
    /// Of `concurrency`: its key, where the workflow has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of `concurrency`: the oldest runs that are under way, when one run is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// One of the workspace's slots.
    #[default]
    Slot,
    /// The end of runs that it counts together with.
    Concurrency,
}
