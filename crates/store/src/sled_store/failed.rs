//! What goes wrong while the writer writes, and how those who wait are told.
use std::any::Any;

use super::folder::OpenError;
use super::open::panic_text;
use crate::full::{is_full, text_is_full};
use crate::types::Refused;

/// Why something may not be durable.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) reason: String,
    /// Whether the disk was full.
    pub(super) full: bool,
}

impl Failed {
    pub(super) fn closed() -> Self {
        Failed { reason: "the store is closed".into(), full: false }
    }

    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic_text(panic);
        Failed { reason: format!("sled panicked: {text}"), full: text_is_full(text) }
    }

    /// What those who wait are told.
    pub(super) fn refused(&self) -> Refused {
        match self.full {
            true => Refused::Full(self.reason.clone()),
            false => Refused::Unavailable(self.reason.clone()),
        }
    }
}

impl From<sled::Error> for Failed {
    fn from(error: sled::Error) -> Self {
        let full = matches!(&error, sled::Error::Io(error) if is_full(error));
        Failed { reason: error.to_string(), full }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Failed { full: is_full(&error), reason: error.to_string() }
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Failed { reason: refused.to_string(), full: false }
    }
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        let full = matches!(&error, OpenError::Io { error, .. } if is_full(error));
        Failed { reason: error.to_string(), full }
    }
}
