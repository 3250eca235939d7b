//! Runs of a workflow that count together (`concurrency`): of those with one key so many are under way, each from its
//! start to its end. A run takes its place, or stands in line, in the transaction that makes it; the transaction that
//! ends a run gives its place to the next in line. So nothing has to be found out again after a crash, and who waits
//! has no driver and no slot.
pub(crate) mod mend;

use crate::children;
use crate::core::Ctx;
use crate::hash;
use crate::id::RunId;
use crate::registry::Compiled;
use crate::tables::places::{self, Counts, Of};
use crate::tables::runs::{self, Place, RunHead, Stand};
use crate::tables::{self, inbox};
use serde_json::Value;
use std::sync::Arc;
use stepwell_store::{Key, Refused, Txn, Want};
use stepwell_workflow::expr::{Mode, Template, Values};
use stepwell_workflow::machine::{Event, Failure, RunFailure, Start};
use stepwell_workflow::model::{Concurrency, WhenFull};

/// The longest key, in bytes.
const LONGEST_KEY: usize = 512;
/// What is shown of it.
const SHOWN_KEY: usize = 100;
/// Runs in line that one transaction deals with. The rest follows when these go on, or end.
const AT_ONCE: usize = 16;
/// Runs under way that one transaction tells to end for another. The rest follows when these have ended.
const REPLACED: u64 = 50;
/// Runs under way that are named to who looks at one that waits.
const NAMED: usize = 10;

/// The error of a run that was not run: its key was full.
pub(crate) const FULL: &str = "concurrency_full";
/// The error of a run that had to go for another.
const REPLACED_BY: &str = "concurrency_replaced";
/// Why a run cannot begin whose key cannot be made.
const INVALID_KEY: &str = "invalid_concurrency_key";
/// Why a run is not waited for that would wait for who waits.
pub(crate) const DEADLOCK: &str = "concurrency_deadlock";

/// What a workflow says of it, ready to be asked.
pub(crate) struct Limits {
    key: Option<Template>,
    limit: u64,
    when_full: WhenFull,
}

impl Limits {
    pub(crate) fn of(concurrency: &Concurrency) -> Result<Self, String> {
        let key = concurrency.key.as_ref().map(|key| Template::compile(key, Mode::Value)).transpose();
        Ok(Self {
            key: key.map_err(|error| error.to_string())?,
            limit: concurrency.limit.max(1).into(),
            when_full: concurrency.when_full,
        })
    }
}

/// The place that a run asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The hash of its key.
    pub key: String,
    text: Option<String>,
    pub limit: u64,
    pub when_full: WhenFull,
}

impl Wanted {
    /// One that a person asks for, and gets in time.
    pub(crate) fn patient(self) -> Self {
        Self { when_full: WhenFull::Wait, ..self }
    }
}

/// The place that a run asks for by what it begins with, if its workflow has such places.
pub(crate) fn wanted(flow: &Compiled, start: &Start) -> Result<Option<Wanted>, Failure> {
    let Some(limits) = &flow.concurrency else { return Ok(None) };
    let text = limits.key.as_ref().map(|key| text(key, start)).transpose();
    let text = text.map_err(|why| {
        Failure::engine(INVALID_KEY, format!("the key of the workflow's `concurrency` cannot be made: {why}"))
    })?;
    // No key is another one than an empty key.
    let named = text.as_ref().map_or_else(|| "all".to_owned(), |text| format!("key:{text}"));
    let key = hash::hex(&hash::sha256(named.as_bytes())[..16]);
    let text = text.map(|mut text| {
        crate::steps::cut(&mut text, SHOWN_KEY);
        text
    });
    Ok(Some(Wanted { key, text, limit: limits.limit, when_full: limits.when_full }))
}

fn text(key: &Template, start: &Start) -> Result<String, String> {
    let value = |payload: &stepwell_workflow::machine::Payload| {
        payload.value().cloned().unwrap_or_else(|| Arc::new(Value::Null))
    };
    let values = [("trigger", value(&start.trigger)), ("settings", value(&start.settings))];
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let text = key.render_text(&Values { values, now: start.at }).map_err(|error| error.to_string())?;
    let text = text.reveal(|_| None).map_err(|error| error.to_string())?;
    match text.len() {
        bytes if bytes > LONGEST_KEY => Err(format!("it has {bytes} bytes; at most {LONGEST_KEY} are taken")),
        _ => Ok(text),
    }
}

