//! Reading: on the reader threads, or at once where that cannot block for long (rule 8).
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use tokio::sync::Notify;

use super::open::panic_text;
use super::queue::{Next, Queue};
use super::rows::{self, Cursor};
use super::threads::MayCallSled;
use crate::logs;
use crate::types::{Log, Refused, Stamp, View, Want};

/// How many rows are read before the writer may have the gate in between.
const ROWS_A_HOLD: usize = 256;
/// How many rows a task of tokio's may read itself.
const ROWS_AT_ONCE: usize = 64;
/// How many it reads to see whether that was all, where more are asked for: a range is often wanted whole and is
/// nearly empty, such as the objects that a workspace added.
const ROWS_TO_TRY: usize = 16;

/// How often a task looks whether another one has read, before it hands over: some microseconds, as a short read takes.
const SPINS: u32 = 100;
/// How many batches of the writer's a task waits for, before it hands over.
const BATCHES: u32 = 3;

/// Sled as readers see it.
pub(super) struct Current {
    pub(super) db: sled::Db,
    pub(super) term: u64,
    /// The last commit that is applied, and so visible to readers.
    pub(super) applied: u64,
}

/// Durable heads of logs, as far as anyone has asked.
#[derive(Default)]
pub(super) struct Heads {
    pub(super) term: u64,
    pub(super) next: BTreeMap<Log, u64>,
}

type Job = Box<dyn FnOnce(&Readers) + Send>;

/// What readers share with the writer.
#[derive(Default)]
pub(super) struct Readers {
    /// The writer holds it while it applies a batch, so readers never see half of one, and takes the database
    /// out while it opens it anew.
    gate: RwLock<Option<Current>>,
    /// Told each time that the writer has let the gate go.
    let_go: Notify,
    heads: Mutex<Heads>,
    pub(super) jobs: Queue<Job>,
    /// Set while a task of tokio's reads: one worker thread at most waits for a disk.
    at_once: AtomicBool,
    pub(super) reads_at_once: AtomicU64,
    pub(super) reads_handed_over: AtomicU64,
}

