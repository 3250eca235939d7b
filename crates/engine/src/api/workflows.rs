//! Workflows as the API shows them: drafts, versions, and what came of a check or a test.
use super::{Page, PageRequest, RunStatus, StepDetail};
use crate::{EngineError, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// How a workflow's text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    Json,
    Yaml,
}

/// What a version is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStatus {
    /// Saved, starts nothing.
    Draft,
    /// Its trigger starts runs.
    Active,
    /// Was active once; runs that began with it finish on it.
    Archived,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowInfo {
    pub name: String,
    /// The version whose trigger starts runs.
    pub active_version: Option<u32>,
    /// The draft, when what was saved last is not what is active.
    pub draft_version: Option<u32>,
    /// `webhook`, `manual`, …, of the active version or else the draft.
    pub trigger: String,
    /// The webhook's path, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    pub updated_at: jiff::Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowDetail {
    #[serde(flatten)]
    pub info: WorkflowInfo,
    /// The version whose text this is.
    pub version: u32,
    pub status: VersionStatus,
    pub format: TextFormat,
    pub text: String,
    /// Newest first.
    pub versions: Vec<(u32, VersionStatus)>,
    /// What the check says of this text now.
    pub problems: Vec<Problem>,
}

/// A draft as saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftSaved {
    pub name: String,
    pub version: u32,
    /// False when the text was what is stored already.
    pub changed: bool,
    /// A draft is saved with problems; it is activated only without.
    pub problems: Vec<Problem>,
}

/// What starting a run by hand came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    pub run_id: String,
    pub status: RunStatus,
    /// The run's result, when it was waited for and has ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<super::FailureDetail>,
}

/// What a test of a workflow came to. Nothing of it is stored, and nothing left the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowTest {
    pub status: RunStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<super::FailureDetail>,
    pub steps: Vec<StepDetail>,
    /// E-mail that would have gone out.
    pub mails: Vec<crate::ports::MailMessage>,
    /// Requests that would have been sent.
    pub requests: Vec<crate::ports::HttpRequest>,
}

/// The workflows of one workspace.
#[derive(Clone)]
pub struct Workflows {}

impl Workflows {
    /// Saves a draft. A text that cannot be read at all is an error with every problem; one that can be read is
    /// saved, and the answer lists what the check says.
    pub async fn put_draft(
        &self,
        _name: &str,
        _text: &str,
        _format: TextFormat,
    ) -> Result<DraftSaved, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// What a save would say, without saving.
    pub async fn check(
        &self,
        _name: &str,
        _text: &str,
        _format: TextFormat,
    ) -> Result<Vec<Problem>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn list(&self, _page: PageRequest) -> Result<Page<WorkflowInfo>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// One version, or else the draft, or else the active one.
    pub async fn get(&self, _name: &str, _version: Option<u32>) -> Result<WorkflowDetail, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Makes the draft (or a version that was active before) the version whose trigger starts runs. Refused with
    /// every problem while the check has errors, or when another workflow listens on the same webhook.
    pub async fn activate(&self, _name: &str, _version: Option<u32>) -> Result<WorkflowInfo, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn deactivate(&self, _name: &str) -> Result<WorkflowInfo, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Starts a run of the active version by hand. A workflow with a webhook takes the input as the body.
    /// With `wait`, returns when the run has ended, or with the run as it is when the time is over.
    pub async fn run(
        &self,
        _name: &str,
        _input: Value,
        _wait: Option<Duration>,
    ) -> Result<RunStarted, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Runs a text (or what is stored under the name) once: nothing is stored and nothing leaves the process.
    pub async fn test(
        &self,
        _name: &str,
        _text: Option<(&str, TextFormat)>,
        _input: Value,
    ) -> Result<WorkflowTest, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// The compiled graph of a version, for drawing.
    pub async fn graph(&self, _name: &str, _version: Option<u32>) -> Result<Value, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}
