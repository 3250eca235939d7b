//! Writes: create, update, delete, restore, upsert. Each checks everything first and then writes all or nothing.

mod apply;
mod given;
mod guard;
#[cfg(test)]
mod interleaving;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::RecordsError;
use crate::event::{EventJson, EventKind, Outcome, WriteContext, Written, was_updated};
use crate::filter::is_empty;
use crate::index;
use crate::problems::{joined, listing};
use crate::records::{Records, parse_id};
use crate::row::{Life, Row};
use crate::schema::{IndexState, Object, Unique};
use crate::values::Values;

use given::{Changed, Given, create_only};
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
        let values = Given::read(&object, record).into_new()?;
        self.insert(context, &object, values).await
    }

    async fn insert(
        &mut self,
        context: &WriteContext,
        object: &Object,
        values: Values,
    ) -> Result<Written, RecordsError> {
        if context.new_id.get_version_num() != 7 {
            let message = format!("the id {} of a new record is not a UUID of version 7", context.new_id);
            return Err(RecordsError::Misuse(message));
        }
        let updated = context.now.as_millisecond();
        let row = Row { id: context.new_id, version: 1, updated, deleted: None, values };
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
        let guard = guard.into();
        check_version(&object, &row, guard.if_version)?;
        if let Some(unchanged) = guard.if_unchanged {
            unchanged.check(&object, &row, changes)?;
        }
        self.change(context, &object, row, Given::read(&object, changes)).await
    }

    async fn change(
        &mut self,
        context: &WriteContext,
        object: &Object,
        before: Row,
        given: Given<'_>,
    ) -> Result<Written, RecordsError> {
        let Some(Changed { values, mut was }) = given.into_changed(&before.values)? else {
            return Ok(unchanged(object, before));
        };
        was_updated(&mut was, before.updated);
        let (version, updated) = (before.version + 1, later(context, &before));
        let row = Row { id: before.id, version, updated, deleted: before.deleted, values };
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
                    Ok(unchanged(&object, deleted))
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
                    Ok(unchanged(&object, live))
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
        let unique = matched(&object, upsert.match_on)?;
        let given = Given::read(&object, record).checked()?;
        let found = self.matching(&object, unique, upsert.match_on, &given).await?;
        let create_only = create_only(&object, upsert.create_only)?;
        match found {
            Some(row) => {
                check_version(&object, &row, upsert.if_version)?;
                self.change(context, &object, row, given.without(&create_only)).await
            }
            None if upsert.if_version.is_some() => {
                let message = "there is no such record, and `if_version` asks for one".to_owned();
                Err(mismatch(&object, message, Some("leave `if_version` out to create it".to_owned())))
            }
            None => {
                let values = given.into_new()?;
                self.insert(context, &object, values).await
            }
        }
    }

    /// The record that has the given values in a set; the commit rests on the answer.
    async fn matching(
        &mut self,
        object: &Object,
        unique: &Unique,
        names: &[String],
        given: &Given<'_>,
    ) -> Result<Option<Row>, RecordsError> {
        if let Some(path) = unique.paths.iter().find(|path| is_empty(given.get(path))) {
            let message = format!("the record has no `{}`", object.path_name(path));
            return Err(mismatch(object, message, Some("every field of `match` needs a value".into())));
        }
        let values = unique.paths.iter().map(|path| given.get(path));
        let Some(key) = index::unique_key_of(self.workspace, object, unique, values) else {
            let message = format!("[{}] has no value to match", names.join(", "));
            return Err(mismatch(object, message, None));
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

fn mismatch(object: &Object, message: String, hint: Option<String>) -> RecordsError {
    RecordsError::Match { object: object.name.clone(), message, hint }
}

/// The unique set that an upsert names.
fn matched<'o>(object: &'o Object, names: &[String]) -> Result<&'o Unique, RecordsError> {
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
        return Err(mismatch(object, format!("[{}] is no unique set", listing(names)), Some(hint)));
    };
    if unique.state == IndexState::Building {
        let message = format!("the unique set [{}] is still being built", names.join(", "));
        return Err(mismatch(object, message, Some("try again when it is ready".into())));
    }
    Ok(unique)
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
    let event = EventJson::new(kind, object, &row, &was, &context.origin);
    Written { record: row.into_flat(object), outcome, event: Some(event) }
}

fn unchanged(object: &Object, row: Row) -> Written {
    Written { record: row.into_flat(object), outcome: Outcome::Unchanged, event: None }
}
