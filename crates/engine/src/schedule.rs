//! Which runs of a workspace are driven now, which wait for a slot, and how a sleeping one is woken.
//! All of it can be made again from the store; nothing here decides what is true.
use crate::id::RunId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
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
    ready: Ready,
    /// Runs that have a driver.
    active: HashMap<RunId, Arc<Bell>>,
    closed: bool,
}

/// Runs that wait for a slot, a line for each workflow. A line is in the order of ids, which is the order of acceptance,
/// before a restart and after it; the lines take turns, so that a long one keeps no other waiting.
#[derive(Default)]
struct Ready {
    /// None is empty.
    lines: BTreeMap<Arc<str>, BTreeSet<RunId>>,
    runs: usize,
    /// Whose turn it was last.
    last: Option<Arc<str>>,
}

impl Ready {
    fn insert(&mut self, run: RunId, workflow: &Arc<str>) {
        let is_new = match self.lines.get_mut(workflow) {
            Some(line) => line.insert(run),
            None => self.lines.insert(workflow.clone(), BTreeSet::from([run])).is_none(),
        };
        self.runs += usize::from(is_new);
    }

    fn remove(&mut self, run: RunId, workflow: &str) {
        if let Some(line) = self.lines.get_mut(workflow)
            && line.remove(&run)
        {
            self.runs -= 1;
            if line.is_empty() {
                self.lines.remove(workflow);
            }
        }
    }

    fn pop(&mut self) -> Option<(RunId, Arc<str>)> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(last.clone()));
        let next = self.lines.range::<Arc<str>, _>((after, Bound::Unbounded)).next();
        let workflow = next.or_else(|| self.lines.first_key_value())?.0.clone();
        let line = self.lines.get_mut(&workflow)?;
        let run = line.pop_first()?;
        if line.is_empty() {
            self.lines.remove(&workflow);
        }
        self.runs -= 1;
        self.last = Some(workflow.clone());
        Some((run, workflow))
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
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
    workflow: Arc<str>,
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
    pub(crate) fn start_at_once(&self, run: RunId, workflow: &str) -> Option<Turn> {
        let mut inner = self.lock();
        let is_free = !inner.closed && inner.ready.is_empty() && inner.running < self.slots;
        is_free.then(|| inner.start(run, workflow.into()))
    }

    /// Something was written to the run: its driver looks, or it gets one in its turn.
    pub(crate) fn wake(&self, run: RunId, workflow: &str) -> Vec<Turn> {
        let mut inner = self.lock();
        if let Some(bell) = inner.active.get(&run) {
            bell.notify.notify_one();
            return Vec::new();
        }
        inner.ready.insert(run, &workflow.into());
        inner.next(self.slots)
    }

    /// The same, but at once, past the queue: for a cancel, which must not wait behind what it cancels.
    pub(crate) fn wake_at_once(&self, run: RunId, workflow: &str) -> Vec<Turn> {
        let mut inner = self.lock();
        if let Some(bell) = inner.active.get(&run) {
            bell.notify.notify_one();
            return Vec::new();
        }
        if inner.closed {
            return Vec::new();
        }
        inner.ready.remove(run, workflow);
        vec![inner.start(run, workflow.into())]
    }

    /// Many at once, as recovery finds them.
    pub(crate) fn fill(&self, runs: impl IntoIterator<Item = (RunId, Arc<str>)>) -> Vec<Turn> {
        let mut inner = self.lock();
        let Inner { active, ready, .. } = &mut *inner;
        let sleeping = runs.into_iter().filter(|(run, _)| !active.contains_key(run));
        sleeping.for_each(|(run, workflow)| ready.insert(run, &workflow));
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
            inner.ready.insert(turn.run, &turn.workflow);
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
        (inner.running, inner.ready.runs)
    }
}

impl Inner {
    fn start(&mut self, run: RunId, workflow: Arc<str>) -> Turn {
        let bell = Arc::new(Bell::default());
        self.running += 1;
        self.active.insert(run, bell.clone());
        Turn { run, bell, workflow }
    }

