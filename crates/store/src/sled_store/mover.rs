//! The mover: the one thread that writes to sled. It takes a table of what is committed, writes its rows, and makes them
//! durable; until then they are in the write-ahead log (rules 1 to 4, and 6). What sled fails at is done again: whoever
//! committed it has long been answered.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::SledOptions;
use super::ballast::Ballast;
use super::failed::Failed;
use super::folder::{Folder, OpenError};
use super::open::{self, Opened};
use super::pieces::Pieces;
use super::reader::Readers;
use super::recent::Table;
use super::rows::{self, Sink};
use super::steps::Steps;
use super::threads::MayCallSled;
use super::watchdog::Progress;

/// How many pieces that nothing leads to any more are deleted with a table, at most.
const CLEANED_BESIDE: usize = 700;
/// And at once, when nothing else is to be done.
const CLEANED: usize = 256;
/// How often a mover with nothing to do looks whether sled has failed somebody who read.
const LOOKS: Duration = Duration::from_millis(250);
/// How long to wait before what failed is tried again: at first, and at most.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// What both threads that write share.
pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) options: SledOptions,
    pub(super) readers: Arc<Readers>,
    pub(super) steps: Arc<dyn Steps>,
    /// Without it nothing is written: after a disk was full it is made first.
    pub(super) ballast: Mutex<Ballast>,
    moving: Mutex<Moving>,
    changed: Condvar,
}

/// What the mover has to do.
#[derive(Default)]
struct Moving {
    job: Option<Job>,
    /// Why it cannot be done for now, when that is known.
    failed: Option<Failed>,
    /// Nothing comes any more.
    closing: bool,
}

#[derive(Clone)]
struct Job {
    table: Arc<Table>,
    /// The last commit in it.
    last: u64,
}

impl Shared {
    pub(super) fn new(
        folder: Folder,
        options: SledOptions,
        readers: Arc<Readers>,
        steps: Arc<dyn Steps>,
    ) -> Self {
        let ballast = Mutex::new(Ballast::of(&folder));
        let moving = Mutex::default();
        Self { folder, options, readers, steps, ballast, moving, changed: Condvar::new() }
    }

    pub(super) fn ballast(&self) -> MutexGuard<'_, Ballast> {
        self.ballast.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moving(&self) -> MutexGuard<'_, Moving> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Moving)) {
        change(&mut self.moving());
        self.changed.notify_all();
    }

    /// Hands a table over. There is no other one on its way.
    pub(super) fn submit(&self, table: Arc<Table>, last: u64) {
        self.change(|moving| (moving.job, moving.failed) = (Some(Job { table, last }), None));
    }

    /// Whether all that was handed over is in sled.
    pub(super) fn is_done(&self) -> bool {
        self.moving().job.is_none()
    }

    /// Waits until all that was handed over is in sled, or cannot get there for now.
    pub(super) fn wait_until_done(&self) -> Result<(), Failed> {
        let busy = |moving: &mut Moving| moving.job.is_some() && moving.failed.is_none() && !moving.closing;
        let moving = self.changed.wait_while(self.moving(), busy).unwrap_or_else(PoisonError::into_inner);
        match (&moving.job, &moving.failed) {
            (None, _) => Ok(()),
            (_, Some(failed)) => Err(failed.clone()),
            (_, None) => Err(Failed::closed()),
        }
    }

    /// Nothing comes any more: what was handed over is tried once more, and then left to the next opening.
    pub(super) fn end(&self) {
        self.change(|moving| moving.closing = true);
    }
}

pub(super) struct Mover {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    sled: Option<Opened>,
    /// Which values are in pieces.
    pieces: Pieces,
    /// The last commit that is in sled for good.
    last: u64,
    /// Whether it failed the last time, too.
    failed_before: bool,
}

