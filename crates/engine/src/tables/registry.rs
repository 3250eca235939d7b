//! What was uploaded: versions of actions, `action-versions / name / version`; workflows, `workflows / name`, and
//! their versions, `workflow-versions / name / version`.
use crate::api::{ActionInfo, TextFormat};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_sandbox::LimitsPatch;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};
use stepwell_workflow::model::Workflow;

pub(crate) fn action_key(workspace: WorkspaceId, name: &str, version: &semver::Version) -> Key {
    KeyBuilder::new(Space::ActionVersions, workspace).str(name).str(&version.to_string()).build()
}

pub(crate) fn actions(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::ActionVersions, workspace).prefix()
}

pub(crate) fn workflow_key(workspace: WorkspaceId, name: &str) -> Key {
    KeyBuilder::new(Space::Workflows, workspace).str(name).build()
}

pub(crate) fn workflows(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Workflows, workspace).prefix()
}

pub(crate) fn workflow_version_key(workspace: WorkspaceId, name: &str, version: u32) -> Key {
    KeyBuilder::new(Space::WorkflowVersions, workspace).str(name).u32(version).build()
}

/// A version of an action. Its bytes are a blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActionRow {
    pub info: ActionInfo,
    /// What the module asks for where a step names no limits.
    pub limits: LimitsPatch,
    /// Whether the module said its version itself.
    pub declared: bool,
    /// No new run gets it; those that began with it still do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// A workflow: which of its versions are in use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkflowRow {
    pub active: Option<u32>,
    pub draft: Option<u32>,
    /// The highest number given.
    pub last: u32,
    /// Versions that were active before.
    #[serde(default)]
    pub archived: Vec<u32>,
    pub updated_ms: i64,
    /// The position in the log from which on record events start runs of it.
    #[serde(default, skip_serializing_if = "crate::tables::is_zero")]
    pub since: u64,
    /// How often it came to listen to record events. What waits to settle is for one such time in service alone.
    #[serde(default, skip_serializing_if = "crate::tables::is_zero")]
    pub service: u32,
    /// It is kept for its runs, which are shown with their version, and so that no number is given twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl WorkflowRow {
    /// The versions that it has.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.archived.iter().copied().chain(self.active).chain(self.draft)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkflowVersionRow {
    pub format: TextFormat,
    pub text: String,
    /// What a text without problems says; runs use this, whatever a later check says of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Workflow>,
    pub created_ms: i64,
}
