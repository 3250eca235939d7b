//! What would change of a schema for it to be as somebody wants it.

mod apply;
mod fields;
mod indexes;
mod objects;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Change, NewField};
use super::field::ObjectId;
use super::object::IndexState;
use super::stored::Additions;
use super::wanted::{Wanted, WantedObject};
use super::{Schema, contradictions, standard};
use crate::error::{Problem, RecordsError};
use crate::problems::Problems;

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `create_object`, `add_field`, `rename_field`, `build_index`, …
    pub change: String,
    pub object: String,
    /// The field, set, index or view; empty where the object is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The change in words.
    pub about: String,
}

/// What would come of it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The schema as it is then.
    pub schema: Arc<Schema>,
    additions: BTreeMap<ObjectId, Additions>,
    /// Of each object its fields' old and new names.
    renamed: Vec<(ObjectId, String, String)>,
    removed: Vec<ObjectId>,
}

/// A plan that is being made: everything that is wrong is told, and then nothing is planned.
struct Planner {
    schema: Schema,
    additions: BTreeMap<ObjectId, Additions>,
    touched: Vec<ObjectId>,
    steps: Vec<Step>,
    renamed: Vec<(ObjectId, String, String)>,
    removed: Vec<ObjectId>,
    problems: Problems,
}

impl Schema {
    /// The standard objects with what a file asks for, where nothing is stored.
    pub fn standard_with(wanted: &Wanted) -> Result<Plan, RecordsError> {
        Planner::new(&standard(), BTreeMap::new()).plan(wanted)
    }
}

impl Planner {
    fn new(schema: &Schema, additions: BTreeMap<ObjectId, Additions>) -> Self {
        Planner {
            schema: schema.clone(),
            additions,
            touched: Vec::new(),
            steps: Vec::new(),
            renamed: Vec::new(),
            removed: Vec::new(),
            problems: Problems::default(),
        }
    }

    fn step(&mut self, change: &str, object: &str, name: &str, about: String) {
        self.steps.push(Step { change: change.into(), object: object.into(), name: name.into(), about });
    }

    fn plan(mut self, wanted: &Wanted) -> Result<Plan, RecordsError> {
        contradictions::find(wanted, &mut self.problems);
        // Objects first, so that relations may name those that come later in the file.
        for (i, object) in wanted.objects.iter().enumerate() {
            self.object(object, &format!("objects[{i}]"));
        }
        for (i, object) in wanted.objects.iter().enumerate() {
            self.members(object, &format!("objects[{i}]"));
        }
        for (i, name) in wanted.remove_objects.iter().enumerate() {
            self.remove_object(name, &format!("remove_objects[{i}]"));
        }
        for (i, view) in wanted.views.iter().enumerate() {
            if let Err(error) = self.schema.object(&view.object) {
                self.problems.push(Problem::new(format!("views[{i}].object"), error.to_string()));
            }
        }
        if !self.problems.is_empty() {
            return Err(RecordsError::Schema { problems: self.problems.into_list() });
        }
        let touched = std::mem::take(&mut self.touched);
        let additions = self.additions.into_iter().filter(|(id, _)| touched.contains(id)).collect();
        let customised = self.schema.customised || !touched.is_empty();
        Ok(Plan {
            steps: self.steps,
            schema: Arc::new(Schema { customised, ..self.schema }),
            additions,
            renamed: self.renamed,
            removed: self.removed,
        })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.schema.objects.iter().position(|object| object.name == name)
    }

    fn touch(&mut self, id: ObjectId) {
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
    }

    fn change(&self, at: usize) -> Change {
        let object = &self.schema.objects[at];
        Change::of(&self.schema, object.id, self.additions.get(&object.id).cloned().unwrap_or_default())
    }

    /// Takes over what was changed.
    fn keep(&mut self, at: usize, change: Change) {
        let id = change.object.id;
        if self.schema.objects[at].as_ref() != &change.object
            || self.additions.get(&id).is_some_and(|before| *before != change.additions)
        {
            self.touch(id);
        }
        self.additions.insert(id, change.additions);
        self.schema.objects[at] = Arc::new(change.object);
    }

    /// The object's fields, sets and indexes.
    fn members(&mut self, wanted: &WantedObject, path: &str) {
        let Some(at) = self.place(&wanted.name) else { return };
        let mut change = self.change(at);
        // Of a new object nothing is stored, so all is ready at once.
        let is_new =
            self.steps.iter().any(|step| step.change == "create_object" && step.object == wanted.name);
        let state = if is_new { IndexState::Ready } else { IndexState::Building };
        for (i, set) in wanted.remove.unique.iter().enumerate() {
            self.remove_unique(&mut change, set, &format!("{path}.remove.unique[{i}]"));
        }
        for (i, name) in wanted.remove.indexes.iter().enumerate() {
            self.remove_index(&mut change, name, &format!("{path}.remove.indexes[{i}]"));
        }
        for (i, field) in wanted.fields.iter().enumerate() {
            // What the file takes away it does not give by itself.
            let kept;
            let field = match field.indexed {
                None if wanted.remove.indexes.contains(&field.name) => {
                    kept = NewField { indexed: Some(false), ..field.clone() };
                    &kept
                }
                _ => field,
            };
            self.field(&mut change, field, state, &format!("{path}.fields[{i}]"));
        }
        for (i, name) in wanted.remove.fields.iter().enumerate() {
            self.remove_field(&mut change, name, &format!("{path}.remove.fields[{i}]"));
        }
        for (i, set) in wanted.unique.iter().enumerate() {
            if change.object.unique_set(set).is_none() {
                self.add_unique(&mut change, set, state, &format!("{path}.unique[{i}]"));
            }
        }
        for (i, name) in wanted.indexes.iter().enumerate() {
            self.add_index(&mut change, name, state, &format!("{path}.indexes[{i}]"));
        }
        self.keep(at, change);
    }
}
