//! `/api/v1/schedules`: when active workflows start by themselves.

use axum::Json;
use axum::extract::RawQuery;
use serde_json::Value;

use crate::auth::Reader;
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::problem::Answer;

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    page::answer("schedules", workspace.schedules(page::request(query.limit, query.cursor)).await?)
}
