//! `/api/v1/mailbox`: e-mail that was caught instead of sent.

use axum::Json;
use axum::extract::RawQuery;
use serde_json::Value;

use crate::auth::Viewer;
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::problem::Answer;

pub async fn list(viewer: Viewer, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    let page = viewer.workspace.mailbox(page::request(query.limit, query.cursor)).await?;
    viewer.page("mailbox", page)
}
