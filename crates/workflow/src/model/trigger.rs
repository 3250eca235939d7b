//! What starts a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::units::Millis;
use super::{Condition, Template, one_or_many, present};

/// What starts a run. Other kinds become variants here, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Trigger {
    Webhook(Webhook),
    Schedule(Schedule),
    RecordEvent(RecordEvent),
    Manual(Manual),
}

impl Trigger {
    /// The `type` as documents write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Trigger::Webhook(_) => "webhook",
            Trigger::Schedule(_) => "schedule",
            Trigger::RecordEvent(_) => "record_event",
            Trigger::Manual(_) => "manual",
        }
    }
}

/// An HTTP request to `/hooks/{workspace}/{path}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Below the workspace, without a leading slash.
    pub path: String,
    #[serde(rename = "method", with = "one_or_many", default = "post")]
    pub methods: Vec<Method>,
    /// JSON Schema of the body; a body that breaks it starts no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_schema: Option<Value>,
    #[serde(default)]
    pub respond: Respond,
    /// How long a caller waits for a result before it gets 202 with the run's id.
    #[serde(default = "Webhook::default_respond_within")]
    pub respond_within: Millis,
    #[serde(default)]
    pub auth: Auth,
    /// An expression over `trigger`; the `Idempotency-Key` header when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<Template>,
    /// How the other side makes sure that somebody is there; it starts no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Box<Handshake>>,
}

impl Webhook {
    pub const DEFAULT_RESPOND_WITHIN: Millis = Millis::seconds(30);

    fn default_respond_within() -> Millis {
        Self::DEFAULT_RESPOND_WITHIN
    }

    /// Whether a request with such a method starts a run.
    pub fn takes(&self, method: &str) -> bool {
        self.methods.iter().any(|known| known.as_str() == method)
    }

    /// The methods that are heard: those that start runs, and those of the handshake.
    pub fn heard(&self) -> impl Iterator<Item = Method> + '_ {
        self.methods.iter().chain(self.handshake.iter().flat_map(|handshake| &handshake.methods)).copied()
    }
}

/// The other side sends a challenge, and wants to see that it came here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handshake {
    /// Where the challenge stands; a request that has it is a handshake.
    pub challenge: Template,
    /// With which methods it comes beside those of the webhook.
    #[serde(rename = "method", with = "one_or_many", default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
    /// Makes `trigger.challenge_hmac`, for who wants the challenge back signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<ChallengeHmac>,
    /// The challenge as text unless it says something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChallengeHmac {
    pub secret: Template,
    #[serde(default)]
    pub encoding: Encoding,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

fn post() -> Vec<Method> {
    vec![Method::Post]
}

/// HTTP methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
        }
    }
}

/// What the caller of a webhook gets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Respond {
    /// 202 with the run's id, once the run is on disk.
    #[default]
    Accepted,
    /// The run's result, when it is there within `respond_within`.
    Result,
    /// An answer made from the finished run.
    #[serde(untagged)]
    Answer(Answer),
}

/// An HTTP answer, by template over everything the run's `output` may refer to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// A number, or a template that gives one.
    #[serde(default = "ok_status")]
    pub status: Value,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

fn ok_status() -> Value {
    Value::from(200)
}

/// Who may call a webhook: `none`, `api_key`, or `{hmac: {…}}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    #[default]
    None,
    /// `Authorization: Bearer KEY` with a key of the workspace.
    ApiKey,
    /// A signature over the raw bytes.
    Hmac(Hmac),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hmac {
    #[serde(default)]
    pub scheme: HmacScheme,
    /// One, or several while keys are rotated.
    #[serde(rename = "secret", with = "one_or_many")]
    pub secrets: Vec<Template>,
    /// How far the signed time may be from now.
    #[serde(default = "Hmac::default_tolerance")]
    pub tolerance: Millis,
}

impl Hmac {
    pub const DEFAULT_TOLERANCE: Millis = Millis::seconds(300);

