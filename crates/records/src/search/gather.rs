//! Looking at all candidates and keeping the best page of them: for what no walk gives in the order asked for.

use std::collections::BTreeMap;

use stepwell_store::{Key, Want};
use uuid::Uuid;

use super::plan::Stretch;
use super::{Found, Search};
use crate::error::RecordsError;
use crate::index::id_of_unique;
use crate::row::Row;

const CHUNK: usize = 256;

pub(super) enum Candidates<'p> {
    Ids(&'p [Uuid]),
    UniqueKeys(&'p [Key]),
    Ranges(&'p [Stretch]),
}

/// The best rows so far, in order; never more than a page and one.
struct Best<'s, 'a> {
    search: &'s Search<'a>,
    rows: BTreeMap<Vec<u8>, Row>,
    total: u64,
}

impl Best<'_, '_> {
    async fn add(&mut self, row: Row) -> Result<(), RecordsError> {
        if self.search.work.is_used_up() {
            return Err(self.search.too_much());
        }
        if !self.search.matches(&row).await? {
            return Ok(());
        }
        self.total += 1;
        let position = self.search.order.position(&row);
        if self.search.after.as_ref().is_some_and(|after| position <= after.position) {
            return Ok(());
        }
        self.rows.insert(position, row);
        if self.rows.len() > self.search.limit + 1 {
            self.rows.pop_last();
        }
        Ok(())
    }
}

impl Search<'_> {
    pub async fn gather(&self, candidates: Candidates<'_>) -> Result<Found, RecordsError> {
        let mut best = Best { search: self, rows: BTreeMap::new(), total: 0 };
        match candidates {
            Candidates::Ids(ids) => self.gather_ids(ids, &mut best).await?,
            Candidates::UniqueKeys(keys) => {
                let mut ids = Vec::new();
                for keys in keys.chunks(CHUNK) {
                    let wants = keys.iter().cloned().map(Want::Key).collect();
                    let places = self.records.txn.read(wants).await?;
                    for (key, id) in places.rows.iter().flatten() {
                        ids.push(id_of_unique(key, id)?);
                    }
                }
                self.gather_ids(&ids, &mut best).await?;
            }
            Candidates::Ranges(stretches) => {
                let mut examined = 0;
                for stretch in stretches {
                    let mut keys = stretch.keys.clone();
                    while keys.start < keys.end {
                        if examined >= self.max_examined {
                            return Err(self.too_broad());
                        }
                        let read = self.read(stretch, &keys, CHUNK, false).await?;
                        examined += read.examined;
                        for (_, row) in read.rows {
                            best.add(row).await?;
                        }
                        match read.last {
                            Some(last) if read.examined == CHUNK => {
                                if stretch.backwards {
                                    keys.end = last;
                                } else {
                                    keys.start = last.successor();
                                }
                            }
                            _ => break,
                        }
                    }
                }
            }
        }
        Ok(Found {
            total: best.total,
            rows: best.rows.into_iter().collect(),
            total_is_exact: true,
            cut: None,
        })
    }

    async fn gather_ids(&self, ids: &[Uuid], best: &mut Best<'_, '_>) -> Result<(), RecordsError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for ids in ids.chunks(CHUNK) {
            for row in self.records.observe_many(self.object, self.life, ids).await?.into_iter().flatten() {
                best.add(row).await?;
            }
        }
        Ok(())
    }
}
