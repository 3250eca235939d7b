//! A run as it is put on disk before it is driven: in the queue, or failed before it began.
use crate::abandon;
use crate::api::{FailureDetail, RunStatus};
use crate::concurrency::{self, Entered, Told, Wanted};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::feed::RunMoved;
use crate::id::RunId;
use crate::journal::Page;
use crate::registry::Compiled;
use crate::stats::add;
use crate::tables::{self, runs};
use crate::waiters::Ended;
use crate::{blobs, inputs};
use serde_json::Value;
use std::collections::BTreeMap;
use stepwell_store::{Key, Refused, Txn};
use stepwell_workflow::machine::{Event, Failure, Payload, RunInfo, Start};
use stepwell_workflow::model::WhenFull;

/// A transaction that puts runs into the queue is full here: the next run, or a record before and after a change,
/// still fits it.
pub(crate) fn is_full(txn: &Txn) -> bool {
    const MAX_ROWS: usize = 400;
    const MAX_BYTES: usize = 384 << 10;
    txn.keys() >= MAX_ROWS || txn.bytes() >= MAX_BYTES
}

/// A run that was asked for.
#[derive(Clone)]
pub(crate) struct NewRun {
    pub run: RunId,
    pub head: runs::RunHead,
    pub start: Start,
    /// The place that it asks for; or why that cannot be told.
    pub place: Result<Option<Wanted>, Failure>,
}

impl NewRun {
    /// Made now, with the actions that its workflow names as they are now.
    pub(crate) fn new(ctx: &Ctx, flow: &Compiled, trigger: Value, depth: u32) -> Result<Self, EngineError> {
        Ok(Self::with_actions(ctx, flow, trigger, depth, flow.resolve_actions(ctx)?))
    }

    /// Its rows for the queue; or failed, when what it names is not there.
    pub(crate) async fn rows(
        ctx: &Ctx,
        flow: &Compiled,
        trigger: Value,
        depth: u32,
    ) -> Result<Rows, Refused> {
        match flow.resolve_actions(ctx) {
            Ok(actions) => Self::with_actions(ctx, flow, trigger, depth, actions).queued(ctx).await,
            Err(error) if error.kind == ErrorKind::Unavailable => Err(Refused::Unavailable(error.message)),
            Err(error) => {
                let failure = Failure::engine(error.code, error.message);
                Self::without_actions(ctx, flow, trigger, depth).failed(ctx, &failure).await
            }
        }
    }

    /// A run that a run starts: its id is given.
    pub(crate) fn child(
        ctx: &Ctx,
        flow: &Compiled,
        trigger: Value,
        depth: u32,
        run: RunId,
        parent: runs::Parent,
    ) -> Result<Self, EngineError> {
        let mut new = Self::new(ctx, flow, trigger, depth)?;
        new.run = run;
        new.start.run.id = run.to_string();
        new.head.parent = Some(parent);
        Ok(new)
    }

    /// One that will not be driven.
    pub(crate) fn without_actions(ctx: &Ctx, flow: &Compiled, trigger: Value, depth: u32) -> Self {
        Self::with_actions(ctx, flow, trigger, depth, BTreeMap::new())
    }

    fn with_actions(
        ctx: &Ctx,
        flow: &Compiled,
        trigger: Value,
        depth: u32,
        actions: BTreeMap<String, String>,
    ) -> Self {
        let run = ctx.new_run_id();
        let now = ctx.core.ports.clock.now();
        let links = inputs::links(ctx, flow);
        let key = links.as_ref().map(|links| links.key.clone());
        let start = Start {
            run: RunInfo { id: run.to_string(), workflow: flow.name.clone(), version: flow.version.into() },
            trigger: Payload::new(trigger),
            settings: flow.settings_now(ctx),
            actions,
            links,
            at: now,
        };
        let head = runs::RunHead {
            workflow: flow.name.clone(),
            version: flow.version,
            status: RunStatus::Queued,
            trigger: flow.workflow.trigger.type_name().to_owned(),
            created_ms: now.as_millisecond(),
            started_ms: None,
            ended_ms: None,
            commits: 0,
            inbox: 0,
            steps_done: 0,
            fuel: 0,
            peak_memory_bytes: 0,
            semantics: None,
            error: None,
            hook_key: None,
            hook: None,
            payloads_expired: false,
            payloads_left: false,
            depth,
            parent: None,
            links: key,
            place: None,
            alarm: None,
        };
        let place = concurrency::wanted(flow, &start);
        Self { run, head, start, place }
    }

    async fn spill(&mut self, ctx: &Ctx) -> Result<Vec<[u8; 32]>, Refused> {
        let mut spilled = Vec::new();
        for payload in [&mut self.start.trigger, &mut self.start.settings] {
            spilled.extend(blobs::spill(ctx, payload, ctx.core.config.inline_payload_bytes).await?);
        }
        Ok(spilled)
    }

