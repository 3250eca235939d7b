//! Who may send through a connection now, and who comes next: the limits of one connection, without clock or store.
//!
//! A request counts for the rate from when its answer came, or from [`ARRIVES`] after it was sent if that is sooner: by
//! then the other side has it, so that its own count never finds more than is allowed, however long each request was on
//! its way.
use crate::id::RunId;
use std::collections::{BTreeMap, HashMap, VecDeque};
use stepwell_workflow::connection::Connection;
use stepwell_workflow::machine::StepPath;

/// A step of a run that sends.
pub(crate) type Caller = (RunId, StepPath);

/// After this a request has arrived, in milliseconds.
const ARRIVES: i64 = 250;
/// Who is called and does not come is called once more after this, and then loses its turn, in milliseconds: its run
/// may wait for a slot, or be gone.
const KEPT: i64 = 300_000;
/// So many points in time are enough to tell a rate by, after a restart.
const REMEMBERED: usize = 200;

/// What a connection allows, as it is now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// So many requests in so many milliseconds.
    pub rate: Option<(usize, i64)>,
    pub concurrency: Option<usize>,
}

impl Limits {
    pub(crate) fn of(connection: &Connection) -> Self {
        Self {
            rate: connection
                .rate
                .map(|rate| (rate.requests as usize, i64::try_from(rate.per.0).unwrap_or(i64::MAX / 4))),
            concurrency: connection.concurrency.map(|most| most as usize),
        }
    }
}

/// The limits of one connection, at work. All times are milliseconds of the engine's clock.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// From when on each request of late counts, the oldest first.
    sent: VecDeque<i64>,
    /// May go, or have gone, and are not over; with when they went.
    under_way: HashMap<Caller, Option<i64>>,
    line: Line,
    called: HashMap<Caller, Called>,
    /// The other side wants no request before this.
    held_until: i64,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
struct Called {
    since: i64,
    /// It was called before and did not come.
    again: bool,
}

/// Who waits, each kind in the order in which it came. Those that had a turn before come first, but never twice in a
/// row: what always fails keeps nobody waiting for good.
#[derive(Debug, Default)]
struct Line {
    retries: BTreeMap<u64, Caller>,
    others: BTreeMap<u64, Caller>,
    /// Where in the line a caller stands, and whether among the retries.
    places: BTreeMap<Caller, (bool, u64)>,
    tickets: u64,
    retry_was_last: bool,
}

impl Line {
    fn join(&mut self, caller: &Caller, before: bool) {
        if self.places.contains_key(caller) {
            return;
        }
        self.tickets += 1;
        let kind = if before { &mut self.retries } else { &mut self.others };
        kind.insert(self.tickets, caller.clone());
        self.places.insert(caller.clone(), (before, self.tickets));
    }

    fn is_retry_next(&self) -> bool {
        !self.retries.is_empty() && (!self.retry_was_last || self.others.is_empty())
    }

    fn next(&self) -> Option<&Caller> {
        let kind = if self.is_retry_next() { &self.retries } else { &self.others };
        kind.first_key_value().map(|(_, caller)| caller)
    }

    /// The next one leaves the line for its turn.
    fn pop(&mut self) -> Option<Caller> {
        let retry = self.is_retry_next();
        let (_, caller) = if retry { &mut self.retries } else { &mut self.others }.pop_first()?;
        self.places.remove(&caller);
        self.retry_was_last = retry;
        Some(caller)
    }

    fn leave(&mut self, caller: &Caller) {
        if let Some((retry, ticket)) = self.places.remove(caller) {
            if retry { &mut self.retries } else { &mut self.others }.remove(&ticket);
        }
    }

    fn of_run(&self, run: RunId) -> Vec<Caller> {
        let first = (run, StepPath::new(""));
        let rest = self.places.range(first..).map(|(caller, _)| caller);
        rest.take_while(|(whose, _)| *whose == run).cloned().collect()
    }
}

