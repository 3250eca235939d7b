//! Whether, and when, a failed attempt is made again.

use jiff::{SignedDuration, Timestamp};

use super::derive;
use super::failure::{Failure, Source};
use super::path::StepPath;
use super::scope::error_value;
use super::state::{State, StepState};
use crate::expr::Scope;
use crate::graph::{Graph, RetryPlan, Undecided};

/// Longer waits than this are not asked for by anybody in earnest.
const LONGEST_MS: u64 = 366 * 24 * 3_600_000;

/// When the next attempt is due; `None`: there is none.
pub(super) fn next(
    plan: &RetryPlan,
    step: &StepState,
    failure: &Failure,
    outside: bool,
    at: Attempt<'_>,
    scope: &dyn Scope,
) -> Result<Option<Timestamp>, Undecided> {
    let attempt = made(step);
    if attempt >= plan.attempts || failure.is_deterministic() {
        return Ok(None);
    }
    match &plan.on {
        // What the author names is made again, if it could end otherwise: the world outside may have changed.
        Some(on) => {
            let allowed = failure.retryable || (outside && failure.source == Source::Engine);
            if !allowed || !on.holds_of(&error_value(failure), scope, at.clock)? {
                return Ok(None);
            }
        }
        None if !failure.retryable => return Ok(None),
        None => {}
    }
    let delay = derive::jittered(backoff_ms(plan, attempt), at.run, at.path, step.attempt);
    let delay = delay.max(failure.retry_after_ms.unwrap_or(0)).min(LONGEST_MS);
    let Some(due) = after(at.clock, delay) else { return Ok(None) };
    let first = step.first_sent.unwrap_or(step.started_at);
    let last = plan.within_ms.and_then(|within| after(first, within));
    Ok(Some(due).filter(|due| last.is_none_or(|last| *due <= last)))
}

/// Attempts at what the step is at: each page of an answer has its own.
fn made(step: &StepState) -> u32 {
    step.attempt - step.pages.as_ref().map_or(0, |pages| pages.before.min(step.attempt))
}

/// How many further attempts a step's `retry` allows.
pub fn attempts_left(graph: &Graph, state: &State, path: &StepPath) -> Option<u32> {
    let plan = graph.node(graph.find(path)?).retry.as_ref()?;
    Some(plan.attempts.saturating_sub(made(state.step(path)?)))
}

/// Which attempt it is about.
pub(super) struct Attempt<'a> {
    pub run: &'a str,
    pub path: &'a StepPath,
    pub clock: Timestamp,
}

/// The wait after attempt `attempt`, before jitter.
fn backoff_ms(plan: &RetryPlan, attempt: u32) -> u64 {
    let factor = if plan.backoff.factor.is_finite() { plan.backoff.factor.max(0.0) } else { 1.0 };
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let delay = plan.backoff.initial.0 as f64 * factor.powi(exponent);
    // A float that is too large, or no number, becomes the maximum.
    let delay = if delay < plan.backoff.max.0 as f64 { delay as u64 } else { plan.backoff.max.0 };
    delay.min(LONGEST_MS)
}

/// A time so many milliseconds later.
pub(super) fn after(time: Timestamp, ms: u64) -> Option<Timestamp> {
    time.checked_add(SignedDuration::from_millis(i64::try_from(ms).ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Backoff, Millis};

    fn plan(initial: u64, factor: f64, max: u64) -> RetryPlan {
        let backoff = Backoff { initial: Millis(initial), factor, max: Millis(max) };
        RetryPlan { attempts: 9, backoff, within_ms: None, on: None }
    }

    #[test]
    fn waits_grow_up_to_their_maximum() {
        let plan_a = plan(1000, 2.0, 5000);
        let waits: Vec<_> = (1..6).map(|attempt| backoff_ms(&plan_a, attempt)).collect();
        assert_eq!(waits, [1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff_ms(&plan(1000, f64::NAN, 5000), 4), 1000);
        assert_eq!(backoff_ms(&plan(1000, 1e300, 5000), u32::MAX), 5000);
        assert_eq!(backoff_ms(&plan(1000, 0.5, 5000), 3), 250);
    }
}