    fn next(&mut self, slots: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        while !self.closed && self.running < slots {
            let Some((run, workflow)) = self.ready.pop() else { break };
            // One that was looked at under two names has its driver already.
            match self.active.get(&run) {
                Some(bell) => bell.notify.notify_one(),
                None => turns.push(self.start(run, workflow)),
            }
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
        let first = schedule.start_at_once(id(1), "flow").unwrap();
        let second = schedule.start_at_once(id(2), "flow").unwrap();
        assert!(schedule.start_at_once(id(5), "flow").is_none());
        assert!(schedule.wake(id(5), "flow").is_empty());
        assert!(schedule.wake(id(4), "flow").is_empty());
        assert_eq!(schedule.counts(), (2, 2));
        let next = left(schedule.leave(&first, true));
        assert_eq!(runs(&next), [id(4)]);
        assert!(schedule.start_at_once(id(6), "flow").is_none(), "5 waits and comes first");
        assert_eq!(runs(&left(schedule.leave(&second, true))), [id(5)]);
    }

    #[test]
    fn a_ring_is_never_lost_between_the_last_look_and_parking() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(id(1), "flow").unwrap();
        assert!(schedule.wake(id(1), "flow").is_empty(), "it has a driver");
        assert!(matches!(schedule.leave(&turn, false), Parting::Rung));
        assert!(left(schedule.leave(&turn, false)).is_empty());
        assert_eq!(runs(&schedule.wake(id(1), "flow")), [id(1)]);
    }

    #[test]
    fn a_ring_is_not_lost_when_the_run_ends_meanwhile() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(id(1), "flow").unwrap();
        assert!(schedule.wake(id(1), "flow").is_empty(), "it has a driver");
        assert_eq!(runs(&left(schedule.leave(&turn, true))), [id(1)], "somebody looks again");
        assert_eq!(schedule.counts(), (1, 0));
    }

    #[test]
    fn leaving_twice_is_leaving_once() {
        let schedule = Schedule::new(2);
        let turn = schedule.start_at_once(id(1), "flow").unwrap();
        left(schedule.leave(&turn, true));
        let again = schedule.start_at_once(id(1), "flow").unwrap();
        left(schedule.leave(&turn, true));
        assert_eq!(schedule.counts(), (1, 0), "the turn of another driver stays");
        left(schedule.leave(&again, true));
        assert_eq!(schedule.counts(), (0, 0));
    }

    #[test]
    fn a_cancel_does_not_wait_behind_the_queue() {
        let schedule = Schedule::new(1);
        let _busy = schedule.start_at_once(id(1), "flow").unwrap();
        assert!(schedule.wake(id(2), "flow").is_empty());
        assert_eq!(runs(&schedule.wake_at_once(id(2), "flow")), [id(2)]);
        assert_eq!(schedule.counts(), (2, 0));
    }

    #[test]
    fn workflows_take_turns_and_each_keeps_its_order() {
        let schedule = Schedule::new(1);
        let mut turn = schedule.start_at_once(id(1), "busy").unwrap();
        for n in [2, 3, 4, 5] {
            assert!(schedule.wake(id(n), "busy").is_empty());
        }
        assert!(schedule.wake(id(8), "other").is_empty());
        assert!(schedule.wake(id(7), "other").is_empty());
        assert!(schedule.wake(id(6), "more").is_empty());
        assert!(schedule.wake(id(6), "more").is_empty(), "once is enough");
        assert_eq!(schedule.counts(), (1, 7));
        let mut order = Vec::new();
        loop {
            let mut next = left(schedule.leave(&turn, true));
            let Some(first) = next.pop() else { break };
            order.push(first.run);
            turn = first;
        }
        assert_eq!(order, [2, 6, 7, 3, 8, 4, 5].map(id));
        assert_eq!(schedule.counts(), (0, 0));
    }

    #[test]
    fn a_long_line_keeps_no_other_waiting() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(RunId::from_bytes([0; 16]), "busy").unwrap();
        let number = |n: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            RunId::from_bytes(bytes)
        };
        let busy: Arc<str> = "busy".into();
        assert!(schedule.fill((1..=10_000).map(|n| (number(n), busy.clone()))).is_empty());
        assert!(schedule.wake(number(20_000), "other").is_empty());
        let next = left(schedule.leave(&turn, true)).remove(0);
        let after = left(schedule.leave(&next, true)).remove(0);
        assert!([next.run, after.run].contains(&number(20_000)), "the second at the latest");
    }

    #[test]
    fn nothing_starts_once_closed() {
        let schedule = Schedule::new(1);
        let turn = schedule.start_at_once(id(1), "flow").unwrap();
        assert!(schedule.wake(id(2), "flow").is_empty());
        schedule.close();
        assert!(left(schedule.leave(&turn, true)).is_empty());
        assert!(schedule.wake_at_once(id(3), "flow").is_empty());
    }
}
