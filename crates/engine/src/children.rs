//! Runs that a run starts (`run_workflow`): they come into being in their parent's commit, and tell it of their end in
//! their own. A parent that waits holds no slot; what it is told lies in its inbox.
use crate::begin::{NewRun, Placed};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::events::MAX_DEPTH;
use crate::feed::RunMoved;
use crate::hash;
use crate::id::RunId;
use crate::registry::workflows;
use crate::requests::{Retried, Retrying, prepare_retry};
use crate::start::seen;
use crate::tables::runs::{self, Parent, RunHead};
use crate::tables::{self, inbox};
use crate::{abandon, api, blobs, deadlock, history, manual};
use jiff::Timestamp;
use serde_json::{Value, json};
use stepwell_store::{Key, Refused, Txn, transact};
use stepwell_workflow::machine::{Event, Execute, Failure, Finished, Payload, RunCall, RunStatus};
use stepwell_workflow::model::{Manual, Trigger};

/// The code of a step whose run was cancelled.
const CANCELLED: &str = "run_cancelled";

/// Runs that one transaction asks to end.
const PART: usize = 200;

/// What an attempt at starting a run came to.
pub(crate) enum Begun {
    /// It is new, or was taken up again where it had failed, or goes on.
    Run {
        run: RunId,
        put: Option<Put>,
    },
    /// The run that an attempt before this one had started has ended by now.
    Ended {
        run: RunId,
        result: Result<Payload, Failure>,
    },
    /// It was kept, and does not run: its place is taken.
    Skipped {
        run: RunId,
        put: Put,
        result: Result<Payload, Failure>,
    },
    /// What it needs is read from what is stored, and the burst has written: it comes first in the next.
    Later,
    Failed(Failure),
}

/// What the parent's commit does for a child; the rest comes when it is on disk.
pub(crate) enum Put {
    New(Placed),
    Retried(RunId, Retried),
}

impl Put {
    pub(crate) fn moved(&self) -> &RunMoved {
        match self {
            Put::New(placed) => &placed.moved,
            Put::Retried(_, retried) => &retried.moved,
        }
    }

    pub(crate) fn stored(&self, ctx: &Ctx) {
        match self {
            Put::New(placed) => placed.stored(ctx),
            Put::Retried(run, retried) => retried.stored(ctx, *run),
        }
    }
}

/// Whose child it is to be.
pub(crate) struct Family<'a> {
    pub run: RunId,
    pub head: &'a RunHead,
    /// By the run's clock.
    pub now: Timestamp,
    /// Whether the burst has written nothing yet.
    pub clean: bool,
}

/// Starts the run that a step asks for, or goes on with the one that it has started before.
pub(crate) async fn begin(
    ctx: &Ctx,
    txn: &mut Txn,
    call: &RunCall,
    execute: &Execute,
    family: Family<'_>,
) -> Result<Begun, Refused> {
    if let Some(run) = call.run.as_ref().and_then(|run| run.parse().ok())
        && let Some(begun) = go_on(ctx, txn, call, run, &family).await?
    {
        return Ok(begun);
    }
    let failed = |error: EngineError| {
        let error = passing(error)?;
        let details = Some(json!({ "problems": error.problems })).filter(|_| !error.problems.is_empty());
        Ok(Begun::Failed(Failure { details, ..Failure::engine(error.code, error.message) }))
    };
    let depth = family.head.depth + 1;
    if depth > MAX_DEPTH {
        let message = format!(
            "{MAX_DEPTH} runs led to this one, each started by the one before: so long a chain is taken for a loop, and \
             `{}` is not run",
            call.workflow
        );
        return Ok(Begun::Failed(Failure::engine("workflow_loop", message)));
    }
    let flow = match workflows::active(ctx, &call.workflow).await {
        Ok(flow) => flow,
        Err(error) => return failed(error),
    };
    let reads = match &flow.workflow.trigger {
        Trigger::Manual(Manual { on, .. }) => on.is_some(),
        Trigger::RecordEvent(_) => true,
        Trigger::Webhook(_) | Trigger::Schedule(_) => false,
    };
    if reads && !family.clean {
        return Ok(Begun::Later);
    }
    let trigger = match manual::trigger(ctx, &flow, call.input.clone()).await {
        Ok(trigger) => seen(ctx, &flow, trigger),
        Err(error) => return failed(error),
    };
    let run = free_id(ctx, txn, execute, family.now).await?;
    let parent = Parent { run: family.run, path: execute.path.clone(), waits: call.wait };
    let new = match NewRun::child(ctx, &flow, trigger, depth, run, parent) {
        Ok(new) => new,
        Err(error) => return failed(error),
    };
    match &new.place {
        Ok(Some(wanted)) if call.wait => {
            let waits = (family.run, family.head);
            if let Some(failure) = deadlock::of_new(ctx, txn, &call.workflow, wanted, waits).await? {
                return Ok(Begun::Failed(failure));
            }
        }
        Ok(_) => {}
        Err(failure) => return Ok(Begun::Failed(failure.clone())),
    }
    let placed = new.queued(ctx).await?.put(ctx, txn).await?;
    match &placed.head.error {
        Some(error) if call.wait => {
            let result = Err(abandon::failure(error).failure);
            Ok(Begun::Skipped { run, put: Put::New(placed), result })
        }
        _ => Ok(Begun::Run { run, put: Some(Put::New(placed)) }),
    }
}

