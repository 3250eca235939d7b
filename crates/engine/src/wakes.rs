//! When what waits goes on by itself, as people are told: the first time of a run in its head, that of each step when
//! the run is looked at.
use crate::api::{self, StepDetail, StepStatus, Wakes};
use crate::tables::runs::Alarm;
use jiff::Timestamp;
use stepwell_workflow::graph::Graph;
use stepwell_workflow::machine::{self, State, Timer, TimerKind};

/// The first of the times at which a run goes on.
pub(crate) fn first(timers: &[(Timer, Timestamp)], state: &State) -> Option<Box<Alarm>> {
    let (timer, due) = timers.iter().min_by_key(|(_, due)| *due)?;
    let error = state.step(&timer.path).and_then(|step| step.error.as_ref());
    let error = error.filter(|_| timer.kind == TimerKind::Retry);
    Some(Box::new(Alarm {
        at_ms: due.as_millisecond(),
        kind: timer.kind,
        path: timer.path.clone(),
        error: error.map(|failure| api::brief(failure.into())),
    }))
}

/// Says of steps that wait when they go on by themselves.
pub(crate) fn of_steps(
    steps: &mut [StepDetail],
    timers: &[(Timer, Timestamp)],
    graph: &Graph,
    state: &State,
) {
    for (timer, due) in timers {
        let waits = |step: &machine::StepState| step.status == machine::StepStatus::Waiting;
        let Some(step) = steps.iter_mut().find(|step| step.path == timer.path.as_str()) else { continue };
        if !state.step(&timer.path).is_some_and(waits) {
            continue;
        }
        let (mut attempt, mut attempts) = (None, None);
        if timer.kind == TimerKind::Retry {
            let made = step.attempts.last().map_or(0, |last| last.number);
            attempt = Some(made + 1);
            attempts = machine::attempts_left(graph, state, &timer.path).map(|left| made + left);
        }
        step.status = StepStatus::Waiting;
        step.ended_at = None;
        step.wakes = Some(Wakes {
            at: *due,
            what: timer.kind.into(),
            step: step.path.clone(),
            attempt,
            attempts,
            error: None,
        });
    }
}
