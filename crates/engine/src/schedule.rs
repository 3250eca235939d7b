//! Which runs of a workspace are driven now, which wait for a slot, and how a sleeping one is woken.
//! All of it can be made again from the store; nothing here decides what is true.
use crate::id::RunId;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// A workspace's slots and its ready queue.
pub(crate) struct Schedule {
    slots: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    running: usize,
    /// In the order of ids, which is the order of acceptance, before a restart and after it.
    ready: BTreeSet<RunId>,
    /// Runs that have a driver.
    active: HashMap<RunId, Arc<Bell>>,
    closed: bool,
}

/// How a driver hears that something was written to its run.
#[derive(Default)]
pub(crate) struct Bell {
    notify: Notify,
}

impl Bell {
    pub(crate) async fn rung(&self) {
        self.notify.notified().await;
    }
}

/// The right to drive one run.
pub(crate) struct Turn {
    pub run: RunId,
    pub bell: Arc<Bell>,
}

/// What becomes of a driver that has nothing to do.
pub(crate) enum Parting {
    /// It is no longer the run's driver. These may start now.
    Left(Vec<Turn>),
    /// Somebody rang meanwhile: look again.
    Rung,
}

impl Schedule {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A turn for a run that does not exist yet, if one is free and nobody waits for it.
    pub(crate) fn start_at_once(&self, run: RunId) -> Option<Turn> {
        let mut inner = self.lock();
        (!inner.closed && inner.ready.is_empty() && inner.running < self.slots).then(|| inner.start(run))
    }

    /// Something was written to the run: its driver looks, or it gets one in its turn.
    pub(crate) fn wake(&self, run: RunId) -> Vec<Turn> {
        let mut inner = self.lock();
        if let Some(bell) = inner.active.get(&run) {
            bell.notify.notify_one();
            return Vec::new();
        }
        inner.ready.insert(run);
        inner.next(self.slots)
    }

    /// The same, but at once, past the queue: for a cancel, which must not wait behind what it cancels.
    pub(crate) fn wake_at_once(&self, run: RunId) -> Vec<Turn> {
        let mut inner = self.lock();
        if let Some(bell) = inner.active.get(&run) {
            bell.notify.notify_one();
            return Vec::new();
        }
        if inner.closed {
            return Vec::new();
        }
        inner.ready.remove(&run);
        vec![inner.start(run)]
    }

    /// Many at once, as recovery finds them.
    pub(crate) fn fill(&self, runs: impl IntoIterator<Item = RunId>) -> Vec<Turn> {
        let mut inner = self.lock();
        let Inner { active, ready, .. } = &mut *inner;
        ready.extend(runs.into_iter().filter(|run| !active.contains_key(run)));
        inner.next(self.slots)
    }

    /// The driver parks its run. `ended`: there is nothing to look at again.
    pub(crate) fn leave(&self, turn: &Turn, ended: bool) -> Parting {
        let mut inner = self.lock();
        if !inner.active.get(&turn.run).is_some_and(|bell| Arc::ptr_eq(bell, &turn.bell)) {
            // It has left before.
            return Parting::Left(Vec::new());
        }
        let rung = {
            // A permit that is there means that `wake` came between the driver's last look and now.
            let mut notified = std::pin::pin!(turn.bell.notify.notified());
            notified.as_mut().enable()
        };
        if rung && !ended && !inner.closed {
            return Parting::Rung;
        }
        inner.active.remove(&turn.run);
        inner.running -= 1;
        if rung {
            // Written to while it ended, by a retry above all: whoever comes next looks.
            inner.ready.insert(turn.run);
        }
        Parting::Left(inner.next(self.slots))
    }

    /// Nothing starts from here on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// How many are driven, and how many wait for a slot.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.running, inner.ready.len())
    }
}

impl Inner {
    fn start(&mut self, run: RunId) -> Turn {
        let bell = Arc::new(Bell::default());
        self.running += 1;
        self.active.insert(run, bell.clone());
        Turn { run, bell }
    }

    fn next(&mut self, slots: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        while !self.closed && self.running < slots {
            let Some(run) = self.ready.pop_first() else { break };
            turns.push(self.start(run));
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    fn runs(turns: &[Turn]) -> Vec<RunId> {
        turns.iter().map(|turn| turn.run).collect()
    }

    fn left(parting: Parting) -> Vec<Turn> {
        match parting {
            Parting::Left(turns) => turns,
            Parting::Rung => panic!("nobody rang"),
        }
    }

    #[test]
    fn the_rest_waits_in_order() {
        let schedule = Schedule::new(2);
        let first = schedule.start_at_once(id(1)).unwrap();
        let second = schedule.start_at_once(id(2)).unwrap();
        assert!(schedule.start_at_once(id(5)).is_none());
        assert!(schedule.wake(id(5)).is_empty());
        assert!(schedule.wake(id(4)).is_empty());
        assert_eq!(schedule.counts(), (2, 2));
        let next = left(schedule.leave(&first, true));
        assert_eq!(runs(&next), [id(4)]);
        assert!(schedule.start_at_once(id(6)).is_none(), "5 waits and comes first");
        assert_eq!(runs(&left(schedule.leave(&second, true))), [id(5)]);
    }

    #[test]
    fn a_ring_is_never_lost_between_the_last_look_and_parking() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(id(1)).unwrap();
        assert!(schedule.wake(id(1)).is_empty(), "it has a driver");
        assert!(matches!(schedule.leave(&turn, false), Parting::Rung));
        assert!(left(schedule.leave(&turn, false)).is_empty());
        assert_eq!(runs(&schedule.wake(id(1))), [id(1)]);
    }

    #[test]
    fn a_ring_is_not_lost_when_the_run_ends_meanwhile() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(id(1)).unwrap();
        assert!(schedule.wake(id(1)).is_empty(), "it has a driver");
        assert_eq!(runs(&left(schedule.leave(&turn, true))), [id(1)], "somebody looks again");
        assert_eq!(schedule.counts(), (1, 0));
    }

    #[test]
    fn leaving_twice_is_leaving_once() {
        let schedule = Schedule::new(2);
        let turn = schedule.start_at_once(id(1)).unwrap();
        left(schedule.leave(&turn, true));
        let again = schedule.start_at_once(id(1)).unwrap();
        left(schedule.leave(&turn, true));
        assert_eq!(schedule.counts(), (1, 0), "the turn of another driver stays");
        left(schedule.leave(&again, true));
        assert_eq!(schedule.counts(), (0, 0));
    }

    #[test]
    fn a_cancel_does_not_wait_behind_the_queue() {
        let schedule = Schedule::new(1);
        let _busy = schedule.start_at_once(id(1)).unwrap();
        assert!(schedule.wake(id(2)).is_empty());
        assert_eq!(runs(&schedule.wake_at_once(id(2))), [id(2)]);
        assert_eq!(schedule.counts(), (2, 0));
    }

    #[test]
    fn nothing_starts_once_closed() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(id(1)).unwrap();
        assert!(schedule.wake(id(2)).is_empty());
        schedule.close();
        assert!(left(schedule.leave(&turn, true)).is_empty());
        assert!(schedule.wake_at_once(id(3)).is_empty());
    }
}
