//! Whether a call may begin on the thread that asks for it, instead of on one of the guests' own. It saves two
//! wake-ups, which is more than a short call takes.
//!
//! A guest gives its turn back at every tick, so beginning here costs the thread a millisecond at most, but for one
//! thing: a bulk operation on memory cannot be interrupted (filling 64 MiB takes tens of milliseconds). So only
//! modules whose last calls were all short begin here, one at a time in the whole host, and one that holds its thread
//! up sends everybody to the guests' threads for a while.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A call that took no longer was short.
const SHORT: Duration = Duration::from_millis(1);
/// So many short calls in a row are a habit.
const HABIT: i32 = 16;
/// A thread that was held for longer was held up: a tick is five times as short.
const HELD_UP: Duration = Duration::from_millis(5);
/// Nobody begins here for so long after that.
const PAUSE: Duration = Duration::from_secs(1);
/// Nor the module that did it, until it has made so many more short calls.
const PENANCE: i32 = 10_000;

/// What a module's calls were like.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    short_in_a_row: AtomicI32,
}

impl Habit {
    /// After a call that began on a guests' thread. Preemption makes a call look longer, never shorter.
    pub(crate) fn took(&self, wall: Duration) {
        let row = self.short_in_a_row.load(Relaxed);
        let row = if wall < SHORT { row.saturating_add(1).min(HABIT) } else { row.min(0) };
        self.short_in_a_row.store(row, Relaxed);
    }
}

/// Who may begin where they are; one of it a host.
#[derive(Debug)]
pub(crate) struct Here {
    taken: AtomicBool,
    /// Microseconds after `since`.
    paused_until: AtomicU64,
    since: Instant,
}

/// The leave to begin here.
#[derive(Debug)]
pub(crate) struct Leave<'h> {
    here: &'h Here,
    habit: &'h Habit,
}

impl Here {
    pub(crate) fn new() -> Self {
        Self { taken: AtomicBool::new(false), paused_until: AtomicU64::new(0), since: Instant::now() }
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_micros() as u64
    }

    pub(crate) fn leave<'h>(&'h self, habit: &'h Habit) -> Option<Leave<'h>> {
        let may = habit.short_in_a_row.load(Relaxed) >= HABIT
            && self.now() >= self.paused_until.load(Relaxed)
            && !self.taken.swap(true, Relaxed);
        may.then(|| Leave { here: self, habit })
    }
}

impl Leave<'_> {
    /// The guest held the thread for so long, and has ended or given its turn back.
    pub(crate) fn over(self, held: Duration, ended: bool) {
        if held > HELD_UP {
            self.here.paused_until.store(self.here.now() + PAUSE.as_micros() as u64, Relaxed);
            self.habit.short_in_a_row.store(-PENANCE, Relaxed);
        } else if !ended {
            self.habit.short_in_a_row.store(0, Relaxed);
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.here.taken.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(50);

    fn brisk() -> Habit {
        let habit = Habit::default();
        (0..HABIT).for_each(|_| habit.took(QUICK));
        habit
    }

    #[test]
    fn only_a_module_whose_calls_were_all_short_begins_here_and_one_at_a_time() {
        let (here, habit) = (Here::new(), Habit::default());
        for _ in 0..HABIT {
            assert!(here.leave(&habit).is_none());
            habit.took(QUICK);
        }
        let leave = here.leave(&habit).unwrap();
        assert!(here.leave(&habit).is_none() && here.leave(&brisk()).is_none(), "somebody is here");
        leave.over(QUICK, true);
        drop(here.leave(&habit).unwrap());
        here.leave(&habit).unwrap().over(SHORT, false);
        assert!(here.leave(&habit).is_none(), "it did not end within its turn");
        habit.took(QUICK);
        assert!(here.leave(&habit).is_none());
    }

    #[test]
    fn one_that_holds_its_thread_up_sends_everybody_away_and_itself_for_long() {
        let (mut here, habit, other) = (Here::new(), brisk(), brisk());
        here.leave(&habit).unwrap().over(HELD_UP * 2, true);
        assert!(here.leave(&other).is_none() && here.leave(&habit).is_none());
        // The pause is over.
        here.since -= PAUSE;
        assert!(here.leave(&other).is_some());
        (0..PENANCE).for_each(|_| habit.took(QUICK));
        assert!(here.leave(&habit).is_none());
        habit.took(Duration::from_millis(3));
        (0..HABIT).for_each(|_| habit.took(QUICK));
        assert!(here.leave(&habit).is_some());
    }
}