/// Why a run is kept that is not run.
pub(crate) fn full(workflow: &str) -> Failure {
    let message = format!(
        "as many runs of `{workflow}` with this key are under way as its `concurrency` allows, and it says `when_full: skip`"
    );
    Failure { retryable: true, ..Failure::engine(FULL, message) }
}

/// Why a run was cancelled that had to go for another.
pub(crate) fn replaced(place: &Place) -> Option<RunFailure> {
    let by = place.replaced_by?;
    let message =
        format!("run {by} with the same key took its place (`concurrency` says `when_full: replace`)");
    Some(RunFailure { step: None, failure: Failure::engine(REPLACED_BY, message) })
}

/// A run that is to look again when a transaction is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub run: RunId,
    /// It was told to end.
    pub ends: bool,
}

/// Wakes runs of a workflow; call it when what they were told is on disk.
pub(crate) fn wake(ctx: &Ctx, workflow: &str, told: &[Told]) {
    for Told { run, ends } in told {
        if *ends { ctx.wake_at_once(*run, workflow) } else { ctx.wake(*run, workflow) }
    }
}

/// What a run finds that comes into being.
#[derive(Debug)]
pub(crate) enum Entered {
    /// Its place, held or in line.
    As(Place),
    /// It is not to run.
    Full,
}

/// Takes a place for a run that has none, or stands in line for one.
pub(crate) async fn enter(
    ctx: &Ctx,
    tx: &mut Txn,
    workflow: &str,
    wanted: &Wanted,
    run: RunId,
    told: &mut Vec<Told>,
) -> Result<Entered, Refused> {
    let mut line = Line::read(ctx, tx, workflow, &wanted.key).await?;
    line.counts.limit = wanted.limit;
    let ticket = line.counts.last + 1;
    let replaces = wanted.when_full == WhenFull::Replace && !line.has_room();
    if replaces {
        line.counts.cut = ticket;
        line.counts.by = Some(run);
    }
    // A version that lets more run, or one that replaces, may come to a long line.
    line.go_on(ctx, tx, told).await?;
    let stand = match (line.has_room(), wanted.when_full) {
        (true, _) => Stand::Held,
        (false, WhenFull::Skip) => {
            line.write(tx)?;
            return Ok(Entered::Full);
        }
        (false, _) => Stand::Waits,
    };
    line.counts.last = ticket;
    match stand {
        Stand::Held => {
            line.counts.held += 1;
            tx.put(line.of().held(ticket), tables::encode(&run)?);
        }
        _ => {
            line.counts.waiting += 1;
            tx.put(line.of().waiting(ticket), tables::encode(&run)?);
            if replaces {
                line.end_oldest(ctx, tx, run, told).await?;
            }
        }
    }
    line.write(tx)?;
    let text = wanted.text.clone().filter(|_| stand != Stand::Held);
    Ok(Entered::As(Place { key: wanted.key.clone(), ticket, stand, text, replaced_by: None }))
}

/// Gives a run's place back at its end, to who is next in line.
pub(crate) async fn leave(
    ctx: &Ctx,
    tx: &mut Txn,
    workflow: &str,
    place: &Place,
    told: &mut Vec<Told>,
) -> Result<(), Refused> {
    let mut line = Line::read(ctx, tx, workflow, &place.key).await?;
    match place.stand {
        Stand::Held => {
            tx.delete(line.of().held(place.ticket));
            line.counts.held = line.counts.held.saturating_sub(1);
            if place.replaced_by.is_some() {
                line.counts.ending = line.counts.ending.saturating_sub(1);
            }
        }
        Stand::Waits => {
            tx.delete(line.of().waiting(place.ticket));
            line.counts.waiting = line.counts.waiting.saturating_sub(1);
        }
        Stand::Out => {}
    }
    line.moves_up(ctx, tx, told).await
}

/// The runs of one key in a transaction.
struct Line<'a> {
    ctx: &'a Ctx,
    workflow: &'a str,
    key: &'a str,
    counts: Counts,
}

impl<'a> Line<'a> {
    async fn read(ctx: &'a Ctx, tx: &mut Txn, workflow: &'a str, key: &'a str) -> Result<Self, Refused> {
        let counts = counts(tx, Of { workspace: ctx.ws.id, workflow, key }).await?;
        Ok(Self { ctx, workflow, key, counts })
    }

