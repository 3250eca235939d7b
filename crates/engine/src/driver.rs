//! The one driver of a run: burst after burst, and between them the calls that take time.
use crate::burst::{Base, Burst, Committed, burst};
use crate::calls::{CallId, Calls};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::load;
use crate::schedule::{Parting, Turn};
use crate::stats::add;
use crate::tables::hooks::HookKey;
use crate::waiters::Ended;
use std::time::Duration;
use stepwell_store::{Contention, Refused};
use tokio::sync::oneshot;
use tracing::Instrument;

/// What became of a run that was to start.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is on disk.
    Stored,
    /// Its idempotency key had started this one before.
    Duplicate(HookKey),
}

/// How long a driver waits before it tries a store again that could not serve it.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a closing engine waits for answers from the outside that are under way.
const CLOSING_PAUSE: Duration = Duration::from_secs(5);

/// Drives a run that does not exist yet; answers once it is on disk.
pub(crate) fn start_new(ctx: &Ctx, turn: Turn, base: Base) -> oneshot::Receiver<Result<Begun, EngineError>> {
    let (tell, told) = oneshot::channel();
    let span = tracing::debug_span!("run", id = %turn.run, workflow = %base.head.workflow);
    let task = ctx.clone();
    ctx.core.tasks.spawn(async move { drive_new(&task, turn, base, tell).await }.instrument(span));
    told
}

/// Drives runs that are stored.
pub(crate) fn start_all(ctx: &Ctx, turns: Vec<Turn>) {
    for turn in turns {
        let span = tracing::debug_span!("run", id = %turn.run);
        let task = ctx.clone();
        ctx.core.tasks.spawn(async move { drive_stored(&task, turn).await }.instrument(span));
    }
}

async fn drive_new(ctx: &Ctx, turn: Turn, mut base: Base, tell: oneshot::Sender<Result<Begun, EngineError>>) {
    let mut calls = Calls::default();
    match burst_past_conflicts(ctx, &mut base, &mut calls).await {
        Ok(Burst::Committed(committed)) => {
            add(&ctx.core.stats.runs_started, 1);
            // Nobody listening means that the caller has gone; the run goes on.
            let _ = tell.send(Ok(Begun::Stored));
            let look = committed.more;
            let ended = settle(ctx, &base, &mut calls, *committed);
            go_on(ctx, turn, base, calls, ended, look).await;
        }
        Ok(Burst::Duplicate(key)) => {
            let _ = tell.send(Ok(Begun::Duplicate(key)));
            leave(ctx, &turn, true);
        }
        Ok(Burst::Nothing) => {
            let _ = tell.send(Err(EngineError::internal("the run came to nothing")));
            leave(ctx, &turn, true);
        }
        Err(refused) => {
            let _ = tell.send(Err(refused.into()));
            leave(ctx, &turn, true);
        }
    }
}

async fn drive_stored(ctx: &Ctx, turn: Turn) {
    loop {
        match load::stored(ctx, turn.run).await {
            Ok(Some(base)) => return go_on(ctx, turn, base, Calls::default(), false, true).await,
            // It ended meanwhile; whoever woke it came too late.
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(run = %turn.run, %error, "a run cannot be loaded; trying again");
                if !pause(ctx).await {
                    break;
                }
            }
        }
    }
    leave(ctx, &turn, true);
}

