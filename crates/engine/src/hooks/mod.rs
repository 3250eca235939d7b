//! Webhooks: a request is let in, read, told from its repeats, and answered when its run is on disk.
pub(crate) mod answer;
mod body;
pub(crate) mod deliveries;
mod handshake;
pub(crate) mod room;
pub(crate) mod signature;

use crate::api::{Caller, HookAnswer, HookRequest, Scope};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::id::RunId;
use crate::pace;
use crate::registry::{Compiled, hooks as registered, schema};
use crate::secrets::Opened;
use crate::start::{self, Wanted, seen};
use crate::stats::add;
use crate::tables::hooks;
use answer::Begun;
use deliveries::Came;
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::pin::pin;
use std::sync::Arc;
use stepwell_store::Key;
use stepwell_workflow::expr::{Mode, Template, Values};
use stepwell_workflow::model::{Auth, HmacScheme, Respond, Webhook};

/// Headers that say who the caller is; they are checked and then gone.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
const MAX_IDEMPOTENCY_KEY: usize = 512;
/// Stands for what was no text in a header or a query: two keys that have it may be different ones.
const REPLACED: char = '\u{fffd}';

/// When a request came, as far as it matters for who may send it.
#[derive(Clone, Copy)]
enum Sent {
    Now,
    /// It came then, and somebody who may sends it again.
    Before(Timestamp),
}

/// What became of a request that was let in.
enum Accepted {
    /// It was answered, and started none.
    Handshake(HookAnswer),
    Run(Begun),
}

/// Takes a webhook.
pub(crate) async fn take(ctx: &Ctx, request: HookRequest) -> Result<HookAnswer, EngineError> {
    let accepted = accept(ctx, &request, Sent::Now).await;
    let stats = &ctx.core.stats;
    let begun = match accepted {
        Err(error) => {
            add(&stats.hooks_refused, 1);
            deliveries::note(ctx, &request, Came::Refused(&error), true);
            return Err(error);
        }
        Ok(Accepted::Handshake(answer)) => {
            add(&stats.hooks_accepted, 1);
            deliveries::note(ctx, &request, Came::Handshake, false);
            return Ok(answer);
        }
        Ok(Accepted::Run(begun)) => begun,
    };
    add(&stats.hooks_accepted, 1);
    // Of a first one its run says it.
    if !begun.started.first {
        deliveries::note(ctx, &request, Came::Repeated(&begun.started.run.to_string()), false);
    }
    // Its run has all of it; what the body takes up is not needed while somebody waits.
    let gone = request.gone.clone();
    drop(request);
    answer::when_ended(ctx, begun, &gone).await
}

async fn accept(ctx: &Ctx, request: &HookRequest, sent: Sent) -> Result<Accepted, EngineError> {
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
    if let Some(handshake) = &hook.handshake
        && request.body.len() <= handshake::MAX_BODY
        && let Ok(body) = body::read(request).await
        && let Some(challenge) = handshake::challenge(ctx, handshake, trigger(request, body))?
    {
        if handshake.hmac.is_some() {
            authenticate(ctx, hook, request, sent)?;
        }
        return Ok(Accepted::Handshake(handshake::answer(ctx, handshake, challenge)?));
    }
    if !hook.takes(&request.method) {
        return Err(table.not_taken(&request.method, &request.path));
    }
    authenticate(ctx, hook, request, sent)?;
    let room = room::of(ctx, request).await?;
    let reading = body::read(request);
    let large = request.body.len() > LARGE_BODY;
    let body = if large {
        // To read megabytes takes long enough for others to notice. All of it is in memory, so nothing waits.
        let mut reading = pin!(reading);
        match pace::aside(|| reading.as_mut().now_or_never()) {
            Some(read) => read?,
            None => reading.await?,
        }
    } else {
        reading.await?
    };
    fits(ctx, &flow, &body).await?;
    let given = if hook.idempotency_key.is_some() { None } else { sent_key(hook, request)? };
    let tells = hook.idempotency_key.is_some() || given.is_some();
    let taken = || taken(ctx, &flow, request, body, tells);
    let (digest, mut trigger) = if large { pace::aside(taken) } else { taken() };
    let hook_key = idempotency_key(ctx, hook, given, &mut trigger, digest)?;
    let listen = !matches!(hook.respond, Respond::Accepted);
    let label = Some(label(&request.method, &hook.path));
    let wanted = Wanted { flow: flow.clone(), trigger, hook: label, hook_key, by_hand: false, listen };
    let started = start::start(ctx, wanted).await?;
    drop(room);
    Ok(Accepted::Run(Begun { started, flow }))
}

/// A body that is larger is not read on a thread that answers others.
const LARGE_BODY: usize = 256 << 10;