impl Gate {
    /// Whether the caller may send now; if not it stands in line, among the first if it had a turn before.
    pub(crate) fn enter(&mut self, caller: &Caller, before: bool, limits: Limits, now: i64) -> bool {
        if self.under_way.contains_key(caller) {
            return true;
        }
        let called = self.called.remove(caller).is_some();
        // Who was called before the other side asked to be left alone waits like everybody.
        if !called || now < self.held_until {
            self.line.join(caller, before || called);
            if self.line.next() != Some(caller) || self.free(limits, now) == 0 {
                return false;
            }
            self.line.pop();
        }
        self.under_way.insert(caller.clone(), None);
        true
    }

    /// The caller's request goes out.
    pub(crate) fn goes(&mut self, caller: &Caller, now: i64) {
        if let Some(when) = self.under_way.get_mut(caller) {
            *when = Some(now);
        }
    }

    /// The caller's request is over.
    pub(crate) fn over(&mut self, caller: &Caller, now: i64) {
        let Some(when) = self.under_way.remove(caller) else { return };
        let counts = when.map_or(now, |when| (when + ARRIVES).min(now));
        let place = self.sent.iter().rposition(|at| *at <= counts).map_or(0, |place| place + 1);
        self.sent.insert(place, counts);
    }

    /// The other side wants to be left alone.
    pub(crate) fn hold(&mut self, until: i64) {
        self.held_until = self.held_until.max(until);
    }

    /// Somebody else is behind the name now, or the limits are others: a new start.
    pub(crate) fn release(&mut self) {
        self.held_until = 0;
    }

    /// A run is over: nothing of it waits any more. Whether it leaves a turn to somebody else.
    pub(crate) fn forget(&mut self, run: RunId) -> bool {
        self.line.of_run(run).iter().for_each(|caller| self.line.leave(caller));
        let before = self.called.len();
        self.called.retain(|(whose, _), _| *whose != run);
        self.called.len() < before
    }

    /// Calls those whose turn it is now.
    pub(crate) fn call(&mut self, limits: Limits, now: i64) -> Vec<RunId> {
        let mut runs = Vec::new();
        self.called.retain(|(run, _), called| {
            if called.since > now - KEPT {
                return true;
            }
            if called.again {
                return false;
            }
            runs.push(*run);
            *called = Called { since: now, again: true };
            true
        });
        for _ in 0..self.free(limits, now) {
            let Some(caller) = self.line.pop() else { break };
            runs.push(caller.0);
            self.called.insert(caller, Called { since: now, again: false });
        }
        runs
    }

    /// How many more may go.
    fn free(&mut self, limits: Limits, now: i64) -> usize {
        if now < self.held_until {
            return 0;
        }
        let mut free = usize::MAX;
        if let Some(most) = limits.concurrency {
            free = free.min(most.saturating_sub(self.under_way.len() + self.called.len()));
        }
        if let Some((most, per)) = limits.rate {
            while self.sent.front().is_some_and(|at| *at <= now - per) {
                self.sent.pop_front();
            }
            let counting = self.under_way.values().filter(|when| counts(**when, now) > now - per).count();
            free = free.min(most.saturating_sub(self.sent.len() + counting + self.called.len()));
        } else {
            self.sent.clear();
        }
        free
    }

    /// When somebody who waits may go without anything happening before; `None`: not by time alone.
    pub(crate) fn next(&mut self, limits: Limits, now: i64) -> Option<i64> {
        let lost = self.called.values().map(|called| called.since + KEPT).min();
        if self.line.places.is_empty() {
            return lost;
        }
        if now < self.held_until {
            return Some(self.held_until);
        }
        let full = self.free(Limits { concurrency: None, ..limits }, now) == 0;
        let rate = limits.rate.filter(|_| full);
        let free = rate.into_iter().flat_map(|(_, per)| {
            let under_way = self.under_way.values().map(|when| counts(*when, now));
            let soonest =
                self.sent.front().copied().into_iter().chain(under_way).filter(|at| *at > now - per).min();
            soonest.map(|at| at + per)
        });
        lost.into_iter().chain(free).min()
    }

