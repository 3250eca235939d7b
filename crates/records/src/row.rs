//! A stored record: its key, its bytes, and the flat JSON that people see.
//!
//! ```text
//! Records | object: u32 | state: u8 (0 live, 1 deleted) | id: 16   ->   format: u8 | JSON
//! ```
//!
//! Ids are UUIDs of version 7, so the live records of an object lie in the order of their creation, and lists never
//! come upon deleted ones.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};
use uuid::Uuid;

use crate::error::RecordsError;
use crate::schema::{FieldId, Object, ObjectId, Path};
use crate::value::{expand, instant_value};
use crate::values::Values;

/// The first byte of a row: how the rest is to be read.
const FORMAT: u8 = 1;

/// A record's row may have this many bytes; the store's own limit is higher, but a record is no place for files.
pub(crate) const MAX_ROW_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    Deleted,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub id: Uuid,
    pub version: u64,
    pub updated: i64,
    pub deleted: Option<i64>,
    pub values: Values,
}

#[derive(Serialize, Deserialize)]
struct Stored<F> {
    v: u64,
    u: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<i64>,
    f: F,
}

pub(crate) fn key(workspace: WorkspaceId, object: ObjectId, life: Life, id: Uuid) -> Key {
    object_key(workspace, object, life).fixed(id.as_bytes()).build()
}

pub(crate) fn object_key(workspace: WorkspaceId, object: ObjectId, life: Life) -> KeyBuilder {
    let state = match life {
        Life::Live => 0,
        Life::Deleted => 1,
    };
    KeyBuilder::new(Space::Records, workspace).u32(object.0).u8(state)
}

/// All records of an object, in the order of their creation.
pub(crate) fn range(workspace: WorkspaceId, object: ObjectId, life: Life) -> Range<Key> {
    object_key(workspace, object, life).prefix()
}

/// The id at the end of a record's or an index entry's key.
pub(crate) fn id_in(key: &Key) -> Result<Uuid, RecordsError> {
    let id = key.len().checked_sub(16).and_then(|at| Uuid::from_slice(&key[at..]).ok());
    id.ok_or_else(|| RecordsError::Damaged(format!("the key `{key}` ends in no id")))
}

/// The time in an id of version 7, in milliseconds.
pub(crate) fn created(id: Uuid) -> i64 {
    (id.as_u128() >> 80) as i64
}

/// Reads a row of which some field cannot be read, such as JSON nested deeper than a reader goes: that field is then
/// its JSON as a text. One value must not hide a record, nor a record all that a search would find.
fn field_by_field(json: &[u8]) -> Result<Stored<Values>, serde_json::Error> {
    let Stored { v, u, d, f }: Stored<BTreeMap<FieldId, Box<RawValue>>> = serde_json::from_slice(json)?;
    let read = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().into());
    Ok(Stored { v, u, d, f: f.into_iter().map(|(field, raw)| (field, read(&raw))).collect() })
}

impl Row {
    pub fn decode(id: Uuid, bytes: &[u8]) -> Result<Row, RecordsError> {
        let damaged = |why: String| RecordsError::Damaged(format!("record {id}: {why}"));
        match bytes.split_first() {
            Some((&FORMAT, json)) => {
                let Stored { v, u, d, f } = serde_json::from_slice(json)
                    .or_else(|_| field_by_field(json))
                    .map_err(|error| damaged(error.to_string()))?;
                Ok(Row { id, version: v, updated: u, deleted: d, values: f })
            }
            Some((format, _)) => {
                Err(damaged(format!("format {format} is not known here; it was written by a newer version")))
            }
            None => Err(damaged("it has no bytes".into())),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored { v: self.version, u: self.updated, d: self.deleted, f: &self.values };
        let mut bytes = Vec::with_capacity(256);
        bytes.push(FORMAT);
        serde_json::to_writer(&mut bytes, &stored)
            .expect("a map with text keys always serialises, and a Vec takes it");
        bytes
    }

    pub fn get(&self, path: &Path) -> &Value {
        let value = self.values.get(path.field).unwrap_or(&Value::Null);
        match &path.part {
            None => value,
            Some(part) => value.get(part).unwrap_or(&Value::Null),
        }
    }

    /// The fields that hold something, by name.
    pub fn named_fields<'a>(&'a self, object: &'a Object) -> impl Iterator<Item = (&'a str, &'a Value)> {
        object.fields.iter().filter_map(|field| Some((field.name.as_str(), self.values.get(field.id)?)))
    }

    fn system(&self, record: &mut Map<String, Value>) {
        record.insert("id".into(), self.id.to_string().into());
        record.insert("createdAt".into(), instant_value(created(self.id)));
        record.insert("updatedAt".into(), instant_value(self.updated));
        record.insert("version".into(), self.version.into());
        if let Some(deleted) = self.deleted {
            record.insert("deletedAt".into(), instant_value(deleted));
        }
    }

    /// The record as people see it: every field by name, empty ones as null.
    pub fn flat(&self, object: &Object) -> Value {
        let mut record = Map::new();
        for field in &object.fields {
            let stored = self.values.get(field.id);
            record.insert(field.name.clone(), expand(&field.kind, stored));
        }
        self.system(&mut record);
        Value::Object(record)
    }

    /// The record by names, without empty fields.
    pub fn into_sparse(mut self, object: &Object) -> Map<String, Value> {
        let mut values = std::mem::take(&mut self.values);
        let named =
            object.fields.iter().filter_map(|field| Some((field.name.clone(), values.take(field.id)?)));
        let mut record: Map<String, Value> = named.collect();
        self.system(&mut record);
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_too_deep_to_be_read_is_a_text_and_hides_nothing() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let stored = format!(r#"{{"v":3,"u":7,"f":{{"1":"Ann","2":{deep}}}}}"#);
        let row = Row::decode(Uuid::nil(), &[&[FORMAT], stored.as_bytes()].concat()).unwrap();
        assert_eq!((row.version, row.updated), (3, 7));
        assert_eq!(row.values.get(FieldId(1)), Some(&"Ann".into()));
        assert_eq!(row.values.get(FieldId(2)), Some(&deep.into()));
        assert!(Row::decode(Uuid::nil(), &[FORMAT, b'{']).is_err());
    }
}
