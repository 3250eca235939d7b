//! Opening an engine over what is stored, recovering what is unfinished, and closing it again.
use crate::api::DEFAULT_WORKSPACE;
use crate::core::{Core, Ctx, WorkspaceCore, keep_up};
use crate::error::{EngineError, OpenError};
use crate::feed::Listening;
use crate::hooks::room::Room;
use crate::id::RunId;
use crate::registry::{Registry, activation};
use crate::schedule::Schedule;
use crate::tables::{self, inbox, names, runs};
use crate::{
    EngineConfig, Ports, concurrency, connections, driver, events, indexer, keys, load, retention, secrets,
    timers, timetables,
};
use futures::FutureExt;
use serde::Deserialize;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;
use stepwell_store::{Key, Log, Refused, Row, Want, WorkspaceId, transact};
use tokio::sync::Semaphore;

pub(crate) async fn open(config: EngineConfig, ports: Ports) -> Result<Arc<Core>, OpenError> {
    config.check().map_err(OpenError::Config)?;
    let room = Room::new(&config);
    let core = Arc::new(Core {
        callers: places(config.waiting_callers),
        config,
        ports,
        ids: Default::default(),
        stats: Default::default(),
        timers: Default::default(),
        sealer: Default::default(),
        workspaces: Default::default(),
        creating: Default::default(),
        api_keys: Default::default(),
        lane: Default::default(),
        room,
        listening: Listening::to_all(),
        tasks: Default::default(),
        leaving: Default::default(),
        closing: Default::default(),
    });
    secrets::check_key(&core).await?;
    keys::load(&core).await.map_err(EngineError::from)?;
    let home = WorkspaceId::NAMES.shard();
    let rows = stepwell_store::all_rows(&*core.ports.store, home, names::workspaces())
        .await
        .map_err(EngineError::from)?;
    for (key, value) in rows {
        let row: names::WorkspaceRow = tables::decode(&key, &value).map_err(EngineError::from)?;
        add(&core, row).await?;
    }
    create_workspace(&core, DEFAULT_WORKSPACE).await?;
    recover(&core).await?;
    core.tasks.spawn(timers::watch(core.clone()));
    for ctx in core.all_workspaces() {
        start_triggers(&ctx);
    }
    let kept = core.clone();
    let retention = move || retention::watch(kept.clone()).boxed();
    core.tasks.spawn(keep_up(core.clone(), "retention", retention));
    Ok(core)
}

/// Whatever starts runs of a workspace by itself, once.
pub(crate) fn start_triggers(ctx: &Ctx) {
    events::start(ctx);
    timetables::start(ctx);
    indexer::start(ctx);
}

fn places(count: usize) -> Semaphore {
    Semaphore::new(count.min(Semaphore::MAX_PERMITS))
}

/// A workspace in memory.
async fn add(core: &Arc<Core>, row: names::WorkspaceRow) -> Result<Ctx, EngineError> {
    let id = WorkspaceId(row.id);
    let ws = Arc::new(WorkspaceCore {
        id,
        name: row.name.clone(),
        shard: id.shard(),
        log: Log(id),
        schedule: Schedule::new(core.config.concurrent_runs),
        waiters: Default::default(),
        // Half of them all: callers of one workspace do not take the places of the others'.
        callers: places(core.config.waiting_callers.div_ceil(2)),
        registry: Registry::default(),
        events: Default::default(),
        timetables: Default::default(),
        schema: Default::default(),
        states: Default::default(),
        listening: Listening::to_one(),
        gates: Default::default(),
        mending: Default::default(),
        kept: Default::default(),
        deliveries: Default::default(),
        indexer: Default::default(),
    });
    let ctx = Ctx { core: core.clone(), ws: ws.clone() };
    ctx.ws.registry.load(&ctx).await?;
    connections::resume(&ctx).await?;
    core.workspaces.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(row.name, ws);
    Ok(ctx)
}

/// Writes what is there anyway, and where large values go.
pub(crate) async fn probe(core: &Arc<Core>) -> Result<(), EngineError> {
    core.ports.blobs.probe().await?;
    let key = &names::last_workspace_key();
    transact(&core.ports.store, WorkspaceId::NAMES.shard(), |mut tx| {
        Box::pin(async move {
            if let Some(value) = tx.get(key).await? {
                tx.put(key.clone(), value);
            }
            Ok::<_, Refused>(())
        })
    })
    .await?;
    Ok(())
}

