//! [`Failure`]: how an action says that it cannot do what it was asked.

use std::error::Error;
use std::fmt::{self, Display};
use std::panic::Location;
use std::time::Duration;

use serde::Serialize;

use crate::json;

/// Why an action did not do what it was asked.
///
/// The code is what a workflow can branch on; the message is for people. A step is tried again
/// only after a failure that is [`retryable`](Failure::retryable): the same input gives the same
/// end, unless the failure says otherwise.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// A short snake_case word, such as `unknown_country`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// Whether the same input may succeed later.
    pub retryable: bool,
    /// The least time to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// Whatever else the workflow may want to know, as JSON.
    pub details: Option<String>,
}

impl Failure {
    /// A failure that is not worth another attempt.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after: None,
            details: None,
        }
    }

    /// Says that the same input may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Says when the same input may succeed; the failure is then retryable.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self.retryable()
    }

    /// Adds JSON for whoever handles the failure: `.details(json!({ "field": "email" }))`, or any type that serde can
    /// write.
    #[must_use]
    pub fn details(mut self, details: impl Serialize) -> Self {
        // Kept as text: an action without details then has no code for values of every kind. What cannot be written
        // says so in its place.
        self.details =
            Some(serde_json::to_string(&details).unwrap_or_else(|error| json::text(&error.to_string())));
        self
    }

    /// An error that nobody gave a code: `guest_error`, with the place it passed through.
    pub(crate) fn unnamed(message: impl Display, file: &str, line: u32) -> Self {
        let place = format!("{{\"file\":{},\"line\":{line}}}", json::text(file));
        Self { details: Some(place), ..Self::new("guest_error", format!("{message} ({file}:{line})")) }
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl Error for Failure {}

/// `?` on the standard library's errors: `guest_error`, with the message, the file and the line.
/// There is no conversion from every error, so that an action can give its own errors codes by
/// `impl From<MyError> for Failure`.
macro_rules! from_errors {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            #[track_caller]
            fn from(error: $error) -> Self {
                let place = Location::caller();
                Self::unnamed(error, place.file(), place.line())
            }
        }
    )*};
}

from_errors!(
    serde_json::Error,
    std::char::ParseCharError,
    std::fmt::Error,
    std::io::Error,
    std::num::ParseFloatError,
    std::num::ParseIntError,
    std::num::TryFromIntError,
    std::str::ParseBoolError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    Box<dyn Error>,
    Box<dyn Error + Send + Sync>,
);

/// Ends the action with a failure: `fail!("no_email", "{name} has no address")`.
#[macro_export]
macro_rules! fail {
    ($code:expr, $($message:tt)+) => {
        return ::core::result::Result::Err($crate::Failure::new($code, ::std::format!($($message)+)).into())
    };
}

/// Gives an error or a missing value a code: `text.parse::<f64>().or_fail("invalid_number")?`.
pub trait OrFail<T> {
    /// The value, or a failure with this code and the error as its message.
    fn or_fail(self, code: &str) -> Result<T, Failure>;

    /// The value, or a failure with this code and message.
    fn or_fail_with<M: Into<String>>(self, code: &str, message: impl FnOnce() -> M) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(code, error.to_string()))
    }

    fn or_fail_with<M: Into<String>>(self, code: &str, message: impl FnOnce() -> M) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.to_string();
            let cause = format!("{{\"cause\":{}}}", json::text(&error));
            Failure { details: Some(cause), ..Failure::new(code, message()) }
        })
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail(self, code: &str) -> Result<T, Failure> {
        self.or_fail_with(code, || "a value is missing")
    }

    fn or_fail_with<M: Into<String>>(self, code: &str, message: impl FnOnce() -> M) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::new(code, message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_makes_a_failure_retryable() {
        let failure = Failure::new("busy", "try later").retry_after(Duration::from_secs(3));
        assert!(failure.retryable);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn details_are_whatever_serde_can_write() {
        let failure = Failure::new("no", "never").details(serde_json::json!({ "field": "a\"b", "tries": 2 }));
        assert_eq!(failure.details.as_deref(), Some(r#"{"field":"a\"b","tries":2}"#));
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let failure = Failure::new("no", "never").details(keys);
        assert_eq!(failure.details.as_deref(), Some(r#""key must be a string""#));
    }

    #[test]
    fn a_question_mark_on_a_standard_error_keeps_its_place() {
        fn parse(text: &str) -> Result<u8, Failure> {
            Ok(text.parse::<u8>()?)
        }
        let failure = parse("300").expect_err("300 is too large");
        assert_eq!(failure.code, "guest_error");
        let details: serde_json::Value =
            serde_json::from_str(&failure.details.expect("the place")).expect("JSON");
        assert_eq!(details["file"], file!());
        assert_eq!(details["line"], line!() - 7);
        assert!(
            failure.message.starts_with("number too large to fit in target type ("),
            "{}",
            failure.message
        );
    }

    #[test]
    fn or_fail_gives_errors_and_missing_values_a_code() {
        let failure = "x".parse::<f64>().or_fail("invalid_number").expect_err("not a number");
        assert_eq!(failure, Failure::new("invalid_number", "invalid float literal"));
        let failure =
            None::<u8>.or_fail_with("no_email", || "an e-mail address is needed").expect_err("none");
        assert_eq!(failure, Failure::new("no_email", "an e-mail address is needed"));
        let failure = "x".parse::<f64>().or_fail_with("invalid_number", || "the price is not a number");
        let failure = failure.expect_err("not a number");
        assert_eq!(failure.message, "the price is not a number");
        assert_eq!(failure.details.as_deref(), Some(r#"{"cause":"invalid float literal"}"#));
    }
}
