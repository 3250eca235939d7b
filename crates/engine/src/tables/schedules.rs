//! Schedules of active workflows: `schedules / workflow`, the time that comes next and the run of the last one.
use crate::id::RunId;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};

pub(crate) fn key(workspace: WorkspaceId, workflow: &str) -> Key {
    KeyBuilder::new(Space::Schedules, workspace).str(workflow).build()
}

pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Schedules, workspace).prefix()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduleRow {
    /// The timetable that this is about; empty while the workflow is out of service.
    #[serde(rename = "s")]
    pub times: String,
    /// Where equal distances are counted from: when the timetable came into force.
    #[serde(rename = "a")]
    pub anchor_ms: i64,
    /// The next time; none when there is no further one.
    #[serde(rename = "n")]
    pub next_ms: Option<i64>,
    /// The last time that started a run, and the run.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<i64>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunId>,
    /// A time that came and waits for the run before it; kept here where it could else not be told from a missed one.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub waiting_ms: Option<i64>,
    /// How many times started no run.
    #[serde(rename = "k", default)]
    pub skipped: u64,
}

impl ScheduleRow {
    /// When there is something to start: what waits already is asked for at once.
    pub fn starts_ms(&self, due: impl Fn(i64) -> i64) -> Option<i64> {
        self.waiting_ms.or(self.next_ms.map(due))
    }
}
