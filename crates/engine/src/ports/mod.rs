//! What the engine needs of the world around it, as small traits, so that a simulation can stand in for all of it.
mod clock;
mod code;
mod http;
mod mail;
mod random;
mod secrets_key;

pub use async_trait::async_trait;
pub use clock::{Clock, SystemClock};
pub use code::{CodeRunner, SandboxRunner};
pub use http::{HttpClient, HttpRequest, HttpResponse, Link};
pub use mail::{MailMessage, MailReceipt, Mailer};
pub use random::{Random, SystemRandom};
pub use secrets_key::SecretsKey;

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use stepwell_store::{Blobs, Store};

/// Everything an engine stands on.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub blobs: Arc<dyn Blobs>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub http: Arc<dyn HttpClient>,
    /// Without a mail system e-mail is caught in the workspace's mailbox.
    pub mail: Option<Arc<dyn Mailer>>,
    pub code: Arc<dyn CodeRunner>,
    pub secrets_key: Arc<dyn SecretsKey>,
}

/// Why a call to the outside brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideError {
    /// One of the documented failure codes, such as `timeout`, `connection_failed`, `address_refused`, `mail_rejected`.
    pub code: String,
    pub message: String,
    /// Whether the same call may bring an answer later.
    pub retryable: bool,
    /// Whether the other side may have acted on it all the same.
    pub outcome_unknown: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// Bytes as base64 text, for what is stored as JSON.
pub(crate) mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
