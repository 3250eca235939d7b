//! Time that stands still until a test moves it, and then goes from one thing that falls due to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use stepwell_engine::ports::{Clock, async_trait};
use tokio::sync::oneshot;

/// The clock of one test.
pub(super) struct VirtualClock {
    start: Timestamp,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    passed: Duration,
    /// Whoever sleeps, by when it wakes; the number tells those apart that wake together.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    next: u64,
}

/// Takes a sleep back that nobody waits for any more.
struct Bed {
    state: Arc<Mutex<State>>,
    key: (Duration, u64),
}

impl Drop for Bed {
    fn drop(&mut self) {
        lock(&self.state).sleepers.remove(&self.key);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl VirtualClock {
    pub fn new(start: Timestamp) -> Self {
        Self { start, state: Arc::default() }
    }

    /// When the first of the sleepers wakes.
    pub fn next(&self) -> Option<Duration> {
        lock(&self.state).sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Moves forward to so long after the start, and wakes who slept until then.
    pub fn move_to(&self, at: Duration) {
        let mut state = lock(&self.state);
        state.passed = state.passed.max(at);
        let after = (state.passed + Duration::from_nanos(1), 0);
        let later = state.sleepers.split_off(&after);
        for (_, sleeper) in std::mem::replace(&mut state.sleepers, later) {
            // One that has just gone needs no waking.
            let _ = sleeper.send(());
        }
    }

    async fn sleep_till(&self, at: Duration) {
        let (wake, woken) = oneshot::channel();
        let bed = {
            let mut state = lock(&self.state);
            if at <= state.passed {
                return;
            }
            state.next += 1;
            let key = (at, state.next);
            state.sleepers.insert(key, wake);
            Bed { state: self.state.clone(), key }
        };
        let _ = woken.await;
        drop(bed);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }

    fn elapsed(&self) -> Duration {
        lock(&self.state).passed
    }

    async fn sleep_until(&self, at: Timestamp) {
        let after = at.duration_since(self.start);
        self.sleep_till(Duration::try_from(after).unwrap_or_default()).await;
    }

    async fn sleep(&self, for_: Duration) {
        let till = self.elapsed().saturating_add(for_);
        self.sleep_till(till).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_time_reaches_them_and_not_before() {
        let clock = Arc::new(VirtualClock::new(Timestamp::UNIX_EPOCH));
        let (one, two) = (clock.clone(), clock.clone());
        let short = tokio::spawn(async move { one.sleep(Duration::from_secs(1)).await });
        let long = tokio::spawn(async move {
            two.sleep_until(Timestamp::from_second(7200).unwrap()).await;
            two.now()
        });
        let gone = clock.clone();
        let gone = tokio::spawn(async move { gone.sleep(Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        assert_eq!(clock.next(), Some(Duration::from_secs(1)));
        clock.move_to(Duration::from_secs(1));
        short.await.unwrap();
        gone.abort();
        assert!(gone.await.is_err());
        assert_eq!(clock.next(), Some(Duration::from_secs(7200)), "a sleep that was given up is forgotten");
        clock.move_to(Duration::from_secs(9000));
        assert_eq!(long.await.unwrap(), Timestamp::from_second(9000).unwrap());
        clock.sleep(Duration::ZERO).await;
    }
}
