//! Decides whether what a transaction rests on is unwritten: recent writes by key, in memory, in front of the
//! single writer of a shard's owner. It needs no snapshots and no versions in the rows.
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::time::Duration;

use crate::types::{Key, Stamp};

/// How long writes are remembered at least. A transaction that rests on older reads conflicts.
pub(crate) const KEEP: Duration = Duration::from_secs(10);
/// How many writes are remembered at most, whatever their age (each costs about 150 bytes).
pub(crate) const KEEP_WRITES: usize = 2_000_000;

struct Commit {
    seq: u64,
    at: Duration,
    keys: Box<[Key]>,
}

/// The memory of one incarnation of an owner.
pub(crate) struct Resolver {
    term: u64,
    last: u64,
    /// Writes up to this commit are forgotten, so rests stamped before it cannot be checked.
    horizon: u64,
    recent: BTreeMap<Key, u64>,
    commits: VecDeque<Commit>,
    writes: usize,
}

impl Resolver {
    /// Begins after the commit `last`, which an earlier incarnation may have made.
    pub(crate) fn new(term: u64, last: u64) -> Self {
        Self { term, last, horizon: last, recent: BTreeMap::new(), commits: VecDeque::new(), writes: 0 }
    }

    /// The point up to which everything is admitted.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { term: self.term, seq: self.last }
    }

    /// The key that was lost, if something in `rests_on` was written since its stamp or that cannot be known.
    pub(crate) fn lost(&self, rests_on: &[(Range<Key>, Stamp)]) -> Option<Key> {
        rests_on.iter().find_map(|(keys, stamp)| {
            if stamp.term != self.term || stamp.seq < self.horizon {
                return Some(keys.start.clone());
            }
            if stamp.seq >= self.last || keys.start >= keys.end {
                return None;
            }
            let bounds = (Bound::Included(&keys.start[..]), Bound::Excluded(&keys.end[..]));
            let mut written = self.recent.range::<[u8], _>(bounds);
            written.find(|&(_, &seq)| seq > stamp.seq).map(|(key, _)| key.clone())
        })
    }

    /// Takes a commit in, at the time `now` of a clock that never goes back, and gives it its number.
    pub(crate) fn admit(&mut self, keys: Box<[Key]>, now: Duration) -> Stamp {
        self.last += 1;
        for key in &keys {
            self.recent.insert(key.clone(), self.last);
        }
        self.writes += keys.len();
        self.commits.push_back(Commit { seq: self.last, at: now, keys });
        self.forget(now);
        self.stamp()
    }

    fn forget(&mut self, now: Duration) {
        while let Some(oldest) = self.commits.front()
            && (now.saturating_sub(oldest.at) > KEEP || self.writes > KEEP_WRITES)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(commit) = self.commits.pop_front() else { return };
        for key in &commit.keys {
            if self.recent.get(key) == Some(&commit.seq) {
                self.recent.remove(key);
            }
        }
        self.writes -= commit.keys.len();
        self.horizon = commit.seq;
    }

    /// Forgets every write, so that whatever was read before conflicts.
    pub(crate) fn forget_all(&mut self) {
        while !self.commits.is_empty() {
            self.forget_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.as_bytes().into()
    }

    fn range(start: &str, end: &str) -> Range<Key> {
        key(start)..key(end)
    }

    fn admit(resolver: &mut Resolver, keys: &[&str], seconds: u64) -> Stamp {
        resolver.admit(keys.iter().map(|k| key(k)).collect(), Duration::from_secs(seconds))
    }

    #[test]
    fn a_range_conflicts_with_a_later_write_in_it_and_names_the_key() {
        let mut resolver = Resolver::new(1, 7);
        let before = resolver.stamp();
        admit(&mut resolver, &["b", "x"], 0);
        let after = resolver.stamp();
        assert_eq!(resolver.lost(&[(range("a", "c"), before)]), Some(key("b")));
        assert_eq!(resolver.lost(&[(range("a", "b"), before)]), None);
        assert_eq!(resolver.lost(&[(range("b", "b\0"), before)]), Some(key("b")));
        assert_eq!(resolver.lost(&[(range("a", "z"), after)]), None);
        assert_eq!(resolver.lost(&[(range("z", "a"), before)]), None, "an empty range rests on nothing");
    }

    #[test]
    fn what_is_older_than_the_memory_conflicts() {
        let mut resolver = Resolver::new(1, 0);
        let old = admit(&mut resolver, &["a"], 0);
        admit(&mut resolver, &["b"], 5);
        assert_eq!(resolver.lost(&[(range("q", "r"), old)]), None, "ten seconds are kept");
        admit(&mut resolver, &["c"], 20);
        assert_eq!(resolver.lost(&[(range("q", "r"), old)]), Some(key("q")));
        assert_eq!(resolver.recent.len(), 1, "forgotten writes take no memory");
    }

    #[test]
    fn a_key_written_again_is_remembered_by_its_last_write() {
        let mut resolver = Resolver::new(1, 0);
        admit(&mut resolver, &["a"], 0);
        let between = admit(&mut resolver, &["b"], 8);
        admit(&mut resolver, &["a"], 9);
        admit(&mut resolver, &["c"], 18);
        assert_eq!(resolver.lost(&[(range("a", "b"), between)]), Some(key("a")));
    }

    #[test]
    fn stamps_of_another_incarnation_conflict() {
        let resolver = Resolver::new(2, 9);
        assert_eq!(resolver.lost(&[(range("a", "b"), Stamp { term: 1, seq: 9 })]), Some(key("a")));
        assert_eq!(resolver.lost(&[(range("a", "b"), Stamp { term: 2, seq: 9 })]), None);
    }
}
