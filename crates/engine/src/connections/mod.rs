//! Connections of a workspace: kept like settings, and the place where requests of all its runs wait for their turn.
//!
//! A request that may not go yet is no attempt: its run leaves its slot and is woken when it is called. The line is in
//! memory alone. After a restart all runs that have something to do are driven, ask again, and stand in line in the
//! order in which they came.
pub(crate) mod gate;

use crate::api::{ConnectionInfo, ConnectionSaved};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::id::RunId;
use crate::registry::workflows;
use crate::settings::{in_use, write};
use crate::tables::connections::{self as rows, ConnectionRow, UseRow};
use crate::tables::{self, runs::timestamp};
use gate::{Caller, Gate, Limits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use stepwell_store::{Refused, Want};
use stepwell_workflow::connection::{self, Connection};
use stepwell_workflow::document::MAX_BYTES;

pub(crate) fn info(ctx: &Ctx, name: &str, row: &ConnectionRow) -> ConnectionInfo {
    let (waiting, held) = ctx.ws.gates.lock().get(name).map_or((0, 0), |line| line.gate.waiting());
    ConnectionInfo {
        connection: row.connection.clone(),
        waiting: waiting as u64,
        held_until: (held > ctx.now_ms()).then(|| timestamp(held)),
        created_at: timestamp(row.created_ms),
        updated_at: timestamp(row.updated_ms),
    }
}

pub(crate) fn get(ctx: &Ctx, name: &str) -> Result<ConnectionInfo, EngineError> {
    let table = ctx.ws.registry.connections();
    if let Some(row) = table.get(name) {
        return Ok(info(ctx, name, row));
    }
    let message = match stepwell_records::nearest(name, table.keys().map(String::as_str)) {
        Some(near) => format!("there is no connection `{name}`; did you mean `{near}`?"),
        None => format!("there is no connection `{name}`"),
    };
    Err(EngineError::not_found("unknown_connection", message))
}

/// Reads and checks a document. What only the server knows is told too.
fn checked(ctx: &Ctx, name: &str, text: &str) -> Result<Connection, EngineError> {
    if text.len() > MAX_BYTES {
        let message = format!("a connection has at most {MAX_BYTES} bytes");
        return Err(EngineError::new(ErrorKind::TooLarge, "too_large", message));
    }
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 || !name.bytes().all(known) {
        let message = format!(
            "`{name}` cannot name a connection: lower case letters, digits and `-`, a letter first, at most 64"
        );
        return Err(EngineError::invalid("invalid_name", message));
    }
    let refused = |problems: Vec<Problem>| {
        let message = match problems.len() {
            1 => format!("connection `{name}` has a problem"),
            n => format!("connection `{name}` has {n} problems"),
        };
        Err(EngineError::invalid("invalid_connection", message).with_problems(problems))
    };
    let (connection, problems) = connection::read(text, name);
    let Some(connection) = connection else {
        return refused(problems.iter().map(Problem::from).collect());
    };
    if let Some(host) = connection.plain_host().filter(|host| !ctx.core.ports.http.speaks_plainly_to(host)) {
        return refused(vec![Problem {
            code: "plain_http_forbidden".into(),
            message: format!("plain `http://` to {host} can be read on the way, and is refused"),
            path: Some("base_url".into()),
            hint: Some("use https://, or say `plain_http: allow`".into()),
            ..Problem::default()
        }]);
    }
    let tls = connection.tls.clone().unwrap_or_default();
    let certificates = [("tls.ca", tls.ca), ("tls.client_certificate", tls.client_certificate)];
    let unusable = certificates.into_iter().filter_map(|(path, pem)| {
        let why = ctx.core.ports.http.refuses_certificates(&pem?)?;
        Some(Problem {
            code: "invalid_connection".into(),
            message: format!("`{path}` holds a certificate that cannot be used: {why}"),
            path: Some(path.into()),
            hint: Some(
                "PEM as the other side's operator, or its authority, gives it out, whole and unchanged"
                    .into(),
            ),
            ..Problem::default()
        })
    });
    match unusable.collect::<Vec<_>>() {
        problems if problems.is_empty() => Ok(connection),
        problems => refused(problems),
    }
}

pub(crate) async fn put(ctx: &Ctx, name: &str, text: &str) -> Result<ConnectionSaved, EngineError> {
    let connection = checked(ctx, name, text)?;
    let _one = ctx.ws.registry.changing.lock().await;
    let before = ctx.ws.registry.connections();
    let was = before.get(name);
    let missing: Vec<String> = {
        let secrets = ctx.ws.registry.secrets();
        connection.secrets().into_iter().filter(|secret| !secrets.contains_key(secret)).collect()
    };
    let saved = |row: &ConnectionRow, changed| ConnectionSaved {
        info: info(ctx, name, row),
        missing_secrets: missing.clone(),
        created: was.is_none(),
        changed,
    };
    if let Some(was) = was
        && was.connection == connection
    {
        return Ok(saved(was, false));
    }
    let now_ms = ctx.now_ms();
    let row = ConnectionRow {
        connection,
        created_ms: was.map_or(now_ms, |row| row.created_ms),
        updated_ms: now_ms,
    };
    write(ctx, rows::key(ctx.ws.id, name), Some(tables::encode(&row)?)).await?;
    let mut after = (*before).clone();
    after.insert(name.to_owned(), row.clone());
    ctx.ws.registry.set_connections(after);
    // Its limits may be wider now, and who asked to be left alone may be somebody else.
    ctx.ws.gates.release(name);
    call(ctx, name);
    Ok(saved(&row, true))
}

pub(crate) async fn delete(ctx: &Ctx, name: &str) -> Result<ConnectionInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let was = get(ctx, name)?;
    let users = workflows::active_that(ctx, |flow| flow.connections.iter().any(|used| used == name)).await?;
    if !users.is_empty() {
        return Err(in_use("connection_in_use", "connection", name, &users));
    }
    write(ctx, rows::use_key(ctx.ws.id, name), None).await?;
    write(ctx, rows::key(ctx.ws.id, name), None).await?;
    let mut after = (*ctx.ws.registry.connections()).clone();
    after.remove(name);
    ctx.ws.registry.set_connections(after);
    // Who waits for it is told that it is gone.
    ctx.ws.gates.release(name);
    call(ctx, name);
    Ok(was)
}

