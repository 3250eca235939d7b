//! `/api/v1/webhooks`: which there are, what came in at them, and starting it again.

use axum::Json;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::{Reader, Viewer, Writer};
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::path::Path;
use crate::problem::Answer;

pub async fn list(Reader(workspace): Reader) -> Answer<Json<Value>> {
    Ok(Json(json!({ "webhooks": workspace.hooks().await?, "next_cursor": null })))
}

pub async fn deliveries(
    viewer: Viewer,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    let page = page::request(query.limit, query.cursor);
    viewer.shown(viewer.workspace.deliveries().list(&path, page).await?)
}

pub async fn delivery(viewer: Viewer, Path((path, id)): Path<(String, String)>) -> Answer<Json<Value>> {
    viewer.shown(viewer.workspace.deliveries().get(&path, &id).await?)
}

pub async fn replay(Writer(workspace): Writer, Path((path, id)): Path<(String, String)>) -> Answer<Response> {
    let answer = workspace.deliveries().replay(&path, &id).await?;
    let status = if answer.first { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(json!({ "run_id": answer.run_id, "first": answer.first }))).into_response())
}
