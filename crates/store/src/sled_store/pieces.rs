//! Which keys have their value in pieces. It is known in memory, so that a write need not look at what it replaces,
//! and kept in rows of its own, so that a start need not look at every value:
//!
//! ```text
//! ff | key    1 | crc32 | on disk(2) | live(2)     pieces of this key that may be on disk, and that its value has
//! ff          1 | crc32 |                          every such key has its row: they are kept from here on
//! ```
//!
//! Pieces beyond those that are live can be reached from nowhere. They are deleted with the write that makes them so,
//! or, where there are many, in the pauses after it, which the row remembers too.
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use super::rows;
use crate::types::{Key, Refused};

/// Before the key that a row is about. Above every space and every piece.
pub(super) const MARK: u8 = 0xff;

/// The pieces of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    /// How many may be on disk.
    pub(super) on_disk: u16,
    /// How many its value has.
    pub(super) live: u16,
}

/// All keys that have any.
#[derive(Default)]
pub(super) struct Pieces {
    /// By a hash of the key, which takes a quarter of the memory. Should two keys share one, pieces may stay on disk
    /// that nobody reads, or be deleted that are not there.
    held: HashMap<u64, Held>,
    hasher: RandomState,
    /// Keys with pieces to be deleted. Known exactly: what is deleted of a key later rests on this alone.
    exact: HashMap<Key, Held>,
    /// The same in the order in which their turn comes; a key may be here twice, or have nothing to delete any more.
    stale: VecDeque<Key>,
}

impl Pieces {
    /// What a folder remembers; `None` if it is from before anything did.
    pub(super) fn load(tree: &sled::Tree) -> Result<Option<Self>, Refused> {
        if !rows::has(tree, &[MARK])? {
            return Ok(None);
        }
        let mut pieces = Self::default();
        rows::each_mark(tree, |key, held| {
            if held.on_disk > held.live {
                pieces.stale.push_back(key.clone());
            }
            pieces.set(&key, held);
        })?;
        Ok(Some(pieces))
    }

    pub(super) fn of(&self, key: &Key) -> Held {
        if self.held.is_empty() {
            return Held::default();
        }
        if let Some(held) = self.too_much(key) {
            return held;
        }
        self.held.get(&self.hasher.hash_one(key)).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, key: &Key, held: Held) {
        let hash = self.hasher.hash_one(key);
        match held.on_disk {
            0 => self.held.remove(&hash),
            _ => self.held.insert(hash, held),
        };
        if held.on_disk > held.live {
            self.exact.insert(key.clone(), held);
        } else if !self.exact.is_empty() {
            self.exact.remove(key);
        }
    }

    /// What is known of a key that has pieces to be deleted.
    pub(super) fn too_much(&self, key: &Key) -> Option<Held> {
        if self.exact.is_empty() { None } else { self.exact.get(key).copied() }
    }

    /// Remembers to delete what the key has too much.
    pub(super) fn put_off(&mut self, key: Key) {
        self.stale.push_back(key);
    }

    /// A key that had pieces to be deleted when it was put off.
    pub(super) fn next_stale(&mut self) -> Option<Key> {
        self.stale.pop_front()
    }

    pub(super) fn any_stale(&self) -> bool {
        !self.stale.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyBuilder, Space};
    use crate::limits::{CHUNK_BYTES, MAX_VALUE_BYTES};
    use crate::sled_store::packed::Stored;
    use crate::sled_store::recent::Recent;
    use crate::sled_store::rows::{Seen, Sink};
    use crate::types::{Value, WorkspaceId};

    fn tree() -> sled::Db {
        // For as long as the test's thread lives.
        std::mem::forget(crate::sled_store::threads::MayCallSled::here());
        sled::Config::new().temporary(true).open().unwrap()
    }

    fn key(n: u32) -> Key {
        KeyBuilder::new(Space::Payloads, WorkspaceId(1)).u32(n).build()
    }

    fn value(pieces: usize) -> Value {
        vec![7; pieces * CHUNK_BYTES].into()
    }

    /// As if it could not be packed.
    fn stored(pieces: usize) -> Stored {
        Stored { packed: false, bytes: value(pieces) }
    }

    /// How many pieces are deleted with what makes them too much.
    const ROOM: usize = 700;

    /// As the mover does it; answers how many rows it writes.
    fn commit(tree: &sled::Db, pieces: &mut Pieces, writes: &[(u32, Option<usize>)]) -> usize {
        let mut sink = Sink::new(tree, ROOM);
        for (n, value) in writes {
            sink.write(&key(*n), value.map(stored).as_ref(), pieces).unwrap();
        }
        sink.ops()
    }

    fn clean(tree: &sled::Db, pieces: &mut Pieces) -> usize {
        let mut sink = Sink::new(tree, 0);
        sink.clean(pieces, 100).unwrap();
        sink.ops()
    }

