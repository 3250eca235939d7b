//! Reading: on the reader threads, or at once where that cannot block for long (rule 8).
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::open::panic_text;
use super::packed::Stored;
use super::queue::{Next, Queue};
use super::recent::{Recent, Table};
use super::rows::{self, Cursor, Seen};
use super::threads::MayCallSled;
use crate::logs;
use crate::types::{Key, Log, Refused, Stamp, View, Want};

/// How many rows are read before the writer may have its turn in between.
const ROWS_A_HOLD: usize = 256;
/// How many rows a task of tokio's may read itself.
const ROWS_AT_ONCE: usize = 64;
/// How many it reads to see whether that was all, where more are asked for: a range is often wanted whole and is
/// nearly empty, such as the objects that a workspace added.
const ROWS_TO_TRY: usize = 16;

/// How long a read that sled has failed waits for it to be opened anew.
const OPENED_WITHIN: Duration = Duration::from_secs(3);

/// How often a task looks whether another one has read, before it hands over: some microseconds, as a short read takes.
const SPINS: u32 = 100;

/// All that is committed, as readers see it.
struct Rows {
    /// Not there while it is opened anew, and when the store is closed.
    sled: Option<sled::Db>,
    recent: Recent,
    /// The last commit of these.
    at: Stamp,
}

impl Default for Rows {
    fn default() -> Self {
        Self { sled: None, recent: Recent::default(), at: Stamp { term: 0, seq: 0 } }
    }
}

impl Rows {
    fn seen(&self) -> Result<Seen<'_>, Refused> {
        let tree = self.sled.as_ref();
        let tree = tree.ok_or_else(|| Refused::Unavailable("sled is not open".into()))?;
        Ok(Seen { tree, recent: &self.recent })
    }
}

#[derive(Default)]
struct Opening {
    /// Sled is being opened anew, and nobody knows yet whether it can be.
    now: bool,
    /// How often that became known.
    known: u64,
}

type Job = Box<dyn FnOnce(&Readers) + Send>;

/// What readers share with the threads that write.
#[derive(Default)]
pub(super) struct Readers {
    /// Nothing of it changes while somebody reads: what is brought to sled meanwhile is in `recent` until it is there.
    rows: RwLock<Rows>,
    opening: Mutex<Opening>,
    opened: Condvar,
    /// Set by a read that sled has failed.
    suspected: AtomicBool,
    /// Durable heads of logs, as far as anyone has asked.
    heads: Mutex<BTreeMap<Log, u64>>,
    pub(super) jobs: Queue<Job>,
    /// Set while a task of tokio's reads: one worker thread at most waits for a disk.
    at_once: AtomicBool,
    pub(super) reads_at_once: AtomicU64,
    pub(super) reads_handed_over: AtomicU64,
}

