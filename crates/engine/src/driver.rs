//! The one driver of a run: burst after burst, and between them the calls that take time.
use crate::abandon::abandon;
use crate::burst::{Base, Burst, Committed, burst};
use crate::calls::{CallId, Calls};
use crate::core::{Ctx, worth_waiting};
use crate::error::{EngineError, ErrorKind};
use crate::id::RunId;
use crate::load;
use crate::schedule::{Parting, Turn};
use crate::stats::add;
use crate::tables::hooks::HookKey;
use crate::waiters::{Ended, Moved};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use stepwell_store::{Contention, Refused};
use stepwell_workflow::machine::{self, Answer, Failure, Finished};
use tokio::sync::oneshot;
use tracing::Instrument;

/// What became of a run that was to start.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is on disk.
    Stored,
    /// Its idempotency key had started this one before.
    Duplicate(HookKey),
    /// It is not to begin now: its place is taken.
    Stands,
}

/// How often a driver tries a store again in a row that could not serve it. What lasts longer may be this run's trouble alone, and others wait for its slot.
const PAUSES: u32 = 5;
/// When it comes back then.
const COME_BACK: Duration = Duration::from_secs(30);
/// How long a closing engine waits for answers from the outside that are under way.
const CLOSING_PAUSE: Duration = Duration::from_secs(5);

/// What a run fails with that this process cannot drive.
const DAMAGED: &str = "run_damaged";

/// Drives a run that does not exist yet; answers once it is on disk.
pub(crate) fn start_new(ctx: &Ctx, turn: Turn, base: Base) -> oneshot::Receiver<Result<Begun, EngineError>> {
    let (tell, told) = oneshot::channel();
    let span =
        tracing::debug_span!("run", workspace = %ctx.ws.name, id = %turn.run, workflow = %base.head.workflow);
    let task = ctx.clone();
    // Made where it stays: moved into the task, it would be copied whole, again and again.
    let drive = async move { guarded(&task, &turn, Box::pin(drive_new(&task, &turn, base, tell))).await };
    ctx.core.tasks.spawn(drive.instrument(span));
    told
}

/// Drives runs that are stored.
pub(crate) fn start_all(ctx: &Ctx, turns: Vec<Turn>) {
    for turn in turns {
        let span = tracing::debug_span!("run", workspace = %ctx.ws.name, id = %turn.run);
        let task = ctx.clone();
        let drive = async move { guarded(&task, &turn, Box::pin(drive_stored(&task, &turn))).await };
        ctx.core.tasks.spawn(drive.instrument(span));
    }
}

/// Drives a run, and gives its slot back whatever happens: a panic is a defect of ours, and ends this run alone.
async fn guarded(ctx: &Ctx, turn: &Turn, drive: impl Future<Output = ()>) {
    let _slot = Slot { ctx, turn };
    if AssertUnwindSafe(drive).catch_unwind().await.is_err() {
        let failure = Failure::engine("internal", "driving the run panicked; the log has the place");
        Box::pin(give_up(ctx, turn, failure)).await;
    }
}

/// A driver's slot; it is given back however the driver ends.
struct Slot<'a> {
    ctx: &'a Ctx,
    turn: &'a Turn,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Parting::Left(turns) = self.ctx.ws.schedule.leave(self.turn, true) {
            start_all(self.ctx, turns);
        }
    }
}

async fn drive_new(
    ctx: &Ctx,
    turn: &Turn,
    mut base: Base,
    tell: oneshot::Sender<Result<Begun, EngineError>>,
) {
    let mut calls = Calls::of(ctx, &base.flow);
    let mut burst = burst_past_conflicts(ctx, turn, &mut base, &mut calls).await;
    if let Err(Refused::TooBig(_)) = burst {
        base.step_limit = 1;
        burst = Box::pin(burst_past_conflicts(ctx, turn, &mut base, &mut calls)).await;
    }
    match burst {
        Ok(Burst::Committed(committed)) => {
            add(&ctx.core.stats.runs_started, 1);
            // Nobody listening means that the caller has gone; the run goes on.
            let _ = tell.send(Ok(Begun::Stored));
            let look = committed.more;
            let ended = settle(ctx, &base, &mut calls, *committed);
            // Most runs are over by now: what the others need is no part of every driver.
            if !ended && Box::pin(go_on(ctx, turn, base, calls, look)).await != Left::ForNow {
                Box::pin(drive_stored(ctx, turn)).await;
            }
        }
        Ok(Burst::Duplicate(key)) => {
            let _ = tell.send(Ok(Begun::Duplicate(key)));
        }
        Ok(Burst::Stands) => {
            let _ = tell.send(Ok(Begun::Stands));
        }
        Ok(Burst::Nothing | Burst::Switched) => {
            let _ = tell.send(Err(EngineError::internal("the run came to nothing")));
        }
        Err(refused) => {
            let _ = tell.send(Err(refused.into()));
        }
    }
}

