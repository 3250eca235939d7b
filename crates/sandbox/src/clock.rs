//! The guest's time: starts where the call says, moves a microsecond with every look at it, and
//! jumps when the guest sleeps. Nothing in it depends on how fast the machine is.

/// Nanoseconds that a look at the clock takes.
const LOOK_NS: u64 = 1_000;

pub(crate) struct Clock {
    start_ms: u64,
    elapsed_ns: u64,
    budget_ns: u64,
    /// When the pollables being waited for are due. The earliest is where a wait jumps to.
    due: Vec<u64>,
}

impl Clock {
    pub(crate) fn new(start_ms: u64, budget_ms: u64) -> Self {
        let budget_ns = budget_ms.saturating_mul(1_000_000);
        Self { start_ms, elapsed_ns: 0, budget_ns, due: Vec::new() }
    }

    /// A look at the monotonic clock: nanoseconds since the start, never 0.
    pub(crate) fn monotonic_ns(&mut self) -> u64 {
        self.jump_to(self.elapsed_ns.saturating_add(LOOK_NS));
        self.elapsed_ns
    }

    /// A look at the wall clock: seconds and nanoseconds since the Unix epoch.
    pub(crate) fn wall(&mut self) -> (u64, u32) {
        let elapsed_ns = self.monotonic_ns();
        let start_ns = u128::from(self.start_ms) * 1_000_000;
        let now_ns = start_ns + u128::from(elapsed_ns);
        let seconds = u64::try_from(now_ns / 1_000_000_000).unwrap_or(u64::MAX);
        (seconds, (now_ns % 1_000_000_000) as u32)
    }

    /// The wall clock without looking: what log lines are stamped with.
    pub(crate) fn now_ms(&self) -> u64 {
        self.start_ms.saturating_add(self.elapsed_ms())
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.elapsed_ns / 1_000_000
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }

    /// A point on the wall clock, in nanoseconds since the Unix epoch, as one since the start.
    pub(crate) fn since_start_ns(&self, wall_ns: u64) -> u64 {
        wall_ns.saturating_sub(self.start_ms.saturating_mul(1_000_000))
    }

    /// Lets time pass until `ns` after the start, if that is still to come.
    pub(crate) fn jump_to(&mut self, ns: u64) {
        self.elapsed_ns = self.elapsed_ns.max(ns);
    }

    /// Whether more time has passed than the call may take.
    pub(crate) fn over_budget(&self) -> bool {
        self.elapsed_ns > self.budget_ns
    }

    /// Adds something that is waited for.
    pub(crate) fn wait_for(&mut self, due: u64) {
        self.due.push(due);
    }

    /// Takes one of those away.
    pub(crate) fn forget(&mut self, due: u64) {
        if let Some(index) = self.due.iter().position(|other| *other == due) {
            self.due.swap_remove(index);
        }
    }

    /// Lets time pass until the first of what is waited for is due.
    pub(crate) fn jump_to_first_due(&mut self) {
        if let Some(first) = self.due.iter().copied().min() {
            self.jump_to(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_by_looking_and_by_waiting() {
        let mut clock = Clock::new(1_700_000_000_123, 5_000);
        assert_eq!(clock.monotonic_ns(), 1_000);
        assert_eq!(clock.wall(), (1_700_000_000, 123_002_000));
        assert_eq!(clock.now_ms(), 1_700_000_000_123);

        clock.wait_for(9_000_000);
        clock.wait_for(4_000_000);
        clock.jump_to_first_due();
        assert_eq!(clock.elapsed_ms(), 4);
        clock.forget(4_000_000);
        clock.jump_to_first_due();
        assert_eq!(clock.elapsed_ms(), 9);
        clock.jump_to(1);
        assert_eq!(clock.elapsed_ms(), 9);
        assert!(!clock.over_budget());
        clock.jump_to(5_000_000_001);
        assert!(clock.over_budget());
    }

    #[test]
    fn the_far_end_of_time_does_not_overflow() {
        let mut clock = Clock::new(u64::MAX, u64::MAX);
        clock.jump_to(u64::MAX);
        clock.wall();
        assert_eq!(clock.now_ms(), u64::MAX);
        assert!(!clock.over_budget());
    }
}
