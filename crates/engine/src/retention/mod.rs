//! Removing what has been kept long enough, oldest first, in small commits.
mod run;

use crate::core::{Core, Ctx};
use crate::error::{EngineError, ErrorKind};
use crate::feed::LogRow;
use crate::hooks::deliveries;
use crate::id::RunId;
use crate::tables::runs::{self, RunHead};
use crate::tables::{self, hooks, mailbox};
use futures::{StreamExt, stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{
    Key, LogError, Refused, UNNAMED_AGE, Want, first_position, prune_log, read_log, transact,
};

/// Runs looked at in one read, and rows deleted in one commit.
const PAGE: usize = 200;
/// Runs that are worked on at the same time.
const AT_A_TIME: usize = 16;

/// What a workspace's retention remembers between its rounds; all of it can be found out again.
#[derive(Default)]
pub(crate) struct Kept {
    /// Ended runs that are stored, once they were counted.
    ended: AtomicI64,
    counted: Mutex<bool>,
    payloads: Mutex<Mark>,
    hook_keys: Mutex<Mark>,
}

/// How far a job has come.
#[derive(Default, Clone)]
struct Mark {
    /// Everything up to this run was looked at.
    to: Option<RunId>,
    /// Except these, whose time had not come: unfinished ones, above all.
    later: BTreeSet<RunId>,
}

impl Kept {
    pub(crate) fn run_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// One less, if there are more than `limit`.
    fn take_one(&self, limit: u64) -> bool {
        let less = |ended: i64| (u64::try_from(ended).is_ok_and(|ended| ended > limit)).then(|| ended - 1);
        self.ended.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    /// A retry lets an ended run go on.
    pub(crate) fn run_revived(&self) {
        self.ended.fetch_sub(1, Relaxed);
    }
}

/// What one round has removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    pub runs: u64,
    pub payloads: u64,
    pub hook_keys: u64,
    pub mails: u64,
    pub deliveries: u64,
    pub log_rows: u64,
}

/// Goes on until the engine closes.
pub(crate) async fn watch(core: Arc<Core>) {
    let mut next_sweep = core.ports.clock.elapsed();
    loop {
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            () = core.ports.clock.sleep(core.config.retention.every) => {}
        }
        for ctx in core.all_workspaces() {
            match round(&ctx).await {
                Ok(removed) if removed != Removed::default() => {
                    tracing::debug!(workspace = %ctx.ws.name, ?removed, "retention removed what was over");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(workspace = %ctx.ws.name, %error, "retention could not do its round")
                }
            }
        }
        if core.ports.clock.elapsed() >= next_sweep {
            if let Err(error) = sweep(&core).await {
                tracing::warn!(%error, "blobs could not be swept");
            }
            next_sweep = core.ports.clock.elapsed() + UNNAMED_AGE;
        }
    }
}

/// One round over one workspace.
pub(crate) async fn round(ctx: &Ctx) -> Result<Removed, EngineError> {
    let keep = &ctx.core.config.retention;
    let kept = &ctx.ws.kept;
    let mut removed = Removed {
        hook_keys: visit(ctx, Job::HookKey, &kept.hook_keys, before(ctx, keep.hook_keys_for)).await?,
        payloads: visit(ctx, Job::Payloads, &kept.payloads, before(ctx, keep.payloads_for)).await?,
        ..Removed::default()
    };
    removed.runs = ended_runs(ctx).await?;
    removed.mails = rows(ctx, mailbox::before(ctx.ws.id, before(ctx, keep.mailbox_for))).await?;
    removed.deliveries = deliveries::expire(ctx, before(ctx, keep.payloads_for)).await?;
    removed.log_rows = log(ctx).await?;
    Ok(removed)
}

fn before(ctx: &Ctx, age: Duration) -> i64 {
    ctx.now_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// Heads in the order in which the runs were created, from behind `after`; one that cannot be read is passed by.
async fn heads(ctx: &Ctx, after: Option<RunId>) -> Result<Vec<(RunId, Option<RunHead>)>, Refused> {
    let mut keys = runs::heads(ctx.ws.id);
    if let Some(after) = after {
        keys.start = runs::head_key(ctx.ws.id, after).successor();
    }
    let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::range(keys, PAGE)]).await?;
    let rows = view.rows.into_iter().flatten();
    rows.map(|(key, value)| {
        let head = tables::decode(&key, &value);
        let head = head.inspect_err(|error| tracing::error!(%error, "retention passes a run by"));
        Ok((runs::run_in(&key)?, head.ok()))
    })
    .collect()
}

/// What is done to runs, oldest first.
#[derive(Clone, Copy)]
enum Job {
    /// Give back the idempotency key that the run took.
    HookKey,
    /// Empty the journal.
    Payloads,
    /// Remove the run.
    Runs,
    /// Only count what has ended.
    Count,
}

enum Visit {
    Done,
    Nothing,
    /// It is looked at again in every round, until its time has come.
    Later,
    /// The job has done all that it is there for.
    Enough,
}

