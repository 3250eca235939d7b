//! Looking at all candidates and keeping the best page of them: for what no walk gives in the order asked for.

use stepwell_store::{Key, Want};
use uuid::Uuid;

use super::kept::Best;
use super::plan::Stretch;
use super::work::Chunks;
use super::{Found, Search};
use crate::error::RecordsError;
use crate::index::id_of_unique;
use crate::row::Row;

/// Places of a unique set read at once: they hold ids alone.
const PLACES: usize = 256;

pub(super) enum Candidates<'p> {
    Ids(&'p [Uuid]),
    UniqueKeys(&'p [Key]),
    Ranges(&'p [Stretch]),
}

/// What was gathered so far.
struct Gathered<'s, 'a> {
    search: &'s Search<'a>,
    best: Best,
    total: u64,
}

impl Gathered<'_, '_> {
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
        self.best.add(self.search, position, row);
        Ok(())
    }
}

impl Search<'_> {
    pub async fn gather(&self, candidates: Candidates<'_>) -> Result<Found, RecordsError> {
        let mut gathered = Gathered { search: self, best: Best::default(), total: 0 };
        match candidates {
            Candidates::Ids(ids) => self.gather_ids(ids, &mut gathered).await?,
            Candidates::UniqueKeys(keys) => {
                let mut ids = Vec::new();
                for keys in keys.chunks(PLACES) {
                    let wants = keys.iter().cloned().map(Want::Key).collect();
                    let places = self.records.txn.read(wants).await?;
                    for (key, id) in places.rows.iter().flatten() {
                        ids.push(id_of_unique(key, id)?);
                    }
                }
                self.gather_ids(&ids, &mut gathered).await?;
            }
            Candidates::Ranges(stretches) => {
                let mut examined = 0;
                let mut chunks = Chunks::first(usize::MAX);
                for stretch in stretches {
                    let mut keys = stretch.keys.clone();
                    while keys.start < keys.end {
                        if examined >= self.max_examined {
                            return Err(self.too_broad());
                        }
                        let asked = chunks.rows();
                        let read = self.read(stretch, &keys, asked, false).await?;
                        chunks.go_on(read.largest);
                        examined += read.examined;
                        for stored in read.rows {
                            gathered.add(stored.row(&self.work)?).await?;
                        }
                        match read.last {
                            Some(last) if read.examined == asked => {
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
        let rows = gathered.best.into_rows();
        Ok(Found { total: gathered.total, rows, total_is_exact: true, cut: None })
    }

    async fn gather_ids(&self, ids: &[Uuid], gathered: &mut Gathered<'_, '_>) -> Result<(), RecordsError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let (mut rest, mut chunks) = (&ids[..], Chunks::first(usize::MAX));
        while !rest.is_empty() {
            let (some, others) = rest.split_at(chunks.rows().min(rest.len()));
            let (stored, largest) = self.stored(some).await?;
            chunks.go_on(largest);
            for (id, value) in some.iter().zip(stored) {
                if let Some(value) = value {
                    self.work.read(value.len());
                    gathered.add(Row::decode(*id, &value)?).await?;
                }
            }
            rest = others;
        }
        Ok(())
    }
}
