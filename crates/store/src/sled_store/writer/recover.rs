//! After writing to the log failed: what was under way may be in it or not. All that was answered is brought to sled, and
//! the log begun anew; then it is certain that it is not.
use std::time::{Duration, Instant};

use super::{Admitted, Failed, Next, Writer};

/// How long to wait before the log is begun anew again after that failed: at first, and at most.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);

impl Writer {
    /// Begins the log anew, and refuses those who wait.
    pub(super) fn recover(&mut self, admitted: Vec<Admitted>, why: &Failed) {
        tracing::error!(reason = %why.reason, full = why.full, "the write-ahead log failed; beginning it anew");
        if why.full {
            self.shared.ballast().let_go();
        }
        self.doubtful = admitted;
        let mut pause = AGAIN;
        while let Err(error) = self.begin_log_anew() {
            tracing::error!(error = %error.reason, "the write-ahead log cannot be begun anew yet");
            self.progress.end();
            // Those who come now can be told at once: nothing of theirs is written.
            let until = Instant::now() + pause;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                match self.requests.next(Some(left)) {
                    Next::Item(request) => drop(request.answer.send(Err(error.refused()))),
                    Next::TimedOut => {}
                    // Closing finds out.
                    Next::Closed => return,
                }
            }
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
        // They count what was not written.
        self.heads.clear();
        self.moved.clear();
        // What is read from here on rests on nothing of it.
        self.shared.readers.publish(Vec::new(), self.resolver.stamp());
        for Admitted { answer, .. } in self.doubtful.drain(..) {
            let _ = answer.send(Err(why.refused()));
        }
        tracing::info!("the write-ahead log is begun anew");
    }

    fn begin_log_anew(&mut self) -> Result<(), Failed> {
        if self.table.0 > 0 {
            self.begin_table_when_done()?;
        }
        self.wait_until_done()?;
        self.shared.steps.reopen()?;
        Ok(self.wal.begin_anew()?)
    }
}