/// Of a request whose body fits: what its body is known by, where its repeats are told, and what the run is to know of it.
fn taken(
    ctx: &Ctx,
    flow: &Compiled,
    request: &HookRequest,
    body: Value,
    tells: bool,
) -> (Option<String>, Value) {
    let digest = tells.then(|| body::digest(request, &body));
    (digest, seen(ctx, flow, trigger(request, body)))
}

/// How a run names the webhook that started it.
fn label(method: &str, path: &str) -> String {
    format!("{method} {}", path.trim_matches('/'))
}

async fn fits(ctx: &Ctx, flow: &Compiled, body: &Value) -> Result<(), EngineError> {
    let Some(validator) = &flow.input_schema else { return Ok(()) };
    let problems = schema::problems(&ctx.core, validator, body).await;
    if problems.is_empty() {
        return Ok(());
    }
    let path = registered::webhook(flow).map_or("", |hook| &hook.path);
    let message = format!("the body does not fit the schema of webhook `{path}`");
    Err(EngineError::invalid("body_schema", message).with_problems(problems))
}

/// What can be said of a webhook's request before its body is read.
pub(crate) fn admits(ctx: &Ctx, request: &HookRequest) -> Result<(), EngineError> {
    let table = ctx.ws.registry.hooks();
    let found = table.find(&request.method, &request.path).map(|flow| registered::webhook(flow));
    let admitted = match found {
        Err(error) => Err(error),
        Ok(hook) => admit(ctx, hook, request),
    };
    if let Err(error) = &admitted {
        deliveries::note(ctx, request, Came::Refused(error), false);
    }
    admitted
}

fn admit(ctx: &Ctx, hook: Option<&Webhook>, request: &HookRequest) -> Result<(), EngineError> {
    match hook {
        // A signature is over the body, and a challenge may stand in it, unless that is too large.
        Some(hook)
            if !matches!(hook.auth, Auth::Hmac(_))
                && (hook.handshake.is_none() || is_longer(request, handshake::MAX_BODY)) =>
        {
            authenticate(ctx, hook, request, Sent::Now)
        }
        _ => Ok(()),
    }
}

/// Whether a body is announced as longer.
fn is_longer(request: &HookRequest, most: usize) -> bool {
    let length = header(request, "content-length").and_then(|length| length.trim().parse::<u64>().ok());
    length.is_some_and(|length| length > most as u64)
}

/// A request whose body could not be read.
pub(crate) fn unread(ctx: &Ctx, request: &HookRequest, why: &EngineError) {
    deliveries::note(ctx, request, Came::Refused(why), false);
}

fn authenticate(ctx: &Ctx, hook: &Webhook, request: &HookRequest, sent: Sent) -> Result<(), EngineError> {
    match (&hook.auth, sent) {
        // Its key was not kept: the one of who sends it again stands in for it.
        (Auth::None, _) | (Auth::ApiKey, Sent::Before(_)) => Ok(()),
        (Auth::ApiKey, Sent::Now) => match &request.caller {
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
        (Auth::Hmac(hmac), sent) => {
            let at = match sent {
                Sent::Now => ctx.core.ports.clock.now(),
                Sent::Before(at) => at,
            };
            let mut secrets = Opened::default();
            signature::check(hmac, request, at, |name| secrets.reveal(ctx, name))
        }
    }
}

fn may_call(caller: &Caller, workspace: &str) -> bool {
    caller.may(Scope::Admin) || (caller.workspace == workspace && caller.may(Scope::Hooks))
}

/// Adds what an active workflow's webhook asks of its sender, for tests of workflows.
pub(crate) fn sign(ctx: &Ctx, request: &mut HookRequest) -> Result<(), EngineError> {
    let table = ctx.ws.registry.hooks();
    let flow = table.find(&request.method, &request.path)?;
    match registered::webhook(flow).map(|hook| &hook.auth) {
        Some(Auth::ApiKey) => {
            request.caller = Some(Caller {
                key_id: "test".into(),
                workspace: ctx.ws.name.clone(),
                scopes: vec![Scope::Hooks],
            });
            Ok(())
        }
        Some(Auth::Hmac(hmac)) => {
            let mut secrets = Opened::default();
            signature::sign(hmac, request, ctx.core.ports.clock.now(), |name| secrets.reveal(ctx, name))
        }
        _ => Ok(()),
    }
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
            // Of a name that comes twice the first counts, as it does for whoever checks the request.
            headers.entry(name).or_insert_with(|| Value::String(value.clone()));
        }
    }
    let mut trigger = json!({
        "type": "webhook",
        "method": request.method,
        "path": request.path.trim_matches('/'),
        "headers": headers,
        "query": pairs(request.query.iter().map(|(name, value)| (name, value))),
    });
    // The macro would copy it.
    trigger["body"] = body;
    trigger
}

