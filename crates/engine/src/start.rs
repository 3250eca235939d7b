//! How a run comes into being when somebody asks for it: it is on disk before they are told.
use crate::api::{Payload as Shown, RunStarted, RunStatus, run_failure, run_status};
use crate::begin::NewRun;
use crate::burst::Base;
use crate::core::Ctx;
use crate::driver::{self, Begun};
use crate::error::EngineError;
use crate::feed::EventPage;
use crate::hash;
use crate::history;
use crate::id::RunId;
use crate::manual;
use crate::registry::{Compiled, workflows};
use crate::secrets::Opened;
use crate::tables::{self, hooks};
use crate::waiters::{Ended, Listener};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stepwell_store::{Key, Refused, transact};
use stepwell_workflow::depth;
use stepwell_workflow::machine::{Event, Payload, State};

/// A run that was asked for.
pub(crate) struct Wanted {
    pub flow: Arc<Compiled>,
    pub trigger: Value,
    /// Method and path of the webhook that asks.
    pub hook: Option<String>,
    pub hook_key: Option<(Key, hooks::HookKey)>,
    /// Whether it was not the workflow's trigger that asks, but somebody.
    pub by_hand: bool,
    /// Whether somebody wants to hear of its end.
    pub listen: bool,
}

pub(crate) struct Started {
    pub run: RunId,
    pub first: bool,
    pub seen: Option<Listener>,
}

pub(crate) fn value_of(payload: &Payload) -> Value {
    payload.value().map_or(Value::Null, |value| (**value).clone())
}

/// What a run begins with is stored, and has to be read back.
pub(crate) fn shallow(value: Value, what: &str) -> Result<Value, EngineError> {
    if depth::too_deep(&value) { Err(too_deep(what)) } else { Ok(value) }
}

pub(crate) fn too_deep(what: &str) -> EngineError {
    let message = format!("{what} is nested deeper than {} levels of lists and objects", depth::MAX_DEPTH);
    EngineError::invalid("too_deep", message)
}

/// Starts a run of the active version by hand.
pub(crate) async fn by_hand(
    ctx: &Ctx,
    name: &str,
    input: Value,
    wait: Option<Duration>,
) -> Result<RunStarted, EngineError> {
    let flow = workflows::active(ctx, name).await?;
    let trigger = seen(ctx, &flow, manual::trigger(ctx, &flow, input).await?);
    let wanted = Wanted { flow, trigger, hook: None, hook_key: None, by_hand: true, listen: wait.is_some() };
    let started = start(ctx, wanted).await?;
    let id = started.run.to_string();
    if let (Some(mut seen), Some(wait)) = (started.seen, wait)
        && let Some(ended) = within(ctx, wait, seen.ended_or_needs_a_person()).await
    {
        return Ok(RunStarted {
            run_id: id,
            status: run_status(ended.finished.status),
            output: Some(value_of(&ended.finished.output)).filter(|output| !output.is_null()),
            error: ended.finished.error.as_ref().map(run_failure),
        });
    }
    let head = crate::load::head(ctx, started.run).await?;
    let (status, error) = head.map_or((RunStatus::Queued, None), |head| (head.status, head.error));
    let mut output = None;
    // It has ended in the very moment in which the time was over: who waited is told all of it.
    if wait.is_some() && status.ended() {
        let detail = history::detail(ctx, started.run).await?;
        output = detail.output.and_then(|output| match output {
            Shown::Value(value) => Some(value).filter(|value| !value.is_null()),
            _ => None,
        });
    }
    Ok(RunStarted { run_id: id, status, output, error })
}

/// What started a run, as the run sees it: without the values of the secrets that the workflow names.
pub(crate) fn seen(ctx: &Ctx, flow: &Compiled, mut trigger: Value) -> Value {
    Opened::new(ctx, &crate::connections::secrets_of(ctx, flow)).redact(&mut trigger);
    trigger
}

