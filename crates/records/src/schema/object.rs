//! Objects: their fields, unique sets and indexes, and how a name like `emails.primaryEmail` is found.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::field::{Field, FieldId, Kind, ObjectId};
use super::shape::Prepared;
use crate::nearest::nearest;
use crate::problems::{clipped, listing};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub id: ObjectId,
    /// As records are addressed by it: `person`.
    pub name: String,
    /// As lists of it are called: `people`.
    pub plural: String,
    pub label: String,
    /// Made in this workspace, not standard.
    #[serde(default)]
    pub custom: bool,
    pub fields: Vec<Field>,
    /// Each set of fields identifies at most one record.
    #[serde(default)]
    pub unique: Vec<Unique>,
    #[serde(default)]
    pub indexes: Vec<Index>,
    #[serde(skip)]
    pub(crate) prepared: Prepared,
}

/// A set of paths whose values together belong to one record only. A record in which one of them is empty takes no
/// place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    pub id: u32,
    pub paths: Vec<Path>,
    pub state: IndexState,
    /// Why it was given up: the records that have the same values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Those records, the first of them, two by two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<[Uuid; 2]>,
}

impl Unique {
    /// Records contradict it.
    pub fn is_given_up(&self) -> bool {
        matches!(self.state, IndexState::Refused | IndexState::Clearing) && self.problem.is_some()
    }
}

/// An order of the object's records by one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub id: u32,
    pub path: Path,
    pub state: IndexState,
    /// Whether records in which the path is empty are in it too, behind the others. Then all records can be sorted by
    /// it; it costs every record a key. Relations are looked up and not sorted by, so theirs do without.
    #[serde(default)]
    pub empties: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// Every write keeps it up; records from before it may be missing, so no search uses it.
    Building,
    Ready,
    /// Given up: nothing keeps it up any more, and its keys are being deleted.
    Clearing,
    /// A unique set that records contradicted; it is kept to say so until it is removed or tried again.
    Refused,
}

impl IndexState {
    /// Whether writes keep it up.
    pub fn is_kept(self) -> bool {
        matches!(self, IndexState::Building | IndexState::Ready)
    }

    pub fn name(self) -> &'static str {
        match self {
            IndexState::Building => "building",
            IndexState::Ready => "ready",
            IndexState::Clearing => "clearing",
            IndexState::Refused => "refused",
        }
    }
}

/// A field or a part of one, by what it is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    pub field: FieldId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// What a name in a filter, a sort or a `match` turned out to mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Target<'o> {
    /// `id`, `createdAt`, `updatedAt`, `deletedAt`, `version`: every record has them.
    System(System),
    Field {
        field: &'o Field,
        /// The part of a composite field, with its kind.
        part: Option<(&'static str, Kind)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Id,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
    Version,
}

impl System {
    pub const ALL: [System; 5] =
        [System::Id, System::CreatedAt, System::UpdatedAt, System::DeletedAt, System::Version];

    pub fn name(self) -> &'static str {
        match self {
            System::Id => "id",
            System::CreatedAt => "createdAt",
            System::UpdatedAt => "updatedAt",
            System::DeletedAt => "deletedAt",
            System::Version => "version",
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            System::Id => Kind::Uuid,
            System::CreatedAt | System::UpdatedAt | System::DeletedAt => Kind::DateTime,
            System::Version => Kind::Integer,
        }
    }
}

/// A name that an object does not have, with the name that was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    pub message: String,
    pub hint: Option<String>,
}

impl Target<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Target::System(system) => system.kind(),
            Target::Field { part: Some((_, kind)), .. } => *kind,
            Target::Field { field, part: None } => field.kind.kind(),
        }
    }

    /// The stored path; system values have none.
    pub fn path(&self) -> Option<Path> {
        match self {
            Target::System(_) => None,
            Target::Field { field, part } => {
                Some(Path { field: field.id, part: part.map(|(name, _)| name.to_owned()) })
            }
        }
    }

    /// Whether it is what is stored at `path`.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        match self {
            Target::System(_) => false,
            Target::Field { field, part } => {
                field.id == path.field && part.map(|(name, _)| name) == path.part.as_deref()
            }
        }
    }

    /// What the values are, in words, with the options of a select.
    pub fn described(&self) -> String {
        match self {
            Target::Field { field, part: None } if field.kind.options().is_some() => {
                let options = listing(field.kind.options().unwrap_or_default());
                if self.kind().is_list() {
                    format!("a list of {options}")
                } else {
                    format!("one of {options}")
                }
            }
            _ => self.kind().described().to_owned(),
        }
    }
}

