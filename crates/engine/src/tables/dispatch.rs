//! How far the log of a workspace was dispatched to the workflows that record events start, and the changes that
//! wait for their record to settle:
//! `dispatch / 0` the cursor; `dispatch / 1 / workflow / record id / part`, part 0 the change, part 1 what the record
//! was before, which later changes leave alone.
use crate::tables;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Range;
use stepwell_records::Origin;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, WorkspaceId};
use uuid::Uuid;

const CURSOR: u8 = 0;
const SETTLING: u8 = 1;

pub(crate) fn cursor_key(workspace: WorkspaceId) -> Key {
    KeyBuilder::new(Space::Dispatch, workspace).u8(CURSOR).build()
}

/// Where dispatching goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Everything before this position of the log is done.
    #[serde(rename = "p")]
    pub position: u64,
    /// In the row at the position, the events before this one are done.
    #[serde(rename = "e", default)]
    pub event: usize,
    /// Of that event, the workflows up to this one.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Cursor {
    pub(crate) fn at(position: u64) -> Self {
        Self { position, event: 0, after: None }
    }
}

/// Changes of a record that become one event when none comes for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settling {
    #[serde(rename = "d")]
    pub due_ms: i64,
    /// What happened first.
    #[serde(rename = "k")]
    pub event: String,
    #[serde(rename = "o")]
    pub object: String,
    #[serde(rename = "f")]
    pub fields: BTreeSet<String>,
    /// The record after the last change.
    #[serde(rename = "a")]
    pub after: Value,
    /// Of the last change that counted, with the depth of the deepest.
    #[serde(rename = "w")]
    pub origin: Origin,
    /// Which time in service of the workflow it is for.
    #[serde(rename = "s", default, skip_serializing_if = "tables::is_zero")]
    pub service: u32,
}

fn settling(workspace: WorkspaceId) -> KeyBuilder {
    KeyBuilder::new(Space::Dispatch, workspace).u8(SETTLING)
}

pub(crate) fn settling_key(workspace: WorkspaceId, workflow: &str, record: Uuid) -> Key {
    settling(workspace).str(workflow).fixed(record.as_bytes()).u8(0).build()
}

/// What the record was before the first change: a JSON value.
pub(crate) fn before_key(workspace: WorkspaceId, workflow: &str, record: Uuid) -> Key {
    settling(workspace).str(workflow).fixed(record.as_bytes()).u8(1).build()
}

pub(crate) fn all_settling(workspace: WorkspaceId) -> Range<Key> {
    settling(workspace).prefix()
}

/// The workflow and the record, if it is a key of a change.
pub(crate) fn settling_parts(key: &Key) -> Result<Option<(String, Uuid)>, Refused> {
    let mut reader = KeyReader::new(key)?;
    reader.u8()?;
    let workflow = reader.str()?;
    let record = Uuid::from_bytes(reader.fixed::<16>()?);
    Ok((reader.u8()? == 0).then_some((workflow, record)))
}