/// An id that no run has. Its time is that of the run itself, since ids are looked at in their order.
async fn free_id(ctx: &Ctx, txn: &mut Txn, execute: &Execute, now: Timestamp) -> Result<RunId, Refused> {
    let mut number = 0u32;
    loop {
        let digest = hash::sha256(format!("run:{}:{}:{number}", execute.key, execute.attempt).as_bytes());
        let run = RunId::of_child(now, &digest);
        if txn.get(&runs::head_key(ctx.ws.id, run)).await?.is_none() {
            return Ok(run);
        }
        number += 1;
    }
}

/// Goes on with a run that was started before; nothing when it was cancelled, or the step asks for another workflow by
/// now: then another one is started. One that cannot go on fails the step: what it has done is not to be done twice.
async fn go_on(
    ctx: &Ctx,
    txn: &mut Txn,
    call: &RunCall,
    run: RunId,
    family: &Family<'_>,
) -> Result<Option<Begun>, Refused> {
    let head = match history::found(run, head(ctx, txn, run).await?) {
        Ok(head) => head,
        Err(error) => return Ok(Some(Begun::Failed(lost(run, &error)))),
    };
    if head.workflow != call.workflow {
        return Ok(None);
    }
    match head.status {
        api::RunStatus::Cancelled => Ok(None),
        api::RunStatus::Completed => {
            let result = result(ctx, run, &head).await?;
            Ok(Some(Begun::Ended { run, result }))
        }
        api::RunStatus::Failed if head.payloads_expired => {
            Ok(Some(Begun::Failed(lost(run, &history::expired(run)))))
        }
        api::RunStatus::Failed => {
            let retrying: Retrying = match prepare_retry(ctx, run, false).await {
                Ok(retrying) => retrying,
                Err(error) => return Ok(Some(Begun::Failed(lost(run, &passing(error)?)))),
            };
            if let Some(key) = retrying.outdated(ctx, txn, &head).await? {
                return Err(Refused::Conflict { key });
            }
            if let Some(wanted) = retrying.wanted().filter(|_| call.wait)
                && let Some(failure) =
                    deadlock::of_new(ctx, txn, &call.workflow, wanted, (family.run, family.head)).await?
            {
                return Ok(Some(Begun::Failed(failure)));
            }
            let retried = retrying.put(ctx, txn, head).await?;
            Ok(Some(Begun::Run { run, put: Some(Put::Retried(run, retried)) }))
        }
        _ if call.wait => {
            let failure = deadlock::of_standing(ctx, txn, &head, (family.run, family.head)).await?;
            Ok(Some(failure.map_or(Begun::Run { run, put: None }, Begun::Failed)))
        }
        _ => Ok(Some(Begun::Run { run, put: None })),
    }
}

async fn head(ctx: &Ctx, txn: &mut Txn, run: RunId) -> Result<Option<RunHead>, Refused> {
    let key = runs::head_key(ctx.ws.id, run);
    txn.get(&key).await?.map(|value| tables::decode(&key, &value)).transpose()
}

/// What passes is waited for; anything else is an error for good.
fn passing(error: EngineError) -> Result<EngineError, Refused> {
    match error.kind {
        ErrorKind::Unavailable => Err(Refused::Unavailable(error.message)),
        ErrorKind::StorageFull => Err(Refused::Full(error.message)),
        _ => Ok(error),
    }
}

/// A run that was started, and of which nothing more is to be had.
pub(crate) fn lost(run: RunId, error: &EngineError) -> Failure {
    let message = format!(
        "run {run}, which this step had started, cannot be gone on with, and no other is started, since it may have done \
         its work: {}",
        error.message
    );
    Failure {
        details: Some(json!({ "run_id": run.to_string() })),
        ..Failure::engine(error.code.clone(), message)
    }
}

/// How a run has ended, read again: a value of its own, since what that run claims goes with its payloads.
pub(crate) async fn result(
    ctx: &Ctx,
    run: RunId,
    head: &RunHead,
) -> Result<Result<Payload, Failure>, Refused> {
    let finished = async {
        if head.payloads_expired {
            return Ok(None);
        }
        let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
        let folded = history::fold(ctx, run, &flow).await?;
        Ok::<_, EngineError>(folded.finished)
    };
    let finished = match (finished.await, abandon::finished(head)) {
        (Ok(Some(finished)), _) | (Ok(None), Some(finished)) => finished,
        (Ok(None), None) => return Ok(Err(lost(run, &history::expired(run)))),
        (Err(error), _) => return Ok(Err(lost(run, &passing(error)?))),
    };
    let output = outcome(run, &head.workflow, &finished);
    Ok(output.map(|output| output.value().cloned().map_or_else(Payload::default, Payload::from)))
}

