//! One record from one state to another: its row, its unique keys, its index entries, and what they rest on.

use serde_json::Value;
use stepwell_store::{Key, Value as Bytes};
use uuid::Uuid;

use crate::error::{Problem, RecordsError};
use crate::filter::quoted;
use crate::index;
use crate::records::Records;
use crate::row::{self, Life, MAX_ROW_BYTES, Row};
use crate::schema::{Field, FieldType, Object, ObjectId, Unique};
use crate::size::json_bytes;

/// A record that must exist for this one to name it.
struct Named<'o> {
    field: &'o Field,
    object: ObjectId,
    id: Uuid,
    key: Key,
}

impl Records<'_> {
    /// Checks that the record may go from `before` to `after`, then writes what differs. Deleted records stand in no
    /// index and no unique set. Nothing is written if a check fails.
    pub(super) async fn apply(
        &mut self,
        object: &Object,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Result<(), RecordsError> {
        let is_live = |row: &&Row| row.deleted.is_none();
        let (live_before, live_after) = (before.filter(is_live), after.filter(is_live));
        let workspace = self.workspace;
        let place = |unique: &Unique, row: Option<&Row>| {
            row.and_then(|row| index::unique_key(workspace, object, unique, row))
        };
        let moves: Vec<(&Unique, Option<Key>, Option<Key>)> = (object.unique.iter())
            .filter(|unique| unique.state.is_kept())
            .map(|unique| (unique, place(unique, live_before), place(unique, live_after)))
            .filter(|(_, from, to)| from != to)
            .collect();
        let named = live_after.map_or(Ok(Vec::new()), |row| self.relations(object, before, row))?;

        // One trip for all that the write rests on beside the record before: that nothing is in the place of a new one,
        // that unique values are free, that the records exist that it names.
        let new = after.filter(|_| before.is_none());
        let own = new.map(|row| row::key(workspace, object.id, Life::Live, row.id));
        let taken = moves.iter().filter_map(|(unique, _, to)| Some((unique, to.as_ref()?)));
        let others = taken.clone().map(|(_, key)| key).chain(named.iter().map(|named| &named.key));
        let keys: Vec<Key> = own.iter().chain(others).cloned().collect();
        let found = if keys.is_empty() { Vec::new() } else { self.txn.get_many(&keys).await? };
        let mut found = found.iter();
        if let Some(row) = new
            && found.next().is_some_and(Option::is_some)
        {
            let message = format!("the id {} was given to two new records of {}", row.id, object.name);
            return Err(RecordsError::Misuse(message));
        }
        for ((unique, key), other) in taken.zip(&mut found) {
            if let (Some(row), Some(other)) = (live_after, other) {
                return Err(conflict(object, unique, row, index::id_of_unique(key, other)?));
            }
        }
        if let Some((missing, _)) = named.iter().zip(found).find(|(_, found)| found.is_none()) {
            return Err(RecordsError::RelationNotFound {
                object: object.name.clone(),
                field: missing.field.name.clone(),
                target: self.schema.name_of(missing.object),
                id: missing.id,
            });
        }
        self.write(object, before, after, live_before, live_after, moves)
    }

    fn write(
        &mut self,
        object: &Object,
        before: Option<&Row>,
        after: Option<&Row>,
        live_before: Option<&Row>,
        live_after: Option<&Row>,
        moves: Vec<(&Unique, Option<Key>, Option<Key>)>,
    ) -> Result<(), RecordsError> {
        let place = |row: &Row| {
            let life = if row.deleted.is_some() { Life::Deleted } else { Life::Live };
            row::key(self.workspace, object.id, life, row.id)
        };
        let (from, to) = (before.map(place), after.map(place));
        if let (Some(row), Some(to)) = (after, &to) {
            let bytes = row.encode();
            if bytes.len() > MAX_ROW_BYTES {
                return Err(too_big(object, row, bytes.len()));
            }
            self.txn.put(to.clone(), bytes);
        }
        if let Some(from) = from
            && Some(&from) != to.as_ref()
        {
            self.txn.delete(from);
        }
        for (_, from, to) in moves {
            if let Some(from) = from {
                self.txn.delete(from);
            }
            if let (Some(to), Some(row)) = (to, live_after) {
                self.txn.put(to, row.id.as_bytes().to_vec());
            }
        }
        for index in object.indexes.iter().filter(|index| index.state.is_kept()) {
            let entry =
                |row: Option<&Row>| row.and_then(|row| index::entry(self.workspace, object, index, row));
            let (from, to) = (entry(live_before), entry(live_after));
            if from != to {
                if let Some(from) = from {
                    self.txn.delete(from);
                }
                if let Some(to) = to {
                    self.txn.put(to, Bytes::new());
                }
            }
        }
        Ok(())
    }

    /// The records that `after` names and `before` did not.
    fn relations<'o>(
        &self,
        object: &'o Object,
        before: Option<&Row>,
        after: &Row,
    ) -> Result<Vec<Named<'o>>, RecordsError> {
        let mut named = Vec::new();
        for field in &object.fields {
            let FieldType::Relation { object: target } = field.kind else { continue };
            let held = after.values.get(field.id);
            let Some(Value::String(id)) = held else { continue };
            if before.is_some_and(|before| before.values.get(field.id) == held) {
                continue;
            }
            let id = Uuid::try_parse(id).map_err(|_| {
                RecordsError::Damaged(format!("`{}` of {} {} holds no id", field.name, object.name, after.id))
            })?;
            let key = row::key(self.workspace, target, Life::Live, id);
            named.push(Named { field, object: target, id, key });
        }
        Ok(named)
    }
}

fn conflict(object: &Object, unique: &Unique, row: &Row, other: Uuid) -> RecordsError {
    let values = unique.paths.iter().map(|path| match row.get(path) {
        Value::String(text) => quoted(text),
        value => value.to_string(),
    });
    RecordsError::UniqueConflict {
        object: object.name.clone(),
        fields: object.unique_names(unique),
        value: values.collect::<Vec<_>>().join(", "),
        other,
    }
}

fn too_big(object: &Object, row: &Row, bytes: usize) -> RecordsError {
    let largest = row.named_fields(object).max_by_key(|(_, value)| json_bytes(value));
    let (name, length) = largest.map_or(("", 0), |(name, value)| (name, json_bytes(value)));
    let message = format!(
        "the record would take {bytes} bytes, at most {MAX_ROW_BYTES}; `{name}` alone takes {length}"
    );
    RecordsError::Invalid {
        object: object.name.clone(),
        problems: vec![Problem::new(name, message).hint("shorten it")],
    }
}
