//! The writer: the one thread that commits. It merges what waits into one record of the write-ahead log, makes it durable,
//! shows it to readers, and then answers all. Bringing it to sled is the mover's affair.
mod recover;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, oneshot};

use super::failed::Failed;
use super::folder::OpenError;
use super::mover::{Mover, Shared};
use super::packed::{PackedTx, Stored};
use super::queue::{Next, Queue};
use super::threads::MayCallSled;
use super::wal::{Record, Wal};
use super::watchdog::Progress;
use crate::full::{is_full, stays_free};
use crate::limits::{MAX_TX_BYTES, MAX_TX_ROWS};
use crate::logs;
use crate::resolver::Resolver;
use crate::types::{Key, Log, Refused, Shard, Stamp};

/// After a pause of this length what was committed is brought to sled.
const IDLE: Duration = Duration::from_millis(500);
/// How long a group waits for more to come in, at most.
const GATHER: Duration = Duration::from_millis(1);
/// How often a writer with nothing to do looks whether the disk is still full.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
/// Rows and bytes from which on a table is brought to sled, if no other one is on its way.
const TABLE_ROWS: usize = MAX_TX_ROWS;
const TABLE_BYTES: usize = MAX_TX_BYTES / 2;
/// What it has at most.
const MOST_ROWS: usize = 2 * MAX_TX_ROWS;
const MOST_BYTES: usize = TABLE_BYTES + MAX_TX_BYTES;

pub(super) struct Request {
    pub(super) tx: PackedTx,
    /// How many rows and bytes it writes.
    pub(super) cost: (usize, usize),
    pub(super) answer: oneshot::Sender<Result<Stamp, Refused>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    requests: Arc<Queue<Request>>,
    progress: Arc<Progress>,
    hints: broadcast::Sender<Shard>,
    wal: Wal,
    resolver: Resolver,
    /// The next position of each log that anyone has appended to, admitted commits included.
    heads: HashMap<Log, u64>,
    /// The logs that the group in hand appends to.
    moved: Vec<Log>,
    clock: Instant,
    /// The rows and bytes of the table that takes what is committed.
    table: (usize, usize),
    /// Whether all is in sled, and that is noted.
    at_rest: bool,
    /// Commits of which nobody knows whether the log has them.
    doubtful: Vec<Admitted>,
    /// How many requests the last group had, and how long it took to make it durable.
    last_group: (usize, Duration),
    /// How many commits the folder had when it was opened.
    found: u64,
}

/// What is committed together.
#[derive(Default)]
struct Group {
    record: Record,
    rows: Vec<(Key, Option<Stored>)>,
    /// Rows and bytes, as they count for a table.
    cost: (usize, usize),
    admitted: Vec<Admitted>,
}

/// A request that is in the group, and its stamp.
struct Admitted {
    stamp: Stamp,
    home: Shard,
    answer: oneshot::Sender<Result<Stamp, Refused>>,
}

