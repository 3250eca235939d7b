//! Who waits for a run: callers of webhooks with an answer, `wait`, `watch`. Most runs have nobody.
use crate::id::RunId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use stepwell_workflow::machine::{Answer, Finished};
use tokio::sync::watch;

/// How a run ended, for those who wait.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub finished: Finished,
    /// What the trigger says to answer.
    pub answer: Option<Answer>,
}

/// What a commit of a run came to, for those who wait.
pub(crate) enum Moved {
    GoesOn,
    /// Nothing moves before a person does something.
    NeedsAPerson,
    Ended(Arc<Ended>),
}

/// What a waiting one sees of a run with each commit: whether it stands still since, and its end.
#[derive(Debug, Clone, Default)]
struct Seen {
    needs_a_person: bool,
    ended: Option<Arc<Ended>>,
}

#[derive(Default)]
pub(crate) struct Waiters {
    by_run: Mutex<HashMap<RunId, watch::Sender<Seen>>>,
}

/// Somebody who waits; the entry goes with the last of them.
pub(crate) struct Listener {
    seen: watch::Receiver<Seen>,
    run: RunId,
    waiters: Arc<Waiters>,
}

impl Listener {
    /// Waits for the run's end; `None` when it cannot be told any more.
    pub(crate) async fn ended(&mut self) -> Option<Arc<Ended>> {
        // The sender goes with the run's end, which it tells first.
        self.seen.wait_for(|seen| seen.ended.is_some()).await.ok()?.ended.clone()
    }

    /// Waits for the run's end, or until it goes on only when a person does something: then there is none.
    pub(crate) async fn ended_or_needs_a_person(&mut self) -> Option<Arc<Ended>> {
        self.seen.wait_for(|seen| seen.ended.is_some() || seen.needs_a_person).await.ok()?.ended.clone()
    }

    /// Waits for the run's next commit, or its end.
    pub(crate) async fn moved(&mut self) {
        // The sender goes when the run has ended: there is something to look at, too.
        let _ = self.seen.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut by_run = self.waiters.lock();
        let Some(sender) = by_run.get(&self.run) else { return };
        // This one still counts; after an end the entry may be that of somebody who came later.
        if sender.receiver_count() <= 1 && sender.subscribe().same_channel(&self.seen) {
            by_run.remove(&self.run);
        }
    }
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<Seen>>> {
        self.by_run.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Listens from now on.
    pub(crate) fn listen(self: &Arc<Self>, run: RunId) -> Listener {
        let mut by_run = self.lock();
        let seen = by_run.entry(run).or_insert_with(|| watch::Sender::new(Seen::default())).subscribe();
        Listener { seen, run, waiters: self.clone() }
    }

    /// Tells who listens that the run has moved on; `what` is asked when somebody does.
    pub(crate) fn tell(&self, run: RunId, what: impl FnOnce() -> Moved) {
        let mut by_run = self.lock();
        if by_run.is_empty() {
            return;
        }
        let Some(sender) = by_run.get(&run) else { return };
        let what = what();
        let needs_a_person = matches!(what, Moved::NeedsAPerson);
        let ended = match what {
            Moved::Ended(ended) => Some(ended),
            Moved::GoesOn | Moved::NeedsAPerson => None,
        };
        let over = ended.is_some();
        sender.send_replace(Seen { needs_a_person, ended });
        if over {
            by_run.remove(&run);
        }
    }

    /// Tells who listens that the run has ended.
    pub(crate) fn tell_end(&self, run: RunId, ended: impl FnOnce() -> Ended) {
        self.tell(run, || Moved::Ended(Arc::new(ended())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_waits_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let run = RunId::from_bytes([1; 16]);
        let (first, second) = (waiters.listen(run), waiters.listen(run));
        drop(first);
        assert_eq!(waiters.lock().len(), 1);
        drop(second);
        assert_eq!(waiters.lock().len(), 0, "a run that never ends does not keep who has gone");
    }
}