impl Readers {
    pub(super) fn gate_for_writing(&self) -> Gate<'_> {
        let held = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        Gate { held, _told: Told(&self.let_go) }
    }

    fn gate_for_reading(&self) -> RwLockReadGuard<'_, Option<Current>> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a reader thread.
    pub(super) fn work(&self) {
        let _here = MayCallSled::here();
        while let Next::Item(job) = self.jobs.next(None) {
            job(self);
        }
    }

    /// Reads where it is asked, if it is little and nobody else does so. While a batch is applied it waits for the end of
    /// that: two threads less are woken than on the way to a reader thread and back.
    pub(super) async fn read_here(&self, wants: &[Want]) -> Option<Result<View, Refused>> {
        for _ in 0..BATCHES {
            let let_go = self.let_go.notified();
            match self.read_at_once(wants) {
                AtOnce::Read(view) => return Some(view),
                AtOnce::Writing => let_go.await,
                AtOnce::No => return None,
            }
        }
        None
    }

    fn read_at_once(&self, wants: &[Want]) -> AtOnce {
        let rows = |want: &Want| match want {
            Want::Key(_) => (1, 1),
            Want::Range { limit, .. } => (0, *limit),
        };
        let add = |(least, most): (usize, usize), (a, b)| (least + a, most.saturating_add(b));
        let (least, most) = wants.iter().map(rows).fold((0, 0), add);
        if least > ROWS_AT_ONCE || !self.takes_place() {
            return AtOnce::No;
        }
        let _here = MayCallSled::here();
        let allowed = if most > ROWS_AT_ONCE { least + ROWS_TO_TRY } else { most };
        let read = |gate: &Option<Current>| {
            guarded(|| read_in_one_hold(gate, wants, allowed)).transpose().map_or(AtOnce::No, AtOnce::Read)
        };
        let answer = match self.gate.try_read() {
            Ok(gate) => read(&gate),
            Err(TryLockError::Poisoned(gate)) => read(&gate.into_inner()),
            Err(TryLockError::WouldBlock) => AtOnce::Writing,
        };
        self.at_once.store(false, Ordering::Release);
        if matches!(answer, AtOnce::Read(_)) {
            self.reads_at_once.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Takes the place of the one task that reads, unless the one there takes long.
    fn takes_place(&self) -> bool {
        (0..SPINS).any(|_| {
            let is_free = !self.at_once.swap(true, Ordering::Acquire);
            if !is_free {
                std::hint::spin_loop();
            }
            is_free
        })
    }

    /// Reads on a reader thread, giving way to the writer now and then.
    pub(super) fn read(&self, wants: Vec<Want>) -> Result<View, Refused> {
        self.reads_handed_over.fetch_add(1, Ordering::Relaxed);
        guarded(|| {
            let mut gate = self.gate_for_reading();
            let at = stamp(open(&gate)?);
            let mut all = Vec::with_capacity(wants.len());
            let mut left = ROWS_A_HOLD;
            for want in wants {
                let mut cursor = match want {
                    Want::Key(key) => {
                        left = left.saturating_sub(1);
                        let value = rows::get(&open(&gate)?.db, &key)?;
                        all.push(value.map(|value| (key, value)).into_iter().collect());
                        continue;
                    }
                    want => Cursor::new(want),
                };
                loop {
                    if left == 0 {
                        drop(gate);
                        gate = self.gate_for_reading();
                        left = ROWS_A_HOLD;
                    }
                    let before = cursor.rows.len();
                    let done = cursor.advance(&open(&gate)?.db, left)?;
                    left = left.saturating_sub(cursor.rows.len() - before);
                    if done {
                        break;
                    }
                }
                all.push(cursor.rows);
            }
            Ok(View { rows: all, at })
        })
    }

    /// The durable head of a log, on a reader thread.
    pub(super) fn log_head(&self, log: Log) -> Result<u64, Refused> {
        guarded(|| {
            let gate = self.gate_for_reading();
            let current = open(&gate)?;
            let head = head_on_disk(&current.db, log)?;
            let mut heads = self.heads();
            if heads.term != current.term {
                return Err(Refused::Unavailable("the store is being opened anew".into()));
            }
            // The writer notes a head before it applies anything that moves it: if it did, that one counts, and
            // what was just read may not be durable yet.
            Ok(*heads.next.entry(log).or_insert(head))
        })
    }

    /// The durable head of a log, if it is known.
    pub(super) fn known_head(&self, log: Log) -> Option<u64> {
        self.heads().next.get(&log).copied()
    }
}

/// What came of a task's own attempt to read.
enum AtOnce {
    Read(Result<View, Refused>),
    /// The writer applies a batch.
    Writing,
    /// It is too much, or somebody else reads.
    No,
}

/// The gate, held by the writer. Tasks that wait for it are told when it is let go, however that comes about.
pub(super) struct Gate<'r> {
    held: RwLockWriteGuard<'r, Option<Current>>,
    // Dropped after it.
    _told: Told<'r>,
}

struct Told<'r>(&'r Notify);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl Deref for Gate<'_> {
    type Target = Option<Current>;

    fn deref(&self) -> &Self::Target {
        &self.held
    }
}

impl DerefMut for Gate<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.held
    }
}

/// The head of a log by its last row.
pub(super) fn head_on_disk(tree: &sled::Tree, log: Log) -> Result<u64, Refused> {
    let mut last = Cursor::new(Want::Range { keys: logs::all_rows(log), limit: 1, backwards: true });
    last.advance(tree, 1)?;
    logs::head_after(last.rows.first())
}

fn open(gate: &Option<Current>) -> Result<&Current, Refused> {
    gate.as_ref().ok_or_else(|| Refused::Unavailable("the store is closed or being opened anew".into()))
}

fn stamp(current: &Current) -> Stamp {
    Stamp { term: current.term, seq: current.applied }
}

/// All that is wanted, or nothing where that is more than so many rows.
fn read_in_one_hold(
    gate: &Option<Current>,
    wants: &[Want],
    mut allowed: usize,
) -> Result<Option<View>, Refused> {
    let current = open(gate)?;
    let mut rows = Vec::with_capacity(wants.len());
    for want in wants {
        let found = match want {
            Want::Key(key) => {
                let value = rows::get(&current.db, key)?;
                value.map(|value| (key.clone(), value)).into_iter().collect()
            }
            want => {
                let mut cursor = Cursor::new(want.clone());
                if !cursor.advance(&current.db, allowed)? {
                    return Ok(None);
                }
                cursor.rows
            }
        };
        allowed = allowed.saturating_sub(found.len());
        rows.push(found);
    }
    Ok(Some(View { rows, at: stamp(current) }))
}

/// Sled gives some errors as panics.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Refused::Unavailable(format!("sled panicked: {}", panic_text(&*panic)))))
}
