//! How the records of an object look as JSON: worked out once, not for every record.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::field::FieldId;
use super::object::{Object, System};
use crate::value::expand;

pub(crate) struct Shape {
    /// A record with nothing in it.
    pub empty: Map<String, Value>,
    members: Vec<(String, Member)>,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Field(FieldId),
    System(System),
}

/// An object's shape once it was asked for.
#[derive(Default)]
pub(crate) struct Prepared(OnceLock<Shape>);

impl Shape {
    /// What a record has, in the order of the names; only a deleted one has the time of that.
    pub fn members(&self, deleted: bool) -> impl Iterator<Item = &(String, Member)> {
        let has = move |member: &Member| deleted || *member != Member::System(System::DeletedAt);
        self.members.iter().filter(move |(_, member)| has(member))
    }
}

impl Object {
    pub(crate) fn shape(&self) -> &Shape {
        self.prepared.0.get_or_init(|| {
            let fields = self.fields.iter().map(|field| (field.name.clone(), Member::Field(field.id)));
            let system = System::ALL.map(|system| (system.name().to_owned(), Member::System(system)));
            let members: BTreeMap<_, _> = fields.chain(system).collect();
            let mut empty: Map<String, Value> =
                self.fields.iter().map(|field| (field.name.clone(), expand(&field.kind, None))).collect();
            for system in System::ALL.into_iter().filter(|system| *system != System::DeletedAt) {
                empty.insert(system.name().to_owned(), Value::Null);
            }
            Shape { empty, members: members.into_iter().collect() }
        })
    }
}

/// A copy may be changed, so it works its own out.
impl Clone for Prepared {
    fn clone(&self) -> Self {
        Prepared::default()
    }
}

impl PartialEq for Prepared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}
