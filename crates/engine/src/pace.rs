//! Work of templates that takes long: it is kept apart from the tasks that answer requests.
//!
//! What a template may use up is bounded, but a bounded rendering can take some hundred milliseconds, and many at once
//! would leave no thread to answer anybody. So each version of a workflow is watched: one whose events took long to
//! fold in has the next ones folded in a lane of few, on a thread that the runtime replaces meanwhile.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// What an event may take before its workflow counts as slow.
const LONG: Duration = Duration::from_millis(20);
/// How many events of a slow workflow go into the lane before it is tried outside again.
const REMEMBERED: u32 = 256;

/// How long the events of a workflow's version take.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    slow: AtomicU32,
}

impl Pace {
    /// Of what nobody knows anything about.
    pub(crate) fn slow() -> Self {
        Self { slow: AtomicU32::new(REMEMBERED) }
    }

    fn note(&self, took: Duration) {
        if took > LONG {
            self.slow.store(REMEMBERED, Relaxed);
        } else {
            // Two at once may count as one: it is a measure, not an account.
            let left = self.slow.load(Relaxed);
            self.slow.store(left.saturating_sub(1), Relaxed);
        }
    }

    fn is_slow(&self) -> bool {
        self.slow.load(Relaxed) > 0
    }
}

/// Where slow work goes: at least one core is left for everything else, where there are two.
pub(crate) struct Lane(Semaphore);

impl Default for Lane {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new(cores.saturating_sub(1).max(1)))
    }
}

/// Does work that takes long on a thread that the runtime replaces meanwhile, where it can. The work must not wait.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Lane {
    /// Does the work here and now, or in its turn if the like of it took long before.
    pub(crate) async fn run<T>(
        &self,
        pace: &Pace,
        elapsed: impl Fn() -> Duration,
        work: impl FnOnce() -> T,
    ) -> T {
        if !pace.is_slow() {
            let began = elapsed();
            let done = work();
            let took = elapsed() - began;
            if took > LONG {
                pace.note(took);
            }
            return done;
        }
        // The lane is never closed; if it were, nothing would be waited for.
        let _turn = self.0.acquire().await;
        let began = elapsed();
        let done = aside(work);
        pace.note(elapsed() - began);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_takes_long_leaves_a_thread_to_the_others() {
        let (lane, pace, start) = (Lane::default(), Pace::default(), Instant::now());
        let long = || std::thread::sleep(LONG * 2);
        lane.run(&pace, || start.elapsed(), long).await;
        assert!(pace.is_slow(), "the first is noticed");
        let (lane, pace) = (std::sync::Arc::new(lane), std::sync::Arc::new(pace));
        let many: Vec<_> = (0..8)
            .map(|_| {
                let (lane, pace) = (lane.clone(), pace.clone());
                tokio::spawn(async move { lane.run(&pace, || start.elapsed(), long).await })
            })
            .collect();
        // All of them together take longer than any of this: whoever answers is not behind them.
        tokio::spawn(async {}).await.unwrap();
        assert!(many.iter().any(|one| !one.is_finished()), "the lane takes one after the other");
        for one in many {
            one.await.unwrap();
        }
        for _ in 0..REMEMBERED {
            lane.run(&pace, || start.elapsed(), || ()).await;
        }
        assert!(!pace.is_slow(), "what has become quick is so again");
    }
}