/// From burst to burst until the run has ended, or nothing can be done before something comes from outside.
async fn go_on(ctx: &Ctx, turn: Turn, mut base: Base, mut calls: Calls, mut ended: bool, mut look: bool) {
    let clock = ctx.core.ports.clock.clone();
    loop {
        if ended {
            return leave(ctx, &turn, true);
        }
        if look {
            match burst_past_conflicts(ctx, &mut base, &mut calls).await {
                Ok(Burst::Committed(committed)) => {
                    let more = committed.more;
                    ended = settle(ctx, &base, &mut calls, *committed);
                    if more && !ctx.core.closing.is_cancelled() {
                        continue;
                    }
                }
                Ok(Burst::Nothing | Burst::Duplicate(_)) => {}
                Err(refused) => {
                    tracing::warn!(%refused, "a burst could not be committed; trying again");
                    if matches!(refused, Refused::TooBig(_)) {
                        base.step_limit = 1;
                    }
                    if !pause(ctx).await {
                        return leave(ctx, &turn, true);
                    }
                    continue;
                }
            }
            if ended {
                continue;
            }
        }
        look = true;
        if !calls.any_running() {
            if let Parting::Left(turns) = ctx.ws.schedule.leave(&turn, false) {
                return start_all(ctx, turns);
            }
            base.head_at = None;
            continue;
        }
        let closing = ctx.core.closing.is_cancelled();
        tokio::select! {
            biased;
            () = ctx.core.closing.cancelled(), if !closing => {
                if !calls.any_outside() {
                    return leave(ctx, &turn, true);
                }
                look = false;
            }
            _ = calls.next_done() => {}
            () = turn.bell.rung() => base.head_at = None,
            () = clock.sleep(CLOSING_PAUSE), if closing => return leave(ctx, &turn, true),
        }
        if closing && !calls.any_outside() {
            // The last answer is in: one more burst stores it.
            if let Err(refused) = burst_past_conflicts(ctx, &mut base, &mut calls).await {
                tracing::warn!(%refused, "an answer from the outside could not be stored before closing");
            }
            return leave(ctx, &turn, true);
        }
    }
}

/// A conflict never fails a run: the burst runs again, and stands in line for what it lost.
async fn burst_past_conflicts(ctx: &Ctx, base: &mut Base, calls: &mut Calls) -> Result<Burst, Refused> {
    let mut contention: Option<Contention> = None;
    loop {
        let refused = match burst(ctx, base, calls).await {
            Err(refused) if refused.is_conflict() => refused,
            done => return done,
        };
        add(&ctx.core.stats.burst_conflicts, 1);
        base.head_at = None;
        ctx.ws.schema.forget();
        let waiting =
            contention.get_or_insert_with(|| Contention::new(ctx.core.ports.store.clone(), ctx.ws.shard));
        match waiting.wait(refused).await {
            Ok(()) => {}
            Err(refused) if refused.is_conflict() => contention = None,
            Err(refused) => return Err(refused),
        }
    }
}

/// After a commit: sends what may be sent now, tells who waits, counts. Whether the run has ended.
fn settle(ctx: &Ctx, base: &Base, calls: &mut Calls, committed: Committed) -> bool {
    let Committed { send, finished, answer, .. } = committed;
    for id in send {
        send_one(ctx, base, calls, id);
    }
    let commit = base.head.commits;
    let Some(finished) = finished else {
        ctx.ws.waiters.tell(base.run, commit, None::<fn() -> Ended>);
        return false;
    };
    ctx.core.stats.run_ended(base.head.status);
    ctx.ws.kept.run_ended();
    if let Some(error) = &finished.error {
        tracing::debug!(code = %error.failure.code, step = error.step.as_ref().map(|s| s.as_str()), "the run failed");
    }
    ctx.ws.waiters.tell(base.run, commit, Some(|| Ended { finished, answer }));
    true
}

fn send_one(ctx: &Ctx, base: &Base, calls: &mut Calls, id: CallId) {
    if let Some(execute) = base.open.get(&id) {
        calls.send(ctx, id, execute.clone());
    }
}

fn leave(ctx: &Ctx, turn: &Turn, ended: bool) {
    if let Parting::Left(turns) = ctx.ws.schedule.leave(turn, ended) {
        start_all(ctx, turns);
    }
}

/// Waits for the store; false when the engine closes.
async fn pause(ctx: &Ctx) -> bool {
    tokio::select! {
        biased;
        () = ctx.core.closing.cancelled() => false,
        () = ctx.core.ports.clock.sleep(STORE_PAUSE) => true,
    }
}
