//! A line whose rows cannot be read. What they say is said elsewhere too, so that none of them shuts a key: how many runs
//! there are is counted anew from their rows, and whose a row is stands in the run's head. Until it is mended a row that
//! cannot be read is passed by, and keeps its place.
use super::{Line, Told, wake};
use crate::core::{Ctx, alone};
use crate::id::RunId;
use crate::load;
use crate::tables;
use crate::tables::places::{self, Counts, Of};
use crate::tables::runs::{self, RunHead, Stand};
use futures::FutureExt;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use stepwell_store::{Key, Refused, Txn, Want, all_rows, transact};

/// Rows that one transaction mends.
const AT_ONCE: usize = 100;
/// Unfinished runs that are looked at together for whose a row is: their snapshots come along.
const LOOKED_AT: usize = 50;

/// The lines that are being mended, by workflow and key: each once, however many come upon it.
#[derive(Default)]
pub(crate) struct Mending(Mutex<HashSet<(String, String)>>);

impl Mending {
    fn begins(&self, workflow: &str, key: &str) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.insert((workflow.to_owned(), key.to_owned()))
    }

    fn is_over(&self, workflow: &str, key: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.remove(&(workflow.to_owned(), key.to_owned()));
    }
}

/// How many runs a key has, from their rows. Its limit is what was said last, which is lost: as many as are under way,
/// until the next run says it.
pub(super) async fn counted(tx: &mut Txn, of: Of<'_>, refused: &Refused) -> Result<Counts, Refused> {
    tracing::error!(workflow = of.workflow, %refused, "the runs of a `concurrency` key are counted anew");
    let mut counts = Counts::default();
    for (key, _) in tx.range(of.all_held(), usize::MAX, false).await? {
        counts.held += 1;
        counts.last = counts.last.max(places::held_with(&key)?.unwrap_or_default());
    }
    for (key, _) in tx.range(of.all_waiting(), usize::MAX, false).await? {
        counts.waiting += 1;
        counts.last = counts.last.max(places::waits_with(&key)?.unwrap_or_default());
    }
    counts.limit = counts.held.max(1);
    Ok(counts)
}

/// Has a line mended, beside whatever came upon it.
pub(crate) fn start(ctx: &Ctx, workflow: &str, key: &str, refused: &Refused) {
    if !ctx.ws.mending.begins(workflow, key) {
        return;
    }
    tracing::error!(%workflow, %refused, "a row of a `concurrency` key is mended by what the runs say");
    let (task, workflow, key) = (ctx.clone(), workflow.to_owned(), key.to_owned());
    ctx.core.tasks.spawn(async move {
        loop {
            match alone(mend(&task, &workflow, &key).boxed()).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    tracing::error!(%workflow, %error, "a row of a `concurrency` key cannot be mended");
                    break;
                }
                Err(refused) => {
                    tracing::warn!(%workflow, %refused, "a row of a `concurrency` key is not mended yet");
                    if !task.pause_for_store().await {
                        break;
                    }
                }
            }
        }
        task.ws.mending.is_over(&workflow, &key);
    });
}

/// Takes a run out of its line whose head cannot be read, and with it where it stands: its row has it.
pub(crate) async fn take_out(ctx: &Ctx, run: RunId) -> Result<(), Refused> {
    let is_of_run =
        |row: &Key, value: &_| tables::decode::<RunId>(row, value).is_ok_and(|other| other == run);
    for (row, value) in all_rows(&*ctx.core.ports.store, ctx.ws.shard, places::all(ctx.ws.id)).await? {
        let is_held = places::held_with(&row)?.is_some();
        if !(is_held || places::waits_with(&row)?.is_some()) || !is_of_run(&row, &value) {
            continue;
        }
        let (workflow, key) = places::line(&row)?;
        let (workflow, key, row) = (workflow.as_str(), key.as_str(), &row);
        let told = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
            Box::pin(async move {
                let mut told = Vec::new();
                if tx.get(row).await?.is_some_and(|value| is_of_run(row, &value)) {
                    let mut line = Line::read(ctx, &mut tx, workflow, key).await?;
                    line.take_away(&mut tx, row.clone(), is_held);
                    line.moves_up(ctx, &mut tx, &mut told).await?;
                }
                Ok::<Vec<Told>, Refused>(told)
            })
        });
        wake(ctx, workflow, &told.await?);
    }
    Ok(())
}

/// The ticket of a row that cannot be read, and where its run stands.
type Lost = (u64, bool);

