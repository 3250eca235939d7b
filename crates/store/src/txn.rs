//! A transaction being built: it reads, sees its own writes, remembers what it rests on, and can go back to a
//! savepoint. Nothing is written before `commit`.
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::limits::{LOG_KEY_BYTES, cost};
use crate::store::Store;
use crate::types::{Key, Log, Refused, Row, Shard, Stamp, Tx, Value, View, Want};

/// A transaction over one shard.
///
/// Tracked reads ([`get`](Self::get), [`get_many`](Self::get_many), [`range`](Self::range)) become what the
/// commit rests on; a limited range only as far as the last row returned. [`read`](Self::read) is the other path:
/// it sees the own writes too, but the transaction does not rest on it.
pub struct Txn {
    store: Arc<dyn Store>,
    home: Shard,
    rests_on: Vec<(Range<Key>, Stamp)>,
    /// What tracked point reads saw in the store, so that reading twice is cheap and sees the same.
    seen: BTreeMap<Key, Option<Value>>,
    writes: BTreeMap<Key, Option<Value>>,
    append: Vec<(Log, Value)>,
    /// For every write the key and what was to be written there before, so that savepoints cost nothing.
    undo: Vec<(Key, Option<Option<Value>>)>,
    rows: usize,
    bytes: usize,
}

/// A point of a transaction to go back to. Going back to an earlier one makes later ones invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    writes: usize,
    append: usize,
}

