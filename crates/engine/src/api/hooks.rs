//! A webhook, as the engine takes it: what came in, and what to answer.
use super::{Caller, FailureDetail, RunStatus};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One HTTP request to `/hooks/{workspace}/{path}`.
#[derive(Debug, Clone, Default)]
pub struct HookRequest {
    /// In capitals.
    pub method: String,
    /// What follows the workspace, without a leading slash.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    pub body: Bytes,
    /// Who sent it, where a valid API key came along.
    pub caller: Option<Caller>,
}

/// What to answer. By now the run is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct HookAnswer {
    pub run_id: String,
    /// False when the same `Idempotency-Key` had started this run before.
    pub first: bool,
    pub reply: HookReply,
}

#[derive(Debug, Clone, PartialEq)]
pub enum HookReply {
    /// 202: the run goes on by itself.
    Accepted,
    /// The trigger says `respond: result` and the run ended in time.
    Result { status: RunStatus, output: Value },
    /// The run that was waited for failed. What went wrong is for those who may read the workspace.
    Failed(FailureDetail),
    /// Somebody stopped it.
    Cancelled,
    /// The trigger says what to answer, and the run ended in time.
    Custom { status: u16, headers: Vec<(String, String)>, body: Option<Value> },
}

/// A webhook that active workflows listen on, for lists and messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookInfo {
    pub path: String,
    pub methods: Vec<String>,
    pub workflow: String,
    pub version: u32,
}
