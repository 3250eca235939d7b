//! What is wrong with a template, or with the values it met.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What sort of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExprErrorKind {
    /// The template itself is wrong; found before anything runs.
    Syntax,
    /// A value is not there.
    Undefined,
    /// A value cannot be used so: its type, its size, a line break in a header.
    Value,
    /// The rendering would take too much: steps, bytes, or depth of a value.
    Limit,
}

/// An error of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExprError {
    pub kind: ExprErrorKind,
    /// What is wrong, and what is there instead.
    pub message: String,
    /// The part of the template that is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expression: String,
    /// Byte offset of that part in the template.
    pub at: usize,
    /// Where the template stands in the value that was rendered (`record.name.firstName`); empty for a
    /// template of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ExprError {
    pub(crate) fn new(kind: ExprErrorKind, message: impl Into<String>) -> ExprError {
        ExprError {
            kind,
            message: message.into(),
            expression: String::new(),
            at: 0,
            path: String::new(),
            hint: None,
        }
    }

    pub(crate) fn syntax(message: impl Into<String>) -> ExprError {
        ExprError::new(ExprErrorKind::Syntax, message)
    }

    pub(crate) fn value(message: impl Into<String>) -> ExprError {
        ExprError::new(ExprErrorKind::Value, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> ExprError {
        self.hint = Some(hint.into());
        self
    }

    /// Notes the part of the template that is meant, unless a smaller part was noted already.
    pub(crate) fn in_part(mut self, part: &str, at: usize) -> ExprError {
        if self.expression.is_empty() {
            self.expression = part.trim().to_owned();
            self.at = at + (part.len() - part.trim_start().len());
        }
        self
    }

    /// The same error, seen from the value around: `key` is put before the path.
    pub fn under(mut self, key: &str) -> ExprError {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{joint}{}", self.path);
        self
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if !self.expression.is_empty() {
            write!(f, " (in `{}`)", self.expression)?;
        }
        Ok(())
    }
}

impl std::error::Error for ExprError {}