impl Readers {
    fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows_to_change(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows, when sled is open or cannot be opened.
    fn rows_when_open(&self) -> RwLockReadGuard<'_, Rows> {
        loop {
            let rows = self.rows();
            if rows.sled.is_some() {
                return rows;
            }
            drop(rows);
            let opening = self.opening();
            if !opening.now {
                drop(opening);
                return self.rows();
            }
            let opened = self.opened.wait_while(opening, |opening| opening.now);
            drop(opened.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn opening(&self) -> MutexGuard<'_, Opening> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody finds out if sled can be opened anew: those who read wait for that.
    pub(super) fn set_opening(&self, opening: bool) {
        {
            let mut now = self.opening();
            now.known += u64::from(now.now && !opening);
            now.now = opening;
        }
        self.opened.notify_all();
    }

    /// Whether sled has failed somebody who read, since this was asked the last time.
    pub(super) fn suspects_sled(&self) -> bool {
        self.suspected.swap(false, Ordering::Relaxed)
    }

    /// Reads, and once more if sled has failed and was opened anew.
    fn mended<T>(&self, read: impl Fn() -> Result<T, Refused>) -> Result<T, Refused> {
        let known = self.opening().known;
        match guarded(&read) {
            Err(Refused::Unavailable(_)) if self.rows().sled.is_some() || self.opening().now => {
                self.suspected.store(true, Ordering::Relaxed);
                let same = |opening: &mut Opening| opening.known == known;
                let waited = self.opened.wait_timeout_while(self.opening(), OPENED_WITHIN, same);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                guarded(read)
            }
            answer => answer,
        }
    }

    /// Gives readers sled, or takes it from them.
    pub(super) fn set_sled(&self, sled: Option<sled::Db>) {
        let before = std::mem::replace(&mut self.rows_to_change().sled, sled);
        drop(before);
    }

    /// What a log held when it was opened, and the last commit.
    pub(super) fn begin(&self, found: Option<Arc<Table>>, at: Stamp) {
        let mut rows = self.rows_to_change();
        rows.recent = found.map(Recent::found).unwrap_or_default();
        rows.at = at;
    }

    /// What was committed, and is durable.
    pub(super) fn publish(&self, written: Vec<(Key, Option<Stored>)>, at: Stamp) {
        let mut rows = self.rows_to_change();
        for (key, value) in written {
            rows.recent.write(key, value);
        }
        rows.at = at;
    }

    /// See [`Recent::begin_table`].
    pub(super) fn begin_table(&self) -> Arc<Table> {
        self.rows_to_change().recent.begin_table()
    }

    /// See [`Recent::moved`].
    pub(super) fn moved(&self) {
        let moved = self.rows_to_change().recent.moved();
        // Many rows, which nobody has to wait for.
        drop(moved);
    }

    pub(super) fn heads(&self) -> MutexGuard<'_, BTreeMap<Log, u64>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a reader thread.
    pub(super) fn work(&self) {
        let _here = MayCallSled::here();
        while let Next::Item(job) = self.jobs.next(None) {
            job(self);
        }
    }

    /// Reads where it is asked, if it is little and nobody else does so.
    pub(super) fn read_here(&self, wants: &[Want]) -> Option<Result<View, Refused>> {
        let rows = |want: &Want| match want {
            Want::Key(_) => (1, 1),
            Want::Range { limit, .. } => (0, *limit),
        };
        let add = |(least, most): (usize, usize), (a, b)| (least + a, most.saturating_add(b));
        let (least, most) = wants.iter().map(rows).fold((0, 0), add);
        if least > ROWS_AT_ONCE || !self.takes_place() {
            return None;
        }
        let _here = MayCallSled::here();
        let allowed = if most > ROWS_AT_ONCE { least + ROWS_TO_TRY } else { most };
        let rows = self.rows();
        let answer = match rows.sled {
            Some(_) => match guarded(|| read_in_one_hold(&rows, wants, allowed)).transpose() {
                // A reader thread waits until sled is mended.
                Some(Err(Refused::Unavailable(_))) => None,
                answer => answer,
            },
            None => None,
        };
        drop(rows);
        self.at_once.store(false, Ordering::Release);
        if answer.is_some() {
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
    pub(super) fn read(&self, wants: &[Want]) -> Result<View, Refused> {
        self.reads_handed_over.fetch_add(1, Ordering::Relaxed);
        self.mended(|| {
            let mut rows = self.rows_when_open();
            let at = rows.at;
            let mut all = Vec::with_capacity(wants.len());
            let mut left = ROWS_A_HOLD;
            for want in wants {
                let mut cursor = match want {
                    Want::Key(key) => {
                        left = left.saturating_sub(1);
                        let value = rows::get(rows.seen()?, key)?;
                        all.push(value.map(|value| (key.clone(), value)).into_iter().collect());
                        continue;
                    }
                    want => Cursor::new(want.clone()),
                };
                loop {
                    if left == 0 {
                        drop(rows);
                        rows = self.rows_when_open();
                        left = ROWS_A_HOLD;
                    }
                    let before = cursor.rows.len();
                    let done = cursor.advance(rows.seen()?, left)?;
                    left = left.saturating_sub(cursor.rows.len() - before);
                    if done {
                        break;
                    }
                }
                all.push(cursor.rows);
            }
            // Without anything to be read, too: a closed store refuses.
            rows.seen()?;
            Ok(View { rows: all, at })
        })
    }

    /// The durable head of a log, on a thread of the store's own.
    pub(super) fn log_head(&self, log: Log) -> Result<u64, Refused> {
        self.mended(|| {
            let rows = self.rows_when_open();
            let mut last = Cursor::new(Want::Range { keys: logs::all_rows(log), limit: 1, backwards: true });
            last.advance(rows.seen()?, 1)?;
            let head = logs::head_after(last.rows.first())?;
            drop(rows);
            // The writer may have appended meanwhile, and told so.
            Ok(*self.heads().entry(log).or_insert(head))
        })
    }

    /// The durable head of a log, if it is known.
    pub(super) fn known_head(&self, log: Log) -> Option<u64> {
        self.heads().get(&log).copied()
    }
}

/// All of it, or `None` if it is too many rows.
fn read_in_one_hold(all: &Rows, wants: &[Want], mut allowed: usize) -> Result<Option<View>, Refused> {
    let seen = all.seen()?;
    let mut rows = Vec::with_capacity(wants.len());
    for want in wants {
        let found = match want {
            Want::Key(key) => {
                let value = rows::get(seen, key)?;
                value.map(|value| (key.clone(), value)).into_iter().collect()
            }
            want => {
                let mut cursor = Cursor::new(want.clone());
                if !cursor.advance(seen, allowed)? {
                    return Ok(None);
                }
                cursor.rows
            }
        };
        allowed = allowed.saturating_sub(found.len());
        rows.push(found);
    }
    Ok(Some(View { rows, at: all.at }))
}

/// Sled gives some errors as panics.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Refused::Unavailable(format!("sled panicked: {}", panic_text(&*panic)))))
}
