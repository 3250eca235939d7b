//! What a run keeps of the items of its iterators, apart from its journal, so that the run can be read without them:
//! `payloads / run id / 0 / commit number`, the events of items in one commit and the items that it ended;
//! `payloads / run id / 1 / iterator's path / generation / page`, the ids that an iterator goes over;
//! `payloads / run id / 2`, the last snapshot of a run that has ended: its items' events are not folded again.
use crate::id::RunId;
use crate::journal::Entry;
use crate::tables::FORMAT;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, Value, WorkspaceId};
use stepwell_workflow::machine::{Failure, Output, StepPath, StepStatus};
use uuid::Uuid;

const EVENTS: u8 = 0;
const IDS: u8 = 1;
const LAST: u8 = 2;

fn of_run(workspace: WorkspaceId, run: RunId) -> KeyBuilder {
    KeyBuilder::new(Space::Payloads, workspace).fixed(run.as_bytes())
}

/// Everything that is kept of a run's items.
pub(crate) fn all(workspace: WorkspaceId, run: RunId) -> Range<Key> {
    of_run(workspace, run).prefix()
}

pub(crate) fn events_key(workspace: WorkspaceId, run: RunId, commit: u32) -> Key {
    of_run(workspace, run).u8(EVENTS).u32(commit).build()
}

/// The events of all commits from this one on.
pub(crate) fn events_from(workspace: WorkspaceId, run: RunId, commit: u32) -> Range<Key> {
    events_key(workspace, run, commit)..of_run(workspace, run).u8(IDS).build()
}

/// The commit in a key of events.
pub(crate) fn commit_in(key: &Key) -> Result<u32, Refused> {
    let mut reader = KeyReader::new(key)?;
    reader.fixed::<16>()?;
    reader.u8()?;
    Ok(reader.u32()?)
}

pub(crate) fn ids_key(
    workspace: WorkspaceId,
    run: RunId,
    iterator: &StepPath,
    generation: u32,
    page: u32,
) -> Key {
    of_run(workspace, run).u8(IDS).str(iterator.as_str()).u32(generation).u32(page).build()
}

pub(crate) fn last_key(workspace: WorkspaceId, run: RunId) -> Key {
    of_run(workspace, run).u8(LAST).build()
}

/// The events of one commit that are about items.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct ItemEvents {
    #[serde(rename = "e", default)]
    pub entries: Vec<Entry>,
    #[serde(rename = "s", default)]
    pub ended: Vec<Ended>,
}

/// An item that a commit ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    #[serde(rename = "p")]
    pub path: StepPath,
    #[serde(rename = "s")]
    pub status: StepStatus,
    /// Its own, or that of a call whose end is among the events.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The commits that have events of it.
    #[serde(rename = "r", default)]
    pub commits: Vec<u32>,
}

/// A page of ids: 16 bytes each.
pub(crate) fn encode_ids(ids: &[Uuid]) -> Value {
    let mut bytes = Vec::with_capacity(1 + 16 * ids.len());
    bytes.push(FORMAT);
    ids.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
    bytes.into()
}

pub(crate) fn decode_ids(key: &Key, value: &Value) -> Result<Vec<Uuid>, Refused> {
    match value.split_first() {
        Some((&FORMAT, ids)) if ids.len() % 16 == 0 => {
            Ok(ids.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).collect())
        }
        _ => Err(Refused::Damaged(format!("the row `{key}` is no list of ids"))),
    }
}
