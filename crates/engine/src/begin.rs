//! A run as it is put on disk before it is driven: in the queue, or failed before it began.
use crate::api::{FailureDetail, RunStatus};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::feed::RunMoved;
use crate::id::RunId;
use crate::journal::{NoteRef, Page};
use crate::registry::Compiled;
use crate::stats::add;
use crate::tables::{self, runs};
use crate::{blobs, inputs};
use serde_json::Value;
use std::collections::BTreeMap;
use stepwell_store::{Key, Refused, Txn};
use stepwell_workflow::machine::{Event, Failure, Payload, RunInfo, Start};

/// A transaction that puts runs into the queue is full here: the next run, or a record before and after a change,
/// still fits it.
pub(crate) fn is_full(txn: &Txn) -> bool {
    const MAX_ROWS: usize = 400;
    const MAX_BYTES: usize = 384 << 10;
    txn.keys() >= MAX_ROWS || txn.bytes() >= MAX_BYTES
}

/// A run that was asked for.
pub(crate) struct NewRun {
    pub run: RunId,
    pub head: runs::RunHead,
    pub start: Start,
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
            error: None,
            hook_key: None,
            hook: None,
            payloads_expired: false,
            payloads_left: false,
            depth,
            parent: None,
            links: key,
        };
        Self { run, head, start }
    }

    async fn spill(&mut self, ctx: &Ctx) -> Result<Vec<[u8; 32]>, Refused> {
        let mut spilled = Vec::new();
        for payload in [&mut self.start.trigger, &mut self.start.settings] {
            spilled.extend(blobs::spill(ctx, payload, ctx.core.config.inline_payload_bytes).await?);
        }
        Ok(spilled)
    }

    /// As the queue keeps it: it begins in its turn.
    pub(crate) async fn queued(mut self, ctx: &Ctx) -> Result<Rows, Refused> {
        let spilled = self.spill(ctx).await?;
        let live =
            runs::Live { incoming: vec![Event::Started(Box::new(self.start))], ..runs::Live::default() };
        let live = (runs::live_key(ctx.ws.id, self.run), tables::encode(&live)?);
        Rows::new(ctx, self.run, &self.head, Some(live), spilled)
    }

    /// As it is kept when it cannot begin: failed, and with all that it was to begin with.
    pub(crate) async fn failed(mut self, ctx: &Ctx, failure: &Failure) -> Result<Rows, Refused> {
        let spilled = self.spill(ctx).await?;
        let now_ms = ctx.now_ms();
        let mut page = Page::default();
        page.push(&Event::Started(Box::new(self.start)), &NoteRef::default())?;
        let journal = runs::journal_key(ctx.ws.id, self.run, 0);
        self.head.status = RunStatus::Failed;
        self.head.ended_ms = Some(now_ms);
        self.head.error = Some(FailureDetail::from(failure));
        self.head.commits = 1;
        let page = page.value(now_ms, None)?.map(|page| (journal, page));
        Rows::new(ctx, self.run, &self.head, page, spilled)
    }
}

/// The rows of a run that is new.
pub(crate) struct Rows {
    pub run: RunId,
    pub moved: RunMoved,
    status: RunStatus,
    writes: Vec<(Key, stepwell_store::Value)>,
}

impl Rows {
    fn new(
        ctx: &Ctx,
        run: RunId,
        head: &runs::RunHead,
        beside: Option<(Key, stepwell_store::Value)>,
        spilled: Vec<[u8; 32]>,
    ) -> Result<Self, Refused> {
        let mut writes = vec![(runs::head_key(ctx.ws.id, run), tables::encode(head)?)];
        writes.extend(beside);
        for sha256 in spilled {
            writes.push((runs::blob_ref_key(ctx.ws.id, &sha256, run), vec![tables::FORMAT].into()));
        }
        Ok(Self { run, moved: RunMoved::of(run, head), status: head.status, writes })
    }

    /// Writes them; the caller appends `moved` to the log.
    pub(crate) fn put(&self, tx: &mut Txn) {
        self.writes.iter().for_each(|(key, value)| tx.put(key.clone(), value.clone()));
    }

    /// Call it when they are on disk: whoever drives runs takes it from here.
    pub(crate) fn stored(&self, ctx: &Ctx) {
        add(&ctx.core.stats.runs_started, 1);
        if self.status.ended() {
            ctx.core.stats.run_ended(self.status);
            ctx.ws.kept.run_ended();
        } else {
            ctx.wake(self.run);
        }
    }
}
