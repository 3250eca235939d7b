//! The real outside: an HTTP client under an address policy, and mail over SMTP.

mod dns;
pub(crate) mod http;
pub(crate) mod mail;
mod policy;

pub use http::OutboundHttp;
pub use mail::{SmtpMailer, SmtpSettings, SmtpTls};
pub use policy::{NotANetwork, OutboundPolicy, parse_network};

use crate::ports::OutsideError;

/// Nothing was sent, and the same call would fail again.
fn refused(code: &str, message: impl Into<String>) -> OutsideError {
    error(code, message.into(), false, false)
}

/// Nothing was sent; later it may work.
fn unreachable(code: &str, message: impl Into<String>) -> OutsideError {
    error(code, message.into(), true, false)
}

/// Something was sent; what became of it is not known. A retry carries the same key.
fn unknown(code: &str, message: impl Into<String>) -> OutsideError {
    error(code, message.into(), true, true)
}

fn error(code: &str, message: String, retryable: bool, outcome_unknown: bool) -> OutsideError {
    OutsideError {
        code: code.into(),
        message,
        retryable,
        outcome_unknown,
        retry_after_ms: None,
        details: None,
    }
}
