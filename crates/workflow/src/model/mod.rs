//! The definition of a workflow as types: what a checked document says, and what is stored with a version.
//!
//! These types read what they write (`serde_json` both ways). They are *not* how documents of users are
//! read: [`crate::document`] does that, with places and hints for every problem, and only then fills these.
//! A string, or any JSON value with strings inside, may hold templates (`{{ … }}`); where that is so the
//! field's type is [`Template`], or `serde_json::Value`.

mod action_ref;
mod concurrency;
mod outside;
mod step;
mod trigger;
mod units;

pub use action_ref::{ActionRef, VersionWanted};
pub use concurrency::{Concurrency, WhenFull};
pub use outside::{
    Body, HttpRequest, NamedRedirects, NextPage, Pagination, ReadAs, Redirects, Response, SendEmail,
    StatusRange,
};
pub use step::{
    Arm, Backoff, Block, Branch, Code, CreateRecord, Delay, DeleteRecord, Fields, FilterStep, Given,
    IfUnchanged, Iterate, Limits, OnError, Parallel, RecordSet, Retry, RunWorkflow, SearchRecords, Set,
    SetState, Step, StepKind, Stop, StopStatus, Tolerate, UpdateRecord, UpsertRecord, WaitForInput,
};
pub use trigger::{
    Answer, Auth, ChallengeHmac, Encoding, Handshake, Hmac, HmacScheme, Manual, Method, Missed, OnRecords,
    Overlap, RecordChange, RecordEvent, Respond, Schedule, Select, Trigger, Webhook, Writers,
};
pub use units::{ByteSize, Millis};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Text that may hold `{{ … }}`.
pub type Template = String;

/// A condition: a filter of the one filter language (an object), or a string that is one expression
/// and gives true or false.
pub type Condition = Value;

/// A whole workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub trigger: Trigger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Run from top to bottom.
    pub steps: Vec<Step>,
    /// The run's result; the last step's output when absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Run when the run has failed; sees `error` and `steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Step>,
}

impl Workflow {
    /// Every step of the document, those inside others too, in document order.
    pub fn every_step(&self) -> Vec<&Step> {
        let mut all = Vec::new();
        let mut open: Vec<&Step> = self.on_failure.iter().rev().collect();
        open.extend(self.steps.iter().rev());
        while let Some(step) = open.pop() {
            all.push(step);
            for block in step.blocks().into_iter().rev() {
                open.extend(block.iter().rev());
            }
        }
        all
    }
}

/// For keys where null is a value and only absence means that there is none.
pub fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Serde for "one, or a list of them": read both ways, written as a list.
pub(crate) mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
        list.serialize(to)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany<T> {
            Many(Vec<T>),
            One(T),
        }
        Ok(match OneOrMany::deserialize(from)? {
            OneOrMany::Many(list) => list,
            OneOrMany::One(one) => vec![one],
        })
    }
}