impl Mover {
    /// Opens sled in the folder. It is not shown to readers yet.
    pub(super) fn open(shared: Arc<Shared>, progress: Arc<Progress>) -> Result<Self, OpenError> {
        let noted = shared.folder.noted_commits();
        let mut mover = Self {
            shared,
            progress,
            sled: None,
            pieces: Pieces::default(),
            last: noted,
            failed_before: false,
        };
        mover.open_sled()?;
        Ok(mover)
    }

    /// The last commit that is in sled.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Lets readers in.
    pub(super) fn show(&self) {
        self.shared.readers.set_sled(self.sled.as_ref().map(|opened| opened.db.clone()));
    }

    fn open_sled(&mut self) -> Result<(), OpenError> {
        let Shared { folder, options, steps, .. } = &*self.shared;
        let opened = open::open(folder, options, || self.shared.ballast().let_go())?;
        let damaged = |reason| OpenError::Damaged { folder: folder.rows(), reason, copied: false };
        let last = rows::last_seq(&opened.db).map_err(|refused| damaged(refused.to_string()))?;
        // Sled opens what is left of a damaged file without a word.
        if last < self.last {
            return Err(damaged(format!(
                "it ends with commit {last}, and commit {} was there: what came after is lost",
                self.last
            )));
        }
        self.pieces = match Pieces::load(&opened.db).map_err(|refused| damaged(refused.to_string()))? {
            Some(pieces) => pieces,
            None => mark_all(&opened, &**steps).map_err(|why| damaged(why.reason))?,
        };
        self.last = last;
        self.sled = Some(opened);
        Ok(())
    }

    /// Takes sled away from readers and closes it.
    fn close_sled(&mut self) {
        self.shared.readers.set_sled(None);
        drop(self.sled.take());
    }

    /// The life of the thread.
    pub(super) fn work(mut self) {
        let _here = MayCallSled::here();
        loop {
            let next = {
                let idle = |moving: &mut Moving| moving.job.is_none() && !moving.closing;
                let pause = if self.pieces.any_stale() { Duration::ZERO } else { LOOKS };
                let waited = self.shared.changed.wait_timeout_while(self.shared.moving(), pause, idle);
                let (moving, _) = waited.unwrap_or_else(PoisonError::into_inner);
                (moving.job.clone(), moving.closing)
            };
            let writes = next.0.is_some() || self.pieces.any_stale();
            let done = match next {
                (None, true) => break,
                _ if self.shared.readers.suspects_sled() => self.guarded(Self::try_out),
                // Without a ballast nothing is written.
                _ if writes && !self.has_ballast() => match self.closes_within(AGAIN) {
                    true => break,
                    false => continue,
                },
                (Some(job), _) => self.guarded(|mover| mover.write(&job)),
                (None, false) if writes => self.guarded(Self::clean),
                (None, false) => Ok(()),
            };
            match done {
                Ok(()) => self.failed_before = false,
                Err(why) if self.recover(&why) => self.failed_before = true,
                Err(_) => break,
            }
        }
    }

    /// Whether there is a ballast, or room for one. Those who wait are told if not.
    fn has_ballast(&self) -> bool {
        let kept = self.shared.ballast().keep();
        if let Err(full) = &kept {
            let failed = Failed { reason: full.clone(), full: true };
            self.shared.change(|moving| moving.failed = Some(failed));
        }
        kept.is_ok()
    }

