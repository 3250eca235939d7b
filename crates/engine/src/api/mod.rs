//! The engine as its users see it: one handle for all, one a workspace, and small ones for what a workspace holds.
mod actions;
mod connections;
mod feed;
mod hooks;
mod keys;
mod records;
mod runs;
mod schedules;
mod values;
mod views;
mod waits;
mod workflows;

pub use actions::{ActionDetail, ActionInfo, ActionPut, ActionTest, ActionTotals, Actions};
pub use connections::{ConnectionInfo, ConnectionSaved, Connections};
pub use feed::{FeedBody, FeedEvent, MailboxEntry};
pub use hooks::{
    Deliveries, Delivery, DeliveryDetail, DeliveryOutcome, DeliveryPage, HookAnswer, HookInfo, HookReply,
    HookRequest,
};
pub use keys::{Caller, KeyInfo, Keys, NewKey, Scope};
pub use records::{
    BulkAction, BulkEvents, BulkResult, BulkRow, BulkWrite, Objects, RecordPage, RecordQuery, RecordWritten,
    Records, SchemaApplied, SchemaChange, SchemaPlan, SetConflict,
};
pub use runs::{
    AttemptDetail, AttemptOutcome, EvalRequest, FailureDetail, GiveInput, InputForm, InputTaken, ItemCounts,
    ItemDetail, ItemFilter, ParentRun, Payload, PayloadExpired, ResumeAction, ResumeRun, RunDetail,
    RunFilter, RunStatus, RunSummary, RunUpdate, Runs, StepDetail, StepStatus,
};
pub(crate) use runs::{brief, run_failure, run_id, run_status};
pub use schedules::ScheduleInfo;
pub use values::{Put, SecretInfo, Secrets, SettingInfo, Settings};
pub use views::{ViewInfo, Views};
pub use waits::{Awaited, WaitsFor, Wakes, WakesFor};
pub use workflows::{
    DraftSaved, RunStarted, StateInfo, TextFormat, VersionStatus, WorkflowDetail, WorkflowInfo, WorkflowTest,
    Workflows,
};

use crate::core::{Core, Ctx};
use crate::{EngineConfig, EngineError, OpenError, Ports, hooks as webhooks, open};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
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
    pub(crate) core: Arc<Core>,
}

impl Engine {
    /// Opens the engine over what is stored: unfinished runs go on.
    pub async fn open(config: EngineConfig, ports: Ports) -> Result<Engine, OpenError> {
        Ok(Engine { core: open::open(config, ports).await? })
    }

    /// Whoever waits for a run's end, now or later, is told that it goes on: for a front that is about to close.
    pub fn stop_waiting(&self) {
        self.core.leaving.cancel();
    }

    /// Takes nothing new, lets bursts finish and their commits land. What is unfinished goes on at the next open.
    pub async fn close(&self) {
        open::close(&self.core).await;
    }

    /// A workspace by its name; `not_found` when there is none.
    pub async fn workspace(&self, name: &str) -> Result<Workspace, EngineError> {
        match self.core.workspace(name) {
            Some(ctx) => Ok(Workspace { ctx, key: None }),
            None => {
                Err(EngineError::not_found("unknown_workspace", format!("there is no workspace `{name}`")))
            }
        }
    }

    /// A workspace by its name, made if there is none.
    pub async fn create_workspace(&self, name: &str) -> Result<Workspace, EngineError> {
        let ctx = open::create_workspace(&self.core, name).await?;
        open::start_triggers(&ctx);
        Ok(Workspace { ctx, key: None })
    }

    /// The names of all workspaces.
    pub async fn workspaces(&self) -> Result<Vec<String>, EngineError> {
        Ok(self.core.all_workspaces().into_iter().map(|ctx| ctx.ws.name.clone()).collect())
    }

    /// API keys of all workspaces.
    pub fn keys(&self) -> Keys {
        Keys { core: self.core.clone() }
    }

