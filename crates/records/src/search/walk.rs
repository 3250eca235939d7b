//! Reading stretches whose records lie in the order asked for: a page costs what it holds, not what is stored.

use std::ops::{AddAssign, Range};

use stepwell_store::{Key, Value as Bytes, Want};
use uuid::Uuid;

use super::kept::Filling;
use super::plan::{Holds, Stretch};
use super::work::{Chunks, Work};
use super::{Found, MAX_COUNTED, MAX_TOTAL, Search};
use crate::error::RecordsError;
use crate::index::{id_of_unique, value_of_sort_bytes};
use crate::row::{Row, id_in};

impl Search<'_> {
    pub async fn walk(&self, stretches: &[Stretch]) -> Result<Found, RecordsError> {
        let mut page = Filling::default();
        let mut total = 0;
        let so_far =
            |page: Filling, total| Found { rows: page.rows, total, total_is_exact: false, cut: None };
        let (mut examined, mut counted, mut looked_at) = (0, 0, None);
        let mut chunks = Chunks::first(self.limit + 1);
        for stretch in stretches {
            let Some(mut keys) = self.rest_of(stretch) else { continue };
            loop {
                // The rows may be all there before as many were found: they are large.
                let full = page.is_full(self);
                let counts_on = total > self.limit as u64;
                let enough = match counts_on {
                    true => counted >= MAX_COUNTED || total > MAX_TOTAL,
                    false => examined >= self.max_examined,
                };
                if full && (enough || self.after.is_some()) {
                    return Ok(so_far(page, total));
                }
                if enough {
                    let found = so_far(page, total);
                    return self.cut_short(found, stretch, looked_at).ok_or_else(|| self.too_broad());
                }
                let asked = chunks.rows();
                let read = self.read(stretch, &keys, asked, full && stretch.exact).await?;
                chunks.go_on(read.largest);
                (if counts_on { &mut counted } else { &mut examined }).add_assign(read.examined);
                total += read.counted;
                for stored in read.rows {
                    let full = page.is_full(self);
                    if full && self.after.is_some() {
                        return Ok(so_far(page, total));
                    }
                    if self.work.is_used_up() {
                        let found = so_far(page, total);
                        return match full {
                            // What is left is the count alone.
                            true => Ok(found),
                            false => self.cut_short(found, stretch, looked_at).ok_or_else(|| self.too_much()),
                        };
                    }
                    let row = stored.row(&self.work)?;
                    looked_at = Some(row.id);
                    if !self.matches(&row).await? {
                        continue;
                    }
                    total += 1;
                    if !full {
                        let position = match &stretch.fixed_position {
                            Some(fixed) => {
                                let mut position = fixed.clone();
                                self.order.push_id(&mut position, row.id);
                                position
                            }
                            None => self.position_of(stretch, &stored.at, &row),
                        };
                        page.push(self, position, row);
                    }
                }
                if let (Some(last), true) = (&read.last, self.listing && stretch.holds != Holds::Places) {
                    looked_at = Some(id_in(last)?);
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
        Ok(Found { total_is_exact: true, ..so_far(page, total) })
    }

    /// Of a listing: what it has, and how far it has looked.
    fn cut_short(&self, mut found: Found, stretch: &Stretch, looked_at: Option<Uuid>) -> Option<Found> {
        let (true, Some(fixed), Some(id)) = (self.listing, &stretch.fixed_position, looked_at) else {
            return None;
        };
        let mut cut = fixed.clone();
        self.order.push_id(&mut cut, id);
        found.cut = Some(cut);
        Some(found)
    }

    /// The position of an index entry: its own value's, not that of the row, which may have moved since.
    fn position_of(&self, stretch: &Stretch, at: &Key, row: &Row) -> Vec<u8> {
        let value = &at[stretch.base.len()..at.len() - 16];
        let flip = if stretch.backwards { u8::MAX } else { 0 };
        let mut position = vec![0];
        position.extend(value.iter().map(|byte| byte ^ flip));
        self.order.push_id(&mut position, row.id);
        position
    }

    /// What of a stretch lies behind the cursor; `None` if nothing can.
    fn rest_of(&self, stretch: &Stretch) -> Option<Range<Key>> {
        let mut keys = stretch.keys.clone();
        if let Some(after) = &self.after {
            let (values, id) = self.order.split(&after.position)?;
            let at = match &stretch.fixed_position {
                Some(fixed) if values == fixed => stretch.base.clone(),
                // The cursor stands among values, and these are the empties behind them.
                Some(fixed) if values < &fixed[..] => return Some(keys),
                Some(_) => return None,
                None => {
                    let value = value_of_sort_bytes(values, stretch.backwards)?;
                    stretch.base.clone().fixed(&value)
                }
            };
            let at = at.fixed(id.as_bytes()).build();
            if stretch.backwards {
                keys.end = keys.end.min(at);
            } else {
                keys.start = keys.start.max(at.successor());
            }
        }
        (keys.start < keys.end).then_some(keys)
    }

    /// The records behind some rows of a stretch. `count_only` reads no records.
    pub(super) async fn read(
        &self,
        stretch: &Stretch,
        keys: &Range<Key>,
        limit: usize,
        count_only: bool,
    ) -> Result<Read, RecordsError> {
        let want = Want::Range { keys: keys.clone(), limit, backwards: stretch.backwards };
        let rows = self.records.txn.read(vec![want]).await?.rows.pop().unwrap_or_default();
        let last = rows.last().map(|(key, _)| key.clone());
        let examined = rows.len();
        let mut largest = self.have_read(rows.iter().map(|(_, value)| value)).await;
        if count_only {
            return Ok(Read { rows: Vec::new(), last, examined, largest, counted: examined as u64 });
        }
        let mut records = Vec::with_capacity(rows.len());
        if stretch.holds == Holds::Records {
            for (at, value) in rows {
                records.push(Stored { id: id_in(&at)?, at, value });
            }
        } else {
            let ids = rows.iter().map(|(key, value)| match stretch.holds {
                Holds::Places => id_of_unique(key, value),
                _ => id_in(key),
            });
            let ids: Vec<_> = ids.collect::<Result<_, _>>()?;
            let found;
            (found, largest) = self.stored(&ids).await?;
            // A record that went between the two reads is left out.
            let places = rows.into_iter().map(|(at, _)| at).zip(ids);
            records.extend(
                places.zip(found).filter_map(|((at, id), value)| Some(Stored { at, id, value: value? })),
            );
        }
        Ok(Read { rows: records, last, examined, largest, counted: 0 })
    }

    /// The records of these ids, as they are stored, and the bytes of the largest.
    pub(super) async fn stored(&self, ids: &[Uuid]) -> Result<(Vec<Option<Bytes>>, usize), RecordsError> {
        let found = self.records.stored_many(self.object, self.life, ids).await?;
        let largest = self.have_read(found.iter().flatten()).await;
        Ok((found, largest))
    }

    /// Takes note of values that were read, and answers how large the largest is.
    async fn have_read(&self, values: impl Iterator<Item = &Bytes>) -> usize {
        let (sum, largest) =
            values.fold((0, 0), |(sum, most), value| (sum + value.len(), most.max(value.len())));
        self.work.read(sum);
        self.work.take_turns().await;
        largest
    }
}

/// A record that was read and not yet looked into.
pub(super) struct Stored {
    /// The key that led to it.
    at: Key,
    id: Uuid,
    value: Bytes,
}

impl Stored {
    pub fn row(&self, work: &Work) -> Result<Row, RecordsError> {
        work.read(self.value.len());
        Row::decode(self.id, &self.value)
    }
}

/// What one read of a stretch gave.
pub(super) struct Read {
    pub rows: Vec<Stored>,
    pub last: Option<Key>,
    pub examined: usize,
    /// The bytes of the largest one.
    pub largest: usize,
    /// Matches that were counted without being read.
    pub counted: u64,
}
