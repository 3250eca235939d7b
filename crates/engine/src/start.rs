//! How a run comes into being: by a webhook, or by hand. It is on disk before anybody is told.
use crate::api::{
    Caller, HookAnswer, HookReply, HookRequest, RunStarted, RunStatus, Scope, run_failure, run_status,
};
use crate::begin::NewRun;
use crate::burst::Base;
use crate::core::Ctx;
use crate::driver::{self, Begun};
use crate::error::{EngineError, ErrorKind};
use crate::feed::EventPage;
use crate::id::RunId;
use crate::manual;
use crate::registry::{Compiled, hooks as registered, schema, workflows};
use crate::secrets::Opened;
use crate::stats::add;
use crate::tables::{self, hooks};
use crate::waiters::{Ended, Listener};
use crate::{hash, history, signature};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stepwell_store::{Key, Refused, transact};
use stepwell_workflow::depth;
use stepwell_workflow::expr::Values;
use stepwell_workflow::machine::{Event, Payload, State};
use stepwell_workflow::model::{Auth, Respond, Webhook};

/// A run that was asked for.
struct Wanted {
    flow: Arc<Compiled>,
    trigger: Value,
    hook_key: Option<(Key, hooks::HookKey)>,
    /// Whether somebody wants to hear of its end.
    listen: bool,
}

struct Started {
    run: RunId,
    first: bool,
    seen: Option<Listener>,
}

/// Headers that say who the caller is; they are checked and then gone.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
const MAX_IDEMPOTENCY_KEY: usize = 512;

/// Takes a webhook.
pub(crate) async fn hook(ctx: &Ctx, request: HookRequest) -> Result<HookAnswer, EngineError> {
    let answer = accept(ctx, request).await;
    let stats = &ctx.core.stats;
    match &answer {
        Err(_) => add(&stats.hooks_refused, 1),
        Ok(_) => add(&stats.hooks_accepted, 1),
    }
    answer
}

async fn accept(ctx: &Ctx, request: HookRequest) -> Result<HookAnswer, EngineError> {
    let table = ctx.ws.registry.hooks();
    let flow = table.find(&request.method, &request.path)?.clone();
    let Some(hook) = registered::webhook(&flow) else {
        return Err(EngineError::internal("a workflow without webhook is in the table of webhooks"));
    };
    let limit = ctx.core.config.hook_body_bytes;
    if request.body.len() > limit {
        let message = format!("the body has {} bytes; a webhook takes at most {limit}", request.body.len());
        return Err(EngineError::new(ErrorKind::TooLarge, "body_too_large", message));
    }
    authenticate(ctx, hook, &request)?;
    let body = body(&request)?;
    if let Some(validator) = &flow.input_schema {
        let problems = schema::problems(validator, &body);
        if !problems.is_empty() {
            let message = format!("the body does not fit the schema of webhook `{}`", hook.path);
            return Err(EngineError::invalid("body_schema", message).with_problems(problems));
        }
    }
    let trigger = seen(ctx, &flow, trigger(&request, body));
    let hook_key = idempotency_key(ctx, hook, &request, &trigger)?;
    let listen = !matches!(hook.respond, Respond::Accepted);
    let within = hook.respond_within.as_duration();
    let started = start(ctx, Wanted { flow: flow.clone(), trigger, hook_key, listen }).await?;
    let reply = match (listen, started.seen) {
        (false, _) => HookReply::Accepted,
        (true, Some(seen)) => match ended(ctx, seen, within).await {
            Some(ended) => reply(hook, &ended),
            None => HookReply::Accepted,
        },
        // A repeat gets the answer of the first.
        (true, None) => match history::wait_for_end(ctx, started.run, within).await? {
            Some(ended) => reply(hook, &ended),
            None => HookReply::Accepted,
        },
    };
    Ok(HookAnswer { run_id: started.run.to_string(), first: started.first, reply })
}

/// What a caller who waits for the result is told.
fn reply(hook: &Webhook, ended: &Ended) -> HookReply {
    if let Some(error) = &ended.finished.error {
        return HookReply::Failed(run_failure(error));
    }
    let status = run_status(ended.finished.status);
    if status == RunStatus::Cancelled {
        return HookReply::Cancelled;
    }
    match (&hook.respond, &ended.answer) {
        (Respond::Answer(_), Some(answer)) => HookReply::Custom {
            status: answer.status,
            headers: answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            body: answer.body.clone(),
        },
        _ => HookReply::Result { status, output: value_of(&ended.finished.output) },
    }
}

fn value_of(payload: &Payload) -> Value {
    payload.value().map_or(Value::Null, |value| (**value).clone())
}

/// What can be said of a webhook's request before its body is read.
pub(crate) fn admits(ctx: &Ctx, request: &HookRequest) -> Result<(), EngineError> {
    let table = ctx.ws.registry.hooks();
    match registered::webhook(table.find(&request.method, &request.path)?) {
        Some(hook) if !matches!(hook.auth, Auth::Hmac(_)) => authenticate(ctx, hook, request),
        _ => Ok(()),
    }
}

