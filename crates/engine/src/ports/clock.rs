//! Time as the engine sees it: the system's, or one that a test or `--dev` moves.
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;

#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Time that only moves forward, for measuring how long something took.
    fn elapsed(&self) -> Duration;

    /// Returns when [`Clock::now`] has reached `at`, at once if it has already, also after the clock was moved.
    async fn sleep_until(&self, at: Timestamp);

    /// Returns after so much [`Clock::elapsed`] time.
    async fn sleep(&self, for_: Duration);
}

/// The system's clock, plus an offset that `--dev` may grow.
pub struct SystemClock {
    started: Instant,
    offset: watch::Sender<Duration>,
    last: Mutex<Reading>,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            offset: watch::Sender::new(Duration::ZERO),
            last: Mutex::new(Reading { told: Timestamp::UNIX_EPOCH, at: Instant::now() }),
        }
    }
}

impl SystemClock {
    /// Moves the time of day forward; whatever sleeps until a time that is reached wakes.
    pub fn advance(&self, by: Duration) {
        self.offset.send_modify(|offset| *offset += by);
    }
}

/// What was told last, and when that was.
struct Reading {
    told: Timestamp,
    at: Instant,
}

impl Reading {
    /// What to tell now that the system says `now`. A system clock that steps back must not make a later event look
    /// earlier within one process; so time goes on at half its pace until the system's has caught up.
    fn next(&mut self, now: Timestamp, at: Instant) -> Timestamp {
        let slow = at.saturating_duration_since(self.at) / 2;
        self.told = now.max(self.told.checked_add(slow).unwrap_or(self.told));
        self.at = at;
        self.told
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now().checked_add(*self.offset.borrow()).unwrap_or(Timestamp::MAX);
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        last.next(now, Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let mut moved = self.offset.subscribe();
        loop {
            moved.borrow_and_update();
            let left = at.duration_since(self.now());
            let Ok(left) = Duration::try_from(left) else { return };
            if left.is_zero() {
                return;
            }
            // A long sleep is cut, so that a step of the system's clock is noticed.
            let nap = left.min(Duration::from_secs(30));
            tokio::select! {
                biased;
                _ = moved.changed() => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    async fn sleep(&self, for_: Duration) {
        tokio::time::sleep(for_).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_goes_on_slowly_and_never_back() {
        let at = Instant::now();
        let time = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let after = |seconds| at + Duration::from_secs(seconds);
        let mut last = Reading { told: Timestamp::UNIX_EPOCH, at };
        assert_eq!(last.next(time(100), after(0)), time(100));
        assert_eq!(last.next(time(0), after(10)), time(105), "the system's clock went back by 110 s");
        assert_eq!(last.next(time(90), after(100)), time(150));
        assert_eq!(last.next(time(290), after(300)), time(290), "caught up");
        assert_eq!(last.next(time(291), after(301)), time(291));
    }
}