/// Visits runs created before `until`, from behind the mark, which moves along with what is done.
async fn visit(ctx: &Ctx, job: Job, mark: &Mutex<Mark>, until: i64) -> Result<u64, EngineError> {
    let mut done = 0;
    // Nobody else works with the mark: rounds come one after the other.
    let mut at = mark.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let keep = |at: &Mark| *mark.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = at.clone();
    for run in at.later.clone() {
        let visited = match crate::load::head(ctx, run).await {
            Ok(Some(head)) => one(ctx, job, run, Some(head), until).await?,
            Ok(None) | Err(Refused::Damaged(_)) => Visit::Nothing,
            Err(refused) => return Err(refused.into()),
        };
        done += u64::from(matches!(visited, Visit::Done));
        if !matches!(visited, Visit::Later) {
            at.later.remove(&run);
            keep(&at);
        }
    }
    loop {
        let mut page = heads(ctx, at.to).await?;
        let mut more = page.len() == PAGE;
        let over = |head: &Option<RunHead>| head.as_ref().is_some_and(|head| head.created_ms >= until);
        if let Some(end) = page.iter().position(|(_, head)| over(head)) {
            page.truncate(end);
            more = false;
        }
        // Several at a time, so that they share commits; their order is kept for the mark.
        let mut visits = stream::iter(page)
            .map(|(run, head)| async move { (run, one(ctx, job, run, head, until).await) })
            .buffered(AT_A_TIME);
        while let Some((run, visited)) = visits.next().await {
            match visited? {
                Visit::Done => done += 1,
                Visit::Nothing => {}
                Visit::Later => {
                    at.later.insert(run);
                }
                Visit::Enough => more = false,
            }
            at.to = Some(run);
        }
        keep(&at);
        if !more || ctx.core.closing.is_cancelled() {
            return Ok(done);
        }
    }
}

/// Visits one run. What is wrong with it alone does not keep the others from their turn.
async fn one(
    ctx: &Ctx,
    job: Job,
    run: RunId,
    head: Option<RunHead>,
    until: i64,
) -> Result<Visit, EngineError> {
    let Some(head) = head else { return Ok(Visit::Nothing) };
    let visited = match job {
        Job::HookKey => hook_key(ctx, run, &head).await,
        Job::Payloads => payloads(ctx, run, &head, until).await,
        Job::Runs => ended_run(ctx, run, &head).await,
        Job::Count if head.status.ended() => Ok(Visit::Done),
        Job::Count => Ok(Visit::Nothing),
    };
    match visited {
        Err(error) if error.kind == ErrorKind::Internal => {
            tracing::error!(%run, %error, "retention passes a run by");
            Ok(Visit::Nothing)
        }
        visited => visited,
    }
}

async fn hook_key(ctx: &Ctx, run: RunId, head: &RunHead) -> Result<Visit, EngineError> {
    let Some(key) = head.hook_key.as_deref().and_then(unhex_key) else { return Ok(Visit::Nothing) };
    let key = &key;
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let row: Option<hooks::HookKey> =
                tx.get(key).await?.map(|value| tables::decode(key, &value)).transpose()?;
            // A later run may have taken the key again.
            let own = row.is_some_and(|row| row.run == run);
            if own {
                tx.delete(key.clone());
            }
            Ok::<_, Refused>(if own { Visit::Done } else { Visit::Nothing })
        })
    })
    .await
    .map_err(EngineError::from)
}

fn unhex_key(text: &str) -> Option<Key> {
    let pairs = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
    };
    pairs.map(byte).collect::<Option<Vec<u8>>>().map(Key::from)
}

async fn payloads(ctx: &Ctx, run: RunId, head: &RunHead, until: i64) -> Result<Visit, EngineError> {
    if head.payloads_expired && !head.payloads_left {
        return Ok(Visit::Nothing);
    }
    if !head.status.ended() || head.ended_ms.is_none_or(|ended| ended >= until) {
        return Ok(Visit::Later);
    }
    if started_by_one_that_goes_on(ctx, head).await? {
        return Ok(Visit::Later);
    }
    // A retry that came in between lets it go on: its time comes again.
    Ok(if run::expire(ctx, run, head).await? { Visit::Done } else { Visit::Later })
}

/// Whether a run that has led to this one has not ended: its step may still ask how this one did, or let it go on.
async fn started_by_one_that_goes_on(ctx: &Ctx, head: &RunHead) -> Result<bool, Refused> {
    let mut above = head.parent.clone();
    while let Some(parent) = above.filter(|parent| parent.waits) {
        above = match crate::load::head(ctx, parent.run).await {
            Ok(Some(head)) if !head.status.ended() => return Ok(true),
            Ok(Some(head)) => head.parent,
            Ok(None) | Err(Refused::Damaged(_)) => None,
            Err(refused) => return Err(refused),
        };
    }
    Ok(false)
}

/// Removes runs that ended long enough ago, and the oldest of too many.
async fn ended_runs(ctx: &Ctx) -> Result<u64, EngineError> {
    count(ctx).await?;
    // Unfinished runs stay, so the walk begins at the oldest every time.
    let until = if surplus(ctx) { i64::MAX } else { before(ctx, ctx.core.config.retention.runs_for) };
    visit(ctx, Job::Runs, &Mutex::default(), until).await
}

