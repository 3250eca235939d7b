//! Connections of a workspace, `connections / name`; and, `counters / connection / name`, what was sent of late through
//! those whose rate is over a long time, and until when one is to be left alone.
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

/// What of the use of a connection counts after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UseRow {
    /// Points in time, and how many requests count from each on.
    #[serde(rename = "w")]
    pub window: Vec<(i64, u32)>,
    /// The other side asked to be left alone until then.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub held_until_ms: Option<i64>,
}
