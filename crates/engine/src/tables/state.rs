//! What a workflow keeps between its runs, `flow-state / workflow / name`: a row a value.
use crate::id::RunId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, WorkspaceId};

pub(crate) fn key(workspace: WorkspaceId, workflow: &str, name: &str) -> Key {
    KeyBuilder::new(Space::FlowState, workspace).str(workflow).str(name).build()
}

/// All that one workflow keeps.
pub(crate) fn of_workflow(workspace: WorkspaceId, workflow: &str) -> Range<Key> {
    KeyBuilder::new(Space::FlowState, workspace).str(workflow).prefix()
}

/// The name in a key.
pub(crate) fn name_in(key: &Key) -> Result<String, Refused> {
    let mut reader = KeyReader::new(key)?;
    reader.str()?;
    Ok(reader.str()?)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateRow {
    pub value: Value,
    pub updated_ms: i64,
    /// The run that wrote it; none where somebody did by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}
