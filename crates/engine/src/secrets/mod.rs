//! Secrets: texts of a workspace that are stored sealed, and opened only to be sent or to check a signature.
//!
//! No call gives one back. What a run stores has a reference in its place, and [`Opened`] takes the value out of
//! whatever comes back. The sealing key is none of the store's: it comes from the port [`SecretsKey`].
//!
//! [`SecretsKey`]: crate::ports::SecretsKey
mod redact;
mod seal;

pub(crate) use redact::{REDACTED, percent_encoded};
pub(crate) use seal::Sealer;

use crate::api::SecretInfo;
use crate::core::{Core, Ctx};
use crate::error::{EngineError, ErrorKind};
use crate::registry::workflows;
use crate::settings::{in_use, write};
use crate::tables::secrets::{self as rows, ProbeRow, SecretRow};
use crate::tables::{self, names, runs::timestamp};
use crate::{hooks::signature, registry};
use redact::Redactor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use stepwell_sandbox::LogLine;
use stepwell_store::{Key, Refused, Store, Want, WorkspaceId, transact};
use stepwell_workflow::machine::Failure;
use zeroize::Zeroizing;

const MAX_VALUE: usize = 64 << 10;
/// What the probe row holds, sealed.
const PROBE: &str = "this is the right key";

/// A secret's value. It is wiped from memory when it goes, and no `Debug` shows it.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// When the engine opens: with secrets stored, their key must be there, and be the right one.
pub(crate) async fn check_key(core: &Core) -> Result<(), EngineError> {
    let Some(probe) = probe(core).await? else { return Ok(()) };
    let key = core.ports.secrets_key.key(false).await.map_err(unusable)?;
    let Some(key) = key else {
        return Err(unusable("secrets are stored, but the key that they are encrypted with is not there"));
    };
    let sealer = sealer(&key)?;
    check(&sealer, &probe)?;
    // Nobody else has it yet.
    let _ = core.sealer.set(sealer);
    Ok(())
}

async fn probe(core: &Core) -> Result<Option<ProbeRow>, EngineError> {
    let home = WorkspaceId::NAMES.shard();
    let view = core.ports.store.read(home, vec![Want::Key(rows::probe_key())]).await?;
    let row = view.rows.into_iter().flatten().next();
    Ok(row.map(|(key, value)| tables::decode(&key, &value)).transpose()?)
}

fn sealer(key: &[u8; 32]) -> Result<Sealer, EngineError> {
    Sealer::new(key).ok_or_else(|| EngineError::internal("a key of 32 bytes was not taken"))
}

fn check(sealer: &Sealer, probe: &ProbeRow) -> Result<(), EngineError> {
    match sealer.open(WorkspaceId::NAMES, "", &probe.sealed) {
        Some(_) => Ok(()),
        None => Err(unusable("the key is not the one that the stored secrets are encrypted with")),
    }
}

fn unusable(why: impl std::fmt::Display) -> EngineError {
    let message = format!("the key of the secrets cannot be used: {why}");
    EngineError::new(ErrorKind::Unavailable, "secrets_key_unusable", message)
}

/// What seals; with the first secret the key is made, and its probe stored before anything is sealed.
async fn sealer_for_writing(core: &Core) -> Result<&Sealer, EngineError> {
    let make = async {
        let key = core.ports.secrets_key.key(true).await.map_err(unusable)?;
        let key = key.ok_or_else(|| unusable("there is none, and none was made"))?;
        let sealer = sealer(&key)?;
        let sealed = sealer.seal(&*core.ports.random, WorkspaceId::NAMES, "", PROBE);
        let sealed = sealed.ok_or_else(|| EngineError::internal("a text cannot be sealed"))?;
        let (key, value) = (&rows::probe_key(), &tables::encode(&ProbeRow { sealed })?);
        let stored = transact(&core.ports.store, WorkspaceId::NAMES.shard(), |mut tx| {
            Box::pin(async move {
                if let Some(value) = tx.get(key).await? {
                    return tables::decode(key, &value).map(Some);
                }
                tx.put(key.clone(), value.clone());
                Ok::<_, Refused>(None)
            })
        });
        if let Some(probe) = stored.await? {
            check(&sealer, &probe)?;
        }
        Ok(sealer)
    };
    core.sealer.get_or_try_init(|| make).await
}

fn info(name: &str, row: &SecretRow) -> SecretInfo {
    SecretInfo {
        name: name.to_owned(),
        created_at: timestamp(row.created_ms),
        updated_at: timestamp(row.updated_ms),
    }
}

pub(crate) fn get(ctx: &Ctx, name: &str) -> Result<SecretInfo, EngineError> {
    let table = ctx.ws.registry.secrets();
    if let Some(row) = table.get(name) {
        return Ok(info(name, row));
    }
    let message = match stepwell_records::nearest(name, table.keys().map(String::as_str)) {
        Some(near) => format!("there is no secret `{name}`; did you mean `{near}`?"),
        None => format!("there is no secret `{name}`"),
    };
    Err(EngineError::not_found("unknown_secret", message))
}