impl Txn {
    /// Begins a transaction; it reads and writes nothing yet.
    pub fn begin(store: Arc<dyn Store>, home: Shard) -> Self {
        Self {
            store,
            home,
            rests_on: Vec::new(),
            seen: BTreeMap::new(),
            writes: BTreeMap::new(),
            append: Vec::new(),
            undo: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// The shard that all of it lives in.
    pub fn home(&self) -> Shard {
        self.home
    }

    /// The store underneath.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The value of a key; the commit rests on it.
    pub async fn get(&mut self, key: &Key) -> Result<Option<Value>, Refused> {
        if let Some(known) = self.known(key) {
            return Ok(known.cloned());
        }
        let view = self.store.read(self.home, vec![Want::Key(key.clone())]).await?;
        let value = view.rows.into_iter().flatten().next().map(|(_, value)| value);
        self.note(key.clone(), value.clone(), view.at);
        Ok(value)
    }

    /// The values of many keys in one trip, in their order; the commit rests on all of them.
    pub async fn get_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Value>>, Refused> {
        let mut unknown: Vec<Key> = keys.iter().filter(|key| self.known(key).is_none()).cloned().collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let view = self.store.read(self.home, unknown.iter().cloned().map(Want::Key).collect()).await?;
            for (key, rows) in unknown.into_iter().zip(view.rows) {
                self.note(key, rows.into_iter().next().map(|(_, value)| value), view.at);
            }
        }
        Ok(keys.iter().map(|key| self.known(key).flatten().cloned()).collect())
    }

    /// At most `limit` rows of a range, own writes included; the commit rests on the range up to the last row
    /// returned, or on all of it if there were fewer rows than `limit`.
    pub async fn range(
        &mut self,
        keys: Range<Key>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, Refused> {
        if limit == 0 || keys.start >= keys.end {
            return Ok(Vec::new());
        }
        let mut view = self.read(vec![Want::Range { keys: keys.clone(), limit, backwards }]).await?;
        let rows = view.rows.pop().unwrap_or_default();
        let rests_on = match rows.last() {
            Some((last, _)) if rows.len() == limit => {
                if backwards {
                    last.clone()..keys.end
                } else {
                    keys.start..last.successor()
                }
            }
            _ => keys,
        };
        self.rests_on.push((rests_on, view.at));
        Ok(rows)
    }

    /// Reads many wants in one trip, own writes included, without resting on any of it.
    pub async fn read(&self, wants: Vec<Want>) -> Result<View, Refused> {
        let asked = wants.iter().map(|want| self.widened(want)).collect();
        let mut view = self.store.read(self.home, asked).await?;
        if !self.writes.is_empty() {
            for (want, rows) in wants.iter().zip(&mut view.rows) {
                self.overlay(want, rows);
            }
        }
        Ok(view)
    }

    /// Rests on a range explicitly: on it being unwritten since `at`, which came with what was [`read`](Self::read).
    pub fn rest_on(&mut self, keys: Range<Key>, at: Stamp) {
        self.rests_on.push((keys, at));
    }

    /// Writes a value.
    pub fn put(&mut self, key: Key, value: impl Into<Value>) {
        self.write(key, Some(value.into()));
    }

    /// Deletes a key, whether it exists or not.
    pub fn delete(&mut self, key: Key) {
        self.write(key, None);
    }

    /// Puts a row at the end of a log; the owner gives the position at commit. One row a commit is the aim.
    pub fn append(&mut self, log: Log, value: impl Into<Value>) {
        let value = value.into();
        self.count(cost(LOG_KEY_BYTES, Some(value.len())), (0, 0));
        self.append.push((log, value));
    }

    /// A point to which [`rollback_to`](Self::rollback_to) can go back.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { writes: self.undo.len(), append: self.append.len() }
    }

    /// Undoes all writes and appends since the savepoint. What was read since stays what the commit rests on.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        while self.undo.len() > savepoint.writes {
            let Some((key, before)) = self.undo.pop() else { break };
            let added =
                before.as_ref().map_or((0, 0), |value| cost(key.len(), value.as_ref().map(Value::len)));
            let removed = match before {
                Some(before) => self.writes.insert(key.clone(), before),
                None => self.writes.remove(&key),
            };
            let removed = removed.map_or((0, 0), |value| cost(key.len(), value.as_ref().map(Value::len)));
            self.count(added, removed);
        }
        while self.append.len() > savepoint.append {
            let Some((_, value)) = self.append.pop() else { break };
            self.count((0, 0), cost(LOG_KEY_BYTES, Some(value.len())));
        }
    }

    /// How many rows the commit would write, the pieces of large values counted.
    pub fn keys(&self) -> usize {
        self.rows
    }

    /// How many bytes of keys and values the commit would write.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a commit would write nothing.
    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty() && self.append.is_empty()
    }

    /// Commits. A read-only transaction is validated too: then all that it read was true at one moment.
    pub async fn commit(self) -> Result<Stamp, Refused> {
        let tx = Tx {
            home: self.home,
            rests_on: self.rests_on,
            writes: self.writes.into_iter().collect(),
            append: self.append,
        };
        self.store.commit(tx).await
    }

    /// Whether all that was read so far was true at one moment: `Conflict` if not. Writes nothing.
    pub async fn validate(&self) -> Result<Stamp, Refused> {
        let rests_on = self.rests_on.clone();
        self.store.commit(Tx { home: self.home, rests_on, writes: Vec::new(), append: Vec::new() }).await
    }

    /// What the transaction knows of a key without asking: the outer `None` means nothing.
    fn known(&self, key: &Key) -> Option<Option<&Value>> {
        self.writes.get(key).or_else(|| self.seen.get(key)).map(Option::as_ref)
    }

    fn note(&mut self, key: Key, value: Option<Value>, at: Stamp) {
        self.rests_on.push((key.only(), at));
        self.seen.insert(key, value);
    }

    fn write(&mut self, key: Key, value: Option<Value>) {
        let added = cost(key.len(), value.as_ref().map(Value::len));
        let before = self.writes.insert(key.clone(), value);
        let removed = before.as_ref().map_or((0, 0), |value| cost(key.len(), value.as_ref().map(Value::len)));
        self.count(added, removed);
        self.undo.push((key, before));
    }

    fn count(&mut self, added: (usize, usize), removed: (usize, usize)) {
        self.rows = self.rows + added.0 - removed.0;
        self.bytes = self.bytes + added.1 - removed.1;
    }

    fn own(&self, keys: &Range<Key>) -> impl DoubleEndedIterator<Item = (&Key, &Option<Value>)> {
        let end = keys.end.clone().max(keys.start.clone());
        self.writes.range::<Key, _>((Bound::Included(&keys.start), Bound::Excluded(&end)))
    }

    /// Asks for as many rows more as own deletions may hide, so that the limit can still be met.
    fn widened(&self, want: &Want) -> Want {
        match want {
            Want::Range { keys, limit, backwards } if *limit > 0 => {
                let hidden = self.own(keys).filter(|(_, value)| value.is_none()).count();
                let limit = limit.saturating_add(hidden);
                Want::Range { keys: keys.clone(), limit, backwards: *backwards }
            }
            want => want.clone(),
        }
    }

    /// Lays the own writes over the rows that a widened want gave.
    fn overlay(&self, want: &Want, rows: &mut Vec<Row>) {
        match want {
            Want::Key(key) => {
                if let Some(own) = self.writes.get(key) {
                    *rows = own.iter().map(|value| (key.clone(), value.clone())).collect();
                }
            }
            Want::Range { keys, limit, backwards } => {
                // The store showed only as far as its last row if it stopped at the (widened) limit.
                let asked = match self.widened(want) {
                    Want::Range { limit, .. } => limit,
                    Want::Key(_) => 1,
                };
                let mut covered = keys.clone();
                if let Some((last, _)) = rows.last()
                    && rows.len() >= asked
                {
                    if *backwards {
                        covered.start = last.clone();
                    } else {
                        covered.end = last.successor();
                    }
                }
                if self.own(&covered).next().is_none() {
                    rows.truncate(*limit);
                    return;
                }
                let mut merged: BTreeMap<Key, Value> = std::mem::take(rows).into_iter().collect();
                for (key, own) in self.own(&covered) {
                    match own {
                        Some(value) => merged.insert(key.clone(), value.clone()),
                        None => merged.remove(key),
                    };
                }
                *rows = if *backwards {
                    merged.into_iter().rev().take(*limit).collect()
                } else {
                    merged.into_iter().take(*limit).collect()
                };
            }
        }
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn")
            .field("home", &self.home)
            .field("rests_on", &self.rests_on.len())
            .field("writes", &self.writes.len())
            .field("append", &self.append.len())
            .finish_non_exhaustive()
    }
}
