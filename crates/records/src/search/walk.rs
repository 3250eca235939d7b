//! Reading stretches whose records lie in the order asked for: a page costs what it holds, not what is stored.

use std::ops::{AddAssign, Range};

use stepwell_store::{Key, Want};
use uuid::Uuid;

use super::plan::{Holds, Stretch};
use super::{Found, MAX_COUNTED, MAX_TOTAL, Search};
use crate::error::RecordsError;
use crate::index::{id_of_unique, value_of_sort_bytes};
use crate::row::{Row, id_in};

/// Rows read at once, after a first read of about a page.
const CHUNK: usize = 256;

impl Search<'_> {
    pub async fn walk(&self, stretches: &[Stretch]) -> Result<Found, RecordsError> {
        let mut found = Found { rows: Vec::new(), total: 0, total_is_exact: false, cut: None };
        let (mut examined, mut counted, mut looked_at) = (0, 0, None);
        let mut chunk = (self.limit + 1).min(CHUNK);
        for stretch in stretches {
            let Some(mut keys) = self.rest_of(stretch) else { continue };
            loop {
                let have_page = found.rows.len() > self.limit;
                if have_page && (self.after.is_some() || counted >= MAX_COUNTED || found.total > MAX_TOTAL) {
                    return Ok(found);
                }
                if !have_page && examined >= self.max_examined {
                    return self.cut_short(found, stretch, looked_at).ok_or_else(|| self.too_broad());
                }
                let read = self.read(stretch, &keys, chunk, have_page && stretch.exact).await?;
                (if have_page { &mut counted } else { &mut examined }).add_assign(read.examined);
                found.total += read.counted;
                for (at, row) in read.rows {
                    if self.work.is_used_up() {
                        return match found.rows.len() > self.limit {
                            // What is left is the count alone.
                            true => Ok(found),
                            false => self.cut_short(found, stretch, looked_at).ok_or_else(|| self.too_much()),
                        };
                    }
                    looked_at = Some(row.id);
                    if !self.matches(&row).await? {
                        continue;
                    }
                    found.total += 1;
                    if found.rows.len() <= self.limit {
                        let position = match &stretch.fixed_position {
                            Some(fixed) => {
                                let mut position = fixed.clone();
                                self.order.push_id(&mut position, row.id);
                                position
                            }
                            None => self.position_of(stretch, &at, &row),
                        };
                        found.rows.push((position, row));
                    }
                }
                if let (Some(last), true) = (&read.last, self.listing && stretch.holds != Holds::Places) {
                    looked_at = Some(id_in(last)?);
                }
                match read.last {
                    Some(last) if read.examined == chunk => {
                        if stretch.backwards {
                            keys.end = last;
                        } else {
                            keys.start = last.successor();
                        }
                    }
                    _ => break,
                }
                chunk = CHUNK;
            }
        }
        found.total_is_exact = true;
        Ok(found)
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
        if count_only {
            return Ok(Read { rows: Vec::new(), last, examined, counted: examined as u64 });
        }
        self.work.read(rows.iter().map(|(_, value)| value.len()).sum());
        self.work.take_turns().await;
        let mut records = Vec::with_capacity(rows.len());
        if stretch.holds == Holds::Records {
            for (key, value) in rows {
                let row = Row::decode(id_in(&key)?, &value)?;
                records.push((key, row));
            }
        } else {
            let ids = rows.iter().map(|(key, value)| match stretch.holds {
                Holds::Places => id_of_unique(key, value),
                _ => id_in(key),
            });
            let ids: Vec<_> = ids.collect::<Result<_, _>>()?;
            let found = self.records.observe_many(self.object, self.life, &ids).await?;
            // A record that went between the two reads is left out.
            records.extend(rows.into_iter().zip(found).filter_map(|((key, _), row)| Some((key, row?))));
        }
        Ok(Read { rows: records, last, examined, counted: 0 })
    }
}

/// What one read of a stretch gave.
pub(super) struct Read {
    pub rows: Vec<(Key, Row)>,
    pub last: Option<Key>,
    pub examined: usize,
    /// Matches that were counted without being read.
    pub counted: u64,
}
