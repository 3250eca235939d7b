//! What each kind of call does: code in the sandbox, records in the burst's transaction, HTTP and mail outside.
pub(crate) mod code;
pub(crate) mod http;
pub(crate) mod mail;
pub(crate) mod records;

use crate::ports::OutsideError;
use stepwell_workflow::machine::{Failure, Source};

/// A call to the outside that brought no answer, as the step's failure.
pub(crate) fn outside_failure(error: OutsideError) -> Failure {
    let mut details = error.details;
    if error.outcome_unknown {
        let note =
            "it is not known whether the other side acted on it; a retry sends the same idempotency key";
        match &mut details {
            Some(serde_json::Value::Object(map)) => {
                map.insert("outcome".into(), note.into());
            }
            _ => details = Some(serde_json::json!({ "outcome": note })),
        }
    }
    Failure {
        source: Source::Engine,
        code: error.code,
        message: error.message,
        retryable: error.retryable,
        retry_after_ms: error.retry_after_ms,
        limit: None,
        used: None,
        details,
    }
}
