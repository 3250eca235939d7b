//! What belongs to no workspace, in workspace 0: the workspaces by name, and API keys by the hash of their secret.
use crate::api::KeyInfo;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};

const WORKSPACES: u8 = 1;
const KEYS: u8 = 2;

pub(crate) fn workspace_key(name: &str) -> Key {
    KeyBuilder::new(Space::Names, WorkspaceId::NAMES).u8(WORKSPACES).str(name).build()
}

pub(crate) fn workspaces() -> Range<Key> {
    KeyBuilder::new(Space::Names, WorkspaceId::NAMES).u8(WORKSPACES).prefix()
}

/// Counts the numbers given to workspaces.
pub(crate) fn last_workspace_key() -> Key {
    KeyBuilder::new(Space::Counters, WorkspaceId::NAMES).str("workspaces").build()
}

pub(crate) fn api_key_key(secret_sha256: &[u8; 32]) -> Key {
    KeyBuilder::new(Space::Names, WorkspaceId::NAMES).u8(KEYS).fixed(secret_sha256).build()
}

pub(crate) fn api_keys() -> Range<Key> {
    KeyBuilder::new(Space::Names, WorkspaceId::NAMES).u8(KEYS).prefix()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkspaceRow {
    pub id: u32,
    pub name: String,
    pub created_ms: i64,
}

/// Behind the hash of the secret: 256 bits of randomness need no slow hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ApiKeyRow {
    pub info: KeyInfo,
}
