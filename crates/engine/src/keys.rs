//! API keys: made here, stored by the hash of their secret, kept in memory for every request to ask.
use crate::api::{Caller, DEFAULT_WORKSPACE, KeyInfo, NewKey, Scope};
use crate::core::Core;
use crate::error::{EngineError, ErrorKind};
use crate::hash;
use crate::ports::{Clock, Random};
use crate::tables::{self, names};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::sync::Arc;
use stepwell_store::{Refused, Store, WorkspaceId, transact};

/// What a secret begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "swk_";
const SHOWN: usize = 10;
/// The name of keys that are made without being asked for by name.
const ADMIN: &str = "admin";

pub(crate) async fn load(core: &Core) -> Result<(), Refused> {
    let rows =
        stepwell_store::all_rows(&*core.ports.store, WorkspaceId::NAMES.shard(), names::api_keys()).await?;
    let mut keys = core.api_keys.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    for (key, value) in rows {
        let row: names::ApiKeyRow = tables::decode(&key, &value)?;
        let digest = key.last_chunk::<32>().copied();
        keys.extend(digest.map(|digest| (digest, row.info)));
    }
    Ok(())
}

pub(crate) async fn create(
    core: &Arc<Core>,
    workspace: &str,
    name: &str,
    scopes: &[Scope],
) -> Result<NewKey, EngineError> {
    let key = make(core, workspace, name, scopes)?;
    keep(core, &key).await?;
    Ok(key)
}

/// A key that is not stored yet.
fn make(core: &Core, workspace: &str, name: &str, scopes: &[Scope]) -> Result<NewKey, EngineError> {
    let known =
        core.workspaces.read().unwrap_or_else(|poisoned| poisoned.into_inner()).contains_key(workspace);
    if !known {
        let message = format!("there is no workspace `{workspace}`");
        return Err(EngineError::not_found("unknown_workspace", message));
    }
    if scopes.is_empty() {
        let message = "a key without scopes could do nothing; give it admin, write, read or hooks";
        return Err(EngineError::invalid("invalid_scopes", message));
    }
    if name.is_empty() || name.len() > 200 {
        return Err(EngineError::invalid("invalid_name", "a key's name has 1 to 200 bytes"));
    }
    Ok(random_key(&*core.ports.random, core.ports.clock.now(), workspace, name, scopes))
}

fn random_key(
    random: &dyn Random,
    now: jiff::Timestamp,
    workspace: &str,
    name: &str,
    scopes: &[Scope],
) -> NewKey {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut id = [0; 8];
    random.fill(&mut id);
    let mut scopes = scopes.to_vec();
    scopes.sort_unstable();
    scopes.dedup();
    let info = KeyInfo {
        id: format!("key_{}", hash::hex(&id)),
        name: name.to_owned(),
        workspace: workspace.to_owned(),
        scopes,
        prefix: secret[..SHOWN].to_owned(),
        created_at: now,
        revoked_at: None,
    };
    NewKey { info, secret }
}

/// Its secret is handed out before it is stored: a crash in between leaves a secret that opens nothing, and the next
/// call makes another. The other way round it would leave a key that nobody knows.
pub(crate) async fn create_first<E: From<EngineError>>(
    core: &Arc<Core>,
    hand_out: impl FnOnce(&NewKey) -> Result<(), E>,
) -> Result<Option<NewKey>, E> {
    let any = !core.api_keys.read().unwrap_or_else(|poisoned| poisoned.into_inner()).is_empty();
    if any {
        return Ok(None);
    }
    let key = make(core, DEFAULT_WORKSPACE, ADMIN, &[Scope::Admin])?;
    hand_out(&key)?;
    keep(core, &key).await?;
    Ok(Some(key))
}

/// A further admin key for a store that no engine is open over: for who has lost theirs.
pub async fn reset_admin<E: From<EngineError>>(
    store: &Arc<dyn Store>,
    clock: &dyn Clock,
    random: &dyn Random,
    hand_out: impl FnOnce(&NewKey) -> Result<(), E>,
) -> Result<NewKey, E> {
    let key = random_key(random, clock.now(), DEFAULT_WORKSPACE, ADMIN, &[Scope::Admin]);
    hand_out(&key)?;
    write(store, hash::sha256(key.secret.as_bytes()), &key.info).await?;
    Ok(key)
}

async fn keep(core: &Core, key: &NewKey) -> Result<(), EngineError> {
    store(core, hash::sha256(key.secret.as_bytes()), &key.info).await
}

async fn write(store: &Arc<dyn Store>, digest: [u8; 32], info: &KeyInfo) -> Result<(), EngineError> {
    let value = tables::encode(&names::ApiKeyRow { info: info.clone() })?;
    let key = names::api_key_key(&digest);
    let (key, value) = (&key, &value);
    transact(store, WorkspaceId::NAMES.shard(), |mut tx| {
        Box::pin(async move {
            tx.put(key.clone(), value.clone());
            Ok::<_, Refused>(())
        })
    })
    .await?;
    Ok(())
}

async fn store(core: &Core, digest: [u8; 32], info: &KeyInfo) -> Result<(), EngineError> {
    write(&core.ports.store, digest, info).await?;
    core.api_keys.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(digest, info.clone());
    Ok(())
}

pub(crate) fn list(core: &Core, workspace: Option<&str>) -> Vec<KeyInfo> {
    let keys = core.api_keys.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let wanted = keys.values().filter(|key| workspace.is_none_or(|workspace| key.workspace == workspace));
    let mut list: Vec<KeyInfo> = wanted.cloned().collect();
    list.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    list
}

pub(crate) async fn revoke(core: &Core, id: &str) -> Result<KeyInfo, EngineError> {
    let found = {
        let keys = core.api_keys.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        keys.iter().find(|(_, info)| info.id == id).map(|(digest, info)| (*digest, info.clone()))
    };
    let Some((digest, mut info)) = found else {
        return Err(EngineError::not_found("unknown_key", format!("there is no API key `{id}`")));
    };
    if info.revoked_at.is_none() {
        info.revoked_at = Some(core.ports.clock.now());
        store(core, digest, &info).await?;
    }
    Ok(info)
}

/// Looking the hash up tells nothing of the secret by the time it takes.
pub(crate) fn authenticate(core: &Core, secret: &str) -> Result<Caller, EngineError> {
    let digest = hash::sha256(secret.as_bytes());
    let keys = core.api_keys.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    match keys.get(&digest) {
        Some(info) if info.revoked_at.is_none() => Ok(Caller {
            key_id: info.id.clone(),
            workspace: info.workspace.clone(),
            scopes: info.scopes.clone(),
        }),
        _ => Err(EngineError::new(
            ErrorKind::Unauthorized,
            "unauthorized",
            "this API key is unknown or was revoked",
        )),
    }
}