fn authenticate(ctx: &Ctx, hook: &Webhook, request: &HookRequest) -> Result<(), EngineError> {
    match &hook.auth {
        Auth::None => Ok(()),
        Auth::ApiKey => match &request.caller {
            Some(caller) if may_call(caller, &ctx.ws.name) => Ok(()),
            Some(_) => {
                let message = "this key may not call the webhooks of this workspace";
                Err(EngineError::new(ErrorKind::Forbidden, "forbidden", message))
            }
            None => {
                let message = "this webhook asks for an API key: send `Authorization: Bearer KEY`";
                Err(EngineError::new(ErrorKind::Unauthorized, "unauthorized", message))
            }
        },
        Auth::Hmac(hmac) => {
            let mut secrets = Opened::default();
            signature::check(hmac, request, ctx.core.ports.clock.now(), |name| secrets.reveal(ctx, name))
        }
    }
}

fn may_call(caller: &Caller, workspace: &str) -> bool {
    caller.may(Scope::Admin) || (caller.workspace == workspace && caller.may(Scope::Hooks))
}

/// The body as the run sees it: JSON, or a form as an object of its fields.
fn body(request: &HookRequest) -> Result<Value, EngineError> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let header = |name: &str| request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    let kind = header("content-type").map_or("", |(_, kind)| kind.split(';').next().unwrap_or("").trim());
    // `curl -d` calls everything a form. In one, `{` and `[` would be percent-encoded.
    let is_json = request.body.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
    if !is_json && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(pairs(url::form_urlencoded::parse(&request.body)));
    }
    let body = serde_json::from_slice(&request.body).map_err(|error| {
        // A parser of JSON stops far below that, and only says that there is too much.
        if depth::text_too_deep(&request.body).is_some() {
            return too_deep("the body");
        }
        let place = (u32::try_from(error.line()).ok(), u32::try_from(error.column()).ok());
        let problem = crate::Problem {
            code: "invalid_json".into(),
            message: error.to_string(),
            line: place.0.filter(|line| *line > 0),
            column: place.1.filter(|column| *column > 0),
            hint: Some("send one JSON value as the body".into()),
            ..crate::Problem::default()
        };
        EngineError::invalid("invalid_json", format!("the body is not JSON: {error}"))
            .with_problems(vec![problem])
    })?;
    shallow(body, "the body")
}

/// What a run begins with is stored, and has to be read back.
pub(crate) fn shallow(value: Value, what: &str) -> Result<Value, EngineError> {
    if depth::too_deep(&value) { Err(too_deep(what)) } else { Ok(value) }
}

fn too_deep(what: &str) -> EngineError {
    let message = format!("{what} is nested deeper than {} levels of lists and objects", depth::MAX_DEPTH);
    EngineError::invalid("too_deep", message)
}

/// Names and values as an object; a name that comes again makes a list.
fn pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (N, V)>) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        let value = Value::String(value.as_ref().to_owned());
        match object.get_mut(name.as_ref()) {
            None => {
                object.insert(name.as_ref().to_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(known) => *known = Value::Array(vec![known.take(), value]),
        }
    }
    Value::Object(object)
}

fn trigger(request: &HookRequest, body: Value) -> Value {
    let mut headers = Map::new();
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        if !SECRET_HEADERS.contains(&name.as_str()) {
            headers.insert(name, Value::String(value.clone()));
        }
    }
    json!({
        "type": "webhook",
        "method": request.method,
        "path": request.path.trim_matches('/'),
        "headers": headers,
        "query": pairs(request.query.iter().map(|(name, value)| (name, value))),
        "body": body,
    })
}

/// The key under which a repeat of this request is known: an expression of the trigger, or the header.
fn idempotency_key(
    ctx: &Ctx,
    hook: &Webhook,
    request: &HookRequest,
    trigger: &Value,
) -> Result<Option<(Key, hooks::HookKey)>, EngineError> {
    let key = match &hook.idempotency_key {
        Some(template) => {
            let scope =
                Values { now: ctx.core.ports.clock.now(), ..Values::new([("trigger", trigger.clone())]) };
            let key = workflows::render_text(template, &scope).map_err(|why| {
                EngineError::invalid("invalid_idempotency_key", format!("`idempotency_key`: {why}"))
            })?;
            Some(key)
        }
        None => {
            let header =
                request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
            header.map(|(_, key)| key.trim().to_owned())
        }
    };
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    if key.len() > MAX_IDEMPOTENCY_KEY {
        let message = format!("the idempotency key has {} bytes, at most {MAX_IDEMPOTENCY_KEY}", key.len());
        return Err(EngineError::invalid("invalid_idempotency_key", message));
    }
    let row = hooks::HookKey {
        // Filled in when the run gets its id.
        run: RunId::from_bytes([0; 16]),
        body_sha256: hash::hex(&hash::sha256(&request.body)),
        at_ms: ctx.now_ms(),
    };
    Ok(Some((hooks::key(ctx.ws.id, hook.path.trim_matches('/'), &key), row)))
}