impl Writer {
    /// Opens the log behind sled, which is open.
    pub(super) fn open(
        shared: Arc<Shared>,
        mover: &Mover,
        requests: Arc<Queue<Request>>,
        progress: Arc<Progress>,
        hints: broadcast::Sender<Shard>,
    ) -> Result<Self, OpenError> {
        let folder = shared.folder.path();
        let open = || {
            shared.folder.stamp()?;
            Wal::open(folder, mover.last())
        };
        let opened = match open() {
            Err(error) if is_full(&error) && shared.ballast().let_go() => open(),
            opened => opened,
        };
        let (wal, found) = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                OpenError::Damaged { folder: folder.to_owned(), reason: error.to_string(), copied: false }
            }
            _ => OpenError::of(folder, error),
        })?;
        let at = Stamp { term: 1, seq: wal.last() };
        let table = found.map(|found| Arc::new(found.table));
        shared.readers.begin(table.clone(), at);
        if let Some(table) = &table {
            tracing::info!(rows = table.len(), "what the write-ahead log holds is brought to sled");
            shared.submit(table.clone(), at.seq);
        }
        if let Err(full) = shared.ballast().keep() {
            tracing::warn!(%full, "the disk is full: the store can be read, and nothing is written");
        }
        Ok(Self {
            shared: shared.clone(),
            requests,
            progress,
            hints,
            wal,
            resolver: Resolver::new(at.term, at.seq),
            heads: HashMap::new(),
            moved: Vec::new(),
            clock: Instant::now(),
            table: (0, 0),
            at_rest: table.is_none(),
            doubtful: Vec::new(),
            last_group: (0, Duration::ZERO),
            found: at.seq,
        })
    }

    /// How many commits the folder had when it was opened.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// The life of the writer thread.
    pub(super) fn work(mut self) {
        let _here = MayCallSled::here();
        loop {
            let is_full = !self.shared.ballast().is_there();
            let timeout = match is_full {
                true => Some(LOOK_FOR_ROOM),
                false => (!self.at_rest).then_some(IDLE),
            };
            match self.requests.next(timeout) {
                Next::Item(first) => {
                    self.gather();
                    self.progress.begin();
                    self.commit_group(first);
                    self.progress.end();
                }
                // Whoever writes next is told why, if there is none yet.
                Next::TimedOut if is_full => drop(self.shared.ballast().keep()),
                Next::TimedOut => self.rest(),
                Next::Closed => break,
            }
        }
        self.close();
    }

    /// Waits a moment for company, where there was some the last time: a sync costs the same however many share it, and the
    /// more there were the more it is worth. Whoever writes alone never waits.
    fn gather(&self) {
        let (company, took) = self.last_group;
        if company > 1 && self.requests.len() + 1 < company {
            let worth = took.saturating_mul(company.min(16) as u32) / 4;
            std::thread::sleep(worth.min(GATHER));
        }
    }

    fn commit_group(&mut self, first: Request) {
        let refusal = self.room().err();
        if !self.takes(&Group::default(), first.cost)
            && let Err(why) = self.begin_table_when_done()
        {
            // Whoever asked may have gone away.
            let _ = first.answer.send(Err(why.refused()));
            return;
        }
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(request) = next.take() {
            self.admit(request, refusal.as_ref(), &mut group);
            next = self.requests.next_if(|request| self.takes(&group, request.cost));
        }
        if group.admitted.is_empty() {
            self.last_group = (0, Duration::ZERO);
            return;
        }
        let began = Instant::now();
        let Group { record, rows, cost, admitted } = group;
        let written = self.log(record);
        self.last_group = (admitted.len(), began.elapsed());
        if let Err(why) = written {
            return self.recover(admitted, &why.into());
        }
        self.at_rest = false;
        self.table = (self.table.0 + cost.0, self.table.1 + cost.1);
        self.shared.readers.publish(rows, self.resolver.stamp());
        self.answer(admitted);
        if (self.table.0 >= TABLE_ROWS || self.table.1 >= TABLE_BYTES) && self.shared.is_done() {
            self.begin_table();
        }
    }

    /// Whether a request finds room in the table and the log, beside what the group has.
    fn takes(&self, group: &Group, (rows, bytes): (usize, usize)) -> bool {
        let all = (self.table.0 + group.cost.0 + rows, self.table.1 + group.cost.1 + bytes);
        let record = group.record.bytes() + Record::grows_by((rows, bytes));
        rows == 0 || (all.0 <= MOST_ROWS && all.1 <= MOST_BYTES && self.wal.fits(record))
    }

    /// Hands the table over to be brought to sled. No other one is on its way.
    fn begin_table(&mut self) {
        let table = self.shared.readers.begin_table();
        if table.is_empty() {
            self.shared.readers.moved();
        } else {
            self.shared.submit(table, self.wal.last());
        }
        self.table = (0, 0);
        self.wal.change_files();
    }

    /// The same when the one before is in sled. An error says why it does not get there.
    fn begin_table_when_done(&mut self) -> Result<(), Failed> {
        self.wait_until_done()?;
        self.begin_table();
        Ok(())
    }

    /// Waits for the mover, which has a watchdog of its own.
    fn wait_until_done(&self) -> Result<(), Failed> {
        self.progress.end();
        let done = self.shared.wait_until_done();
        self.progress.begin();
        done
    }

    /// Nobody commits: what was committed is brought to sled, and then noted.
    fn rest(&mut self) {
        if !self.shared.is_done() {
            return;
        }
        if self.table.0 > 0 {
            return self.begin_table();
        }
        self.shared.folder.note_commits(self.wal.last());
        self.at_rest = true;
    }

    /// Brings all to sled, if it can be, so that the log need not be read at the next opening.
    fn close(&mut self) {
        let done = match self.table.0 {
            0 => Ok(()),
            _ => self.begin_table_when_done(),
        };
        let done = done.and_then(|()| self.wait_until_done());
        match done.and_then(|()| Ok(self.wal.clear()?)) {
            Ok(()) => self.shared.folder.note_commits(self.wal.last()),
            Err(why) => {
                tracing::warn!(reason = %why.reason, "the last commits stay in the write-ahead log");
                // The next opening finds out; nobody is told what may not be true.
                std::mem::forget(std::mem::take(&mut self.doubtful));
            }
        }
    }

    /// Whether there is room to write.
    fn room(&self) -> Result<(), String> {
        self.shared.ballast().keep()?;
        stays_free(self.shared.folder.path(), self.shared.options.disk_floor)
    }

    /// Checks a request and puts it into the group, or answers it.
    fn admit(&mut self, request: Request, full: Option<&String>, group: &mut Group) {
        let Request { tx, cost, answer } = request;
        let verdict = match self.resolver.lost(&tx.rests_on) {
            Some(key) => Err(Refused::Conflict { key }),
            None if tx.writes.is_empty() && tx.append.is_empty() => Ok(self.resolver.stamp()),
            None => match self.prepare(&tx, full) {
                Ok(()) => {
                    let home = tx.home;
                    let keys = self.put(tx, cost, group);
                    let stamp = self.resolver.admit(keys, self.clock.elapsed());
                    return group.admitted.push(Admitted { stamp, home, answer });
                }
                Err(refused) => Err(refused),
            },
        };
        let _ = answer.send(verdict);
    }

    /// All about taking a transaction in that can fail: nothing has happened if it does.
    fn prepare(&mut self, tx: &PackedTx, full: Option<&String>) -> Result<(), Refused> {
        let only_deletes = tx.append.is_empty() && tx.writes.iter().all(|(_, value)| value.is_none());
        if let Some(full) = full
            // Deleting is what makes room, and takes little itself.
            && !(only_deletes && self.shared.ballast().is_there())
        {
            return Err(Refused::Full(full.clone()));
        }
        for (key, _) in &tx.writes {
            if let Some((log, position)) = logs::pruned_row(key)? {
                logs::check_prune(position, self.head(log)?)?;
            }
        }
        for (log, _) in &tx.append {
            self.head(*log)?;
        }
        Ok(())
    }

    /// Puts the writes of a transaction into the group; answers the keys.
    fn put(&mut self, tx: PackedTx, cost: (usize, usize), group: &mut Group) -> Vec<Key> {
        let mut keys = Vec::with_capacity(tx.writes.len() + tx.append.len());
        group.cost = (group.cost.0 + cost.0, group.cost.1 + cost.1);
        let mut write = |key: Key, value: Option<Stored>| {
            group.record.write(&key, value.as_ref());
            keys.push(key.clone());
            group.rows.push((key, value));
        };
        for (key, value) in tx.writes {
            write(key, value);
        }
        for (log, value) in tx.append {
            let head = self.heads.entry(log).or_insert(1);
            let key = logs::row_key(log, *head);
            *head += 1;
            self.moved.push(log);
            write(key, Some(value));
        }
        keys
    }

    /// The next position of a log.
    fn head(&mut self, log: Log) -> Result<u64, Refused> {
        if let Some(&head) = self.heads.get(&log) {
            return Ok(head);
        }
        // Sled may be being opened anew, which takes as long as it takes.
        self.progress.end();
        let head = self.shared.readers.log_head(log);
        self.progress.begin();
        let head = head?;
        self.heads.insert(log, head);
        Ok(head)
    }

    /// Writes a record to the log and makes it durable.
    fn log(&mut self, record: Record) -> std::io::Result<()> {
        let steps = &self.shared.steps;
        steps.log()?;
        self.wal.append(record, self.resolver.stamp().seq, |file| steps.sync_log(file))
    }

    fn answer(&mut self, admitted: Vec<Admitted>) {
        self.shared.steps.answer();
        {
            let mut heads = self.shared.readers.heads();
            for log in self.moved.drain(..) {
                heads.insert(log, self.heads.get(&log).copied().unwrap_or(1));
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
}

/// However the writer ends, nobody waits for it in vain.
impl Drop for Writer {
    fn drop(&mut self) {
        self.requests.close();
        while let Next::Item(request) = self.requests.next(None) {
            drop(request);
        }
        self.shared.end();
        self.progress.stop();
    }
}
