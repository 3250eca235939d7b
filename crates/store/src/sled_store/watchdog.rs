//! Ends the process when the writer makes no progress: then nobody knows what is written, and a restart does
//! (rule 6).
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Shared by the writer, who says when it works, and the watchdog.
pub(super) struct Progress {
    start: Instant,
    /// When the work in hand began, in milliseconds since `start` plus one; 0 when there is none.
    busy_since: AtomicU64,
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            busy_since: AtomicU64::new(0),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
        })
    }

    /// A piece of work begins.
    pub(super) fn begin(&self) {
        self.busy_since.store(self.start.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// It ended.
    pub(super) fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    fn stuck_for(&self) -> Duration {
        let now = self.start.elapsed();
        match self.busy_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.saturating_sub(Duration::from_millis(since - 1)),
        }
    }
}

/// Watches until stopped; calls `bark` if a piece of work takes longer than `limit`.
pub(super) fn watch(
    progress: Arc<Progress>,
    limit: Duration,
    bark: impl FnOnce(Duration) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("store-watchdog".into()).spawn(move || {
        let mut stopped = progress.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let stuck = progress.stuck_for();
            if stuck > limit {
                drop(stopped);
                return bark(stuck);
            }
            let waited = progress.wake.wait_timeout(stopped, limit / 8);
            stopped = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    })
}

/// What the watchdog of a server does.
pub(super) fn abort(stuck: Duration) {
    tracing::error!(seconds = stuck.as_secs(), "the store's writer is stuck; ending the process");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_barks_at_work_that_does_not_end_and_at_no_other() {
        let (sender, barked) = mpsc::channel();
        let limit = Duration::from_millis(40);
        let progress = Progress::new();
        let dog = watch(progress.clone(), limit, move |stuck| sender.send(stuck).unwrap()).unwrap();
        for _ in 0..20 {
            progress.begin();
            std::thread::sleep(Duration::from_millis(5));
        }
        progress.end();
        assert!(barked.recv_timeout(limit * 3).is_err(), "neither short work nor idleness is being stuck");
        progress.begin();
        assert!(barked.recv_timeout(Duration::from_secs(5)).unwrap() > limit);
        dog.join().unwrap();
    }

    #[test]
    fn it_ends_when_told() {
        let progress = Progress::new();
        let dog = watch(progress.clone(), Duration::from_secs(60), |_| panic!("nothing is stuck")).unwrap();
        progress.stop();
        dog.join().unwrap();
    }
}
