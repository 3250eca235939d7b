//! Record events start runs: one dispatcher a workspace follows the workspace's log, in commit order, whatever wrote
//! the records. Its place in the log moves in the same commit that puts the runs into the queue, so each event starts
//! each run exactly once. Nothing is written for events that nobody listens to: their place is found again.
mod batch;
mod by_hand;
mod decide;
mod listeners;
mod place;
mod question;
mod settle;
#[cfg(test)]
mod tests;

pub(crate) use by_hand::trigger as trigger_by_hand;
pub(crate) use listeners::{Listener, Listeners};
pub(crate) use question::Question;

use crate::core::{Ctx, keep_up};
use crate::tables::runs::timestamp;
use futures::FutureExt;
use place::Place;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use stepwell_records::EventKind;
use stepwell_workflow::model::RecordChange;
use tokio::sync::Notify;

/// So many runs may start each other by what they write; the event that would start one more starts none.
pub(crate) const MAX_DEPTH: u32 = 8;

/// Hints may be lost, so the dispatcher looks now and then without one.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What others may ask and tell the dispatcher of a workspace.
#[derive(Default)]
pub(crate) struct Dispatcher {
    listeners: RwLock<Arc<Listeners>>,
    /// Everything before this position of the log was seen.
    position: AtomicU64,
    changed: Notify,
    started: AtomicBool,
}

impl Dispatcher {
    pub(crate) fn listeners(&self) -> Arc<Listeners> {
        self.listeners.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(crate) fn set_listeners(&self, listeners: Listeners) {
        *self.listeners.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(listeners);
        self.changed.notify_one();
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(SeqCst)
    }
}

/// Begins to dispatch, once.
pub(crate) fn start(ctx: &Ctx) {
    if !ctx.ws.events.started.swap(true, SeqCst) {
        let task = ctx.clone();
        let watch = move || watch(task.clone()).boxed();
        ctx.core.tasks.spawn(keep_up(ctx.core.clone(), "the task of record events", watch));
    }
}

/// Goes on until the engine closes.
async fn watch(ctx: Ctx) {
    let mut place = loop {
        match Place::load(&ctx).await {
            Ok(place) => break place,
            Err(refused) => {
                tracing::warn!(%refused, "what record events are to start cannot be read; trying again")
            }
        }
        if !ctx.pause_for_store().await {
            return;
        }
    };
    loop {
        // Before anything is read, so that nothing is missed in between.
        let mut hints = ctx.core.ports.store.hints();
        loop {
            match place.round(&ctx).await {
                Ok(()) => break,
                Err(refused) if refused.is_conflict() => ctx.ws.schema.forget(),
                Err(refused) => {
                    tracing::warn!(workspace = %ctx.ws.name, %refused, "record events are not dispatched; trying again");
                    if !ctx.pause_for_store().await {
                        return;
                    }
                }
            }
            if ctx.core.closing.is_cancelled() {
                return;
            }
        }
        let listens = !ctx.ws.events.listeners().is_empty();
        let news = async {
            if !listens {
                return std::future::pending().await;
            }
            // One that lags has missed something: that is as good as a hint.
            while hints.recv().await.is_ok_and(|shard| shard != ctx.ws.shard) {}
        };
        let look = async {
            match listens {
                true => ctx.core.ports.clock.sleep(LOOK_EVERY).await,
                false => std::future::pending().await,
            }
        };
        let settled = async {
            match place.next_due() {
                Some(due) => ctx.core.ports.clock.sleep_until(timestamp(due)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ctx.core.closing.cancelled() => return,
            () = ctx.ws.events.changed.notified() => {}
            () = settled => {}
            () = news => {}
            () = look => {}
        }
    }
}

fn change(kind: EventKind) -> RecordChange {
    match kind {
        EventKind::Created => RecordChange::Created,
        EventKind::Updated => RecordChange::Updated,
        EventKind::Deleted => RecordChange::Deleted,
        EventKind::Restored => RecordChange::Restored,
    }
}

/// What the log holds; nothing where it cannot be read, which is told.
fn readable<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let read = serde_json::from_slice(json);
    read.inspect_err(|error| tracing::error!(%error, "a record event cannot be read, and starts nothing"))
        .ok()
}
