//! When which run has to be woken: a heap in memory over the timers in the store, and the one task that watches it.
use crate::core::{Core, Ctx};
use crate::id::RunId;
use crate::load;
use crate::tables::{self, runs, timers};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use stepwell_store::{Key, Refused, Shard, Want, WorkspaceId, transact};
use tokio::sync::Notify;

/// Runs to wake, by time in milliseconds. Waking one too often is harmless.
#[derive(Default)]
pub(crate) struct Timers {
    due: Mutex<BTreeSet<(i64, WorkspaceId, RunId)>>,
    changed: Notify,
}

/// When a timer is due, in the whole milliseconds that rows and the heap count in: never before its time.
pub(crate) fn whole_ms(due: Timestamp) -> Timestamp {
    let ms = due.as_millisecond();
    let rest = due.as_nanosecond().rem_euclid(1_000_000);
    Timestamp::from_millisecond(ms + i64::from(rest != 0 && due.as_nanosecond() > 0)).unwrap_or(due)
}

/// How many timers one read at the start brings.
const PAGE: usize = 1000;

impl Timers {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(i64, WorkspaceId, RunId)>> {
        self.due.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Call it once the timer is on disk.
    pub(crate) fn add(&self, at_ms: i64, workspace: WorkspaceId, run: RunId) {
        let first = {
            let mut due = self.lock();
            due.insert((at_ms, workspace, run));
            due.first() == Some(&(at_ms, workspace, run))
        };
        if first {
            self.changed.notify_one();
        }
    }

    /// Call it once the timer is gone from the disk, if the run has no other for this time.
    pub(crate) fn remove(&self, at_ms: i64, workspace: WorkspaceId, run: RunId) {
        self.lock().remove(&(at_ms, workspace, run));
    }

    /// How many are set.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn take_due(&self, now_ms: i64) -> (Vec<(WorkspaceId, RunId)>, Option<i64>) {
        let mut due = self.lock();
        let mut taken = Vec::new();
        while let Some(&(at, workspace, run)) = due.first()
            && at <= now_ms
        {
            due.pop_first();
            taken.push((workspace, run));
        }
        (taken, due.first().map(|(at, ..)| *at))
    }

    /// Reads the timers of a shard, when the engine opens.
    pub(crate) async fn load(&self, core: &Core, shard: Shard) -> Result<(), Refused> {
        let mut keys = timers::all(shard);
        loop {
            let view = core.ports.store.read(shard, vec![Want::range(keys.clone(), PAGE)]).await?;
            let rows: Vec<_> = view.rows.into_iter().flatten().collect();
            for (key, _) in &rows {
                let (at, workspace, run) = timers::parts(key)?;
                self.lock().insert((at, workspace, run));
            }
            match rows.last() {
                Some((last, _)) if rows.len() == PAGE => keys.start = last.successor(),
                _ => return Ok(()),
            }
        }
    }
}

/// Timers that one transaction takes out, at most.
pub(crate) const SWEPT: usize = 500;

/// Takes out timers that the end of a run has left because they were too many for it. One that is not reached is when
/// it rings ([`sweep_rung`]).
pub(crate) async fn sweep(ctx: &Ctx, run: RunId, keys: &[Key]) {
    for part in keys.chunks(SWEPT) {
        let swept = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
            Box::pin(async move {
                let head_key = runs::head_key(ctx.ws.id, run);
                let head = tx.get(&head_key).await?;
                let head =
                    head.map(|value| tables::decode::<runs::RunHead>(&head_key, &value)).transpose()?;
                // A retry may have set the same timer again.
                if head.is_none_or(|head| head.status.ended()) {
                    part.iter().for_each(|key| tx.delete(key.clone()));
                }
                Ok::<_, Refused>(())
            })
        });
        if let Err(refused) = swept.await {
            tracing::warn!(%run, %refused, "timers of a run that has ended are left until they ring");
            return;
        }
    }
}

/// A run that has ended was woken: what it may have left of timers that are due goes.
pub(crate) async fn sweep_rung(ctx: &Ctx, run: RunId) {
    let wants = vec![Want::range(timers::due(ctx.ws.shard, ctx.core.ports.clock.now()), PAGE)];
    let Ok(view) = ctx.core.ports.store.read(ctx.ws.shard, wants).await else { return };
    let keys = view.rows.into_iter().flatten().map(|(key, _)| key);
    let own = |key: &Key| timers::parts(key).is_ok_and(|(_, ws, whose)| (ws, whose) == (ctx.ws.id, run));
    sweep(ctx, run, &keys.filter(own).collect::<Vec<_>>()).await;
}

/// Wakes runs until the engine closes.
pub(crate) async fn watch(core: Arc<Core>) {
    loop {
        let (due, next) = core.timers.take_due(core.ports.clock.now().as_millisecond());
        let mut woken: BTreeMap<WorkspaceId, Vec<RunId>> = BTreeMap::new();
        for (workspace, run) in due {
            woken.entry(workspace).or_default().push(run);
        }
        for (workspace, runs) in woken {
            let Some(ctx) = core.workspace_by_id(workspace) else { continue };
            for page in runs.chunks(load::WOKEN_AT_ONCE) {
                for (run, workflow) in load::with_workflows(&ctx, page).await {
                    ctx.wake(run, &workflow);
                }
            }
        }
        let sleep = async {
            match next {
                Some(at) => core.ports.clock.sleep_until(crate::tables::runs::timestamp(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            () = core.timers.changed.notified() => {}
            () = sleep => {}
        }
    }
}
