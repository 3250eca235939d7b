//! `/hooks/{workspace}/{path}`: webhooks. The answer goes out when the run is on disk.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use stepwell_engine::{
    Caller, EngineError, ErrorKind, FailureDetail, HookAnswer, HookReply, HookRequest, Problem as Place,
    Scope, Workspace,
};

use crate::App;
use crate::auth::hook_caller;
use crate::body::{self, Sender};
use crate::lasting::Gone;
use crate::path::Path;
use crate::problem::{Answer, Problem, REPLAYED, RUN_ID};

pub async fn take(
    State(app): State<App>,
    Path((workspace, path)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let (parts, body) = request.into_parts();
    let caller = hook_caller(&app, &parts.headers).await?;
    let everywhere = app.config().dev || caller.as_ref().is_some_and(|caller| caller.may(Scope::Admin));
    let workspace = match app.engine().workspace(&workspace).await {
        // Which workspaces there are is nobody's to find out: one that is not there has no hooks either.
        Err(error) if error.kind == ErrorKind::NotFound && !everywhere => {
            return Err(EngineError::unknown_hook(&path).into());
        }
        workspace => workspace?,
    };
    let mut request = HookRequest {
        method: parts.method.as_str().to_owned(),
        path,
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
        body: Bytes::new(),
        caller,
        gone: parts.extensions.get::<Gone>().cloned().unwrap_or_default().0,
    };
    let trusted = app.config().dev || request.caller.as_ref().is_some_and(|c| may_read(c, workspace.name()));
    // A body is read only for somebody who may send it.
    if let Err(error) = workspace.hook_admits(&request) {
        return Err(refused(&workspace, &request.path, error, trusted).await);
    }
    let sender = if request.caller.is_some() { Sender::Known } else { Sender::Stranger };
    match body::read(&app, sender, &parts.headers, body, app.config().hook_body_bytes).await {
        Ok(body) => request.body = body,
        Err(problem) => {
            let why = EngineError::new(ErrorKind::Invalid, problem.code.clone(), problem.detail.clone());
            workspace.hook_unread(&request, &why);
            return Err(problem);
        }
    }
    let path = request.path.clone();
    match workspace.hook(request).await {
        Ok(answer) => reply(answer, trusted),
        Err(error) => Err(refused(&workspace, &path, error, trusted).await),
    }
}

/// Whether somebody may see what is inside the workspace. Most senders of webhooks are strangers.
fn may_read(caller: &Caller, workspace: &str) -> bool {
    caller.may(Scope::Admin) || (caller.workspace == workspace && caller.may(Scope::Read))
}

async fn refused(workspace: &Workspace, path: &str, error: EngineError, trusted: bool) -> Problem {
    match error.kind {
        ErrorKind::MethodNotAllowed => {
            let hooks = workspace.hooks().await.unwrap_or_default();
            let methods = hooks
                .into_iter()
                .filter(|hook| hook.path == path.trim_matches('/'))
                .flat_map(|hook| hook.methods);
            let allow = methods.collect::<Vec<_>>().join(", ");
            Problem { allow: Some(allow), ..Problem::from(error) }
        }
        // How the author makes the key or the answer is not a stranger's to read.
        ErrorKind::Invalid if !trusted && error.code == "invalid_handshake" => {
            let message = "the challenge cannot be answered";
            Problem::from(EngineError { message: message.into(), problems: Vec::new(), ..error })
        }
        ErrorKind::Invalid if !trusted && error.code == "invalid_idempotency_key" => {
            let message = "the request does not have what this webhook tells repeats by";
            Problem::from(EngineError { message: message.into(), problems: Vec::new(), ..error })
        }
        ErrorKind::NotFound if trusted => {
            let near = workspace.hook_near(path);
            let mut problem = Problem::from(error);
            problem.detail.extend(near.map(|near| format!("; did you mean `{near}`?")));
            problem
        }
        // What keeps a workflow from starting is its owner's affair; only a key that was used twice is the sender's.
        ErrorKind::Conflict if !trusted && error.code != "idempotency_key_reused" => {
            tracing::warn!(workspace = workspace.name(), path, code = %error.code, "a webhook is not taken: {error}");
            unavailable()
        }
        // Its message names folders.
        ErrorKind::StorageFull if !trusted => Problem { detail: FULL.into(), ..Problem::from(error) },
        ErrorKind::Internal if !trusted => Problem { detail: INTERNAL.into(), ..Problem::from(error) },
        _ => error.into(),
    }
}

const FULL: &str = "the disk is full; nothing was stored";
const INTERNAL: &str = "something went wrong inside the server; its log says what";

fn unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "this webhook cannot take requests at the moment; the server's log says why",
    )
}

fn reply(answer: HookAnswer, trusted: bool) -> Answer<Response> {
    let run = format!("/api/v1/runs/{}", answer.run_id);
    let failed = |problem: Problem| Problem {
        run_id: Some(answer.run_id.clone()),
        replayed: !answer.first,
        ..problem
    };
    let mut response = match answer.reply {
        HookReply::Accepted => {
            (StatusCode::ACCEPTED, Json(json!({ "run_id": answer.run_id }))).into_response()
        }
        HookReply::Result { output, .. } => (StatusCode::OK, Json(output)).into_response(),
        HookReply::Custom { status, headers, body } => custom(status, &headers, body),
        HookReply::Handshake { status, headers, body } => {
            let mut response = custom(status, &headers, Some(body));
            // A stranger chose the text: no browser is to take it for a page.
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            return Ok(response);
        }
        HookReply::Failed(why) => return Err(failed(run_failed(why, trusted))),
        HookReply::Cancelled(why) => return Err(failed(run_cancelled(why))),
    };
    // A redirect leads where its author says, and else nowhere: certainly not to a call that needs a key.
    let leads = response.status().is_redirection();
    let headers = response.headers_mut();
    if !leads && let Ok(value) = HeaderValue::from_str(&run) {
        headers.entry(LOCATION).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&answer.run_id) {
        headers.insert(RUN_ID, value);
    }
    if !answer.first {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// That others with its key go on, or came after it, is its sender's affair; any other cancel is not.
fn run_cancelled(why: Option<FailureDetail>) -> Problem {
    match why.as_ref().map(|why| why.code.as_str()) {
        Some("concurrency_full") => Problem::new(
            StatusCode::CONFLICT,
            "concurrency_full",
            "as many requests of this kind are worked on as may be; this one was left out",
        ),
        Some("concurrency_replaced") => Problem::new(
            StatusCode::CONFLICT,
            "concurrency_replaced",
            "a newer request of this kind has taken the place of this one",
        ),
        _ => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "run_cancelled",
            "the run was cancelled before its end",
        ),
    }
}

/// Steps, addresses and messages of a run are told only to who may read it anyway; the run's id leads them there.
fn run_failed(why: FailureDetail, trusted: bool) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    if !trusted {
        return Problem::new(
            status,
            "run_failed",
            "the run failed; who may read the workspace finds out why by its id",
        );
    }
    let detail = match &why.step {
        Some(step) => format!("the run failed at step `{step}`"),
        None => "the run failed".to_owned(),
    };
    // A failure's code may be an action's own; the document's is one of ours.
    let place = Place { code: why.code, message: why.message, step: why.step, ..Place::default() };
    Problem::new(status, "run_failed", detail).with_errors(vec![place])
}

/// What the trigger says: text goes out as it is, anything else as JSON.
fn custom(status: u16, headers: &[(String, String)], body: Option<serde_json::Value>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    // Answers of these have none, whatever their author wrote.
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    let mut response = match body.filter(|_| !bodiless.contains(&status)) {
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
