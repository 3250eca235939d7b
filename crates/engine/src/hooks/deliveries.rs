//! Deliveries: what came in at webhooks, and what became of it.
//!
//! What started a run is known by its run and costs nothing beside it. What did not (refused, repeated, a handshake)
//! is kept in a ring: it waits in memory for a second and is written with whatever else came, a bounded number of the
//! newest of each path. So a flood of refused requests costs one small commit a second, however large it is; what
//! there was no room for is counted.
mod found;

use crate::api::HookRequest;
use crate::connections::secrets_of;
use crate::core::Ctx;
use crate::error::EngineError;
use crate::id::RunId;
use crate::secrets::Opened;
use crate::tables;
use crate::tables::deliveries::{self as rows, DeliveryRow, Outcome, SentRow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use stepwell_store::{Refused, transact};

pub(crate) use found::{get, list, replay};

/// Of each path so many are kept that started no run.
const RING: usize = 200;
/// What of a refused request is kept to start it again; of a larger one only that it came.
const MAX_SENT: usize = 64 << 10;
/// What may wait to be written.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 4 << 20;
/// What one commit writes of it.
const AT_ONCE: usize = 64;
const AT_ONCE_BYTES: usize = 256 << 10;
/// Between two commits.
const PAUSE: Duration = Duration::from_secs(1);
/// Runs that one page looks at for those of a path.
const LOOKED_AT: usize = 5_000;
/// How much of a message is kept.
const MAX_MESSAGE: usize = 1_000;

/// What became of a request that started no run.
pub(super) enum Came<'a> {
    Refused(&'a EngineError),
    /// The run that the first of them started.
    Repeated(&'a str),
    Handshake,
}

/// The deliveries of a workspace that are not its runs'.
#[derive(Default)]
pub(crate) struct Deliveries {
    state: Mutex<State>,
    /// Held while rows are written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Not written yet, the oldest first.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Somebody is about to write them.
    writer: bool,
    /// Ids of what is stored, the oldest first; once it was read.
    stored: Option<BTreeMap<String, VecDeque<RunId>>>,
    /// By path, since the process started: those that there was no room for.
    not_kept: BTreeMap<String, u64>,
}

#[derive(Clone)]
struct Waiting {
    path: String,
    id: RunId,
    row: DeliveryRow,
    sent: Option<SentRow>,
    bytes: usize,
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Keeps a request that started no run; `whole` with what was sent, for it to be sent again.
pub(super) fn note(ctx: &Ctx, request: &HookRequest, came: Came<'_>, whole: bool) {
    let table = ctx.ws.registry.hooks();
    let Some(path) = table.known(&request.path) else { return };
    let mut row = DeliveryRow {
        method: request.method.clone(),
        at: ctx.core.ports.clock.now(),
        outcome: Outcome::Refused,
        bytes: request.body.len() as u64,
        code: None,
        message: None,
        run: None,
    };
    match came {
        Came::Refused(error) => {
            (row.code, row.message, row.run) =
                (Some(error.code.to_string()), Some(error.to_string()), error.run_id.clone());
        }
        Came::Repeated(run) => (row.outcome, row.run) = (Outcome::Repeated, Some(run.to_owned())),
        Came::Handshake => row.outcome = Outcome::Handshake,
    }
    // Whoever sends a secret of the workflow's back is shown it by nobody.
    let opened = table.find(&request.method, &request.path).ok().map(|flow| secrets_of(ctx, flow));
    let opened = Opened::new(ctx, &opened.unwrap_or_default());
    if let Some(message) = &mut row.message {
        redacted(&opened, message);
        // Not before: what a cut leaves of a value is not found.
        crate::steps::cut(message, MAX_MESSAGE);
    }
    let sent = if whole { sent(&opened, request) } else { None };
    let text = row.message.as_ref().map_or(0, String::len);
    let bytes = 200 + path.len() + text + sent.as_ref().map_or(0, |(_, bytes)| *bytes);
    let sent = sent.map(|(sent, _)| sent);
    let waiting = Waiting {
        path,
        id: ctx.core.ids.next(&*ctx.core.ports.clock, &*ctx.core.ports.random),
        row,
        sent,
        bytes,
    };
    let mut state = ctx.ws.deliveries.state();
    if state.waiting.len() >= WAITING || state.waiting_bytes + bytes > WAITING_BYTES {
        *state.not_kept.entry(waiting.path).or_default() += 1;
        return;
    }
    state.waiting_bytes += bytes;
    state.waiting.push_back(waiting);
    if !std::mem::replace(&mut state.writer, true) {
        let task = ctx.clone();
        ctx.core.tasks.spawn(async move { write_all(&task).await });
    }
}

/// What was sent, and its size; nothing when it is too large.
fn sent(opened: &Opened, request: &HookRequest) -> Option<(SentRow, usize)> {
    let of = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    };
    if request.body.len() + of(&request.headers) + of(&request.query) > MAX_SENT {
        return None;
    }
    let headers = request
        .headers
        .iter()
        .filter(|(name, _)| !super::SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)));
    let mut row = SentRow {
        headers: headers.cloned().collect(),
        query: request.query.clone(),
        body: STANDARD.encode(&request.body),
    };
    redact(opened, request, &mut row);
    // As it is written: what a query holds may take six times its length.
    let bytes = tables::encode(&row).ok()?.len();
    Some((row, bytes))
}

/// The values of the workflow's secrets are kept nowhere, here neither.
fn redact(opened: &Opened, request: &HookRequest, row: &mut SentRow) {
    for (_, value) in row.headers.iter_mut().chain(&mut row.query) {
        redacted(opened, value);
    }
    if let Ok(text) = std::str::from_utf8(&request.body) {
        let mut shown = text.to_owned();
        redacted(opened, &mut shown);
        if shown != text {
            row.body = STANDARD.encode(shown);
        }
    }
}

