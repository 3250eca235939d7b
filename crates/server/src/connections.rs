//! Open connections: how many there may be, what each is doing, and which one gives way when there are too many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A client that is quiet for less than this is not yet taken for one that stalls.
const QUIET: Duration = Duration::from_millis(500);
/// The same complaint comes at most so often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, or receiving a request's head.
    Head = 0,
    /// Receiving a request's body.
    Body = 1,
    /// The server's turn; it is never cut to make room.
    Answer = 2,
    /// Taking what there is of its answer.
    Taking = 3,
}

/// One connection, as seen by who counts them.
pub struct Connection {
    since: Instant,
    phase: AtomicU8,
    /// Milliseconds after `since` at which its client was last heard of.
    heard_ms: AtomicU64,
    /// Cancelled when it has to go.
    pub cut: CancellationToken,
}

impl Connection {
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            phase: AtomicU8::new(Phase::Head as u8),
            heard_ms: AtomicU64::new(0),
            cut: CancellationToken::new(),
        }
    }

    /// It went on, to this.
    pub fn heard(&self, phase: Phase) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// How long its client has kept it waiting; `None` while it is the server's turn.
    pub fn quiet(&self) -> Option<Duration> {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        let answering = self.phase.load(Ordering::Relaxed) == Phase::Answer as u8;
        (!answering).then(|| self.since.elapsed().saturating_sub(heard))
    }
}

/// All of them.
pub struct Connections {
    room: Arc<Semaphore>,
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_number: HashMap<u64, Arc<Connection>>,
    next: u64,
    cut: u64,
    told: Option<Instant>,
}

/// A connection's place, given back when it is dropped.
pub struct Place {
    pub connection: Arc<Connection>,
    number: u64,
    all: Arc<Connections>,
    _room: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().by_number.remove(&self.number);
    }
}

impl Connections {
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(most)), most, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many are open, and how many were cut to make room.
    pub fn counts(&self) -> (u64, u64) {
        let open = self.open();
        (open.by_number.len() as u64, open.cut)
    }

    /// A place for a connection. When all are taken, one whose client stalls is cut, and this waits until it is gone.
    pub async fn enter(self: &Arc<Self>) -> Place {
        loop {
            if let Ok(room) = self.room.clone().try_acquire_owned() {
                return self.place(room);
            }
            let most = self.most;
            self.tell(|| {
                tracing::warn!(
                    "all {most} connections (limits.connections) are in use; clients that stall are cut off"
                )
            });
            self.make_room();
            if let Ok(Ok(room)) =
                tokio::time::timeout(Duration::from_millis(100), self.room.clone().acquire_owned()).await
            {
                return self.place(room);
            }
        }
    }

    fn place(self: &Arc<Self>, room: OwnedSemaphorePermit) -> Place {
        let connection = Arc::new(Connection::new());
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, connection.clone());
        Place { connection, number, all: self.clone(), _room: room }
    }

    /// Cuts the connection whose client has been quiet for longest. One that waits for the server is left alone.
    pub fn make_room(&self) {
        let mut open = self.open();
        let quiet = open.by_number.values().filter(|c| !c.cut.is_cancelled());
        let quiet = quiet.filter_map(|c| Some((c.quiet().filter(|quiet| *quiet >= QUIET)?, c.clone())));
        if let Some((_, longest)) = quiet.max_by_key(|(quiet, _)| *quiet) {
            longest.cut.cancel();
            open.cut += 1;
        }
    }

    /// Cuts all whose clients are quiet and have nothing to lose: when the server stops.
    pub fn cut_quiet(&self) {
        for connection in self.open().by_number.values() {
            let taking = connection.phase.load(Ordering::Relaxed) == Phase::Taking as u8;
            if !taking && connection.quiet().is_some_and(|quiet| quiet >= QUIET) {
                connection.cut.cancel();
            }
        }
    }

    pub fn cut_all(&self) {
        self.open().by_number.values().for_each(|connection| connection.cut.cancel());
    }

    /// Says something, unless something was said a moment ago: trouble that lasts must not fill the log.
    pub fn tell(&self, say: impl FnOnce()) {
        let mut open = self.open();
        if open.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            open.told = Some(Instant::now());
            drop(open);
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_is_quiet_for_longest_gives_way_and_none_that_is_answered() {
        let all = Arc::new(Connections::new(3));
        let (answered, stalled, later) = (all.enter().await, all.enter().await, all.enter().await);
        answered.connection.heard(Phase::Answer);
        tokio::time::sleep(QUIET).await;
        later.connection.heard(Phase::Body);
        // What a connection's task does.
        let (cut, seen) = (stalled.connection.cut.clone(), stalled.connection.clone());
        tokio::spawn(async move {
            let _place = stalled;
            cut.cancelled().await;
        });
        let place = all.enter().await;
        assert!(seen.cut.is_cancelled());
        assert!(!answered.connection.cut.is_cancelled() && !later.connection.cut.is_cancelled());
        assert_eq!(all.counts(), (3, 1));
        drop((place, answered, later));
        assert_eq!(all.counts(), (0, 1));
    }
}
