//! What retention does to one run: it empties the journal, or removes all rows. A run with many rows takes several
//! commits; from the first one on the head says that payloads are gone, so that no retry builds on what is left.
use super::PAGE;
use crate::blobs;
use crate::core::Ctx;
use crate::id::RunId;
use crate::tables;
use crate::tables::runs::{self, RunHead};
use serde_json::Value;
use std::collections::BTreeSet;
use stepwell_store::{Key, Refused, Want, transact};

/// Rows of items that are read at once: each may be large.
const ITEM_ROWS: usize = 20;

/// What a part of the work does to a row.
type Write = (Key, Option<stepwell_store::Value>);

/// Replaces every payload of a run's journal by null, and gives up its claims on blobs. False when the run does not
/// rest, or has moved on since its head was read.
pub(super) async fn expire(ctx: &Ctx, run: RunId, head: &RunHead) -> Result<bool, Refused> {
    let mut writes: Vec<Write> = Vec::new();
    for (key, value) in journal(ctx, run).await? {
        let mut commit: Value = tables::decode(&key, &value)?;
        if commit["p"] == true {
            continue;
        }
        blobs::named(&commit, &mut |sha256| writes.push((runs::blob_ref_key(ctx.ws.id, &sha256, run), None)));
        strip(&mut commit);
        commit["p"] = true.into();
        writes.push((key, Some(tables::encode(&commit)?)));
    }
    writes.extend(items(ctx, run).await?.into_iter().map(|key| (key, None)));
    writes.sort_by(|a, b| a.0.cmp(&b.0));
    writes.dedup_by(|a, b| a.0 == b.0);
    let mut parts: Vec<&[Write]> = writes.chunks(PAGE).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    for (number, part) in parts.iter().enumerate() {
        let left = number + 1 < parts.len();
        let after = |head| Some(RunHead { payloads_expired: true, payloads_left: left, ..head });
        if !write(ctx, run, head, part, after).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes all rows of a run, the head last, so that what is half done is found again. False when it does not rest,
/// or has moved on since its head was read.
pub(super) async fn remove(ctx: &Ctx, run: RunId, head: &RunHead) -> Result<bool, Refused> {
    let mut gone: BTreeSet<Key> = BTreeSet::new();
    for (key, value) in journal(ctx, run).await? {
        // A row that cannot be read names nothing that could be given up.
        if let Ok(commit) = tables::decode::<Value>(&key, &value) {
            blobs::named(&commit, &mut |sha256| {
                gone.insert(runs::blob_ref_key(ctx.ws.id, &sha256, run));
            });
        }
        gone.insert(key);
    }
    gone.extend(items(ctx, run).await?);
    let gone: Vec<Write> = gone.into_iter().map(|key| (key, None)).collect();
    let mut parts: Vec<&[Write]> = gone.chunks(PAGE).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    for (number, part) in parts.iter().enumerate() {
        let left = number + 1 < parts.len();
        let after = |head| left.then_some(RunHead { payloads_expired: true, payloads_left: true, ..head });
        if !write(ctx, run, head, part, after).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All rows of a run's items, and its claims on the blobs that these name.
async fn items(ctx: &Ctx, run: RunId) -> Result<BTreeSet<Key>, Refused> {
    let mut keys = tables::items::all(ctx.ws.id, run);
    let mut gone = BTreeSet::new();
    loop {
        let wants = vec![Want::range(keys.clone(), ITEM_ROWS)];
        let view = ctx.core.ports.store.read(ctx.ws.shard, wants).await?;
        let rows: Vec<_> = view.rows.into_iter().flatten().collect();
        let more = rows.len() == ITEM_ROWS;
        for (key, value) in rows {
            blobs::claims(ctx, run, &key, &value, &mut gone).await?;
            keys.start = key.successor();
            gone.insert(key);
        }
        if !more {
            return Ok(gone);
        }
    }
}

async fn journal(ctx: &Ctx, run: RunId) -> Result<Vec<stepwell_store::Row>, Refused> {
    stepwell_store::all_rows(&*ctx.core.ports.store, ctx.ws.shard, runs::journal(ctx.ws.id, run)).await
}

/// One part of the work, and what the head says after it; no head says that the run is gone. False, and nothing
/// written, if a retry has come in between.
async fn write(
    ctx: &Ctx,
    run: RunId,
    before: &RunHead,
    part: &[Write],
    after: impl Fn(RunHead) -> Option<RunHead> + Copy + Send + Sync,
) -> Result<bool, Refused> {
    let head_key = &runs::head_key(ctx.ws.id, run);
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let Some(now) = resting(head_key, tx.get(head_key).await?, before)? else { return Ok(false) };
            for (key, value) in part {
                match value {
                    Some(value) => tx.put(key.clone(), value.clone()),
                    None => tx.delete(key.clone()),
                }
            }
            match after(now) {
                Some(head) => tx.put(head_key.clone(), tables::encode(&head)?),
                None => tx.delete(head_key.clone()),
            }
            Ok::<_, Refused>(true)
        })
    })
    .await
}

/// The head, if the run still rests where it did.
fn resting(
    key: &Key,
    row: Option<stepwell_store::Value>,
    before: &RunHead,
) -> Result<Option<RunHead>, Refused> {
    let now = row.map(|value| tables::decode::<RunHead>(key, &value)).transpose()?;
    Ok(now.filter(|now| now.status.ended() && now.commits == before.commits))
}

/// Payloads are written `{"value": …}` or `{"blob": …}` at known places of an entry.
fn strip(commit: &mut Value) {
    let Some(entries) = commit.get_mut("e").and_then(Value::as_array_mut) else { return };
    let null = || serde_json::json!({ "value": null });
    for entry in entries {
        if let Some(event) = entry.get_mut("e").and_then(Value::as_object_mut) {
            for place in ["trigger", "settings", "values"] {
                if event.contains_key(place) {
                    event.insert(place.into(), null());
                }
            }
            if let Some(output) = event.get_mut("how").and_then(|how| how.get_mut("output")) {
                *output = null();
            }
            if let Some(ok) = event.get_mut("result").and_then(|result| result.get_mut("ok")) {
                *ok = null();
            }
            if let Some(error) = event.get_mut("result").and_then(|result| result.get_mut("error")) {
                error.as_object_mut().map(|error| error.remove("details"));
            }
        }
        if let Some(note) = entry.get_mut("n").and_then(Value::as_object_mut) {
            for place in ["i", "a", "l"] {
                if note.contains_key(place) {
                    note.insert(place.into(), null());
                }
            }
        }
    }
}
