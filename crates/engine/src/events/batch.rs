//! What one commit of the dispatcher starts: runs for the queue, changes that begin to settle or go on to, and how
//! far the log was read.
use super::decide::{Decision, Happened, counts, decide};
use super::listeners::Listener;
use super::settle::{Of, Settlings};
use super::{change, readable};
use crate::begin::{self, NewRun, Rows};
use crate::core::Ctx;
use crate::feed;
use crate::start::seen;
use crate::stats::add;
use crate::tables;
use crate::tables::dispatch::{self, Cursor, Settling};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use stepwell_records::schema::Schema;
use stepwell_records::{RecordEvent, RecordsError};
use stepwell_store::{Refused, Txn};
use stepwell_workflow::model::RecordChange;
use uuid::Uuid;

pub(crate) struct Batch<'a> {
    ctx: &'a Ctx,
    txn: Txn,
    schema: Option<Arc<Schema>>,
    known: &'a Settlings,
    /// What waits to settle after this batch, where it is not as before.
    settling: HashMap<Of, Option<i64>>,
    runs: Vec<Rows>,
    loops: u64,
}

/// An event, and when it was committed.
pub(crate) struct Told {
    happened: Happened,
    at_ms: i64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(ctx: &'a Ctx, known: &'a Settlings) -> Self {
        Self {
            ctx,
            txn: Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard),
            schema: None,
            known,
            settling: HashMap::new(),
            runs: Vec::new(),
            loops: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.settling.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        begin::is_full(&self.txn)
    }

