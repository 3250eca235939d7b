//! Where the dispatcher of a workspace is, and what it does from there: a batch after the other of what the log has,
//! and then what has settled. All of it is read again after a restart.
use super::batch::Batch;
use super::listeners::Listeners;
use super::settle::{Of, Settlings};
use super::{change, readable};
use crate::core::{Ctx, worth_waiting};
use crate::tables::{self, dispatch, dispatch::Cursor};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use stepwell_records::EventKind;
use stepwell_store::{LogError, Refused, Value, Want, read_log};
use uuid::Uuid;

/// Rows of the log read at once: so many at first, and then as they are large or small.
const FIRST_ROWS: usize = 16;
const MOST_ROWS: usize = 64;
/// Rows that were read and wait are about so large.
const PAGE_BYTES: usize = 256 << 10;
/// So far may the place in the store fall behind where nothing was to be started, and so many decisions would be made
/// again after a restart.
const LAZY_ROWS: u64 = 10_000;
const LAZY_DECISIONS: usize = 10_000;
/// So much is started of what has settled before the log is looked at again.
const SETTLED_AT_ONCE: usize = 200;

pub(crate) struct Place {
    cursor: Cursor,
    /// The position that the store has, and how many decisions were made since.
    stored: u64,
    decided: usize,
    settlings: Settlings,
    /// What was read of the log and is not done, from the cursor's position on.
    rows: VecDeque<(u64, Value)>,
    /// How many rows are read next.
    page: usize,
    /// One decision a commit: one of the last ones made a commit that the store does not take.
    careful: bool,
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
    id: Uuid,
    #[serde(borrow)]
    fields: BTreeSet<Cow<'a, str>>,
}

