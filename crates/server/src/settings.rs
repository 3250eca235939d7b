//! `/api/v1/settings`: values that workflows read as `settings.NAME`.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::SettingInfo;

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::path::Path;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingBody {
    value: Value,
}

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    page::answer("settings", workspace.settings().list(page::request(query.limit, query.cursor)).await?)
}

pub async fn get(Reader(workspace): Reader, Path(name): Path<String>) -> Answer<Json<SettingInfo>> {
    Ok(Json(workspace.settings().get(&name).await?))
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let SettingBody { value } = body::object(&bytes, "a setting (`{\"value\": …}`)")?;
    let put = workspace.settings().put(&name, value).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(put)).into_response())
}

pub async fn delete(Writer(workspace): Writer, Path(name): Path<String>) -> Answer<Json<SettingInfo>> {
    Ok(Json(workspace.settings().delete(&name).await?))
}