fn redacted(opened: &Opened, text: &mut String) {
    let mut shown = Value::from(std::mem::take(text));
    opened.redact(&mut shown);
    if let Value::String(shown) = shown {
        *text = shown;
    }
}

/// Writes what waits, part by part with a pause between, until nothing does.
async fn write_all(ctx: &Ctx) {
    loop {
        let closing = tokio::select! {
            biased;
            () = ctx.core.closing.cancelled() => true,
            () = ctx.core.ports.clock.sleep(PAUSE) => false,
        };
        let written = write(ctx).await;
        if let Err(error) = &written {
            tracing::warn!(workspace = %ctx.ws.name, %error, "refused webhooks could not be noted");
        }
        let mut state = ctx.ws.deliveries.state();
        // A graceful stop leaves nothing behind that can be written.
        if state.waiting.is_empty() || (closing && written.is_err()) {
            state.writer = false;
            return;
        }
    }
}

/// Writes a part of what waits, and deletes the oldest of paths that have too many.
async fn write(ctx: &Ctx) -> Result<(), EngineError> {
    let _one = ctx.ws.deliveries.writing.lock().await;
    look(ctx).await?;
    let (part, over) = {
        let state = ctx.ws.deliveries.state();
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            bytes += waiting.bytes;
            bytes <= AT_ONCE_BYTES || bytes == waiting.bytes
        };
        let part: Vec<Waiting> = state.waiting.iter().take(AT_ONCE).take_while(fits).cloned().collect();
        let mut coming: BTreeMap<&str, usize> = BTreeMap::new();
        part.iter().for_each(|waiting| *coming.entry(&waiting.path).or_default() += 1);
        let mut over: Vec<(String, RunId)> = Vec::new();
        for (path, count) in coming {
            let stored = state.stored.as_ref().and_then(|stored| stored.get(path));
            let too_many = stored.map_or(0, |ids| (ids.len() + count).saturating_sub(RING));
            over.extend(stored.into_iter().flatten().take(too_many).map(|id| (path.to_owned(), *id)));
        }
        (part, over)
    };
    let mut writes = Vec::new();
    for waiting in &part {
        writes.push((
            rows::head_key(ctx.ws.id, &waiting.path, waiting.id),
            Some(tables::encode(&waiting.row)?),
        ));
        if let Some(sent) = &waiting.sent {
            writes.push((rows::sent_key(ctx.ws.id, &waiting.path, waiting.id), Some(tables::encode(sent)?)));
        }
    }
    for (path, id) in &over {
        writes.push((rows::head_key(ctx.ws.id, path, *id), None));
        writes.push((rows::sent_key(ctx.ws.id, path, *id), None));
    }
    commit(ctx, &writes).await?;
    let mut state = ctx.ws.deliveries.state();
    for _ in &part {
        if let Some(written) = state.waiting.pop_front() {
            state.waiting_bytes = state.waiting_bytes.saturating_sub(written.bytes);
            if let Some(stored) = &mut state.stored {
                stored.entry(written.path).or_default().push_back(written.id);
            }
        }
    }
    forget(&mut state, &over);
    Ok(())
}

type Writes = [(stepwell_store::Key, Option<stepwell_store::Value>)];

async fn commit(ctx: &Ctx, writes: &Writes) -> Result<(), Refused> {
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            for (key, value) in writes {
                match value {
                    Some(value) => tx.put(key.clone(), value.clone()),
                    None => tx.delete(key.clone()),
                }
            }
            Ok::<_, Refused>(())
        })
    })
    .await
}

fn forget(state: &mut State, gone: &[(String, RunId)]) {
    let Some(stored) = &mut state.stored else { return };
    for (path, id) in gone {
        if let Some(ids) = stored.get_mut(path) {
            ids.retain(|stored| stored != id);
        }
    }
    stored.retain(|_, ids| !ids.is_empty());
}

/// Finds out once which rows there are.
async fn look(ctx: &Ctx) -> Result<(), EngineError> {
    if ctx.ws.deliveries.state().stored.is_some() {
        return Ok(());
    }
    let mut stored: BTreeMap<String, VecDeque<RunId>> = BTreeMap::new();
    let keys = rows::heads(ctx.ws.id);
    for (key, _) in stepwell_store::all_rows(&*ctx.core.ports.store, ctx.ws.shard, keys).await? {
        let (path, id) = rows::parts(&key)?;
        stored.entry(path).or_default().push_back(id);
    }
    ctx.ws.deliveries.state().stored = Some(stored);
    Ok(())
}

/// Removes what is older than that; returns how many.
pub(crate) async fn expire(ctx: &Ctx, before_ms: i64) -> Result<u64, EngineError> {
    let _one = ctx.ws.deliveries.writing.lock().await;
    look(ctx).await?;
    let old: Vec<(String, RunId)> = {
        let state = ctx.ws.deliveries.state();
        let all = state.stored.iter().flatten().flat_map(|(path, ids)| ids.iter().map(move |id| (path, id)));
        all.filter(|(_, id)| id.made_ms() < before_ms).map(|(path, id)| (path.clone(), *id)).collect()
    };
    for some in old.chunks(100) {
        let of = |(path, id): &(String, RunId)| {
            [rows::head_key(ctx.ws.id, path, *id), rows::sent_key(ctx.ws.id, path, *id)]
                .map(|key| (key, None))
        };
        let writes: Vec<_> = some.iter().flat_map(of).collect();
        commit(ctx, &writes).await?;
        forget(&mut ctx.ws.deliveries.state(), some);
    }
    Ok(old.len() as u64)
}