impl Place {
    pub(crate) async fn load(ctx: &Ctx) -> Result<Self, Refused> {
        let key = dispatch::cursor_key(ctx.ws.id);
        let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key.clone())]).await?;
        let row = view.rows.into_iter().flatten().next();
        let read = row.map_or(Ok(Cursor::default()), |(_, value)| tables::decode(&key, &value));
        let cursor = match read {
            Ok(cursor) => cursor,
            // To begin anew would start once more what was started.
            Err(refused) => {
                let head = ctx.core.ports.store.log_head(ctx.ws.log).await?;
                tracing::error!(
                    workspace = %ctx.ws.name, %refused, head,
                    "how far record events were dispatched cannot be read; those before {head} start nothing more"
                );
                Cursor::at(head)
            }
        };
        let settlings = Settlings::load(ctx).await?;
        ctx.ws.events.position.store(cursor.position, SeqCst);
        Ok(Self {
            stored: cursor.position,
            decided: 0,
            cursor,
            settlings,
            rows: VecDeque::new(),
            page: FIRST_ROWS,
            careful: false,
        })
    }

    /// When something has settled next.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.settlings.next_due()
    }

    /// Everything that is there to do now.
    pub(crate) async fn round(&mut self, ctx: &Ctx) -> Result<(), Refused> {
        loop {
            // What has settled by now has its last change before the end of the log as it is now: so it waits for that
            // much to be read, and no longer.
            let now_ms = ctx.now_ms();
            let head = ctx.core.ports.store.log_head(ctx.ws.log).await?;
            while self.page(ctx).await? && self.cursor.position < head && !ctx.core.closing.is_cancelled() {}
            while !ctx.core.closing.is_cancelled() && self.settle(ctx, now_ms).await? {}
            let listens = !ctx.ws.events.listeners().is_empty();
            if ctx.core.closing.is_cancelled() || !listens || self.cursor.position >= head {
                return Ok(());
            }
        }
    }

    /// One batch of what the log has; false at its end.
    async fn page(&mut self, ctx: &Ctx) -> Result<bool, Refused> {
        let listeners = ctx.ws.events.listeners();
        let Some(since) = listeners.since() else { return Ok(false) };
        if self.cursor.position < since {
            self.moved(ctx, Cursor::at(since));
        }
        if !self.read(ctx).await? {
            return Ok(false);
        }
        let mut batch = Batch::new(ctx, &self.settlings, self.careful);
        let mut next = Cursor::at(self.cursor.position + self.rows.len() as u64);
        for (position, value) in &self.rows {
            if let Some(rest) = self.row(&listeners, &mut batch, *position, value).await? {
                next = rest;
                break;
            }
        }
        let decided = self.decided + batch.decided();
        let lazily = next.position - self.stored < LAZY_ROWS && decided < LAZY_DECISIONS;
        if batch.is_empty() && lazily {
            batch.comes_to_nothing().await?;
            self.decided = decided;
            self.moved(ctx, next);
        } else {
            let committed = batch.commit(&next).await;
            self.committed(ctx, committed, next, None).await?;
        }
        Ok(true)
    }

    /// Sees that there are rows from the cursor on; false at the end of the log.
    async fn read(&mut self, ctx: &Ctx) -> Result<bool, Refused> {
        while self.rows.front().is_some_and(|(position, _)| *position < self.cursor.position) {
            self.rows.pop_front();
        }
        if !self.rows.is_empty() {
            return Ok(true);
        }
        loop {
            let from = self.cursor.position;
            match read_log(&*ctx.core.ports.store, ctx.ws.log, from, self.page).await {
                Ok(page) => {
                    let bytes = page.rows.iter().map(|(_, value)| value.len()).sum();
                    self.page = rows_next(self.page, page.rows.len(), bytes);
                    self.rows = page.rows.into();
                    return Ok(!self.rows.is_empty());
                }
                Err(LogError::Refused(refused)) => return Err(refused),
                // Rows are removed only when they were seen, or nobody listened.
                Err(LogError::Pruned { first }) => self.moved(ctx, Cursor::at(first)),
                Err(LogError::Ahead { head }) => {
                    tracing::error!(position = from, head, "the log ends before what was dispatched of it");
                    self.moved(ctx, Cursor::at(head));
                    return Ok(false);
                }
            }
        }
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
            let before = self.cursor.after.as_deref().filter(|_| here && number == self.cursor.event);
            let settling = batch.settling(brief.id).into_iter();
            let interested = listeners.interested(&brief.object, change(brief.kind), &brief.fields, settling);
            let Some(interested) = interested else { continue };
            let Some(mut event) = batch.event(event.get(), row.at_ms).await? else { continue };
            let interested = interested.listeners(event.subject(), position, before);
            let mut done = before;
            for candidate in interested {
                let name = Some(&*candidate.listener.flow.name);
                if event.is_denied(&candidate) {
                    done = name;
                    continue;
                }
                if batch.is_full() {
                    // This one comes first in the next batch: what came before it in this row is done.
                    return Ok(Some(Cursor { position, event: number, after: done.map(str::to_owned) }));
                }
                batch.take(&candidate, &mut event).await?;
                done = name;
            }
        }
        Ok(None)
    }

    /// Starts what has settled by then; false when nothing has.
    async fn settle(&mut self, ctx: &Ctx, by_ms: i64) -> Result<bool, Refused> {
        let due = self.settlings.due(by_ms, if self.careful { 1 } else { SETTLED_AT_ONCE });
        if due.is_empty() {
            return Ok(false);
        }
        let listeners = ctx.ws.events.listeners();
        let mut batch = Batch::new(ctx, &self.settlings, self.careful);
        for of in &due {
            if batch.is_full() {
                break;
            }
            batch.settled(listeners.named(&of.0), of, by_ms).await?;
        }
        let cursor = self.cursor.clone();
        let committed = batch.commit(&cursor).await;
        self.committed(ctx, committed, cursor, due.first()).await?;
        Ok(true)
    }

    /// After a commit. What the store does not take is done again one decision at a time, and what it does not take
    /// then is left out, with the change that was to settle.
    async fn committed(
        &mut self,
        ctx: &Ctx,
        committed: Result<Vec<(Of, Option<i64>)>, Refused>,
        next: Cursor,
        settling: Option<&Of>,
    ) -> Result<(), Refused> {
        let changed = match committed {
            Ok(changed) => {
                self.careful = false;
                changed
            }
            Err(refused) if worth_waiting(&refused) => return Err(refused),
            Err(_) if !self.careful => {
                self.careful = true;
                return Ok(());
            }
            Err(refused) => {
                let mut left_out = Batch::new(ctx, &self.settlings, true);
                if let Some(of) = settling {
                    left_out.drop_settling(of);
                }
                let changed = left_out.commit(&next).await?;
                tracing::error!(
                    workspace = %ctx.ws.name, position = self.cursor.position, event = self.cursor.event, %refused,
                    "a record event starts no run"
                );
                self.careful = false;
                changed
            }
        };
        for (of, due) in changed {
            self.settlings.set(of, due);
        }
        self.stored = next.position;
        self.decided = 0;
        self.moved(ctx, next);
        Ok(())
    }

    fn moved(&mut self, ctx: &Ctx, next: Cursor) {
        ctx.ws.events.position.store(next.position, SeqCst);
        self.cursor = next;
    }
}

/// How many rows to read after so many of so many bytes.
fn rows_next(asked: usize, got: usize, bytes: usize) -> usize {
    let fit = PAGE_BYTES.saturating_mul(got.max(1)) / bytes.max(1);
    fit.clamp(1, MOST_ROWS).min(asked.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_rows_are_read_at_once_and_many_small_ones() {
        let mut page = FIRST_ROWS;
        for _ in 0..10 {
            page = rows_next(page, page, page * 1000);
        }
        assert_eq!(page, MOST_ROWS);
        assert_eq!(rows_next(page, page, page * 300_000), 1);
        assert_eq!(rows_next(1, 1, 500), 2);
        assert_eq!(rows_next(16, 0, 0), 32);
    }
}
