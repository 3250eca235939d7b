//! What a `send_email` step needs of a mail system.
use super::OutsideError;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A rendered message, as it is stored and as it is sent. Header values hold no line breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailMessage {
    /// Without it the mailer's own sender is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// More headers, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Made from the step's key, so it is the same on every attempt and a receiver can tell a repeat. The mailer
    /// adds `@` and its domain.
    pub message_id: String,
    pub timeout_ms: u64,
}

/// The mail system took the message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailReceipt {
    /// Addresses that were taken.
    pub accepted: Vec<String>,
    /// What the mail system answered at the end, one line.
    pub response: String,
}

#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    async fn send(&self, message: &MailMessage) -> Result<MailReceipt, OutsideError>;
}
