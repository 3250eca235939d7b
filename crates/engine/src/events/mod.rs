//! Record events start runs: one dispatcher a workspace follows the workspace's log, in commit order, whatever wrote
//! the records. Its place in the log moves in the same commit that puts the runs into the queue, so each event starts
//! each run exactly once. Nothing is written for events that nobody listens to: their place is found again.
mod batch;
mod by_hand;
mod decide;
mod listeners;
mod settle;

pub(crate) use by_hand::trigger as trigger_by_hand;
pub(crate) use listeners::Listeners;

use crate::core::Ctx;
use crate::tables::dispatch::{self, Cursor, Settling};
use crate::tables::{self, runs::timestamp};
use batch::Batch;
use serde::Deserialize;
use serde_json::value::RawValue;
use settle::{Of, Settlings};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use stepwell_records::EventKind;
use stepwell_store::{LogError, Refused, Value, Want, all_rows, read_log};
use stepwell_workflow::model::RecordChange;
use tokio::sync::Notify;

/// So many runs may start each other by what they write; the event that would start one more starts none.
pub(crate) const MAX_DEPTH: u32 = 8;

/// Rows of the log read at once.
const PAGE: usize = 256;
/// Hints may be lost, so the dispatcher looks now and then without one.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// So far may the place in the store fall behind where nothing was to be started.
const LAZY_ROWS: u64 = 10_000;

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
        ctx.core.tasks.spawn(watch(ctx.clone()));
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
            match place.settlings.next_due() {
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

/// What the dispatcher knows of its work; all of it is read again after a restart.
struct Place {
    cursor: Cursor,
    /// The position that the store has.
    stored: u64,
    settlings: Settlings,
}

/// The part of a log's row that matters here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Row<'a> {
    #[serde(rename = "t")]
    at_ms: i64,
    #[serde(rename = "x", borrow)]
    records: Vec<&'a RawValue>,
}

/// What tells whether anybody listens to an event.
#[derive(Deserialize)]
struct Brief<'a> {
    kind: EventKind,
    #[serde(borrow)]
    object: Cow<'a, str>,
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

