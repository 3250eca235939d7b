//! What a commit puts into the workspace's log: one row, with the run that moved and the record events in it.
use crate::api::{FeedBody, FeedEvent, MailboxEntry, Page, PageRequest, RunStatus, invalid_cursor};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::hash;
use crate::id::RunId;
use crate::tables::runs::{self, RunHead};
use crate::tables::{self, mailbox};
use futures::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use stepwell_records::EventJson;
use stepwell_store::limits::MAX_VALUE_BYTES;
use stepwell_store::{LogError, Refused, Value, Want, first_position, read_log};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A row of the log.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct LogRow {
    #[serde(rename = "t")]
    pub at_ms: i64,
    #[serde(rename = "r")]
    pub run: Option<RunMoved>,
    /// Runs that were put in the queue: by the dispatcher, or by the run.
    #[serde(rename = "q")]
    pub queued: Vec<RunMoved>,
    #[serde(rename = "x")]
    pub records: Vec<serde_json::Value>,
}

/// The record events of one commit, put in a row as they come, so that their size is known at every moment.
#[derive(Debug, Default)]
pub(crate) struct EventPage {
    json: Vec<u8>,
}

impl EventPage {
    pub(crate) fn push(&mut self, event: &EventJson) {
        if !self.json.is_empty() {
            self.json.push(b',');
        }
        self.json.extend_from_slice(event.as_bytes());
    }

    pub(crate) fn bytes(&self) -> usize {
        self.json.len()
    }

    /// Forgets what was pushed since there were so many bytes.
    pub(crate) fn back_to(&mut self, bytes: usize) {
        self.json.truncate(bytes);
    }

    /// The row of the log, as [`LogRow`] reads it.
    pub(crate) fn row(&self, at_ms: i64, run: Option<&RunMoved>) -> Result<Value, Refused> {
        self.row_with(at_ms, run, &[])
    }

    /// The same, with runs that were put in the queue.
    pub(crate) fn row_with(
        &self,
        at_ms: i64,
        run: Option<&RunMoved>,
        queued: &[&RunMoved],
    ) -> Result<Value, Refused> {
        let mut bytes = Vec::with_capacity(self.json.len() + 200);
        bytes.push(tables::FORMAT);
        bytes.extend_from_slice(format!("{{\"t\":{at_ms}").as_bytes());
        if let Some(run) = run {
            bytes.extend_from_slice(b",\"r\":");
            serde_json::to_writer(&mut bytes, run)
                .map_err(|error| Refused::Invalid(format!("a row cannot be written as JSON: {error}")))?;
        }
        if !queued.is_empty() {
            bytes.extend_from_slice(b",\"q\":");
            serde_json::to_writer(&mut bytes, queued)
                .map_err(|error| Refused::Invalid(format!("a row cannot be written as JSON: {error}")))?;
        }
        if !self.json.is_empty() {
            bytes.extend_from_slice(b",\"x\":[");
            bytes.extend_from_slice(&self.json);
            bytes.push(b']');
        }
        bytes.push(b'}');
        Ok(bytes.into())
    }
}

/// A row that tells of runs that were put in the queue together.
pub(crate) fn queued_row(at_ms: i64, runs: &[&RunMoved]) -> Result<Value, Refused> {
    #[derive(Serialize)]
    struct Queued<'a> {
        t: i64,
        q: &'a [&'a RunMoved],
    }
    tables::encode(&Queued { t: at_ms, q: runs })
}

/// A pointer to what happened to a run; the journal has the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunMoved {
    #[serde(rename = "i")]
    pub id: RunId,
    #[serde(rename = "w")]
    pub workflow: String,
    #[serde(rename = "s")]
    pub status: RunStatus,
    /// The commit's number in the journal.
    #[serde(rename = "c")]
    pub commit: u32,
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

impl RunMoved {
    /// As the run stands by its head, before the commit that the head counts next.
    pub(crate) fn of(id: RunId, head: &RunHead) -> Self {
        Self {
            id,
            workflow: head.workflow.clone(),
            status: head.status,
            commit: head.commits,
            steps: Vec::new(),
        }
    }
}

