//! A run's state: what the machine knows between events, small enough to be written with every commit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::RunFailure;
use super::event::Start;
use super::failure::Failure;
use super::items::Items;
use super::pages::Pages;
use super::path::StepPath;
use super::payload::{BlobRef, Payload};
use crate::graph::{Node, NodeKind};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Not begun.
    #[default]
    Queued,
    /// Some step is being worked on.
    Running,
    /// Nothing can be done before a timer fires, another run ends, or a person gives an input.
    Waiting,
    /// Nothing can be done before a person resumes it.
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl RunStatus {
    /// Whether the run is over. A failed run may still be retried by a person.
    pub fn is_final(self) -> bool {
        matches!(self, RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Running => "running",
            RunStatus::Waiting => "waiting",
            RunStatus::Paused => "paused",
            RunStatus::Completed => "completed",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Its call, or a step inside it, is being worked on.
    Running,
    /// For its timer, another run, or an input.
    Waiting,
    /// For a person.
    Paused,
    Completed,
    Failed,
    Cancelled,
    Skipped,
}

impl StepStatus {
    pub fn is_final(self) -> bool {
        !matches!(self, StepStatus::Running | StepStatus::Waiting | StepStatus::Paused)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Running => "running",
            StepStatus::Waiting => "waiting",
            StepStatus::Paused => "paused",
            StepStatus::Completed => "completed",
            StepStatus::Failed => "failed",
            StepStatus::Cancelled => "cancelled",
            StepStatus::Skipped => "skipped",
        }
    }
}

/// A run's state. Equal histories give equal states.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    pub status: RunStatus,
    /// What the run began with; `None` before it has.
    pub start: Option<Box<Start>>,
    /// The run's clock: the time of the last event from outside.
    pub clock: Timestamp,
    /// Steps that have begun, or were skipped.
    pub steps: BTreeMap<StepPath, StepState>,
    /// What the workflow keeps between its runs, as the run has read it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Payload>,
    /// The failure that the `on_failure` list is working on, or that the run ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunFailure>,
    /// How often a person has taken the run up again after it had failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// The `filter` or `stop` step that ended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<StepPath>,
    /// The run's result, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// One step's part of the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    pub status: StepStatus,
    /// The attempt being made, or the last one made; 0 for a step that makes none.
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// An outside call that has been sent, so that what became of it is not known until it is done; or the step waits
    /// for what comes by an event.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sent: bool,
    /// The run that it has started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The run's clock when the step began.
    pub started_at: Timestamp,
    /// When its first call to the outside went out: it may have waited long for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// Of a request whose answer comes in pages: how far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Box<Pages>>,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Which of its lists the step is in, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// The last failure; kept when it was dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The failure was dealt with (`continue`, or a `do` list): the run goes on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub handled: bool,
    /// What a person is asked for, as it was rendered when the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Payload>,
    /// Of an iterator: how far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<Items>>,
    /// Of an item over a search: the record, or the list of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Payload>,
}

/// The list inside a step that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// The arm of a branch, from 0.
    Arm(u32),
    Else,
    /// The list of a parallel.
    Steps,
    /// Of an iterator: its items are under way.
    Items,
    /// Of an item: the iterator's list.
    Item,
    /// The list of `on_error: {do: …}`.
    OnError,
    /// The list of `on_timeout: {do: …}`.
    OnTimeout,
}

/// A step's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Its own.
    Own(Payload),
    /// That of a step inside it: kept once.
    Of(StepPath),
    /// Those of the steps of a parallel, by id: put together when asked for.
    Children,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !*b
}

impl State {
    /// A run that has not begun.
    pub fn new() -> State {
        State::default()
    }

    pub fn step(&self, path: &StepPath) -> Option<&StepState> {
        self.steps.get(path)
    }

    /// The runs that steps wait for.
    pub fn awaited(&self) -> impl Iterator<Item = (&StepPath, &str)> {
        self.steps.iter().filter_map(|(path, step)| Some((path, step.awaited()?)))
    }

