//! `/api/v1/views`: filters and orders that are saved under a name, for searches to use.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::ViewInfo;

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::page::{self, Limit};
use crate::parameters;
use crate::path::Path;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    object: Option<String>,
    limit: Option<Limit>,
    cursor: Option<String>,
}

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: ListQuery = parameters::read(query.as_deref())?;
    let page = page::request(query.limit, query.cursor);
    page::answer("views", workspace.views().list(query.object.as_deref(), page).await?)
}

pub async fn get(
    Reader(workspace): Reader,
    Path((object, name)): Path<(String, String)>,
) -> Answer<Json<ViewInfo>> {
    Ok(Json(workspace.views().get(&object, &name).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewBody {
    #[serde(default)]
    filter: Option<Value>,
    #[serde(default)]
    sort: Vec<String>,
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path((object, name)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let body: ViewBody = body::object(&bytes, "a view (`{\"filter\": {…}, \"sort\": […]}`)")?;
    let (view, new) = workspace.views().put(&object, &name, body.filter, body.sort).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameBody {
    name: String,
}

pub async fn rename(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path((object, name)): Path<(String, String)>,
    request: Request,
) -> Answer<Json<ViewInfo>> {
    let bytes = body::whole(&app, request).await?;
    let body: NameBody = body::object(&bytes, "a new name (`{\"name\": …}`)")?;
    Ok(Json(workspace.views().rename(&object, &name, &body.name).await?))
}

pub async fn delete(
    Writer(workspace): Writer,
    Path((object, name)): Path<(String, String)>,
) -> Answer<Json<ViewInfo>> {
    Ok(Json(workspace.views().delete(&object, &name).await?))
}
