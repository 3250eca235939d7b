//! After sled failed: what was under way may be written or not. It is opened anew, which tells (rule 6).
use std::time::{Duration, Instant};

use super::{Admitted, Next, Writer};
use crate::full::is_full;
use crate::sled_store::failed::Failed;
use crate::sled_store::folder::OpenError;

/// How long to wait before sled is opened again after that failed: at first, and at most.
const REOPEN: Duration = Duration::from_millis(250);
const REOPEN_AT_MOST: Duration = Duration::from_secs(2);

impl Writer {
    /// Opens sled anew, and answers those who wait by the number of the last commit.
    pub(super) fn recover(&mut self, admitted: Vec<Admitted>, why: &Failed) {
        // Opening a large folder takes long, and is progress.
        self.progress.end();
        tracing::error!(reason = %why.reason, full = why.full, "sled failed; opening it anew");
        self.close_sled();
        if why.full {
            self.ballast.let_go();
        }
        let mut pause = REOPEN;
        let last = loop {
            let error = match self.reopen() {
                Ok(last) => break last,
                Err(error) => Failed {
                    full: matches!(&error, OpenError::Io { error, .. } if is_full(error)),
                    reason: error.to_string(),
                },
            };
            tracing::error!(error = %error.reason, "sled cannot be opened yet");
            // Those who come now can be told at once: nothing of theirs is written.
            let until = Instant::now() + pause;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                match self.requests.next(Some(left)) {
                    Next::Item(request) => drop(request.answer.send(Err(error.refused()))),
                    Next::TimedOut => {}
                    // The process ends without knowing; the next one will.
                    Next::Closed => return,
                }
            }
            pause = (pause * 2).min(REOPEN_AT_MOST);
        };
        for Admitted { stamp, home, answer } in admitted {
            let written = stamp.seq <= last;
            let _ = answer.send(if written { Ok(stamp) } else { Err(why.refused()) });
            if written {
                let _ = self.hints.send(home);
            }
        }
        tracing::info!(last, "sled is open again");
    }

    fn reopen(&mut self) -> Result<u64, OpenError> {
        self.steps.reopen().map_err(|error| OpenError::of(&self.folder.rows(), error))?;
        self.open_sled()
    }
}
