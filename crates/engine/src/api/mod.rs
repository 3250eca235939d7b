//! The engine as its users see it: one handle for all, one a workspace, and small ones for what a workspace holds.
mod actions;
mod feed;
mod hooks;
mod keys;
mod records;
mod runs;
mod workflows;

pub use actions::{ActionDetail, ActionInfo, ActionPut, ActionTest, ActionTotals, Actions};
pub use feed::{FeedBody, FeedEvent, MailboxEntry};
pub use hooks::{HookAnswer, HookInfo, HookReply, HookRequest};
pub use keys::{Caller, KeyInfo, Keys, NewKey, Scope};
pub use records::{Objects, RecordPage, RecordQuery, RecordWritten, Records};
pub use runs::{
    AttemptDetail, AttemptOutcome, FailureDetail, Payload, PayloadExpired, RunDetail, RunFilter, RunStatus,
    RunSummary, RunUpdate, Runs, StepDetail, StepStatus,
};
pub(crate) use runs::{brief_failure, run_failure, run_status};
pub use workflows::{
    DraftSaved, RunStarted, TextFormat, VersionStatus, WorkflowDetail, WorkflowInfo, WorkflowTest, Workflows,
};

use crate::{EngineConfig, EngineError, OpenError, Ports};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The workspace that always exists.
pub const DEFAULT_WORKSPACE: &str = "default";

/// One page of a list; `next_cursor` brings the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// 50 when absent, at most 500.
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

/// Runs workflows. A clone is another handle on the same engine.
#[derive(Clone)]
pub struct Engine {
    _core: Arc<()>,
}

impl Engine {
    /// Opens the engine over what is stored: unfinished runs go on.
    pub async fn open(_config: EngineConfig, _ports: Ports) -> Result<Engine, OpenError> {
        Err(OpenError::Start(EngineError::unavailable("the engine is not there yet")))
    }

    /// Takes nothing new, lets bursts finish and their commits land. What is unfinished goes on at the next open.
    pub async fn close(&self) {}

    /// A workspace by its name; `not_found` when there is none.
    pub async fn workspace(&self, _name: &str) -> Result<Workspace, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// A workspace by its name, made if there is none.
    pub async fn create_workspace(&self, _name: &str) -> Result<Workspace, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// The names of all workspaces.
    pub async fn workspaces(&self) -> Result<Vec<String>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// API keys of all workspaces.
    pub fn keys(&self) -> Keys {
        Keys {}
    }

    /// What the process has done and does now.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Whether the store takes writes at the moment; what a liveness probe asks.
    pub async fn healthy(&self) -> Result<(), EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}

/// One workspace. A clone is another handle on the same.
#[derive(Clone)]
pub struct Workspace {
    _core: Arc<()>,
}

impl Workspace {
    pub fn name(&self) -> &str {
        DEFAULT_WORKSPACE
    }

    /// Takes a webhook. When this returns, its run is on disk.
    pub async fn hook(&self, _request: HookRequest) -> Result<HookAnswer, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// The webhooks that active workflows listen on.
    pub async fn hooks(&self) -> Result<Vec<HookInfo>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub fn actions(&self) -> Actions {
        Actions {}
    }

    pub fn workflows(&self) -> Workflows {
        Workflows {}
    }

    pub fn runs(&self) -> Runs {
        Runs {}
    }

    pub fn records(&self) -> Records {
        Records {}
    }

    pub fn objects(&self) -> Objects {
        Objects {}
    }

    /// Caught e-mail, newest first.
    pub async fn mailbox(&self, _page: PageRequest) -> Result<Page<MailboxEntry>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// What happened, in commit order, for ever: what is stored after `from` (an event's id; all of it when
    /// absent), then what comes. A pruned position is the error `events_expired` (gone).
    pub async fn events(
        &self,
        _from: Option<&str>,
    ) -> Result<BoxStream<'static, Result<FeedEvent, EngineError>>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}

/// Counters since the process started, and what goes on now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub runs_started: u64,
    pub runs_completed: u64,
    pub runs_failed: u64,
    pub runs_cancelled: u64,
    pub runs_running: u64,
    pub runs_queued: u64,
    pub runs_waiting: u64,
    pub steps: u64,
    pub code_calls: u64,
    pub code_failures: u64,
    pub fuel: u64,
    pub outside_calls: u64,
    pub outside_failures: u64,
    pub bursts: u64,
    /// Bursts that ran again because somebody else's commit came first.
    pub burst_conflicts: u64,
    pub commits: u64,
    pub keys_written: u64,
    pub hooks_accepted: u64,
    pub hooks_refused: u64,
}