/// Those that send a secret.
pub(crate) fn that_send(ctx: &Ctx, secret: &str) -> Vec<String> {
    let table = ctx.ws.registry.connections();
    let sends = |row: &ConnectionRow| row.connection.secrets().iter().any(|name| name == secret);
    table.iter().filter(|(_, row)| sends(row)).map(|(name, _)| name.clone()).collect()
}

/// The lines of a workspace's connections, by name.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Line>>);

#[derive(Default)]
struct Line {
    gate: Gate,
    /// The time at which somebody looks after it.
    looked_after: Option<i64>,
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn release(&self, name: &str) {
        if let Some(line) = self.lock().get_mut(name) {
            line.gate.release();
        }
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().values().map(|line| line.gate.waiting().0).sum()
    }
}

/// A run is over: the turns that it had are others'.
pub(crate) fn forget(ctx: &Ctx, run: RunId) {
    let left = |(name, line): (&String, &mut Line)| line.gate.forget(run).then(|| name.clone());
    let left: Vec<String> = ctx.ws.gates.lock().iter_mut().filter_map(left).collect();
    left.iter().for_each(|name| call(ctx, name));
}

/// No answer holds a connection back for longer, in milliseconds: what asks for years is a mistake.
const HOLD_MOST: i64 = 24 * 60 * 60 * 1000;

/// The right to send one request; its end makes room for the next.
pub(crate) struct Permit {
    ctx: Ctx,
    name: String,
    caller: Caller,
}

impl Permit {
    /// The request goes out.
    pub(crate) fn goes(&self) {
        let now = self.ctx.now_ms();
        if let Some(line) = self.ctx.ws.gates.lock().get_mut(&self.name) {
            line.gate.goes(&self.caller, now);
        }
    }

