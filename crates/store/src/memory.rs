//! The store in memory: the model that other backends are held against, and the store of the seeded simulation.
//! Deterministic: no threads, no clock, no randomness; it can be made to fail and to crash at a commit.
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::limits::{check_home, check_tx, check_wants};
use crate::lines::{Lines, Turn};
use crate::logs;
use crate::resolver::Resolver;
use crate::store::Store;
use crate::types::{Key, Log, Refused, Row, SHARDS, Shard, Stamp, Tx, Value, View, Want};

/// What goes wrong at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this; nothing is written, and the store goes on. A conflict made up so is one that a
    /// real owner may see too.
    Refuse(Refused),
    /// The process dies before the commit is applied: this and every later call answers `Unavailable`, until
    /// [`MemoryStore::reopen`].
    CrashBefore,
    /// The process dies after the commit was applied and before it answers. (An owner that lives finds out before
    /// it answers, so an applied commit is never refused without a crash.)
    CrashAfter,
}

/// The model. A clone is another handle on the same store.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    /// Which process this handle belongs to; after a crash it is no longer the current one.
    term: u64,
    lines: Arc<Lines>,
    owned: watch::Sender<Vec<Shard>>,
    hints: broadcast::Sender<Shard>,
}

struct Inner {
    term: u64,
    crashed: bool,
    rows: BTreeMap<Key, Value>,
    heads: BTreeMap<Log, u64>,
    resolver: Resolver,
    commits: u64,
    history: Vec<u64>,
    faults: BTreeMap<u64, Fault>,
    yields: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let inner = Inner {
            term: 1,
            crashed: false,
            rows: BTreeMap::new(),
            heads: BTreeMap::new(),
            resolver: Resolver::new(1, 0),
            commits: 0,
            history: Vec::new(),
            faults: BTreeMap::new(),
            yields: false,
        };
        Self::handle(Arc::new(Mutex::new(inner)), 1)
    }

    fn handle(inner: Arc<Mutex<Inner>>, term: u64) -> Self {
        let owned = watch::Sender::new((0..SHARDS).map(Shard).collect());
        Self { inner, term, lines: Arc::default(), owned, hints: broadcast::Sender::new(1024) }
    }

    /// Lets every call give way once before it does its work, so that tasks of one thread interleave.
    pub fn with_yields(self) -> Self {
        self.lock().yields = true;
        self
    }

    /// What happens at the `nth` commit from now (1 is the next). Commits without writes do not count.
    pub fn fail_commit(&self, nth: u64, fault: Fault) {
        let mut inner = self.lock();
        let at = inner.commits + nth;
        inner.faults.insert(at, fault);
    }

    /// Takes back all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// How many commits with writes were tried so far.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// A hash of each of them, in order: what it was to write, in which process, and what it was answered. Two runs that
    /// did the same have the same.
    pub fn history(&self) -> Vec<u64> {
        self.lock().history.clone()
    }

    /// The process dies now: every call of every handle answers `Unavailable`, until [`reopen`](Self::reopen).
    pub fn crash(&self) {
        self.lock().crashed = true;
    }

    /// Whether a crash has happened since the store was opened.
    pub fn crashed(&self) -> bool {
        let inner = self.lock();
        inner.crashed || inner.term != self.term
    }

    /// Opens the store again, as a new process would: all that was committed is there, older handles stay dead,
    /// what they have under way comes to nothing.
    pub fn reopen(&self) -> MemoryStore {
        let mut inner = self.lock();
        inner.term += 1;
        inner.crashed = false;
        inner.resolver = Resolver::new(inner.term, inner.resolver.stamp().seq);
        let term = inner.term;
        drop(inner);
        Self::handle(self.inner.clone(), term)
    }

    /// Forgets recent writes, so that every transaction under way conflicts, as after a long pause.
    pub fn forget_recent(&self) {
        self.lock().resolver.forget_all();
    }

    /// All rows, in order: for comparing whole states in tests.
    pub fn dump(&self) -> Vec<Row> {
        self.lock().rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, if this handle's process is alive.
    fn alive(&self) -> Result<MutexGuard<'_, Inner>, Refused> {
        let inner = self.lock();
        if inner.crashed || inner.term != self.term {
            return Err(Refused::Unavailable("the process of this handle has crashed".into()));
        }
        Ok(inner)
    }

    async fn give_way(&self) {
        if !self.lock().yields {
            return;
        }
        let mut polled = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Inner {
    fn rows_of(&self, want: &Want) -> Vec<Row> {
        let row = |(key, value): (&Key, &Value)| (key.clone(), value.clone());
        match want {
            Want::Key(key) => self.rows.get_key_value(key).map(row).into_iter().collect(),
            Want::Range { keys, .. } if keys.start >= keys.end => Vec::new(),
            Want::Range { keys, limit, backwards } => {
                let bounds = (Bound::Included(&keys.start), Bound::Excluded(&keys.end));
                let rows = self.rows.range::<Key, _>(bounds);
                match backwards {
                    true => rows.rev().take(*limit).map(row).collect(),
                    false => rows.take(*limit).map(row).collect(),
                }
            }
        }
    }

    fn commit(&mut self, tx: Tx) -> Result<Stamp, Refused> {
        let news = !tx.writes.is_empty() || !tx.append.is_empty();
        let mut told = DefaultHasher::new();
        (self.term, &tx.writes, &tx.append).hash(&mut told);
        let ended = self.decide(tx);
        if news {
            ended.as_ref().err().map(ToString::to_string).hash(&mut told);
            self.history.push(told.finish());
        }
        ended
    }

    fn decide(&mut self, tx: Tx) -> Result<Stamp, Refused> {
        if tx.writes.is_empty() && tx.append.is_empty() {
            return match self.resolver.lost(&tx.rests_on) {
                Some(key) => Err(Refused::Conflict { key }),
                None => Ok(self.resolver.stamp()),
            };
        }
        self.commits += 1;
        let fault = self.faults.remove(&self.commits);
        match &fault {
            Some(Fault::Refuse(refused)) => return Err(refused.clone()),
            Some(Fault::CrashBefore) => {
                self.crashed = true;
                return Err(Refused::Unavailable("crashed before the commit".into()));
            }
            Some(Fault::CrashAfter) | None => {}
        }
        if let Some(key) = self.resolver.lost(&tx.rests_on) {
            return Err(Refused::Conflict { key });
        }
        for (key, _) in &tx.writes {
            if let Some((log, position)) = logs::pruned_row(key)? {
                logs::check_prune(position, self.heads.get(&log).copied().unwrap_or(1))?;
            }
        }
        let mut written = Vec::with_capacity(tx.writes.len() + tx.append.len());
        for (key, value) in tx.writes {
            match value {
                Some(value) => self.rows.insert(key.clone(), value),
                None => self.rows.remove(&key),
            };
            written.push(key);
        }
        for (log, value) in tx.append {
            let head = self.heads.entry(log).or_insert(1);
            let key = logs::row_key(log, *head);
            *head += 1;
            self.rows.insert(key.clone(), value);
            written.push(key);
        }
        // No clock: nothing is ever too old, but the memory stays bounded.
        let stamp = self.resolver.admit(written, Duration::ZERO);
        if fault == Some(Fault::CrashAfter) {
            self.crashed = true;
            return Err(Refused::Unavailable("crashed after the commit".into()));
        }
        Ok(stamp)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self, home: Shard, wants: Vec<Want>) -> Result<View, Refused> {
        check_wants(home, &wants)?;
        self.give_way().await;
        let inner = self.alive()?;
        let at = inner.resolver.stamp();
        Ok(View { rows: wants.iter().map(|want| inner.rows_of(want)).collect(), at })
    }

    async fn commit(&self, tx: Tx) -> Result<Stamp, Refused> {
        check_tx(&tx)?;
        self.give_way().await;
        let home = tx.home;
        let news = !tx.writes.is_empty() || !tx.append.is_empty();
        let stamp = self.alive()?.commit(tx)?;
        if news {
            // Nobody listening is fine.
            let _ = self.hints.send(home);
        }
        Ok(stamp)
    }

    async fn log_head(&self, log: Log) -> Result<u64, Refused> {
        self.give_way().await;
        Ok(self.alive()?.heads.get(&log).copied().unwrap_or(1))
    }

    async fn turn(&self, home: Shard, keys: Vec<Key>) -> Result<Turn, Refused> {
        check_home(home)?;
        Ok(self.lines.turn(keys).await)
    }

    fn owned(&self) -> watch::Receiver<Vec<Shard>> {
        self.owned.subscribe()
    }

    fn hints(&self) -> broadcast::Receiver<Shard> {
        self.hints.subscribe()
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
