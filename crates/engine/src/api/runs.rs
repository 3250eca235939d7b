//! Runs as the API shows them: a line of a list, and the whole history of one.
use super::{Page, PageRequest};
use crate::EngineError;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use stepwell_sandbox::{LogLine, Usage};
use stepwell_workflow::machine;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// On disk, waiting for one of the workspace's slots.
    Queued,
    Running,
    /// For an answer, a timer or an input.
    Waiting,
    /// For a person to mend and resume it.
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl RunStatus {
    pub fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Queued,
    Running,
    Waiting,
    Paused,
    Completed,
    Failed,
    Cancelled,
    Skipped,
}

/// Why a step or a run failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureDetail {
    /// One of the documented codes, or the action's own.
    pub code: String,
    pub message: String,
    /// `action`, `sandbox` or `engine`.
    pub source: String,
    /// The step that failed, by its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    pub retryable: bool,
}

/// A line of a list: it loads no payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub id: String,
    pub workflow: String,
    pub version: u32,
    pub status: RunStatus,
    /// `webhook`, `manual`, …
    pub trigger: String,
    pub created_at: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<jiff::Timestamp>,
    /// Step attempts ended so far.
    pub steps_done: u32,
    /// Fuel of all code steps so far.
    pub fuel: u64,
    /// The most memory that one of its code steps held.
    pub peak_memory_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
}

/// Everything kept of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    #[serde(flatten)]
    pub summary: RunSummary,
    /// What started it: the value that templates see as `trigger`.
    pub input: Payload,
    /// Action references and the versions they were resolved to when the run began.
    pub actions: std::collections::BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    pub steps: Vec<StepDetail>,
}

/// One step of a run (or of an item of it).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDetail {
    pub id: String,
    /// Where it stands: the id, with those of the lists around it and their items' numbers.
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub status: StepStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The action version it ran, for code steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    pub attempts: Vec<AttemptDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<jiff::Timestamp>,
}

/// One attempt at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptDetail {
    /// From 1.
    pub number: u32,
    /// `completed`, `failed` or, for a call in flight at a crash or a cancel, `interrupted`.
    pub outcome: AttemptOutcome,
    /// The idempotency key that went out, for calls to the outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was sent, as it was stored before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
    pub started_at: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Running,
    Completed,
    Failed,
    /// Outcome unknown: the process or the run ended while the call was out.
    Interrupted,
}

/// A value of a run's history, or why it is no longer there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// Pruned by retention; the shape is `{"error": "payload_expired"}`.
    Expired {
        error: PayloadExpired,
    },
    Value(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadExpired {
    PayloadExpired,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub workflow: Option<String>,
    pub status: Option<RunStatus>,
}

/// The machine's word for where a run stands.
pub(crate) fn run_status(status: machine::RunStatus) -> RunStatus {
    match status {
        machine::RunStatus::Queued => RunStatus::Queued,
        machine::RunStatus::Running => RunStatus::Running,
        machine::RunStatus::Waiting => RunStatus::Waiting,
        machine::RunStatus::Paused => RunStatus::Paused,
        machine::RunStatus::Completed => RunStatus::Completed,
        machine::RunStatus::Failed => RunStatus::Failed,
        machine::RunStatus::Cancelled => RunStatus::Cancelled,
    }
}

/// Why a run failed, with the step.
pub(crate) fn run_failure(failure: &machine::RunFailure) -> FailureDetail {
    let step = failure.step.as_ref().map(|path| path.as_str().to_owned());
    FailureDetail { step, ..FailureDetail::from(&failure.failure) }
}

/// The same, short enough for a line of a list.
pub(crate) fn brief_failure(failure: &machine::RunFailure) -> FailureDetail {
    const LIMIT: usize = 300;
    let mut detail = FailureDetail { details: None, ..run_failure(failure) };
    if detail.message.len() > LIMIT {
        let mut end = LIMIT;
        while !detail.message.is_char_boundary(end) {
            end -= 1;
        }
        detail.message.truncate(end);
        detail.message.push('…');
    }
    detail
}

impl From<&machine::Failure> for FailureDetail {
    fn from(failure: &machine::Failure) -> Self {
        FailureDetail {
            code: failure.code.clone(),
            message: failure.message.clone(),
            source: match failure.source {
                machine::Source::Action => "action",
                machine::Source::Sandbox => "sandbox",
                machine::Source::Engine => "engine",
            }
            .to_owned(),
            step: None,
            limit: failure.limit,
            used: failure.used,
            details: failure.details.clone(),
            retryable: failure.retryable,
        }
    }
}

/// A run as it moves on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunUpdate {
    pub run: RunSummary,
    /// Steps that ended since the update before.
    pub steps: Vec<StepDetail>,
}

/// The runs of one workspace.
#[derive(Clone)]
pub struct Runs {}

impl Runs {
    /// Newest first.
    pub async fn list(
        &self,
        _filter: RunFilter,
        _page: PageRequest,
    ) -> Result<Page<RunSummary>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn get(&self, _id: &str) -> Result<RunDetail, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Asks a run to stop; returns when that is on disk. A run that has ended is a conflict.
    pub async fn cancel(&self, _id: &str) -> Result<RunSummary, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Lets a failed run go on from the step that failed. With `newest`, on the active version of the workflow
    /// and the newest fitting versions of its actions.
    pub async fn retry(&self, _id: &str, _newest: bool) -> Result<RunSummary, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Returns when the run has ended, or with the run as it is when the time is over.
    pub async fn wait(&self, _id: &str, _timeout: Duration) -> Result<RunDetail, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// The run now, and every time it moves on; ends when the run has ended.
    pub async fn watch(
        &self,
        _id: &str,
    ) -> Result<BoxStream<'static, Result<RunUpdate, EngineError>>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}
