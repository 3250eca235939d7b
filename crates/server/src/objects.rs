//! `/api/v1/objects`: what kinds of records there are, and their fields.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::path::Path;
use crate::problem::Answer;

pub async fn list(Reader(workspace): Reader) -> Answer<Json<Value>> {
    Ok(Json(json!({ "objects": workspace.objects().list().await?, "next_cursor": null })))
}

pub async fn get(Reader(workspace): Reader, Path(name): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(workspace.objects().get(&name).await?))
}

pub async fn create(State(app): State<App>, Writer(workspace): Writer, request: Request) -> Answer<Response> {
    let object = document(&app, request, "an object (`{\"name\": …, \"fields\": […]}`)").await?;
    Ok((StatusCode::CREATED, Json(workspace.objects().create(object).await?)).into_response())
}

pub async fn add_field(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let field = document(&app, request, "a field (`{\"name\": …, \"type\": …}`)").await?;
    Ok((StatusCode::CREATED, Json(workspace.objects().add_field(&name, field).await?)).into_response())
}

async fn document(app: &App, request: Request, what: &str) -> Answer<Value> {
    let bytes = body::whole(app, request).await?;
    body::object(&bytes, what)
}