impl LogRow {
    pub(crate) fn read(position: u64, value: &Value) -> Result<Self, Refused> {
        tables::decode(&format_args!("{position} of the log"), value)
    }

    /// The feed's events of the row at `position`, from the `skip`th on.
    pub(crate) fn events(self, position: u64, skip: u64) -> Vec<FeedEvent> {
        let runs = self.run.into_iter().chain(self.queued).map(|run| FeedBody::Run {
            run_id: run.id.to_string(),
            workflow: run.workflow,
            status: run.status,
            steps: run.steps,
        });
        let records = self.records.into_iter().map(|event| FeedBody::Record { event });
        let numbered = runs.chain(records).enumerate();
        numbered
            .filter(|(number, _)| *number as u64 >= skip)
            .map(|(number, body)| FeedEvent { id: format!("{position}.{number}"), body })
            .collect()
    }
}

/// Where to read on after an event: its position, and how many events of that row were seen.
pub(crate) fn parse_id(id: &str) -> Option<(u64, u64)> {
    match id.split_once('.') {
        Some((position, number)) => {
            Some((position.parse().ok()?, number.parse::<u64>().ok()?.checked_add(1)?))
        }
        // A bare position: everything up to and including that row was seen.
        None => Some((id.parse::<u64>().ok()?.checked_add(1)?, 0)),
    }
}

/// What one read of the log takes at most. The store is asked for rows, and any of them may be as large as a row can be.
const READ_BYTES: usize = 4 << 20;
/// Rows of the log read at once: at first and after a pause, and at most. Of those, as many are kept as have so many
/// bytes, one at least: whoever reads slowly keeps them for as long.
const FIRST_PAGE: usize = 4;
const PAGE: usize = READ_BYTES / MAX_VALUE_BYTES;
const PAGE_BYTES: usize = 256 << 10;
/// Hints may be lost, so the feed looks now and then without one.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Clients that listen at the same time, in all workspaces and in one: each may keep some hundred kilobytes, or one large
/// row, and no workspace shuts the others out.
const MAX_FEEDS: usize = 256;
const MAX_FEEDS_OF_ONE: usize = 64;

/// Places for clients that listen to events.
#[derive(Clone)]
pub(crate) struct Listening {
    places: Arc<Semaphore>,
    most: usize,
}

impl Listening {
    /// To all workspaces together.
    pub(crate) fn to_all() -> Self {
        Self::of(MAX_FEEDS)
    }

    /// To one workspace.
    pub(crate) fn to_one() -> Self {
        Self::of(MAX_FEEDS_OF_ONE)
    }

    fn of(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most }
    }

    fn take(&self, of: &str) -> Result<OwnedSemaphorePermit, EngineError> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let message = format!(
                "{} clients listen to the events of {of} already; end some, or try again later",
                self.most
            );
            EngineError::new(ErrorKind::Unavailable, "too_many_streams", message)
        })
    }
}

struct Reader {
    ctx: Ctx,
    position: u64,
    skip: u64,
    /// How many rows the next page has.
    page: usize,
    /// Rows as they are stored, and the events of the one before them.
    rows: VecDeque<(u64, Value)>,
    read: VecDeque<FeedEvent>,
    hints: tokio::sync::broadcast::Receiver<stepwell_store::Shard>,
    _places: [OwnedSemaphorePermit; 2],
}

