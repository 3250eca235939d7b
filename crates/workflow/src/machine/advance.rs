//! How a run moves on: the work on one event, and how steps of each kind start and end.
//!
//! Everything that is to be done stands in a queue, so that a long list of steps inside the machine needs no
//! stack, and the order of commands is always the same.

use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde_json::Value;

use super::command::Command;
use super::event::{Timer, TimerKind};
use super::failure::{Failure, code};
use super::iterate::Over;
use super::path::StepPath;
use super::payload::Payload;
use super::scope::Here;
use super::state::{Output, State, StepState, StepStatus, Taken};
use super::work::{Queue, Work};
use super::{delay, render};
use crate::graph::{Graph, ItemsPlan, ListId, NodeId, NodeKind};
use crate::model::StopStatus;

/// One event's worth of work on a run.
pub(super) struct Machine<'a> {
    pub graph: &'a Graph,
    pub state: &'a mut State,
    pub commands: Vec<Command>,
    pub queue: Queue,
}

impl<'a> Machine<'a> {
    pub fn new(graph: &'a Graph, state: &'a mut State) -> Machine<'a> {
        Machine { graph, state, commands: Vec::new(), queue: Queue::default() }
    }

    /// Whatever was to begin does not.
    pub fn clear_work(&mut self) {
        self.queue.clear();
    }

    /// Works until nothing is left that the machine can do by itself.
    pub fn work(&mut self) {
        while let Some(work) = self.queue.pop() {
            if self.state.status.is_final() {
                self.queue.clear();
                return;
            }
            match work {
                Work::Start(node, path) => {
                    if self.may_start(node, &path) {
                        // Every failure of the run is told anew.
                        let generation = if path.is_on_failure() { self.state.retries } else { 0 };
                        self.start(node, path, generation);
                    }
                }
                Work::Again(node, path, generation) if path.of_item().is_some() => {
                    self.begin_item(node, path, generation);
                }
                Work::Again(node, path, generation) => self.start(node, path, generation),
                Work::Settled(node, path) => self.settled(node, path),
                Work::Failed(node, path, failure) => self.failed(node, path, *failure),
            }
        }
    }

    pub fn here<'h>(&'h self, list: ListId, around: Option<&'h StepPath>, now: Timestamp) -> Here<'h> {
        Here {
            graph: self.graph,
            state: self.state,
            list,
            around,
            node: None,
            now,
            budget: Default::default(),
            found: Default::default(),
        }
    }

    /// What the templates of a step can see.
    pub fn at<'h>(&'h self, node: NodeId, around: Option<&'h StepPath>, now: Timestamp) -> Here<'h> {
        Here { node: Some(node), ..self.here(self.graph.node(node).list, around, now) }
    }

    /// Begins a step again that had failed.
    pub fn start_again(&mut self, node: NodeId, path: StepPath, generation: u32) {
        self.queue.push(Work::Again(node, path, generation));
    }

    fn start(&mut self, id: NodeId, path: StepPath, generation: u32) {
        let graph = self.graph;
        let node = graph.node(id);
        let around = self.around(id, &path);
        let now = self.state.clock;
        let step = StepState::new(now, generation);
        let mut has_pages = false;
        match self.state.steps.entry(path.clone()) {
            Entry::Vacant(place) => _ = place.insert(step),
            // What a step that starts again has begun before, it goes on with: a run, and pages unless it was refused
            // for good.
            Entry::Occupied(mut place) => {
                let before = place.insert(step);
                let step = place.get_mut();
                step.run = before.run;
                step.pages = before.pages.filter(|_| before.generation == generation);
                has_pages = step.pages.is_some();
            }
        }
        if let Some(condition) = &node.condition {
            match condition.holds(&self.at(id, around.as_ref(), now)) {
                Ok(true) => {}
                Ok(false) => {
                    self.close(&path, StepStatus::Skipped);
                    self.queue.push(Work::Settled(id, path));
                    return;
                }
                Err(error) => {
                    let failure = render::condition_failure("if", error);
                    self.fail(id, path, failure);
                    return;
                }
            }
        }
        let here = self.at(id, around.as_ref(), now);
        match &node.kind {
            NodeKind::Call(_) => {
                if has_pages {
                    // The numbers of attempts go on; those of a page begin anew.
                    self.set(&path, |step| step.pages.iter_mut().for_each(|pages| pages.before = 0));
                }
                self.attempt(id, path, 1)
            }
            NodeKind::Set(values) => match render::values(values, &here) {
                Ok(values) => self.complete(id, path, Output::Own(Payload::new(values))),
                Err(failure) => self.fail(id, path, failure),
            },
            NodeKind::Delay(plan) => match delay::due(plan, &here) {
                Ok(due) if due <= now => self.delayed(id, path, due),
                Ok(due) => self.wait_until(path, due),
                Err(failure) => self.fail(id, path, failure),
            },
            NodeKind::Filter(condition) => match condition.holds(&here) {
                Ok(passed) => {
                    let item = if passed { None } else { here.item() };
                    let output = serde_json::json!({ "passed": passed });
                    self.close_with(&path, StepStatus::Completed, |step| {
                        step.output = Some(Output::Own(Payload::new(output)));
                    });
                    match (passed, item) {
                        (true, _) => self.queue.push(Work::Settled(id, path)),
                        (false, Some((iterator, item))) => self.item_over(iterator, item, Over::Skipped),
                        (false, None) => self.end(path, None),
                    }
                }
                Err(error) => {
                    let failure = render::condition_failure("when", error);
                    self.fail(id, path, failure);
                }
            },
            NodeKind::Branch { arms, otherwise } => self.branch(id, path, arms, otherwise.as_ref(), around),
            NodeKind::Parallel(list) => {
                self.set(&path, |step| step.taken = Some(Taken::Steps));
                self.parallel(id, *list, path);
            }
            NodeKind::Iterator(plan) => {
                let list = match &plan.items {
                    ItemsPlan::Search { .. } => Ok(None),
                    ItemsPlan::List(over) => match over.render_value(&here) {
                        Ok(list @ Value::Array(_)) => Ok(Some(list)),
                        Ok(other) => Err(render::wrong("over", "a list", &other)),
                        Err(error) => Err(render::template_failure(error.under("over"))),
                    },
                };
                match list {
                    Ok(list) => self.iterate(id, path, plan, list),
                    Err(failure) => self.fail(id, path, failure),
                }
            }
            NodeKind::Stop { status, message, output } => {
                let message = message.as_ref().map(|message| message.render_text(&here)).transpose();
                let output = output.as_ref().map(|output| output.render_value(&here)).transpose();
                match (message, output, status) {
                    (Err(error), _, _) => {
                        let failure = render::template_failure(error.under("message"));
                        self.fail(id, path, failure);
                    }
                    (_, Err(error), _) => {
                        let failure = render::template_failure(error.under("output"));
                        self.fail(id, path, failure);
                    }
                    (Ok(_), Ok(output), StopStatus::Completed) => {
                        self.close(&path, StepStatus::Completed);
                        self.end(path, output.map(Payload::new));
                    }
                    (Ok(message), Ok(_), StopStatus::Failed) => {
                        let message = message.map_or_else(|| "the run was stopped".to_owned(), |m| m.text);
                        self.stop_failed(id, path, Failure::engine(code::STOPPED, message));
                    }
                }
            }
        }
    }

    /// A delay begins to wait.
    fn wait_until(&mut self, path: StepPath, due: Timestamp) {
        self.set(&path, |step| {
            step.status = StepStatus::Waiting;
            step.due = Some(due);
        });
        let timer = Timer { path, kind: TimerKind::Delay, attempt: 0 };
        self.commands.push(Command::SetTimer { timer, due });
    }

    /// A delay is over.
    pub fn delayed(&mut self, id: NodeId, path: StepPath, until: Timestamp) {
        let output = serde_json::json!({ "until": until.to_string() });
        self.complete(id, path, Output::Own(Payload::new(output)));
    }

    /// Not twice, not into a list that is over, and not beside a step of a parallel that has failed.
    fn may_start(&self, id: NodeId, path: &StepPath) -> bool {
        if self.state.steps.contains_key(path) {
            return false;
        }
        let Some(around) = self.around(id, path) else { return true };
        let list = self.graph.node(id).list;
        let running = self.state.step(&around).is_some_and(|owner| owner.status == StepStatus::Running);
        let beside_failure = self.is_parallel(list) && self.failed_in(list, &around).is_some();
        running && !beside_failure
    }

    pub fn set(&mut self, path: &StepPath, change: impl FnOnce(&mut StepState)) {
        if let Some(step) = self.state.steps.get_mut(path) {
            change(step);
        }
    }

    /// A step has failed for good.
    pub fn fail(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        self.queue.push(Work::Failed(id, path, Box::new(failure)));
    }

    /// A step comes to its end.
    pub fn close(&mut self, path: &StepPath, status: StepStatus) {
        self.close_with(path, status, |_| ());
    }

    /// The same, with what else changes then.
    pub fn close_with(&mut self, path: &StepPath, status: StepStatus, change: impl FnOnce(&mut StepState)) {
        let now = self.state.clock;
        self.set(path, |step| {
            step.status = status;
            step.ended_at = Some(now);
            step.due = None;
            step.sent = false;
            step.first_sent = None;
            step.asked = None;
            change(step);
        });
    }

    pub fn complete(&mut self, id: NodeId, path: StepPath, output: Output) {
        self.close_with(&path, StepStatus::Completed, |step| {
            step.output = Some(output);
            step.pages = None;
            // Of an attempt before the one that went well.
            step.error = None;
        });
        self.queue.push(Work::Settled(id, path));
    }

    /// A step ends without an output, as if its `if` had been false.
    pub fn skip(&mut self, id: NodeId, path: StepPath) {
        self.close(&path, StepStatus::Skipped);
        self.queue.push(Work::Settled(id, path));
    }
}
