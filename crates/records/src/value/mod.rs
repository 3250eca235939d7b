//! Values of fields: what is accepted, what it is stored as, and how it is merged into what a field holds.
//!
//! Everything is normalised before it is stored, so that what is equal to a person is equal to a comparison:
//! addresses in lower case, domains without `https://www.`, instants in UTC with milliseconds.

mod contact;
mod depth;
mod scalar;
mod time;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::Problem;
use crate::filter::{is_empty, quoted, shown};
use crate::problems::Problems;
use crate::schema::{Field, FieldType, Kind, Object, Target, unknown_part};

pub(crate) use contact::comparable;
pub use depth::{MAX_DEPTH, is_deeper};
pub(crate) use scalar::normalise;
pub(crate) use time::{InstantText, timestamp};

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

/// What a field is to hold, checked and as it is stored.
pub(crate) enum Change {
    /// This instead of what it holds; null clears it.
    Whole(Value),
    /// These parts of a composite field; null clears one, the others stay.
    Parts(Vec<(&'static str, Value)>),
}

impl Change {
    /// What `input` makes of a field. `None` after a problem was noted.
    pub fn read(object: &Object, field: &Field, input: &Value, problems: &mut Problems) -> Option<Change> {
        if input.is_null() {
            return Some(Change::Whole(Value::Null));
        }
        let parts = field.kind.parts();
        if parts.is_empty() {
            let target = Target::Field { field, part: None };
            return match normalise(&target, input) {
                Ok(value) => Some(Change::Whole(value)),
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
        let mut given = Vec::with_capacity(input.len().min(parts.len()));
        for (name, value) in input {
            let Some(part) = parts.iter().find(|(part, _)| part == name) else {
                problems.push_with(|| {
                    let unknown = unknown_part(&object.name, field, name);
                    let path = format!("{}.{name}", field.name);
                    Problem { path, message: unknown.message, hint: unknown.hint }
                });
                continue;
            };
            match normalise(&Target::Field { field, part: Some(*part) }, value) {
                Ok(Value::Array(items)) if items.is_empty() => given.push((part.0, Value::Null)),
                Ok(value) => given.push((part.0, value)),
                Err(misfit) => problems.push(misfit.at(format!("{}.{name}", field.name))),
            }
        }
        (problems.len() == before).then_some(Change::Parts(given))
    }

    /// What a field that was empty has then, or a part of it; null for nothing.
    pub fn get(&self, part: Option<&str>) -> &Value {
        match (self, part) {
            (Change::Whole(value), None) => value,
            (Change::Parts(parts), Some(part)) => {
                parts.iter().find(|(name, _)| *name == part).map_or(&Value::Null, |(_, value)| value)
            }
            (Change::Whole(_), Some(_)) | (Change::Parts(_), None) => &Value::Null,
        }
    }

    /// Says nothing of a part.
    pub fn leave_out(&mut self, part: &str) {
        if let Change::Parts(parts) = self {
            parts.retain(|(name, _)| *name != part);
        }
    }

    /// Whether a field that holds `held` stays as it is.
    pub fn is_met_by(&self, held: Option<&Value>) -> bool {
        match (self, held) {
            (Change::Whole(value), None) => value.is_null(),
            (Change::Whole(value), Some(held)) => value == held && !value.is_null(),
            (Change::Parts(parts), None) => parts.iter().all(|(_, value)| value.is_null()),
            (Change::Parts(parts), Some(Value::Object(held))) if !held.is_empty() => {
                parts.iter().all(|(name, value)| match value {
                    Value::Null => !held.contains_key(*name),
                    value => held.get(*name) == Some(value),
                })
            }
            (Change::Parts(_), Some(_)) => false,
        }
    }

    /// What a field that held `held` holds then; null for nothing.
    pub fn onto(self, held: Option<&Value>) -> Value {
        let parts = match self {
            Change::Whole(value) => return value,
            Change::Parts(parts) => parts,
        };
        let mut merged = match held {
            Some(Value::Object(held)) => held.clone(),
            _ => Map::new(),
        };
        for (name, value) in parts {
            if value.is_null() {
                merged.remove(name);
            } else {
                merged.insert(name.to_owned(), value);
            }
        }
        if merged.is_empty() { Value::Null } else { Value::Object(merged) }
    }
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

/// An id as it is written in records.
pub(crate) fn id_text(id: Uuid) -> String {
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// Puts a stored value into the place of an empty one, as [`expand`] gives that.
pub(crate) fn fill(place: &mut Value, stored: Option<Value>) {
    match (place, stored) {
        (_, None) => {}
        (Value::Object(parts), Some(Value::Object(stored))) => {
            for (name, value) in stored {
                if let Some(place) = parts.get_mut(&name) {
                    *place = value;
                }
            }
        }
        // A composite field that holds no object shows none.
        (Value::Object(_), Some(_)) => {}
        (place, Some(stored)) => *place = stored,
    }
}

/// Whether a field that must have a value has one.
pub(crate) fn is_missing(value: Option<&Value>) -> bool {
    value.is_none_or(is_empty)
}

#[cfg(test)]
mod tests;
