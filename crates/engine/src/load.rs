//! Between the store and a run's driver: the head, the snapshot, the version of the workflow, and what is still to do.
use crate::api::RunStatus;
use crate::burst::Base;
use crate::core::Ctx;
use crate::error::EngineError;
use crate::id::RunId;
use crate::tables::{self, items, runs};
use crate::{blobs, hash, history};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stepwell_store::{Key, Refused, Value, Want};
use stepwell_workflow::machine::{self, Command, Event};

/// An unfinished run as it is stored; `None` when it has ended, or never was.
pub(crate) async fn stored(ctx: &Ctx, run: RunId) -> Result<Option<Base>, EngineError> {
    let (head_key, live_key) = (runs::head_key(ctx.ws.id, run), runs::live_key(ctx.ws.id, run));
    let wants = vec![Want::Key(head_key.clone()), Want::Key(live_key.clone())];
    let mut rows = ctx.core.ports.store.read(ctx.ws.shard, wants).await?.rows.into_iter().flatten();
    let (head, live) = match (rows.next(), rows.next()) {
        (Some((_, head)), Some((_, live))) => (head, live),
        _ => return Ok(None),
    };
    let head: runs::RunHead = tables::decode(&head_key, &head)?;
    let mut live = snapshot(ctx, &live_key, live).await?;
    blobs::fill(ctx, &mut live.state).await?;
    for event in &mut live.incoming {
        history::fill(ctx, event).await?;
        // The run's clock begins, or goes on, when the run does, not when it was queued.
        match event {
            Event::Started(start) => start.at = ctx.core.ports.clock.now(),
            Event::RetryRequested { at } => *at = ctx.core.ports.clock.now(),
            _ => {}
        }
    }
    let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
    let mut open = BTreeMap::new();
    for command in machine::outstanding(&flow.graph, &live.state) {
        if let Command::Execute(execute) = command {
            open.insert((execute.path.clone(), execute.attempt), Arc::new(*execute));
        }
    }
    Ok(Some(Base {
        run,
        flow,
        head,
        state: live.state,
        incoming: live.incoming,
        timers: live.timers,
        unset: live.unset,
        frozen: live.frozen,
        open,
        stored: true,
        head_at: None,
        hook_key: None,
        step_limit: usize::MAX,
        moved: live.moved,
        switch: live.switch,
        items: live.items,
        claims: live.claims,
        wanted: None,
    }))
}

/// A snapshot that is larger becomes a blob.
const SNAPSHOT_BYTES: usize = 128 << 10;

/// An encoded snapshot as its row holds it, and the blob that has it when it is too large for a row.
pub(crate) async fn snapshot_value(ctx: &Ctx, value: Value) -> Result<(Value, Option<[u8; 32]>), Refused> {
    if value.len() <= SNAPSHOT_BYTES {
        return Ok((value, None));
    }
    let (sha256, reference) = blobs::put(ctx, value.to_vec()).await?;
    Ok((runs::encode_moved(&reference)?, Some(sha256)))
}

/// The value of a snapshot's row, wherever it is kept.
async fn snapshot(ctx: &Ctx, key: &Key, value: Value) -> Result<runs::Live, Refused> {
    let Some(reference) = runs::moved(key, &value)? else { return tables::decode(key, &value) };
    let value = blobs::read(ctx, &reference.sha256).await?;
    let live: runs::Live = tables::decode(key, &value)?;
    Ok(runs::Live { moved: hash::unhex(&reference.sha256), ..live })
}

/// The snapshot of an unfinished run.
pub(crate) async fn live(ctx: &Ctx, run: RunId) -> Result<Option<runs::Live>, Refused> {
    read_live(ctx, runs::live_key(ctx.ws.id, run)).await
}

/// Whether a run goes on only when a person does something.
pub(crate) async fn needs_a_person(ctx: &Ctx, run: RunId, head: &runs::RunHead) -> Result<bool, EngineError> {
    if head.inbox > 0 || !matches!(head.status, RunStatus::Waiting | RunStatus::Paused) {
        return Ok(false);
    }
    let Some(live) = live_as_stored(ctx, run).await?.filter(|live| live.parked) else { return Ok(false) };
    let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
    Ok(machine::needs_a_person(&flow.graph, &live.state))
}

/// The last snapshot of a run with items that has ended.
pub(crate) async fn last(ctx: &Ctx, run: RunId) -> Result<Option<runs::Live>, Refused> {
    read_live(ctx, items::last_key(ctx.ws.id, run)).await
}

/// The same, without the values that are kept elsewhere.
pub(crate) async fn live_as_stored(ctx: &Ctx, run: RunId) -> Result<Option<runs::Live>, Refused> {
    read_as_stored(ctx, runs::live_key(ctx.ws.id, run)).await
}

async fn read_live(ctx: &Ctx, key: Key) -> Result<Option<runs::Live>, Refused> {
    let mut live = read_as_stored(ctx, key).await?;
    if let Some(live) = &mut live {
        blobs::fill(ctx, &mut live.state).await?;
    }
    Ok(live)
}

async fn read_as_stored(ctx: &Ctx, key: Key) -> Result<Option<runs::Live>, Refused> {
    let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key)]).await?;
    match view.rows.into_iter().flatten().next() {
        Some((key, value)) => snapshot(ctx, &key, value).await.map(Some),
        None => Ok(None),
    }
}

/// Runs whose heads are read at once to wake them.
pub(crate) const WOKEN_AT_ONCE: usize = 200;

/// Some runs with the workflow of each, whose line they stand in; for one that cannot be read an empty name. Of many
/// [`WOKEN_AT_ONCE`] are asked for at a time, and woken before the next are: the first do not wait for the last.
pub(crate) async fn with_workflows(ctx: &Ctx, woken: &[RunId]) -> Vec<(RunId, Arc<str>)> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "w")]
        workflow: String,
    }
    let mut named: BTreeMap<RunId, Arc<str>> = BTreeMap::new();
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let wants = woken.iter().map(|run| Want::Key(runs::head_key(ctx.ws.id, *run))).collect();
    let rows = ctx.core.ports.store.read(ctx.ws.shard, wants).await.map(|view| view.rows).unwrap_or_default();
    for (key, value) in rows.into_iter().flatten() {
        if let (Ok(run), Ok(head)) = (runs::run_in(&key), tables::decode::<Named>(&key, &value)) {
            // Many runs are of few workflows.
            let name = names.get(head.workflow.as_str()).cloned().unwrap_or_else(|| head.workflow.into());
            names.insert(name.clone());
            named.insert(run, name);
        }
    }
    woken.iter().map(|run| (*run, named.get(run).cloned().unwrap_or_default())).collect()
}

/// A run's head.
pub(crate) async fn head(ctx: &Ctx, run: RunId) -> Result<Option<runs::RunHead>, Refused> {
    let key = runs::head_key(ctx.ws.id, run);
    let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key)]).await?;
    let row = view.rows.into_iter().flatten().next();
    row.map(|(key, value)| tables::decode(&key, &value)).transpose()
}