    /// The other side wants to be left alone for so long.
    pub(crate) fn hold(&self, for_ms: u64) {
        let until = self.ctx.now_ms() + i64::try_from(for_ms).unwrap_or(HOLD_MOST).min(HOLD_MOST);
        if let Some(line) = self.ctx.ws.gates.lock().get_mut(&self.name) {
            line.gate.hold(until);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.ctx.now_ms();
        if let Some(line) = self.ctx.ws.gates.lock().get_mut(&self.name) {
            line.gate.over(&self.caller, now);
        }
        call(&self.ctx, &self.name);
    }
}

fn limits(ctx: &Ctx, name: &str) -> Limits {
    ctx.ws.registry.connections().get(name).map(|row| Limits::of(&row.connection)).unwrap_or_default()
}

/// The right to send, if it is the caller's turn; otherwise it stands in line, and its run is woken in time.
pub(crate) fn enter(ctx: &Ctx, name: &str, caller: Caller, before: bool) -> Option<Permit> {
    let (limits, now) = (limits(ctx, name), ctx.now_ms());
    let entered = {
        let mut lines = ctx.ws.gates.lock();
        lines.entry(name.to_owned()).or_default().gate.enter(&caller, before, limits, now)
    };
    if entered {
        return Some(Permit { ctx: ctx.clone(), name: name.to_owned(), caller });
    }
    call(ctx, name);
    None
}

/// Wakes those whose turn it is, and sees to it that somebody looks again when time makes room.
fn call(ctx: &Ctx, name: &str) {
    let (limits, now) = (limits(ctx, name), ctx.now_ms());
    let (runs, look_at) = {
        let mut lines = ctx.ws.gates.lock();
        let Some(line) = lines.get_mut(name) else { return };
        let runs = line.gate.call(limits, now);
        let next = line.gate.next(limits, now);
        let sooner = next.filter(|next| line.looked_after.is_none_or(|at| *next < at));
        if sooner.is_some() {
            line.looked_after = sooner;
        }
        (runs, sooner)
    };
    // Few at a time, so which workflows they are of is not looked up: they have a line of their own.
    runs.into_iter().for_each(|run| ctx.wake(run, ""));
    if let Some(at) = look_at {
        look_after(ctx, name, at);
    }
}

fn look_after(ctx: &Ctx, name: &str, at: i64) {
    let (task, name) = (ctx.clone(), name.to_owned());
    ctx.core.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = task.core.closing.cancelled() => return,
            () = task.core.ports.clock.sleep_until(timestamp(at)) => {}
        }
        if let Some(line) = task.ws.gates.lock().get_mut(&name) {
            line.looked_after = line.looked_after.filter(|known| *known != at);
        }
        call(&task, &name);
    });
}

/// A rate over a longer time is remembered across restarts; over a shorter one a restart waits for its end.
const SHORT: i64 = 10_000;

/// The row that tells a later process what was sent, where one is needed.
pub(crate) fn remembered(
    ctx: &Ctx,
    name: &str,
) -> Result<Option<(stepwell_store::Key, stepwell_store::Value)>, Refused> {
    let now = ctx.now_ms();
    let per = limits(ctx, name).rate.map(|(_, per)| per).filter(|per| *per > SHORT);
    let (window, held) = match ctx.ws.gates.lock().get(name) {
        Some(line) => (per.map(|_| line.gate.window(now)).unwrap_or_default(), line.gate.waiting().1),
        None => return Ok(None),
    };
    let held_until_ms = Some(held).filter(|held| *held > now);
    if per.is_none() && held_until_ms.is_none() {
        return Ok(None);
    }
    let window = window.into_iter().filter(|(at, _)| per.is_some_and(|per| *at > now - per)).collect();
    Ok(Some((rows::use_key(ctx.ws.id, name), tables::encode(&UseRow { window, held_until_ms })?)))
}

/// When the workspace is opened: what was sent before still counts.
pub(crate) async fn resume(ctx: &Ctx) -> Result<(), Refused> {
    let table = ctx.ws.registry.connections();
    let now = ctx.now_ms();
    for (name, row) in table.iter() {
        let mut line = Line::default();
        if let Some((_, per)) = Limits::of(&row.connection).rate.filter(|(_, per)| *per <= SHORT) {
            line.gate.hold(now + per);
        }
        let wants = vec![Want::Key(rows::use_key(ctx.ws.id, name))];
        let view = ctx.core.ports.store.read(ctx.ws.shard, wants).await?;
        if let Some((key, value)) = view.rows.into_iter().flatten().next() {
            let used: UseRow = tables::decode(&key, &value)?;
            line.gate.resume(&used.window, now);
            line.gate.hold(used.held_until_ms.unwrap_or(0).min(now + HOLD_MOST));
        }
        ctx.ws.gates.lock().insert(name.clone(), line);
    }
    Ok(())
}

/// The rows of connections by name, as they are stored.
pub(crate) type ConnectionTable = std::collections::BTreeMap<String, ConnectionRow>;

/// The secrets that the runs of a workflow have to do with: its own, and those of its connections.
pub(crate) fn secrets_of(ctx: &Ctx, flow: &crate::registry::Compiled) -> Arc<[String]> {
    if flow.connections.is_empty() {
        return flow.secrets.clone();
    }
    let table = ctx.ws.registry.connections();
    let mut all: Vec<String> = flow.secrets.to_vec();
    for name in &flow.connections {
        all.extend(table.get(name).into_iter().flat_map(|row| row.connection.secrets()));
    }
    all.sort_unstable();
    all.dedup();
    all.into()
}
