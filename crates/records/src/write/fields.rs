//! From what a caller gives to what is stored: every field checked, every problem reported.

use serde_json::{Map, Value};

use crate::error::{Problem, RecordsError};
use crate::problems::Problems;
use crate::schema::{Field, Object, System, Target};
use crate::value::{is_missing, merge};

fn stored_name(field: &Field) -> String {
    field.id.0.to_string()
}

/// The given values over the current ones, and what is wrong with them.
fn merged(
    object: &Object,
    current: &Map<String, Value>,
    given: &Map<String, Value>,
    problems: &mut Problems,
) -> Map<String, Value> {
    let mut fields = current.clone();
    for (name, value) in given {
        let Some(field) = object.field(name) else {
            problems.push_with(|| not_a_field(object, name));
            continue;
        };
        let key = stored_name(field);
        match merge(object, field, current.get(&key), value, problems) {
            Some(Value::Null) => {
                fields.remove(&key);
            }
            Some(value) => {
                fields.insert(key, value);
            }
            None => {}
        }
    }
    fields
}

fn not_a_field(object: &Object, name: &str) -> Problem {
    if System::ALL.iter().any(|system| system.name() == name) {
        return Problem::new(name, format!("`{name}` is set by Stepwell itself")).hint("leave it out");
    }
    if let Ok(Target::Field { part: Some(_), field }) = object.target(name)
        && let Some((_, part)) = name.split_once('.')
    {
        return Problem::new(name, format!("`{name}` is a part of `{}`", field.name))
            .hint(format!("write {{\"{}\": {{\"{part}\": …}}}}", field.name));
    }
    let unknown = object.unknown_field(name);
    Problem { path: name.to_owned(), message: unknown.message, hint: unknown.hint }
}

fn checked(
    object: &Object,
    fields: Map<String, Value>,
    problems: Problems,
) -> Result<Map<String, Value>, RecordsError> {
    if problems.is_empty() {
        return Ok(fields);
    }
    Err(RecordsError::Invalid { object: object.name.clone(), problems: problems.into_list() })
}

/// The fields of a new record: what is given, and the defaults of what is not.
pub(super) fn for_create(
    object: &Object,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, RecordsError> {
    let mut problems = Problems::default();
    let mut fields = merged(object, &Map::new(), given, &mut problems);
    for field in &object.fields {
        let key = stored_name(field);
        if let Some(default) = &field.default
            && !given.contains_key(&field.name)
        {
            fields.insert(key.clone(), default.clone());
        }
        let already_named =
            problems.iter().any(|problem| problem.path.split('.').next() == Some(&field.name));
        if field.required && is_missing(fields.get(&key)) && !already_named {
            problems.push(required(object, field));
        }
    }
    checked(object, fields, problems)
}

fn required(object: &Object, field: &Field) -> Problem {
    let target = Target::Field { field, part: None };
    Problem::new(&field.name, format!("every {} needs a `{}`", object.name, field.name))
        .hint(format!("give {}", target.described()))
}

/// The fields of a record after a change. A required field that was empty before it became required may stay so.
pub(super) fn for_update(
    object: &Object,
    current: &Map<String, Value>,
    changes: &Map<String, Value>,
) -> Result<Map<String, Value>, RecordsError> {
    let mut problems = Problems::default();
    let fields = merged(object, current, changes, &mut problems);
    for field in object.fields.iter().filter(|field| field.required && changes.contains_key(&field.name)) {
        let already_named =
            problems.iter().any(|problem| problem.path.split('.').next() == Some(&field.name));
        if is_missing(fields.get(&stored_name(field))) && !already_named {
            problems.push(required(object, field));
        }
    }
    checked(object, fields, problems)
}

/// The fields of what an upsert looks for: checked as they would be stored, nothing required.
pub(super) fn for_match(
    object: &Object,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, RecordsError> {
    let mut problems = Problems::default();
    let fields = merged(object, &Map::new(), given, &mut problems);
    checked(object, fields, problems)
}

/// `record` without the fields, or parts of fields, that `names` lists.
pub(super) fn without(
    object: &Object,
    record: &Map<String, Value>,
    names: &[String],
) -> Result<Map<String, Value>, RecordsError> {
    let mut rest = record.clone();
    let mut problems = Problems::default();
    for name in names {
        match object.target(name) {
            Ok(Target::Field { field, part: None }) => {
                rest.remove(&field.name);
            }
            Ok(Target::Field { field, part: Some((part, _)) }) => {
                if let Some(Value::Object(composite)) = rest.get_mut(&field.name) {
                    composite.remove(part);
                }
            }
            Ok(Target::System(_)) => problems.push(not_a_field(object, name)),
            Err(unknown) => {
                problems.push(Problem {
                    path: format!("create_only.{name}"),
                    message: unknown.message,
                    hint: unknown.hint,
                });
            }
        }
    }
    checked(object, rest, problems)
}

/// The fields that differ, by name, with what they held before (null for nothing).
pub(super) fn difference(
    object: &Object,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Map<String, Value> {
    let mut was = Map::new();
    for field in &object.fields {
        let key = stored_name(field);
        if before.get(&key) != after.get(&key) {
            was.insert(field.name.clone(), before.get(&key).cloned().unwrap_or(Value::Null));
        }
    }
    was
}
