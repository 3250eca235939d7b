//! The workspace's log as a feed: what happened, in commit order, with positions to resume from.
use super::RunStatus;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedEvent {
    /// `<position>.<number within the commit>`; what `Last-Event-ID` brings back.
    pub id: String,
    #[serde(flatten)]
    pub body: FeedBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedBody {
    /// A run came into being, moved on or ended. What its steps did is in its history.
    Run {
        run_id: String,
        workflow: String,
        status: RunStatus,
        /// Paths of steps that ended in this commit.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<String>,
    },
    /// A record was created, updated or deleted.
    Record { event: Value },
}

/// A caught e-mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailboxEntry {
    pub id: String,
    pub at: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub mail: crate::ports::MailMessage,
}
