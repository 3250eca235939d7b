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

/// How many writes are looked up and forgotten together. A transaction rests on what it read a moment ago, so almost
/// always only the newest ones are looked at: a small tree, which stays in the processor's cache.
const TOGETHER: usize = 4_096;

/// Commits in a row.
#[derive(Default)]
struct Generation {
    /// When its first and its last one came.
    from: Duration,
    until: Duration,
    /// The number of the last one.
    last: u64,
    /// The last commit that wrote each key.
    written: BTreeMap<Key, u64>,
}

/// The memory of one incarnation of an owner.
pub(crate) struct Resolver {
    term: u64,
    last: u64,
    /// Writes up to this commit are forgotten, so rests stamped before it cannot be checked.
    horizon: u64,
    /// The newest is the last.
    recent: VecDeque<Generation>,
    writes: usize,
}

impl Resolver {
    /// Begins after the commit `last`, which an earlier incarnation may have made.
    pub(crate) fn new(term: u64, last: u64) -> Self {
        Self { term, last, horizon: last, recent: VecDeque::new(), writes: 0 }
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
            if keys.start >= keys.end {
                return None;
            }
            let bounds = (Bound::Included(&keys.start[..]), Bound::Excluded(&keys.end[..]));
            let newer = self.recent.iter().rev().take_while(|generation| generation.last > stamp.seq);
            newer
                .flat_map(|generation| generation.written.range::<[u8], _>(bounds))
                .find(|&(_, &seq)| seq > stamp.seq)
                .map(|(key, _)| key.clone())
        })
    }

    /// Takes a commit in, at the time `now` of a clock that never goes back, and gives it its number.
    pub(crate) fn admit(&mut self, keys: Vec<Key>, now: Duration) -> Stamp {
        self.last += 1;
        let newest = self
            .recent
            .back()
            .filter(|newest| newest.written.len() < TOGETHER && now.saturating_sub(newest.from) <= KEEP / 2);
        if newest.is_none() {
            self.recent.push_back(Generation { from: now, ..Generation::default() });
        }
        if let Some(newest) = self.recent.back_mut() {
            (newest.until, newest.last) = (now, self.last);
            let before = newest.written.len();
            newest.written.extend(keys.into_iter().map(|key| (key, self.last)));
            self.writes += newest.written.len() - before;
        }
        self.forget(now);
        self.stamp()
    }

    fn forget(&mut self, now: Duration) {
        while let Some(oldest) = self.recent.front()
            && (now.saturating_sub(oldest.until) > KEEP || self.writes > KEEP_WRITES)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.recent.pop_front() else { return };
        self.writes -= oldest.written.len();
        self.horizon = oldest.last;
    }

    /// Forgets every write, so that whatever was read before conflicts.
    pub(crate) fn forget_all(&mut self) {
        while !self.recent.is_empty() {
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
        assert_eq!(resolver.writes, 1, "forgotten writes take no memory");
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
    fn however_many_writes_came_since_all_of_them_count() {
        let mut resolver = Resolver::new(1, 0);
        let mut stamps = vec![resolver.stamp()];
        let name = |n: usize| format!("{n:05}");
        for n in 0..3 * TOGETHER {
            stamps.push(resolver.admit(vec![key(&name(n)), key("hot")], Duration::ZERO));
        }
        assert!(resolver.recent.len() >= 3);
        for n in (0..3 * TOGETHER).step_by(500) {
            let only = (key(&name(n)).only(), stamps[n]);
            assert_eq!(resolver.lost(std::slice::from_ref(&only)), Some(key(&name(n))));
            assert_eq!(resolver.lost(&[(only.0, stamps[n + 1])]), None);
            assert_eq!(resolver.lost(&[(range("hot", "hou"), stamps[n])]), Some(key("hot")));
        }
        assert_eq!(resolver.lost(&[(range("hot", "hou"), resolver.stamp())]), None);
        let lost = resolver.lost(&[(range("00000", "99999"), stamps[5_000])]).unwrap();
        assert!(lost >= key(&name(5_000)), "{lost:?}");
        resolver.forget_all();
        assert_eq!(resolver.lost(&[(range("x", "y"), stamps[9])]), Some(key("x")));
        assert_eq!(resolver.lost(&[(range("x", "y"), resolver.stamp())]), None);
    }

    #[test]
    fn stamps_of_another_incarnation_conflict() {
        let resolver = Resolver::new(2, 9);
        assert_eq!(resolver.lost(&[(range("a", "b"), Stamp { term: 1, seq: 9 })]), Some(key("a")));
        assert_eq!(resolver.lost(&[(range("a", "b"), Stamp { term: 2, seq: 9 })]), None);
    }
}
