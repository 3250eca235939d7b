//! Values of fields: what is accepted, what it is stored as, and how one field is merged into another.
//!
//! Everything is normalised before it is stored, so that what is equal to a person is equal to a comparison:
//! addresses in lower case, domains without `https://www.`, instants in UTC with milliseconds.

mod contact;
mod depth;
mod scalar;
mod time;

use serde_json::{Map, Value};

use crate::error::Problem;
use crate::filter::{is_empty, quoted, shown};
use crate::problems::Problems;
use crate::schema::{Field, FieldType, Kind, Object, Target, unknown_part};

pub(crate) use contact::comparable;
pub use depth::{MAX_DEPTH, is_deeper};
pub(crate) use scalar::normalise;
pub(crate) use time::{instant_value, timestamp};

/// A value that does not fit its field: what is wrong with it, and what would be right.
pub(crate) struct Misfit {
    pub message: String,
    pub hint: Option<String>,
}

impl Misfit {
    fn new(message: impl Into<String>) -> Self {
        Misfit { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn at(self, path: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: self.message, hint: self.hint }
    }
}

/// What is wrong with a value for a field, or for a part of one, and what would be right; nothing when it can be kept.
pub fn misfit(target: &Target<'_>, value: &Value) -> Option<(String, Option<String>)> {
    normalise(target, value).err().map(|misfit| (misfit.message, misfit.hint))
}

/// What `input` makes of a record's field whose value is `current`: null clears, the parts of a composite field are
/// merged, anything else replaces. `None` after a problem was noted.
pub(crate) fn merge(
    object: &Object,
    field: &Field,
    current: Option<&Value>,
    input: &Value,
    problems: &mut Problems,
) -> Option<Value> {
    if input.is_null() {
        return Some(Value::Null);
    }
    let parts = field.kind.parts();
    if parts.is_empty() {
        let target = Target::Field { field, part: None };
        return match normalise(&target, input) {
            Ok(value) => Some(value),
            Err(misfit) => {
                problems.push(misfit.at(&field.name));
                None
            }
        };
    }
    let Value::Object(input) = input else {
        problems.push(not_an_object(field, input).at(&field.name));
        return None;
    };
    let before = problems.len();
    let mut merged = match current {
        Some(Value::Object(current)) => current.clone(),
        _ => Map::new(),
    };
    for (name, value) in input {
        let Some(part) = parts.iter().find(|(part, _)| part == name) else {
            problems.push_with(|| {
                let unknown = unknown_part(&object.name, field, name);
                let path = format!("{}.{name}", field.name);
                Problem { path, message: unknown.message, hint: unknown.hint }
            });
            continue;
        };
        if value.is_null() {
            merged.remove(name);
            continue;
        }
        match normalise(&Target::Field { field, part: Some(*part) }, value) {
            Ok(Value::Null) => {
                merged.remove(name);
            }
            Ok(Value::Array(items)) if items.is_empty() => {
                merged.remove(name);
            }
            Ok(value) => {
                merged.insert(name.clone(), value);
            }
            Err(misfit) => problems.push(misfit.at(format!("{}.{name}", field.name))),
        }
    }
    if problems.len() > before {
        return None;
    }
    Some(if merged.is_empty() { Value::Null } else { Value::Object(merged) })
}

fn not_an_object(field: &Field, input: &Value) -> Misfit {
    let (first, kind) = field.kind.parts()[0];
    let example = match (kind, input) {
        (Kind::Email | Kind::Url | Kind::Domain | Kind::Phone | Kind::Text, Value::String(text)) => {
            quoted(text)
        }
        (Kind::Integer, _) => "1500000".to_owned(),
        _ => "…".to_owned(),
    };
    Misfit::new(format!("{} is no value of type {}", shown(input), field.kind.name()))
        .hint(format!("write {{\"{first}\": {example}}}"))
}

/// A stored value as records show it: every part is there, an empty one as null, an empty list of a composite as `[]`.
pub(crate) fn expand(kind: &FieldType, stored: Option<&Value>) -> Value {
    let parts = kind.parts();
    if parts.is_empty() {
        return stored.cloned().unwrap_or(Value::Null);
    }
    let mut object = Map::new();
    for (name, kind) in parts {
        let held = stored.and_then(|stored| stored.get(name)).cloned();
        let absent = if kind.is_list() { Value::Array(Vec::new()) } else { Value::Null };
        object.insert((*name).to_owned(), held.unwrap_or(absent));
    }
    Value::Object(object)
}

/// Whether a field that must have a value has one.
pub(crate) fn is_missing(value: Option<&Value>) -> bool {
    value.is_none_or(is_empty)
}

#[cfg(test)]
mod tests;
