//! The millisecond tick that makes running guests look up: to give others their turn and to see
//! whether their time is over. It rests when nothing runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// Ticks without a call until the thread rests, so that a steady trickle of calls does not pay for
/// waking it each time.
const IDLE_TICKS: u32 = 64;

struct Shared {
    running: AtomicUsize,
    resting: AtomicBool,
    over: AtomicBool,
}

/// Ticks as long as it lives.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    handle: Thread,
    _thread: JoinHandle<()>,
}

/// Something runs.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &Engine, period: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            resting: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let (engine, ours) = (engine.weak(), shared.clone());
        let thread = thread::Builder::new().name("sandbox-tick".into()).spawn(move || {
            let mut idle = 0;
            while !ours.over.load(SeqCst) {
                if ours.running.load(SeqCst) > 0 {
                    idle = 0;
                } else if idle < IDLE_TICKS {
                    idle += 1;
                } else {
                    // First say that we rest, then look again: a call that starts in between sees
                    // one of the two.
                    ours.resting.store(true, SeqCst);
                    if ours.running.load(SeqCst) == 0 && !ours.over.load(SeqCst) {
                        thread::park();
                    }
                    ours.resting.store(false, SeqCst);
                    continue;
                }
                thread::sleep(period);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { shared, handle: thread.thread().clone(), _thread: thread })
    }

    pub(crate) fn run(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.resting.load(SeqCst) {
            self.handle.unpark();
        }
        Running(&self.shared)
    }

    #[cfg(test)]
    fn rests(&self) -> bool {
        self.shared.resting.load(SeqCst)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.handle.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(what: impl Fn() -> bool) {
        while !what() {
            thread::yield_now();
        }
    }

    #[test]
    fn it_rests_when_nothing_runs_and_ticks_when_something_does() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine, Duration::from_micros(50)).unwrap();
        until(|| ticker.rests());
        let running = ticker.run();
        until(|| !ticker.rests());
        drop(running);
        until(|| ticker.rests());
    }
}
