//! `/api/v1/workflows/{name}/state`: what a workflow keeps between its runs.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::StateInfo;

use crate::App;
use crate::auth::{Viewer, Writer};
use crate::body;
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::path::Path;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateBody {
    value: Value,
}

pub async fn list(
    viewer: Viewer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    let page = page::request(query.limit, query.cursor);
    let kept = viewer.workspace.workflows().state(&name, page).await?;
    viewer.page("state", kept)
}

pub async fn get(viewer: Viewer, Path((name, key)): Path<(String, String)>) -> Answer<Json<Value>> {
    viewer.shown(viewer.workspace.workflows().state_value(&name, &key).await?)
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path((name, key)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let StateBody { value } = body::object(&bytes, "a kept value (`{\"value\": …}`)")?;
    let put = workspace.workflows().set_state(&name, &key, value).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(put)).into_response())
}

pub async fn delete(
    Writer(workspace): Writer,
    Path((name, key)): Path<(String, String)>,
) -> Answer<Json<StateInfo>> {
    Ok(Json(workspace.workflows().delete_state(&name, &key).await?))
}
