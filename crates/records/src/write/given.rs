//! What a caller gives for a record: every field checked, every problem reported, each value as it is stored.
//!
//! It is read once, whatever comes of it: an upsert looks for a record by it, and then changes that or makes a new one.

use serde_json::{Map, Value};

use crate::error::{Problem, RecordsError};
use crate::problems::Problems;
use crate::schema::{Field, Object, Path, System, Target};
use crate::value::{Change, is_missing};
use crate::values::Values;

pub(super) struct Given<'o> {
    object: &'o Object,
    changes: Vec<(&'o Field, Change)>,
    /// What is wrong with it; a field of which something is wrong is not among the changes.
    problems: Problems,
}

/// A record's values after a change, and what the fields that differ held before (null for nothing), by name.
pub(super) struct Changed {
    pub values: Values,
    pub was: Map<String, Value>,
}

impl<'o> Given<'o> {
    pub fn read(object: &'o Object, record: &Map<String, Value>) -> Given<'o> {
        let mut problems = Problems::default();
        let mut changes = Vec::with_capacity(record.len().min(object.fields.len()));
        for (name, value) in record {
            let Some(field) = object.field(name) else {
                problems.push_with(|| not_a_field(object, name));
                continue;
            };
            if let Some(change) = Change::read(object, field, value, &mut problems) {
                changes.push((field, change));
            }
        }
        Given { object, changes, problems }
    }

    /// Only if nothing is wrong with it so far, whatever may be required.
    pub fn checked(self) -> Result<Given<'o>, RecordsError> {
        let Given { object, changes, problems } = self;
        checked(object, problems)?;
        Ok(Given { object, changes, problems: Problems::default() })
    }

    /// What a new record has at `path` by it; null for nothing.
    pub fn get(&self, path: &Path) -> &Value {
        let change = self.changes.iter().find(|(field, _)| field.id == path.field);
        change.map_or(&Value::Null, |(_, change)| change.get(path.part.as_deref()))
    }

    fn names(&self, field: &Field) -> bool {
        self.changes.iter().any(|(given, _)| given.id == field.id)
    }

    /// Without these fields, and parts of fields.
    pub fn without(mut self, left_out: &[Target<'_>]) -> Given<'o> {
        for target in left_out {
            match target {
                Target::Field { field, part: None } => self.changes.retain(|(given, _)| given.id != field.id),
                Target::Field { field, part: Some((part, _)) } => {
                    let given = self.changes.iter_mut().find(|(given, _)| given.id == field.id);
                    if let Some((_, change)) = given {
                        change.leave_out(part);
                    }
                }
                Target::System(_) => {}
            }
        }
        self
    }

    /// The values of a new record: what is given, and the defaults of what is not.
    pub fn into_new(self) -> Result<Values, RecordsError> {
        let object = self.object;
        let defaults = (object.fields.iter())
            .filter(|field| !self.names(field))
            .filter_map(|field| Some((field.id, field.default.clone()?)));
        let defaults: Vec<_> = defaults.collect();
        let mut problems = self.problems;
        let given = self.changes.into_iter().map(|(field, change)| (field.id, change.onto(None)));
        let values: Values = given.filter(|(_, value)| !value.is_null()).chain(defaults).collect();
        let required = object.fields.iter().filter(|field| field.required);
        require(object, required, &values, &mut problems);
        checked(object, problems)?;
        Ok(values)
    }

    /// The values of a record that has `current`; `None` if they are as given already. A required field that was empty
    /// before it became required may stay so.
    pub fn into_changed(self, current: &Values) -> Result<Option<Changed>, RecordsError> {
        let object = self.object;
        let required: Vec<&Field> =
            object.fields.iter().filter(|field| field.required && self.names(field)).collect();
        let mut problems = self.problems;
        let mut changed = None;
        for (field, change) in self.changes {
            let held = current.get(field.id);
            if change.is_met_by(held) {
                continue;
            }
            let Changed { values, was } =
                changed.get_or_insert_with(|| Changed { values: current.clone(), was: Map::new() });
            was.insert(field.name.clone(), held.cloned().unwrap_or(Value::Null));
            values.set(field.id, change.onto(held));
        }
        let after = changed.as_ref().map_or(current, |changed| &changed.values);
        require(object, required, after, &mut problems);
        checked(object, problems)?;
        Ok(changed)
    }
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

fn checked(object: &Object, problems: Problems) -> Result<(), RecordsError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(RecordsError::Invalid { object: object.name.clone(), problems: problems.into_list() })
}

/// Notes which of the required fields have no value, unless something else is wrong with them.
fn require<'o>(
    object: &Object,
    required: impl IntoIterator<Item = &'o Field>,
    values: &Values,
    problems: &mut Problems,
) {
    for field in required {
        let already_named =
            || problems.iter().any(|problem| problem.path.split('.').next() == Some(&field.name));
        if is_missing(values.get(field.id)) && !already_named() {
            let target = Target::Field { field, part: None };
            let problem =
                Problem::new(&field.name, format!("every {} needs a `{}`", object.name, field.name));
            problems.push(problem.hint(format!("give {}", target.described())));
        }
    }
}

/// The fields, and parts of fields, that `create_only` lists.
pub(super) fn create_only<'o>(object: &'o Object, names: &[String]) -> Result<Vec<Target<'o>>, RecordsError> {
    let mut problems = Problems::default();
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        match object.target(name) {
            Ok(Target::System(_)) => problems.push(not_a_field(object, name)),
            Ok(target) => targets.push(target),
            Err(unknown) => {
                problems.push(Problem {
                    path: format!("create_only.{name}"),
                    message: unknown.message,
                    hint: unknown.hint,
                });
            }
        }
    }
    checked(object, problems)?;
    Ok(targets)
}
