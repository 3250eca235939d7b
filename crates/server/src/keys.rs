//! `/api/v1/api-keys`: keys, made, listed and revoked by an admin.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{KeyInfo, Scope};

use crate::App;
use crate::auth::Admin;
use crate::body;
use crate::path::Path;
use crate::problem::{Answer, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKeyBody {
    name: String,
    scopes: Vec<Scope>,
}

pub async fn create(State(app): State<App>, Admin(workspace): Admin, request: Request) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let body: NewKeyBody = body::object(
        &bytes,
        "a key (`{\"name\": …, \"scopes\": [\"read\", \"write\", \"hooks\", \"admin\"]}`)",
    )?;
    if body.scopes.is_empty() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            "a key without scopes could do nothing; give `read`, `write`, `hooks` or `admin`",
        ));
    }
    // A key for a workspace that is not there would be a key for whoever makes one of that name.
    app.engine().workspace(&workspace).await?;
    let made = app.engine().keys().create(&workspace, &body.name, &body.scopes).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

pub async fn list(State(app): State<App>, Admin(workspace): Admin) -> Answer<Json<Value>> {
    let keys = app.engine().keys().list(Some(&workspace)).await?;
    Ok(Json(json!({ "api_keys": keys, "next_cursor": null })))
}

pub async fn revoke(
    State(app): State<App>,
    Admin(_): Admin,
    Path(id): Path<String>,
) -> Answer<Json<KeyInfo>> {
    Ok(Json(app.engine().keys().revoke(&id).await?))
}