fn surplus(ctx: &Ctx) -> bool {
    u64::try_from(ctx.ws.kept.ended.load(Relaxed)).is_ok_and(|ended| ended > ctx.core.config.retention.runs)
}

async fn ended_run(ctx: &Ctx, run: RunId, head: &RunHead) -> Result<Visit, EngineError> {
    let until = before(ctx, ctx.core.config.retention.runs_for);
    let over = head.ended_ms.is_some_and(|ended| ended < until);
    if head.created_ms >= until && !surplus(ctx) {
        return Ok(Visit::Enough);
    }
    if !head.status.ended() {
        return Ok(Visit::Nothing);
    }
    if over && !surplus(ctx) && started_by_one_that_goes_on(ctx, head).await? {
        return Ok(Visit::Nothing);
    }
    // Counted first: of several at a time each takes its own place among those that are too many.
    let taken = ctx.ws.kept.take_one(if over { 0 } else { ctx.core.config.retention.runs });
    if !taken && !over {
        return Ok(Visit::Nothing);
    }
    let place = taken.then(|| GiveBack(&ctx.ws.kept));
    if !run::remove(ctx, run, head).await? {
        return Ok(Visit::Nothing);
    }
    std::mem::forget(place);
    Ok(Visit::Done)
}

/// A run that was counted as removed, and is not: after an error, or with a round that was given up.
struct GiveBack<'a>(&'a Kept);

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        self.0.run_ended();
    }
}

/// Counts the ended runs once; from then on they are counted as they end and go.
async fn count(ctx: &Ctx) -> Result<(), EngineError> {
    if *ctx.ws.kept.counted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        return Ok(());
    }
    let before = ctx.ws.kept.ended.load(Relaxed);
    let ended = visit(ctx, Job::Count, &Mutex::default(), i64::MAX).await?;
    // Those that ended meanwhile may be counted twice: the limit is one of order, not of one run.
    ctx.ws.kept.ended.fetch_add(i64::try_from(ended).unwrap_or(0) - before, Relaxed);
    *ctx.ws.kept.counted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
    Ok(())
}

/// Deletes the rows of a range.
async fn rows(ctx: &Ctx, keys: std::ops::Range<Key>) -> Result<u64, Refused> {
    let mut deleted = 0;
    loop {
        let wants = vec![Want::range(keys.clone(), PAGE)];
        let found: Vec<_> =
            ctx.core.ports.store.read(ctx.ws.shard, wants).await?.rows.into_iter().flatten().collect();
        if !found.is_empty() {
            let found = &found;
            transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
                Box::pin(async move {
                    found.iter().for_each(|(key, _)| tx.delete(key.clone()));
                    Ok::<_, Refused>(())
                })
            })
            .await?;
        }
        deleted += found.len() as u64;
        if found.len() < PAGE {
            return Ok(deleted);
        }
    }
}

/// Shortens the workspace's log.
async fn log(ctx: &Ctx) -> Result<u64, EngineError> {
    let store = &*ctx.core.ports.store;
    let until = before(ctx, ctx.core.config.retention.runs_for);
    let mut position = first_position(store, ctx.ws.log).await?;
    let first = position;
    loop {
        let page = match read_log(store, ctx.ws.log, position, PAGE).await {
            Ok(page) => page,
            Err(LogError::Refused(refused)) => return Err(refused.into()),
            // Somebody else shortened it.
            Err(LogError::Pruned { .. } | LogError::Ahead { .. }) => return Ok(0),
        };
        let old = page.rows.iter().take_while(|(position, value)| {
            LogRow::read(*position, value).is_ok_and(|row| row.at_ms < until)
        });
        let old = old.count();
        position += old as u64;
        if old < page.rows.len() || page.rows.is_empty() {
            break;
        }
    }
    // What no dispatcher has seen yet is still to start runs.
    if !ctx.ws.events.listeners().is_empty() {
        position = position.min(ctx.ws.events.position());
    }
    if position <= first {
        return Ok(0);
    }
    Ok(prune_log(store, ctx.ws.log, position).await?)
}

/// Removes blobs that no row names.
async fn sweep(core: &Arc<Core>) -> Result<(), Refused> {
    let workspaces = core.all_workspaces();
    let swept = core
        .ports
        .blobs
        .sweep(UNNAMED_AGE, &|id| {
            let workspaces = workspaces.clone();
            Box::pin(async move {
                for ctx in &workspaces {
                    if ctx.ws.registry.names_blob(&id.to_string()) {
                        return Ok(true);
                    }
                    let keys = KeyBuilder::new(Space::BlobRefs, ctx.ws.id).fixed(&id.0).prefix();
                    let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::range(keys, 1)]).await?;
                    if view.rows.iter().any(|rows| !rows.is_empty()) {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
        })
        .await?;
    if swept.blobs > 0 {
        tracing::info!(blobs = swept.blobs, bytes = swept.bytes, "removed blobs that nothing names");
    }
    Ok(())
}
