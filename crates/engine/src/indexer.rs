//! Builds unique sets and indexes over records that are there already, in the background: page by page, each a small
//! commit, with a pause as long as the page took, so that writers have half of the store at least. How far it has come
//! is written with each page, so after a restart it goes on there.
use crate::core::Ctx;
use crate::error::EngineError;
use crate::tables;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use stepwell_records::schema::ObjectId;
use stepwell_records::{Backfill, Built, Records, RecordsError};
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, WorkspaceId, transact};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Longer than this nobody needs to be left alone.
const MAX_PAUSE: Duration = Duration::from_millis(200);

/// Of a workspace.
pub(crate) struct Indexer {
    wake: Notify,
    rounds: Rounds,
}

impl Default for Indexer {
    fn default() -> Self {
        Self { wake: Notify::new(), rounds: Rounds::new() }
    }
}

/// What has been asked for, and what of it is done. A round does what was asked for before it began, and maybe more.
struct Rounds {
    asked: AtomicU64,
    done: watch::Sender<u64>,
}

impl Rounds {
    /// The first one is asked for by the start.
    fn new() -> Self {
        Self { asked: AtomicU64::new(1), done: watch::Sender::new(0) }
    }

    fn ask(&self) {
        self.asked.fetch_add(1, SeqCst);
    }

    /// What a round that begins now will have done.
    fn begin(&self) -> u64 {
        self.asked.load(SeqCst)
    }

    fn end(&self, round: u64) {
        self.done.send_replace(round);
    }

    /// Returns when all that has been asked for up to now is done.
    async fn idle(&self) {
        let asked = self.asked.load(SeqCst);
        // The sender is here.
        _ = self.done.subscribe().wait_for(|done| *done >= asked).await;
    }
}

/// `counters / "backfill" / object / kind / number`: where the next page begins.
fn key(workspace: WorkspaceId, backfill: Backfill) -> Key {
    let (kind, id) = match backfill.of {
        Built::Unique(id) => (0, id),
        Built::Index(id) => (1, id),
    };
    KeyBuilder::new(Space::Counters, workspace).str(NAME).u32(backfill.object.0).u8(kind).u32(id).build()
}

const NAME: &str = "backfill";

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Progress {
    next: Option<Uuid>,
    done: u64,
}

/// Goes on until the engine closes.
pub(crate) fn start(ctx: &Ctx) {
    let task = ctx.clone();
    ctx.core.tasks.spawn(async move {
        loop {
            let round = task.ws.indexer.rounds.begin();
            if let Err(error) = build_all(&task).await {
                tracing::error!(workspace = %task.ws.name, %error, "an index cannot be built");
            }
            task.ws.indexer.rounds.end(round);
            tokio::select! {
                biased;
                () = task.core.closing.cancelled() => return,
                () = task.ws.indexer.wake.notified() => {}
            }
        }
    });
}

/// Something may be to be built.
pub(crate) fn look(ctx: &Ctx) {
    ctx.ws.indexer.rounds.ask();
    ctx.ws.indexer.wake.notify_one();
}

/// Returns when nothing is being built, or the time is over.
pub(crate) async fn idle(ctx: &Ctx, within: Duration) {
    tokio::select! {
        () = ctx.ws.indexer.rounds.idle() => {}
        () = ctx.core.leaving.cancelled() => {}
        () = ctx.core.ports.clock.sleep(within) => {}
    }
}

/// How many records each of them has seen.
pub(crate) async fn progress(ctx: &Ctx) -> Result<HashMap<Backfill, u64>, EngineError> {
    let keys = KeyBuilder::new(Space::Counters, ctx.ws.id).str(NAME).prefix();
    let mut found = HashMap::new();
    for (key, value) in stepwell_store::all_rows(&*ctx.core.ports.store, ctx.ws.shard, keys).await? {
        let progress: Progress = tables::decode(&key, &value)?;
        found.insert(backfill_in(&key)?, progress.done);
    }
    Ok(found)
}

fn backfill_in(key: &Key) -> Result<Backfill, Refused> {
    let mut parts = KeyReader::new(key)?;
    parts.str()?;
    let object = ObjectId(parts.u32()?);
    let of = match (parts.u8()?, parts.u32()?) {
        (0, id) => Built::Unique(id),
        (_, id) => Built::Index(id),
    };
    Ok(Backfill { object, of })
}

async fn build_all(ctx: &Ctx) -> Result<(), EngineError> {
    // One that cannot be built does not keep the others from it.
    let mut failed = Vec::new();
    loop {
        let schema = match crate::records::schema(ctx).await {
            Ok(schema) => schema,
            Err(error) if error.kind == crate::ErrorKind::Unavailable => match ctx.pause_for_store().await {
                true => continue,
                false => return Ok(()),
            },
            Err(error) => return Err(error),
        };
        let Some(next) = schema.backfills().into_iter().find(|backfill| !failed.contains(backfill)) else {
            return Ok(());
        };
        let began = ctx.core.ports.clock.elapsed();
        match page(ctx, next).await {
            Ok(()) => {}
            Err(RecordsError::Store(Refused::Damaged(_) | Refused::Invalid(_) | Refused::TooBig(_)))
            | Err(RecordsError::Damaged(_) | RecordsError::Misuse(_)) => {
                tracing::error!(workspace = %ctx.ws.name, backfill = ?next, "an index is given up until the next start");
                failed.push(next);
            }
            Err(error) => {
                tracing::warn!(workspace = %ctx.ws.name, %error, "a page of an index is tried again");
                if !ctx.pause_for_store().await {
                    return Ok(());
                }
            }
        }
        let took = ctx.core.ports.clock.elapsed().saturating_sub(began);
        tokio::select! {
            biased;
            () = ctx.core.closing.cancelled() => return Ok(()),
            () = pause(ctx, took.min(MAX_PAUSE)) => {}
        }
    }
}

async fn pause(ctx: &Ctx, time: Duration) {
    match time.is_zero() {
        true => tokio::task::yield_now().await,
        false => ctx.core.ports.clock.sleep(time).await,
    }
}

/// One page, and where the next begins, in one commit.
async fn page(ctx: &Ctx, backfill: Backfill) -> Result<(), RecordsError> {
    let key = &key(ctx.ws.id, backfill);
    let problem = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let known = tx.get(key).await?;
            let known: Progress =
                known.map(|value| tables::decode(key, &value)).transpose()?.unwrap_or_default();
            let mut records = Records::open(&mut tx, ctx.ws.id).await?;
            let page = records.backfill_page(backfill, known.next).await?;
            match page.next {
                Some(next) => {
                    let progress = Progress { next: Some(next), done: known.done + page.seen as u64 };
                    tx.put(key.clone(), tables::encode(&progress)?);
                }
                None => tx.delete(key.clone()),
            }
            Ok::<_, RecordsError>(page.problem)
        })
    })
    .await?;
    ctx.ws.schema.forget();
    if let Some(problem) = problem {
        tracing::warn!(workspace = %ctx.ws.name, problem, "a unique set is given up");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn what_is_asked_for_during_a_round_is_not_done_by_its_end() {
        let rounds = Rounds::new();
        let first = rounds.begin();
        assert!(rounds.idle().now_or_never().is_none());
        rounds.ask();
        rounds.end(first);
        assert!(rounds.idle().now_or_never().is_none(), "it had looked before");
        rounds.end(rounds.begin());
        assert!(rounds.idle().now_or_never().is_some());
    }
}
