//! Large values: written before the transaction that names them, and read back where a run needs them.
use crate::core::Ctx;
use crate::hash;
use crate::id::RunId;
use crate::tables::{self, runs};
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use stepwell_store::{BlobId, Key, Refused, Value};
use stepwell_workflow::machine::{BlobRef, Payload, State};

/// Reads a blob that a row names, by its hash in hexadecimal.
pub(crate) async fn read(ctx: &Ctx, sha256: &str) -> Result<Bytes, Refused> {
    let id: BlobId =
        sha256.parse().map_err(|_| Refused::Damaged(format!("`{sha256}` is not the name of a blob")))?;
    let bytes = ctx.core.ports.blobs.get(id).await?;
    bytes.ok_or_else(|| Refused::Damaged(format!("the blob {sha256} is named by a row and not there")))
}

/// Stores a payload as a blob if its JSON is larger than `limit`; returns the blob's hash then.
pub(crate) async fn spill(
    ctx: &Ctx,
    payload: &mut Payload,
    limit: usize,
) -> Result<Option<[u8; 32]>, Refused> {
    if let Some(known) = payload.reference() {
        return Ok(hash::unhex(&known.sha256));
    }
    let Some(value) = payload.value() else { return Ok(None) };
    let json = serde_json::to_vec(&**value)
        .map_err(|error| Refused::Invalid(format!("a payload cannot be written as JSON: {error}")))?;
    if json.len() <= limit {
        return Ok(None);
    }
    let (sha256, reference) = put(ctx, json).await?;
    payload.store_as(reference);
    Ok(Some(sha256))
}

/// Stores bytes, and says how a row names them.
pub(crate) async fn put(ctx: &Ctx, bytes: Vec<u8>) -> Result<([u8; 32], BlobRef), Refused> {
    let size = bytes.len() as u64;
    let sha256 = hash::sha256(&bytes);
    ctx.core.ports.blobs.put(bytes.into()).await?;
    Ok((sha256, BlobRef { sha256: hash::hex(&sha256), size }))
}

/// Puts in all values of a state that are stored elsewhere.
pub(crate) async fn fill(ctx: &Ctx, state: &mut State) -> Result<(), Refused> {
    let missing: Vec<String> =
        state.missing().into_iter().map(|reference| reference.sha256.clone()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut values = HashMap::new();
    for sha256 in missing {
        if let Entry::Vacant(place) = values.entry(sha256) {
            let value = read_json(ctx, place.key()).await?;
            place.insert(value);
        }
    }
    for payload in state.payloads_mut() {
        if let Some(value) = payload.missing().and_then(|reference| values.get(&reference.sha256)) {
            let value = value.clone();
            payload.fill(value);
        }
    }
    Ok(())
}

/// Puts in one value.
pub(crate) async fn fill_one(ctx: &Ctx, payload: &mut Payload) -> Result<(), Refused> {
    if let Some(reference) = payload.missing() {
        let value = read_json(ctx, &reference.sha256.clone()).await?;
        payload.fill(value);
    }
    Ok(())
}

async fn read_json(ctx: &Ctx, sha256: &str) -> Result<Arc<serde_json::Value>, Refused> {
    let bytes = read(ctx, sha256).await?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| Refused::Damaged(format!("the blob {sha256} is not JSON: {error}")))?;
    Ok(Arc::new(value))
}

/// Adds a run's claims on the blobs that one of its rows names; what cannot be read names none.
pub(crate) async fn claims(
    ctx: &Ctx,
    run: RunId,
    key: &Key,
    value: &Value,
    claims: &mut BTreeSet<Key>,
) -> Result<(), Refused> {
    let mut claim = |sha256: [u8; 32]| {
        claims.insert(runs::blob_ref_key(ctx.ws.id, &sha256, run));
    };
    let moved = runs::moved(key, value).ok().flatten();
    let inner = match &moved {
        Some(reference) => {
            hash::unhex(&reference.sha256).map(&mut claim);
            read(ctx, &reference.sha256).await.unwrap_or_default()
        }
        None => value.clone(),
    };
    if let Ok(row) = tables::decode::<serde_json::Value>(key, &inner) {
        named(&row, &mut claim);
    }
    Ok(())
}

/// Calls `found` with every blob that a row names.
pub(crate) fn named(row: &serde_json::Value, found: &mut dyn FnMut([u8; 32])) {
    match row {
        serde_json::Value::Object(map) => {
            let named = map.get("blob").filter(|_| map.len() == 1).and_then(|blob| blob.get("sha256"));
            if let Some(sha256) = named.and_then(serde_json::Value::as_str).and_then(hash::unhex) {
                found(sha256);
            }
            map.values().for_each(|value| self::named(value, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| self::named(value, found)),
        _ => {}
    }
}
