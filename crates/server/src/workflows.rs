//! `/api/v1/workflows`: drafts saved, checked, activated, run and tested.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{TextFormat, WorkflowDetail, WorkflowInfo, WorkflowTest};

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::page::{self, PageQuery};
use crate::parameters::{self, Whole};
use crate::path::Path;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionQuery {
    version: Option<Whole<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunQuery {
    wait: Option<String>,
}

/// The longest that a request waits for a run.
const MAX_WAIT: std::time::Duration = std::time::Duration::from_secs(300);

pub fn wait_parameter(text: Option<&str>) -> Answer<Option<std::time::Duration>> {
    text.map(|text| body::duration("wait", text).map(|wait| wait.min(MAX_WAIT))).transpose()
}

/// The content type decides where it says something; otherwise the first character does.
fn format_of(headers: &HeaderMap, text: &str) -> TextFormat {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.contains("yaml") {
        TextFormat::Yaml
    } else if kind.contains("json") || text.trim_start().starts_with('{') {
        TextFormat::Json
    } else {
        TextFormat::Yaml
    }
}

async fn text(app: &App, request: Request) -> Answer<(String, TextFormat)> {
    let headers = request.headers().clone();
    let text = body::text(app, request, "the workflow").await?;
    let format = format_of(&headers, &text);
    Ok((text, format))
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let (text, format) = text(&app, request).await?;
    let saved = workspace.workflows().put_draft(&name, &text, format).await?;
    let status = if saved.changed { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(saved)).into_response())
}

pub async fn check(
    State(app): State<App>,
    Reader(workspace): Reader,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Json<Value>> {
    let (text, format) = text(&app, request).await?;
    Ok(Json(json!({ "problems": workspace.workflows().check(&name, &text, format).await? })))
}

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    page::answer("workflows", workspace.workflows().list(page::request(query.limit, query.cursor)).await?)
}

pub async fn get(
    Reader(workspace): Reader,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<WorkflowDetail>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    Ok(Json(workspace.workflows().get(&name, query.version.map(|n| n.0)).await?))
}

pub async fn graph(
    Reader(workspace): Reader,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Value>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    Ok(Json(workspace.workflows().graph(&name, query.version.map(|n| n.0)).await?))
}

pub async fn activate(
    Writer(workspace): Writer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<WorkflowInfo>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    Ok(Json(workspace.workflows().activate(&name, query.version.map(|n| n.0)).await?))
}

pub async fn deactivate(Writer(workspace): Writer, Path(name): Path<String>) -> Answer<Json<WorkflowInfo>> {
    Ok(Json(workspace.workflows().deactivate(&name).await?))
}

pub async fn delete(Writer(workspace): Writer, Path(name): Path<String>) -> Answer<Json<WorkflowInfo>> {
    Ok(Json(workspace.workflows().delete(&name).await?))
}

/// The body is the input; without one the input is `{}`. 202: the run is on disk. 200 only where somebody waits, and
/// the run has ended by then: how fast it was decides nothing for those who do not.
pub async fn run(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer<Response> {
    let query: RunQuery = parameters::read(query.as_deref())?;
    let bytes = body::whole(&app, request).await?;
    let input = body::json_or(&bytes, "the workflow's input", json!({}))?;
    let wait = wait_parameter(query.wait.as_deref())?;
    let started = workspace.workflows().run(&name, input, wait).await?;
    let is_over = wait.is_some() && started.status.ended();
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(started)).into_response())
}

/// `{"input": …, "workflow": text?}`: runs what is stored, or the text given, once; nothing is stored or sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestBody {
    #[serde(default)]
    input: Value,
    workflow: Option<String>,
}

pub async fn test(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Json<WorkflowTest>> {
    let bytes = body::whole(&app, request).await?;
    let body: TestBody =
        body::object_or(&bytes, "a test (`{\"input\": …}`)", TestBody { input: json!({}), workflow: None })?;
    let text = body.workflow.as_deref().map(|text| (text, format_of(&HeaderMap::new(), text)));
    Ok(Json(workspace.workflows().test(&name, text, body.input).await?))
}
