//! Caught e-mail: `mailbox / time / id`.
use crate::id::RunId;
use crate::ports::MailMessage;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};

/// The second part is made from the step's key, so a burst that runs again writes the same row.
pub(crate) fn key(workspace: WorkspaceId, at_ms: i64, id: &[u8; 16]) -> Key {
    KeyBuilder::new(Space::Mailbox, workspace).i64(at_ms).fixed(id).build()
}

pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Mailbox, workspace).prefix()
}

/// Everything caught before a time.
pub(crate) fn before(workspace: WorkspaceId, at_ms: i64) -> Range<Key> {
    all(workspace).start..KeyBuilder::new(Space::Mailbox, workspace).i64(at_ms).build()
}

/// The key of an entry's id: the last 24 bytes of the key in hexadecimal.
pub(crate) fn parse_id(workspace: WorkspaceId, id: &str) -> Option<Key> {
    let id: [u8; 24] = crate::hash::unhex(id)?;
    Some(KeyBuilder::new(Space::Mailbox, workspace).fixed(&id).build())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaughtMail {
    pub run: Option<RunId>,
    pub step: Option<String>,
    pub at_ms: i64,
    pub mail: MailMessage,
}
