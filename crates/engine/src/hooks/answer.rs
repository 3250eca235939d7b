//! What a webhook's caller is told when its run is on disk: its id, or by what the trigger says its result. Who waits for
//! that keeps a connection busy, so at most so many do; everybody else gets the id at once, as when the time is over.
use crate::api::{HookAnswer, HookReply, RunStatus, run_failure, run_status};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::history;
use crate::registry::{Compiled, hooks as registered};
use crate::start::{self, Started, value_of};
use crate::stats::add;
use crate::waiters::{Ended, Listener};
use futures::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use stepwell_workflow::model::{Respond, Webhook};
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

/// A webhook's run that is on disk.
pub(super) struct Begun {
    pub flow: Arc<Compiled>,
    pub started: Started,
}

/// Somebody who waits for a run's end.
pub(crate) struct Caller<'a> {
    within: Duration,
    gone: &'a CancellationToken,
}

impl Caller<'_> {
    /// Waits, if there is room for one more who does; nothing when the end was not heard of.
    pub(crate) async fn hears(&self, ctx: &Ctx, mut seen: Listener) -> Option<Arc<Ended>> {
        // Most runs have ended with their first burst: nobody waits for those.
        if let Some(ended) = seen.ended().now_or_never() {
            return ended;
        }
        let Some(_place) = place(ctx) else {
            add(&ctx.core.stats.hook_waits_refused, 1);
            return None;
        };
        tokio::select! {
            biased;
            ended = start::ended(ctx, seen, self.within) => ended,
            // Nobody is told any more; the place is for somebody who is.
            () = self.gone.cancelled() => None,
        }
    }
}

/// A place among those who wait, of the workspace and of all: one that is called by many leaves some to the others.
fn place(ctx: &Ctx) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
    Some((ctx.ws.callers.try_acquire().ok()?, ctx.core.callers.try_acquire().ok()?))
}

/// Answers, after the run's end where the trigger says so.
pub(super) async fn when_ended(
    ctx: &Ctx,
    begun: Begun,
    gone: &CancellationToken,
) -> Result<HookAnswer, EngineError> {
    let Begun { flow, started: Started { run, first, seen } } = begun;
    let waits = registered::webhook(&flow).filter(|hook| !matches!(hook.respond, Respond::Accepted));
    let reply = match waits {
        None => HookReply::Accepted,
        Some(hook) => {
            let caller = Caller { within: hook.respond_within.as_duration(), gone };
            let ended = match seen {
                Some(seen) => caller.hears(ctx, seen).await,
                // A repeat gets the answer of the first.
                None => history::wait_for_end(ctx, run, &caller).await?,
            };
            ended.map_or(HookReply::Accepted, |ended| reply(hook, &ended))
        }
    };
    Ok(HookAnswer { run_id: run.to_string(), first, reply })
}

/// What a caller who has waited for the result is told.
fn reply(hook: &Webhook, ended: &Ended) -> HookReply {
    let status = run_status(ended.finished.status);
    match &ended.finished.error {
        error if status == RunStatus::Cancelled => {
            return HookReply::Cancelled(error.as_ref().map(run_failure));
        }
        Some(error) => return HookReply::Failed(run_failure(error)),
        None => {}
    }
    match (&hook.respond, &ended.answer) {
        (Respond::Answer(_), Some(answer)) => HookReply::Custom {
            status: answer.status,
            headers: answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            body: answer.body.clone(),
        },
        _ => HookReply::Result { status, output: value_of(&ended.finished.output) },
    }
}