/// The end of a run as its parent's step sees it. What failed first is told, however many runs lie between.
pub(crate) fn outcome(run: RunId, workflow: &str, finished: &Finished) -> Result<Payload, Failure> {
    let of = |details: Option<Value>, step: Option<String>, reason: Option<&str>| {
        let all = json!({
            "run_id": run.to_string(), "workflow": workflow, "step": step, "reason": reason, "details": details,
        });
        let given = all.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        Some(Value::Object(given.map(|(name, value)| (name.clone(), value.clone())).collect()))
    };
    match (finished.status, &finished.error) {
        (RunStatus::Completed, _) => Ok(finished.output.clone()),
        (_, Some(error)) => {
            let step = error.step.as_ref().map(ToString::to_string);
            let at = step.as_ref().map(|step| format!(" at step `{step}`")).unwrap_or_default();
            let failure = error.failure.clone();
            // It failed with a run of its own, and says why that one did.
            let from = failure.details.as_ref().filter(|details| details["run_id"].is_string());
            let reason = from.and_then(|details| details["reason"].as_str());
            let by = match reason {
                Some(_) => " with a run that it had started",
                None => "",
            };
            let reason = reason.unwrap_or(&failure.message).to_owned();
            let message = format!("run {run} of `{workflow}` failed{at}{by}: {reason}");
            Err(Failure {
                message,
                retry_after_ms: None,
                details: of(failure.details.clone(), step, Some(&reason)),
                ..failure
            })
        }
        (status, None) => {
            let message = format!("run {run} of `{workflow}` was {}", status.as_str());
            Err(Failure { details: of(None, None, None), ..Failure::engine(CANCELLED, message) })
        }
    }
    .map_err(crate::steps::capped)
}

/// Lays the end of a run into the inbox of the run that waits for it, which is to be woken when that is on disk.
pub(crate) async fn tell_parent(
    ctx: &Ctx,
    txn: &mut Txn,
    run: RunId,
    own: &RunHead,
    finished: &Finished,
) -> Result<Option<(RunId, String)>, Refused> {
    let Some(parent) = own.parent.as_ref().filter(|parent| parent.waits) else { return Ok(None) };
    let Some(head) = head(ctx, txn, parent.run).await?.filter(|head| !head.status.ended()) else {
        return Ok(None);
    };
    let mut result = outcome(run, &own.workflow, finished);
    if let Ok(payload) = &mut result
        && let Some(sha256) = blobs::spill(ctx, payload, ctx.core.config.inline_payload_bytes).await?
    {
        txn.put(runs::blob_ref_key(ctx.ws.id, &sha256, parent.run), vec![tables::FORMAT]);
    }
    let at = ctx.core.ports.clock.now();
    let event = Event::RunEnded { path: parent.path.clone(), run: run.to_string(), result, at };
    let workflow = head.workflow.clone();
    lay(ctx, txn, parent.run, head, event)?;
    Ok(Some((parent.run, workflow)))
}

/// Asks a run to end that nobody waits for any more, and says of which workflow it is; nothing when it has.
pub(crate) async fn cancel(ctx: &Ctx, txn: &mut Txn, run: RunId) -> Result<Option<String>, Refused> {
    let Some(head) = head(ctx, txn, run).await?.filter(|head| !head.status.ended()) else {
        return Ok(None);
    };
    let workflow = head.workflow.clone();
    lay(ctx, txn, run, head, Event::CancelRequested { at: ctx.core.ports.clock.now() })?;
    Ok(Some(workflow))
}

/// Asks runs to end that are too many for the commit in which nobody waits for them any more.
pub(crate) async fn cancel_all(ctx: &Ctx, runs: &[RunId]) -> Result<(), Refused> {
    for part in runs.chunks(PART) {
        let asked = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
            Box::pin(async move {
                let mut asked = Vec::new();
                for run in part {
                    asked.extend(cancel(ctx, &mut tx, *run).await?.map(|workflow| (*run, workflow)));
                }
                Ok::<_, Refused>(asked)
            })
        });
        asked.await?.iter().for_each(|(run, workflow)| ctx.wake_at_once(*run, workflow));
    }
    Ok(())
}

/// Puts an event into a run's inbox.
pub(crate) fn lay(
    ctx: &Ctx,
    txn: &mut Txn,
    run: RunId,
    mut head: RunHead,
    event: Event,
) -> Result<(), Refused> {
    let message = inbox::Message { event, actions: None };
    txn.put(inbox::key(ctx.ws.id, run, head.inbox), tables::encode(&message)?);
    head.inbox += 1;
    let key: Key = runs::head_key(ctx.ws.id, run);
    // Whoever drives the run rests on its head: that commit conflicts now, and finds the inbox.
    txn.put(key, tables::encode(&head)?);
    Ok(())
}