async fn drive_stored(ctx: &Ctx, turn: &Turn) {
    let mut reloaded = false;
    let mut patience = Patience::default();
    loop {
        let error = match load::stored(ctx, turn.run).await {
            Ok(Some(base)) => {
                let calls = Calls::of(ctx, &base.flow);
                match go_on(ctx, turn, base, calls, true).await {
                    Left::ToReload if reloaded => EngineError::internal("what the run wrote cannot be read"),
                    Left::ToReload => {
                        reloaded = true;
                        continue;
                    }
                    Left::Switched => continue,
                    Left::ForNow => return,
                }
            }
            // It ended meanwhile; whoever woke it came too late.
            Ok(None) => return crate::timers::sweep_rung(ctx, turn.run).await,
            Err(error) => error,
        };
        if !matches!(error.kind, ErrorKind::Unavailable | ErrorKind::StorageFull) {
            let message = format!("the run cannot be read: {}", error.message);
            return give_up(ctx, turn, Failure::engine(DAMAGED, message)).await;
        }
        tracing::warn!(%error, "a run cannot be loaded; trying again");
        if !patience.pause(ctx, turn.run).await {
            return;
        }
    }
}

/// Ends a run that cannot be driven, as soon as the store takes it.
async fn give_up(ctx: &Ctx, turn: &Turn, failure: Failure) {
    let mut patience = Patience::default();
    loop {
        match abandon(ctx, turn.run, failure.clone()).await {
            Ok(()) => return,
            Err(refused) if worth_waiting(&refused) => {
                if !patience.pause(ctx, turn.run).await {
                    return;
                }
            }
            Err(refused) => {
                tracing::error!(%refused, code = %failure.code, error = %failure.message, "a run is beyond repair");
                return;
            }
        }
    }
}

/// How a driver left its run.
#[derive(PartialEq)]
enum Left {
    ForNow,
    /// What it knew of the run does not fit what is stored.
    ToReload,
    /// A person has the run go on with another version of its workflow.
    Switched,
}

/// From burst to burst until the run has ended, or nothing can be done before something comes from outside.
async fn go_on(ctx: &Ctx, turn: &Turn, mut base: Base, mut calls: Calls, mut look: bool) -> Left {
    let clock = ctx.core.ports.clock.clone();
    let mut patience = Patience::default();
    loop {
        if look {
            match burst_past_conflicts(ctx, turn, &mut base, &mut calls).await {
                Ok(Burst::Committed(committed)) => {
                    let more = committed.more;
                    patience = Patience::default();
                    if settle(ctx, &base, &mut calls, *committed) {
                        return Left::ForNow;
                    }
                    if more && !ctx.core.closing.is_cancelled() {
                        continue;
                    }
                }
                Ok(Burst::Switched) => return Left::Switched,
                Ok(Burst::Nothing | Burst::Duplicate(_) | Burst::Stands) => {}
                Err(refused @ Refused::TooBig(_)) if base.step_limit == 1 => {
                    give_up(ctx, turn, Failure::engine("too_big", refused.to_string())).await;
                    return Left::ForNow;
                }
                Err(Refused::TooBig(_)) => {
                    base.step_limit = 1;
                    continue;
                }
                Err(refused) if worth_waiting(&refused) => {
                    tracing::warn!(%refused, "a burst could not be committed; trying again");
                    if calls.any_sent() {
                        // An answer that is not stored yet would be lost with the slot, and the call sent again.
                        patience = Patience::default();
                    }
                    if !patience.pause(ctx, turn.run).await {
                        return Left::ForNow;
                    }
                    continue;
                }
                Err(refused) => {
                    tracing::error!(%refused, "a burst failed on what is stored; reading it again");
                    return Left::ToReload;
                }
            }
        }
        look = true;
        // Again each time: a timer that rang a moment too early, by a clock that went back, is not lost.
        for (_, due) in base.timers.iter().filter(|_| !base.head.waits_for_its_place()) {
            ctx.core.timers.add(due.as_millisecond(), ctx.ws.id, base.run);
        }
        if !calls.any_running() {
            if let Parting::Left(turns) = ctx.ws.schedule.leave(turn, false) {
                start_all(ctx, turns);
                return Left::ForNow;
            }
            base.head_at = None;
            continue;
        }
        let closing = ctx.core.closing.is_cancelled();
        tokio::select! {
            biased;
            () = ctx.core.closing.cancelled(), if !closing => {
                if !calls.any_outside() {
                    return Left::ForNow;
                }
                look = false;
            }
            _ = calls.next_done() => {}
            () = turn.bell.rung() => base.head_at = None,
            () = clock.sleep(CLOSING_PAUSE), if closing => return Left::ForNow,
        }
        if closing && !calls.any_outside() {
            // The last answer is in: one more burst stores it. What that would send goes out after the next start.
            match burst_past_conflicts(ctx, turn, &mut base, &mut calls).await {
                Ok(Burst::Committed(committed)) => {
                    tell(ctx, &base, committed.finished, committed.answer);
                }
                Ok(Burst::Nothing | Burst::Duplicate(_) | Burst::Stands | Burst::Switched) => {}
                Err(refused) => {
                    tracing::warn!(%refused, "an answer from the outside could not be stored before closing");
                }
            }
            return Left::ForNow;
        }
    }
}

