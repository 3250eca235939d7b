//! The steps in which the writer and the mover touch the disk. A test looks on, and lets one fail.
use std::fs::File;
use std::io;

use super::failed::Failed;

pub(super) trait Steps: Send + Sync {
    /// Before a group of commits is written to the log.
    fn log(&self) -> io::Result<()> {
        Ok(())
    }

    /// The log is on the disk when this is done.
    fn sync_log(&self, log: &File) -> io::Result<()> {
        log.sync_data()
    }

    /// Before a table is written to sled.
    fn apply(&self) -> Result<(), Failed> {
        Ok(())
    }

    /// It is applied, and nothing of it need be on the disk yet.
    fn applied(&self) -> Result<(), Failed> {
        Ok(())
    }

    /// Rule 1: what sled has flushed is on the disk when this is done.
    fn sync(&self, data: &File) -> io::Result<()> {
        data.sync_data()
    }

    /// Rule 3: lets sled's garbage go.
    fn pump(&self) {
        crossbeam_epoch::pin().flush();
    }

    /// Those who wait are about to be answered.
    fn answer(&self) {}

    /// Sled failed, is closed, and is about to be opened anew.
    fn reopen(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a server does.
pub(super) struct Real;

impl Steps for Real {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn syncing_asks_the_system() {
        // Nobody can sync a pipe: the system says so if it is asked.
        let (reader, writer) = io::pipe().unwrap();
        let error = Real.sync(&File::from(std::os::fd::OwnedFd::from(writer))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        drop(reader);
    }

    #[test]
    fn pumping_lets_garbage_go() {
        let gone = Arc::new(AtomicBool::new(false));
        let note = gone.clone();
        crossbeam_epoch::pin().defer(move || note.store(true, Ordering::Relaxed));
        // Other threads may hold an epoch for a moment.
        let pumped = (0..1_000_000).any(|_| {
            Real.pump();
            gone.load(Ordering::Relaxed)
        });
        assert!(pumped);
    }
}