    /// An event of the log as workflows see it, with the object as it is now.
    /// One that cannot be read is nobody's, and keeps the others from nothing.
    pub(crate) async fn event(&mut self, json: &str, at_ms: i64) -> Result<Option<Told>, Refused> {
        let Some(event) = readable::<RecordEvent>(json.as_bytes()) else { return Ok(None) };
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => {
                let schema =
                    self.ctx.ws.schema.get(self.ctx, &mut self.txn).await.map_err(|error| match error {
                        RecordsError::Store(refused) => refused,
                        error => Refused::Damaged(error.to_string()),
                    })?;
                self.schema.insert(schema).clone()
            }
        };
        let Ok(object) = schema.object(&event.object) else { return Ok(None) };
        let happened = Happened {
            change: change(event.kind),
            before: event.before(object),
            after: event.after(object),
            object: event.object,
            record: event.id,
            fields: event.fields,
            origin: event.origin,
        };
        Ok(Some(Told { happened, at_ms }))
    }

    /// What an event comes to for one workflow.
    pub(crate) async fn take(&mut self, listener: &Listener, told: &Told) -> Result<(), Refused> {
        let Some(event) = listener.event() else { return Ok(()) };
        let Told { happened, at_ms } = told;
        if !event.takes(happened.change) {
            // The record is gone, and with it what was about to be told of it.
            return self.drop_settling((listener.flow.name.clone(), happened.record));
        }
        if !counts(listener, event, happened) {
            return Ok(());
        }
        match event.settle {
            None => self.start(listener, happened).await,
            Some(settle) => {
                let span = i64::try_from(settle.0).unwrap_or(i64::MAX);
                self.go_on_settling(listener, happened, at_ms.saturating_add(span)).await
            }
        }
    }

    async fn start(&mut self, listener: &Listener, happened: &Happened) -> Result<(), Refused> {
        let (ctx, flow) = (self.ctx, &listener.flow);
        let depth = happened.origin.depth;
        let rows = match decide(flow, happened, ctx.core.ports.clock.now()) {
            Decision::Nothing => return Ok(()),
            Decision::Run(trigger) => NewRun::rows(ctx, flow, seen(ctx, flow, trigger), depth).await?,
            Decision::Fail(trigger, failure) => {
                self.loops += u64::from(failure.code == "event_loop");
                tracing::warn!(
                    workspace = %ctx.ws.name, workflow = %flow.name, record = %happened.record,
                    code = %failure.code, "a record event starts no run: {}", failure.message
                );
                let run = NewRun::without_actions(ctx, flow, seen(ctx, flow, trigger), depth);
                run.failed(ctx, &failure).await?
            }
        };
        rows.put(&mut self.txn);
        self.runs.push(rows);
        Ok(())
    }

    /// Whether something waits to settle, this batch counted in.
    fn is_settling(&self, of: &Of) -> bool {
        self.settling.get(of).map_or_else(|| self.known.contains(of), Option::is_some)
    }

    fn drop_settling(&mut self, of: Of) -> Result<(), Refused> {
        if self.is_settling(&of) {
            self.txn.delete(dispatch::settling_key(self.ctx.ws.id, &of.0, of.1));
            self.txn.delete(dispatch::before_key(self.ctx.ws.id, &of.0, of.1));
            self.settling.insert(of, None);
        }
        Ok(())
    }

    async fn go_on_settling(
        &mut self,
        listener: &Listener,
        happened: &Happened,
        due_ms: i64,
    ) -> Result<(), Refused> {
        let of = (listener.flow.name.clone(), happened.record);
        let key = dispatch::settling_key(self.ctx.ws.id, &of.0, of.1);
        let known = match self.is_settling(&of) {
            true => self.txn.get(&key).await?,
            false => None,
        };
        let mut row = Settling {
            due_ms,
            event: happened.change.name().to_owned(),
            object: happened.object.clone(),
            fields: happened.fields.clone(),
            after: happened.after.clone(),
            origin: happened.origin.clone(),
        };
        match known {
            None if !happened.before.is_null() => {
                let before = dispatch::before_key(self.ctx.ws.id, &of.0, of.1);
                self.txn.put(before, tables::encode(&happened.before)?);
            }
            None => {}
            Some(value) => {
                let first: Settling = tables::decode(&key, &value)?;
                row.event = first.event;
                row.fields.extend(first.fields);
                row.origin.depth = row.origin.depth.max(first.origin.depth);
            }
        }
        self.txn.put(key, tables::encode(&row)?);
        self.settling.insert(of, Some(due_ms));
        Ok(())
    }

    /// Starts what has settled; one whose workflow listens no more starts nothing.
    pub(crate) async fn settled(
        &mut self,
        listener: Option<&Listener>,
        workflow: &str,
        record: Uuid,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let of = (workflow.to_owned(), record);
        let (key, before_key) = (
            dispatch::settling_key(self.ctx.ws.id, workflow, record),
            dispatch::before_key(self.ctx.ws.id, workflow, record),
        );
        let rows = self.txn.get_many(&[key.clone(), before_key.clone()]).await?;
        let mut rows = rows.into_iter();
        let (row, before) = (rows.next().flatten(), rows.next().flatten());
        let row: Option<Settling> = row.map(|value| tables::decode(&key, &value)).transpose()?;
        if let Some(later) = row.as_ref().filter(|row| row.due_ms > now_ms) {
            self.settling.insert(of, Some(later.due_ms));
            return Ok(());
        }
        let before: Option<Value> = before.map(|value| tables::decode(&before_key, &value)).transpose()?;
        self.drop_settling(of)?;
        let (Some(listener), Some(row)) = (listener, row) else { return Ok(()) };
        if listener.event().is_none_or(|event| event.object != row.object) {
            return Ok(());
        }
        let before = before.unwrap_or(Value::Null);
        let change = match (before.is_null(), row.after.is_null()) {
            // It came and went.
            (true, true) => return Ok(()),
            (true, false) if row.event == RecordChange::Restored.name() => RecordChange::Restored,
            (true, false) => RecordChange::Created,
            (false, true) => RecordChange::Deleted,
            (false, false) => RecordChange::Updated,
        };
        let Settling { object, fields, after, origin, .. } = row;
        self.start(listener, &Happened { change, object, record, fields, before, after, origin }).await
    }

    /// Commits all of it with the place in the log, and says what waits to settle now, where that has changed.
    pub(crate) async fn commit(mut self, next: &Cursor) -> Result<HashMap<Of, Option<i64>>, Refused> {
        let ctx = self.ctx;
        let key = dispatch::cursor_key(ctx.ws.id);
        self.txn.put(key, tables::encode(next)?);
        if !self.runs.is_empty() {
            let moved: Vec<_> = self.runs.iter().map(|rows| &rows.moved).collect();
            self.txn.append(ctx.ws.log, feed::queued_row(ctx.now_ms(), &moved)?);
        }
        self.txn.commit().await?;
        add(&ctx.core.stats.event_runs, self.runs.len() as u64);
        add(&ctx.core.stats.event_loops_stopped, self.loops);
        self.runs.iter().for_each(|rows| rows.stored(ctx));
        Ok(self.settling)
    }
}