    fn of(&self) -> Of<'a> {
        Of { workspace: self.ctx.ws.id, workflow: self.workflow, key: self.key }
    }

    fn write(&self, tx: &mut Txn) -> Result<(), Refused> {
        let row = self.of().counts();
        if self.counts.held == 0 && self.counts.waiting == 0 {
            tx.delete(row);
        } else {
            tx.put(row, tables::encode(&self.counts)?);
        }
        Ok(())
    }

    /// Whether one more may be under way, and nobody waits for that.
    fn has_room(&self) -> bool {
        self.counts.waiting == 0 && self.counts.held < self.counts.limit
    }

    /// Somebody is gone: those who come next have their turn.
    async fn moves_up(&mut self, ctx: &Ctx, tx: &mut Txn, told: &mut Vec<Told>) -> Result<(), Refused> {
        self.go_on(ctx, tx, told).await?;
        self.go_on_replacing(ctx, tx, told).await?;
        self.write(tx)
    }

    /// Deals with the first in line, as many as one transaction takes: those that were replaced are told to end, the
    /// others get the places that are free. Each of them comes back here at its own end, so none is forgotten.
    async fn go_on(&mut self, ctx: &Ctx, tx: &mut Txn, told: &mut Vec<Told>) -> Result<(), Refused> {
        for _ in 0..AT_ONCE {
            let is_free = self.counts.held < self.counts.limit;
            if self.counts.waiting == 0 || !(is_free || self.counts.cut > 0) {
                return Ok(());
            }
            let Some((key, run)) = self.first(tx).await? else { return Ok(()) };
            let ticket = places::waits_with(&key)?.unwrap_or_default();
            let is_replaced = ticket < self.counts.cut;
            if !is_replaced && !is_free {
                return Ok(());
            }
            tx.delete(key);
            self.counts.waiting -= 1;
            told.push(Told { run, ends: is_replaced });
            let Some(mut head) = readable_head(ctx, tx, run).await? else { continue };
            let Some(place) = &mut head.place else { continue };
            place.text = None;
            if is_replaced {
                place.stand = Stand::Out;
                place.replaced_by = self.counts.by;
                end(ctx, tx, run, head).await?;
            } else {
                place.stand = Stand::Held;
                self.counts.held += 1;
                tx.put(self.of().held(ticket), tables::encode(&run)?);
                tx.put(runs::head_key(ctx.ws.id, run), tables::encode(&head)?);
            }
        }
        Ok(())
    }

    /// The first in line, with its row. One that cannot be read keeps its place, and holds nobody up meanwhile.
    async fn first(&mut self, tx: &mut Txn) -> Result<Option<(Key, RunId)>, Refused> {
        let mut keys = self.of().all_waiting();
        let mut passed = false;
        while let Some((key, value)) = tx.range(keys.clone(), 1, false).await?.pop() {
            match tables::decode(&key, &value) {
                Ok(run) => return Ok(Some((key, run))),
                Err(refused) => mend::start(self.ctx, self.workflow, self.key, &refused),
            }
            keys.start = key.successor();
            passed = true;
        }
        if !passed {
            // Two reads of two moments, which the commit will not take; what is there counts.
            self.counts.waiting = 0;
        }
        Ok(None)
    }

    /// A run that replaces more than one transaction tells to end waits at the head of the line: the next are told.
    async fn go_on_replacing(
        &mut self,
        ctx: &Ctx,
        tx: &mut Txn,
        told: &mut Vec<Told>,
    ) -> Result<(), Refused> {
        let Some(by) = self.counts.by.filter(|_| self.counts.waiting > 0 && self.to_end() > 0) else {
            return Ok(());
        };
        let first = tx.range(self.of().all_waiting(), 1, false).await?.pop();
        match first.map(|(key, _)| places::waits_with(&key)).transpose()?.flatten() {
            Some(ticket) if ticket == self.counts.cut => self.end_oldest(ctx, tx, by, told).await,
            _ => Ok(()),
        }
    }

    /// How many under way have still to be told to end, if one is to begin.
    fn to_end(&self) -> u64 {
        let staying = self.counts.held.saturating_sub(self.counts.ending);
        (staying + 1).saturating_sub(self.counts.limit)
    }

    /// Tells the oldest under way to end, as many as `by` needs and one transaction takes.
    async fn end_oldest(
        &mut self,
        ctx: &Ctx,
        tx: &mut Txn,
        by: RunId,
        told: &mut Vec<Told>,
    ) -> Result<(), Refused> {
        let many = usize::try_from(self.to_end().min(REPLACED)).unwrap_or(usize::MAX);
        for (key, value) in tx.range(self.of().held_after(self.counts.told), many, false).await? {
            let run: RunId = match tables::decode(&key, &value) {
                Ok(run) => run,
                Err(refused) => {
                    // Whoever mends it goes on from here.
                    mend::start(self.ctx, self.workflow, self.key, &refused);
                    break;
                }
            };
            self.counts.told = places::held_with(&key)?.unwrap_or(self.counts.told);
            let Some(mut head) = readable_head(ctx, tx, run).await? else { continue };
            let Some(place) = head.place.as_mut().filter(|place| place.replaced_by.is_none()) else {
                continue;
            };
            place.replaced_by = Some(by);
            self.counts.ending += 1;
            end(ctx, tx, run, head).await?;
            told.push(Told { run, ends: true });
        }
        Ok(())
    }
}

