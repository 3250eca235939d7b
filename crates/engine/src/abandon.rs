//! The end of a run that cannot be driven: its rows cannot be read, or driving it panicked. It fails, plainly and for
//! good, so that it holds no slot and no neighbour up; its journal stays as it is.
use crate::api::{FailureDetail, RunStatus};
use crate::core::Ctx;
use crate::feed::{EventPage, RunMoved};
use crate::id::RunId;
use crate::tables::runs::{self, RunHead};
use crate::tables::{self, inbox, items, timers};
use crate::waiters::Ended;
use crate::{blobs, children, concurrency, connections, hash, load};
use serde_json::Value;
use std::collections::BTreeSet;
use stepwell_store::{Key, Refused, Want, all_rows, transact};
use stepwell_workflow::machine::{self, Failure, Finished, Payload, RunFailure, Source};

/// Fails the run with `failure`. A run that has ended meanwhile stays as it ended. One whose head cannot be read cannot
/// be told anything any more: it stays as it is, but in nobody's way.
pub(crate) async fn abandon(ctx: &Ctx, run: RunId, failure: Failure) -> Result<(), Refused> {
    match fail(ctx, run, failure).await {
        Err(refused @ Refused::Damaged(_)) => {
            concurrency::mend::take_out(ctx, run).await?;
            Err(refused)
        }
        done => done,
    }
}

async fn fail(ctx: &Ctx, run: RunId, failure: Failure) -> Result<(), Refused> {
    let (head_key, ws) = (&runs::head_key(ctx.ws.id, run), &ctx.ws);
    let error = FailureDetail::from(&failure);
    let timers = timers_of(ctx, run).await?;
    let kept = snapshot_to_keep(ctx, run).await?;
    let claims = if kept.is_some() { BTreeSet::new() } else { claims_of_snapshot(ctx, run).await? };
    // A run may have more timers than one transaction takes.
    let (now, later) = timers.split_at(timers.len().min(crate::timers::SWEPT));
    let (error, timers, claims, kept) = (&error, now, &claims, &kept);
    let ended = transact(&ctx.core.ports.store, ws.shard, |mut tx| {
        Box::pin(async move {
            let Some(value) = tx.get(head_key).await? else { return Ok(None) };
            let mut head: RunHead = tables::decode(head_key, &value)?;
            tx.delete(runs::live_key(ws.id, run));
            for (key, _) in tx.range(inbox::of_run(ws.id, run), usize::MAX, false).await? {
                tx.delete(key);
            }
            timers.iter().for_each(|timer| tx.delete(timer.clone()));
            if head.status.ended() {
                return Ok(None);
            }
            claims.iter().for_each(|claim| tx.delete(claim.clone()));
            if let Some(snapshot) = kept {
                tx.put(items::last_key(ws.id, run), snapshot.clone());
            }
            let now_ms = ctx.now_ms();
            head.status = RunStatus::Failed;
            head.inbox = 0;
            head.ended_ms = Some(now_ms);
            head.error = Some(error.clone());
            let (mut told, mut parent) = (Vec::new(), None);
            if let Some(place) = head.place.take() {
                concurrency::leave(ctx, &mut tx, &head.workflow, &place, &mut told).await?;
            }
            tx.put(head_key.clone(), tables::encode(&head)?);
            let moved = RunMoved::of(run, &head);
            tx.append(ws.log, EventPage::default().row(now_ms, Some(&moved))?);
            if let Some(finished) = finished(&head) {
                parent = children::tell_parent(ctx, &mut tx, run, &head, &finished).await?;
            }
            Ok::<_, Refused>(Some((head, parent, told)))
        })
    })
    .await?;
    crate::timers::sweep(ctx, run, later).await;
    connections::forget(ctx, run);
    let Some((head, parent, told)) = ended else { return Ok(()) };
    if let Some((parent, workflow)) = parent {
        ctx.wake(parent, &workflow);
    }
    concurrency::wake(ctx, &head.workflow, &told);
    tracing::error!(%run, workflow = %head.workflow, code = %error.code, error = %error.message, "a run was given up");
    ctx.core.stats.run_ended(head.status);
    ctx.ws.kept.run_ended();
    if let Some(finished) = finished(&head) {
        ctx.ws.waiters.tell_end(run, || Ended { finished, answer: None });
    }
    Ok(())
}