fn header<'r>(request: &'r HookRequest, name: &str) -> Option<&'r str> {
    let found = request.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// The key that its sender gave it; an empty one is none.
fn sent_key<'r>(hook: &Webhook, request: &'r HookRequest) -> Result<Option<&'r str>, EngineError> {
    // What is signed tells repeats better than what is not.
    if let Auth::Hmac(hmac) = &hook.auth
        && hmac.scheme == HmacScheme::StandardWebhooks
        && let Some(id) = key_header(request, "webhook-id")?
    {
        return Ok(Some(id));
    }
    key_header(request, "idempotency-key")
}

/// A header that is a key: one that leaves open which it is would let a repeat through, or lose what is none.
fn key_header<'r>(request: &'r HookRequest, name: &str) -> Result<Option<&'r str>, EngineError> {
    let wrong = |why: &str| {
        let message = format!("the header `{name}` {why}");
        EngineError::invalid("invalid_header", message)
    };
    let mut keys = request.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some(key) = keys.next().map(|(_, key)| key.trim()) else { return Ok(None) };
    if keys.any(|(_, other)| other.trim() != key) {
        return Err(wrong("comes more than once, with different values; send one"));
    }
    if key.contains(REPLACED) {
        return Err(wrong("is not UTF-8 text; send letters and digits"));
    }
    if key.len() > MAX_IDEMPOTENCY_KEY {
        return Err(wrong(&format!("has {} bytes, at most {MAX_IDEMPOTENCY_KEY}", key.len())));
    }
    Ok(Some(key).filter(|key| !key.is_empty()))
}

/// The key under which a repeat of this request is known: an expression of the trigger, or the header.
fn idempotency_key(
    ctx: &Ctx,
    hook: &Webhook,
    given: Option<&str>,
    trigger: &mut Value,
    body_sha256: Option<String>,
) -> Result<Option<(Key, hooks::HookKey)>, EngineError> {
    let Some(body_sha256) = body_sha256 else { return Ok(None) };
    let key = match &hook.idempotency_key {
        Some(template) => {
            let scope = scope(ctx, trigger.take());
            let wrong = |why: &str| {
                EngineError::invalid("invalid_idempotency_key", format!("`idempotency_key`: {why}"))
            };
            let key = render_text(template, &scope).map_err(|why| wrong(&why))?;
            *trigger = unscoped(scope);
            if key.len() > MAX_IDEMPOTENCY_KEY {
                return Err(wrong(&format!("it has {} bytes, at most {MAX_IDEMPOTENCY_KEY}", key.len())));
            }
            if key.contains(REPLACED) {
                return Err(wrong(
                    "it has U+FFFD, which stands for bytes that are not UTF-8 text, so it could be another one",
                ));
            }
            Some(key)
        }
        None => given.map(str::to_owned),
    };
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    let row = hooks::HookKey {
        // Filled in when the run gets its id.
        run: RunId::from_bytes([0; 16]),
        body_sha256,
        at_ms: ctx.now_ms(),
    };
    Ok(Some((hooks::key(ctx.ws.id, hook.path.trim_matches('/'), &key), row)))
}

/// Starts a run of the webhook's active workflow with what came before.
async fn again(ctx: &Ctx, flow: Arc<Compiled>, trigger: Value) -> Result<RunId, EngineError> {
    let Some(hook) = registered::webhook(&flow) else {
        return Err(EngineError::internal("a workflow without webhook is in the table of webhooks"));
    };
    fits(ctx, &flow, &trigger["body"]).await?;
    let label = label(trigger["method"].as_str().unwrap_or_default(), &hook.path);
    let trigger = seen(ctx, &flow, trigger);
    let wanted = Wanted { flow, trigger, hook: Some(label), hook_key: None, by_hand: false, listen: false };
    Ok(start::start(ctx, wanted).await?.run)
}

/// What templates of a trigger see. What it holds can be large, and is copied nowhere.
fn scope(ctx: &Ctx, trigger: Value) -> Values {
    Values { now: ctx.core.ports.clock.now(), ..Values::new([("trigger", trigger)]) }
}

/// The trigger again.
fn unscoped(mut scope: Values) -> Value {
    scope.values.remove("trigger").map_or(Value::Null, Arc::unwrap_or_clone)
}

/// A template of a trigger, which sees `trigger` alone.
fn render_text(template: &str, scope: &Values) -> Result<String, String> {
    let template = Template::compile(template, Mode::Value).map_err(|error| error.to_string())?;
    let text = template.render_text(scope).map_err(|error| error.to_string())?;
    text.reveal(|_| None).map_err(|error| error.to_string())
}