/// How many runs a key has; counted anew where that cannot be read.
pub(crate) async fn counts(tx: &mut Txn, of: Of<'_>) -> Result<Counts, Refused> {
    let row = of.counts();
    match tx.get(&row).await?.map(|value| tables::decode(&row, &value)) {
        None => Ok(Counts::default()),
        Some(Ok(counts)) => Ok(counts),
        Some(Err(refused)) => mend::counted(tx, of, &refused).await,
    }
}

/// The head of a run that goes on. One that cannot be read stops no other: its driver gives it up, and its place.
async fn readable_head(ctx: &Ctx, tx: &mut Txn, run: RunId) -> Result<Option<RunHead>, Refused> {
    let key: Key = runs::head_key(ctx.ws.id, run);
    let Some(value) = tx.get(&key).await? else { return Ok(None) };
    match tables::decode::<RunHead>(&key, &value) {
        Ok(head) => Ok(Some(head).filter(|head| !head.status.ended())),
        Err(refused) => {
            tracing::error!(%run, %refused, "a run is passed by that waits for its `concurrency` key");
            Ok(None)
        }
    }
}

/// Writes its head, with a cancel for it.
async fn end(ctx: &Ctx, tx: &mut Txn, run: RunId, head: RunHead) -> Result<(), Refused> {
    if head.inbox > 0 && cancelled(ctx, tx, run).await? {
        tx.put(runs::head_key(ctx.ws.id, run), tables::encode(&head)?);
        return Ok(());
    }
    children::lay(ctx, tx, run, head, Event::CancelRequested { at: ctx.core.ports.clock.now() })
}

/// Whether a cancel lies in the run's inbox.
pub(crate) async fn cancelled(ctx: &Ctx, tx: &mut Txn, run: RunId) -> Result<bool, Refused> {
    for (key, value) in tx.range(inbox::of_run(ctx.ws.id, run), usize::MAX, false).await? {
        let message: inbox::Message = tables::decode(&key, &value)?;
        if matches!(message.event, Event::CancelRequested { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The oldest runs that one waits for that stands in line.
pub(crate) async fn waits_for(ctx: &Ctx, head: &RunHead) -> Result<Vec<String>, Refused> {
    let Some(place) = head.place.as_ref().filter(|_| head.waits_for_its_place()) else {
        return Ok(Vec::new());
    };
    let of = Of { workspace: ctx.ws.id, workflow: &head.workflow, key: &place.key };
    let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::range(of.all_held(), NAMED)]).await?;
    let rows = view.rows.into_iter().flatten();
    // One that cannot be read is mended by whoever moves the line.
    Ok(rows
        .filter_map(|(key, value)| Some(tables::decode::<RunId>(&key, &value).ok()?.to_string()))
        .collect())
}

/// All runs of a workspace that stand in line: nobody drives them before their turn. Rows of lines that cannot be read are
/// mended from here on.
pub(crate) async fn in_line(ctx: &Ctx) -> Result<std::collections::HashSet<RunId>, Refused> {
    let rows = stepwell_store::all_rows(&*ctx.core.ports.store, ctx.ws.shard, places::all(ctx.ws.id)).await?;
    let mut runs = std::collections::HashSet::new();
    for (key, value) in rows {
        let waits = places::waits_with(&key)?.is_some();
        if !waits && places::held_with(&key)?.is_none() {
            continue;
        }
        match tables::decode(&key, &value) {
            Ok(run) if waits => _ = runs.insert(run),
            Ok(_) => {}
            Err(refused) => {
                let (workflow, hash) = places::line(&key)?;
                mend::start(ctx, &workflow, &hash, &refused);
            }
        }
    }
    Ok(runs)
}
