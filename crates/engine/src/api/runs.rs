//! Runs as the API shows them: a line of a list, and the whole history of one.
use super::{Page, PageRequest, WaitsFor, Wakes, invalid_cursor};
use crate::core::Ctx;
use crate::id::RunId;
use crate::tables::{decode, runs as tables};
use crate::waiters::Listener;
use crate::{EngineError, history, inputs, items, load, requests, resume, start};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;
use stepwell_sandbox::{LogLine, Usage};
use stepwell_store::Want;
use stepwell_workflow::machine;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// On disk, and not begun: it waits for one of the workspace's slots, or for runs of its `concurrency` key.
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
    /// What started it: `webhook`, `schedule`, `record_event`, or `manual` when somebody did, or a run.
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
    /// What keeps a queued run from beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// When a waiting run goes on by itself, and with what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes: Option<Wakes>,
    /// The run whose step started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRun>,
}

/// Where a run comes from that another one started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentRun {
    pub run_id: String,
    /// By its path.
    pub step: String,
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

/// A run that is in the middle of an iterator may move on a hundred times a second, and is long to read.
const WATCH_PAUSE: Duration = Duration::from_millis(200);

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
    /// What a code step's outcome depends on besides module, input, seed and start: under another it need not be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semantics: Option<String>,
    pub attempts: Vec<AttemptDetail>,
    /// When it goes on by itself, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes: Option<Wakes>,
    /// How far an iterator is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemCounts>,
    /// The run that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<jiff::Timestamp>,
}

/// How far an iterator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemCounts {
    /// All items, as far as they are listed; a batch is one.
    pub count: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Under way.
    pub open: u64,
}

impl From<&machine::Items> for ItemCounts {
    fn from(items: &machine::Items) -> Self {
        Self {
            count: items.count.max(items.next),
            succeeded: items.succeeded,
            failed: items.failed + items.broken.len() as u64,
            skipped: items.skipped,
            open: items.open.len() as u64,
        }
    }
}

/// An item of an iterator that is over. One that was retried with its run comes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemDetail {
    /// The iterator, by its path: `loop`, or `loop[3].inner`.
    pub step: String,
    /// From 0.
    pub index: u64,
    /// `completed`, `failed` or `skipped`; `cancelled` for one that was under way when the run ended.
    pub status: StepStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
    /// What its steps called.
    pub steps: Vec<StepDetail>,
}

/// An expression to be tried.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalRequest {
    /// Bare, or a text with `{{ … }}` in it.
    pub expression: String,
    /// Over what this run knew.
    #[serde(default)]
    pub run: Option<String>,
    /// And an item of it that is over: `rows[3]`.
    #[serde(default)]
    pub item: Option<String>,
    /// Values by name, beside those or instead of them.
    #[serde(default)]
    pub data: serde_json::Map<String, serde_json::Value>,
}

/// Which items a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemFilter {
    /// An iterator's path.
    pub step: Option<String>,
    pub index: Option<u64>,
    pub status: Option<StepStatus>,
}

/// One attempt at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptDetail {
    /// From 1, through every retry of the run.
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

/// How a paused step goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum ResumeAction {
    /// From what failed.
    Retry,
    /// As if it had been skipped.
    Skip,
    /// As if it had given this.
    Output(Value),
}

/// What a person wants a paused run to do.
#[derive(Debug, Clone, PartialEq)]
pub struct ResumeRun {
    pub action: ResumeAction,
    /// By its path; needed only when several steps wait.
    pub step: Option<String>,
    /// Other versions of actions from here on, by name: `1.2.1`, or `latest`.
    pub actions: std::collections::BTreeMap<String, String>,
    /// From here on by the active version of the workflow, and the newest fitting versions of its actions.
    pub newest: bool,
}

/// What somebody gives to a run that waits for it.
#[derive(Debug, Clone, PartialEq)]
pub struct GiveInput {
    /// By its path; needed only when several steps wait.
    pub step: Option<String>,
    pub data: Value,
}

/// What a link asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputForm {
    pub run_id: String,
    pub step: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// JSON Schema of what is to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// How long it can be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

/// What was given by a link has been taken. Its holder is told no more of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTaken {
    pub run_id: String,
    pub step: String,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
