//! A workspace's connections as the API shows them: secrets are in them by name alone.
use super::{Page, PageRequest, page_of_names};
use crate::core::Ctx;
use crate::{EngineError, connections};
use serde::{Deserialize, Serialize};
use stepwell_workflow::connection::Connection;

/// A connection, and how it fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    #[serde(flatten)]
    pub connection: Connection,
    /// How many requests wait for their turn.
    pub waiting: u64,
    /// The other side asked to be left alone until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<jiff::Timestamp>,
    pub created_at: jiff::Timestamp,
    pub updated_at: jiff::Timestamp,
}

/// What a save came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionSaved {
    #[serde(flatten)]
    pub info: ConnectionInfo,
    /// Secrets that it sends and that are not there yet; no workflow that uses it can be activated before.
    pub missing_secrets: Vec<String>,
    #[serde(skip)]
    pub created: bool,
    pub changed: bool,
}

/// The connections of one workspace.
#[derive(Clone)]
pub struct Connections {
    pub(crate) ctx: Ctx,
}

impl Connections {
    pub async fn list(&self, page: PageRequest) -> Result<Page<ConnectionInfo>, EngineError> {
        let names: Vec<String> = self.ctx.ws.registry.connections().keys().cloned().collect();
        page_of_names("connections", names, &page, |name| connections::get(&self.ctx, name).ok())
    }

    pub async fn get(&self, name: &str) -> Result<ConnectionInfo, EngineError> {
        connections::get(&self.ctx, name)
    }

    /// Whatever is sent from now on goes by it, by runs under way too. The document is YAML or JSON; one with problems
    /// is refused.
    pub async fn put(&self, name: &str, text: &str) -> Result<ConnectionSaved, EngineError> {
        self.ctx.check_open()?;
        connections::put(&self.ctx, name, text).await
    }

    /// Refused while an active workflow uses it.
    pub async fn delete(&self, name: &str) -> Result<ConnectionInfo, EngineError> {
        self.ctx.check_open()?;
        connections::delete(&self.ctx, name).await
    }
}
