//! What happens to a run: the journal's rows, and all that the machine ever hears of the world.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::path::StepPath;
use super::payload::Payload;

/// A journaled event. Replaying a run's events from [`super::State::new`] gives its state.
///
/// `at` is when it happened. The run's clock never goes back: it moves to `at` of the events that come from
/// outside the run (start, answers of outside calls, timers, requests of people) and of the turns that iterators are
/// given, never with the results of code and record steps, which the engine may compute again after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    Started(Box<Start>),
    /// An outside call is about to be sent: from here on nobody knows whether it arrived until it is done.
    /// Journaled, with the frozen request, before the first byte goes out. Or a run was started, or found, that the
    /// step waits for. Steps inside have none.
    AttemptStarted {
        path: StepPath,
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
        at: Timestamp,
    },
    /// A person has given what a step waits for.
    InputGiven { path: StepPath, data: Payload, at: Timestamp },
    /// A run that a step waits for has ended.
    RunEnded {
        path: StepPath,
        run: String,
        #[serde(with = "outcome")]
        result: Result<Payload, Failure>,
        at: Timestamp,
    },
    /// An attempt has ended.
    StepDone {
        path: StepPath,
        attempt: u32,
        #[serde(with = "outcome")]
        result: Result<Payload, Failure>,
        at: Timestamp,
    },
    /// The time of a timer has come.
    TimerFired { timer: Timer, at: Timestamp },
    /// Somebody wants the run to end.
    CancelRequested { at: Timestamp },
    /// Somebody wants a failed run to go on from the step that failed.
    RetryRequested { at: Timestamp },
    /// What the workflow keeps between its runs, as it is read before anything else of a burst: an object of all of it.
    StateRead { values: Payload },
    /// Somebody says how a paused step goes on.
    Resumed { path: StepPath, how: Resume, at: Timestamp },
}

impl Event {
    /// The values in it that may be large.
    pub fn payloads_mut(&mut self) -> Vec<&mut Payload> {
        match self {
            Event::Started(start) => vec![&mut start.trigger, &mut start.settings],
            Event::StepDone { result: Ok(payload), .. }
            | Event::RunEnded { result: Ok(payload), .. }
            | Event::InputGiven { data: payload, .. }
            | Event::Resumed { how: Resume::Output(payload), .. }
            | Event::StateRead { values: payload } => vec![payload],
            _ => Vec::new(),
        }
    }

    /// The step, or the item, that it is about.
    pub fn path(&self) -> Option<&StepPath> {
        match self {
            Event::AttemptStarted { path, .. }
            | Event::StepDone { path, .. }
            | Event::RunEnded { path, .. }
            | Event::InputGiven { path, .. }
            | Event::Resumed { path, .. } => Some(path),
            Event::TimerFired { timer, .. } => Some(&timer.path),
            Event::Started(_)
            | Event::CancelRequested { .. }
            | Event::RetryRequested { .. }
            | Event::StateRead { .. } => None,
        }
    }
}

/// What a run begins with. All of it is fixed for the run's whole life.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Start {
    pub run: RunInfo,
    /// `trigger` in templates.
    pub trigger: Payload,
    /// `settings` in templates: the workspace's values as they were.
    #[serde(default)]
    pub settings: Payload,
    /// The actions that the definition names, as written there (`normalize-lead@1`), and what each was
    /// resolved to at the start (`normalize-lead@1.2.0`).
    #[serde(default)]
    pub actions: BTreeMap<String, String>,
    /// What the links are made from that give steps their input; only where there are such steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
    /// The first reading of the run's clock.
    pub at: Timestamp,
}

/// What makes a run's links.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Links {
    /// What stands before the token.
    pub base: String,
    /// Signs the tokens; the run's own.
    pub key: String,
}

/// Which run this is: `run` and `workflow` in templates, and what seeds and keys are made from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunInfo {
    pub id: String,
    pub workflow: String,
    pub version: u64,
}

/// A timer of a run. It fires at most once; one that fires too late, or twice, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer {
    pub path: StepPath,
    pub kind: TimerKind,
    /// Of the attempt that set it.
    pub attempt: u32,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// The next attempt of a step that failed.
    Retry,
    /// The end of a delay.
    Delay,
    /// The end of a wait for what comes by an event.
    Timeout,
}

/// How a paused step goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Once more, from the first attempt.
    Retry,
    /// As if it had been skipped.
    Skip,
    /// As if it had given this.
    Output(Payload),
}

/// `{"ok": …}` or `{"error": …}`.
mod outcome {
    use super::*;
    use serde::{Deserializer, Serializer};

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Written<'a> {
        Ok(&'a Payload),
        Error(&'a Failure),
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Read {
        Ok(Payload),
        Error(Failure),
    }

    pub fn serialize<S: Serializer>(result: &Result<Payload, Failure>, to: S) -> Result<S::Ok, S::Error> {
        match result {
            Ok(output) => Written::Ok(output).serialize(to),
            Err(failure) => Written::Error(failure).serialize(to),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Result<Payload, Failure>, D::Error> {
        Ok(match Read::deserialize(from)? {
            Read::Ok(output) => Ok(output),
            Read::Error(failure) => Err(failure),
        })
    }
}