    /// What the process has done and does now.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats.snapshot();
        for ctx in self.core.all_workspaces() {
            let (running, queued) = ctx.ws.schedule.counts();
            stats.runs_running += running as u64;
            stats.runs_queued += queued as u64;
            stats.calls_waiting += ctx.ws.gates.waiting() as u64;
        }
        stats.timers = self.core.timers.len() as u64;
        stats
    }

    /// Whether the store takes a write at the moment: it makes one, which changes nothing. What a readiness probe asks.
    pub async fn ready(&self) -> Result<(), EngineError> {
        self.healthy().await?;
        open::probe(&self.core).await
    }

    /// Whether the store answers at the moment; what a liveness probe asks.
    pub async fn healthy(&self) -> Result<(), EngineError> {
        self.core.healthy().await
    }

    /// Answers when the store was looked at so many times in a row, a second apart, and could not be read: whoever waits
    /// for what it had under way may wait long. A bulk write gives up after four such looks, and says what is written.
    pub async fn store_is_away(&self, looks: usize) {
        self.core.store_is_away(looks).await;
    }
}

/// One workspace. A clone is another handle on the same.
#[derive(Clone)]
pub struct Workspace {
    pub(crate) ctx: Ctx,
    /// The key on whose behalf records are written.
    key: Option<Arc<str>>,
}

impl Workspace {
    pub fn name(&self) -> &str {
        &self.ctx.ws.name
    }

    /// The same, for what the holder of an API key does: record events tell of it.
    pub fn called_by(mut self, caller: &Caller) -> Self {
        self.key = Some(caller.key_id.as_str().into());
        self
    }

    /// Takes a webhook. When this returns, its run is on disk.
    pub async fn hook(&self, request: HookRequest) -> Result<HookAnswer, EngineError> {
        webhooks::take(&self.ctx, request).await
    }

    /// Whether an active workflow listens for such a request and its sender may send it, as far as can be told
    /// before the body is there (a signature is over the body).
    pub fn hook_admits(&self, request: &HookRequest) -> Result<(), EngineError> {
        webhooks::admits(&self.ctx, request)
    }

    /// A webhook's request whose body could not be read is kept with the deliveries.
    pub fn hook_unread(&self, request: &HookRequest, why: &EngineError) {
        webhooks::unread(&self.ctx, request, why);
    }

    /// Signs a request, or gives it a key, as the webhook that it goes to asks of its sender: for tests of workflows.
    pub fn hook_signed(&self, mut request: HookRequest) -> Result<HookRequest, EngineError> {
        webhooks::sign(&self.ctx, &mut request)?;
        Ok(request)
    }