/// Starts a run of the active version by hand.
pub(crate) async fn by_hand(
    ctx: &Ctx,
    name: &str,
    input: Value,
    wait: Option<Duration>,
) -> Result<RunStarted, EngineError> {
    let flow = workflows::active(ctx, name).await?;
    let trigger = seen(ctx, &flow, manual::trigger(ctx, &flow, input).await?);
    let started = start(ctx, Wanted { flow, trigger, hook_key: None, listen: wait.is_some() }).await?;
    let id = started.run.to_string();
    if let (Some(seen), Some(wait)) = (started.seen, wait)
        && let Some(ended) = ended(ctx, seen, wait).await
    {
        return Ok(RunStarted {
            run_id: id,
            status: run_status(ended.finished.status),
            output: Some(value_of(&ended.finished.output)).filter(|output| !output.is_null()),
            error: ended.finished.error.as_ref().map(run_failure),
        });
    }
    let head = crate::load::head(ctx, started.run).await?;
    let status = head.map_or(RunStatus::Queued, |head| head.status);
    Ok(RunStarted { run_id: id, status, output: None, error: None })
}

/// What started a run, as the run sees it: without the values of the secrets that the workflow names.
pub(crate) fn seen(ctx: &Ctx, flow: &Compiled, mut trigger: Value) -> Value {
    Opened::new(ctx, &crate::connections::secrets_of(ctx, flow)).redact(&mut trigger);
    trigger
}

/// Puts a run on disk: with its whole first burst where a slot is free, or else in the queue.
async fn start(ctx: &Ctx, wanted: Wanted) -> Result<Started, EngineError> {
    ctx.check_open()?;
    let Wanted { flow, trigger, mut hook_key, listen } = wanted;
    let mut new = NewRun::new(ctx, &flow, trigger, 0)?;
    let run = new.run;
    if let Some((key, row)) = &mut hook_key {
        row.run = run;
        new.head.hook_key = Some(hash::hex(key));
    }
    let body_sha256 = hook_key.as_ref().map(|(_, row)| row.body_sha256.clone());
    let seen = listen.then(|| ctx.ws.waiters.listen(run));
    let begun = match ctx.ws.schedule.start_at_once(run) {
        Some(turn) => {
            let base = Base {
                run,
                flow,
                head: new.head,
                state: State::new(),
                incoming: vec![Event::Started(Box::new(new.start))],
                timers: Vec::new(),
                frozen: BTreeMap::new(),
                open: BTreeMap::new(),
                stored: false,
                head_at: None,
                hook_key,
                step_limit: usize::MAX,
                moved: None,
                switch: None,
                items: BTreeMap::new(),
                claims: Vec::new(),
            };
            let told = driver::start_new(ctx, turn, base).await;
            told.unwrap_or_else(|_| {
                Err(EngineError::internal("the run could not be begun; the log says why"))
            })?
        }
        None => queue(ctx, new, hook_key).await?,
    };
    match begun {
        Begun::Stored => Ok(Started { run, first: true, seen }),
        Begun::Duplicate(row) if body_sha256.as_ref() == Some(&row.body_sha256) => {
            Ok(Started { run: row.run, first: false, seen: None })
        }
        Begun::Duplicate(row) => {
            let message = format!(
                "this idempotency key came before with another body (run {}); use a new key for a new request",
                row.run
            );
            Err(EngineError::conflict("idempotency_key_reused", message).with_run(row.run.to_string()))
        }
    }
}

/// Every slot is taken: the run is stored as it is, and begins in its turn.
async fn queue(
    ctx: &Ctx,
    new: NewRun,
    hook_key: Option<(Key, hooks::HookKey)>,
) -> Result<Begun, EngineError> {
    let ws = &ctx.ws;
    let rows = new.queued(ctx).await?;
    let row = EventPage::default().row(ctx.now_ms(), Some(&rows.moved))?;
    let (rows, row, hook_key) = (&rows, &row, &hook_key);
    let begun = transact(&ctx.core.ports.store, ws.shard, |mut tx| {
        Box::pin(async move {
            if let Some((key, taken)) = hook_key {
                if let Some(value) = tx.get(key).await? {
                    let known: hooks::HookKey = tables::decode(key, &value)?;
                    if !known.is_over(taken.at_ms, ctx.core.config.retention.hook_keys_for) {
                        return Ok(Begun::Duplicate(known));
                    }
                }
                tx.put(key.clone(), tables::encode(taken)?);
            }
            rows.put(&mut tx);
            tx.append(ws.log, row.clone());
            Ok::<_, Refused>(Begun::Stored)
        })
    })
    .await?;
    if let Begun::Stored = begun {
        rows.stored(ctx);
    }
    Ok(begun)
}

/// Waits for the end of a run that is listened to.
pub(crate) async fn ended(ctx: &Ctx, mut seen: Listener, within: Duration) -> Option<Arc<Ended>> {
    tokio::select! {
        biased;
        ended = seen.ended() => ended,
        // Whoever waits is told that it goes on, as when the time is over.
        () = ctx.core.leaving.cancelled() => None,
        () = ctx.core.ports.clock.sleep(within) => None,
    }
}
