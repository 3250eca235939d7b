//! A workspace's settings and secrets as the API shows them; of a secret never the value.
use super::{Page, PageRequest, page_of_names};
use crate::core::Ctx;
use crate::{EngineError, secrets, settings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingInfo {
    pub name: String,
    pub value: Value,
    pub created_at: jiff::Timestamp,
    pub updated_at: jiff::Timestamp,
}

/// A secret, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretInfo {
    pub name: String,
    pub created_at: jiff::Timestamp,
    /// When its value was given last.
    pub updated_at: jiff::Timestamp,
}

/// What a name was given, and whether it had been there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Put<T> {
    #[serde(flatten)]
    pub info: T,
    #[serde(skip)]
    pub created: bool,
}

/// The settings of one workspace.
#[derive(Clone)]
pub struct Settings {
    pub(crate) ctx: Ctx,
}

impl Settings {
    pub async fn list(&self, page: PageRequest) -> Result<Page<SettingInfo>, EngineError> {
        let table = self.ctx.ws.registry.settings();
        let rows = table.rows();
        page_of_names("settings", rows.keys().cloned().collect(), &page, |name| {
            rows.get(name).map(|row| settings::info(name, row))
        })
    }

    pub async fn get(&self, name: &str) -> Result<SettingInfo, EngineError> {
        settings::get(&self.ctx, name)
    }

    /// Runs that start from now on see the value; those under way keep what they began with.
    pub async fn put(&self, name: &str, value: Value) -> Result<Put<SettingInfo>, EngineError> {
        self.ctx.check_open()?;
        let (info, created) = settings::put(&self.ctx, name, value).await?;
        Ok(Put { info, created })
    }

    /// Refused while an active workflow reads it.
    pub async fn delete(&self, name: &str) -> Result<SettingInfo, EngineError> {
        self.ctx.check_open()?;
        settings::delete(&self.ctx, name).await
    }
}

/// The secrets of one workspace. They are stored encrypted, and nothing here gives a value back.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) ctx: Ctx,
}

impl Secrets {
    pub async fn list(&self, page: PageRequest) -> Result<Page<SecretInfo>, EngineError> {
        let names: Vec<String> = self.ctx.ws.registry.secrets().keys().cloned().collect();
        page_of_names("secrets", names, &page, |name| secrets::get(&self.ctx, name).ok())
    }

    pub async fn get(&self, name: &str) -> Result<SecretInfo, EngineError> {
        secrets::get(&self.ctx, name)
    }

    /// Whatever is sent from now on has the value, also by runs under way.
    pub async fn put(&self, name: &str, value: &str) -> Result<Put<SecretInfo>, EngineError> {
        self.ctx.check_open()?;
        let (info, created) = secrets::put(&self.ctx, name, value).await?;
        Ok(Put { info, created })
    }

    /// Refused while an active workflow uses it.
    pub async fn delete(&self, name: &str) -> Result<SecretInfo, EngineError> {
        self.ctx.check_open()?;
        secrets::delete(&self.ctx, name).await
    }
}
