//! What one commit of the dispatcher starts: runs for the queue, changes that begin to settle or go on to, and how
//! far the log was read.
use super::decide::{Decision, Happened, Shown, counts, decide, part};
use super::listeners::{Candidate, Listener};
use super::settle::{Of, Settlings};
use super::{change, readable};
use crate::begin::{self, NewRun, Placed, Rows};
use crate::core::{Ctx, alone};
use crate::feed;
use crate::start::seen;
use crate::stats::add;
use crate::tables::dispatch::{self, Cursor, Settling};
use crate::tables::{self, runs::timestamp};
use futures::FutureExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use stepwell_records::filter::is_empty;
use stepwell_records::schema::Schema;
use stepwell_records::{RecordEvent, RecordsError};
use stepwell_store::{Refused, Savepoint, Txn};
use stepwell_workflow::machine::Failure;
use stepwell_workflow::model::RecordChange;
use uuid::Uuid;

/// A batch ends after so long: what it has is worth more on disk, and what it rests on must not grow old.
const LASTS: Duration = Duration::from_millis(50);
/// Or after so many decisions.
const DECISIONS: usize = 10_000;
/// Others have their turn after so many decisions.
const IN_A_ROW: usize = 32;

/// What waits to settle of a record, by workflow, where it is not as before.
type Changed = HashMap<Uuid, BTreeMap<String, Option<i64>>>;

pub(crate) struct Batch<'a> {
    ctx: &'a Ctx,
    txn: Txn,
    schema: Option<Arc<Schema>>,
    known: &'a Settlings,
    settling: Changed,
    runs: Vec<Placed>,
    loops: u64,
    began: Duration,
    decided: usize,
    decisions: usize,
    /// An object was not in the schema.
    unknown: bool,
}

/// An event, and when it was committed.
pub(crate) struct Told {
    happened: Happened,
    shown: Shown,
    at_ms: i64,
}

impl Told {
    /// What conditions are asked of, where they are.
    pub(crate) fn subject(&self) -> Option<&Value> {
        self.shown.subject()
    }

    /// Whether it is known that this is nothing for one who is looked at on account of what it asks.
    pub(crate) fn is_denied(&self, candidate: &Candidate<'_>) -> bool {
        candidate.asks.is_some_and(|question| self.shown.is_denied(question))
    }
}

/// A place in a batch to go back to.
struct Before {
    txn: Savepoint,
    runs: usize,
    loops: u64,
    settling: Option<BTreeMap<String, Option<i64>>>,
}

impl<'a> Batch<'a> {
    /// `one` decision makes it full.
    pub(crate) fn new(ctx: &'a Ctx, known: &'a Settlings, one: bool) -> Self {
        Self {
            ctx,
            txn: Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard),
            schema: None,
            known,
            settling: HashMap::new(),
            runs: Vec::new(),
            loops: 0,
            began: ctx.core.ports.clock.elapsed(),
            decided: 0,
            decisions: if one { 1 } else { DECISIONS },
            unknown: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.settling.is_empty()
    }

    /// How many times somebody was asked whether an event is for them.
    pub(crate) fn decided(&self) -> usize {
        self.decided
    }

    /// Whether the next decision is for another batch. One decision always fits.
    pub(crate) fn is_full(&self) -> bool {
        let lasted = || self.ctx.core.ports.clock.elapsed().saturating_sub(self.began);
        self.decided > 0
            && (begin::is_full(&self.txn)
                || self.decided >= self.decisions
                || self.ctx.core.closing.is_cancelled()
                || lasted() >= LASTS)
    }