async fn mend(ctx: &Ctx, workflow: &str, key: &str) -> Result<(), Refused> {
    let of = Of { workspace: ctx.ws.id, workflow, key };
    let mut lost = HashSet::new();
    for (is_held, keys) in [(true, of.all_held()), (false, of.all_waiting())] {
        for (row, value) in all_rows(&*ctx.core.ports.store, ctx.ws.shard, keys).await? {
            if tables::decode::<RunId>(&row, &value).is_err() {
                let ticket = if is_held { places::held_with(&row)? } else { places::waits_with(&row)? };
                lost.extend(ticket.map(|ticket| (ticket, is_held)));
            }
        }
    }
    let runs = runs_of(ctx, of, &lost).await?;
    let lost: Vec<Lost> = lost.into_iter().collect();
    for some in lost.chunks(AT_ONCE) {
        let runs = &runs;
        let told = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
            Box::pin(async move {
                let (mut line, mut told) = (Line::read(ctx, &mut tx, workflow, key).await?, Vec::new());
                for lost in some {
                    line.mend_row(&mut tx, *lost, runs.get(lost).copied()).await?;
                }
                line.moves_up(ctx, &mut tx, &mut told).await?;
                Ok::<Vec<Told>, Refused>(told)
            })
        });
        wake(ctx, workflow, &told.await?);
    }
    Ok(())
}

/// Whose the rows are, by the heads of the runs that have not ended.
async fn runs_of(ctx: &Ctx, of: Of<'_>, lost: &HashSet<Lost>) -> Result<BTreeMap<Lost, RunId>, Refused> {
    let (mut found, mut lives) = (BTreeMap::new(), runs::lives(ctx.ws.id));
    while found.len() < lost.len() {
        let view =
            ctx.core.ports.store.read(ctx.ws.shard, vec![Want::range(lives.clone(), LOOKED_AT)]).await?;
        let rows: Vec<_> = view.rows.into_iter().flatten().collect();
        let Some((last, _)) = rows.last() else { break };
        lives.start = last.successor();
        for (row, _) in &rows {
            let run = runs::run_in(row)?;
            match load::head(ctx, run).await {
                Ok(Some(head)) => {
                    found.extend(stands(&head, of).filter(|at| lost.contains(at)).map(|at| (at, run)))
                }
                Ok(None) => {}
                // Its own trouble, of which its driver tells.
                Err(Refused::Damaged(_)) => {}
                Err(refused) => return Err(refused),
            }
        }
    }
    Ok(found)
}

/// Where a run stands in a line, if it does.
fn stands(head: &RunHead, of: Of<'_>) -> Option<Lost> {
    let place = head.place.as_ref().filter(|place| head.workflow == of.workflow && place.key == of.key)?;
    match place.stand {
        Stand::Held => Some((place.ticket, true)),
        Stand::Waits => Some((place.ticket, false)),
        Stand::Out => None,
    }
}

impl Line<'_> {
    /// Writes a row that cannot be read as the run says it; one that no run has any more is taken away.
    async fn mend_row(&mut self, tx: &mut Txn, lost: Lost, run: Option<RunId>) -> Result<(), Refused> {
        let (of, (ticket, is_held)) = (self.of(), lost);
        let row: Key = if is_held { of.held(ticket) } else { of.waiting(ticket) };
        match tx.get(&row).await? {
            Some(value) if tables::decode::<RunId>(&row, &value).is_err() => {}
            // It ended, or had its turn.
            _ => return Ok(()),
        }
        if let Some(run) = run {
            let head_key = runs::head_key(self.ctx.ws.id, run);
            let head = tx.get(&head_key).await?.map(|value| tables::decode::<RunHead>(&head_key, &value));
            if head.and_then(Result::ok).is_some_and(|head| stands(&head, of) == Some(lost)) {
                tracing::info!(%run, workflow = of.workflow, "the run's row among those of its `concurrency` key is mended");
                tx.put(row, tables::encode(&run)?);
                return Ok(());
            }
        }
        tracing::error!(workflow = of.workflow, row = %row, "no run has this row of a `concurrency` key: it is taken away");
        self.take_away(tx, row, is_held);
        Ok(())
    }

    fn take_away(&mut self, tx: &mut Txn, row: Key, is_held: bool) {
        tx.delete(row);
        let count = if is_held { &mut self.counts.held } else { &mut self.counts.waiting };
        *count = count.saturating_sub(1);
        // Whether it was told to end nobody knows any more.
        self.counts.ending = self.counts.ending.min(self.counts.held);
    }
}
