//! What is committed and not in sled yet: two tables in memory. One takes what comes; the other one, when there is one,
//! is being brought to sled. Readers look here first, so that they see each commit whole whatever sled has of it.
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use super::packed::Stored;
use crate::types::Key;

/// The newest value of each key that was written; `None`: it was deleted.
#[derive(Default)]
pub(super) struct Table(BTreeMap<Key, Option<Stored>>);

type Change<'t> = (&'t Key, Option<&'t Stored>);

impl Table {
    pub(super) fn write(&mut self, key: Key, value: Option<Stored>) {
        self.0.insert(key, value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of keys.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.0.iter().map(change)
    }

    fn range(&self, start: &[u8], end: &[u8]) -> btree_map::Range<'_, Key, Option<Stored>> {
        self.0.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)))
    }
}

fn change<'t>((key, value): (&'t Key, &'t Option<Stored>)) -> Change<'t> {
    (key, value.as_ref())
}

/// Both tables.
#[derive(Default)]
pub(super) struct Recent {
    current: Table,
    /// Older than what is in the other one.
    moving: Option<Arc<Table>>,
}

impl Recent {
    /// With what a log held when it was opened, to be brought to sled.
    pub(super) fn found(table: Arc<Table>) -> Self {
        Self { current: Table::default(), moving: Some(table) }
    }

    pub(super) fn write(&mut self, key: Key, value: Option<Stored>) {
        self.current.write(key, value);
    }

    /// Begins a new table; answers the one that is to be brought to sled. There is none on its way.
    pub(super) fn begin_table(&mut self) -> Arc<Table> {
        debug_assert!(self.moving.is_none(), "one table after the other");
        let full = Arc::new(std::mem::take(&mut self.current));
        self.moving = Some(full.clone());
        full
    }

    /// What was to be brought to sled is there.
    pub(super) fn moved(&mut self) -> Option<Arc<Table>> {
        self.moving.take()
    }

    /// What was last written to a key, if that is here; `Some(None)`: it was deleted.
    pub(super) fn get(&self, key: &Key) -> Option<Option<&Stored>> {
        let older = || self.moving.as_ref().and_then(|moving| moving.0.get(key));
        self.current.0.get(key).or_else(older).map(Option::as_ref)
    }

    /// What was last written to the keys of a range, from its start or from its end. The start is not behind the end.
    pub(super) fn range<'t>(
        &'t self,
        start: &[u8],
        end: &[u8],
        backwards: bool,
    ) -> Box<dyn Iterator<Item = Change<'t>> + 't> {
        let newer = self.current.range(start, end);
        let older = self.moving.as_ref().map(|moving| moving.range(start, end)).into_iter().flatten();
        match backwards {
            false => Box::new(Merged {
                newer: newer.map(change).peekable(),
                older: older.map(change).peekable(),
                backwards,
            }),
            true => {
                let (newer, older) = (newer.rev().map(change), older.rev().map(change));
                Box::new(Merged { newer: newer.peekable(), older: older.peekable(), backwards })
            }
        }
    }
}

/// Two tables in the order of keys, forwards or backwards; of a key that is in both what the newer one says.
struct Merged<'t, N: Iterator<Item = Change<'t>>, O: Iterator<Item = Change<'t>>> {
    newer: Peekable<N>,
    older: Peekable<O>,
    backwards: bool,
}

impl<'t, N: Iterator<Item = Change<'t>>, O: Iterator<Item = Change<'t>>> Iterator for Merged<'t, N, O> {
    type Item = Change<'t>;

    fn next(&mut self) -> Option<Change<'t>> {
        let Some((newer, _)) = self.newer.peek() else { return self.older.next() };
        let Some((older, _)) = self.older.peek() else { return self.newer.next() };
        let order = if self.backwards { older.cmp(newer) } else { newer.cmp(older) };
        if order.is_eq() {
            self.older.next();
        }
        if order.is_le() { self.newer.next() } else { self.older.next() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(n: u8) -> Stored {
        Stored { packed: false, bytes: vec![n].into() }
    }

    fn keys() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
        prop::collection::vec((0u8..12, prop::option::of(any::<u8>())), 0..12)
    }

    proptest! {
        #[test]
        fn the_newest_of_both_tables_is_seen_from_both_ends(
            older in keys(),
            newer in keys(),
            moves in any::<bool>(),
            from in 0u8..13,
            until in 0u8..13,
        ) {
            let mut recent = Recent::default();
            let mut model = BTreeMap::new();
            let key = |n: u8| Key::from(vec![n]);
            for (step, writes) in [&older, &newer].into_iter().enumerate() {
                for (n, value) in writes {
                    recent.write(key(*n), value.map(stored));
                    model.insert(*n, *value);
                }
                if step == 0 && moves {
                    recent.begin_table();
                }
            }
            for n in 0..13 {
                let seen = recent.get(&key(n)).map(|stored| stored.map(|stored| stored.bytes[0]));
                prop_assert_eq!(seen, model.get(&n).copied());
            }
            let until = until.max(from);
            let seen = |backwards| -> Vec<(u8, Option<u8>)> {
                let range = recent.range(&[from], &[until], backwards);
                range.map(|(key, stored)| (key[0], stored.map(|stored| stored.bytes[0]))).collect()
            };
            let mut expected: Vec<_> = model.range(from..until).map(|(n, value)| (*n, *value)).collect();
            prop_assert_eq!(seen(false), expected.clone());
            expected.reverse();
            prop_assert_eq!(seen(true), expected);
            if moves {
                recent.moved();
                let left: std::collections::BTreeSet<u8> = newer.iter().map(|(n, _)| *n).collect();
                prop_assert!((0..13).all(|n| recent.get(&key(n)).is_some() == left.contains(&n)));
            }
        }
    }
}
