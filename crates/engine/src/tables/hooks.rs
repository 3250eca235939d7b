//! Idempotency keys of webhooks, to the run that each started: `hook-keys / path / key`.
use crate::id::RunId;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};

/// The author of a key chooses its length, so a long one is stored by its hash.
pub(crate) fn key(workspace: WorkspaceId, path: &str, key: &str) -> Key {
    let builder = KeyBuilder::new(Space::HookKeys, workspace).str(path);
    if key.len() <= 128 {
        return builder.u8(0).str(key).build();
    }
    builder.u8(1).fixed(&crate::hash::sha256(key.as_bytes())).build()
}

/// Which run a key started, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HookKey {
    pub run: RunId,
    /// Of the body, in hexadecimal: the same key with another body is refused.
    pub body_sha256: String,
    pub at_ms: i64,
}

impl HookKey {
    /// Whether it has served its time, so that the same key may start another run.
    pub(crate) fn is_over(&self, now_ms: i64, keep: Duration) -> bool {
        u128::try_from(now_ms.saturating_sub(self.at_ms)).is_ok_and(|age| age > keep.as_millis())
    }
}