    /// What came in at webhooks.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries { ctx: self.ctx.clone() }
    }

    /// A webhook's path that resembles one that nothing listens on; not for strangers, who could guess paths by it.
    pub fn hook_near(&self, path: &str) -> Option<String> {
        self.ctx.ws.registry.hooks().near(path)
    }

    /// The webhooks that active workflows listen on.
    pub async fn hooks(&self) -> Result<Vec<HookInfo>, EngineError> {
        Ok(self.ctx.ws.registry.hooks().list())
    }

    pub fn actions(&self) -> Actions {
        Actions { ctx: self.ctx.clone() }
    }

    pub fn workflows(&self) -> Workflows {
        Workflows { ctx: self.ctx.clone() }
    }

    pub fn runs(&self) -> Runs {
        Runs { ctx: self.ctx.clone() }
    }

    pub fn records(&self) -> Records {
        Records { ctx: self.ctx.clone(), key: self.key.clone() }
    }

    pub fn objects(&self) -> Objects {
        Objects { ctx: self.ctx.clone() }
    }

    /// The schedules of active workflows, with their next times.
    pub async fn schedules(&self, page: PageRequest) -> Result<Page<ScheduleInfo>, EngineError> {
        crate::timetables::list(&self.ctx, page).await
    }

    /// Saved filters.
    pub fn views(&self) -> Views {
        Views { ctx: self.ctx.clone() }
    }

    /// Values that workflows read as `settings.NAME`.
    pub fn settings(&self) -> Settings {
        Settings { ctx: self.ctx.clone() }
    }

    /// Values that are sent as `secrets.NAME`, and shown nowhere.
    pub fn secrets(&self) -> Secrets {
        Secrets { ctx: self.ctx.clone() }
    }

    /// How requests reach other systems.
    pub fn connections(&self) -> Connections {
        Connections { ctx: self.ctx.clone() }
    }

    /// Caught e-mail, newest first.
    pub async fn mailbox(&self, page: PageRequest) -> Result<Page<MailboxEntry>, EngineError> {
        crate::feed::mailbox(&self.ctx, page).await
    }

    /// What happened, in commit order, for ever: what is stored after `from` (an event's id; all of it when
    /// absent, nothing of it for `now`), then what comes. A pruned position is the error `events_expired` (gone).
    pub async fn events(
        &self,
        from: Option<&str>,
    ) -> Result<BoxStream<'static, Result<FeedEvent, EngineError>>, EngineError> {
        crate::feed::events(&self.ctx, from).await
    }
}

impl PageRequest {
    /// How many are wanted.
    pub(crate) fn size(&self) -> usize {
        const DEFAULT: usize = 50;
        const MOST: usize = 500;
        self.limit.unwrap_or(DEFAULT).clamp(1, MOST)
    }
}

/// A page of what is in memory, sorted by name: the cursor has the list's name and the last name in it.
pub(crate) fn page_of_names<T>(
    list: &str,
    names: Vec<String>,
    page: &PageRequest,
    mut item: impl FnMut(&str) -> Option<T>,
) -> Result<Page<T>, EngineError> {
    let after =
        page.cursor.as_deref().map(|cursor| name_in(list, cursor).ok_or_else(|| invalid_cursor(cursor)));
    let after = after.transpose()?;
    let mut rest =
        names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after)).peekable();
    let mut items = Vec::new();
    let mut last = None;
    while items.len() < page.size() {
        let Some(name) = rest.next() else { break };
        items.extend(item(&name));
        last = Some(name);
    }
    let next_cursor = last.filter(|_| rest.peek().is_some());
    Ok(Page { items, next_cursor: next_cursor.map(|name| URL_SAFE_NO_PAD.encode(format!("{list}:{name}"))) })
}

/// The name that a cursor of a list stands for; it need not be there any more.
fn name_in(list: &str, cursor: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    Some(text.strip_prefix(list)?.strip_prefix(':')?.to_owned())
}

pub(crate) fn invalid_cursor(cursor: &str) -> EngineError {
    EngineError::invalid("invalid_cursor", format!("`{cursor}` is no cursor of this list; begin without one"))
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
    /// Times at which a run is to be woken; some runs have several, and some of them have ended since.
    pub timers: u64,
    pub steps: u64,
    pub code_calls: u64,
    pub code_failures: u64,
    pub fuel: u64,
    pub outside_calls: u64,
    pub outside_failures: u64,
    /// Requests that wait for their turn at a connection.
    pub calls_waiting: u64,
    pub bursts: u64,
    /// Bursts that ran again because somebody else's commit came first.
    pub burst_conflicts: u64,
    pub commits: u64,
    pub keys_written: u64,
    pub hooks_accepted: u64,
    pub hooks_refused: u64,
    /// Callers of webhooks who were not kept waiting for the result, since as many as may be were.
    pub hook_waits_refused: u64,
    /// Runs that schedules started.
    pub schedule_runs: u64,
    /// Runs that record events started.
    pub event_runs: u64,
    /// Record events that started no run because too many runs had started each other before.
    pub event_loops_stopped: u64,
}
