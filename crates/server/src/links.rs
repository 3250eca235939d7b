//! `/api/v1/connections`: how requests of workflows reach other systems; secrets are in them by name alone.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;
use stepwell_engine::ConnectionInfo;

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::path::Path;
use crate::problem::Answer;

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    page::answer("connections", workspace.connections().list(page::request(query.limit, query.cursor)).await?)
}

pub async fn get(Reader(workspace): Reader, Path(name): Path<String>) -> Answer<Json<ConnectionInfo>> {
    Ok(Json(workspace.connections().get(&name).await?))
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let text = body::text(&app, request, "the connection").await?;
    let saved = workspace.connections().put(&name, &text).await?;
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(saved)).into_response())
}

pub async fn delete(Writer(workspace): Writer, Path(name): Path<String>) -> Answer<Json<ConnectionInfo>> {
    Ok(Json(workspace.connections().delete(&name).await?))
}