    /// How many wait, and until when the other side is left alone.
    pub(crate) fn waiting(&self) -> (usize, i64) {
        (self.line.places.len() + self.called.len(), self.held_until)
    }

    /// What a process that comes after this one has to know: points in time, and how many requests count from there.
    pub(crate) fn window(&self, now: i64) -> Vec<(i64, u32)> {
        let under_way = self.under_way.values().map(|when| when.unwrap_or(now) + ARRIVES);
        let mut all: Vec<i64> = self.sent.iter().copied().chain(under_way).collect();
        all.sort_unstable();
        let width = match (all.first(), all.last()) {
            (Some(first), Some(last)) => (last - first) / (REMEMBERED as i64) + 1,
            _ => 1,
        };
        let mut window: Vec<(i64, u32)> = Vec::new();
        for at in all {
            match window.last_mut() {
                // All of a stretch count from its end: rather too long than too short.
                Some((end, count)) if at <= *end => {
                    *count += 1;
                    continue;
                }
                _ => window.push((at + width - 1, 1)),
            }
        }
        window
    }

    /// Takes over what the process before had sent.
    pub(crate) fn resume(&mut self, window: &[(i64, u32)], now: i64) {
        // A clock that was set back must not make it wait for the difference.
        let all = window.iter().flat_map(|(at, count)| (0..*count).map(|_| (*at).min(now)));
        self.sent = all.collect();
    }
}