/// The log from a position on, for ever; it ends when the engine closes.
pub(crate) async fn events(
    ctx: &Ctx,
    from: Option<&str>,
) -> Result<BoxStream<'static, Result<FeedEvent, EngineError>>, EngineError> {
    let store = &*ctx.core.ports.store;
    let (position, skip) = match from {
        None => (first_position(store, ctx.ws.log).await?, 0),
        Some("now") => (store.log_head(ctx.ws.log).await?, 0),
        Some(id) => parse_id(id).ok_or_else(|| {
            EngineError::invalid("invalid_event_id", format!("`{id}` is not the id of an event"))
        })?,
    };
    let of_one = ctx.ws.listening.take(&format!("the workspace `{}`", ctx.ws.name))?;
    let places = [of_one, ctx.core.listening.take("all workspaces")?];
    let hints = store.hints();
    // Asked now, so that a position that is no longer there is an error before anything is answered.
    read_log(store, ctx.ws.log, position, 1).await.map_err(log_error)?;
    let reader = Reader {
        ctx: ctx.clone(),
        position,
        skip,
        page: FIRST_PAGE,
        rows: VecDeque::new(),
        read: VecDeque::new(),
        hints,
        _places: places,
    };
    let events = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(event)) => Some((Ok(event), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}

impl Reader {
    async fn next(&mut self) -> Result<Option<FeedEvent>, EngineError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(Some(event));
            }
            if let Some((position, value)) = self.rows.pop_front() {
                let row = LogRow::read(position, &value)?;
                self.read.extend(row.events(position, std::mem::take(&mut self.skip)));
                continue;
            }
            let page = read_log(&*self.ctx.core.ports.store, self.ctx.ws.log, self.position, self.page).await;
            let page = page.map_err(log_error)?;
            let (mut bytes, mut rows) = (0, page.rows);
            let within = rows.iter().take_while(|(_, value)| {
                bytes += value.len();
                bytes <= PAGE_BYTES
            });
            let kept = within.count().max(1);
            self.page = if kept < rows.len() { kept } else { (self.page * 2).min(PAGE) };
            rows.truncate(kept);
            self.position = rows.last().map_or(page.next, |(position, _)| position + 1);
            self.rows = rows.into();
            if self.rows.is_empty() {
                self.page = FIRST_PAGE;
                if !self.wait().await {
                    return Ok(None);
                }
            }
        }
    }

    /// Waits for something new; false when the engine closes.
    async fn wait(&mut self) -> bool {
        let core = &self.ctx.core;
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return false,
            // One that lags has missed something: that is as good as a hint.
            _ = self.hints.recv() => {}
            () = core.ports.clock.sleep(LOOK_EVERY) => {}
        }
        while self.hints.try_recv().is_ok() {}
        true
    }
}

fn log_error(error: LogError) -> EngineError {
    match error {
        LogError::Refused(refused) => refused.into(),
        LogError::Pruned { first } => {
            let message = format!(
                "events before {first} are no longer kept; read the present state and go on from there"
            );
            EngineError::new(ErrorKind::Gone, "events_expired", message)
        }
        LogError::Ahead { head } => {
            let message = format!("the next event will be {head}; this id comes from somewhere else");
            EngineError::invalid("invalid_event_id", message)
        }
    }
}

/// Caught e-mail, newest first.
pub(crate) async fn mailbox(ctx: &Ctx, page: PageRequest) -> Result<Page<MailboxEntry>, EngineError> {
    let mut keys = mailbox::all(ctx.ws.id);
    if let Some(cursor) = &page.cursor {
        keys.end = mailbox::parse_id(ctx.ws.id, cursor).ok_or_else(|| invalid_cursor(cursor))?;
    }
    let size = page.size();
    let wants = vec![Want::Range { keys, limit: size + 1, backwards: true }];
    let rows: Vec<_> =
        ctx.core.ports.store.read(ctx.ws.shard, wants).await?.rows.into_iter().flatten().collect();
    let more = rows.len() > size;
    let mut items = Vec::with_capacity(size);
    for (key, value) in rows.into_iter().take(size) {
        let row: mailbox::CaughtMail = tables::decode(&key, &value)?;
        items.push(MailboxEntry {
            id: hash::hex(key.last_chunk::<24>().map_or(&[][..], |id| id)),
            at: runs::timestamp(row.at_ms),
            run_id: row.run.map(|run| run.to_string()),
            step: row.step,
            mail: row.mail,
        });
    }
    let next_cursor = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Page { items, next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_goes_on_after_the_event_seen_last() {
        let row = || LogRow { records: vec![1.into(), 2.into(), 3.into()], ..LogRow::default() };
        let all = row().events(7, 0);
        assert_eq!(all.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["7.0", "7.1", "7.2"]);
        let (position, skip) = parse_id(&all[1].id).unwrap();
        assert_eq!(row().events(position, skip), all[2..]);
        assert_eq!(parse_id("7"), Some((8, 0)));
        assert_eq!(parse_id("x.1"), None);
        assert_eq!(parse_id("18446744073709551615"), None);
    }
}