    /// Sled gives some errors as panics.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Failed>) -> Result<(), Failed> {
        self.progress.begin();
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        self.progress.end();
        done.unwrap_or_else(|panic| Err(Failed::panicked(&*panic)))
    }

    /// Writes a table, and makes it durable.
    fn write(&mut self, job: &Job) -> Result<(), Failed> {
        let opened = self.sled.as_ref().ok_or_else(Failed::closed)?;
        let steps = &*self.shared.steps;
        steps.apply()?;
        let mut sink = Sink::new(&opened.db, CLEANED_BESIDE);
        for (key, value) in job.table.changes() {
            sink.write(key, value, &mut self.pieces)?;
        }
        sink.last_seq(job.last)?;
        steps.applied()?;
        let ops = sink.ops();
        flush(opened, steps)?;
        pump(ops, steps);
        self.last = job.last;
        self.shared.readers.moved();
        self.shared.change(|moving| (moving.job, moving.failed) = (None, None));
        Ok(())
    }

    /// Sled has failed somebody who read, though nothing was written: its own cleaning may have met a full disk. Whether it
    /// still takes anything shows by writing what is there already.
    fn try_out(&mut self) -> Result<(), Failed> {
        let opened = self.sled.as_ref().ok_or_else(Failed::closed)?;
        Sink::new(&opened.db, 0).last_seq(self.last)?;
        flush(opened, &*self.shared.steps)?;
        // It does: opening it anew would help nobody.
        self.shared.readers.set_opening(true);
        self.shared.readers.set_opening(false);
        Ok(())
    }

    /// Nothing else is to be done: deletes pieces that nothing leads to any more.
    fn clean(&mut self) -> Result<(), Failed> {
        let opened = self.sled.as_ref().ok_or_else(Failed::closed)?;
        let mut sink = Sink::new(&opened.db, 0);
        sink.clean(&mut self.pieces, CLEANED)?;
        let ops = sink.ops();
        flush(opened, &*self.shared.steps)?;
        pump(ops, &*self.shared.steps);
        Ok(())
    }

    /// After sled failed: opens it anew, for what was under way to be done again. Answers `false` when the store is
    /// closed meanwhile; then the log has it.
    fn recover(&mut self, why: &Failed) -> bool {
        tracing::error!(reason = %why.reason, full = why.full, "sled failed; opening it anew");
        self.shared.readers.set_opening(true);
        self.close_sled();
        if why.full {
            self.shared.ballast().let_go();
        }
        let mut pause = AGAIN;
        let mut why = why.clone();
        loop {
            match self.reopen() {
                Ok(()) => break,
                Err(error) => why = Failed::from(error),
            }
            tracing::error!(error = %why.reason, "sled cannot be opened yet");
            self.shared.change(|moving| moving.failed = Some(why.clone()));
            self.shared.readers.set_opening(false);
            if self.closes_within(pause) {
                return false;
            }
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
        self.show();
        self.shared.readers.set_opening(false);
        tracing::info!(last = self.last, "sled is open again");
        // What failed is tried again: at once, and if that fails too now and then.
        if !self.failed_before {
            self.shared.change(|moving| moving.failed = None);
            return true;
        }
        self.shared.change(|moving| moving.failed = Some(why.clone()));
        !self.closes_within(AGAIN)
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.shared.steps.reopen().map_err(|error| OpenError::of(&self.shared.folder.rows(), error))?;
        self.open_sled()
    }

    /// Waits, unless the store is closed.
    fn closes_within(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut moving = self.shared.moving();
        while !moving.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            moving = self.shared.changed.wait_timeout(moving, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// However it ends, nobody waits for it in vain.
impl Drop for Mover {
    fn drop(&mut self) {
        self.shared.end();
        self.close_sled();
        self.shared.readers.set_opening(false);
        self.progress.stop();
    }
}

/// Marks every key of a folder that is new, or from before there were marks.
fn mark_all(opened: &Opened, steps: &dyn Steps) -> Result<Pieces, Failed> {
    /// Keys between one flush and the next.
    const TOGETHER: usize = 350;
    let mut pieces = Pieces::default();
    let mut keys = rows::all_in_pieces(&opened.db)?.into_iter().peekable();
    loop {
        let mut sink = Sink::new(&opened.db, 0);
        for (key, held) in keys.by_ref().take(TOGETHER) {
            sink.mark(&key, held, &mut pieces)?;
            if held.on_disk > held.live {
                pieces.put_off(key);
            }
        }
        let done = keys.peek().is_none();
        if done {
            sink.all_marked()?;
        }
        let ops = sink.ops();
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
