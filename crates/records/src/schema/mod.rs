//! What a workspace's records look like: the standard objects, and what was added to them.
//!
//! Stored data name objects, fields, sets and indexes by number; names live only here, so a rename touches no record.

mod change;
mod checks;
mod contradictions;
mod describe;
mod field;
mod object;
mod plan;
#[cfg(test)]
mod relation_tests;
mod shape;
mod standard;
mod stored;
#[cfg(test)]
mod tests;
mod wanted;

use std::sync::Arc;

pub(crate) use change::Contradicted;
pub use change::{NewField, NewObject};
pub use field::{Field, FieldId, FieldType, Kind, ObjectId, Part};
pub(crate) use object::unknown_part;
pub use object::{Index, IndexState, Object, Path, System, Target, Unique, UnknownName};
pub use plan::{Plan, Step};
pub(crate) use shape::Member;
pub use standard::{COMPANY, NOTE, NOTE_TARGET, OPPORTUNITY, PERSON, TASK, TASK_TARGET, standard};
pub use wanted::{Removed, Wanted, WantedObject, WantedView};

use crate::error::RecordsError;
use crate::nearest::nearest;

/// All objects of a workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub(crate) objects: Vec<Arc<Object>>,
    /// Whether anything was added to the standard objects.
    pub(crate) customised: bool,
    /// The highest number that an object ever had: that of one taken away is not given again.
    pub(crate) last_object: u32,
}

impl Schema {
    /// The standard objects alone.
    pub fn standard() -> Arc<Schema> {
        standard()
    }

    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter()
    }

    /// Whether anything was added to the standard objects.
    pub fn is_customised(&self) -> bool {
        self.customised
    }

    /// The object of this name, singular or plural.
    pub fn object(&self, name: &str) -> Result<&Arc<Object>, RecordsError> {
        if let Some(object) = self.objects.iter().find(|o| o.name == name || o.plural == name) {
            return Ok(object);
        }
        let known = self.objects.iter().map(|object| object.name.as_str());
        let plurals = self.objects.iter().map(|object| object.plural.as_str());
        let hint = match nearest(name, known.clone().chain(plurals)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("objects are {}", crate::problems::listing(known)),
        };
        Err(RecordsError::UnknownObject { name: name.to_owned(), hint: Some(hint) })
    }

    pub fn object_by_id(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.objects.iter().find(|object| object.id == id)
    }

    /// The name of an object, for messages about relations.
    pub(crate) fn name_of(&self, id: ObjectId) -> String {
        self.object_by_id(id).map_or_else(|| format!("object {}", id.0), |object| object.name.clone())
    }
}
