//! `GET /healthz`: whether the process is alive and its store can be read.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::App;
use crate::problem::Answer;

pub async fn healthz(State(app): State<App>) -> Answer<Json<Value>> {
    app.engine().healthy().await?;
    Ok(Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}