/// From when on a request counts that is under way.
fn counts(when: Option<i64>, now: i64) -> i64 {
    when.map_or(now, |when| (when + ARRIVES).min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(n: u8) -> Caller {
        (RunId::from_bytes([n; 16]), StepPath::new("ask"))
    }

    fn rate(most: usize, per: i64) -> Limits {
        Limits { rate: Some((most, per)), concurrency: None }
    }

    #[test]
    fn what_is_over_the_rate_waits_in_order() {
        let (mut gate, limits) = (Gate::default(), rate(2, 1000));
        assert!(gate.enter(&caller(1), false, limits, 0));
        assert!(gate.enter(&caller(2), false, limits, 0));
        for n in [3, 4, 5] {
            assert!(!gate.enter(&caller(n), false, limits, 10));
        }
        for n in [1, 2] {
            gate.goes(&caller(n), 10);
            gate.over(&caller(n), 50);
        }
        assert_eq!(gate.next(limits, 60), Some(1050), "counted from their answers on");
        assert!(gate.call(limits, 1049).is_empty());
        assert_eq!(gate.call(limits, 1050), [caller(3).0, caller(4).0]);
        assert!(!gate.enter(&caller(5), false, limits, 1050));
        assert!(gate.enter(&caller(4), false, limits, 1050) && gate.enter(&caller(3), false, limits, 1050));
        assert!(gate.enter(&caller(3), false, limits, 1050), "a burst that is made again has its turn still");
    }

    #[test]
    fn a_slow_request_counts_from_when_it_has_arrived() {
        let (mut gate, limits) = (Gate::default(), rate(1, 1000));
        assert!(gate.enter(&caller(1), false, limits, 0));
        gate.goes(&caller(1), 0);
        assert!(!gate.enter(&caller(2), false, limits, 5000 - 3760));
        assert_eq!(gate.next(limits, 1240), Some(1250));
        assert_eq!(gate.call(limits, 1250), [caller(2).0], "though the first has no answer yet");
        gate.over(&caller(1), 9000);
        assert_eq!(gate.sent, [250]);
    }

    #[test]
    fn concurrency_is_kept_and_a_hold_stops_all() {
        let (mut gate, limits) = (Gate::default(), Limits { rate: None, concurrency: Some(1) });
        assert!(gate.enter(&caller(1), false, limits, 0));
        assert!(!gate.enter(&caller(2), false, limits, 0));
        assert_eq!(gate.next(limits, 0), None, "only an end makes room");
        gate.hold(500);
        gate.over(&caller(1), 100);
        assert!(gate.call(limits, 100).is_empty());
        assert_eq!(gate.next(limits, 100), Some(500));
        assert_eq!(gate.call(limits, 500), [caller(2).0]);
    }

    #[test]
    fn who_had_a_turn_before_comes_first_and_who_is_gone_leaves_the_line() {
        let (mut gate, limits) = (Gate::default(), Limits { rate: None, concurrency: Some(1) });
        assert!(gate.enter(&caller(1), false, limits, 0));
        for n in [2, 3] {
            assert!(!gate.enter(&caller(n), false, limits, 0));
        }
        assert!(!gate.enter(&caller(4), true, limits, 0));
        gate.forget(caller(2).0);
        gate.over(&caller(1), 1);
        assert_eq!(gate.call(limits, 1), [caller(4).0]);
        assert!(gate.call(limits, 2).is_empty(), "its turn is kept for it");
        gate.forget(caller(4).0);
        assert_eq!(gate.call(limits, 2), [caller(3).0]);
        assert_eq!(gate.call(limits, 2 + KEPT), [caller(3).0], "it is called once more");
        assert_eq!(gate.call(limits, 2 + 2 * KEPT), [] as [RunId; 0]);
        assert!(gate.enter(&caller(5), false, limits, 2 + 2 * KEPT), "a turn that nobody takes is lost");
    }

    #[test]
    fn retries_go_in_their_order_and_let_others_in_between() {
        let (mut gate, limits) = (Gate::default(), Limits { rate: None, concurrency: Some(1) });
        assert!(gate.enter(&caller(1), false, limits, 0));
        for (n, before) in [(2, false), (3, false), (4, true), (5, true), (6, true)] {
            assert!(!gate.enter(&caller(n), before, limits, 0));
        }
        let mut order = vec![1];
        while let Some(last) = order.last().copied().filter(|_| order.len() < 6) {
            gate.over(&caller(last), 0);
            let next = gate.call(limits, 0);
            let next = (2..=6).find(|n| next == [caller(*n).0]).unwrap();
            assert!(gate.enter(&caller(next), false, limits, 0));
            order.push(next);
        }
        assert_eq!(order, [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn the_turn_of_a_run_that_ends_is_free_and_a_hold_counts_for_who_was_called_before_it() {
        let (mut gate, limits) = (Gate::default(), Limits { rate: None, concurrency: Some(1) });
        assert!(gate.enter(&caller(1), false, limits, 0));
        for n in [2, 3] {
            assert!(!gate.enter(&caller(n), false, limits, 0));
        }
        gate.over(&caller(1), 1);
        assert_eq!(gate.call(limits, 1), [caller(2).0]);
        assert!(gate.forget(caller(2).0), "its turn is somebody else's");
        assert_eq!(gate.call(limits, 1), [caller(3).0]);
        gate.hold(500);
        assert!(!gate.enter(&caller(3), false, limits, 2));
        assert_eq!(gate.next(limits, 2), Some(500));
        gate.release();
        assert!(gate.enter(&caller(3), false, limits, 3));
        assert!(!gate.forget(caller(9).0));
    }

    #[test]
    fn what_was_sent_before_a_restart_counts_after_it() {
        let (mut gate, limits) = (Gate::default(), rate(1000, 60_000));
        for n in 0..1000_i64 {
            let one = (RunId::from_bytes([1; 16]), StepPath::new(n.to_string()));
            assert!(gate.enter(&one, false, limits, n * 10));
            gate.goes(&one, n * 10);
            gate.over(&one, n * 10 + 1);
        }
        let window = gate.window(10_000);
        assert!(window.len() <= REMEMBERED + 1, "{}", window.len());
        let mut after = Gate::default();
        after.resume(&window, 10_100);
        assert!(!after.enter(&caller(1), false, limits, 59_000));
        assert!(
            !after.enter(&caller(1), false, limits, 60_000),
            "not before the first of them is a minute old"
        );
        assert!(after.enter(&caller(1), false, limits, 60_200));
        after.resume(&window, 0);
        assert!(after.sent.iter().all(|at| *at == 0), "a clock that was set back");
    }
}
