//! The store on disk: sled 0.34.7, kept by the rules of docs/decisions/001-sled-rules.md. No type of sled's leaks.
//!
//! A writer thread groups what waits and makes it durable in a write-ahead log; another one, the mover, brings that to sled;
//! a few reader threads serve reads; watchdogs end the process if one of the two that write is stuck.
mod ballast;
mod cache;
mod failed;
mod folder;
mod mover;
mod open;
mod packed;
mod pieces;
mod queue;
mod reader;
mod recent;
mod rows;
mod steps;
mod threads;
mod wal;
mod watchdog;
mod writer;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, oneshot, watch};

pub use folder::OpenError;

use crate::limits::{check_home, check_tx, check_wants};
use crate::lines::{Lines, Turn};
use crate::store::Store;
use crate::types::{Key, Log, Refused, SHARDS, Shard, Stamp, Tx, View, Want};
use folder::Folder;
use mover::{Mover, Shared};
use queue::Queue;
use reader::Readers;
use steps::{Real, Steps};
use threads::MayCallSled;
use watchdog::Progress;
use writer::{Request, Writer};

/// How a data folder is kept.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// How much memory sled's cache may take: as much as the rows that are read often. Without it: a quarter of what
    /// the process may have, from 128 MiB to 1 GiB.
    pub cache_bytes: u64,
    /// Commits that add something are refused while less than this is free on the disk.
    pub disk_floor: u64,
    /// How many threads serve reads.
    pub readers: usize,
    /// Ends the process when a commit takes longer than this.
    pub watchdog: Duration,
    /// How often sled frees a segment of its file of what is still alive in it, so that the room is used again (rule 4).
    pub clean_every: Duration,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self {
            cache_bytes: cache::default_bytes(),
            disk_floor: 256 << 20,
            readers: 2,
            watchdog: Duration::from_secs(30),
            clean_every: Duration::from_millis(50),
        }
    }
}

/// How often reads were served in which way, since the folder was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCounts {
    /// Where it was asked.
    pub at_once: u64,
    /// By a reader thread.
    pub handed_over: u64,
}

/// A data folder. A clone is another handle on it; it is closed by [`close`](Self::close), or with the last handle.
#[derive(Clone)]
pub struct SledStore(Arc<Inner>);

struct Inner {
    requests: Arc<Queue<Request>>,
    readers: Arc<Readers>,
    lines: Arc<Lines>,
    owned: watch::Sender<Vec<Shard>>,
    hints: broadcast::Sender<Shard>,
    threads: Mutex<Threads>,
    /// Whether anything had been committed when the folder was opened.
    used: bool,
}

#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    mover: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    watchdogs: Vec<JoinHandle<()>>,
}

impl SledStore {
    /// Opens a data folder, making it if it does not exist. It reads files, so from tokio call it through
    /// `spawn_blocking`.
    pub fn open(path: impl AsRef<Path>, options: SledOptions) -> Result<Self, OpenError> {
        Self::open_with(path.as_ref(), options, Arc::new(Real))
    }

    fn open_with(path: &Path, options: SledOptions, steps: Arc<dyn Steps>) -> Result<Self, OpenError> {
        let _here = MayCallSled::here();
        let folder = Folder::take(path)?;
        let (requests, readers) = (Arc::<Queue<Request>>::default(), Arc::<Readers>::default());
        let hints = broadcast::Sender::new(1024);
        let (reader_threads, limit) = (options.readers.max(1), options.watchdog);
        let [writing, moving] = [Progress::new(), Progress::new()];
        let shared = Arc::new(Shared::new(folder, options, readers.clone(), steps));
        let mover = Mover::open(shared.clone(), moving.clone())?;
        let writer = Writer::open(shared, &mover, requests.clone(), writing.clone(), hints.clone())?;
        mover.show();
        let inner = Inner {
            requests,
            readers: readers.clone(),
            lines: Arc::default(),
            owned: watch::Sender::new((0..SHARDS).map(Shard).collect()),
            hints,
            threads: Mutex::default(),
            used: writer.found() > 0,
        };
        // From here on dropping `inner` ends the threads that were started.
        let failed = |error| OpenError::Io { folder: path.to_owned(), error };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let mut threads = inner.threads();
        for _ in 0..reader_threads {
            let readers = readers.clone();
            threads.readers.push(thread("store-reader").spawn(move || readers.work()).map_err(failed)?);
        }
        for progress in [writing, moving] {
            threads.watchdogs.push(watchdog::watch(progress, limit, watchdog::abort).map_err(failed)?);
        }
        threads.mover = Some(thread("store-mover").spawn(move || mover.work()).map_err(failed)?);
        threads.writer = Some(thread("store-writer").spawn(move || writer.work()).map_err(failed)?);
        drop(threads);
        Ok(Self(Arc::new(inner)))
    }

    /// Commits what waits, flushes, closes the files and gives the folder back. Every later call is refused.
    pub async fn close(&self) {
        let inner = self.0.clone();
        // It waits for threads.
        if let Err(error) = tokio::task::spawn_blocking(move || inner.close()).await {
            tracing::error!(%error, "closing the store failed");
        }
    }

    /// Whether the folder was in use before: something had been committed when it was opened.
    pub fn used(&self) -> bool {
        self.0.used
    }

    /// How reads were served.
    pub fn read_counts(&self) -> ReadCounts {
        let readers = &self.0.readers;
        ReadCounts {
            at_once: readers.reads_at_once.load(Ordering::Relaxed),
            handed_over: readers.reads_handed_over.load(Ordering::Relaxed),
        }
    }

    /// Does something on a reader thread.
    async fn hand_over<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |readers: &Readers| {
            let _ = answer.send(work(readers));
        });
        self.0.readers.jobs.push(job).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Inner {
    fn threads(&self) -> std::sync::MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.requests.close();
        let mut threads = self.threads();
        // The writer commits what waits, and the mover brings it to sled and takes that from the readers.
        for thread in [threads.writer.take(), threads.mover.take()].into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a thread of the store that writes ended with a panic");
            }
        }
        self.readers.jobs.close();
        let Threads { readers, watchdogs, .. } = std::mem::take(&mut *threads);
        for thread in readers.into_iter().chain(watchdogs) {
            // They catch what sled panics with.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> Refused {
    Refused::Unavailable("the store is closed".into())
}

#[async_trait]
impl Store for SledStore {
    async fn read(&self, home: Shard, wants: Vec<Want>) -> Result<View, Refused> {
        check_wants(home, &wants)?;
        if let Some(answer) = self.0.readers.read_here(&wants) {
            return answer;
        }
        self.hand_over(move |readers| readers.read(&wants)).await
    }

    async fn commit(&self, tx: Tx) -> Result<Stamp, Refused> {
        let cost = check_tx(&tx)?;
        let (answer, answered) = oneshot::channel();
        self.0.requests.push(Request { tx: tx.into(), cost, answer }).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn log_head(&self, log: Log) -> Result<u64, Refused> {
        match self.0.readers.known_head(log) {
            Some(head) => Ok(head),
            None => self.hand_over(move |readers| readers.log_head(log)).await,
        }
    }

    async fn turn(&self, home: Shard, keys: Vec<Key>) -> Result<Turn, Refused> {
        check_home(home)?;
        Ok(self.0.lines.turn(keys).await)
    }

    fn owned(&self) -> watch::Receiver<Vec<Shard>> {
        self.0.owned.subscribe()
    }

    fn hints(&self) -> broadcast::Receiver<Shard> {
        self.0.hints.subscribe()
    }
}

#[cfg(test)]
mod power_cut_tests;
#[cfg(test)]
mod tests;
