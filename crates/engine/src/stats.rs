//! Counters of what the process has done; reading them is a snapshot, never exact across counters.
use crate::api::{ActionTotals, RunStatus, Stats};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use stepwell_sandbox::Outcome;

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// One a field of [`Stats`] that only grows.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub $name: AtomicU64,)*
            /// By module hash.
            actions: Mutex<HashMap<String, ActionTotals>>,
        }

        impl Counters {
            /// What only grows; the caller adds what goes on now.
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)* ..Stats::default() }
            }
        }
    };
}

counters! {
    runs_started, runs_completed, runs_failed, runs_cancelled, steps, code_calls, code_failures, fuel,
    outside_calls, outside_failures, bursts, burst_conflicts, commits, keys_written, hooks_accepted, hooks_refused,
    hook_waits_refused,    schedule_runs, event_runs, event_loops_stopped,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

impl Counters {
    pub(crate) fn run_ended(&self, status: RunStatus) {
        match status {
            RunStatus::Completed => add(&self.runs_completed, 1),
            RunStatus::Failed => add(&self.runs_failed, 1),
            RunStatus::Cancelled => add(&self.runs_cancelled, 1),
            _ => {}
        }
    }

    pub(crate) fn code_call(&self, sha256: &str, outcome: &Outcome) {
        let fuel = outcome.usage.fuel.unwrap_or(0);
        let failed = u64::from(outcome.result.is_err());
        add(&self.code_calls, 1);
        add(&self.code_failures, failed);
        add(&self.fuel, fuel);
        let mut actions = self.actions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !actions.contains_key(sha256) {
            actions.insert(sha256.to_owned(), ActionTotals::default());
        }
        if let Some(totals) = actions.get_mut(sha256) {
            totals.calls += 1;
            totals.failures += failed;
            totals.fuel = totals.fuel.saturating_add(fuel);
            totals.wall_us = totals.wall_us.saturating_add(outcome.usage.wall_us);
        }
    }

    pub(crate) fn action(&self, sha256: &str) -> ActionTotals {
        let actions = self.actions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        actions.get(sha256).copied().unwrap_or_default()
    }
}