impl Place {
    async fn load(ctx: &Ctx) -> Result<Self, Refused> {
        let key = dispatch::cursor_key(ctx.ws.id);
        let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key.clone())]).await?;
        let row = view.rows.into_iter().flatten().next();
        let cursor: Cursor =
            row.map(|(_, value)| tables::decode(&key, &value)).transpose()?.unwrap_or_default();
        let mut settlings = Settlings::default();
        let rows = all_rows(&*ctx.core.ports.store, ctx.ws.shard, dispatch::all_settling(ctx.ws.id)).await?;
        for (key, value) in rows {
            if let Some(of) = dispatch::settling_parts(&key)? {
                let row: Settling = tables::decode(&key, &value)?;
                settlings.set(of, Some(row.due_ms));
            }
        }
        ctx.ws.events.position.store(cursor.position, SeqCst);
        Ok(Self { stored: cursor.position, cursor, settlings })
    }

    /// Everything that is there to do now.
    async fn round(&mut self, ctx: &Ctx) -> Result<(), Refused> {
        while self.page(ctx).await? {
            if ctx.core.closing.is_cancelled() {
                return Ok(());
            }
        }
        // Only now: the last change of a record may just have been read.
        while self.settle(ctx).await? && !ctx.core.closing.is_cancelled() {}
        Ok(())
    }

    /// One page of the log; false at its end.
    async fn page(&mut self, ctx: &Ctx) -> Result<bool, Refused> {
        let listeners = ctx.ws.events.listeners();
        let Some(since) = listeners.since() else { return Ok(false) };
        if self.cursor.position < since {
            self.moved(ctx, Cursor::at(since));
        }
        let page = match read_log(&*ctx.core.ports.store, ctx.ws.log, self.cursor.position, PAGE).await {
            Ok(page) => page,
            Err(LogError::Refused(refused)) => return Err(refused),
            // Rows are removed only when they were seen, or nobody listened.
            Err(LogError::Pruned { first }) => {
                self.moved(ctx, Cursor::at(first));
                return Ok(true);
            }
            Err(LogError::Ahead { head }) => {
                tracing::error!(
                    position = self.cursor.position,
                    head,
                    "the log ends before what was dispatched of it"
                );
                self.moved(ctx, Cursor::at(head));
                return Ok(false);
            }
        };
        if page.rows.is_empty() {
            return Ok(false);
        }
        let mut batch = Batch::new(ctx, &self.settlings);
        for (position, value) in &page.rows {
            if let Some(rest) = self.row(&listeners, &mut batch, *position, value).await? {
                let settling = batch.commit(&rest).await?;
                self.committed(ctx, settling, rest);
                return Ok(true);
            }
        }
        let next = Cursor::at(page.next);
        if batch.is_empty() && page.next - self.stored < LAZY_ROWS {
            self.moved(ctx, next);
        } else {
            let settling = batch.commit(&next).await?;
            self.committed(ctx, settling, next);
        }
        Ok(true)
    }

    /// One row of the log; where to go on when the batch is full before its end.
    async fn row(
        &self,
        listeners: &Listeners,
        batch: &mut Batch<'_>,
        position: u64,
        value: &Value,
    ) -> Result<Option<Cursor>, Refused> {
        let json = value.split_first().map_or(&[][..], |(_, json)| json);
        let Some(row) = readable::<Row<'_>>(json) else { return Ok(None) };
        let here = self.cursor.position == position;
        let skip = if here { self.cursor.event } else { 0 };
        for (number, event) in row.records.iter().enumerate().skip(skip) {
            let Some(brief) = readable::<Brief<'_>>(event.get().as_bytes()) else { continue };
            let done = self.cursor.after.as_deref().filter(|_| here && number == self.cursor.event);
            let interested = listeners.interested(&brief.object, change(brief.kind), position);
            let mut interested =
                interested.filter(|listener| done.is_none_or(|done| *listener.flow.name > *done));
            let Some(mut listener) = interested.next() else { continue };
            let Some(event) = batch.event(event.get(), row.at_ms).await? else { continue };
            loop {
                if batch.is_full() {
                    // This one comes first in the next batch: what came before it in this row is done.
                    let after = listeners.before(&brief.object, listener).or(done).map(str::to_owned);
                    return Ok(Some(Cursor { position, event: number, after }));
                }
                batch.take(listener, &event).await?;
                match interested.next() {
                    Some(next) => listener = next,
                    None => break,
                }
            }
        }
        Ok(None)
    }

    /// Starts what has settled; false when nothing is due.
    async fn settle(&mut self, ctx: &Ctx) -> Result<bool, Refused> {
        let now_ms = ctx.now_ms();
        let due = self.settlings.due(now_ms);
        if due.is_empty() {
            return Ok(false);
        }
        let listeners = ctx.ws.events.listeners();
        let mut batch = Batch::new(ctx, &self.settlings);
        for (workflow, record) in due {
            if batch.is_full() {
                break;
            }
            batch.settled(listeners.named(&workflow), &workflow, record, now_ms).await?;
        }
        let cursor = self.cursor.clone();
        let settling = batch.commit(&cursor).await?;
        self.committed(ctx, settling, cursor);
        Ok(true)
    }

    fn committed(&mut self, ctx: &Ctx, settling: HashMap<Of, Option<i64>>, next: Cursor) {
        for (of, due) in settling {
            self.settlings.set(of, due);
        }
        self.stored = next.position;
        self.moved(ctx, next);
    }

    fn moved(&mut self, ctx: &Ctx, next: Cursor) {
        ctx.ws.events.position.store(next.position, SeqCst);
        self.cursor = next;
    }
}
