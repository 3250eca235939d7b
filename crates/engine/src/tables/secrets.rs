//! Secrets of a workspace, `secrets / name`, sealed; and in workspace 0 what tells the right key from a wrong one.
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};

pub(crate) fn key(workspace: WorkspaceId, name: &str) -> Key {
    KeyBuilder::new(Space::Secrets, workspace).str(name).build()
}

pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Secrets, workspace).prefix()
}

/// A known text, sealed under the key that all secrets of the installation are sealed under.
pub(crate) fn probe_key() -> Key {
    KeyBuilder::new(Space::Settings, WorkspaceId::NAMES).str("secrets-key").build()
}

/// Its `Debug` shows what is stored, which tells nothing without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretRow {
    pub created_ms: i64,
    pub updated_ms: i64,
    /// Nonce, ciphertext and tag, as base64.
    pub sealed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeRow {
    pub sealed: String,
}