/// Puts a run on disk: with its whole first burst where a slot is free, or else in the queue.
pub(crate) async fn start(ctx: &Ctx, wanted: Wanted) -> Result<Started, EngineError> {
    ctx.check_open()?;
    let Wanted { flow, trigger, hook, mut hook_key, by_hand, listen } = wanted;
    let mut new = NewRun::new(ctx, &flow, trigger, 0)?;
    let run = new.run;
    new.head.hook = hook;
    if by_hand {
        new.head.trigger = "manual".to_owned();
    }
    if let Some((key, row)) = &mut hook_key {
        row.run = run;
        new.head.hook_key = Some(hash::hex(key));
    }
    let body_sha256 = hook_key.as_ref().map(|(_, row)| row.body_sha256.clone());
    let seen = listen.then(|| ctx.ws.waiters.listen(run));
    // One whose key cannot be made is kept as failed.
    let turn = match &new.place {
        Ok(_) => ctx.ws.schedule.start_at_once(run, &flow.name),
        Err(_) => None,
    };
    let begun = match turn {
        Some(turn) => {
            let wanted = new.place.clone().unwrap_or_default();
            let again = wanted.is_some().then(|| (new.clone(), hook_key.clone()));
            let base = Base {
                run,
                flow,
                head: new.head,
                state: State::new(),
                incoming: vec![Event::Started(Box::new(new.start))],
                timers: Vec::new(),
                unset: Vec::new(),
                frozen: BTreeMap::new(),
                open: BTreeMap::new(),
                stored: false,
                head_at: None,
                hook_key,
                step_limit: usize::MAX,
                moved: None,
                switch: None,
                items: BTreeMap::new(),
                claims: Vec::new(),
                wanted,
            };
            let told = driver::start_new(ctx, turn, base).await;
            let begun = told.unwrap_or_else(|_| {
                Err(EngineError::internal("the run could not be begun; the log says why"))
            })?;
            match (begun, again) {
                (Begun::Stands, Some((new, hook_key))) => queue(ctx, new, hook_key).await?,
                (begun, _) => begun,
            }
        }
        None => queue(ctx, new, hook_key).await?,
    };
    match begun {
        Begun::Stored | Begun::Stands => Ok(Started { run, first: true, seen }),
        Begun::Duplicate(row) if body_sha256.as_ref() == Some(&row.body_sha256) => {
            Ok(Started { run: row.run, first: false, seen: None })
        }
        Begun::Duplicate(row) => {
            let message = format!(
                "this idempotency key came before with another body (run {}); use a new key for a new request",
                row.run
            );
            Err(EngineError::conflict("idempotency_key_reused", message).with_run(row.run.to_string()))
        }
    }
}

/// Every slot is taken, or its place: the run is stored as it is, and begins in its turn.
async fn queue(
    ctx: &Ctx,
    new: NewRun,
    hook_key: Option<(Key, hooks::HookKey)>,
) -> Result<Begun, EngineError> {
    let ws = &ctx.ws;
    let rows = new.queued(ctx).await?;
    let (rows, hook_key) = (&rows, &hook_key);
    let (begun, placed) = transact(&ctx.core.ports.store, ws.shard, |mut tx| {
        Box::pin(async move {
            if let Some((key, taken)) = hook_key {
                if let Some(value) = tx.get(key).await? {
                    let known: hooks::HookKey = tables::decode(key, &value)?;
                    if !known.is_over(taken.at_ms, ctx.core.config.retention.hook_keys_for) {
                        return Ok((Begun::Duplicate(known), None));
                    }
                }
                tx.put(key.clone(), tables::encode(taken)?);
            }
            let placed = rows.put(ctx, &mut tx).await?;
            tx.append(ws.log, EventPage::default().row(ctx.now_ms(), Some(&placed.moved))?);
            Ok::<_, Refused>((Begun::Stored, Some(placed)))
        })
    })
    .await?;
    if let Some(placed) = placed {
        placed.stored(ctx);
    }
    Ok(begun)
}

/// Waits for the end of a run that is listened to.
pub(crate) async fn ended(ctx: &Ctx, mut seen: Listener, time: Duration) -> Option<Arc<Ended>> {
    within(ctx, time, seen.ended()).await
}

/// Waits for what a listener hears, for so long.
pub(crate) async fn within(
    ctx: &Ctx,
    time: Duration,
    heard: impl Future<Output = Option<Arc<Ended>>>,
) -> Option<Arc<Ended>> {
    tokio::select! {
        biased;
        ended = heard => ended,
        // Whoever waits is told that it goes on, as when the time is over.
        () = ctx.core.leaving.cancelled() => None,
        () = ctx.core.ports.clock.sleep(time) => None,
    }
}
