//! Who writes, and what every write tells: the record event.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::schema::Object;
use crate::value::expand;

/// What a write needs and must not find out by itself: the time, the id of a new record, and on whose behalf it is.
/// A write is a function of this, its arguments and what is stored, so doing it again gives the same.
#[derive(Clone, Debug)]
pub struct WriteContext {
    pub now: Timestamp,
    /// The id that a record gets if this write creates one: a UUID of version 7, whose time becomes `createdAt`.
    /// [`record_id`] makes one.
    pub new_id: Uuid,
    pub origin: Origin,
}

/// Who caused a write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `user`, `api_key` or `workflow`: shown, never interpreted.
    pub by: String,
    /// The id of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How many workflow runs lie between this write and the first cause.
    #[serde(default)]
    pub depth: u32,
}

/// A record's id: a UUID of version 7 from a time and ten bytes that make it unique, such as a hash of run and step.
pub fn record_id(now: Timestamp, unique: [u8; 10]) -> Uuid {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &unique).into_uuid()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Created,
    Updated,
    /// Everything was already as wanted: nothing was written and there is no event.
    Unchanged,
    Deleted,
    Restored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Created,
    Updated,
    Deleted,
    Restored,
}

/// One write of one record, for the workspace's log. Records are kept without their empty fields here;
/// [`after`](Self::after) and [`before`](Self::before) give them whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordEvent {
    pub kind: EventKind,
    /// The object's name at the time.
    pub object: String,
    pub id: Uuid,
    pub version: u64,
    /// The fields that this write changed, by name.
    pub fields: BTreeSet<String>,
    /// The record after the write; for `deleted` as it was last.
    record: Map<String, Value>,
    /// What the changed fields held before, null for what was empty; and the time of the write before.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    was: Map<String, Value>,
    pub origin: Origin,
}

impl RecordEvent {
    pub(crate) fn new(
        kind: EventKind,
        object: &Object,
        record: crate::row::Row,
        was: Map<String, Value>,
        origin: Origin,
    ) -> Self {
        let fields = match kind {
            EventKind::Updated => was.keys().filter(|name| *name != UPDATED).cloned().collect(),
            EventKind::Created => record.named_fields(object).map(|(name, _)| name.to_owned()).collect(),
            EventKind::Deleted | EventKind::Restored => BTreeSet::new(),
        };
        RecordEvent {
            kind,
            object: object.name.clone(),
            id: record.id,
            version: record.version,
            fields,
            record: record.into_sparse(object),
            was,
            origin,
        }
    }

    /// The whole record after the write, as a read would give it; null after a deletion.
    pub fn after(&self, object: &Object) -> Value {
        match self.kind {
            EventKind::Deleted => Value::Null,
            _ => filled(object, self.record.clone()),
        }
    }

    /// The whole record before the write; null where there was none.
    pub fn before(&self, object: &Object) -> Value {
        match self.kind {
            EventKind::Created | EventKind::Restored => Value::Null,
            EventKind::Deleted | EventKind::Updated => {
                let mut before = self.record.clone();
                before.extend(self.was.iter().map(|(name, value)| (name.clone(), value.clone())));
                before.insert("version".into(), self.version.saturating_sub(1).into());
                before.remove("deletedAt");
                filled(object, before)
            }
        }
    }
}

/// Every write changes it, so it is none of the fields that changed.
const UPDATED: &str = "updatedAt";

/// What an event says of the write before, beside the fields.
pub(crate) fn was_updated(was: &mut Map<String, Value>, before: i64) {
    was.insert(UPDATED.into(), crate::value::instant_value(before));
}

/// The record with every field of the object, the empty ones as null.
fn filled(object: &Object, mut record: Map<String, Value>) -> Value {
    for field in &object.fields {
        let value = expand(&field.kind, record.get(&field.name).filter(|value| !value.is_null()));
        record.insert(field.name.clone(), value);
    }
    Value::Object(record)
}

/// What a write did.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The record, flat: `id`, its fields, `createdAt`, `updatedAt`, `version`; `deletedAt` if it is deleted.
    pub record: Value,
    pub outcome: Outcome,
    /// To be appended to the workspace's log by whoever commits; none if nothing changed.
    pub event: Option<RecordEvent>,
}
