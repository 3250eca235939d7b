//! Who waits for a run: callers of webhooks with an answer, `wait`, `watch`. Most runs have nobody.
use crate::id::RunId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use stepwell_workflow::machine::{Answer, Finished};
use tokio::sync::watch;

/// How a run ended, for those who wait.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub finished: Finished,
    /// What the trigger says to answer.
    pub answer: Option<Answer>,
}

/// What a waiting one sees of a run: the number of its last commit, and its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub commit: u32,
    pub ended: Option<Arc<Ended>>,
}

#[derive(Default)]
pub(crate) struct Waiters {
    by_run: Mutex<HashMap<RunId, watch::Sender<Seen>>>,
}

impl Waiters {
    /// Listens from now on.
    pub(crate) fn listen(&self, run: RunId) -> watch::Receiver<Seen> {
        let mut by_run = self.by_run.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        by_run.entry(run).or_insert_with(|| watch::Sender::new(Seen::default())).subscribe()
    }

    /// Tells who listens that the run has moved on.
    pub(crate) fn tell(&self, run: RunId, commit: u32, ended: Option<impl FnOnce() -> Ended>) {
        let mut by_run = self.by_run.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if by_run.is_empty() {
            return;
        }
        let Some(sender) = by_run.get(&run) else { return };
        if sender.is_closed() {
            by_run.remove(&run);
            return;
        }
        match ended {
            None => {
                sender.send_modify(|seen| seen.commit = commit);
            }
            Some(ended) => {
                let ended = Some(Arc::new(ended()));
                sender.send_replace(Seen { commit, ended });
                by_run.remove(&run);
            }
        }
    }
}
