//! The writer: the one thread that writes. It merges what waits into one batch, applies it, makes it durable, and
//! then answers all (rules 2, 3, 6 and 7).
mod recover;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, oneshot};

use super::SledOptions;
use super::ballast::Ballast;
use super::failed::Failed;
use super::folder::{Folder, OpenError};
use super::open::{self, Opened};
use super::packed::PackedTx;
use super::pieces::Pieces;
use super::queue::{Next, Queue};
use super::reader::{Current, Readers, head_on_disk};
use super::rows::{self, Group};
use super::steps::Steps;
use super::threads::{self, MayCallSled};
use super::watchdog::Progress;
use crate::full::stays_free;
use crate::limits::{MAX_TX_BYTES, MAX_TX_ROWS};
use crate::logs;
use crate::resolver::Resolver;
use crate::types::{Key, Log, Refused, Shard, Stamp};

/// After a pause of this length what sled still holds back is flushed.
const IDLE: Duration = Duration::from_millis(500);
/// How long a group waits for more to come in, at most; half of what the last flush took is enough.
const GATHER: Duration = Duration::from_micros(500);
/// How often a writer with nothing to do looks whether the disk is still full.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
/// How many pieces that nothing leads to any more are deleted beside other writes.
const CLEANED: usize = 128;

pub(super) struct Request {
    pub(super) tx: PackedTx,
    /// How many rows and bytes it writes.
    pub(super) cost: (usize, usize),
    pub(super) answer: oneshot::Sender<Result<Stamp, Refused>>,
}

pub(super) struct Writer {
    folder: Folder,
    options: SledOptions,
    requests: Arc<Queue<Request>>,
    readers: Arc<Readers>,
    progress: Arc<Progress>,
    hints: broadcast::Sender<Shard>,
    steps: Arc<dyn Steps>,
    sled: Option<Opened>,
    term: u64,
    resolver: Resolver,
    /// Which values are in pieces, admitted commits included.
    pieces: Pieces,
    /// The next position of each log that this incarnation has appended to, admitted commits included.
    heads: HashMap<Log, u64>,
    /// The logs that the group in hand appends to.
    moved: Vec<Log>,
    clock: Instant,
    /// Without it nothing is written: after a disk was full it is made first.
    ballast: Ballast,
    /// Whether anything was written since the last idle flush.
    dirty: bool,
    /// How many requests the last group had, and how long it took to make it durable.
    last_group: (usize, Duration),
    /// How many commits the folder had when it was opened.
    found: u64,
}

/// A request that is in the batch, and its stamp.
struct Admitted {
    stamp: Stamp,
    home: Shard,
    answer: oneshot::Sender<Result<Stamp, Refused>>,
}

impl Writer {
    /// Opens sled in a folder.
    pub(super) fn open(
        folder: Folder,
        options: SledOptions,
        requests: Arc<Queue<Request>>,
        readers: Arc<Readers>,
        progress: Arc<Progress>,
        hints: broadcast::Sender<Shard>,
        steps: Arc<dyn Steps>,
    ) -> Result<Self, OpenError> {
        let _here = MayCallSled::here();
        let mut writer = Self {
            ballast: Ballast::of(&folder),
            folder,
            options,
            requests,
            readers,
            progress,
            hints,
            steps,
            sled: None,
            term: 0,
            resolver: Resolver::new(0, 0),
            pieces: Pieces::default(),
            heads: HashMap::new(),
            moved: Vec::new(),
            clock: Instant::now(),
            dirty: false,
            last_group: (0, Duration::ZERO),
            found: 0,
        };
        writer.found = writer.open_sled()?;
        if let Err(full) = writer.ballast.keep() {
            tracing::warn!(%full, "the disk is full: the store can be read, and nothing is written");
        }
        Ok(writer)
    }

