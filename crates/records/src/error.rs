//! Every way in which the records refuse something, with a code for machines and a sentence for people.

use serde::{Deserialize, Serialize};
use stepwell_store::Refused;
use uuid::Uuid;

use crate::filter::FilterProblem;
use crate::problems::{clipped, joined, sentence};

/// One thing wrong with a record, a query or a schema: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}{message}{}", at(path), hinted(hint))]
pub struct Problem {
    /// The field, as people write it: `emails.primaryEmail`; empty where the whole is meant.
    pub path: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { path: path.into(), message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<FilterProblem> for Problem {
    fn from(FilterProblem { path, message, hint }: FilterProblem) -> Self {
        Problem { path, message, hint }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordsError {
    #[error("there is no object `{}`{}", clipped(.name), hinted(.hint))]
    UnknownObject { name: String, hint: Option<String> },
    #[error("this {object} cannot be stored: {}", sentence(.problems))]
    Invalid { object: String, problems: Vec<Problem> },
    /// What should be a record's id is none.
    #[error("no {object} can be found: {problem}")]
    InvalidId { object: String, problem: Problem },
    #[error("there is no {object} {id}{}", if *.deleted { ": it was deleted, and can be restored" } else { "" })]
    NotFound { object: String, id: Uuid, deleted: bool },
    /// The record is not at the version that the writer had seen.
    #[error(
        "{object} {id} has changed: it is at version {actual}, not at {expected}; read it again and retry"
    )]
    Stale { object: String, id: Uuid, expected: u64, actual: u64 },
    /// Fields of the record hold something else than the writer had seen.
    #[error(
        "{object} {id} has changed in {} since it was read; read it again and retry",
        joined(fields.iter().map(|field| format!("`{field}`")), " and ")
    )]
    Changed { object: String, id: Uuid, fields: Vec<String> },
    #[error(
        "{object} {other} already has {} {value}; update that record, or use an upsert that matches on it",
        fields.join(" and ")
    )]
    UniqueConflict { object: String, fields: Vec<String>, value: String, other: Uuid },
    #[error(
        "`{field}` of {object} names {target} {id}, which does not exist; create it first, or leave the field empty"
    )]
    RelationNotFound { object: String, field: String, target: String, id: Uuid },
    /// The `match` of an upsert names no unique set, or a value in it is missing.
    #[error("the upsert of {object} cannot match: {message}{}", hinted(.hint))]
    Match { object: String, message: String, hint: Option<String> },
    #[error("the filter on {object} is wrong: {}", sentence(.problems))]
    Filter { object: String, problems: Vec<Problem> },
    /// Sort, limit, cursor or the fields asked for.
    #[error("the search on {object} is wrong: {problem}")]
    Query { object: String, problem: Problem },
    #[error("the search on {object} looked at {scanned} records without an answer; {advice}")]
    TooBroad { object: String, scanned: usize, advice: String },
    #[error(
        "the filter on {object} has compared {most} bytes, the most of one search, without an answer; ask fewer \
         conditions of long values, or {advice}"
    )]
    TooMuch { object: String, most: u64, advice: String },
    #[error("the schema cannot be changed: {}", sentence(.problems))]
    Schema { problems: Vec<Problem> },
    #[error("there is no view `{}` of {object}{}", clipped(.name), hinted(.hint))]
    UnknownView { object: String, name: String, hint: Option<String> },
    /// The caller's mistake, not the user's: a context that breaks this crate's rules.
    #[error("wrong use of the records: {0}")]
    Misuse(String),
    #[error("a stored record cannot be read: {0}")]
    Damaged(String),
    #[error(transparent)]
    Store(#[from] Refused),
}

impl RecordsError {
    /// The code of the documented list.
    pub fn code(&self) -> &'static str {
        match self {
            RecordsError::UnknownObject { .. } => "unknown_object",
            RecordsError::Invalid { .. } | RecordsError::InvalidId { .. } => "invalid_record",
            RecordsError::NotFound { .. } => "record_not_found",
            RecordsError::Stale { .. } | RecordsError::Changed { .. } => "stale",
            RecordsError::UniqueConflict { .. } => "unique_conflict",
            RecordsError::RelationNotFound { .. } => "relation_not_found",
            RecordsError::Match { .. } => "invalid_match",
            RecordsError::Filter { .. } => "invalid_filter",
            RecordsError::Query { .. } => "invalid_query",
            RecordsError::TooBroad { .. } | RecordsError::TooMuch { .. } => "search_too_broad",
            RecordsError::Schema { .. } => "invalid_schema",
            RecordsError::UnknownView { .. } => "unknown_view",
            RecordsError::Misuse(_) => "internal",
            RecordsError::Damaged(_) => "damaged",
            RecordsError::Store(Refused::Conflict { .. }) => "conflict",
            RecordsError::Store(Refused::TooBig(_)) => "too_big",
            RecordsError::Store(Refused::Full(_)) => "disk_full",
            RecordsError::Store(_) => "store_unavailable",
        }
    }

    /// Each thing that is wrong, for problem documents that list them; none where the message says it all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            RecordsError::Invalid { problems, .. }
            | RecordsError::Filter { problems, .. }
            | RecordsError::Schema { problems } => problems,
            RecordsError::Query { problem, .. } | RecordsError::InvalidId { problem, .. } => {
                std::slice::from_ref(problem)
            }
            _ => &[],
        }
    }

    /// The id of the record that is in the way of a `unique_conflict`.
    pub fn other(&self) -> Option<Uuid> {
        match self {
            RecordsError::UniqueConflict { other, .. } => Some(*other),
            _ => None,
        }
    }
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

fn hinted(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
}
