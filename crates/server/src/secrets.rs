//! `/api/v1/secrets`: values that go out as `secrets.NAME`. They come in here, and no call gives one back.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;
use stepwell_engine::SecretInfo;

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::page::{self, PageQuery};
use crate::parameters;
use crate::path::Path;
use crate::problem::{Answer, Problem};

pub async fn list(Reader(workspace): Reader, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: PageQuery = parameters::read(query.as_deref())?;
    page::answer("secrets", workspace.secrets().list(page::request(query.limit, query.cursor)).await?)
}

pub async fn get(Reader(workspace): Reader, Path(name): Path<String>) -> Answer<Json<SecretInfo>> {
    Ok(Json(workspace.secrets().get(&name).await?))
}

pub async fn put(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let bytes = body::whole(&app, request).await?;
    let body: Value = body::json(&bytes, "a secret")?;
    let put = workspace.secrets().put(&name, value(&body)?).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(put)).into_response())
}

/// Taken by hand: serde's messages quote what they do not take, and here that may be the secret.
fn value(body: &Value) -> Answer<&str> {
    let text =
        body.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get("value")?.as_str());
    text.ok_or_else(|| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            "this is not a secret: an object with one member is needed, `{\"value\": \"…\"}`, and the value is a text",
        )
    })
}

pub async fn delete(Writer(workspace): Writer, Path(name): Path<String>) -> Answer<Json<SecretInfo>> {
    Ok(Json(workspace.secrets().delete(&name).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_secret_is_not_quoted() {
        assert_eq!(value(&json!({"value": "hunter2"})).unwrap(), "hunter2");
        for wrong in [
            json!("hunter2"),
            json!({"value": 471_147_114}),
            json!({"value": ["hunter2"]}),
            json!({"hunter2": "x"}),
            json!({"value": "x", "note": "hunter2"}),
        ] {
            let problem = value(&wrong).unwrap_err();
            assert_eq!(problem.code, "invalid_body");
            assert!(
                !problem.detail.contains("hunter2") && !problem.detail.contains("471147114"),
                "{}",
                problem.detail
            );
        }
    }
}
