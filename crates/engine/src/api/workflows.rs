//! Workflows as the API shows them: drafts, versions, and what came of a check or a test.
use super::{Page, PageRequest, Put, RunStatus, StepDetail, page_of_names};
use crate::core::Ctx;
use crate::registry::{activation, workflows};
use crate::{EngineError, Problem, dry, start, state};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
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
    /// Items of iterators that were left out, and count as skipped: a test runs the first hundred of each iterator,
    /// and a thousand altogether.
    #[serde(default, skip_serializing_if = "crate::tables::is_zero")]
    pub items_left_out: u64,
}

/// A value that a workflow keeps between its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateInfo {
    /// What templates read it by: `state.NAME`.
    pub name: String,
    pub value: Value,
    pub updated_at: jiff::Timestamp,
    /// The run that wrote it; none where somebody did by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// The workflows of one workspace.
#[derive(Clone)]
pub struct Workflows {
    pub(crate) ctx: Ctx,
}

impl Workflows {
    /// Saves a draft. A text that cannot be read at all is an error with every problem; one that can be read is
    /// saved, and the answer lists what the check says.
    pub async fn put_draft(
        &self,
        name: &str,
        text: &str,
        format: TextFormat,
    ) -> Result<DraftSaved, EngineError> {
        self.ctx.check_open()?;
        workflows::put_draft(&self.ctx, name, text, format).await
    }

    /// What a save would say, without saving.
    pub async fn check(
        &self,
        name: &str,
        text: &str,
        _format: TextFormat,
    ) -> Result<Vec<Problem>, EngineError> {
        workflows::check_text(&self.ctx, name, text).await
    }

    pub async fn list(&self, page: PageRequest) -> Result<Page<WorkflowInfo>, EngineError> {
        let names = self.ctx.ws.registry.workflow_names();
        let Page { items, next_cursor } =
            page_of_names("workflows", names, &page, |name| Some(name.to_owned()))?;
        let mut infos = Vec::with_capacity(items.len());
        for name in items {
            infos.push(workflows::info(&self.ctx, &name).await?);
        }
        Ok(Page { items: infos, next_cursor })
    }

    /// One version, or else the draft, or else the active one.
    pub async fn get(&self, name: &str, version: Option<u32>) -> Result<WorkflowDetail, EngineError> {
        workflows::detail(&self.ctx, name, version).await
    }

    /// Makes the draft (or else what was active last, or the version given) the version whose trigger starts runs. Refused with
    /// every problem while the check has errors, or when another workflow listens on the same webhook.
    pub async fn activate(&self, name: &str, version: Option<u32>) -> Result<WorkflowInfo, EngineError> {
        self.ctx.check_open()?;
        activation::activate(&self.ctx, name, version).await
    }

    pub async fn deactivate(&self, name: &str) -> Result<WorkflowInfo, EngineError> {
        self.ctx.check_open()?;
        activation::deactivate(&self.ctx, name).await
    }

    /// Takes a workflow away that is not active. Its runs stay, and those under way go on.
    pub async fn delete(&self, name: &str) -> Result<WorkflowInfo, EngineError> {
        self.ctx.check_open()?;
        workflows::delete(&self.ctx, name).await
    }

    /// Starts a run of the active version by hand. A workflow with a webhook takes the input as the body.
    /// With `wait`, returns when the run has ended or goes on only once a person does something, or with the run as it
    /// is when the time is over.
    pub async fn run(
        &self,
        name: &str,
        input: Value,
        wait: Option<Duration>,
    ) -> Result<RunStarted, EngineError> {
        start::by_hand(&self.ctx, name, input, wait).await
    }

    /// Runs a text (or what is stored under the name) once: nothing is stored and nothing leaves the process.
    /// A request that would go out is answered with an empty 200.
    pub async fn test(
        &self,
        name: &str,
        text: Option<(&str, TextFormat)>,
        input: Value,
    ) -> Result<WorkflowTest, EngineError> {
        self.ctx.check_open()?;
        dry::run(&self.ctx, name, text.map(|(text, _)| text), input).await
    }

    /// What the workflow keeps between its runs.
    pub async fn state(&self, name: &str, page: PageRequest) -> Result<Page<StateInfo>, EngineError> {
        let mut kept = BTreeMap::new();
        for one in state::list(&self.ctx, name).await? {
            kept.insert(one.name.clone(), one);
        }
        page_of_names("state", kept.keys().cloned().collect(), &page, |name| kept.get(name).cloned())
    }

    pub async fn state_value(&self, name: &str, key: &str) -> Result<StateInfo, EngineError> {
        state::get(&self.ctx, name, key).await
    }

    /// Gives a kept value by hand: runs read it from their next commit on.
    pub async fn set_state(
        &self,
        name: &str,
        key: &str,
        value: Value,
    ) -> Result<Put<StateInfo>, EngineError> {
        self.ctx.check_open()?;
        let (info, created) = state::put(&self.ctx, name, key, value).await?;
        Ok(Put { info, created })
    }

    pub async fn delete_state(&self, name: &str, key: &str) -> Result<StateInfo, EngineError> {
        self.ctx.check_open()?;
        state::delete(&self.ctx, name, key).await
    }

    /// The compiled graph of a version, for drawing.
    pub async fn graph(&self, name: &str, version: Option<u32>) -> Result<Value, EngineError> {
        workflows::graph(&self.ctx, name, version).await
    }
}
