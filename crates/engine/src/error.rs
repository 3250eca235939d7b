//! The one error of the crate: a stable code, what kind of trouble it is, and every problem found.
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// What kind of trouble an [`EngineError`] is. It knows nothing of HTTP; a front maps it to what its callers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Named something that is not there.
    NotFound,
    /// The path is known, the method is not one of the trigger's.
    MethodNotAllowed,
    /// Was there once and is no more (a pruned payload, a pruned position of the log).
    Gone,
    /// The request cannot be read or breaks a rule; `problems` say where.
    Invalid,
    /// Well-formed, but what is stored says otherwise (unique field, stale version, other bytes for a version).
    Conflict,
    /// Larger than a limit; the message names the limit and the amount.
    TooLarge,
    /// No key, or one that is unknown or revoked.
    Unauthorized,
    /// The key's scopes do not reach this.
    Forbidden,
    /// The disk is full: nothing was written, and trying again helps only once there is room.
    StorageFull,
    /// Cannot be done now; trying again later may help.
    Unavailable,
    /// A defect of Stepwell or of its data; the log says more.
    Internal,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable word, for programs.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// A JSON pointer or dotted path to the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The line in the text given, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in the text given, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The step it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The bound that was passed, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What there was instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// Why a call on the engine did not do what was asked. Unless its kind says otherwise nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub struct EngineError {
    pub kind: ErrorKind,
    pub code: Cow<'static, str>,
    pub message: String,
    pub problems: Vec<Problem>,
    /// The run that the error is about, where there is one.
    pub run_id: Option<String>,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for problem in &self.problems {
            f.write_str("\n  ")?;
            match (problem.line, &problem.path) {
                (Some(line), _) => write!(f, "line {line}: ")?,
                (None, Some(path)) if !path.is_empty() => write!(f, "{path}: ")?,
                _ => {}
            }
            f.write_str(&problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl EngineError {
    pub fn new(kind: ErrorKind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), problems: Vec::new(), run_id: None }
    }

    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }

    /// No active workflow has a webhook there.
    pub fn unknown_hook(path: &str) -> Self {
        Self::not_found("unknown_hook", format!("no active workflow listens on `{path}`"))
    }

    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, "unavailable", message)
    }

    /// For what cannot happen unless the data or the program is broken.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
    }

    pub fn with_problems(mut self, problems: Vec<Problem>) -> Self {
        self.problems = problems;
        self
    }

    pub fn with_run(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }
}

/// Why an engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error("the engine's configuration is wrong: {0}")]
    Config(String),
    /// What is stored cannot be read or written.
    // Not its source besides: whoever prints the chain of causes would print it twice.
    #[error("the engine cannot start: {0}")]
    Start(EngineError),
}

impl From<EngineError> for OpenError {
    fn from(error: EngineError) -> Self {
        Self::Start(error)
    }
}

impl From<&stepwell_workflow::problem::Problem> for Problem {
    fn from(found: &stepwell_workflow::problem::Problem) -> Self {
        let place = |n: usize| u32::try_from(n).ok().filter(|n| *n > 0);
        Self {
            code: found.code.clone(),
            message: found.message.clone(),
            path: Some(found.path.clone()).filter(|path| !path.is_empty()),
            line: place(found.line),
            column: place(found.column),
            step: found.step.clone(),
            hint: found.hint.clone(),
            ..Self::default()
        }
    }
}

impl From<Problem> for stepwell_workflow::problem::Problem {
    fn from(told: Problem) -> Self {
        let place = |n: Option<u32>| n.map_or(0, |n| n as usize);
        Self {
            path: told.path.unwrap_or_default(),
            line: place(told.line),
            column: place(told.column),
            step: told.step,
            code: told.code,
            message: told.message,
            hint: told.hint,
            length: 1,
        }
    }
}

/// What an error comes from at last. Those around it say of it what their own message says already.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        last = error.to_string();
        next = error.source();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_engine_from_starting_is_said_once() {
        let error = OpenError::from(EngineError::unavailable("no disk"));
        assert_eq!(error.to_string(), "the engine cannot start: no disk");
        assert!(std::error::Error::source(&error).is_none());
    }
}
