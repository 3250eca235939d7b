//! Building an index or a unique set over records that are there already, and clearing one that is given up: page by
//! page, each page in a transaction of its own, driven by whoever has a clock.
//!
//! While it is `building` every write keeps it up, so a page has only to add what was there before; it can be done
//! again, and from the start, without harm. A unique set that records contradict is cleared and stays as `refused`,
//! with the records in its way.

use serde::{Deserialize, Serialize};
use stepwell_store::{Key, Value as Bytes};
use uuid::Uuid;

use crate::error::RecordsError;
use crate::index;
use crate::records::Records;
use crate::row::{self, Life, Row, id_in};
use crate::schema::{Contradicted, Index, IndexState, Object, ObjectId, Schema, Unique};

/// Records that one page looks at.
const PAGE: usize = 100;
/// Keys that one page clears.
const CLEARED: usize = 300;
/// Offending records that are named.
const NAMED: usize = 10;

/// Something to be built or cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backfill {
    pub object: ObjectId,
    pub of: Built,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Built {
    Unique(u32),
    Index(u32),
}

/// What a page did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillPage {
    /// Where the next page begins; none when this was the last one.
    pub next: Option<Uuid>,
    /// Records looked at, or keys cleared.
    pub seen: usize,
    /// Why a unique set was given up.
    pub problem: Option<String>,
}

impl Schema {
    /// What is left to be built or cleared in this workspace.
    pub fn backfills(&self) -> Vec<Backfill> {
        let unfinished = |state| matches!(state, IndexState::Building | IndexState::Clearing);
        let of_object = |object: &Object| {
            let unique = object.unique.iter().filter(|unique| unfinished(unique.state));
            let indexes = object.indexes.iter().filter(|index| unfinished(index.state));
            let built: Vec<Built> = unique
                .map(|unique| Built::Unique(unique.id))
                .chain(indexes.map(|index| Built::Index(index.id)))
                .collect();
            built.into_iter().map(|of| Backfill { object: object.id, of }).collect::<Vec<_>>()
        };
        self.objects().flat_map(|object| of_object(object)).collect()
    }
}

impl Records<'_> {
    /// The next page of a backfill, from where the page before said. Commit each page.
    pub async fn backfill_page(
        &mut self,
        backfill: Backfill,
        from: Option<Uuid>,
    ) -> Result<BackfillPage, RecordsError> {
        let nothing_left = BackfillPage { next: None, seen: 0, problem: None };
        let Some(object) = self.schema.object_by_id(backfill.object).cloned() else {
            return Ok(nothing_left);
        };
        match backfill.of {
            Built::Unique(id) => match object.unique.iter().find(|unique| unique.id == id) {
                Some(unique) if unique.state == IndexState::Building => {
                    self.fill_unique(&object, unique, from).await
                }
                Some(unique) if unique.state == IndexState::Clearing => {
                    let keys = index::set_key(self.workspace, object.id, id).prefix();
                    self.clear(backfill, keys).await
                }
                _ => Ok(nothing_left),
            },
            Built::Index(id) => match object.indexes.iter().find(|index| index.id == id) {
                Some(index) if index.state == IndexState::Building => {
                    self.fill_index(&object, index, from).await
                }
                Some(index) if index.state == IndexState::Clearing => {
                    let keys = index::whole_index(self.workspace, object.id, id);
                    self.clear(backfill, keys).await
                }
                _ => Ok(nothing_left),
            },
        }
    }

    /// The records of a page. The commit rests on them, so none changes before its entry is there.
    async fn page(
        &mut self,
        object: &Object,
        from: Option<Uuid>,
    ) -> Result<(Vec<Row>, Option<Uuid>), RecordsError> {
        let mut keys = row::range(self.workspace, object.id, Life::Live);
        if let Some(id) = from {
            keys.start = row::key(self.workspace, object.id, Life::Live, id).successor();
        }
        let rows = self.txn.range(keys, PAGE, false).await?;
        let rows: Vec<Row> =
            (rows.iter()).map(|(key, value)| Row::decode(id_in(key)?, value)).collect::<Result<_, _>>()?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|row| row.id);
        Ok((rows, next))
    }

    async fn fill_index(
        &mut self,
        object: &Object,
        index: &Index,
        from: Option<Uuid>,
    ) -> Result<BackfillPage, RecordsError> {
        let (rows, next) = self.page(object, from).await?;
        for row in &rows {
            if let Some(entry) = index::entry(self.workspace, object, index, row) {
                self.txn.put(entry, Bytes::new());
            }
        }
        if next.is_none() {
            self.set_state(
                Backfill { object: object.id, of: Built::Index(index.id) },
                IndexState::Ready,
                None,
            )
            .await?;
        }
        Ok(BackfillPage { next, seen: rows.len(), problem: None })
    }

    async fn fill_unique(
        &mut self,
        object: &Object,
        unique: &Unique,
        from: Option<Uuid>,
    ) -> Result<BackfillPage, RecordsError> {
        let backfill = Backfill { object: object.id, of: Built::Unique(unique.id) };
        let (rows, next) = self.page(object, from).await?;
        let places: Vec<(Key, &Row)> = (rows.iter())
            .filter_map(|row| Some((index::unique_key(self.workspace, object, unique, row)?, row)))
            .collect();
        let keys: Vec<Key> = places.iter().map(|(key, _)| key.clone()).collect();
        let mut taken: std::collections::HashMap<Key, Uuid> = Default::default();
        for (key, value) in keys.iter().zip(self.txn.get_many(&keys).await?) {
            if let Some(value) = value {
                taken.insert(key.clone(), index::id_of_unique(key, &value)?);
            }
        }
        let mut twins = Vec::new();
        for (key, row) in &places {
            match taken.insert(key.clone(), row.id) {
                Some(other) if other != row.id => twins.push([other, row.id]),
                _ => self.txn.put(key.clone(), row.id.as_bytes().to_vec()),
            }
        }
        if !twins.is_empty() {
            // Those that come after this page are not looked at any more.
            let more = match (twins.len() > NAMED, next.is_some()) {
                (true, _) => ", and more",
                (false, true) => ", and maybe more",
                (false, false) => "",
            };
            twins.truncate(NAMED);
            let names = object.unique_names(unique).join(", ");
            let told: Vec<String> = twins.iter().map(|[one, other]| format!("{one} and {other}")).collect();
            let problem = format!("these records have the same {names}: {}{more}", told.join("; "));
            let contradicted = Contradicted { problem: problem.clone(), twins };
            self.set_state(backfill, IndexState::Clearing, Some(contradicted)).await?;
            return Ok(BackfillPage { next: None, seen: rows.len(), problem: Some(problem) });
        }
        if next.is_none() {
            self.set_state(backfill, IndexState::Ready, None).await?;
        }
        Ok(BackfillPage { next, seen: rows.len(), problem: None })
    }

    async fn clear(
        &mut self,
        backfill: Backfill,
        keys: std::ops::Range<Key>,
    ) -> Result<BackfillPage, RecordsError> {
        let rows = self.txn.range(keys, CLEARED, false).await?;
        let seen = rows.len();
        for (key, _) in rows {
            self.txn.delete(key);
        }
        if seen < CLEARED {
            self.set_state(backfill, IndexState::Refused, None).await?;
            return Ok(BackfillPage { next: None, seen, problem: None });
        }
        // The next page finds its beginning by itself; any id says that there is one.
        Ok(BackfillPage { next: Some(Uuid::nil()), seen, problem: None })
    }
}
