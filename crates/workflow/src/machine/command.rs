//! What the machine asks of the engine.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_records::filter::Filter;

use super::event::Timer;
use super::failure::Failure;
use super::pages::PageCall;
use super::path::StepPath;
use super::payload::Payload;
use super::state::{Output, RunStatus, StepStatus};
use crate::expr::{Filled, Text};
use crate::graph::InputPlan;
use crate::model::{Limits, Method, Redirects, Response};

/// Something to do. Each is given once; after a crash [`super::outstanding`] gives those not yet done again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Make this attempt and report it by `StepDone`.
    Execute(Box<Execute>),
    /// Report `TimerFired` at `due`, not before.
    SetTimer { timer: Timer, due: Timestamp },
    /// What the timer was set for has come before it: it is not to fire.
    ClearTimer { timer: Timer, due: Timestamp },
    /// Answer whoever waits for the run's result, if somebody still does.
    Respond(Answer),
    /// The run is over; its timers and inbox can go.
    Finished(Finished),
    /// A call that was asked for is not wanted any more, and its end changes nothing.
    Abandon { path: StepPath, attempt: u32 },
    /// A run that was started is not waited for any more: it is to end.
    CancelRun { run: String },
    /// An item of an iterator is over, and its steps are no longer in the state.
    Item(Box<ItemDone>),
    /// The items of an iterator that is atomic are over: what they wrote is kept, or undone.
    Atomic { iterator: StepPath, kept: bool },
}

/// One attempt at a step's call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execute {
    pub path: StepPath,
    /// From 1.
    pub attempt: u32,
    /// Raised when a person retries a run whose step had got a definite answer.
    pub generation: u32,
    pub call: Call,
    /// Of this attempt, kept by the engine: past it, `StepDone` with the code `timeout`.
    pub timeout_ms: Option<u64>,
    /// Whether the world outside can notice: journal `AttemptStarted` first.
    pub outside: bool,
    /// The run's clock when the step started; the same in every attempt. `now` of its templates, the start of
    /// the sandbox's clock, and the time in the ids of new records.
    pub started_at: Timestamp,
    /// For everything random in this attempt of code; 0 for any other call, which has no use for it.
    pub seed: u64,
    /// The same in every attempt of a generation, and different for every step and item of every run.
    pub key: String,
}

/// A fully rendered call. Secrets are references until the engine fills them in at sending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Call {
    Code(CodeCall),
    Search(SearchCall),
    Create(CreateCall),
    Update(UpdateCall),
    Upsert(UpsertCall),
    Delete(DeleteCall),
    SetState(SetStateCall),
    Run(RunCall),
    Input(Box<InputCall>),
    Http(Box<HttpCall>),
    Email(Box<EmailCall>),
    List(ListCall),
    Item(ItemCall),
}

impl Call {
    /// Whether the world outside can notice it.
    pub fn is_outside(&self) -> bool {
        matches!(self, Call::Http(_) | Call::Email(_))
    }

    /// Whether it belongs to an iterator: a turn, and no work that anybody counts.
    pub fn is_of_iterator(&self) -> bool {
        matches!(self, Call::List(_) | Call::Item(_))
    }

    /// A call to the outside as it was written down without its kind, by the type of its step.
    pub fn of_outside(step_type: &str, written: Value) -> Option<Call> {
        match step_type {
            "http_request" => serde_json::from_value(written).ok().map(Call::Http),
            "send_email" => serde_json::from_value(written).ok().map(Call::Email),
            _ => None,
        }
    }
}

/// Output: the action's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodeCall {
    /// As resolved at the run's start.
    pub action: String,
    pub input: Filled,
    pub limits: Limits,
}

