//! Deliveries: what came in at webhooks, what became of it, and starting it again.
//!
//! What started a run is known by its run and costs nothing beside it. What did not (refused, repeated, a handshake)
//! is kept in a ring: it waits in memory for a second and is written with whatever else came, a bounded number of the
//! newest of each path. So a flood of refused requests costs one small commit a second, however large it is; what
//! there was no room for is counted.
use super::{Sent, accept, again};
use crate::api::{
    Delivery, DeliveryDetail, DeliveryOutcome, DeliveryPage, HookReply, HookRequest, PageRequest, Payload,
    invalid_cursor,
};
use crate::connections::secrets_of;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::id::RunId;
use crate::registry::hooks::webhook;
use crate::secrets::Opened;
use crate::tables;
use crate::tables::deliveries::{self as rows, DeliveryRow, Outcome, SentRow};
use crate::tables::runs::{self, RunHead, timestamp};
use crate::{history, load};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use stepwell_store::{Refused, Want, transact};

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
            let mut message = error.to_string();
            crate::steps::cut(&mut message, MAX_MESSAGE);
            (row.code, row.message, row.run) =
                (Some(error.code.to_string()), Some(message), error.run_id.clone());
        }
        Came::Repeated(run) => (row.outcome, row.run) = (Outcome::Repeated, Some(run.to_owned())),
        Came::Handshake => row.outcome = Outcome::Handshake,
    }
    // Whoever sends a secret of the workflow's back is shown it by nobody.
    let opened = table.find(&request.method, &request.path).ok().map(|flow| secrets_of(ctx, flow));
    let opened = Opened::new(ctx, &opened.unwrap_or_default());
    if let Some(message) = &mut row.message {
        redacted(&opened, message);
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

fn shown(path: &str, id: RunId, row: DeliveryRow) -> Delivery {
    let outcome = match row.outcome {
        Outcome::Refused => DeliveryOutcome::Refused,
        Outcome::Repeated => DeliveryOutcome::Repeated,
        Outcome::Handshake => DeliveryOutcome::Handshake,
    };
    Delivery {
        id: id.to_string(),
        path: path.to_owned(),
        method: row.method,
        at: row.at,
        outcome,
        code: row.code,
        message: row.message,
        run_id: row.run,
        run_status: None,
        workflow: None,
        bytes: Some(row.bytes),
    }
}

/// What a run says of the request that started it, if that came to this path.
fn started(path: &str, run: RunId, head: &RunHead) -> Option<Delivery> {
    let (method, at) = head.hook.as_deref()?.split_once(' ')?;
    (at == path).then(|| Delivery {
        id: run.to_string(),
        path: path.to_owned(),
        method: method.to_owned(),
        at: timestamp(head.created_ms),
        outcome: DeliveryOutcome::Started,
        code: None,
        message: None,
        run_id: Some(run.to_string()),
        run_status: Some(head.status),
        workflow: Some(head.workflow.clone()),
        bytes: None,
    })
}

/// What came to a path, the newest first.
pub(crate) async fn list(ctx: &Ctx, path: &str, page: PageRequest) -> Result<DeliveryPage, EngineError> {
    let path = path.trim_matches('/');
    let cursor = page.cursor.as_deref().map(|text| text.parse().map_err(|_| invalid_cursor(text)));
    let before: Option<RunId> = cursor.transpose()?;
    let size = page.size();
    let (runs, looked_to) = runs_of(ctx, path, before, size).await?;
    let mut found: Vec<(RunId, Delivery)> = runs;
    let keys = rows::heads_before(ctx.ws.id, path, before);
    let wants = vec![Want::Range { keys, limit: size + 1, backwards: true }];
    for (key, value) in ctx.core.ports.store.read(ctx.ws.shard, wants).await?.rows.into_iter().flatten() {
        let (_, id) = rows::parts(&key)?;
        found.push((id, shown(path, id, tables::decode(&key, &value)?)));
    }
    let not_kept = {
        let state = ctx.ws.deliveries.state();
        let waiting = state.waiting.iter().filter(|waiting| waiting.path == path);
        let waiting = waiting.filter(|waiting| before.is_none_or(|before| waiting.id < before));
        found.extend(waiting.map(|waiting| (waiting.id, shown(path, waiting.id, waiting.row.clone()))));
        state.not_kept.get(path).copied().unwrap_or(0)
    };
    if found.is_empty() && looked_to.is_none() && before.is_none() {
        known(ctx, path)?;
    }
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    // One that was written just now is there twice.
    found.dedup_by_key(|(id, _)| *id);
    // What is older than the last run looked at may stand behind runs that were not looked at.
    let mut next = looked_to;
    if let Some(to) = looked_to {
        found.retain(|(id, _)| *id >= to);
    }
    if found.len() > size {
        found.truncate(size);
        next = found.last().map(|(id, _)| *id);
    }
    Ok(DeliveryPage {
        deliveries: found.into_iter().map(|(_, delivery)| delivery).collect(),
        next_cursor: next.map(|id| id.to_string()),
        not_kept,
    })
}

/// Refuses a path that nothing listens on, and nothing ever came to.
fn known(ctx: &Ctx, path: &str) -> Result<(), EngineError> {
    let table = ctx.ws.registry.hooks();
    if table.known(path).is_some() {
        return Ok(());
    }
    let error = EngineError::unknown_hook(path);
    Err(match table.near(path) {
        Some(near) => EngineError { message: format!("{}; did you mean `{near}`?", error.message), ..error },
        None => error,
    })
}

/// Runs that requests to a path have started, the newest first, and the run looked at last where there may be more.
async fn runs_of(
    ctx: &Ctx,
    path: &str,
    before: Option<RunId>,
    size: usize,
) -> Result<(Vec<(RunId, Delivery)>, Option<RunId>), EngineError> {
    let mut keys = match before {
        None => runs::heads(ctx.ws.id),
        Some(before) => runs::heads_before(ctx.ws.id, before),
    };
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let limit = (2 * size).clamp(50, 500);
        let wants = vec![Want::Range { keys: keys.clone(), limit, backwards: true }];
        let rows: Vec<_> =
            ctx.core.ports.store.read(ctx.ws.shard, wants).await?.rows.into_iter().flatten().collect();
        let full = rows.len() == limit;
        for (key, value) in rows {
            let run = runs::run_in(&key)?;
            match tables::decode::<RunHead>(&key, &value) {
                Ok(head) => found.extend(started(path, run, &head).map(|delivery| (run, delivery))),
                Err(error) => tracing::error!(%error, "the list of deliveries passes a run by"),
            }
            looked_at += 1;
            if found.len() > size || looked_at == LOOKED_AT {
                return Ok((found, Some(run)));
            }
            keys.end = key;
        }
        if !full {
            return Ok((found, None));
        }
    }
}

