//! How runs are told of in a line: what started one, what it waits for, why it failed and what to do about that.

use stepwell_engine::{FailureDetail, Payload, RunDetail, RunStatus, StepDetail, Wakes, WakesFor};

use crate::output::{self, Line};

/// What started a run, as a sentence ends: `by a webhook`.
pub fn started(run: &RunDetail) -> String {
    let s = &run.summary;
    if s.parent.is_some() {
        return "by another run".to_owned();
    }
    match s.trigger.as_str() {
        "manual" => "by hand".to_owned(),
        "webhook" => "by a webhook".to_owned(),
        "schedule" => "by the schedule".to_owned(),
        "record_event" => match &run.input {
            Payload::Value(trigger) => {
                let text = |key: &str| trigger[key].as_str().unwrap_or_default();
                format!("by {} {}, which was {}", text("object"), text("record_id"), text("event"))
            }
            Payload::Expired { .. } => "by a change of a record".to_owned(),
        },
        other => format!("by {other}"),
    }
}

/// When what waits goes on by itself: `until 2026-03-01 12:00:00 UTC`.
pub fn wakes_at(wakes: &Wakes) -> String {
    let at = output::second(wakes.at);
    match (wakes.what, wakes.attempt, wakes.attempts) {
        (WakesFor::Attempt, Some(attempt), Some(most)) => {
            format!("for attempt {attempt} of {most} at {at}")
        }
        (WakesFor::Attempt, ..) => format!("for the next attempt at {at}"),
        (WakesFor::Delay, ..) => format!("until {at}"),
        (WakesFor::Timeout, ..) => format!("until {at} at the latest"),
    }
}

/// What a waiting run waits for, in a line: why the last attempt failed, and when the next one is.
pub fn wakes_text(wakes: &Wakes) -> String {
    match &wakes.error {
        Some(error) => format!("{}; again at {}", output::cut(&error.message, 60), output::second(wakes.at)),
        None => format!("{} {}", wakes.step, wakes_at(wakes)),
    }
}

/// Below the line of a step that waits for its next attempt: why the last one failed.
pub fn why_it_waits(step: &StepDetail, out: &mut Line) {
    if let Some(error) = &step.error {
        out.add("    ").bad(&error.message).add(format!(" ({})", error.code)).end();
    }
}

/// Why a run is not completed, in a line.
pub fn failure_text(id: &str, status: RunStatus, error: Option<&FailureDetail>) -> String {
    failure_of(&format!("run {id}"), status, error)
}

pub fn failure_of(what: &str, status: RunStatus, error: Option<&FailureDetail>) -> String {
    match error {
        None => format!("{what} is {}", status.as_str()),
        Some(error) => {
            let step = error.step.as_ref().map(|s| format!(" at step {s}")).unwrap_or_default();
            format!("{what} {}{step}: {} ({})", status.as_str(), error.message, error.code)
        }
    }
}

pub fn whose(source: &str) -> &str {
    match source {
        "action" => "the action's own code",
        "sandbox" => "the sandbox",
        "engine" => "the engine",
        other => other,
    }
}

/// What a person can do about a failure that the message does not say.
pub fn hint(error: &FailureDetail) -> Option<&'static str> {
    Some(match (error.source.as_str(), error.code.as_str()) {
        ("sandbox", "fuel_exhausted") => "raise `limits: { fuel: … }` of the step, or let the action do less",
        ("sandbox", "memory_limit") => {
            "raise `limits: { memory_bytes: … }` of the step, or let the action hold less"
        }
        ("sandbox", "deadline") => {
            "the machine may be busy; `limits: { wall_ms: … }` gives the step more time"
        }
        ("sandbox", "input_too_large" | "output_too_large") => {
            "pass on only what the next step needs, or raise the step's limit"
        }
        ("action", "panic") => {
            "the place is in the action's source; a fixture with this input shows it locally"
        }
        ("action", "invalid_input") => {
            "give the step's `input` what the action takes: stepwell action inspect NAME"
        }
        ("engine", "template_error") => "`| default(…)` stands for what may be missing",
        ("engine", "address_forbidden" | "plain_http_forbidden") => {
            "the operator of the server decides: docs/guide/operating.md, outbound"
        }
        ("engine", "interrupted") => "look at the other side before you run the step again",
        _ => return None,
    })
}
