//! The schema as it is kept: for each object a row with what this workspace added to it.
//!
//! ```text
//! Objects | object: u32   ->   JSON of [`Additions`]
//! ```
//!
//! Standard objects come from the program, so a new version of it can add fields to them; a workspace without
//! additions has no rows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::limits::MAX_VALUE_BYTES;
use stepwell_store::{Key, Txn, WorkspaceId};

use super::field::{Field, ObjectId};
use super::object::{Index, Object, Unique};
use super::{Schema, standard};
use crate::error::{Problem, RecordsError};

/// Objects that one workspace may have.
pub(super) const MAX_OBJECTS: usize = 300;

/// With those that were taken away.
const MAX_ROWS: usize = 10_000;

/// What a workspace added to an object; for an object of its own, all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Additions {
    /// Name, plural and label of an object of the workspace's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Naming>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Unique>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// The highest number that a set or index of it ever had: their keys may outlive them for a while.
    #[serde(default)]
    pub last_id: u32,
    /// The same of its fields.
    #[serde(default)]
    pub last_field: u32,
    /// It was taken away; its number stays taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Naming {
    pub name: String,
    pub plural: String,
    pub label: String,
}

pub(super) fn key(workspace: WorkspaceId, object: ObjectId) -> Key {
    KeyBuilder::new(Space::Objects, workspace).u32(object.0).build()
}

fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Objects, workspace).prefix()
}

impl Additions {
    fn apply(self, id: ObjectId, standard: Option<&Object>) -> Option<Object> {
        let mut object = match (standard, self.own) {
            (Some(standard), _) => standard.clone(),
            (None, Some(Naming { name, plural, label })) => Object {
                id,
                name,
                plural,
                label,
                custom: true,
                fields: Vec::new(),
                unique: Vec::new(),
                indexes: Vec::new(),
                prepared: Default::default(),
            },
            (None, None) => return None,
        };
        object.fields.extend(self.fields);
        object.unique.extend(self.unique);
        object.indexes.extend(self.indexes);
        Some(object)
    }
}

impl Schema {
    /// The workspace's schema; the commit rests on it, so a write never misses a new index or unique set.
    pub async fn load(txn: &mut Txn, workspace: WorkspaceId) -> Result<Arc<Schema>, RecordsError> {
        let rows = txn.range(all(workspace), MAX_ROWS, false).await?;
        if rows.is_empty() {
            return Ok(standard());
        }
        let mut objects = standard().objects.clone();
        let mut last_object = standard().last_object;
        for (key, value) in rows {
            let damaged = |why: String| RecordsError::Damaged(format!("the object in `{key}`: {why}"));
            let id =
                KeyReader::new(&key).and_then(|mut key| key.u32()).map_err(|e| damaged(e.to_string()))?;
            let additions: Additions = serde_json::from_slice(&value).map_err(|e| damaged(e.to_string()))?;
            last_object = last_object.max(id);
            if additions.removed {
                continue;
            }
            let id = ObjectId(id);
            let at = objects.iter().position(|object| object.id == id);
            let object = additions
                .apply(id, at.map(|at| objects[at].as_ref()))
                .ok_or_else(|| damaged("it is not standard and has no name".into()))?;
            match at {
                Some(at) => objects[at] = Arc::new(object),
                None => objects.push(Arc::new(object)),
            }
        }
        Ok(Arc::new(Schema { objects, customised: true, last_object }))
    }
}

/// What is stored of all objects' additions; the commit rests on it.
pub(super) async fn all_additions(
    txn: &mut Txn,
    workspace: WorkspaceId,
) -> Result<BTreeMap<ObjectId, Additions>, RecordsError> {
    let rows = txn.range(all(workspace), MAX_ROWS, false).await?;
    rows.iter()
        .map(|(key, value)| {
            let damaged = |why: String| RecordsError::Damaged(format!("the object in `{key}`: {why}"));
            let id = KeyReader::new(key).and_then(|mut key| key.u32()).map_err(|e| damaged(e.to_string()))?;
            let additions = serde_json::from_slice(value).map_err(|e| damaged(e.to_string()))?;
            Ok((ObjectId(id), additions))
        })
        .collect()
}

/// What is stored of an object's additions; the commit rests on it.
pub(super) async fn additions(
    txn: &mut Txn,
    workspace: WorkspaceId,
    object: ObjectId,
) -> Result<Additions, RecordsError> {
    let key = key(workspace, object);
    match txn.get(&key).await? {
        None => Ok(Additions::default()),
        Some(value) => serde_json::from_slice(&value)
            .map_err(|error| RecordsError::Damaged(format!("the object in `{key}`: {error}"))),
    }
}

pub(super) fn save(
    txn: &mut Txn,
    workspace: WorkspaceId,
    object: ObjectId,
    additions: &Additions,
) -> Result<(), RecordsError> {
    let bytes = serde_json::to_vec(additions).map_err(|error| RecordsError::Misuse(error.to_string()))?;
    if bytes.len() > MAX_VALUE_BYTES {
        let name = additions.own.as_ref().map_or("", |own| &own.name);
        let message = format!(
            "the definition of the object {name} would take {} bytes, at most {MAX_VALUE_BYTES}",
            bytes.len()
        );
        let problem = Problem::new("", message).hint("shorter defaults, options and labels, or fewer fields");
        return Err(RecordsError::Schema { problems: vec![problem] });
    }
    txn.put(key(workspace, object), bytes);
    Ok(())
}