/// Output: `{records, total, index}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchCall {
    pub object: String,
    /// A saved filter, which holds too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// Every value filled in; `None` matches everything.
    pub filter: Option<Filter>,
    pub sort: Vec<String>,
    pub limit: Option<u64>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateCall {
    pub object: String,
    pub record: serde_json::Map<String, Value>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateCall {
    pub object: String,
    pub record_id: String,
    pub record: serde_json::Map<String, Value>,
    pub if_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unchanged: Option<IfUnchangedCall>,
}

/// Fields that must hold what they did when `since` was read; those that are written when none is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IfUnchangedCall {
    pub since: serde_json::Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpsertCall {
    pub object: String,
    pub match_on: Vec<String>,
    pub record: serde_json::Map<String, Value>,
    pub create_only: Vec<String>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteCall {
    pub object: String,
    pub record_id: String,
    pub if_version: Option<u64>,
}

/// Output: the values. It counts on what the workflow keeps being as the run has read it: where that was read again
/// since the call was made, it is made again ([`super::call_now`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetStateCall {
    /// By name; null takes a name away.
    pub values: serde_json::Map<String, Value>,
}

/// Output: what a person gives, which comes by [`super::Event::InputGiven`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

impl InputCall {
    /// What was rendered of it, for the step's state.
    pub(super) fn asked(&self) -> Payload {
        Payload::new(serde_json::json!({ "title": self.title, "message": self.message }))
    }

    /// The same call from what was rendered before. A question that is not loaded is asked without its words.
    pub fn again(plan: &InputPlan, asked: Option<&Payload>) -> InputCall {
        let asked = asked.and_then(Payload::value);
        let text = |name: &str| asked.and_then(|asked| asked.get(name)?.as_str()).map(str::to_owned);
        InputCall { title: text("title"), message: text("message"), schema: plan.schema.clone() }
    }
}

/// Output: the other run's result, which comes by [`super::Event::RunEnded`], or `{run_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCall {
    pub workflow: String,
    pub input: Value,
    pub wait: bool,
    /// The run that an attempt before this one started: what it has done is not done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Output: `{status, headers, body}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    pub method: Method,
    /// Parts filled in are percent-encoded; with a connection it is a path below its address.
    pub url: Text,
    /// Free of CR and LF.
    pub headers: BTreeMap<String, Text>,
    /// Not yet encoded; a list in the definition is the name several times.
    pub query: Vec<(String, Text)>,
    pub body: Option<HttpBody>,
    pub response: Response,
    #[serde(default)]
    pub redirects: Redirects,
    pub max_bytes: u64,
    /// The author's key, or [`Execute::key`].
    pub idempotency_key: String,
    /// Which page is asked for, where the answer comes in pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<PageCall>,
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpBody {
    Json(Filled),
    Form(Vec<(String, Text)>),
    Text(Text),
    /// As base64.
    Bytes(String),
}

/// Output: `{message_id, accepted}`. No part of it holds secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailCall {
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub bcc: Vec<String>,
    pub from: Option<String>,
    pub reply_to: Option<String>,
    pub subject: String,
    pub text: Option<String>,
    pub html: Option<String>,
    pub headers: BTreeMap<String, String>,
}

/// The next page of what an iterator goes over: the records' ids are stored beside the run.
/// Output: `{found, cursor}`, the cursor null at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListCall {
    pub object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// Every value filled in; `None` matches everything.
    pub filter: Option<Filter>,
    pub sort: Vec<String>,
    /// Listed so far.
    pub found: u64,
    pub cursor: Option<String>,
}

/// An item's turn. Output: null; over a search the record as it is now, or the list of a batch: null when nothing of it
/// is any longer what was searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemCall {
    pub records: Option<Box<ItemRecords>>,
}

/// Which of the records listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRecords {
    pub object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// Asked again: it may no longer hold.
    pub filter: Option<Filter>,
    /// Whose list.
    pub iterator: StepPath,
    pub generation: u32,
    pub from: u64,
    pub count: u64,
    /// Whether a list is wanted.
    pub batch: bool,
}

/// How an item ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemDone {
    pub path: StepPath,
    /// `completed`, `failed` or `skipped`.
    pub status: StepStatus,
    /// Its own value, or that of a call in it.
    pub output: Option<Output>,
    pub error: Option<Failure>,
}

/// The answer to whoever started the run and waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// `None`: no body.
    pub body: Option<Value>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// `completed`, `failed` or `cancelled`.
    pub status: RunStatus,
    /// The run's result; null when it has none.
    pub output: super::Payload,
    pub error: Option<RunFailure>,
}

/// Why a run failed, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFailure {
    /// The step whose failure it is; `None` when the run's own output could not be made.
    pub step: Option<StepPath>,
    #[serde(flatten)]
    pub failure: Failure,
}
