//! Views as the API shows them.
use super::{Page, PageRequest};
use crate::core::Ctx;
use crate::{EngineError, views};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A filter and an order that are saved under a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewInfo {
    pub object: String,
    pub name: String,
    /// Every record without one.
    pub filter: Option<Value>,
    pub sort: Vec<String>,
}

/// The views of one workspace.
#[derive(Clone)]
pub struct Views {
    pub(crate) ctx: Ctx,
}

impl Views {
    /// By object and name; those of one object alone where one is named.
    pub async fn list(&self, object: Option<&str>, page: PageRequest) -> Result<Page<ViewInfo>, EngineError> {
        views::list(&self.ctx, object, page).await
    }

    pub async fn get(&self, object: &str, name: &str) -> Result<ViewInfo, EngineError> {
        views::get(&self.ctx, object, name).await
    }

    /// Saves a view, over one of the same name if there is one; also says whether it is new.
    pub async fn put(
        &self,
        object: &str,
        name: &str,
        filter: Option<Value>,
        sort: Vec<String>,
    ) -> Result<(ViewInfo, bool), EngineError> {
        views::put(&self.ctx, object, name, filter, sort).await
    }

    /// Gives a view another name; refused while an active workflow uses it.
    pub async fn rename(&self, object: &str, name: &str, to: &str) -> Result<ViewInfo, EngineError> {
        views::rename(&self.ctx, object, name, to).await
    }

    /// Refused while an active workflow uses it.
    pub async fn delete(&self, object: &str, name: &str) -> Result<ViewInfo, EngineError> {
        views::delete(&self.ctx, object, name).await
    }
}
