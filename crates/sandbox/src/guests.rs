//! The threads that guests run on, and nothing else does: no other task's poll waits behind a guest that fills its
//! memory. (Where a call may begin on another thread: `brisk.rs`.)

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::brisk::Leave;

/// Guests' threads leave the processor to others that want it: what answers requests and writes to the disk is short,
/// and a guest is as long as its author likes.
const NICENESS: i32 = 5;

pub(crate) struct Guests {
    runtime: Option<Runtime>,
}

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A call under way.
pub(crate) type Guest<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// Processor time of this thread: what a guest took of it, and not that others had the processor meanwhile.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Guests {
    /// `threads` of them, or one a core.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(if threads == 0 { cores() } else { threads })
            .thread_name("sandbox")
            // New calls come from other threads: every second turn is theirs, so that a short one
            // does not wait behind all the long ones.
            .global_queue_interval(2)
            .on_thread_start(|| {
                // On Linux it is a thread's own. One that stays as it is works as well.
                let _ = rustix::process::setpriority_process(None, NICENESS);
            })
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs a guest there. It stops, at its next tick, when this is dropped.
    pub(crate) async fn run<T: Send + 'static>(&self, guest: Guest<T>) -> Result<T, String> {
        let Some(runtime) = &self.runtime else { return Err("the host is shutting down".into()) };
        let mut task = AbortOnDrop(runtime.spawn(guest));
        (&mut task.0).await.map_err(|error| format!("the call broke off: {error}"))
    }

    /// Begins a guest on the thread that asks. If it does not end in its first turn, it goes on there.
    pub(crate) async fn begin_here<T: Send + 'static>(
        &self,
        mut guest: Guest<T>,
        leave: Leave<'_>,
    ) -> Result<T, String> {
        let began = processor_time();
        let first =
            poll_fn(|context| Poll::Ready(catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(context)))))
                .await;
        if let Ok(turn) = &first {
            leave.over(processor_time().saturating_sub(began), turn.is_ready());
        }
        match first {
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Ok(Poll::Pending) => self.run(guest).await,
            Err(panic) => Err(format!("the call broke off: {}", text(&*panic))),
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // The last handle may go on one of its own threads, which cannot wait for itself.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Usage;
    use crate::brisk::{Habit, Here};
    use std::thread;

    fn brisk() -> Habit {
        let habit = Habit::default();
        (0..16).for_each(|_| habit.used(&Usage { fuel: Some(1), ..Usage::default() }));
        habit
    }

    fn name() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn what_ends_in_its_first_turn_never_leaves_the_thread_and_what_does_not_goes_on_elsewhere() {
        let (guests, here, habit) = (Guests::start(1).unwrap(), Here::new(), brisk());
        let short = guests.begin_here(Box::pin(async { name() }), here.leave(&habit).unwrap());
        assert_eq!(short.await.unwrap(), name());
        let long = async {
            let before = name();
            tokio::task::yield_now().await;
            (before, name())
        };
        let long = guests.begin_here(Box::pin(long), here.leave(&habit).unwrap()).await.unwrap();
        assert_eq!(long, (name(), "sandbox".to_owned()));
        assert!(here.leave(&habit).is_none());
    }

    #[test]
    fn a_thread_that_does_nothing_spends_nothing() {
        let began = processor_time();
        thread::sleep(Duration::from_millis(30));
        assert!(processor_time() - began < Duration::from_millis(15));
        let mut n = 0u64;
        while processor_time() - began < Duration::from_millis(30) {
            n = std::hint::black_box(n + 1);
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_wherever_it_happens() {
        let (guests, here, habit) = (Guests::start(1).unwrap(), Here::new(), brisk());
        let bad = || -> Guest<()> { Box::pin(async { panic!("no way out") }) };
        let error = guests.begin_here(bad(), here.leave(&habit).unwrap()).await.unwrap_err();
        assert!(error.contains("no way out"), "{error}");
        assert!(guests.run(bad()).await.unwrap_err().contains("no way out"));
        assert!(here.leave(&habit).is_some(), "its place is free again");
    }
}