fn unknown(path: &str, id: &str) -> EngineError {
    EngineError::not_found(
        "unknown_delivery",
        format!("nothing with the id {id} came to the webhook `{path}`"),
    )
}

/// One that is not a run's, with what was sent where that was kept.
async fn kept(
    ctx: &Ctx,
    path: &str,
    id: RunId,
) -> Result<Option<(DeliveryRow, Option<SentRow>)>, EngineError> {
    {
        let state = ctx.ws.deliveries.state();
        let waiting = state.waiting.iter().find(|waiting| waiting.id == id && waiting.path == path);
        if let Some(waiting) = waiting {
            return Ok(Some((waiting.row.clone(), waiting.sent.clone())));
        }
    }
    let keys = [rows::head_key(ctx.ws.id, path, id), rows::sent_key(ctx.ws.id, path, id)];
    let view = ctx.core.ports.store.read(ctx.ws.shard, keys.map(Want::Key).into()).await?;
    let mut rows = view.rows.into_iter().map(|rows| rows.into_iter().next());
    let (head, sent) = (rows.next().flatten(), rows.next().flatten());
    let Some((key, head)) = head else { return Ok(None) };
    let sent = sent.map(|(key, value)| tables::decode(&key, &value)).transpose()?;
    Ok(Some((tables::decode(&key, &head)?, sent)))
}