    fn default_tolerance() -> Millis {
        Self::DEFAULT_TOLERANCE
    }
}

/// How a signature is made and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacScheme {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    #[default]
    StandardWebhooks,
    /// `x-hub-signature-256: sha256=HEX`.
    Github,
    /// `stripe-signature: t=SECONDS,v1=HEX`.
    Stripe,
    /// `x-shopify-hmac-sha256: BASE64`.
    Shopify,
    /// `x-slack-request-timestamp`, `x-slack-signature: v0=HEX`.
    Slack,
    /// `x-zm-request-timestamp`, `x-zm-signature: v0=HEX`.
    Zoom,
}

impl HmacScheme {
    /// As documents write it.
    pub fn name(self) -> &'static str {
        match self {
            HmacScheme::StandardWebhooks => "standard_webhooks",
            HmacScheme::Github => "github",
            HmacScheme::Stripe => "stripe",
            HmacScheme::Shopify => "shopify",
            HmacScheme::Slack => "slack",
            HmacScheme::Zoom => "zoom",
        }
    }

    /// Whether the signed time comes along.
    pub fn has_time(self) -> bool {
        !matches!(self, HmacScheme::Github | HmacScheme::Shopify)
    }
}

/// Times at which a run starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// A cron expression; or else `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Equal distances, from the activation on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Millis>,
    /// The time zone that the cron expression is meant in, by its IANA name.
    #[serde(default = "Schedule::utc")]
    pub time_zone: String,
    #[serde(default)]
    pub missed: Missed,
    #[serde(default)]
    pub overlap: Overlap,
    /// A run starts up to so much later than its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Millis>,
}

impl Schedule {
    pub const UTC: &str = "UTC";

    fn utc() -> String {
        Self::UTC.to_owned()
    }

    /// What tells one timetable from another.
    pub fn times(&self) -> String {
        match (&self.cron, self.every) {
            (Some(cron), _) => format!("{} {}", cron.trim(), self.time_zone),
            (None, Some(every)) => format!("every {every}"),
            (None, None) => String::new(),
        }
    }
}

/// What becomes of times that passed while nobody could start a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    Skip,
    #[default]
    RunOnce,
    RunAll,
}

/// What becomes of a time that comes while the run of the one before goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    Allow,
    Skip,
    Wait,
}

/// A record of an object was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordEvent {
    pub object: String,
    #[serde(with = "one_or_many")]
    pub on: Vec<RecordChange>,
    /// Only when one of these fields changed; empty for any.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Over the event: `before.…`, `after.…` and the rest of what `trigger` will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// One run, that long after the last of several changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Millis>,
    /// Whose writes count.
    #[serde(default)]
    pub from: Writers,
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordChange {
    Created,
    Updated,
    Deleted,
    Restored,
    /// Created or updated, whichever step or call did it.
    Upserted,
}

/// Whose writes start runs of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writers {
    /// Everybody's but those of its own runs.
    #[default]
    Others,
    Any,
}

impl RecordChange {
    /// As documents write it.
    pub fn name(self) -> &'static str {
        match self {
            RecordChange::Created => "created",
            RecordChange::Updated => "updated",
            RecordChange::Deleted => "deleted",
            RecordChange::Restored => "restored",
            RecordChange::Upserted => "upserted",
        }
    }
}

impl RecordEvent {
    /// Whether such changes are listened for.
    pub fn takes(&self, change: RecordChange) -> bool {
        let upserted = matches!(change, RecordChange::Created | RecordChange::Updated);
        self.on.iter().any(|on| *on == change || (upserted && *on == RecordChange::Upserted))
    }
}

/// Started by hand, through API or CLI.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Manual {
    /// The records that it is started on; without it on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OnRecords>,
    /// JSON Schema of what is given at the start (`trigger.input`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
}

/// The records that a person selects before a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnRecords {
    pub object: String,
    #[serde(default)]
    pub select: Select,
}

/// How many records a start is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    #[default]
    One,
    /// One run for all of them.
    Many,
}
