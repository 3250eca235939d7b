//! Whether a run that a step would wait for can ever begin: not when whoever has the places that it would wait for waits
//! itself, by way of runs that it has started and lines that these stand in, for the run whose step that is.
use crate::concurrency::{self, DEADLOCK, Wanted};
use crate::core::Ctx;
use crate::id::RunId;
use crate::load;
use crate::tables;
use crate::tables::places::{Counts, Of};
use crate::tables::runs::{self, Place, RunHead, Stand};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use stepwell_store::{Refused, Txn};
use stepwell_workflow::machine::Failure;
use stepwell_workflow::model::WhenFull;

/// Runs that are looked at for one step. A circle of more is not found, and stays until somebody ends it.
const LOOKED_AT: usize = 64;

/// Why a run is not waited for that would have to take its place first.
pub(crate) async fn of_new(
    ctx: &Ctx,
    txn: &mut Txn,
    workflow: &str,
    wanted: &Wanted,
    waits: (RunId, &RunHead),
) -> Result<Option<Failure>, Refused> {
    let mut circle = match wanted.when_full {
        WhenFull::Skip => return Ok(None),
        WhenFull::Wait | WhenFull::Replace => Circle::around(ctx, txn, waits).await?,
    };
    if circle.counts(txn, workflow, &wanted.key).await?.held < wanted.limit {
        return Ok(None);
    }
    if let Some(run) = circle.has_place(workflow, &wanted.key) {
        // With `replace` it would end who waits for it, or wait for that one.
        if wanted.when_full == WhenFull::Replace || wanted.limit <= 1 {
            let message = format!(
                "run {run} counts together with the run that is to be started (`concurrency` of `{workflow}`), and waits \
                 for its end: both would wait for ever"
            );
            return Ok(Some(Failure::engine(DEADLOCK, message)));
        }
    }
    if wanted.when_full == WhenFull::Replace {
        return Ok(None);
    }
    circle.failure(txn, workflow, &wanted.key, Some(wanted.limit)).await
}

/// The same of a run that is there, and stands in line.
pub(crate) async fn of_standing(
    ctx: &Ctx,
    txn: &mut Txn,
    stands: &RunHead,
    waits: (RunId, &RunHead),
) -> Result<Option<Failure>, Refused> {
    let Some(place) = in_line(stands) else { return Ok(None) };
    let mut circle = Circle::around(ctx, txn, waits).await?;
    circle.failure(txn, &stands.workflow, &place.key, None).await
}

fn in_line(head: &RunHead) -> Option<&Place> {
    head.place.as_ref().filter(|place| place.stand == Stand::Waits)
}

struct Circle<'a> {
    ctx: &'a Ctx,
    /// Who would wait: the run of the step, and those that wait for its end; with the place that each has.
    waits: Vec<(RunId, String, Option<Place>)>,
    /// Runs that were looked at, and whether they are stuck; one that is being looked at is not, as far as is known.
    known: HashMap<RunId, bool>,
}

impl<'a> Circle<'a> {
    async fn around(ctx: &'a Ctx, txn: &mut Txn, waits: (RunId, &RunHead)) -> Result<Self, Refused> {
        let mut circle = Self { ctx, waits: Vec::new(), known: HashMap::new() };
        let (mut run, mut at) = (waits.0, waits.1.clone());
        loop {
            let held = at.place.filter(|place| place.stand == Stand::Held);
            circle.waits.push((run, at.workflow, held));
            circle.known.insert(run, true);
            let Some(parent) = at.parent.filter(|parent| parent.waits) else { return Ok(circle) };
            run = parent.run;
            at = match circle.head(txn, run).await? {
                Some(head) => head,
                None => return Ok(circle),
            };
        }
    }

    /// The one of those that wait that has a place of this key.
    fn has_place(&self, workflow: &str, key: &str) -> Option<RunId> {
        let has = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.key == key);
        self.waits.iter().find(|(_, of, place)| of == workflow && has(place)).map(|(run, ..)| *run)
    }

    async fn failure(
        &mut self,
        txn: &mut Txn,
        workflow: &str,
        key: &str,
        limit: Option<u64>,
    ) -> Result<Option<Failure>, Refused> {
        let Some(by) = self.is_shut(txn, workflow, key, limit).await? else { return Ok(None) };
        let message = format!(
            "the run that is to be waited for would wait for a place that run {by} has (`concurrency` of `{workflow}`), and \
             that one waits for the end of this run, itself or by way of runs that it has started: nobody would ever go on"
        );
        Ok(Some(Failure::engine(DEADLOCK, message)))
    }

    /// Whether no place of a key is given back before who waits has ended; and one of the runs that hold on to them.
    async fn is_shut(
        &mut self,
        txn: &mut Txn,
        workflow: &str,
        key: &str,
        limit: Option<u64>,
    ) -> Result<Option<RunId>, Refused> {
        let counts = self.counts(txn, workflow, key).await?;
        let limit = usize::try_from(limit.unwrap_or(counts.limit)).unwrap_or(usize::MAX);
        if counts.held < limit as u64 || limit > LOOKED_AT {
            return Ok(None);
        }
        let of = Of { workspace: self.ctx.ws.id, workflow, key };
        let mut stuck = 0;
        for (_, value) in txn.range(of.all_held(), LOOKED_AT, false).await? {
            // One that cannot be read is not known to be stuck.
            let Ok(run) = tables::decode(&of.counts(), &value) else { continue };
            stuck += usize::from(self.is_stuck(txn, run).await?);
            if stuck >= limit {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Whether a run certainly does not end before who waits has ended. Its head is read in the transaction: whatever
    /// the run does next is in conflict with what was found here.
    fn is_stuck<'s>(&'s mut self, txn: &'s mut Txn, run: RunId) -> BoxFuture<'s, Result<bool, Refused>> {
        async move {
            if let Some(known) = self.known.get(&run) {
                return Ok(*known);
            }
            if self.known.len() >= LOOKED_AT {
                return Ok(false);
            }
            self.known.insert(run, false);
            let Some(head) = self.head(txn, run).await? else { return Ok(false) };
            // What lies in its inbox may be an end that it waits for, or a cancel.
            if head.status.ended() || head.inbox > 0 {
                return Ok(false);
            }
            let stuck = match in_line(&head) {
                Some(place) => self.is_shut(txn, &head.workflow, &place.key, None).await?.is_some(),
                None => self.waits_for_one_that_is_stuck(txn, run).await?,
            };
            self.known.insert(run, stuck);
            Ok(stuck)
        }
        .boxed()
    }

    async fn waits_for_one_that_is_stuck(&mut self, txn: &mut Txn, run: RunId) -> Result<bool, Refused> {
        let Some(live) = load::live_as_stored(self.ctx, run).await? else { return Ok(false) };
        // One with a `timeout` goes on in time.
        let awaited = live.state.steps.values().filter(|step| step.due.is_none());
        let awaited: Vec<RunId> = awaited.filter_map(|step| step.awaited()?.parse().ok()).collect();
        for child in awaited {
            if self.is_stuck(txn, child).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn counts(&self, txn: &mut Txn, workflow: &str, key: &str) -> Result<Counts, Refused> {
        concurrency::counts(txn, Of { workspace: self.ctx.ws.id, workflow, key }).await
    }

    async fn head(&self, txn: &mut Txn, run: RunId) -> Result<Option<RunHead>, Refused> {
        let key = runs::head_key(self.ctx.ws.id, run);
        txn.get(&key).await?.map(|value| tables::decode(&key, &value)).transpose()
    }
}
