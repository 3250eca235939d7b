//! What came in at webhooks and started no run: `deliveries / 0 / path / id`, and beside it, under `1`, what was sent.
//! What did start one is known by its run.
use crate::id::RunId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, WorkspaceId};

const HEAD: u8 = 0;
const SENT: u8 = 1;

fn key(workspace: WorkspaceId, kind: u8, path: &str, id: RunId) -> Key {
    KeyBuilder::new(Space::Deliveries, workspace).u8(kind).str(path).fixed(id.as_bytes()).build()
}

/// An id like a run's: both are in the order of their time.
pub(crate) fn head_key(workspace: WorkspaceId, path: &str, id: RunId) -> Key {
    key(workspace, HEAD, path, id)
}

pub(crate) fn sent_key(workspace: WorkspaceId, path: &str, id: RunId) -> Key {
    key(workspace, SENT, path, id)
}

/// All heads of a workspace.
pub(crate) fn heads(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Deliveries, workspace).u8(HEAD).prefix()
}

/// Those of a path that are older than one, or all.
pub(crate) fn heads_before(workspace: WorkspaceId, path: &str, id: Option<RunId>) -> Range<Key> {
    let of_path = || KeyBuilder::new(Space::Deliveries, workspace).u8(HEAD).str(path);
    match id {
        None => of_path().prefix(),
        Some(id) => of_path().build()..head_key(workspace, path, id),
    }
}

/// Path and id in the key of a head.
pub(crate) fn parts(key: &Key) -> Result<(String, RunId), Refused> {
    let mut reader = KeyReader::new(key)?;
    reader.u8()?;
    Ok((reader.str()?, RunId::from_bytes(reader.fixed::<16>()?)))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeliveryRow {
    #[serde(rename = "m")]
    pub method: String,
    #[serde(rename = "t")]
    pub at: Timestamp,
    #[serde(rename = "o")]
    pub outcome: Outcome,
    /// How large the body was.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// Why it was refused.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The run that it repeats.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    #[serde(rename = "x")]
    Refused,
    #[serde(rename = "r")]
    Repeated,
    #[serde(rename = "h")]
    Handshake,
}

/// What was sent, without what says who the sender is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SentRow {
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    /// In base64: whatever was sent.
    pub body: String,
}
