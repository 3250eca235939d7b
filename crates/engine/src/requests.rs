//! What people ask of a run that exists: to stop, or to go on from the step that failed.
use crate::api::RunSummary;
use crate::concurrency::{Entered, Told, Wanted};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::feed::{EventPage, RunMoved};
use crate::history::{self, expired, found};
use crate::id::RunId;
use crate::journal::Switch;
use crate::registry::{Compiled, workflows};
use crate::tables::{self, inbox, items, runs};
use crate::timers::whole_ms;
use crate::{api, blobs, children, concurrency, inputs};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use stepwell_store::{Key, Refused, Txn, Want, transact};
use stepwell_workflow::machine::{self, Call, Command, Event, Links, Start, State, StepPath, Timer};

/// Puts a cancel into the run's inbox and wakes its driver.
pub(crate) async fn cancel(ctx: &Ctx, run: RunId) -> Result<RunSummary, EngineError> {
    ctx.check_open()?;
    let key = runs::head_key(ctx.ws.id, run);
    let message =
        inbox::Message { event: Event::CancelRequested { at: ctx.core.ports.clock.now() }, actions: None };
    let (key, message) = (&key, &tables::encode(&message)?);
    let head = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let head =
                tx.get(key).await?.map(|value| tables::decode::<runs::RunHead>(key, &value)).transpose()?;
            let mut head = found(run, head)?;
            if head.status.ended() {
                let message = format!("run {run} has already ended ({})", head.status.as_str());
                return Err(EngineError::conflict("run_ended", message).with_run(run.to_string()));
            }
            // Once is enough, however often it is asked for: what lies there has to fit one burst.
            if head.inbox > 0 && concurrency::cancelled(ctx, &mut tx, run).await? {
                return Ok(head);
            }
            tx.put(inbox::key(ctx.ws.id, run, head.inbox), message.clone());
            head.inbox += 1;
            // Whoever drives the run rests on its head: that commit conflicts now, and finds the inbox.
            tx.put(key.clone(), tables::encode(&head)?);
            Ok(head)
        })
    })
    .await?;
    ctx.wake_at_once(run, &head.workflow);
    Ok(head.summary(run))
}

/// Lets a failed run go on: its state is folded from the journal, and the request is laid beside it for the run's next
/// burst, where the machine starts anew what had failed.
pub(crate) async fn retry(ctx: &Ctx, run: RunId, newest: bool) -> Result<RunSummary, EngineError> {
    ctx.check_open()?;
    let retrying = &prepare_retry(ctx, run, newest).await?;
    let head_key = &runs::head_key(ctx.ws.id, run);
    let retried = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let now = tx.get(head_key).await?;
            let now = now.map(|value| tables::decode::<runs::RunHead>(head_key, &value)).transpose()?;
            let now = found(run, now)?;
            check_failed(run, &now)?;
            if now.payloads_expired {
                return Err(expired(run));
            }
            if retrying.outdated(ctx, &mut tx, &now).await?.is_some() {
                let message = format!("run {run} has moved on meanwhile; look again");
                return Err(EngineError::conflict("run_moved", message));
            }
            let retried = retrying.put(ctx, &mut tx, now).await?;
            tx.append(ctx.ws.log, EventPage::default().row(ctx.now_ms(), Some(&retried.moved))?);
            Ok(retried)
        })
    })
    .await?;
    retried.stored(ctx, run);
    Ok(retried.head.summary(run))
}

/// A failed run that is about to go on: what its next burst starts from.
pub(crate) struct Retrying {
    run: RunId,
    head: runs::RunHead,
    live: stepwell_store::Value,
    moved: Option<[u8; 32]>,
    before: Option<[u8; 32]>,
    version: u32,
    /// The key of its links, where it gets some only now.
    links: Option<String>,
    /// The place that it asks for.
    wanted: Option<Wanted>,
    /// Runs that it waits for, by their heads, and where these stood.
    children: Vec<(Key, Option<Stand>)>,
}

