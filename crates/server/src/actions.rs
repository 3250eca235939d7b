//! `/api/v1/actions`: code actions, uploaded, listed, inspected, downloaded, tested.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG};
use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::{ActionDetail, ActionInfo, ActionTest};
use stepwell_sandbox::LimitsPatch;

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body::{self, Sender};
use crate::page::{self, PageQuery};
use crate::parameters::{self, Whole};
use crate::path::Path;
use crate::problem::{Answer, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutQuery {
    #[serde(default)]
    dev: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionQuery {
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestQuery {
    version: Option<String>,
    fuel: Option<Whole<u64>>,
    memory_bytes: Option<Whole<u64>>,
    wall_ms: Option<Whole<u64>>,
}

/// `name` or `name@version`, as workflows write it.
fn reference(name: &str, version: Option<&str>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"))
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer<Response> {
    let query: PutQuery = parameters::read(query.as_deref())?;
    if query.dev && !app.config().dev {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "dev_only",
            "only a server that runs with --dev replaces a version: runs rely on the bytes they began with; raise the version instead",
        ));
    }
    let (parts, stream) = request.into_parts();
    let module = body::read(&app, Sender::Known, &parts.headers, stream, app.config().module_bytes).await?;
    let put = workspace.actions().put(&name, module, query.dev).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(put)).into_response())
}

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    page::answer("actions", workspace.actions().list(page::request(query.limit, query.cursor)).await?)
}

pub async fn get(
    Reader(workspace): Reader,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<ActionDetail>> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    Ok(Json(workspace.actions().get(&reference(&name, query.version.as_deref())).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    version: Option<String>,
}

pub async fn delete(
    Writer(workspace): Writer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<ActionInfo>> {
    let query: DeleteQuery = parameters::read(query.as_deref())?;
    let version = query.version.ok_or_else(|| {
        let detail =
            "say which version to delete, such as `?version=1.2.0`; `GET` the action for a list of them";
        Problem::bad_request("invalid_query", detail)
    })?;
    Ok(Json(workspace.actions().delete(&name, &version).await?))
}

pub async fn download(
    Reader(workspace): Reader,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Response> {
    let query: VersionQuery = parameters::read(query.as_deref())?;
    let (info, module) = workspace.actions().download(&reference(&name, query.version.as_deref())).await?;
    let headers = [
        (CONTENT_TYPE, "application/wasm".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}-{}.wasm\"", info.name, info.version)),
        (ETAG, format!("\"{}\"", info.sha256)),
    ];
    Ok((headers, module).into_response())
}

/// The body is the input itself.
pub async fn test(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer<Json<ActionTest>> {
    let query: TestQuery = parameters::read(query.as_deref())?;
    let bytes = body::whole(&app, request).await?;
    let input: Value = body::json(&bytes, "the action's input")?;
    let limits = LimitsPatch {
        fuel: query.fuel.map(|n| n.0),
        memory_bytes: query.memory_bytes.map(|n| n.0),
        wall_ms: query.wall_ms.map(|n| n.0),
        ..LimitsPatch::default()
    };
    Ok(Json(workspace.actions().test(&reference(&name, query.version.as_deref()), input, limits).await?))
}