    /// How many commits the folder had when it was opened.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Opens sled, begins a new term, and lets readers in. Answers the number of the last commit.
    fn open_sled(&mut self) -> Result<u64, OpenError> {
        let opened = open::open(&self.folder, &self.options, &mut self.ballast)?;
        let damaged = |reason| OpenError::Damaged { folder: self.folder.rows(), reason, copied: false };
        let last = rows::last_seq(&opened.db).map_err(|refused| damaged(refused.to_string()))?;
        // Sled opens what is left of a damaged file without a word.
        let noted = self.folder.noted_commits();
        if last < noted {
            return Err(damaged(format!(
                "it ends with commit {last}, and commit {noted} was there: what came after is lost"
            )));
        }
        self.pieces = match Pieces::load(&opened.db).map_err(|refused| damaged(refused.to_string()))? {
            Some(pieces) => pieces,
            None => mark_all(&opened, last, &*self.steps).map_err(|why| damaged(why.reason))?,
        };
        self.term += 1;
        self.resolver = Resolver::new(self.term, last);
        self.heads.clear();
        self.moved.clear();
        {
            let mut heads = self.readers.heads();
            heads.term = self.term;
            heads.next.clear();
        }
        let current = Current { db: opened.db.clone(), term: self.term, applied: last };
        *self.readers.gate_for_writing() = Some(current);
        self.sled = Some(opened);
        Ok(last)
    }

    /// Takes sled away from readers and closes it.
    fn close_sled(&mut self) {
        let current = self.readers.gate_for_writing().take();
        drop(current);
        drop(self.sled.take());
    }

    /// The life of the writer thread.
    pub(super) fn work(mut self) {
        let _here = MayCallSled::here();
        loop {
            let timeout = match self.ballast.is_there() {
                false => Some(LOOK_FOR_ROOM),
                true if self.pieces.any_stale() => Some(Duration::ZERO),
                true => self.dirty.then_some(IDLE),
            };
            match self.requests.next(timeout) {
                Next::Item(first) => {
                    self.gather();
                    self.commit_group(first);
                }
                // Whoever writes next is told why, if there is none yet.
                Next::TimedOut if !self.ballast.is_there() => drop(self.ballast.keep()),
                Next::TimedOut if self.pieces.any_stale() => self.clean_idle(),
                Next::TimedOut => self.flush_idle(),
                Next::Closed => break,
            }
        }
        if self.dirty {
            self.flush_idle();
        }
    }

    /// Waits a moment for company, where there was some the last time: a flush costs the same however many share it.
    /// Whoever writes alone never waits.
    fn gather(&self) {
        let (company, took) = self.last_group;
        if company > 1 && self.requests.len() + 1 < company {
            std::thread::sleep((took / 2).min(GATHER));
        }
    }

    fn commit_group(&mut self, first: Request) {
        self.progress.begin();
        let refusal = self.room().err();
        let mut group = Group::default();
        let mut admitted = Vec::new();
        let mut next = Some(first);
        let mut failed = None;
        while let Some(request) = next.take() {
            if let Err(why) = self.admit(request, refusal.as_ref(), &mut group, &mut admitted) {
                failed = Some(why);
                break;
            }
            let fits = |request: &Request| {
                group.ops() + request.cost.0 <= MAX_TX_ROWS && group.bytes() + request.cost.1 <= MAX_TX_BYTES
            };
            next = self.requests.next_if(fits);
        }
        if admitted.is_empty() && failed.is_none() {
            self.last_group = (0, Duration::ZERO);
            return self.progress.end();
        }
        let began = Instant::now();
        let written = match failed {
            Some(why) => Err(why),
            None => {
                let room = MAX_TX_ROWS.saturating_sub(group.ops());
                group.clean(&mut self.pieces, CLEANED.min(room));
                self.write(group)
            }
        };
        self.last_group = (admitted.len(), began.elapsed());
        match written {
            Ok(()) => self.answer(admitted),
            Err(why) => self.recover(admitted, &why),
        }
        self.progress.end();
    }