impl Object {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub fn field_by_id(&self, id: FieldId) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// What `name` means on this object: a field, a part of one (`name.firstName`), or what every record has.
    pub fn target(&self, name: &str) -> Result<Target<'_>, UnknownName> {
        if let Some(system) = System::ALL.into_iter().find(|system| system.name() == name) {
            return Ok(Target::System(system));
        }
        let (head, rest) = match name.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (name, None),
        };
        let Some(field) = self.field(head) else {
            return Err(self.unknown_field(head));
        };
        let Some(rest) = rest else {
            return Ok(Target::Field { field, part: None });
        };
        match field.kind.parts().iter().find(|(part, _)| *part == rest) {
            Some(part) => Ok(Target::Field { field, part: Some(*part) }),
            None => Err(unknown_part(&self.name, field, rest)),
        }
    }

    pub(crate) fn unknown_field(&self, name: &str) -> UnknownName {
        let known = self.fields.iter().map(|field| field.name.as_str());
        // A part without its field (`primaryEmail`) is the other common slip.
        let part = self.fields.iter().find_map(|field| {
            let (part, _) = field.kind.parts().iter().find(|(part, _)| *part == name)?;
            Some(format!("did you mean `{}.{part}`?", field.name))
        });
        let system = System::ALL.iter().map(|system| system.name());
        let hint = part.unwrap_or_else(|| match nearest(name, known.clone().chain(system)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its fields are {}", listing(known)),
        });
        UnknownName { message: format!("{} has no field `{}`", self.name, clipped(name)), hint: Some(hint) }
    }

    /// The name of a stored path, as people write it.
    pub fn path_name(&self, path: &Path) -> String {
        let field = self.field_by_id(path.field).map_or("?", |field| field.name.as_str());
        match &path.part {
            Some(part) => [field, ".", part].concat(),
            None => field.to_owned(),
        }
    }

    /// The kind of a stored path.
    pub fn path_kind(&self, path: &Path) -> Option<Kind> {
        let field = self.field_by_id(path.field)?;
        match &path.part {
            None => Some(field.kind.kind()),
            Some(part) => field.kind.parts().iter().find(|(name, _)| name == part).map(|(_, kind)| *kind),
        }
    }

    /// The unique set of exactly these names, in any order, unless it was given up.
    pub fn unique_set(&self, names: &[String]) -> Option<&Unique> {
        self.unique.iter().find(|unique| unique.state.is_kept() && self.is_set(unique, names))
    }

    /// Whether a set is of exactly these names, in any order.
    pub(crate) fn is_set(&self, unique: &Unique, names: &[String]) -> bool {
        // A set names each path once.
        unique.paths.len() == names.len()
            && unique.paths.iter().all(|path| names.iter().any(|name| self.is_name_of(path, name)))
    }

    fn is_name_of(&self, path: &Path, name: &str) -> bool {
        let (field, part) = match name.split_once('.') {
            Some((field, part)) => (field, Some(part)),
            None => (name, None),
        };
        path.part.as_deref() == part && self.field_by_id(path.field).is_some_and(|held| held.name == field)
    }

    /// Whether a set is one of those named.
    pub fn is_one_of(&self, unique: &Unique, sets: &[Vec<String>]) -> bool {
        sets.iter().any(|names| self.is_set(unique, names))
    }

    pub fn unique_names(&self, unique: &Unique) -> Vec<String> {
        unique.paths.iter().map(|path| self.path_name(path)).collect()
    }
}

pub(crate) fn unknown_part(object: &str, field: &Field, part: &str) -> UnknownName {
    let parts = field.kind.parts();
    if parts.is_empty() {
        let message = format!("`{}` of {object} is a {} field, without parts", field.name, field.kind.name());
        return UnknownName { message, hint: Some(format!("write `{}`", field.name)) };
    }
    let names = parts.iter().map(|(name, _)| *name);
    let hint = match nearest(part, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its parts are {}", listing(names)),
    };
    UnknownName {
        message: format!("`{}` of {object} has no part `{}`", field.name, clipped(part)),
        hint: Some(hint),
    }
}
