//! Rule 8: which threads may call sled. The store's own may, and others while they open it or read a little at once.
use std::cell::Cell;

thread_local! {
    static MAY: Cell<bool> = const { Cell::new(false) };
}

/// While it lives its thread may call sled.
pub(super) struct MayCallSled {
    before: bool,
    /// It is of one thread.
    _here: std::marker::PhantomData<*const ()>,
}

impl MayCallSled {
    pub(super) fn here() -> Self {
        Self { before: MAY.replace(true), _here: std::marker::PhantomData }
    }
}

impl Drop for MayCallSled {
    fn drop(&mut self) {
        MAY.set(self.before);
    }
}

/// Called wherever sled is.
pub(super) fn check() {
    debug_assert!(MAY.get(), "rule 8: sled is called by a thread that must not wait for it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_while_it_says_so() {
        let refused = || std::panic::catch_unwind(check).is_err();
        assert!(refused());
        let outer = MayCallSled::here();
        drop(MayCallSled::here());
        assert!(!refused());
        assert!(std::thread::spawn(move || std::panic::catch_unwind(check).is_err()).join().unwrap());
        drop(outer);
        assert!(refused());
    }
}