    /// Whether there is room to write.
    fn room(&mut self) -> Result<(), String> {
        self.ballast.keep()?;
        stays_free(self.folder.path(), self.options.disk_floor)
    }

    /// Checks a request and puts it into the group, or answers it.
    fn admit(
        &mut self,
        request: Request,
        full: Option<&String>,
        group: &mut Group,
        admitted: &mut Vec<Admitted>,
    ) -> Result<(), Failed> {
        let Request { tx, cost: (rows, _), answer } = request;
        let verdict = match self.resolver.lost(&tx.rests_on) {
            Some(key) => Ok(Err(Refused::Conflict { key })),
            None if tx.writes.is_empty() && tx.append.is_empty() => Ok(Ok(self.resolver.stamp())),
            None => match self.prepare(&tx, full) {
                Ok(Ok(())) => {
                    let home = tx.home;
                    let keys = self.put(tx, rows, group);
                    let stamp = self.resolver.admit(keys, self.clock.elapsed());
                    admitted.push(Admitted { stamp, home, answer });
                    return Ok(());
                }
                Ok(Err(refused)) => Ok(Err(refused)),
                Err(why) => Err(why),
            },
        };
        // Whoever asked may have gone away.
        match verdict {
            Ok(verdict) => {
                let _ = answer.send(verdict);
                Ok(())
            }
            Err(why) => {
                let _ = answer.send(Err(why.refused()));
                Err(why)
            }
        }
    }

    /// All about taking a transaction in that can fail: nothing has happened if it does. Answers why it is refused
    /// though it rests on nothing lost.
    fn prepare(&mut self, tx: &PackedTx, full: Option<&String>) -> Result<Result<(), Refused>, Failed> {
        let only_deletes = tx.append.is_empty() && tx.writes.iter().all(|(_, value)| value.is_none());
        if let Some(full) = full
            // Deleting is what makes room, and takes little itself.
            && !(only_deletes && self.ballast.is_there())
        {
            return Ok(Err(Refused::Full(full.clone())));
        }
        for (key, _) in &tx.writes {
            let refused = match logs::pruned_row(key) {
                Ok(None) => None,
                Ok(Some((log, position))) => logs::check_prune(position, self.head(log)?).err(),
                Err(refused) => Some(refused),
            };
            if let Some(refused) = refused {
                return Ok(Err(refused));
            }
        }
        for (log, _) in &tx.append {
            self.head(*log)?;
        }
        Ok(Ok(()))
    }

    /// Puts the writes of a transaction into the group; answers the keys.
    fn put(&mut self, tx: PackedTx, rows: usize, group: &mut Group) -> Vec<Key> {
        let mut keys = Vec::with_capacity(tx.writes.len() + tx.append.len());
        group.begin(rows);
        for (key, value) in tx.writes {
            group.write(&key, value.as_ref(), &mut self.pieces);
            keys.push(key);
        }
        for (log, value) in tx.append {
            let head = self.heads.entry(log).or_insert(1);
            let key = logs::row_key(log, *head);
            *head += 1;
            self.moved.push(log);
            group.write(&key, Some(&value), &mut self.pieces);
            keys.push(key);
        }
        keys
    }

    fn tree(&self) -> Result<&sled::Tree, Failed> {
        self.sled.as_ref().map(|opened| &*opened.db).ok_or_else(Failed::closed)
    }

    /// The next position of a log.
    fn head(&mut self, log: Log) -> Result<u64, Failed> {
        if let Some(&head) = self.heads.get(&log) {
            return Ok(head);
        }
        let head = head_on_disk(self.tree()?, log)?;
        self.heads.insert(log, head);
        // Before anything that moves it is applied: see `Readers::log_head`.
        self.readers.heads().next.insert(log, head);
        Ok(head)
    }