    /// As the queue keeps it: it begins in its turn. Or failed, when the place that it asks for cannot be told.
    pub(crate) async fn queued(mut self, ctx: &Ctx) -> Result<Rows, Refused> {
        let wanted = match std::mem::replace(&mut self.place, Ok(None)) {
            Ok(wanted) => wanted,
            Err(failure) => return self.failed(ctx, &failure).await,
        };
        let spilled = self.spill(ctx).await?;
        let skipped = match &wanted {
            Some(wanted) if wanted.when_full == WhenFull::Skip => {
                let failure = concurrency::full(&self.head.workflow);
                Some(self.unbegun(ctx, &failure, RunStatus::Cancelled)?)
            }
            _ => None,
        };
        let live =
            runs::Live { incoming: vec![Event::Started(Box::new(self.start))], ..runs::Live::default() };
        let live = (runs::live_key(ctx.ws.id, self.run), tables::encode(&live)?);
        Ok(Rows {
            run: self.run,
            claims: claims(ctx, self.run, &spilled),
            kept: (self.head, live),
            wanted,
            skipped,
        })
    }

    /// As it is kept when it cannot begin: failed, and with all that it was to begin with.
    pub(crate) async fn failed(mut self, ctx: &Ctx, failure: &Failure) -> Result<Rows, Refused> {
        let spilled = self.spill(ctx).await?;
        let kept = self.unbegun(ctx, failure, RunStatus::Failed)?;
        Ok(Rows { run: self.run, claims: claims(ctx, self.run, &spilled), kept, wanted: None, skipped: None })
    }

    /// As it is kept when it ends before it begins.
    fn unbegun(&self, ctx: &Ctx, failure: &Failure, status: RunStatus) -> Result<Kept, Refused> {
        let now_ms = ctx.now_ms();
        let head = runs::RunHead {
            status,
            ended_ms: Some(now_ms),
            error: Some(FailureDetail::from(failure)),
            commits: 1,
            ..self.head.clone()
        };
        let page = Page::unbegun(Box::new(self.start.clone()))?.value(now_ms, None)?;
        let page = page.ok_or_else(|| Refused::Invalid("what a run began with is not kept".into()))?;
        Ok((head, (runs::journal_key(ctx.ws.id, self.run, 0), page)))
    }
}

fn claims(ctx: &Ctx, run: RunId, spilled: &[[u8; 32]]) -> Vec<Key> {
    spilled.iter().map(|sha256| runs::blob_ref_key(ctx.ws.id, sha256, run)).collect()
}

/// A head, and the snapshot or the journal beside it.
type Kept = (runs::RunHead, (Key, stepwell_store::Value));

/// The rows of a run that is new.
pub(crate) struct Rows {
    run: RunId,
    kept: Kept,
    claims: Vec<Key>,
    /// The place that it asks for.
    wanted: Option<Wanted>,
    /// What is kept of it when it does not get one.
    skipped: Option<Kept>,
}

impl Rows {
    /// Writes them; the caller appends what moved to the log.
    pub(crate) async fn put(&self, ctx: &Ctx, tx: &mut Txn) -> Result<Placed, Refused> {
        let (mut kept, mut place, mut told) = (&self.kept, None, Vec::new());
        if let Some(wanted) = &self.wanted {
            let workflow = &self.kept.0.workflow;
            match concurrency::enter(ctx, tx, workflow, wanted, self.run, &mut told).await? {
                Entered::As(entered) => place = Some(entered),
                Entered::Full => kept = self.skipped.as_ref().unwrap_or(kept),
            }
        }
        let head = runs::RunHead { place, ..kept.0.clone() };
        tx.put(runs::head_key(ctx.ws.id, self.run), tables::encode(&head)?);
        tx.put(kept.1.0.clone(), kept.1.1.clone());
        self.claims.iter().for_each(|claim| tx.put(claim.clone(), vec![tables::FORMAT]));
        Ok(Placed { run: self.run, moved: RunMoved::of(self.run, &head), head, told })
    }
}

/// A run that was put into a transaction.
pub(crate) struct Placed {
    pub run: RunId,
    pub moved: RunMoved,
    pub head: runs::RunHead,
    /// Others of its workflow that it moves.
    told: Vec<Told>,
}

impl Placed {
    /// Call it when it is on disk: whoever drives runs takes it from here.
    pub(crate) fn stored(&self, ctx: &Ctx) {
        let head = &self.head;
        add(&ctx.core.stats.runs_started, 1);
        if head.status.ended() {
            ctx.core.stats.run_ended(head.status);
            ctx.ws.kept.run_ended();
            if let Some(finished) = abandon::finished(head) {
                ctx.ws.waiters.tell_end(self.run, || Ended { finished, answer: None });
            }
        } else if !head.waits_for_its_place() {
            ctx.wake(self.run, &head.workflow);
        }
        concurrency::wake(ctx, &head.workflow, &self.told);
    }
}
