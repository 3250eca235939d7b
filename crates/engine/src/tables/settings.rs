//! Settings of a workspace, `settings / name`.
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};

pub(crate) fn key(workspace: WorkspaceId, name: &str) -> Key {
    KeyBuilder::new(Space::Settings, workspace).str(name).build()
}

pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Settings, workspace).prefix()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingRow {
    pub value: Value,
    pub created_ms: i64,
    pub updated_ms: i64,
}
