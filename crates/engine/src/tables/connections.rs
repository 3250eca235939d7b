//! Connections of a workspace, `connections / name`; and what was sent of late through those whose rate is over a long
//! time, `counters / connection / name`.
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};
use stepwell_workflow::connection::Connection;

pub(crate) fn key(workspace: WorkspaceId, name: &str) -> Key {
    KeyBuilder::new(Space::Connections, workspace).str(name).build()
}

pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Connections, workspace).prefix()
}

pub(crate) fn use_key(workspace: WorkspaceId, name: &str) -> Key {
    KeyBuilder::new(Space::Counters, workspace).str("connection").str(name).build()
}

/// Secrets are in it by reference alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionRow {
    pub connection: Connection,
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// Points in time, and how many requests count from each on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UseRow {
    #[serde(rename = "w")]
    pub window: Vec<(i64, u32)>,
}
