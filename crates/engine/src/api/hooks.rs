//! A webhook, as the engine takes it: what came in, and what to answer.
use super::{Caller, FailureDetail, PageRequest, RunStatus};
use crate::EngineError;
use crate::core::Ctx;
use crate::hooks::deliveries;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

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
    /// Cancelled when nobody is there any more to be told the result.
    pub gone: CancellationToken,
}

/// What to answer. By now the run is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct HookAnswer {
    /// Empty after a handshake, which starts none.
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
    /// Somebody stopped it; or it had no place among the runs of its `concurrency` key, which the failure says.
    Cancelled(Option<FailureDetail>),
    /// The trigger says what to answer, and the run ended in time.
    Custom { status: u16, headers: Vec<(String, String)>, body: Option<Value> },
    /// The other side's challenge goes back; no run was started.
    Handshake { status: u16, headers: Vec<(String, String)>, body: Value },
}

/// A request that came to a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub path: String,
    pub method: String,
    pub at: jiff::Timestamp,
    pub outcome: DeliveryOutcome,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The run that it started, or that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_status: Option<RunStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// How large the body was, of one that started no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    Started,
    /// It came before, with the same idempotency key.
    Repeated,
    Handshake,
    Refused,
}

impl DeliveryOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Repeated => "repeated",
            Self::Handshake => "handshake",
            Self::Refused => "refused",
        }
    }
}

/// The same, with what was sent as far as that is kept: without what says who the sender is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryDetail {
    #[serde(flatten)]
    pub delivery: Delivery,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Value>,
    /// As the run saw it; of one that started none its text, or `{"base64": …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

impl DeliveryDetail {
    pub(crate) fn without(delivery: Delivery) -> Self {
        Self { delivery, headers: None, query: None, body: None }
    }
}

/// Deliveries, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryPage {
    pub deliveries: Vec<Delivery>,
    pub next_cursor: Option<String>,
    /// How many more were refused or repeated since the server started that there was no room for.
    pub not_kept: u64,
}

/// What came in at webhooks of a workspace.
#[derive(Clone)]
pub struct Deliveries {
    pub(crate) ctx: Ctx,
}

impl Deliveries {
    /// What came to a path, the newest first. A page may be shorter than asked for, as long as it has a cursor.
    pub async fn list(&self, path: &str, page: PageRequest) -> Result<DeliveryPage, EngineError> {
        deliveries::list(&self.ctx, path, page).await
    }

    pub async fn get(&self, path: &str, id: &str) -> Result<DeliveryDetail, EngineError> {
        deliveries::get(&self.ctx, path, id).await
    }

    /// Starts a run with it; the answer's `first` is false when its idempotency key has started one already.
    pub async fn replay(&self, path: &str, id: &str) -> Result<HookAnswer, EngineError> {
        self.ctx.check_open()?;
        let replayed = deliveries::replay(&self.ctx, path, id).await?;
        Ok(HookAnswer { run_id: replayed.run_id, first: replayed.first, reply: HookReply::Accepted })
    }
}

/// A webhook that active workflows listen on, for lists and messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookInfo {
    pub path: String,
    pub methods: Vec<String>,
    pub workflow: String,
    pub version: u32,
}
