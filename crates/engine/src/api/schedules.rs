//! Schedules as the API shows them.
use serde::{Deserialize, Serialize};
use stepwell_workflow::model::{Millis, Missed, Overlap};

/// A schedule of an active workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleInfo {
    pub workflow: String,
    pub version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Millis>,
    pub time_zone: String,
    pub missed: Missed,
    pub overlap: Overlap,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Millis>,
    /// The next times, without their jitter; a time that waits for the run before it is the first.
    pub next: Vec<jiff::Timestamp>,
    /// The last time that started a run.
    pub last_scheduled_at: Option<jiff::Timestamp>,
    pub last_run_id: Option<String>,
    /// How many times have started no run, because they were missed or the run before went on.
    pub skipped: u64,
}