pub(crate) async fn create_workspace(core: &Arc<Core>, name: &str) -> Result<Ctx, EngineError> {
    if let Some(ctx) = core.workspace(name) {
        return Ok(ctx);
    }
    // One at a time: two for one name would each have a registry and a schedule of their own.
    let _one = core.creating.lock().await;
    if let Some(ctx) = core.workspace(name) {
        return Ok(ctx);
    }
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !starts_well || name.len() > 64 || !name.bytes().all(known) {
        let message = format!(
            "`{name}` cannot name a workspace: lower case letters, digits and `-`, a letter first, at most 64"
        );
        return Err(EngineError::invalid("invalid_name", message));
    }
    let created_ms = core.ports.clock.now().as_millisecond();
    let (key, counter) = (&names::workspace_key(name), &names::last_workspace_key());
    let row = transact(&core.ports.store, WorkspaceId::NAMES.shard(), |mut tx| {
        Box::pin(async move {
            if let Some(value) = tx.get(key).await? {
                return tables::decode(key, &value);
            }
            let last =
                tx.get(counter).await?.map(|value| tables::decode::<u32>(counter, &value)).transpose()?;
            let id = last.unwrap_or(0) + 1;
            let row = names::WorkspaceRow { id, name: name.to_owned(), created_ms };
            tx.put(counter.clone(), tables::encode(&id)?);
            tx.put(key.clone(), tables::encode(&row)?);
            Ok::<_, Refused>(row)
        })
    })
    .await?;
    add(core, row).await
}

/// Every unfinished run goes on: those that can, in the order in which they came; the others when they are woken.
async fn recover(core: &Arc<Core>) -> Result<(), EngineError> {
    let workspaces = core.all_workspaces();
    let shards: BTreeSet<_> = workspaces.iter().map(|ctx| ctx.ws.shard).collect();
    for shard in shards {
        core.timers.load(core, shard).await?;
    }
    for ctx in workspaces {
        let mut runs = 0;
        let in_line = concurrency::in_line(&ctx).await?;
        let mut keys = runs::lives(ctx.ws.id);
        while let Some(rows) = page(&ctx, &mut keys).await? {
            runs += go_on(&ctx, ready(&rows, &in_line)?).await;
        }
        // A request that came before the crash and was not folded in yet.
        let mut keys = inbox::all(ctx.ws.id);
        while let Some(rows) = page(&ctx, &mut keys).await? {
            let asked = rows.iter().map(|(key, _)| runs::run_in(key)).collect::<Result<BTreeSet<_>, _>>()?;
            runs += go_on(&ctx, asked.into_iter().collect()).await;
        }
        if runs > 0 {
            tracing::info!(workspace = %ctx.ws.name, runs, "unfinished runs go on");
        }
        activation::warm_all(&ctx).await;
    }
    Ok(())
}

/// The next rows of a range, as many as are dealt with at once: those found first do not wait for the last.
async fn page(ctx: &Ctx, keys: &mut Range<Key>) -> Result<Option<Vec<Row>>, EngineError> {
    let wants = vec![Want::range(keys.clone(), load::WOKEN_AT_ONCE)];
    let view = ctx.core.ports.store.read(ctx.ws.shard, wants).await?;
    let rows: Vec<Row> = view.rows.into_iter().flatten().collect();
    if let Some((last, _)) = rows.last() {
        keys.start = last.successor();
    }
    Ok(Some(rows).filter(|rows| !rows.is_empty()))
}

/// Has some runs go on, in their turn; gives how many.
async fn go_on(ctx: &Ctx, runs: Vec<RunId>) -> usize {
    if !runs.is_empty() {
        let turns = ctx.ws.schedule.fill(load::with_workflows(ctx, &runs).await);
        driver::start_all(ctx, turns);
    }
    runs.len()
}

/// Those of some unfinished runs that have something to do.
fn ready(lives: &[Row], in_line: &HashSet<RunId>) -> Result<Vec<RunId>, EngineError> {
    /// The one thing of a snapshot that matters here.
    #[derive(Deserialize)]
    struct Parked {
        #[serde(default)]
        parked: bool,
    }
    let mut ready = Vec::new();
    for (key, value) in lives {
        // A snapshot that is elsewhere is looked at by its driver.
        // So is one that cannot be read: its driver says so, and ends it.
        let parked = matches!(runs::moved(key, value), Ok(None))
            && tables::decode::<Parked>(key, value).is_ok_and(|live| live.parked);
        let run = runs::run_in(key)?;
        if !parked && !in_line.contains(&run) {
            ready.push(run);
        }
    }
    Ok(ready)
}

pub(crate) async fn close(core: &Arc<Core>) {
    for ctx in core.all_workspaces() {
        ctx.ws.schedule.close();
    }
    core.closing.cancel();
    core.tasks.close();
    core.tasks.wait().await;
    core.leaving.cancel();
}
