//! What can go wrong outside the action itself.

use std::path::{Path, PathBuf};

/// Each says what is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{}: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("{0}")]
    Project(String),
    /// A test of a workflow, or a workflow, that cannot be read.
    #[error("{0}")]
    Test(String),
    #[error("{0}")]
    Toolchain(String),
    /// The compiler has said why, on stderr.
    #[error("the action does not build: `{command}` ended with {status}")]
    Build { command: String, status: String },
    #[error("the module was refused: {0}")]
    Refused(String),
    #[error("the sandbox: {0}")]
    Sandbox(String),
}

impl HarnessError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }

    pub(crate) fn file(path: &Path, message: impl ToString) -> Self {
        Self::File { path: path.to_owned(), message: message.to_string() }
    }
}

impl From<stepwell_sandbox::LoadError> for HarnessError {
    fn from(error: stepwell_sandbox::LoadError) -> Self {
        match error {
            stepwell_sandbox::LoadError::Refused(refusal) => Self::Refused(refusal.to_string()),
            stepwell_sandbox::LoadError::Host(message) => Self::Sandbox(message),
        }
    }
}

impl From<stepwell_sandbox::Refusal> for HarnessError {
    fn from(refusal: stepwell_sandbox::Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}