/// The end of a run whose head alone tells of it: it could not be driven to its end, or did not begin.
pub(crate) fn finished(head: &RunHead) -> Option<Finished> {
    let status = match (head.status, &head.error) {
        (RunStatus::Failed, Some(_)) => machine::RunStatus::Failed,
        (RunStatus::Cancelled, _) => machine::RunStatus::Cancelled,
        _ => return None,
    };
    Some(Finished { status, output: Payload::default(), error: head.error.as_ref().map(failure) })
}

/// The failure that a head tells of.
pub(crate) fn failure(error: &FailureDetail) -> RunFailure {
    let failure = Failure {
        source: Source::Engine,
        details: error.details.clone(),
        retryable: error.retryable,
        ..Failure::engine(error.code.clone(), error.message.clone())
    };
    RunFailure { step: None, failure }
}

/// The keys of the run's timers, which only its snapshot names otherwise.
async fn timers_of(ctx: &Ctx, run: RunId) -> Result<Vec<Key>, Refused> {
    let rows = all_rows(&*ctx.core.ports.store, ctx.ws.shard, timers::all(ctx.ws.shard)).await?;
    let mut own = Vec::new();
    for (key, _) in rows {
        let (_, workspace, whose) = timers::parts(&key)?;
        if (workspace, whose) == (ctx.ws.id, run) {
            own.push(key);
        }
    }
    Ok(own)
}

/// The snapshot of a run with items, as it is stored: what its state was cannot be folded from its journal.
async fn snapshot_to_keep(ctx: &Ctx, run: RunId) -> Result<Option<stepwell_store::Value>, Refused> {
    let any = Want::range(items::all(ctx.ws.id, run), 1);
    let wants = vec![any, Want::Key(runs::live_key(ctx.ws.id, run))];
    let mut rows = match ctx.core.ports.store.read(ctx.ws.shard, wants).await {
        Err(Refused::Damaged(_)) => return Ok(None),
        view => view?.rows.into_iter(),
    };
    let any = rows.next().is_some_and(|rows| !rows.is_empty());
    // One that cannot be read would make the run unreadable too.
    match load::live(ctx, run).await {
        Err(Refused::Damaged(_)) => return Ok(None),
        live => live?,
    };
    Ok(rows.next().into_iter().flatten().next().filter(|_| any).map(|(_, value)| value))
}

/// The run's claims on blobs that its snapshot alone names: nothing else would give them up. Empty where the snapshot
/// cannot be read.
async fn claims_of_snapshot(ctx: &Ctx, run: RunId) -> Result<BTreeSet<Key>, Refused> {
    let mut claims = BTreeSet::new();
    let key = runs::live_key(ctx.ws.id, run);
    let view = match ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key.clone())]).await {
        Err(Refused::Damaged(_)) => return Ok(claims),
        view => view?,
    };
    let Some((_, value)) = view.rows.into_iter().flatten().next() else { return Ok(claims) };
    let claim = |sha256: &[u8; 32]| runs::blob_ref_key(ctx.ws.id, sha256, run);
    match runs::moved(&key, &value) {
        Ok(Some(reference)) => claims.extend(hash::unhex(&reference.sha256).as_ref().map(claim)),
        Ok(None) => {
            if let Ok(snapshot) = tables::decode::<Value>(&key, &value) {
                blobs::named(&snapshot, &mut |sha256| _ = claims.insert(claim(&sha256)));
            }
        }
        Err(_) => {}
    }
    // What the journal names too stays as long as it does.
    for (key, value) in all_rows(&*ctx.core.ports.store, ctx.ws.shard, runs::journal(ctx.ws.id, run)).await? {
        if let Ok(commit) = tables::decode::<Value>(&key, &value) {
            blobs::named(&commit, &mut |sha256| _ = claims.remove(&claim(&sha256)));
        }
    }
    Ok(claims)
}