/// One delivery with what was sent, as far as it is kept.
pub(crate) async fn get(ctx: &Ctx, path: &str, id: &str) -> Result<DeliveryDetail, EngineError> {
    let path = path.trim_matches('/');
    let number: RunId = id.parse().map_err(|_| unknown(path, id))?;
    if let Some((row, sent)) = kept(ctx, path, number).await? {
        let delivery = shown(path, number, row);
        let Some(sent) = sent else { return Ok(DeliveryDetail::without(delivery)) };
        let object = |pairs: Vec<(String, String)>| super::pairs(pairs.into_iter());
        let bytes = STANDARD.decode(&sent.body).unwrap_or_default();
        let body = String::from_utf8(bytes).map_or_else(|_| json!({ "base64": sent.body }), Value::from);
        return Ok(DeliveryDetail {
            delivery,
            headers: Some(object(sent.headers)),
            query: Some(object(sent.query)),
            body: Some(body),
        });
    }
    let head = load::head(ctx, number).await?;
    let delivery = head.and_then(|head| started(path, number, &head)).ok_or_else(|| unknown(path, id))?;
    Ok(match history::detail(ctx, number).await?.input {
        Payload::Value(Value::Object(mut trigger)) => {
            let mut take = |name: &str| Some(trigger.remove(name).unwrap_or_default());
            DeliveryDetail { delivery, headers: take("headers"), query: take("query"), body: take("body") }
        }
        _ => DeliveryDetail::without(delivery),
    })
}

/// Starts a run with what was delivered before. Who sent it is not asked again but where a signature says it, which is
/// taken as of the time when it came.
pub(crate) async fn replay(ctx: &Ctx, path: &str, id: &str) -> Result<Replayed, EngineError> {
    let path = path.trim_matches('/');
    let number: RunId = id.parse().map_err(|_| unknown(path, id))?;
    if let Some((row, sent)) = kept(ctx, path, number).await? {
        let why = match row.outcome {
            Outcome::Refused => None,
            Outcome::Repeated => Some("it repeated one that had started a run; replay that one"),
            Outcome::Handshake => Some("it was a handshake, which starts no run"),
        };
        if let Some(why) = why {
            let error =
                EngineError::conflict("delivery_not_replayable", format!("there is nothing to start: {why}"));
            return Err(EngineError { run_id: row.run, ..error });
        }
        let Some(sent) = sent else {
            let message = format!(
                "of this delivery no body is kept: it was not read, or is larger than {MAX_SENT} bytes; have its \
                 sender send it again"
            );
            return Err(EngineError::new(ErrorKind::Gone, "payload_expired", message));
        };
        let request = HookRequest {
            method: row.method,
            path: path.to_owned(),
            headers: sent.headers,
            query: sent.query,
            body: STANDARD.decode(&sent.body).unwrap_or_default().into(),
            caller: None,
        };
        let answer = accept(ctx, &request, Sent::Before(row.at)).await.map_err(|error| match &*error.code {
            // It says nothing of the key of who asks for the replay.
            "bad_signature" => EngineError::conflict(
                "delivery_not_replayable",
                format!(
                    "its signature is not good, as it was sent and is kept: {}; have its sender send it again",
                    error.message
                ),
            ),
            _ => error,
        })?;
        if let HookReply::Handshake { .. } = answer.reply {
            let message = "there is nothing to start: it is a handshake now, which starts no run";
            return Err(EngineError::conflict("delivery_not_replayable", message));
        }
        return Ok(Replayed { run_id: answer.run_id, first: answer.first });
    }
    let head = load::head(ctx, number).await?;
    let Some(delivery) = head.and_then(|head| started(path, number, &head)) else {
        return Err(unknown(path, id));
    };
    let flow = ctx.ws.registry.hooks().find(&delivery.method, path)?.clone();
    if webhook(&flow).is_none_or(|hook| !hook.takes(&delivery.method)) {
        return Err(ctx.ws.registry.hooks().not_taken(&delivery.method, path));
    }
    match history::detail(ctx, number).await?.input {
        Payload::Value(trigger) => {
            let run = again(ctx, flow, trigger).await?;
            Ok(Replayed { run_id: run.to_string(), first: true })
        }
        Payload::Expired { .. } => Err(history::expired(number)),
    }
}

/// The run of a delivery that was started again.
pub(crate) struct Replayed {
    pub run_id: String,
    /// False when its idempotency key had started one already.
    pub first: bool,
}