    fn get(tree: &sled::Db, n: &Key) -> Option<Value> {
        rows::get(Seen { tree, recent: &Recent::default() }, n).unwrap()
    }

    fn on_disk(tree: &sled::Db) -> usize {
        tree.range(&[rows::PIECE_SPACE][..]..&[MARK][..]).count()
    }

    fn marks(tree: &sled::Db) -> Vec<(Key, Held)> {
        let mut marks = Vec::new();
        rows::each_mark(tree, |key, held| marks.push((key, held))).unwrap();
        marks
    }

    #[test]
    fn no_space_lies_where_marks_do() {
        assert!(Space::ALL.iter().all(|space| (*space as u8) | rows::PIECE_SPACE < MARK));
    }

    #[test]
    fn what_shrinks_loses_its_pieces_at_once_and_what_is_small_costs_nothing() {
        let (tree, mut pieces) = (tree(), Pieces::default());
        assert_eq!(commit(&tree, &mut pieces, &[(1, Some(1)), (2, Some(0))]), 2);
        assert_eq!(commit(&tree, &mut pieces, &[(1, Some(5))]), 1 + 5 + 1);
        assert_eq!(commit(&tree, &mut pieces, &[(1, Some(5))]), 1 + 5);
        assert_eq!(commit(&tree, &mut pieces, &[(1, Some(2))]), 1 + 2 + 3 + 1);
        assert_eq!(on_disk(&tree), 2);
        assert_eq!(marks(&tree), [(key(1), Held { on_disk: 2, live: 2 })]);
        assert_eq!(commit(&tree, &mut pieces, &[(1, None)]), 1 + 2 + 1);
        assert_eq!((on_disk(&tree), marks(&tree)), (0, vec![]));
        assert_eq!(commit(&tree, &mut pieces, &[(1, Some(1))]), 1);
    }

    #[test]
    fn little_is_deleted_at_once_and_the_rest_later_and_after_a_restart() {
        let (tree, mut pieces) = (tree(), Pieces::default());
        let most = MAX_VALUE_BYTES / CHUNK_BYTES;
        for n in 0..40 {
            commit(&tree, &mut pieces, &[(n, Some(most))]);
        }
        let deletes: Vec<_> = (0..40).map(|n| (n, (n % 4 == 0).then_some(1))).collect();
        let ops = commit(&tree, &mut pieces, &deletes);
        assert!((40..=ROOM + 80).contains(&ops), "{ops}");
        assert!(on_disk(&tree) > 30 * most);
        // One of them grows again meanwhile: what it has now stays.
        commit(&tree, &mut pieces, &[(39, Some(3))]);

        Sink::new(&tree, 0).all_marked().unwrap();
        let mut pieces = Pieces::load(&tree).unwrap().unwrap();
        while pieces.any_stale() {
            let ops = clean(&tree, &mut pieces);
            assert!(ops <= 140, "{ops}");
        }
        assert_eq!(on_disk(&tree), 3);
        assert_eq!(marks(&tree), [(key(39), Held { on_disk: 3, live: 3 })]);
        assert_eq!(get(&tree, &key(39)), Some(value(3)));
        assert_eq!(get(&tree, &key(36)), Some(value(1)));
    }

    #[test]
    fn a_key_that_shares_its_hash_with_another_loses_nothing_that_its_value_needs() {
        let (tree, mut pieces) = (tree(), Pieces::default());
        let most = MAX_VALUE_BYTES / CHUNK_BYTES;
        for n in 0..40 {
            commit(&tree, &mut pieces, &[(n, Some(most))]);
        }
        let shrunk: Vec<_> = (0..40).map(|n| (n, Some(2))).collect();
        commit(&tree, &mut pieces, &shrunk);
        let put_off = pieces.stale.front().cloned().unwrap();
        // Another key of the same hash has lost its value meanwhile.
        let hash = pieces.hasher.hash_one(&put_off);
        pieces.held.insert(hash, Held { on_disk: 100, live: 0 });
        while pieces.any_stale() {
            clean(&tree, &mut pieces);
        }
        assert_eq!(get(&tree, &put_off), Some(value(2)));
        assert_eq!(on_disk(&tree), 40 * 2);
    }

    #[test]
    fn pieces_without_marks_are_found_by_looking() {
        let (tree, mut pieces) = (tree(), Pieces::default());
        commit(&tree, &mut pieces, &[(1, Some(2)), (2, Some(1)), (256, Some(4)), (3, Some(128))]);
        let found: Vec<_> = rows::all_in_pieces(&tree).unwrap().into_iter().collect();
        assert_eq!((found.len(), &found), (3, &marks(&tree)));
    }
}
