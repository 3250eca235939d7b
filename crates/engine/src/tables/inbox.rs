//! What waits to be folded into a run: a row each, `inbox / run id / number`.
use crate::id::RunId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};
use stepwell_workflow::machine::Event;

pub(crate) fn key(workspace: WorkspaceId, run: RunId, number: u32) -> Key {
    KeyBuilder::new(Space::Inbox, workspace).fixed(run.as_bytes()).u32(number).build()
}

/// What waits for one run.
pub(crate) fn of_run(workspace: WorkspaceId, run: RunId) -> Range<Key> {
    KeyBuilder::new(Space::Inbox, workspace).fixed(run.as_bytes()).prefix()
}

/// What waits in a workspace.
pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Inbox, workspace).prefix()
}

/// A message to a run's driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub event: Event,
    /// From here on these are the run's actions: a reference as the workflow writes it, and the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<BTreeMap<String, String>>,
}