pub(crate) fn brief(failure: FailureDetail) -> FailureDetail {
    const LIMIT: usize = 300;
    let mut detail = FailureDetail { details: None, ..failure };
    crate::steps::cut(&mut detail.message, LIMIT);
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
pub struct Runs {
    pub(crate) ctx: Ctx,
}

/// Lines of a list that one request looks at; a page of a rare filter may be short and have a cursor all the same.
const LOOKED_AT: usize = 5_000;

impl Runs {
    /// Newest first.
    pub async fn list(&self, filter: RunFilter, page: PageRequest) -> Result<Page<RunSummary>, EngineError> {
        let ws = &self.ctx.ws;
        let mut keys = match &page.cursor {
            None => tables::heads(ws.id),
            Some(cursor) => {
                let before = cursor.parse().map_err(|_| invalid_cursor(cursor))?;
                tables::heads_before(ws.id, before)
            }
        };
        let size = page.size();
        let (mut items, mut looked_at, mut last) = (Vec::new(), 0, None);
        loop {
            let limit = if filter == RunFilter::default() { size + 1 - items.len() } else { 500 };
            let wants = vec![Want::Range { keys: keys.clone(), limit, backwards: true }];
            let rows: Vec<_> =
                self.ctx.core.ports.store.read(ws.shard, wants).await?.rows.into_iter().flatten().collect();
            let full = rows.len() == limit;
            for (key, value) in rows {
                if items.len() == size || looked_at == LOOKED_AT {
                    return Ok(Page { items, next_cursor: last.map(|run: RunId| run.to_string()) });
                }
                let run = tables::run_in(&key)?;
                let wanted = |head: &tables::RunHead| {
                    filter.workflow.as_ref().is_none_or(|wanted| *wanted == head.workflow)
                        && filter.status.is_none_or(|wanted| wanted == head.status)
                };
                match decode::<tables::RunHead>(&key, &value) {
                    Ok(head) if wanted(&head) => items.push(head.summary(run)),
                    Ok(_) => {}
                    // One row that cannot be read does not hide the others.
                    Err(error) => tracing::error!(%error, "the list of runs passes one by"),
                }
                looked_at += 1;
                last = Some(run);
                keys.end = key;
            }
            if !full {
                return Ok(Page { items, next_cursor: None });
            }
        }
    }

    pub async fn get(&self, id: &str) -> Result<RunDetail, EngineError> {
        history::detail(&self.ctx, run_id(id)?).await
    }

    /// An expression as a workflow would see it, over what a run knew at its end.
    pub async fn eval(&self, request: EvalRequest) -> Result<serde_json::Value, EngineError> {
        crate::eval::eval(&self.ctx, request).await
    }

    /// The items of its iterators that are over, in the order in which they ended.
    pub async fn items(
        &self,
        id: &str,
        filter: ItemFilter,
        page: PageRequest,
    ) -> Result<Page<ItemDetail>, EngineError> {
        items::list(&self.ctx, run_id(id)?, filter, page).await
    }

    /// Asks a run to stop; returns when that is on disk. A run that has ended is a conflict.
    pub async fn cancel(&self, id: &str) -> Result<RunSummary, EngineError> {
        requests::cancel(&self.ctx, run_id(id)?).await
    }

    /// Lets a failed run go on from the step that failed. With `newest`, on the active version of the workflow
    /// and the newest fitting versions of its actions.
    pub async fn retry(&self, id: &str, newest: bool) -> Result<RunSummary, EngineError> {
        requests::retry(&self.ctx, run_id(id)?, newest).await
    }

    /// Says how a step goes on that waits for a person.
    pub async fn resume(&self, id: &str, resume: ResumeRun) -> Result<RunSummary, EngineError> {
        resume::resume(&self.ctx, run_id(id)?, resume).await
    }

    /// Gives a step what it waits for.
    pub async fn give_input(&self, id: &str, given: GiveInput) -> Result<RunSummary, EngineError> {
        inputs::give(&self.ctx, run_id(id)?, given).await
    }

    /// What a link asks for that was made for a step.
    pub async fn input_form(&self, token: &str) -> Result<InputForm, EngineError> {
        inputs::form(&self.ctx, token).await
    }

    /// Gives a step what it waits for, by its link.
    pub async fn give_input_by_link(&self, token: &str, data: Value) -> Result<InputTaken, EngineError> {
        inputs::give_by_link(&self.ctx, token, data).await
    }

    /// Returns when the run has ended, or with the run as it is when the time is over.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Result<RunDetail, EngineError> {
        let run = run_id(id)?;
        let seen = self.ctx.ws.waiters.listen(run);
        let head = history::found(run, load::head(&self.ctx, run).await?)?;
        if !head.status.ended() {
            start::ended(&self.ctx, seen, timeout).await;
        }
        history::detail(&self.ctx, run).await
    }

    /// Returns when the run has ended, when it goes on only once a person does something (resumes it, or gives it an
    /// input), or with the run as it is when the time is over.
    pub async fn wait_for_turn(&self, id: &str, timeout: Duration) -> Result<RunDetail, EngineError> {
        let (ctx, run) = (&self.ctx, run_id(id)?);
        // Listening comes first, so that what happens between the look and the wait is heard.
        let mut seen = ctx.ws.waiters.listen(run);
        let head = history::found(run, load::head(ctx, run).await?)?;
        if !head.status.ended() && !load::needs_a_person(ctx, run, &head).await? {
            start::within(ctx, timeout, seen.ended_or_needs_a_person()).await;
        }
        history::detail(ctx, run).await
    }

    /// The run now, and every time it moves on; ends when the run has ended.
    pub async fn watch(
        &self,
        id: &str,
    ) -> Result<BoxStream<'static, Result<RunUpdate, EngineError>>, EngineError> {
        let run = run_id(id)?;
        history::found(run, load::head(&self.ctx, run).await?)?;
        let watching = Some((self.ctx.clone(), HashSet::new(), None));
        let updates = stream::unfold(watching, move |watching| async move {
            let (ctx, mut told, seen) = watching?;
            if let Some((mut seen, iterates)) = seen {
                Listener::moved(&mut seen).await;
                if iterates {
                    ctx.core.ports.clock.sleep(WATCH_PAUSE).await;
                }
            }
            let seen = ctx.ws.waiters.listen(run);
            let mut iterates = false;
            let update = history::detail(&ctx, run).await.map(|detail| {
                iterates = detail.steps.iter().any(|step| step.items.is_some() && step.ended_at.is_none());
                let over = |step: &StepDetail| step.ended_at.is_some() && step.status != StepStatus::Running;
                let new =
                    |step: &StepDetail| over(step) && told.insert((step.path.clone(), step.attempts.len()));
                let steps = detail.steps.into_iter().filter(new).collect();
                RunUpdate { run: detail.summary, steps }
            });
            let go_on = update.as_ref().is_ok_and(|update| !update.run.status.ended());
            Some((update, go_on.then_some((ctx, told, Some((seen, iterates))))))
        });
        Ok(updates.boxed())
    }
}

pub(crate) fn run_id(text: &str) -> Result<RunId, EngineError> {
    text.parse().map_err(|_| EngineError::not_found("unknown_run", format!("there is no run `{text}`")))
}