    /// An event of the log as workflows see it, with the object as it is now: what the batch comes to rests on that,
    /// since an object or a field may be as new as the event.
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
        let Ok(object) = schema.object(&event.object) else {
            self.unknown = true;
            return Ok(None);
        };
        let happened = Happened {
            change: change(event.kind),
            before: event.before(object),
            after: event.after(object),
            object: event.object,
            record: event.id,
            fields: event.fields,
            origin: event.origin,
        };
        let shown = Shown::of(&happened, timestamp(at_ms));
        Ok(Some(Told { happened, shown, at_ms }))
    }

    /// What an event comes to for one workflow.
    pub(crate) async fn take(&mut self, candidate: &Candidate<'_>, told: &mut Told) -> Result<(), Refused> {
        let listener = candidate.listener;
        self.decided += 1;
        if self.decided.is_multiple_of(IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        // Most are not for most.
        let counts = listener.event().is_some_and(|event| counts(listener, event, &told.happened));
        if !counts && !self.is_settling(&listener.flow.name, told.happened.record) {
            return Ok(());
        }
        if candidate.asks.is_some() && told.shown.denies(listener) {
            return Ok(());
        }
        let before = self.here(told.happened.record);
        let Err(why) = alone(self.look(listener, told).boxed()).await? else { return Ok(()) };
        let Told { happened, shown, .. } = told;
        self.back_to(before, happened.record);
        tracing::error!(
            workspace = %self.ctx.ws.name, workflow = %listener.flow.name, record = %happened.record, why,
            "a record event starts no run"
        );
        // Where people look for it; what cannot be stored is left out.
        let before = self.here(happened.record);
        let failure = Failure::engine("internal", format!("the event could not start a run: {why}"));
        let fail = self.fail(listener, shown.trigger(), failure, happened.origin.depth).boxed();
        if alone(fail).await?.is_err() {
            self.back_to(before, happened.record);
        }
        Ok(())
    }

    async fn look(&mut self, listener: &Listener, told: &mut Told) -> Result<(), Refused> {
        let Told { happened, shown, at_ms } = told;
        let Some(event) = listener.event() else { return Ok(()) };
        let of = (listener.flow.name.clone(), happened.record);
        let counts = counts(listener, event, happened);
        let settles = if counts { event.settle } else { None };
        if self.is_settling(&of.0, of.1) {
            match self.settling_row(&of).await? {
                // Nothing came in time: this is the first change after it.
                Some(row) if row.due_ms <= *at_ms => self.start_settled(Some(listener), &of).await?,
                Some(row) if row.service == listener.service => {
                    let due_ms = settles.map_or(row.due_ms, |settle| settles_at(*at_ms, settle));
                    self.go_on_settling(of, row, happened, due_ms, counts)?;
                    return match event.settle.is_none() && counts {
                        true => self.start(listener, happened, shown).await,
                        false => Ok(()),
                    };
                }
                _ => self.drop_settling(&of),
            }
        }
        match settles {
            Some(settle) => self.begin_to_settle(listener, of, happened, settles_at(*at_ms, settle)),
            None if counts => self.start(listener, happened, shown).await,
            None => Ok(()),
        }
    }

    async fn start(
        &mut self,
        listener: &Listener,
        happened: &Happened,
        shown: &mut Shown,
    ) -> Result<(), Refused> {
        let (ctx, flow) = (self.ctx, &listener.flow);
        let depth = happened.origin.depth;
        match decide(listener, &happened.origin, shown) {
            Decision::Nothing => Ok(()),
            Decision::Run(trigger) => {
                let rows = NewRun::rows(ctx, flow, seen(ctx, flow, trigger), depth).await?;
                self.put(&rows).await
            }
            Decision::Fail(trigger, failure) => {
                self.loops += u64::from(failure.code == "event_loop");
                tracing::warn!(
                    workspace = %ctx.ws.name, workflow = %flow.name, record = %happened.record,
                    code = %failure.code, "a record event starts no run: {}", failure.message
                );
                self.fail(listener, trigger, failure, depth).await
            }
        }
    }

    async fn fail(
        &mut self,
        listener: &Listener,
        trigger: Value,
        failure: Failure,
        depth: u32,
    ) -> Result<(), Refused> {
        let (ctx, flow) = (self.ctx, &listener.flow);
        let run = NewRun::without_actions(ctx, flow, seen(ctx, flow, trigger), depth);
        let rows = run.failed(ctx, &failure).await?;
        self.put(&rows).await
    }

    async fn put(&mut self, rows: &Rows) -> Result<(), Refused> {
        let placed = rows.put(self.ctx, &mut self.txn).await?;
        self.runs.push(placed);
        Ok(())
    }

    fn here(&self, record: Uuid) -> Before {
        let settling = self.settling.get(&record).cloned();
        Before { txn: self.txn.savepoint(), runs: self.runs.len(), loops: self.loops, settling }
    }

    fn back_to(&mut self, before: Before, record: Uuid) {
        self.txn.rollback_to(before.txn);
        self.runs.truncate(before.runs);
        self.loops = before.loops;
        match before.settling {
            Some(settling) => self.settling.insert(record, settling),
            None => self.settling.remove(&record),
        };
    }

    /// The workflows for which a record is about to settle, this batch counted in.
    pub(crate) fn settling(&self, record: Uuid) -> BTreeSet<String> {
        let mut workflows: BTreeSet<String> = self.known.of_record(record).map(str::to_owned).collect();
        for (workflow, due) in self.settling.get(&record).into_iter().flatten() {
            match due {
                Some(_) => workflows.insert(workflow.clone()),
                None => workflows.remove(workflow),
            };
        }
        workflows
    }

    fn is_settling(&self, workflow: &str, record: Uuid) -> bool {
        let changed = self.settling.get(&record).and_then(|workflows| workflows.get(workflow));
        changed.map_or_else(|| self.known.contains(workflow, record), Option::is_some)
    }

    fn set_settling(&mut self, (workflow, record): Of, due_ms: Option<i64>) {
        self.settling.entry(record).or_default().insert(workflow, due_ms);
    }

    async fn settling_row(&mut self, of: &Of) -> Result<Option<Settling>, Refused> {
        let key = dispatch::settling_key(self.ctx.ws.id, &of.0, of.1);
        let Some(value) = self.txn.get(&key).await? else { return Ok(None) };
        let row = tables::decode(&key, &value);
        Ok(row.inspect_err(|refused| tracing::error!(%refused, "a change that settles is lost")).ok())
    }

    /// Forgets that something was to settle.
    pub(crate) fn drop_settling(&mut self, of: &Of) {
        self.txn.delete(dispatch::settling_key(self.ctx.ws.id, &of.0, of.1));
        self.txn.delete(dispatch::before_key(self.ctx.ws.id, &of.0, of.1));
        self.set_settling(of.clone(), None);
    }

    fn begin_to_settle(
        &mut self,
        listener: &Listener,
        of: Of,
        happened: &Happened,
        due_ms: i64,
    ) -> Result<(), Refused> {
        if !happened.before.is_null() {
            let before = dispatch::before_key(self.ctx.ws.id, &of.0, of.1);
            self.txn.put(before, tables::encode(&happened.before)?);
        }
        let row = Settling {
            due_ms,
            event: happened.change.name().to_owned(),
            object: happened.object.clone(),
            fields: happened.fields.clone(),
            after: happened.after.clone(),
            origin: happened.origin.clone(),
            service: listener.service,
        };
        self.put_settling(of, &row)
    }

    /// Another change of a record that is about to settle. What does not count puts nothing off, but is what the
    /// record is in the end.
    fn go_on_settling(
        &mut self,
        of: Of,
        mut row: Settling,
        happened: &Happened,
        due_ms: i64,
        counts: bool,
    ) -> Result<(), Refused> {
        row.due_ms = due_ms;
        row.fields.extend(happened.fields.iter().cloned());
        row.after = happened.after.clone();
        if counts {
            let depth = row.origin.depth.max(happened.origin.depth);
            row.origin = happened.origin.clone();
            row.origin.depth = depth;
        }
        self.put_settling(of, &row)
    }

    fn put_settling(&mut self, of: Of, row: &Settling) -> Result<(), Refused> {
        let key = dispatch::settling_key(self.ctx.ws.id, &of.0, of.1);
        self.txn.put(key, tables::encode(row)?);
        self.set_settling(of, Some(row.due_ms));
        Ok(())
    }

    /// Starts what has settled by `now_ms`.
    pub(crate) async fn settled(
        &mut self,
        listener: Option<&Listener>,
        of: &Of,
        now_ms: i64,
    ) -> Result<(), Refused> {
        self.decided += 1;
        let row = self.settling_row(of).await?;
        if let Some(later) = row.filter(|row| row.due_ms > now_ms) {
            self.set_settling(of.clone(), Some(later.due_ms));
            return Ok(());
        }
        let before = self.here(of.1);
        if let Err(why) = alone(self.start_settled(listener, of).boxed()).await? {
            tracing::error!(
                workspace = %self.ctx.ws.name, workflow = %of.0, record = %of.1, why,
                "a change that has settled starts no run"
            );
            self.back_to(before, of.1);
            self.drop_settling(of);
        }
        Ok(())
    }

    /// One whose workflow listens no more, or not to what this came to, starts nothing.
    async fn start_settled(&mut self, listener: Option<&Listener>, of: &Of) -> Result<(), Refused> {
        let row = self.settling_row(of).await?;
        let before_key = dispatch::before_key(self.ctx.ws.id, &of.0, of.1);
        let before = self.txn.get(&before_key).await?;
        self.drop_settling(of);
        let before: Option<Value> = before.map(|value| tables::decode(&before_key, &value)).transpose()?;
        let (Some(listener), Some(mut row)) = (listener, row) else { return Ok(()) };
        let Some(event) = listener.event().filter(|event| event.object == row.object) else { return Ok(()) };
        let before = before.unwrap_or(Value::Null);
        let change = match (before.is_null(), row.after.is_null()) {
            // It came and went.
            (true, true) => return Ok(()),
            (true, false) if row.event == RecordChange::Restored.name() => RecordChange::Restored,
            (true, false) => RecordChange::Created,
            (false, true) => RecordChange::Deleted,
            (false, false) => RecordChange::Updated,
        };
        if matches!(change, RecordChange::Created | RecordChange::Updated) {
            row.fields.retain(|field| is_changed(field, &before, &row.after));
        }
        // It is as it was.
        if change == RecordChange::Updated && row.fields.is_empty() {
            return Ok(());
        }
        let Settling { due_ms, object, fields, after, origin, service, .. } = row;
        let happened = Happened { change, object, record: of.1, fields, before, after, origin };
        if service != listener.service || !counts(listener, event, &happened) {
            return Ok(());
        }
        let mut shown = Shown::of(&happened, timestamp(due_ms));
        self.start(listener, &happened, &mut shown).await
    }

    /// That nothing starts rests on the schema too; then nothing need be written.
    pub(crate) async fn comes_to_nothing(self) -> Result<(), Refused> {
        match self.decided > 0 || self.unknown {
            true => self.txn.validate().await.map(|_| ()),
            false => Ok(()),
        }
    }

    /// Commits all of it with the place in the log, and says what waits to settle now, where that has changed.
    pub(crate) async fn commit(mut self, next: &Cursor) -> Result<Vec<(Of, Option<i64>)>, Refused> {
        let ctx = self.ctx;
        let key = dispatch::cursor_key(ctx.ws.id);
        self.txn.put(key, tables::encode(next)?);
        if !self.runs.is_empty() {
            let moved: Vec<_> = self.runs.iter().map(|placed| &placed.moved).collect();
            self.txn.append(ctx.ws.log, feed::queued_row(ctx.now_ms(), &moved)?);
        }
        self.txn.commit().await?;
        add(&ctx.core.stats.event_runs, self.runs.len() as u64);
        add(&ctx.core.stats.event_loops_stopped, self.loops);
        self.runs.iter().for_each(|placed| placed.stored(ctx));
        let of_record = |(record, workflows): (Uuid, BTreeMap<String, Option<i64>>)| {
            workflows.into_iter().map(move |(workflow, due)| ((workflow, record), due))
        };
        Ok(self.settling.into_iter().flat_map(of_record).collect())
    }
}

/// Whether a field came to hold something else in the end, on the way of a record from nothing or from one state.
fn is_changed(field: &str, before: &Value, after: &Value) -> bool {
    match before {
        Value::Null => !is_empty(part(after, field)),
        before => part(before, field) != part(after, field),
    }
}

/// When a change of then has settled.
fn settles_at(at_ms: i64, settle: stepwell_workflow::model::Millis) -> i64 {
    at_ms.saturating_add(i64::try_from(settle.0).unwrap_or(i64::MAX))
}
