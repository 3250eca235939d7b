//! `/hooks/{workspace}/{path}`: webhooks. The answer goes out when the run is on disk.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use stepwell_engine::{ErrorKind, HookAnswer, HookReply, HookRequest};

use crate::App;
use crate::auth::hook_caller;
use crate::body;
use crate::problem::{Answer, Problem};

pub async fn take(
    State(app): State<App>,
    Path((workspace, path)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let (parts, body) = request.into_parts();
    let workspace = app.engine().workspace(&workspace).await?;
    let caller = hook_caller(&app, &parts.headers).await?;
    let bytes = body::read(&parts.headers, body, app.config().hook_body_bytes).await?;
    let request = HookRequest {
        method: parts.method.as_str().to_owned(),
        path: path.clone(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect(),
        body: bytes,
        caller,
    };
    match workspace.hook(request).await {
        Ok(answer) => Ok(reply(answer)),
        Err(error) if error.kind == ErrorKind::MethodNotAllowed => {
            let hooks = workspace.hooks().await?;
            let methods = hooks.into_iter().filter(|hook| hook.path == path).flat_map(|hook| hook.methods);
            let allow = methods.collect::<Vec<_>>().join(", ");
            Err(Problem { allow: Some(allow), ..Problem::from(error) })
        }
        Err(error) => Err(error.into()),
    }
}

fn reply(answer: HookAnswer) -> Response {
    let run = format!("/api/v1/runs/{}", answer.run_id);
    let mut response = match answer.reply {
        HookReply::Accepted => {
            (StatusCode::ACCEPTED, Json(json!({ "run_id": answer.run_id }))).into_response()
        }
        HookReply::Result { output, .. } => (StatusCode::OK, Json(output)).into_response(),
        HookReply::Custom { status, headers, body } => custom(status, &headers, body),
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&run) {
        headers.entry(LOCATION).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&answer.run_id) {
        headers.insert(HeaderName::from_static("stepwell-run-id"), value);
    }
    if !answer.first {
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    response
}

/// What the trigger says: text goes out as it is, anything else as JSON.
fn custom(status: u16, headers: &[(String, String)], body: Option<serde_json::Value>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = match body {
        None => Response::new(Body::empty()),
        Some(serde_json::Value::String(text)) => text.into_response(),
        Some(value) => Json(value).into_response(),
    };
    *response.status_mut() = status;
    for (name, value) in headers {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else {
            continue;
        };
        if name == CONTENT_TYPE {
            response.headers_mut().insert(name, value);
        } else {
            response.headers_mut().append(name, value);
        }
    }
    response
}