/// Returns whether it is new.
pub(crate) async fn put(ctx: &Ctx, name: &str, value: &str) -> Result<(SecretInfo, bool), EngineError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name.len() > 64 || !name.bytes().all(known) {
        let message =
            format!("`{name}` cannot name a secret: letters, digits and `_`, a letter first, at most 64");
        return Err(EngineError::invalid("invalid_name", message));
    }
    if value.is_empty() {
        return Err(EngineError::invalid("invalid_secret", format!("the value of `{name}` is empty")));
    }
    if value.len() > MAX_VALUE {
        let message = format!("the value has {} bytes; a secret has at most {MAX_VALUE}", value.len());
        return Err(EngineError::new(ErrorKind::TooLarge, "too_large", message));
    }
    let _one = ctx.ws.registry.changing.lock().await;
    if !signature::is_key(value) {
        let signed = |flow: &registry::Compiled| signature::needs_base64(flow, name);
        if let Some(user) = workflows::active_that(ctx, signed).await?.first() {
            let message =
                format!("`{name}` signs the webhook of the active workflow `{user}`: {}", signature::A_KEY);
            return Err(EngineError::invalid("invalid_secret", message));
        }
    }
    let sealer = sealer_for_writing(&ctx.core).await?;
    let sealed = sealer.seal(&*ctx.core.ports.random, ctx.ws.id, name, value);
    let sealed = sealed.ok_or_else(|| EngineError::internal("a text cannot be sealed"))?;
    let before = ctx.ws.registry.secrets();
    let was = before.get(name);
    let now_ms = ctx.now_ms();
    let row = SecretRow { created_ms: was.map_or(now_ms, |row| row.created_ms), updated_ms: now_ms, sealed };
    write(ctx, rows::key(ctx.ws.id, name), Some(tables::encode(&row)?)).await?;
    let told = (info(name, &row), was.is_none());
    let mut after = (*before).clone();
    after.insert(name.to_owned(), row);
    ctx.ws.registry.set_secrets(after);
    Ok(told)
}

pub(crate) async fn delete(ctx: &Ctx, name: &str) -> Result<SecretInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let was = get(ctx, name)?;
    let users = workflows::active_that(ctx, |flow| flow.secrets.iter().any(|used| used == name)).await?;
    if !users.is_empty() {
        return Err(in_use("secret_in_use", "secret", name, &users));
    }
    if let Some(connection) = crate::connections::that_send(ctx, name).first() {
        let message = format!("the secret `{name}` is in use: the connection `{connection}` sends it");
        return Err(EngineError::conflict("secret_in_use", message));
    }
    write(ctx, rows::key(ctx.ws.id, name), None).await?;
    let mut after = (*ctx.ws.registry.secrets()).clone();
    after.remove(name);
    ctx.ws.registry.set_secrets(after);
    Ok(was)
}

/// Takes all secrets of a store away that no engine is open over, for who has lost their key. Returns
/// `workspace/name` of each.
pub async fn forget_secrets(store: &Arc<dyn Store>) -> Result<Vec<String>, EngineError> {
    let home = WorkspaceId::NAMES.shard();
    let mut forgotten = Vec::new();
    for (key, value) in stepwell_store::all_rows(&**store, home, names::workspaces()).await? {
        let workspace: names::WorkspaceRow = tables::decode(&key, &value)?;
        let id = WorkspaceId(workspace.id);
        for (key, _) in stepwell_store::all_rows(&**store, id.shard(), rows::all(id)).await? {
            forgotten.push(format!("{}/{}", workspace.name, registry::name_in(&key)?));
            remove(store, id, key).await?;
        }
    }
    // Last: as long as there is a secret, the key is asked for.
    remove(store, WorkspaceId::NAMES, rows::probe_key()).await?;
    Ok(forgotten)
}

async fn remove(store: &Arc<dyn Store>, workspace: WorkspaceId, key: Key) -> Result<(), Refused> {
    let key = &key;
    let delete = transact(store, workspace.shard(), |mut tx| {
        Box::pin(async move {
            tx.delete(key.clone());
            Ok::<_, Refused>(())
        })
    });
    delete.await.map(drop)
}

/// The value of one secret, now.
fn open(ctx: &Ctx, name: &str) -> Option<Secret> {
    let table = ctx.ws.registry.secrets();
    let row = table.get(name)?;
    let opened = ctx.core.sealer.get().and_then(|sealer| sealer.open(ctx.ws.id, name, &row.sealed));
    if opened.is_none() {
        tracing::error!(secret = name, workspace = %ctx.ws.name, "what is stored of a secret cannot be decrypted");
    }
    opened.map(Secret)
}

/// The secrets that one call may have to do with: filled in on the way out, taken out on the way back.
#[derive(Default)]
pub(crate) struct Opened {
    values: BTreeMap<String, Secret>,
    redactor: Redactor,
}

impl Opened {
    /// Those that a workflow names. Without any nothing is opened, and nothing is looked at later.
    pub(crate) fn new(ctx: &Ctx, names: &[String]) -> Self {
        let mut opened = Self::default();
        for name in names {
            opened.take(ctx, name);
        }
        opened
    }

    fn take(&mut self, ctx: &Ctx, name: &str) {
        if let Some(secret) = open(ctx, name) {
            self.redactor.add(&secret.0);
            self.values.insert(name.to_owned(), secret);
        }
    }

    /// The value to be sent. One that the workflow does not name (a call of an earlier version) is opened now.
    pub(crate) fn reveal(&mut self, ctx: &Ctx, name: &str) -> Option<String> {
        if !self.values.contains_key(name) {
            self.take(ctx, name);
        }
        self.values.get(name).map(|secret| secret.0.as_str().to_owned())
    }

    pub(crate) fn redact(&self, value: &mut Value) {
        self.redactor.value(value);
    }

    pub(crate) fn redact_failure(&self, failure: &mut Failure) {
        self.redactor.failure(failure);
    }

    pub(crate) fn redact_logs(&self, logs: &mut [LogLine]) {
        if !self.redactor.is_empty() {
            self.redactor.logs(logs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let secret = Secret(Zeroizing::new("hunter2".into()));
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }
}
