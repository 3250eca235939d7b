//! Errors as RFC 9457 problem documents: what is wrong, where, and what would be right.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use stepwell_engine::{EngineError, ErrorKind, Problem as Place};

/// A failed request. Every handler's error type.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// `urn:stepwell:problem:<code>`: stable, like the code in it.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    #[serde(serialize_with = "status_number")]
    pub status: StatusCode,
    pub code: String,
    pub detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// For 405: the methods that would do.
    #[serde(skip)]
    pub allow: Option<String>,
    /// Whether this is what the first request with the same idempotency key was answered.
    #[serde(skip)]
    pub replayed: bool,
}

/// The run that an answer is about.
pub const RUN_ID: HeaderName = HeaderName::from_static("stepwell-run-id");
/// The answer is that of an earlier request with the same idempotency key.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

pub type Answer<T> = Result<T, Problem>;

impl Problem {
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:stepwell:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            run_id: None,
            allow: None,
            replayed: false,
        }
    }

    pub fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub fn with_errors(mut self, errors: Vec<Place>) -> Self {
        self.errors = errors;
        self
    }
}

/// Codes for a request that could not be read at all, as against one that was read and breaks a rule.
const UNREADABLE: [&str; 6] =
    ["invalid_json", "too_deep", "invalid_cursor", "invalid_query", "invalid_header", "invalid_body"];

fn status_of(error: &EngineError) -> StatusCode {
    match error.kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::Invalid if UNREADABLE.contains(&error.code.as_ref()) => StatusCode::BAD_REQUEST,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        if error.kind == ErrorKind::Internal {
            tracing::error!(code = %error.code, "internal error: {}", error.message);
        }
        let status = status_of(&error);
        Self { errors: error.problems, run_id: error.run_id, ..Self::new(status, &error.code, error.message) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let text = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
        let (allow, run, replayed) = (text(&self.allow), text(&self.run_id), self.replayed);
        let outcome_unknown = self.code == "outcome_unknown";
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"stepwell\""));
            }
            // The rest of the request is not waited for.
            StatusCode::REQUEST_TIMEOUT => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // What may have been done is not sent again without a look.
            StatusCode::SERVICE_UNAVAILABLE if outcome_unknown => {}
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow);
        }
        if let Some(run) = run {
            headers.insert(RUN_ID, run);
        }
        if replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_error_becomes_a_document_with_its_places() {
        let error = EngineError::invalid("invalid_workflow", "2 problems").with_problems(vec![Place {
            code: "unknown_step".into(),
            message: "`x` is not a step".into(),
            line: Some(3),
            ..Place::default()
        }]);
        let problem = Problem::from(error);
        insta::assert_json_snapshot!(problem, @r#"
        {
          "type": "urn:stepwell:problem:invalid_workflow",
          "title": "Unprocessable Entity",
          "status": 422,
          "code": "invalid_workflow",
          "detail": "2 problems",
          "errors": [
            {
              "code": "unknown_step",
              "message": "`x` is not a step",
              "line": 3
            }
          ]
        }
        "#);
    }

    #[test]
    fn what_cannot_be_read_is_400_and_what_breaks_a_rule_is_422() {
        let unreadable = Problem::from(EngineError::invalid("invalid_json", "no"));
        assert_eq!(unreadable.status, StatusCode::BAD_REQUEST);
        let broken = Problem::from(EngineError::invalid("invalid_record", "no"));
        assert_eq!(broken.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}
