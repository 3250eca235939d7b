//! A queue from tokio's tasks to the store's own threads.
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    wake: Condvar,
}

struct Inner<T> {
    waiting: VecDeque<T>,
    sleepers: usize,
    closed: bool,
}

/// What came out of a queue.
pub(super) enum Next<T> {
    Item(T),
    TimedOut,
    /// Closed, and empty.
    Closed,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let inner = Inner { waiting: VecDeque::new(), sleepers: 0, closed: false };
        Self { inner: Mutex::new(inner), wake: Condvar::new() }
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the item back if the queue is closed.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(item);
        }
        inner.waiting.push_back(item);
        // Waking costs a system call, so nobody is woken who is awake.
        let asleep = inner.sleepers > 0;
        drop(inner);
        if asleep {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for the next item, for ever or for a while.
    pub(super) fn next(&self, timeout: Option<Duration>) -> Next<T> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut inner = self.lock();
        loop {
            if let Some(item) = inner.waiting.pop_front() {
                return Next::Item(item);
            }
            if inner.closed {
                return Next::Closed;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Next::TimedOut;
            }
            inner.sleepers += 1;
            inner = match left {
                Some(left) => self.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
            inner.sleepers -= 1;
        }
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The next item if there is one and it is wanted.
    pub(super) fn next_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        self.lock().waiting.pop_front_if(|item| wanted(item))
    }

    /// Takes no more items in; those that wait still come out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}