/// A run that goes on, in a transaction.
pub(crate) struct Retried {
    pub head: runs::RunHead,
    pub moved: RunMoved,
    /// Others of its workflow that it moves.
    told: Vec<Told>,
}

impl Retried {
    /// Call it when it is on disk.
    pub(crate) fn stored(&self, ctx: &Ctx, run: RunId) {
        ctx.ws.kept.run_revived();
        if !self.head.waits_for_its_place() {
            ctx.wake(run, &self.head.workflow);
        }
        concurrency::wake(ctx, &self.head.workflow, &self.told);
    }
}

/// How many commits a run had, and whether it had ended.
type Stand = (u32, bool);

fn stand(head: &runs::RunHead) -> Stand {
    (head.commits, head.status.ended())
}

impl Retrying {
    /// What has moved on since it was read, if anything has: the run, or one that it waits for, whose end it would
    /// never hear of.
    pub(crate) async fn outdated(
        &self,
        ctx: &Ctx,
        tx: &mut Txn,
        now: &runs::RunHead,
    ) -> Result<Option<Key>, Refused> {
        if stand(now) != stand(&self.head) {
            return Ok(Some(runs::head_key(ctx.ws.id, self.run)));
        }
        for (key, before) in &self.children {
            let child = tx.get(key).await?;
            let child = child.map(|value| tables::decode::<runs::RunHead>(key, &value)).transpose()?;
            if child.as_ref().map(stand) != *before {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }

    /// The place that it asks for.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// Writes it over the head as it is now, when nothing is outdated; the caller tells the log.
    pub(crate) async fn put(
        &self,
        ctx: &Ctx,
        tx: &mut Txn,
        mut now: runs::RunHead,
    ) -> Result<Retried, Refused> {
        let (ws, run) = (&ctx.ws, self.run);
        tx.put(runs::live_key(ws.id, run), self.live.clone());
        tx.delete(items::last_key(ws.id, run));
        if let Some(sha256) = &self.before {
            tx.delete(runs::blob_ref_key(ws.id, sha256, run));
        }
        if let Some(sha256) = &self.moved {
            tx.put(runs::blob_ref_key(ws.id, sha256, run), vec![tables::FORMAT]);
        }
        now.status = api::RunStatus::Queued;
        let moved = RunMoved::of(run, &now);
        now.version = self.version;
        now.links = self.links.clone().or(now.links);
        now.ended_ms = None;
        now.error = None;
        let mut told = Vec::new();
        if let Some(wanted) = &self.wanted
            && let Entered::As(place) =
                concurrency::enter(ctx, tx, &now.workflow, wanted, run, &mut told).await?
        {
            now.place = Some(place);
        }
        tx.put(runs::head_key(ws.id, run), tables::encode(&now)?);
        Ok(Retried { head: now, moved, told })
    }
}

/// Reads a failed run that is to go on.
pub(crate) async fn prepare_retry(ctx: &Ctx, run: RunId, newest: bool) -> Result<Retrying, EngineError> {
    let head = found(run, crate::load::head(ctx, run).await?)?;
    check_failed(run, &head)?;
    let mut flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
    let mut folded = history::fold(ctx, run, &flow).await?;
    if folded.commits.iter().any(|commit| commit.expired) {
        return Err(expired(run));
    }
    if folded.state.start.is_none() && folded.unbegun.is_none() {
        let message = format!("run {run} failed before it began, and what it was to begin with is lost");
        return Err(EngineError::conflict("run_not_begun", message).with_run(run.to_string()));
    }
    let begins = folded.unbegun.take().filter(|_| folded.state.start.is_none());
    if begins.is_none() && folded.read.is_none() && flow.graph.has_items() && has_item_rows(ctx, run).await? {
        let message = format!(
            "how far the iterators of run {run} had come is lost, and a retry would begin their items again; start a \
             new run"
        );
        return Err(EngineError::conflict("run_not_retryable", message).with_run(run.to_string()));
    }
    let (frozen, read) = match folded.read.take() {
        Some(mut read) => (std::mem::take(&mut read.frozen), read),
        None => (frozen(ctx, &flow, &folded).await?, runs::Live::default()),
    };
    // A run that was given up while it waited goes on waiting: its timers went with it.
    let timers: Vec<(Timer, Timestamp)> = machine::outstanding(&flow.graph, &folded.state)
        .into_iter()
        .filter_map(|command| match command {
            Command::SetTimer { timer, due } => Some((timer, whole_ms(due))),
            _ => None,
        })
        .collect();
    let at = ctx.core.ports.clock.now();
    let mut incoming = vec![Event::RetryRequested { at }];
    let mut children = Vec::new();
    for (path, awaited) in folded.state.awaited() {
        // It may have ended while nobody could be told.
        let Ok(child) = awaited.parse() else { continue };
        let known = crate::load::head(ctx, child).await?;
        children.push((runs::head_key(ctx.ws.id, child), known.as_ref().map(stand)));
        let result = match found(child, known) {
            Ok(known) if !known.status.ended() => continue,
            Ok(known) => children::result(ctx, child, &known).await?,
            Err(error) => Err(children::lost(child, &error)),
        };
        incoming.push(Event::RunEnded { path: path.clone(), run: awaited.to_owned(), result, at });
    }
    let mut live = runs::Live {
        state: folded.state,
        incoming,
        frozen,
        // There may be more of them than this commit takes.
        unset: timers.clone(),
        timers,
        // The `on_failure` list runs anew, when it comes to that.
        items: read.items.into_iter().filter(|(item, _)| !item.is_on_failure()).collect(),
        claims: read.claims,
        ..runs::Live::default()
    };
    let mut links = None;
    if newest {
        flow = newer(ctx, &head, &flow, &live.state).await?;
    }
    if let Some(mut start) = begins {
        // It has not begun, so it begins with what there is now.
        if start.links.is_none() {
            links = inputs::links(ctx, &flow);
            start.links.clone_from(&links);
        }
        start.run.version = flow.version.into();
        start.actions = flow.resolve_actions(ctx)?;
        start.settings = flow.settings_now(ctx);
        live.incoming = vec![Event::Started(start)];
    } else if newest {
        links = switch(ctx, &flow, flow.resolve_actions(ctx)?, &mut live);
    }
    let start = live.state.start.as_deref().or_else(|| live.incoming.iter().find_map(begun_with));
    let wanted = match start.map(|start| concurrency::wanted(&flow, start)).transpose() {
        Ok(wanted) => wanted.flatten().map(Wanted::patient),
        Err(failure) => {
            let error = EngineError::new(ErrorKind::Conflict, failure.code, failure.message);
            return Err(error.with_run(run.to_string()));
        }
    };
    // What is large in the state stands in the journal too, which has claimed it.
    let (live, moved) = crate::load::snapshot_value(ctx, tables::encode(&live)?).await?;
    // The snapshot it ended with is the one it goes on from; a claim of it that is this one's too stays.
    let before = read.moved.filter(|before| Some(*before) != moved);
    let links = links.map(|links| links.key);
    Ok(Retrying { run, version: flow.version, links, head, live, moved, before, wanted, children })
}

/// Has a snapshot go on with another version of the workflow and the settings of now; gives the links that the run gets
/// only now.
pub(crate) fn switch(
    ctx: &Ctx,
    to: &Compiled,
    actions: BTreeMap<String, String>,
    live: &mut runs::Live,
) -> Option<Links> {
    let has_none = live.state.start.as_ref().is_some_and(|start| start.links.is_none());
    let links = if has_none { inputs::links(ctx, to) } else { None };
    let settings = to.settings_now(ctx);
    let had = live.state.start.as_ref().map(|start| &start.settings);
    let settings = Some(settings).filter(|now| had != Some(now));
    let to = Switch { version: to.version, actions, links: links.clone(), settings };
    to.apply(&mut live.state);
    live.switch = Some(to);
    links
}

fn begun_with(event: &Event) -> Option<&Start> {
    match event {
        Event::Started(start) => Some(start),
        _ => None,
    }
}

/// Whether anything is kept of items of the run.
async fn has_item_rows(ctx: &Ctx, run: RunId) -> Result<bool, EngineError> {
    let any = vec![Want::range(items::all(ctx.ws.id, run), 1)];
    let view = ctx.core.ports.store.read(ctx.ws.shard, any).await?;
    Ok(view.rows.iter().any(|rows| !rows.is_empty()))
}

/// What outside calls without a definite answer sent: a retry under the same key sends the same bytes.
async fn frozen(
    ctx: &Ctx,
    flow: &Compiled,
    folded: &history::Folded,
) -> Result<BTreeMap<StepPath, runs::Frozen>, EngineError> {
    let mut sent = BTreeMap::new();
    for entry in folded.commits.iter().flat_map(|commit| &commit.entries) {
        if let (Event::AttemptStarted { path, .. }, Some(input)) = (&entry.event, &entry.note.input) {
            sent.insert(path, input);
        }
    }
    let mut frozen = BTreeMap::new();
    for (path, input) in sent {
        let (Some(step), Some(node)) = (folded.state.step(path), flow.graph.find(path)) else { continue };
        let mut input = input.clone();
        blobs::fill_one(ctx, &mut input).await?;
        let Some(value) = input.value() else { continue };
        let kind = flow.graph.node(node).type_name;
        let Some(call) = Call::of_outside(kind, (**value).clone()) else { continue };
        frozen.insert(path.clone(), runs::Frozen { generation: step.generation, call });
    }
    Ok(frozen)
}

fn check_failed(run: RunId, head: &runs::RunHead) -> Result<(), EngineError> {
    if head.status == api::RunStatus::Failed {
        return Ok(());
    }
    let message = format!("run {run} is {}; only a failed run can be retried", head.status.as_str());
    Err(EngineError::conflict("run_not_failed", message).with_run(run.to_string()))
}

/// What the iterator at `path` counts its items by.
fn goes_over<'f>(flow: &'f Compiled, path: &StepPath) -> Option<(Option<&'f str>, Option<u64>, bool)> {
    flow.graph.find(path).and_then(|id| flow.graph.goes_over(id))
}

/// The active version, if every step that the run has begun stands at the same place in it.
pub(crate) async fn newer(
    ctx: &Ctx,
    head: &runs::RunHead,
    flow: &Arc<Compiled>,
    state: &State,
) -> Result<Arc<Compiled>, EngineError> {
    let newer = workflows::active(ctx, &head.workflow).await?;
    if newer.version == flow.version {
        return Ok(newer);
    }
    let kinds =
        |flow: &Compiled, path: &StepPath| flow.graph.find(path).map(|node| flow.graph.node(node).type_name);
    let gone: HashSet<&str> = state
        .steps
        .keys()
        .filter(|path| kinds(flow, path) != kinds(&newer, path))
        .map(StepPath::as_str)
        .collect();
    if gone.is_empty() {
        let begun = state.steps.iter().filter(|(_, step)| step.items.is_some() && !step.has_settled());
        return match begun.map(|(path, _)| path).find(|path| goes_over(flow, path) != goes_over(&newer, path))
        {
            None => Ok(newer),
            Some(path) => {
                let message = format!(
                    "the run is in the middle of the iterator `{path}`, and version {} of `{}` goes over something else \
                     there, or in batches of another size: its items could not be told apart",
                    newer.version, head.workflow
                );
                Err(EngineError::conflict("version_does_not_fit", message))
            }
        };
    }
    let mut gone: Vec<_> = gone.into_iter().collect();
    gone.sort_unstable();
    let message = format!(
        "version {} of `{}` does not have these steps of the run at the same place: {}",
        newer.version,
        head.workflow,
        gone.join(", ")
    );
    Err(EngineError::conflict("version_does_not_fit", message))
}