    /// Applies a group and makes it durable.
    fn write(&mut self, group: Group) -> Result<(), Failed> {
        threads::check();
        let opened = self.sled.as_ref().ok_or_else(Failed::closed)?;
        self.dirty = true;
        let ops = group.ops();
        let seq = self.resolver.stamp().seq;
        let batch = group.into_batch(seq);
        let work = || -> Result<(), Failed> {
            let mut gate = self.readers.gate_for_writing();
            let current = gate.as_mut().ok_or_else(Failed::closed)?;
            self.steps.apply()?;
            current.db.apply_batch(batch)?;
            self.steps.applied()?;
            current.applied = seq;
            drop(gate);
            flush(opened, &*self.steps)
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Failed::panicked(&*panic)))?;
        pump(ops, &*self.steps);
        Ok(())
    }

    fn answer(&mut self, admitted: Vec<Admitted>) {
        self.steps.answer();
        {
            let mut heads = self.readers.heads();
            for log in self.moved.drain(..) {
                heads.next.insert(log, self.heads.get(&log).copied().unwrap_or(1));
            }
        }
        let mut news: Option<Shard> = None;
        for Admitted { stamp, home, answer } in admitted {
            let _ = answer.send(Ok(stamp));
            if news.replace(home) != Some(home) {
                // Nobody listening is fine.
                let _ = self.hints.send(home);
            }
        }
    }

    /// Nothing else is to be done: deletes pieces that nothing leads to any more.
    fn clean_idle(&mut self) {
        self.progress.begin();
        let mut group = Group::default();
        group.clean(&mut self.pieces, CLEANED);
        if group.ops() > 0
            && let Err(why) = self.write(group)
        {
            self.recover(Vec::new(), &why);
        }
        self.progress.end();
    }

    /// Rule 4: sled's own periodic flush says nobody when it was done.
    fn flush_idle(&mut self) {
        self.dirty = false;
        let Some(opened) = &self.sled else { return };
        self.progress.begin();
        let done = catch_unwind(AssertUnwindSafe(|| flush(opened, &*self.steps)))
            .unwrap_or_else(|panic| Err(Failed::panicked(&*panic)));
        match done {
            Ok(()) => self.folder.note_commits(self.resolver.stamp().seq),
            Err(why) => self.recover(Vec::new(), &why),
        }
        pump(160, &*self.steps);
        self.progress.end();
    }
}

/// However the writer ends, nobody waits for it in vain.
impl Drop for Writer {
    fn drop(&mut self) {
        self.requests.close();
        while let Next::Item(request) = self.requests.next(None) {
            drop(request);
        }
        self.close_sled();
        self.progress.stop();
    }
}

/// Marks every key of a folder that is new, or from before there were marks.
fn mark_all(opened: &Opened, last: u64, steps: &dyn Steps) -> Result<Pieces, Failed> {
    let mut pieces = Pieces::default();
    let mut keys = rows::all_in_pieces(&opened.db)?.into_iter().peekable();
    loop {
        let mut group = Group::default();
        for (key, held) in keys.by_ref().take(MAX_TX_ROWS / 2) {
            group.mark(&key, held, &mut pieces);
            if held.on_disk > held.live {
                pieces.put_off(key);
            }
        }
        let done = keys.peek().is_none();
        if done {
            group.all_marked();
        }
        let ops = group.ops();
        opened.db.apply_batch(group.into_batch(last))?;
        flush(opened, steps)?;
        pump(ops, steps);
        if done {
            return Ok(pieces);
        }
    }
}

/// Rule 1: sled's own flush leaves it to the system when it reaches the disk.
fn flush(opened: &Opened, steps: &dyn Steps) -> Result<(), Failed> {
    opened.db.flush()?;
    Ok(steps.sync(&opened.data)?)
}

/// Rule 3: lets sled's garbage go. Without it memory and disk grow without end under load.
fn pump(ops: usize, steps: &dyn Steps) {
    for _ in 0..(ops / 80).max(1) {
        steps.pump();
    }
}