/// A conflict never fails a run: the burst runs again, and stands in line for what it lost. So does one that was
/// given up.
async fn burst_past_conflicts(
    ctx: &Ctx,
    turn: &Turn,
    base: &mut Base,
    calls: &mut Calls,
) -> Result<Burst, Refused> {
    let mut contention: Option<Contention> = None;
    loop {
        let refused = match burst(ctx, base, calls, &turn.bell).await {
            Err(refused) if refused.is_conflict() => refused,
            Ok(None) => {
                base.head_at = None;
                continue;
            }
            Ok(Some(done)) => return Ok(done),
            Err(refused) => return Err(refused),
        };
        add(&ctx.core.stats.burst_conflicts, 1);
        base.head_at = None;
        ctx.ws.schema.forget();
        ctx.ws.states.forget(&base.flow.name);
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
    tell(ctx, base, finished, answer)
}

/// Tells who waits what a commit came to, and counts. Whether the run has ended.
fn tell(ctx: &Ctx, base: &Base, finished: Option<Finished>, answer: Option<Answer>) -> bool {
    let Some(finished) = finished else {
        ctx.ws.waiters.tell(base.run, || {
            let stands = base.open.is_empty() && base.incoming.is_empty();
            match stands && machine::needs_a_person(&base.flow.graph, &base.state) {
                true => Moved::NeedsAPerson,
                false => Moved::GoesOn,
            }
        });
        return false;
    };
    ctx.core.stats.run_ended(base.head.status);
    ctx.ws.kept.run_ended();
    if let Some(error) = &finished.error {
        tracing::debug!(code = %error.failure.code, step = error.step.as_ref().map(|s| s.as_str()), "the run failed");
    }
    ctx.ws.waiters.tell_end(base.run, || Ended { finished, answer });
    true
}

fn send_one(ctx: &Ctx, base: &Base, calls: &mut Calls, id: CallId) {
    if let Some(execute) = base.open.get(&id) {
        calls.send(ctx, id, execute.clone());
    }
}

/// How often a driver has waited in a row for a store that could not serve it.
#[derive(Default)]
struct Patience {
    pauses: u32,
}

impl Patience {
    /// Waits for the store. False when the driver has to go: the engine closes, or the slot was held long enough, and
    /// a timer brings the run back to it.
    async fn pause(&mut self, ctx: &Ctx, run: RunId) -> bool {
        if self.pauses >= PAUSES {
            let back_ms =
                ctx.now_ms().saturating_add(i64::try_from(COME_BACK.as_millis()).unwrap_or(i64::MAX));
            ctx.core.timers.add(back_ms, ctx.ws.id, run);
            return false;
        }
        self.pauses += 1;
        ctx.pause_for_store().await
    }
}
