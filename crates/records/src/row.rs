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

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, WorkspaceId};
use uuid::Uuid;

use crate::error::RecordsError;
use crate::schema::{FieldId, Member, Object, ObjectId, Path, System};
use crate::value::{InstantText, fill, id_text};
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

    /// What a record has of itself.
    pub fn system(&self, system: System) -> SystemValue {
        match system {
            System::Id => SystemValue::Id(self.id),
            System::CreatedAt => SystemValue::Instant(InstantText::of(created(self.id))),
            System::UpdatedAt => SystemValue::Instant(InstantText::of(self.updated)),
            System::DeletedAt => SystemValue::Instant(self.deleted.and_then(InstantText::of)),
            System::Version => SystemValue::Version(self.version),
        }
    }

    /// The record as people see it: every field by name, empty ones as null.
    pub fn into_flat(mut self, object: &Object) -> Value {
        let shape = object.shape();
        let mut record = shape.empty.clone();
        if self.deleted.is_some() {
            record.insert(System::DeletedAt.name().to_owned(), Value::Null);
        }
        for (value, (_, member)) in record.values_mut().zip(shape.members(self.deleted.is_some())) {
            match member {
                Member::Field(field) => fill(value, self.values.take(*field)),
                Member::System(system) => *value = self.system(*system).into(),
            }
        }
        Value::Object(record)
    }

    /// The record by names, without empty fields.
    pub fn sparse<'a>(&'a self, object: &'a Object) -> Sparse<'a> {
        Sparse { row: self, object }
    }
}

/// A record to be written as JSON, without its empty fields.
pub(crate) struct Sparse<'a> {
    row: &'a Row,
    object: &'a Object,
}

impl Sparse<'_> {
    /// The names of the fields that hold something, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.object.shape().members(false).filter_map(|(name, member)| match member {
            Member::Field(field) => self.row.values.get(*field).map(|_| name.as_str()),
            Member::System(_) => None,
        })
    }
}

impl Serialize for Sparse<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_map(None)?;
        for (name, member) in self.object.shape().members(self.row.deleted.is_some()) {
            match member {
                Member::Field(field) => {
                    if let Some(value) = self.row.values.get(*field) {
                        record.serialize_entry(name, value)?;
                    }
                }
                Member::System(system) => record.serialize_entry(name, &self.row.system(*system))?,
            }
        }
        record.end()
    }
}

/// A value that Stepwell itself gives a record.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum SystemValue {
    Id(Uuid),
    /// Nothing, too, outside the years that can be written.
    Instant(Option<InstantText>),
    Version(u64),
}

impl From<SystemValue> for Value {
    fn from(value: SystemValue) -> Value {
        match value {
            SystemValue::Id(id) => id_text(id).into(),
            SystemValue::Instant(instant) => instant.as_ref().map(InstantText::as_str).into(),
            SystemValue::Version(version) => version.into(),
        }
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

    #[test]
    fn a_name_that_two_fields_have_is_the_later_one_and_shifts_no_other() {
        let mut person = crate::Schema::standard().object("person").unwrap().as_ref().clone();
        let city = person.field("city").unwrap().clone();
        person.fields.push(crate::schema::Field { id: FieldId(1_000), ..city.clone() });
        let values = [(city.id, "Paris".into()), (FieldId(1_000), "Rome".into()), (FieldId(4), "CEO".into())];
        let row = Row {
            id: Uuid::nil(),
            version: 3,
            updated: 0,
            deleted: Some(0),
            values: values.into_iter().collect(),
        };
        let sparse = serde_json::to_value(row.sparse(&person)).unwrap();
        let flat = row.into_flat(&person);
        for record in [sparse, flat] {
            assert_eq!(
                (&record["city"], &record["jobTitle"], &record["version"]),
                (&"Rome".into(), &"CEO".into(), &3.into())
            );
            assert_eq!(record["deletedAt"], "1970-01-01T00:00:00.000Z");
        }
    }
}
