//! Who writes, and what every write tells: the record event.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::row::{Row, Sparse};
use crate::schema::Object;
use crate::value::{InstantText, expand};

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

/// One write of one record, as it is read from [`EventJson`]. Records are kept without their empty fields there;
/// [`after`](Self::after) and [`before`](Self::before) give them whole.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
    #[serde(default)]
    was: Map<String, Value>,
    pub origin: Origin,
}

/// A [`RecordEvent`] as the workspace's log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventJson(Vec<u8>);

impl EventJson {
    pub(crate) fn new(
        kind: EventKind,
        object: &Object,
        row: &Row,
        was: &Map<String, Value>,
        origin: &Origin,
    ) -> EventJson {
        /// The same members as [`RecordEvent`]'s, in the same order.
        #[derive(Serialize)]
        struct Told<'a> {
            kind: EventKind,
            object: &'a str,
            id: Uuid,
            version: u64,
            fields: Vec<&'a str>,
            record: &'a Sparse<'a>,
            #[serde(skip_serializing_if = "Map::is_empty")]
            was: &'a Map<String, Value>,
            origin: &'a Origin,
        }
        let record = row.sparse(object);
        let fields = match kind {
            EventKind::Updated => was.keys().map(String::as_str).filter(|name| *name != UPDATED).collect(),
            EventKind::Created => record.names().collect(),
            EventKind::Deleted | EventKind::Restored => Vec::new(),
        };
        let (object, id, version) = (object.name.as_str(), row.id, row.version);
        let told = Told { kind, object, id, version, fields, record: &record, was, origin };
        let mut json = Vec::with_capacity(1024);
        serde_json::to_writer(&mut json, &told)
            .expect("maps with text keys always serialise, and a Vec takes them");
        EventJson(json)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl RecordEvent {
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
    let before = InstantText::of(before);
    was.insert(UPDATED.into(), before.as_ref().map(InstantText::as_str).into());
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
    pub event: Option<EventJson>,
}
