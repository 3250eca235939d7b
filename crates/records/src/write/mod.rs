//! Writes: create, update, delete, restore, upsert. Each checks everything first and then writes all or nothing.

mod apply;
mod fields;
mod guard;
#[cfg(test)]
mod interleaving;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::RecordsError;
use crate::event::{EventKind, Outcome, RecordEvent, WriteContext, Written, was_updated};
use crate::index;
use crate::problems::{joined, listing};
use crate::records::{Records, parse_id};
use crate::row::{Life, Row};
use crate::schema::{IndexState, Object};

use guard::check_version;
pub use guard::{Guard, Unchanged};

/// What an upsert is told beside the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upsert<'a> {
    /// The paths of one declared unique set.
    pub match_on: &'a [String],
    /// Fields of the record (or parts of them) that are written only if it is new.
    pub create_only: &'a [String],
    pub if_version: Option<u64>,
}

impl Records<'_> {
    /// A new record with the context's id.
    pub async fn create(
        &mut self,
        context: &WriteContext,
        object: &str,
        record: &Map<String, Value>,
    ) -> Result<Written, RecordsError> {
        let object = self.object(object)?;
        let fields = fields::for_create(&object, record)?;
        self.insert(context, &object, fields).await
    }

    async fn insert(
        &mut self,
        context: &WriteContext,
        object: &Object,
        fields: Map<String, Value>,
    ) -> Result<Written, RecordsError> {
        if context.new_id.get_version_num() != 7 {
            let message = format!("the id {} of a new record is not a UUID of version 7", context.new_id);
            return Err(RecordsError::Misuse(message));
        }
        let updated = context.now.as_millisecond();
        let row = Row { id: context.new_id, version: 1, updated, deleted: None, fields };
        if self.load(object, Life::Live, row.id).await?.is_some() {
            let message = format!("the id {} was given to two new records of {}", row.id, object.name);
            return Err(RecordsError::Misuse(message));
        }
        self.apply(object, None, Some(&row)).await?;
        Ok(written(context, object, EventKind::Created, row, Map::new()))
    }

    /// Changes the fields given: null clears one, the parts of a composite field are merged, the rest stays.
    pub async fn update(
        &mut self,
        context: &WriteContext,
        object: &str,
        id: &str,
        changes: &Map<String, Value>,
        guard: impl Into<Guard<'_>>,
    ) -> Result<Written, RecordsError> {
        let object = self.object(object)?;
        let id = parse_id(&object, id)?;
        let row = self.live(&object, id).await?;
        self.change(context, &object, row, changes, guard.into()).await
    }

    async fn change(
        &mut self,
        context: &WriteContext,
        object: &Object,
        before: Row,
        changes: &Map<String, Value>,
        guard: Guard<'_>,
    ) -> Result<Written, RecordsError> {
        check_version(object, &before, guard.if_version)?;
        if let Some(unchanged) = guard.if_unchanged {
            unchanged.check(object, &before, changes)?;
        }
        let fields = fields::for_update(object, &before.fields, changes)?;
        let mut was = fields::difference(object, &before.fields, &fields);
        if was.is_empty() {
            return Ok(unchanged(object, &before));
        }
        was_updated(&mut was, before.updated);
        let (version, updated) = (before.version + 1, later(context, &before));
        let row = Row { id: before.id, version, updated, deleted: before.deleted, fields };
        self.apply(object, Some(&before), Some(&row)).await?;
        Ok(written(context, object, EventKind::Updated, row, was))
    }

    /// Deletes softly: the record leaves every list, index and unique set, and can be restored. Deleting a deleted one
    /// changes nothing.
    pub async fn delete(
        &mut self,
        context: &WriteContext,
        object: &str,
        id: &str,
        if_version: Option<u64>,
    ) -> Result<Written, RecordsError> {
        let object = self.object(object)?;
        let id = parse_id(&object, id)?;
        let Some(before) = self.load(&object, Life::Live, id).await? else {
            return match self.load(&object, Life::Deleted, id).await? {
                Some(deleted) => {
                    check_version(&object, &deleted, if_version)?;
                    Ok(unchanged(&object, &deleted))
                }
                None => Err(RecordsError::NotFound { object: object.name.clone(), id, deleted: false }),
            };
        };
        check_version(&object, &before, if_version)?;
        let updated = later(context, &before);
        let row = Row { version: before.version + 1, updated, deleted: Some(updated), ..before.clone() };
        self.apply(&object, Some(&before), Some(&row)).await?;
        let mut was = Map::new();
        was_updated(&mut was, before.updated);
        Ok(written(context, &object, EventKind::Deleted, row, was))
    }

    /// Brings a deleted record back, with the place it had in unique sets: `unique_conflict` if that is taken.
    pub async fn restore(
        &mut self,
        context: &WriteContext,
        object: &str,
        id: &str,
        if_version: Option<u64>,
    ) -> Result<Written, RecordsError> {
        let object = self.object(object)?;
        let id = parse_id(&object, id)?;
        let Some(before) = self.load(&object, Life::Deleted, id).await? else {
            return match self.load(&object, Life::Live, id).await? {
                Some(live) => {
                    check_version(&object, &live, if_version)?;
                    Ok(unchanged(&object, &live))
                }
                None => Err(RecordsError::NotFound { object: object.name.clone(), id, deleted: false }),
            };
        };
        check_version(&object, &before, if_version)?;
        let updated = later(context, &before);
        let row = Row { version: before.version + 1, updated, deleted: None, ..before.clone() };
        self.apply(&object, Some(&before), Some(&row)).await?;
        Ok(written(context, &object, EventKind::Restored, row, Map::new()))
    }

    /// Updates the record that has the given values in a unique set, or creates it: one record however many do it at
    /// once, because the commit rests on the unique key.
    pub async fn upsert(
        &mut self,
        context: &WriteContext,
        object: &str,
        record: &Map<String, Value>,
        upsert: Upsert<'_>,
    ) -> Result<Written, RecordsError> {
        let object = self.object(object)?;
        let found = self.matching(&object, record, upsert.match_on).await?;
        let changes = fields::without(&object, record, upsert.create_only)?;
        match found {
            Some(row) => self.change(context, &object, row, &changes, upsert.if_version.into()).await,
            None if upsert.if_version.is_some() => {
                let message = "there is no such record, and `if_version` asks for one".to_owned();
                let hint = Some("leave `if_version` out to create it".to_owned());
                Err(RecordsError::Match { object: object.name.clone(), message, hint })
            }
            None => {
                let fields = fields::for_create(&object, record)?;
                self.insert(context, &object, fields).await
            }
        }
    }

    /// The record that has these values in the set named; the commit rests on the answer.
    async fn matching(
        &mut self,
        object: &Object,
        record: &Map<String, Value>,
        names: &[String],
    ) -> Result<Option<Row>, RecordsError> {
        let mismatch = |message: String, hint: Option<String>| {
            Err(RecordsError::Match { object: object.name.clone(), message, hint })
        };
        let Some(unique) = object.unique_set(names) else {
            let sets: Vec<_> = object
                .unique
                .iter()
                .map(|unique| format!("[{}]", object.unique_names(unique).join(", ")))
                .collect();
            let hint = match sets.as_slice() {
                [] => format!("{} has no unique fields; add a unique set to it", object.name),
                sets => format!("its unique sets are {}", joined(sets, " and ")),
            };
            return mismatch(format!("[{}] is no unique set", listing(names)), Some(hint));
        };
        if unique.state == IndexState::Building {
            let message = format!("the unique set [{}] is still being built", names.join(", "));
            return mismatch(message, Some("try again when it is ready".into()));
        }
        let probe = Row {
            id: Uuid::nil(),
            version: 0,
            updated: 0,
            deleted: None,
            fields: fields::for_match(object, record)?,
        };
        if let Some(path) = unique.paths.iter().find(|path| crate::value::is_missing(Some(probe.get(path)))) {
            let message = format!("the record has no `{}`", object.path_name(path));
            return mismatch(message, Some("every field of `match` needs a value".into()));
        }
        let Some(key) = index::unique_key(self.workspace, object, unique, &probe) else {
            return mismatch(format!("[{}] has no value to match", names.join(", ")), None);
        };
        let Some(value) = self.txn.get(&key).await? else { return Ok(None) };
        let id = index::id_of_unique(&key, &value)?;
        match self.load(object, Life::Live, id).await? {
            Some(row) => Ok(Some(row)),
            // Either the two were read at two moments, which the transaction's validation tells, or it is so.
            None => {
                Err(RecordsError::Damaged(format!("`{key}` names {} {id}, which is not there", object.name)))
            }
        }
    }

    async fn live(&mut self, object: &Object, id: Uuid) -> Result<Row, RecordsError> {
        if let Some(row) = self.load(object, Life::Live, id).await? {
            return Ok(row);
        }
        let deleted = self.load(object, Life::Deleted, id).await?.is_some();
        Err(RecordsError::NotFound { object: object.name.clone(), id, deleted })
    }
}

/// A record's time never goes back, whatever the clock does.
fn later(context: &WriteContext, before: &Row) -> i64 {
    context.now.as_millisecond().max(before.updated)
}

fn written(
    context: &WriteContext,
    object: &Object,
    kind: EventKind,
    row: Row,
    was: Map<String, Value>,
) -> Written {
    let outcome = match kind {
        EventKind::Created => Outcome::Created,
        EventKind::Updated => Outcome::Updated,
        EventKind::Deleted => Outcome::Deleted,
        EventKind::Restored => Outcome::Restored,
    };
    let record = row.flat(object);
    let event = RecordEvent::new(kind, object, row, was, context.origin.clone());
    Written { record, outcome, event: Some(event) }
}

fn unchanged(object: &Object, row: &Row) -> Written {
    Written { record: row.flat(object), outcome: Outcome::Unchanged, event: None }
}
