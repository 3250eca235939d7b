//! API keys as the API shows them, and who a request comes from.
use crate::core::Core;
use crate::{EngineError, keys};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything, in every workspace, keys included.
    Admin,
    /// Everything within its workspace, except keys.
    Write,
    /// Reading within its workspace.
    Read,
    /// Calling webhooks that ask for a key, and nothing else.
    Hooks,
}

impl Scope {
    /// Whether a key of this scope may do what needs `needed`.
    pub fn allows(self, needed: Scope) -> bool {
        match self {
            Scope::Admin => true,
            Scope::Write => matches!(needed, Scope::Write | Scope::Read | Scope::Hooks),
            Scope::Read => needed == Scope::Read,
            Scope::Hooks => needed == Scope::Hooks,
        }
    }
}

/// A key as listed: never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    pub id: String,
    pub name: String,
    pub workspace: String,
    pub scopes: Vec<Scope>,
    /// The first characters of the secret, so that people can tell keys apart.
    pub prefix: String,
    pub created_at: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<jiff::Timestamp>,
}

/// A new key; the secret is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    #[serde(flatten)]
    pub info: KeyInfo,
    pub secret: String,
}

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub key_id: String,
    pub workspace: String,
    pub scopes: Vec<Scope>,
}

impl Caller {
    pub fn may(&self, needed: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.allows(needed))
    }
}

/// API keys of all workspaces. They are stored hashed.
#[derive(Clone)]
pub struct Keys {
    pub(crate) core: Arc<Core>,
}

impl Keys {
    pub async fn create(&self, workspace: &str, name: &str, scopes: &[Scope]) -> Result<NewKey, EngineError> {
        keys::create(&self.core, workspace, name, scopes).await
    }

    /// The first admin key of a store, or `None` when there is a key already. `hand_out` puts it where somebody
    /// finds it, before it opens anything: so it is never lost.
    pub async fn create_first<E: From<EngineError>>(
        &self,
        hand_out: impl FnOnce(&NewKey) -> Result<(), E>,
    ) -> Result<Option<NewKey>, E> {
        keys::create_first(&self.core, hand_out).await
    }

    pub async fn list(&self, workspace: Option<&str>) -> Result<Vec<KeyInfo>, EngineError> {
        Ok(keys::list(&self.core, workspace))
    }

    /// Works at once, also for requests that come in at the same moment.
    pub async fn revoke(&self, id: &str) -> Result<KeyInfo, EngineError> {
        keys::revoke(&self.core, id).await
    }

    /// Who holds this secret; `unauthorized` when nobody does.
    pub async fn authenticate(&self, secret: &str) -> Result<Caller, EngineError> {
        keys::authenticate(&self.core, secret)
    }
}
