//! Whether a call may begin on the thread that asks for it, instead of on one of the guests' own. It saves two
//! wake-ups, which is more than a short call takes.
//!
//! A guest's first turn is over after some milliseconds of its thread's time, so it costs the thread no more than that, but
//! for one thing: a bulk operation on memory cannot be interrupted (filling 64 MiB takes tens of milliseconds). So only
//! modules whose last calls were all small begin here, one at a time in the whole host, and one that holds its thread
//! up sends everybody to the guests' threads for a while.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::Usage;

/// A call is small that uses no more: of fuel some hundreds of microseconds' worth, of memory what is filled in about
/// as much. These are the same however busy the machine is; time is not.
const SMALL_FUEL: u64 = 500_000;
const SMALL_MEMORY: u64 = 8 << 20;
/// So many small calls in a row are a habit, and so many more can be remembered of it.
const HABIT: i32 = 16;
const MOST: i32 = 64;
/// A thread can lose its processor for long: a call that did not end here counts against the habit, but does not end it.
const UNFINISHED: i32 = 16;
/// A thread that was held for longer, by its own processor time, was held up: a first turn is a third of it.
const HELD_UP: Duration = Duration::from_millis(12);
/// Nobody begins here for so long after that.
const PAUSE: Duration = Duration::from_secs(1);
/// Nor the module that did it, until it has made so many more small calls.
const PENANCE: i32 = 10_000;

/// What a module's calls were like.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    small_in_a_row: AtomicI32,
}

impl Habit {
    /// A call has ended, wherever it ran.
    pub(crate) fn used(&self, usage: &Usage) {
        let small =
            usage.fuel.is_some_and(|fuel| fuel <= SMALL_FUEL) && usage.peak_memory_bytes <= SMALL_MEMORY;
        let after = |row: i32| if small { (row + 1).min(MOST) } else { row.min(0) };
        // In one step: what another call has earned meanwhile is not written over.
        self.small_in_a_row.update(Relaxed, Relaxed, after);
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
        let may = habit.small_in_a_row.load(Relaxed) >= HABIT
            && self.now() >= self.paused_until.load(Relaxed)
            && !self.taken.swap(true, Relaxed);
        may.then(|| Leave { here: self, habit })
    }
}

impl Leave<'_> {
    /// The guest took so much of the thread's time, and has ended or given its turn back.
    pub(crate) fn over(self, held: Duration, ended: bool) {
        let row = &self.habit.small_in_a_row;
        if held > HELD_UP {
            self.here.paused_until.store(self.here.now() + PAUSE.as_micros() as u64, Relaxed);
            row.store(-PENANCE, Relaxed);
        } else if !ended {
            row.fetch_sub(UNFINISHED, Relaxed);
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

    fn usage(fuel: Option<u64>, peak_memory_bytes: u64) -> Usage {
        Usage { fuel, peak_memory_bytes, ..Usage::default() }
    }

    fn small() -> Usage {
        usage(Some(SMALL_FUEL), SMALL_MEMORY)
    }

    fn brisk() -> Habit {
        let habit = Habit::default();
        (0..HABIT).for_each(|_| habit.used(&small()));
        habit
    }

    #[test]
    fn only_a_module_whose_calls_were_all_small_begins_here_and_one_at_a_time() {
        let (here, habit) = (Here::new(), Habit::default());
        for _ in 0..HABIT {
            assert!(here.leave(&habit).is_none());
            habit.used(&small());
        }
        let leave = here.leave(&habit).unwrap();
        assert!(here.leave(&habit).is_none() && here.leave(&brisk()).is_none(), "somebody is here");
        leave.over(QUICK, true);
        drop(here.leave(&habit).unwrap());
        for large in [usage(Some(SMALL_FUEL + 1), 0), usage(Some(1), SMALL_MEMORY + 1), usage(None, 0)] {
            let habit = brisk();
            habit.used(&large);
            habit.used(&small());
            assert!(here.leave(&habit).is_none(), "{large:?}");
        }
    }

    #[test]
    fn calls_that_do_not_end_here_soon_begin_elsewhere_and_a_tick_now_and_then_does_no_harm() {
        let (here, habit) = (Here::new(), brisk());
        here.leave(&habit).unwrap().over(QUICK, false);
        assert!(here.leave(&habit).is_none());
        (0..MOST).for_each(|_| habit.used(&small()));
        let begun = (0..MOST).filter(|_| here.leave(&habit).map(|leave| leave.over(QUICK, false)).is_some());
        assert_eq!(begun.count() as i32, 1 + (MOST - HABIT) / UNFINISHED);
        let habit = brisk();
        for n in 0..1000 {
            habit.used(&small());
            if let Some(leave) = here.leave(&habit) {
                leave.over(QUICK, n % 30 != 0);
            }
        }
        assert!(here.leave(&habit).is_some());
    }

    #[test]
    fn one_that_holds_its_thread_up_sends_everybody_away_and_itself_for_long() {
        let (mut here, habit, other) = (Here::new(), brisk(), brisk());
        here.leave(&habit).unwrap().over(HELD_UP * 2, true);
        assert!(here.leave(&other).is_none() && here.leave(&habit).is_none());
        // The pause is over.
        here.since -= PAUSE;
        assert!(here.leave(&other).is_some());
        (0..PENANCE).for_each(|_| habit.used(&small()));
        assert!(here.leave(&habit).is_none());
        (0..HABIT).for_each(|_| habit.used(&small()));
        assert!(here.leave(&habit).is_some());
    }
}
