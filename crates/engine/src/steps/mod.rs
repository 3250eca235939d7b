//! What each kind of call does: code in the sandbox, records in the burst's transaction, HTTP and mail outside.
pub(crate) mod code;
pub(crate) mod http;
mod iterate;
pub(crate) mod mail;
pub(crate) mod records;

use crate::ports::OutsideError;
use stepwell_workflow::depth;
use stepwell_workflow::machine::{Failure, Source};

/// How much of a failure is kept: an action may put into it what it likes.
const KEPT_MESSAGE: usize = 8 << 10;
const KEPT_DETAILS: usize = 16 << 10;

/// A failure no larger than what people read; the state and the journal hold it whole.
pub(crate) fn capped(mut failure: Failure) -> Failure {
    cut(&mut failure.message, KEPT_MESSAGE);
    cut(&mut failure.code, 200);
    if failure.details.as_ref().is_some_and(depth::too_deep) {
        // As text it can be stored and read back.
        failure.details = failure.details.map(|details| details.to_string().into());
    }
    if let Some(details) = &failure.details {
        let mut text = details.to_string();
        if text.len() > KEPT_DETAILS {
            let bytes = text.len();
            cut(&mut text, KEPT_DETAILS / 2);
            failure.details = Some(serde_json::json!({ "cut_from_bytes": bytes, "beginning": text }));
        }
    }
    failure
}

/// Shortens a text to `limit` bytes, at a character.
pub(crate) fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

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
