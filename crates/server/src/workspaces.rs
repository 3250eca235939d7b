//! `/api/v1/workspaces`: listed and made by an admin. Each has workflows, actions, runs and records of its own.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::App;
use crate::auth::Admin;
use crate::body;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWorkspace {
    name: String,
}

pub async fn list(State(app): State<App>, Admin(_): Admin) -> Answer<Json<Value>> {
    let names = app.engine().workspaces().await?;
    let workspaces: Vec<Value> = names.into_iter().map(|name| json!({ "name": name })).collect();
    Ok(Json(json!({ "workspaces": workspaces, "next_cursor": null })))
}

pub async fn create(State(app): State<App>, Admin(_): Admin, request: Request) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let body: NewWorkspace = body::object(&bytes, "a workspace (`{\"name\": …}`)")?;
    let known = app.engine().workspace(&body.name).await.is_ok();
    let made = app.engine().create_workspace(&body.name).await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(json!({ "name": made.name() }))).into_response())
}