    pub(super) fn items_mut(&mut self, path: &StepPath) -> Option<&mut Items> {
        self.steps.get_mut(path)?.items.as_deref_mut()
    }

    /// Every value the run keeps; to store large ones elsewhere ([`Payload::store_as`]).
    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut Payload> {
        let start = self.start.iter_mut().flat_map(|s| [&mut s.trigger, &mut s.settings]);
        let output = self.output.iter_mut().filter_map(Output::own_mut);
        let steps = self.steps.values_mut().flat_map(StepState::payloads_mut);
        start.chain(&mut self.kept).chain(steps).chain(output)
    }

    /// Blobs to read, and put in by [`Payload::fill`], before the next event is applied.
    pub fn missing(&self) -> Vec<&BlobRef> {
        let start = self.start.iter().flat_map(|s| [&s.trigger, &s.settings]);
        let output = self.output.iter().filter_map(Output::own);
        start
            .chain(&self.kept)
            .chain(self.steps.values().flat_map(StepState::payloads))
            .chain(output)
            .filter_map(Payload::missing)
            .collect()
    }
}

impl Output {
    fn own(&self) -> Option<&Payload> {
        match self {
            Output::Own(payload) => Some(payload),
            _ => None,
        }
    }

    fn own_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Output::Own(payload) => Some(payload),
            _ => None,
        }
    }
}

impl StepState {
    pub(super) fn new(started_at: Timestamp, generation: u32) -> StepState {
        StepState {
            status: StepStatus::Running,
            attempt: 0,
            generation,
            sent: false,
            run: None,
            started_at,
            first_sent: None,
            pages: None,
            due: None,
            ended_at: None,
            taken: None,
            output: None,
            error: None,
            handled: false,
            asked: None,
            items: None,
            item: None,
        }
    }

    /// Failed, and nobody dealt with it.
    pub(super) fn has_failed(&self) -> bool {
        self.status == StepStatus::Failed && !self.handled
    }

    /// Over, so that what comes after it may go on.
    pub fn has_settled(&self) -> bool {
        self.status.is_final() && !self.has_failed() && self.status != StepStatus::Cancelled
    }

    /// The generation of a retry by hand: the same, so that what was done twice is done once, unless the last
    /// attempt was refused for good: that answer may be remembered under the key it was given to.
    pub(super) fn next_generation(&self) -> u32 {
        let refused = self.attempt > 0 && self.error.as_ref().is_some_and(|error| !error.retryable);
        self.generation + u32::from(refused)
    }

    /// Whether it waits for what comes by an event.
    pub(super) fn is_awaiting(&self, node: &Node) -> bool {
        let waits = matches!(&node.kind, NodeKind::Call(plan) if plan.waits());
        waits && self.status == StepStatus::Waiting && self.sent
    }

    /// Whether its call is being made.
    pub(super) fn is_calling(&self, node: &Node) -> bool {
        let calls = matches!(node.kind, NodeKind::Call(_) | NodeKind::Iterator(_));
        calls && self.is_at_work()
    }

    /// Whether something is being done for the step itself, and not in a list of it.
    pub(super) fn is_at_work(&self) -> bool {
        self.status == StepStatus::Running && self.taken.is_none()
    }

    /// The run that it waits for.
    pub fn awaited(&self) -> Option<&str> {
        let waits = self.status == StepStatus::Waiting && self.sent;
        self.run.as_deref().filter(|_| waits)
    }

    fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let output = self.output.iter().filter_map(Output::own);
        let pages = self.pages.iter().flat_map(|pages| &pages.taken);
        output
            .chain(&self.item)
            .chain(&self.asked)
            .chain(pages)
            .chain(self.items.iter().flat_map(|items| items.payloads()))
    }

    fn payloads_mut(&mut self) -> impl Iterator<Item = &mut Payload> {
        let output = self.output.iter_mut().filter_map(Output::own_mut);
        let pages = self.pages.iter_mut().flat_map(|pages| &mut pages.taken);
        let items = self.items.iter_mut().flat_map(|items| items.payloads_mut());
        output.chain(&mut self.item).chain(&mut self.asked).chain(pages).chain(items)
    }
}
