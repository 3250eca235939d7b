//! What is told of deliveries, those that runs tell of and those that are kept: the list, one of them, and starting it
//! again.

use super::{LOOKED_AT, MAX_SENT};
use crate::api::{
    Delivery, DeliveryDetail, DeliveryOutcome, DeliveryPage, HookRequest, PageRequest, Payload,
    invalid_cursor,
};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::hooks::{Accepted, Sent, accept, again, pairs};
use crate::id::RunId;
use crate::registry::hooks::webhook;
use crate::tables;
use crate::tables::deliveries::{self as rows, DeliveryRow, Outcome, SentRow};
use crate::tables::runs::{self, RunHead, timestamp};
use crate::{history, load};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stepwell_store::Want;

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
        let object = |these: Vec<(String, String)>| pairs(these.into_iter());
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
            ..HookRequest::default()
        };
        let accepted = accept(ctx, &request, Sent::Before(row.at)).await.map_err(|error| match &*error.code {
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
        // Who sends it again is told of its run, and waits for no end.
        let Accepted::Run(begun) = accepted else {
            let message = "there is nothing to start: it is a handshake now, which starts no run";
            return Err(EngineError::conflict("delivery_not_replayable", message));
        };
        return Ok(Replayed { run_id: begun.started.run.to_string(), first: begun.started.first });
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
