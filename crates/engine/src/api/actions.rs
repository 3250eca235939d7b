//! Actions as the API shows them: code modules, their versions and what came of testing one.
use super::{Page, PageRequest, page_of_names};
use crate::core::Ctx;
use crate::registry::actions;
use crate::{EngineError, ErrorKind, steps, weight};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_sandbox::{Call, CallError, GuestKind, Limits, LimitsPatch, LogLine, Usage, canonical_json};

/// One version of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionInfo {
    pub name: String,
    pub version: semver::Version,
    /// Hexadecimal.
    pub sha256: String,
    pub kind: GuestKind,
    /// Bytes of the module.
    pub size: u64,
    pub imports: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    pub created_at: jiff::Timestamp,
}

/// All that is known of an action: the version asked for (or the latest), and which others there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionDetail {
    #[serde(flatten)]
    pub info: ActionInfo,
    /// Newest first.
    pub versions: Vec<semver::Version>,
    /// Calls and fuel of this version in runs of this workspace.
    pub totals: ActionTotals,
}

/// What a version has used, over all runs since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionTotals {
    pub calls: u64,
    pub failures: u64,
    pub fuel: u64,
    pub wall_us: u64,
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionPut {
    #[serde(flatten)]
    pub info: ActionInfo,
    /// False when the very same bytes were there already.
    #[serde(skip)]
    pub created: bool,
    /// What an active workflow that would pick this version up cannot do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<crate::Problem>,
}

/// What running an action once, outside any run, came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionTest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
    pub logs: Vec<LogLine>,
    pub usage: Usage,
}

/// The actions of one workspace.
#[derive(Clone)]
pub struct Actions {
    pub(crate) ctx: Ctx,
}

impl Actions {
    /// Takes a module as the version it says of itself (0.0.N when it says none). With `dev`, other bytes for a
    /// version that exists replace it; otherwise that is a conflict.
    pub async fn put(&self, name: &str, module: Bytes, dev: bool) -> Result<ActionPut, EngineError> {
        self.ctx.check_open()?;
        actions::put(&self.ctx, name, module, dev).await
    }

    /// The latest version of each action, by name.
    pub async fn list(&self, page: PageRequest) -> Result<Page<ActionInfo>, EngineError> {
        let table = self.ctx.ws.registry.actions();
        let latest = |name: &str| {
            let versions = table.versions(name)?;
            versions.values().next_back().map(|action| action.row.info.clone())
        };
        page_of_names("actions", table.names().cloned().collect(), &page, latest)
    }

    /// `reference` is `name`, `name@1` or `name@1.2.0`.
    pub async fn get(&self, reference: &str) -> Result<ActionDetail, EngineError> {
        let action = actions::find(&self.ctx, reference)?;
        let table = self.ctx.ws.registry.actions();
        let versions = table.versions(&action.row.info.name);
        Ok(ActionDetail {
            info: action.row.info.clone(),
            versions: versions.into_iter().flat_map(|versions| versions.keys().rev().cloned()).collect(),
            totals: self.ctx.core.stats.action(&action.row.info.sha256),
        })
    }

    /// Takes one version (`1.2.0`) away from new runs; runs that began with it go on. Refused while an active workflow
    /// would be left without.
    pub async fn delete(&self, name: &str, version: &str) -> Result<ActionInfo, EngineError> {
        self.ctx.check_open()?;
        actions::delete(&self.ctx, name, version).await
    }

    /// The module's bytes, as they were uploaded.
    pub async fn download(&self, reference: &str) -> Result<(ActionInfo, Bytes), EngineError> {
        let action = actions::find(&self.ctx, reference)?;
        let module = crate::blobs::read(&self.ctx, &action.row.info.sha256).await?;
        Ok((action.row.info.clone(), module))
    }

    /// Runs it once and stores nothing.
    pub async fn test(
        &self,
        reference: &str,
        input: Value,
        limits: LimitsPatch,
    ) -> Result<ActionTest, EngineError> {
        self.ctx.check_open()?;
        let action = actions::find(&self.ctx, reference)?;
        steps::code::ready(&self.ctx, &action)
            .await
            .map_err(|failure| EngineError::unavailable(failure.message))?;
        let code = &self.ctx.core.ports.code;
        let limits = limits.over(action.row.limits.over(Limits::default())).capped_by(code.maxima());
        let start_ms = u64::try_from(self.ctx.now_ms()).unwrap_or(0);
        let call = Call::new(canonical_json(&input)).limits(limits).start_ms(start_ms);
        let outcome = code.call(&action.row.info.sha256, call).await;
        if let Ok(text) = &outcome.result
            && let Err(heavy) = weight::check(text.as_bytes())
        {
            let message = format!("the output has {} bytes of JSON, and {heavy}", text.len());
            return Err(EngineError::new(ErrorKind::TooLarge, "output_too_large", message));
        }
        let (output, error) = match outcome.result {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(output) => (Some(output), None),
                Err(error) => {
                    return Err(EngineError::internal(format!("the sandbox gave no JSON: {error}")));
                }
            },
            Err(error) => (None, Some(error)),
        };
        Ok(ActionTest { output, error, logs: outcome.logs, usage: outcome.usage })
    }
}
