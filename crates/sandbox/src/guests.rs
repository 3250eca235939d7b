//! The threads that guests run on, and nothing else does: no other task's poll ever waits behind a
//! guest that fills its memory.

use std::future::Future;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

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
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs a guest there. It stops, at its next tick, when this is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        guest: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let Some(runtime) = &self.runtime else { return Err("the host is shutting down".into()) };
        let mut task = AbortOnDrop(runtime.spawn(guest));
        (&mut task.0).await.map_err(|error| format!("the call broke off: {error}"))
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
