//! `/api/v1/records/{object}`: the records of the built-in store.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use stepwell_engine::{BulkResult, BulkWrite, RecordPage, RecordQuery, RecordWritten};

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::page::Limit;
use crate::parameters::{self, Whole};
use crate::path::Path;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    filter: Option<String>,
    /// Field paths with commas between them; `-` in front turns one round.
    sort: Option<String>,
    limit: Option<Limit>,
    cursor: Option<String>,
}

pub async fn list(
    Reader(workspace): Reader,
    Path(object): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<RecordPage>> {
    let query: ListQuery = parameters::read(query.as_deref())?;
    let sort =
        query.sort.iter().flat_map(|s| s.split(',')).map(|s| s.trim().to_owned()).filter(|s| !s.is_empty());
    let query = RecordQuery {
        filter: body::json_parameter("filter", query.filter.as_deref())?,
        sort: sort.collect(),
        limit: query.limit.map(Limit::into),
        cursor: query.cursor,
    };
    Ok(Json(workspace.records().list(&object, query).await?))
}

pub async fn get(
    Reader(workspace): Reader,
    Path((object, id)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    Ok(Json(workspace.records().get(&object, &id).await?))
}

pub async fn create(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(object): Path<String>,
    request: Request,
) -> Answer<Response> {
    let fields = fields(&app, request).await?;
    let written = workspace.records().create(&object, fields).await?;
    Ok((StatusCode::CREATED, Json(written.record)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionQuery {
    if_version: Option<Whole<u64>>,
}

pub async fn update(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path((object, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer<Json<Value>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    let fields = fields(&app, request).await?;
    Ok(Json(workspace.records().update(&object, &id, fields, query.if_version.map(|n| n.0)).await?.record))
}

pub async fn delete(
    Writer(workspace): Writer,
    Path((object, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Value>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    Ok(Json(workspace.records().delete(&object, &id, query.if_version.map(|n| n.0)).await?.record))
}

pub async fn restore(
    Writer(workspace): Writer,
    Path((object, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Value>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    Ok(Json(workspace.records().restore(&object, &id, query.if_version.map(|n| n.0)).await?.record))
}

/// `{"match": [fields], "record": {...}, "create_only": [fields]}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpsertBody {
    #[serde(rename = "match")]
    match_on: Vec<String>,
    record: Map<String, Value>,
    #[serde(default)]
    create_only: Vec<String>,
}

pub async fn upsert(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(object): Path<String>,
    request: Request,
) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let body: UpsertBody = body::object(&bytes, "an upsert (`{\"match\": [\"field\"], \"record\": {…}}`)")?;
    let written: RecordWritten =
        workspace.records().upsert(&object, &body.match_on, body.record, &body.create_only).await?;
    let status = if written.outcome == "created" { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(written)).into_response())
}

pub async fn bulk(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(object): Path<String>,
    request: Request,
) -> Answer<Json<BulkResult>> {
    let bytes = body::whole(&app, request).await?;
    let write: BulkWrite =
        body::object(&bytes, "a bulk write (`{\"action\": \"create\", \"records\": […]}`)")?;
    Ok(Json(workspace.records().bulk(&object, write).await?))
}

async fn fields(app: &App, request: Request) -> Answer<Map<String, Value>> {
    let bytes = body::whole(app, request).await?;
    body::object(&bytes, "a record (an object of fields)")
}
