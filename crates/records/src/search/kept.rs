//! The rows that a page is made of, and the one behind it that shows that there are more. What lies behind a page's end
//! is let go as soon as that is known: records may be large, and many are looked at.

use std::collections::BTreeMap;

use super::Search;
use crate::row::Row;
use crate::schema::FieldId;
use crate::size::about_json_bytes;

/// A row of the page.
pub(super) struct Kept {
    /// Where it stands in the order asked for.
    pub position: Vec<u8>,
    pub row: Row,
    /// About as many bytes as the whole record has.
    pub bytes: usize,
}

impl Kept {
    /// With no more of the row than is asked for.
    fn of(position: Vec<u8>, mut row: Row, fields: Option<&[FieldId]>) -> Kept {
        let bytes = row.values.values().map(about_json_bytes).sum();
        if let Some(fields) = fields {
            row.values.retain(fields);
        }
        Kept { position, row, bytes }
    }
}

/// How many rows are in a page that has so many bytes at most; one at least.
pub(super) fn rows_within(rows: &[Kept], most: usize) -> usize {
    let mut bytes = 0;
    let within = rows.iter().take_while(|kept| {
        bytes += kept.bytes;
        bytes <= most
    });
    within.count().max(1)
}

/// A page being filled in order.
#[derive(Default)]
pub(super) struct Filling {
    pub rows: Vec<Kept>,
    bytes: usize,
}

impl Filling {
    /// Whether the page and the row behind it are there.
    pub fn is_full(&self, search: &Search<'_>) -> bool {
        self.rows.len() > search.limit || search.are_too_many(self.rows.len(), self.bytes)
    }

    pub fn push(&mut self, search: &Search<'_>, position: Vec<u8>, row: Row) {
        let kept = Kept::of(position, row, search.fields.as_deref());
        self.bytes += kept.bytes;
        self.rows.push(kept);
    }
}

/// The best rows so far, in order; never more than a page and the row behind it.
#[derive(Default)]
pub(super) struct Best {
    rows: BTreeMap<Vec<u8>, Kept>,
    bytes: usize,
}

impl Best {
    pub fn add(&mut self, search: &Search<'_>, position: Vec<u8>, row: Row) {
        let kept = Kept::of(position.clone(), row, search.fields.as_deref());
        self.bytes += kept.bytes;
        if let Some(before) = self.rows.insert(position, kept) {
            self.bytes -= before.bytes;
        }
        // Whatever comes yet can only push the last ones further back.
        while let Some((_, last)) = self.rows.last_key_value() {
            let (others, bytes) = (self.rows.len() - 1, self.bytes - last.bytes);
            if others <= search.limit && !search.are_too_many(others, bytes) {
                return;
            }
            self.rows.pop_last();
            self.bytes = bytes;
        }
    }

    pub fn into_rows(self) -> Vec<Kept> {
        self.rows.into_values().collect()
    }
}
