//! The items of a run's iterators, as far as they are over: page by page, without loading the run.
use crate::api::{FailureDetail, ItemDetail, ItemFilter, Page, PageRequest, Payload, invalid_cursor};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::history::{self, Steps, expired, found, shown};
use crate::id::RunId;
use crate::tables::items::{self, Ended, ItemEvents};
use crate::tables::{self, runs};
use crate::{blobs, load};
use std::collections::BTreeMap;
use std::sync::Arc;
use stepwell_records::json_bytes;
use stepwell_store::{Refused, Want};
use stepwell_workflow::graph::NodeKind;
use stepwell_workflow::machine::{Output, StepPath, StepStatus};

/// Rows of items that are read at once.
const ROWS: usize = 10;
/// Items that one request looks at; a page of a rare filter may be short and have a cursor all the same.
const LOOKED_AT: usize = 20_000;
/// A page ends when it is as large, as JSON; an item is never cut.
const PAGE_BYTES: usize = 4 << 20;
/// Items under way whose steps a run shows.
const SHOWN_OPEN: usize = 100;

/// What commits say of items, by their numbers; the last few are kept.
#[derive(Default)]
struct Read {
    rows: BTreeMap<u32, Arc<ItemEvents>>,
}

impl Read {
    const KEPT: usize = 32;

    async fn commit(&mut self, ctx: &Ctx, run: RunId, commit: u32) -> Result<Arc<ItemEvents>, Refused> {
        if let Some(row) = self.rows.get(&commit) {
            return Ok(row.clone());
        }
        let key = items::events_key(ctx.ws.id, run, commit);
        let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key)]).await?;
        let row = view.rows.into_iter().flatten().next();
        let row: Option<ItemEvents> = row.map(|(key, value)| tables::decode(&key, &value)).transpose()?;
        Ok(self.keep(commit, row.unwrap_or_default()))
    }

    fn keep(&mut self, commit: u32, row: ItemEvents) -> Arc<ItemEvents> {
        let row = Arc::new(row);
        self.rows.insert(commit, row.clone());
        if self.rows.len() > Self::KEPT {
            self.rows.pop_first();
        }
        row
    }

    /// Adds the events of an item, and of no item inside it, to its steps.
    async fn steps(
        &mut self,
        ctx: &Ctx,
        run: RunId,
        item: &StepPath,
        commits: &[u32],
        steps: &mut Steps,
    ) -> Result<(), EngineError> {
        for commit in commits {
            let row = self.commit(ctx, run, *commit).await?;
            for entry in &row.entries {
                let of = entry.event.path().and_then(StepPath::innermost_item);
                if of.as_ref() == Some(item) {
                    let mut entry = entry.clone();
                    history::fill(ctx, &mut entry.event).await?;
                    steps.entry(ctx, entry).await?;
                }
            }
        }
        Ok(())
    }
}

/// The steps of items that are under way, or that failed and would be retried.
pub(crate) async fn open_steps(
    ctx: &Ctx,
    run: RunId,
    live: &runs::Live,
    steps: &mut Steps,
) -> Result<(), EngineError> {
    let mut read = Read::default();
    for (item, commits) in live.items.iter().take(SHOWN_OPEN) {
        read.steps(ctx, run, item, commits, steps).await?;
    }
    Ok(())
}

/// Items that are over, in the order in which they ended.
pub(crate) async fn list(
    ctx: &Ctx,
    run: RunId,
    filter: ItemFilter,
    page: PageRequest,
) -> Result<Page<ItemDetail>, EngineError> {
    let head = found(run, load::head(ctx, run).await?)?;
    if head.payloads_expired {
        return Err(expired(run));
    }
    let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
    if let Some(step) = &filter.step {
        let node = flow.graph.find(&StepPath::new(step)).map(|id| flow.graph.node(id));
        if !node.is_some_and(|node| matches!(node.kind, NodeKind::Iterator(_))) {
            let message = format!("`{step}` is no iterator of `{}`, by its path", head.workflow);
            return Err(EngineError::not_found("unknown_item", message));
        }
    }
    let (mut commit, mut place) = match &page.cursor {
        None => (0, 0),
        Some(cursor) => position(cursor).ok_or_else(|| invalid_cursor(cursor))?,
    };
    let (mut list, mut bytes, mut looked_at, mut read) = (Vec::new(), 0, 0, Read::default());
    let new_steps = || Steps::new(&flow, false).of(&head);
    loop {
        let wants = vec![Want::range(items::events_from(ctx.ws.id, run, commit), ROWS)];
        let view = ctx.core.ports.store.read(ctx.ws.shard, wants).await?;
        let rows: Vec<_> = view.rows.into_iter().flatten().collect();
        let more = rows.len() == ROWS;
        for (key, value) in rows {
            let number = items::commit_in(&key)?;
            let row = read.keep(number, tables::decode(&key, &value)?);
            let skip = if number == commit { place } else { 0 };
            for (at, ended) in row.ended.iter().enumerate().skip(skip) {
                if list.len() == page.size() || looked_at == LOOKED_AT || bytes >= PAGE_BYTES {
                    return Ok(Page { items: list, next_cursor: Some(format!("{number}.{at}")) });
                }
                looked_at += 1;
                if filter.wants(ended) {
                    let item = detail(ctx, run, new_steps(), ended, &mut read).await?;
                    bytes += json_bytes(&item);
                    list.push(item);
                }
            }
            (commit, place) = (number + 1, 0);
        }
        if !more {
            return Ok(Page { items: list, next_cursor: None });
        }
    }
}

fn position(cursor: &str) -> Option<(u32, usize)> {
    let (commit, place) = cursor.split_once('.')?;
    Some((commit.parse().ok()?, place.parse().ok()?))
}

impl ItemFilter {
    fn wants(&self, ended: &Ended) -> bool {
        let of = ended.path.of_item();
        let (step, index) =
            (of.as_ref().map(|(step, _)| step.as_str()), of.as_ref().map(|(_, index)| *index));
        self.status.is_none_or(|status| status == history::status(ended.status))
            && self.index.is_none_or(|wanted| index == Some(wanted))
            && self.step.as_deref().is_none_or(|wanted| step == Some(wanted))
    }
}

async fn detail(
    ctx: &Ctx,
    run: RunId,
    mut steps: Steps,
    ended: &Ended,
    read: &mut Read,
) -> Result<ItemDetail, EngineError> {
    read.steps(ctx, run, &ended.path, &ended.commits, &mut steps).await?;
    let mut steps = steps.all();
    // What the end of the run cut off was told of by no event.
    let cut = ended.status == StepStatus::Cancelled;
    for step in steps.iter_mut().filter(|step| cut && step.status == crate::api::StepStatus::Running) {
        step.status = crate::api::StepStatus::Cancelled;
    }
    let output = match &ended.output {
        Some(Output::Own(payload)) => {
            let mut payload = payload.clone();
            blobs::fill_one(ctx, &mut payload).await?;
            Some(shown(&payload))
        }
        Some(Output::Of(path)) => {
            let step = steps.iter().find(|step| step.path == path.as_str());
            step.and_then(|step| step.output.clone())
        }
        Some(Output::Children) | None => None,
    };
    let (step, index) = ended.path.of_item().unwrap_or((ended.path.clone(), 0));
    Ok(ItemDetail {
        step: step.to_string(),
        index,
        status: history::status(ended.status),
        output: output.filter(|output| *output != Payload::Value(serde_json::Value::Null)),
        error: ended.error.as_ref().map(FailureDetail::from),
        steps,
    })
}
