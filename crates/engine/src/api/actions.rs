//! Actions as the API shows them: code modules, their versions and what came of testing one.
use super::{Page, PageRequest};
use crate::EngineError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_sandbox::{CallError, GuestKind, LimitsPatch, LogLine, Usage};

/// One version of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionInfo {
    pub name: String,
    pub version: semver::Version,
    /// Hexadecimal.
    pub sha256: String,
    pub kind: GuestKind,
    /// Bytes of the module.
    pub size: u64,
    pub imports: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    pub created_at: jiff::Timestamp,
}

/// All that is known of an action: the version asked for (or the latest), and which others there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionDetail {
    #[serde(flatten)]
    pub info: ActionInfo,
    /// Newest first.
    pub versions: Vec<semver::Version>,
    /// Calls and fuel of this version in runs of this workspace.
    pub totals: ActionTotals,
}

/// What a version has used, over all runs since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionTotals {
    pub calls: u64,
    pub failures: u64,
    pub fuel: u64,
    pub wall_us: u64,
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionPut {
    #[serde(flatten)]
    pub info: ActionInfo,
    /// False when the very same bytes were there already.
    #[serde(skip)]
    pub created: bool,
    /// What an active workflow that would pick this version up cannot do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<crate::Problem>,
}

/// What running an action once, outside any run, came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionTest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
    pub logs: Vec<LogLine>,
    pub usage: Usage,
}

/// The actions of one workspace.
#[derive(Clone)]
pub struct Actions {}

impl Actions {
    /// Takes a module as the version it says of itself (0.0.N when it says none). With `dev`, other bytes for a
    /// version that exists replace it; otherwise that is a conflict.
    pub async fn put(&self, _name: &str, _module: Bytes, _dev: bool) -> Result<ActionPut, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// The latest version of each action, by name.
    pub async fn list(&self, _page: PageRequest) -> Result<Page<ActionInfo>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// `reference` is `name`, `name@1` or `name@1.2.0`.
    pub async fn get(&self, _reference: &str) -> Result<ActionDetail, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// The module's bytes, as they were uploaded.
    pub async fn download(&self, _reference: &str) -> Result<(ActionInfo, Bytes), EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// Runs it once and stores nothing.
    pub async fn test(
        &self,
        _reference: &str,
        _input: Value,
        _limits: LimitsPatch,
    ) -> Result<ActionTest, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}
