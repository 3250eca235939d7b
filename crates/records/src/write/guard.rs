//! What a write counts on: a version, or fields that nobody has changed since somebody looked.

use serde_json::{Map, Value};

use crate::error::{Problem, RecordsError};
use crate::problems::Problems;
use crate::row::Row;
use crate::schema::{Field, Kind, Object, Target};
use crate::value::Change;

/// What the record has to be for a change to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Guard<'a> {
    pub if_version: Option<u64>,
    pub if_unchanged: Option<Unchanged<'a>>,
}

/// Fields that must still hold what they did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unchanged<'a> {
    /// The record as it was read, or as it is expected to be.
    pub since: &'a Map<String, Value>,
    /// Fields, or parts of them; those that are written when there are none.
    pub fields: &'a [String],
}

impl From<Option<u64>> for Guard<'_> {
    fn from(if_version: Option<u64>) -> Self {
        Guard { if_version, if_unchanged: None }
    }
}

pub(super) fn check_version(object: &Object, row: &Row, if_version: Option<u64>) -> Result<(), RecordsError> {
    match if_version {
        Some(expected) if expected != row.version => Err(RecordsError::Stale {
            object: object.name.clone(),
            id: row.id,
            expected,
            actual: row.version,
        }),
        _ => Ok(()),
    }
}

impl Unchanged<'_> {
    /// Refuses when one of the fields holds something else in `row`.
    pub(super) fn check(
        &self,
        object: &Object,
        row: &Row,
        changes: &Map<String, Value>,
    ) -> Result<(), RecordsError> {
        let written;
        let names = match self.fields {
            [] => {
                written = paths_of(object, changes);
                written.as_slice()
            }
            fields => fields,
        };
        let mut problems = Problems::default();
        let mut changed = Vec::new();
        for name in names {
            let (field, part) = match object.target(name) {
                Ok(Target::Field { field, part }) => (field, part),
                Ok(Target::System(_)) => {
                    let message = format!("`{name}` is set by Stepwell itself");
                    problems.push(
                        Problem::new("if_unchanged.fields", message)
                            .hint("name fields that are written; `if_version` is for the whole record"),
                    );
                    continue;
                }
                Err(unknown) => {
                    let path = "if_unchanged.fields".to_owned();
                    problems.push(Problem { path, message: unknown.message, hint: unknown.hint });
                    continue;
                }
            };
            let Some(expected) = self.expected(object, field, part, &mut problems) else { continue };
            let held = row.values.get(field.id).unwrap_or(&Value::Null);
            let held = part.map_or(held, |(part, _)| held.get(part).unwrap_or(&Value::Null));
            if *held != expected {
                changed.push(name.clone());
            }
        }
        if !problems.is_empty() {
            let problems = problems.into_list();
            return Err(RecordsError::Invalid { object: object.name.clone(), problems });
        }
        if changed.is_empty() {
            return Ok(());
        }
        Err(RecordsError::Changed { object: object.name.clone(), id: row.id, fields: changed })
    }

    /// What a field, or a part of one, is expected to hold, as it would be stored.
    fn expected(
        &self,
        object: &Object,
        field: &Field,
        part: Option<(&'static str, Kind)>,
        problems: &mut Problems,
    ) -> Option<Value> {
        let Some(given) = self.since.get(&field.name) else {
            // Silence is no statement: a record that was read names all of its fields.
            let message = format!("`since` says nothing of `{}`", field.name);
            problems.push(
                Problem::new("if_unchanged.since", message)
                    .hint("give the record as it was read, or null for a field that is to be empty"),
            );
            return None;
        };
        let mut found = Problems::default();
        let change = Change::read(object, field, given, &mut found);
        problems.extend(
            found
                .into_list()
                .into_iter()
                .map(|problem| Problem { path: format!("if_unchanged.since.{}", problem.path), ..problem }),
        );
        let change = change?;
        Some(match part {
            None => change.onto(None),
            Some((part, _)) => change.get(Some(part)).clone(),
        })
    }
}

/// What a change writes: the fields, and of composite ones the parts that it gives.
fn paths_of(object: &Object, changes: &Map<String, Value>) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, value) in changes {
        let composite = object.field(name).is_some_and(|field| !field.kind.parts().is_empty());
        match value {
            Value::Object(parts) if composite => {
                paths.extend(parts.keys().map(|part| format!("{name}.{part}")));
            }
            _ => paths.push(name.clone()),
        }
    }
    paths
}
