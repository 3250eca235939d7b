//! How a run moves on: steps start, settle and fail, and lists go from one step to the next.
//!
//! Everything that is to be done stands in a queue, so that a long list of steps inside the machine needs no
//! stack, and the order of commands is always the same.

use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde_json::Value;

use super::command::{Call, Command, Execute, InputCall, ItemDone};
use super::event::{Timer, TimerKind};
use super::failure::{Failure, code};
use super::iterate::{Over, totals};
use super::path::StepPath;
use super::payload::Payload;
use super::scope::Here;
use super::state::{Output, State, StepState, StepStatus, Taken};
use super::work::{Queue, Work};
use super::{delay, derive, pages, render, retry};
use crate::graph::{Arm, CallPlan, Graph, ItemsPlan, ListId, NodeId, NodeKind, OnErrorPlan, Owner};
use crate::model::StopStatus;

/// One event's worth of work on a run.
pub(super) struct Machine<'a> {
    pub graph: &'a Graph,
    pub state: &'a mut State,
    pub commands: Vec<Command>,
    work: Queue,
}

impl<'a> Machine<'a> {
    pub fn new(graph: &'a Graph, state: &'a mut State) -> Machine<'a> {
        Machine { graph, state, commands: Vec::new(), work: Queue::default() }
    }

    /// Whatever was to begin does not.
    pub fn clear_work(&mut self) {
        self.work.clear();
    }

    /// Works until nothing is left that the machine can do by itself.
    pub fn work(&mut self) {
        while let Some(work) = self.work.pop() {
            if self.state.status.is_final() {
                self.work.clear();
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

    /// The path of a step of the list whose owner stands at `around`.
    fn path_in(&self, around: Option<&StepPath>, node: NodeId) -> StepPath {
        let node = self.graph.node(node);
        match around {
            Some(around) if around.has_items() => around.child(&node.id),
            _ => node.path.clone(),
        }
    }

    /// The owner's path of the list that the step at `path` stands in.
    fn around(&self, node: NodeId, path: &StepPath) -> Option<StepPath> {
        match self.graph.list(self.graph.node(node).list).owner {
            Owner::Run | Owner::OnFailure => None,
            Owner::Step(..) if path.has_items() => path.parent(),
            Owner::Step(owner, _) => Some(self.graph.node(owner).path.clone()),
        }
    }

    /// Begins a list that runs from top to bottom.
    pub fn start_list(&mut self, list: ListId, around: Option<&StepPath>) {
        match self.graph.list(list).steps.first() {
            Some(first) => {
                let path = self.path_in(around, *first);
                self.work.push(Work::Start(*first, path));
            }
            None => self.list_done(list, around.cloned(), None),
        }
    }

    /// Begins a step again that had failed.
    pub fn start_again(&mut self, node: NodeId, path: StepPath, generation: u32) {
        self.work.push(Work::Again(node, path, generation));
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
                    self.work.push(Work::Settled(id, path));
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
                        (true, _) => self.work.push(Work::Settled(id, path)),
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

    /// The last step of a list.
    pub fn last_of(&self, list: ListId, around: &StepPath) -> Option<StepPath> {
        let last = self.graph.list(list).steps.last();
        last.map(|node| self.path_in(Some(around), *node))
    }

    fn is_parallel(&self, list: ListId) -> bool {
        matches!(self.graph.list(list).owner, Owner::Step(_, Taken::Steps))
    }

    /// The first step of a list, in document order, whose failure nobody dealt with.
    pub fn failed_in(&self, list: ListId, around: &StepPath) -> Option<(NodeId, StepPath)> {
        self.all_failed_in(list, Some(around)).into_iter().next()
    }

    pub fn all_failed_in(&self, list: ListId, around: Option<&StepPath>) -> Vec<(NodeId, StepPath)> {
        let steps = self.graph.list(list).steps.iter();
        let paths = steps.map(|node| (*node, self.path_in(around, *node)));
        paths.filter(|(_, path)| self.state.step(path).is_some_and(StepState::has_failed)).collect()
    }

    pub fn set(&mut self, path: &StepPath, change: impl FnOnce(&mut StepState)) {
        if let Some(step) = self.state.steps.get_mut(path) {
            change(step);
        }
    }

    /// A step has failed for good.
    pub fn fail(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        self.work.push(Work::Failed(id, path, Box::new(failure)));
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
        self.work.push(Work::Settled(id, path));
    }

    /// A step ends without an output, as if its `if` had been false.
    pub fn skip(&mut self, id: NodeId, path: StepPath) {
        self.close(&path, StepStatus::Skipped);
        self.work.push(Work::Settled(id, path));
    }

    /// Asks for an attempt at a call.
    pub fn attempt(&mut self, id: NodeId, path: StepPath, attempt: u32) {
        self.set(&path, |step| {
            step.status = StepStatus::Running;
            step.attempt = attempt;
            step.due = None;
            step.sent = false;
        });
        match self.execute(id, &path) {
            Ok(execute) => {
                if let Call::Input(call) = &execute.call {
                    self.set(&path, |step| step.asked = Some(call.asked()));
                }
                self.commands.push(Command::Execute(execute));
            }
            Err(failure) => self.fail(id, path, failure),
        }
    }

    /// The call of the attempt that a step is at. A function of what the run knew when the step started, so
    /// every attempt, and every crash, gives the same.
    pub fn execute(&self, id: NodeId, path: &StepPath) -> Result<Box<Execute>, Failure> {
        let node = self.graph.node(id);
        let no_call = || Failure::engine(code::INVALID_STEP, format!("step `{path}` makes no call"));
        let (Some(step), Some(start)) = (self.state.step(path), self.state.start.as_deref()) else {
            return Err(no_call());
        };
        let around = self.around(id, path);
        let here = self.at(id, around.as_ref(), step.started_at);
        let key = derive::key(&start.run.id, path, step.generation);
        let action = |written: &str| start.actions.get(written).map_or(written, String::as_str).to_owned();
        let call = match &node.kind {
            // What is asked stays as it was asked first, whatever the workflow keeps meanwhile.
            NodeKind::Call(CallPlan::Input(plan)) if step.asked.is_some() => {
                Call::Input(Box::new(InputCall::again(plan, step.asked.as_ref())))
            }
            NodeKind::Call(plan) => {
                let mut call = render::call(plan, &here, &key, &action)?;
                if let Call::Run(call) = &mut call {
                    call.run.clone_from(&step.run);
                }
                if let (Call::Http(call), CallPlan::Http(plan)) = (&mut call, plan)
                    && let Some(plan) = &plan.pagination
                {
                    pages::apply(plan, step, call);
                }
                call
            }
            NodeKind::Iterator(plan) => self.iterator_call(plan, path, &here)?,
            _ => return Err(no_call()),
        };
        let seed = match &call {
            Call::Code(_) => derive::seed(&start.run.id, path, step.generation, step.attempt),
            _ => 0,
        };
        Ok(Box::new(Execute {
            outside: call.is_outside(),
            call,
            path: path.clone(),
            attempt: step.attempt,
            generation: step.generation,
            timeout_ms: node.timeout_ms,
            started_at: step.started_at,
            seed,
            key,
        }))
    }

    /// An attempt has failed: another one, or the step has failed for good.
    pub fn attempt_failed(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        let node = self.graph.node(id);
        let failure = match self.state.step(&path).filter(|_| self.pagination(id).is_some()) {
            Some(step) => pages::tell(step, failure),
            None => failure,
        };
        let next = match (&node.retry, self.state.step(&path), self.state.start.as_deref()) {
            (Some(plan), Some(step), Some(start)) => {
                let around = self.around(id, &path);
                let here = self.at(id, around.as_ref(), self.state.clock);
                let outside = matches!(&node.kind, NodeKind::Call(plan) if plan.is_outside());
                let at = retry::Attempt { run: &start.run.id, path: &path, clock: self.state.clock };
                retry::next(plan, step, &failure, outside, at, &here)
            }
            _ => Ok(None),
        };
        match next {
            Ok(Some(due)) => {
                let mut attempt = 0;
                self.set(&path, |step| {
                    step.status = StepStatus::Waiting;
                    step.due = Some(due);
                    step.sent = false;
                    step.error = Some(failure);
                    attempt = step.attempt;
                });
                let timer = Timer { path, kind: TimerKind::Retry, attempt };
                self.commands.push(Command::SetTimer { timer, due });
            }
            Ok(None) => self.fail(id, path, failure),
            // What was asked about the failure cannot be answered: the step fails with what happened to it.
            Err(error) => {
                let why = render::condition_failure("retry.on", error).message;
                let message = format!("{}; it was not tried again: {why}", failure.message);
                self.fail(id, path, Failure { message, ..failure });
            }
        }
    }

    fn branch(
        &mut self,
        id: NodeId,
        path: StepPath,
        arms: &'a [Arm],
        otherwise: Option<&'a Arm>,
        around: Option<StepPath>,
    ) {
        let now = self.state.clock;
        let mut taken = otherwise.map(|arm| (Taken::Else, arm));
        for (place, arm) in arms.iter().enumerate() {
            let Some(when) = &arm.when else { continue };
            match when.holds(&self.at(id, around.as_ref(), now)) {
                Ok(false) => {}
                Ok(true) => {
                    taken = Some((Taken::Arm(place as u32), arm));
                    break;
                }
                Err(error) => {
                    let failure = render::condition_failure(&format!("branches[{place}].when"), error);
                    self.fail(id, path, failure);
                    return;
                }
            }
        }
        match taken {
            Some((taken, arm)) => {
                self.set(&path, |step| step.taken = Some(taken));
                self.start_list(arm.list, Some(&path));
            }
            None => self.skip(id, path),
        }
    }

    /// Starts what is ready in a parallel, or ends it.
    pub fn parallel(&mut self, id: NodeId, list: ListId, path: StepPath) {
        let graph = self.graph;
        if self.state.step(&path).is_none_or(|step| step.status.is_final()) {
            // Several of its steps may end at once: the first of them to be looked at has ended it.
            return;
        }
        let mut busy = false;
        let mut ready = Vec::new();
        let ended = |machine: &Self, node: NodeId| {
            let path = machine.path_in(Some(&path), node);
            machine.state.step(&path).is_some_and(StepState::has_settled)
        };
        for node in &graph.list(list).steps {
            let child = self.path_in(Some(&path), *node);
            match self.state.step(&child) {
                Some(step) => busy |= !step.status.is_final(),
                None if graph.node(*node).needs.iter().all(|need| ended(self, *need)) => {
                    ready.push((*node, child));
                }
                None => {}
            }
        }
        match self.failed_in(list, &path) {
            Some(_) if busy => {}
            Some((_, first)) => {
                if let Some(failure) = self.state.step(&first).and_then(|step| step.error.clone()) {
                    self.fail(id, path, failure);
                }
            }
            None if busy || !ready.is_empty() => {
                ready.into_iter().for_each(|(node, child)| self.work.push(Work::Start(node, child)));
            }
            None => self.complete(id, path, Output::Children),
        }
    }

    fn settled(&mut self, id: NodeId, path: StepPath) {
        let graph = self.graph;
        let node = graph.node(id);
        let around = self.around(id, &path);
        let list = graph.list(node.list);
        match (list.owner, around) {
            (Owner::Step(owner, Taken::Steps), Some(around)) => self.parallel(owner, node.list, around),
            (_, around) => match list.steps.get(node.place + 1) {
                Some(next) => {
                    let path = self.path_in(around.as_ref(), *next);
                    self.work.push(Work::Start(*next, path));
                }
                None => self.list_done(node.list, around, Some(path)),
            },
        }
    }

    /// A list that runs from top to bottom is at its end; `last` is its last step.
    pub fn list_done(&mut self, list: ListId, around: Option<StepPath>, last: Option<StepPath>) {
        let graph = self.graph;
        match (graph.list(list).owner, around) {
            (Owner::Run, _) | (Owner::Step(..), None) => self.run_done(last),
            (Owner::OnFailure, _) => self.finish_failed(),
            (Owner::Step(owner, taken), Some(path)) => {
                let output = match (&graph.node(owner).kind, taken) {
                    (NodeKind::Branch { arms, .. }, Taken::Arm(place)) => {
                        arms.get(place as usize).and_then(|arm| arm.output.as_ref())
                    }
                    (NodeKind::Iterator(plan), Taken::Item) => plan.output.as_ref(),
                    (NodeKind::Branch { otherwise, .. }, Taken::Else) => {
                        otherwise.as_ref().and_then(|arm| arm.output.as_ref())
                    }
                    _ => None,
                };
                let output = match output {
                    Some(output) => {
                        match output.render_value(&self.here(list, Some(&path), self.state.clock)) {
                            Ok(value) => Some(Output::Own(Payload::new(value))),
                            Err(error) => {
                                let failure = render::template_failure(error.under("output"));
                                self.fail(owner, path, failure);
                                return;
                            }
                        }
                    }
                    None => last.map(Output::Of),
                };
                if taken == Taken::Item {
                    let sums = self.iterator(owner).map_or(Ok(Vec::new()), |plan| {
                        totals(plan, &self.here(list, Some(&path), self.state.clock))
                    });
                    return match sums {
                        Ok(sums) => self.item_over(owner, path, Over::Succeeded(output, sums)),
                        Err(failure) => self.fail(owner, path, failure),
                    };
                }
                self.close_with(&path, StepStatus::Completed, |step| {
                    step.output = output;
                    step.handled = matches!(taken, Taken::OnError | Taken::OnTimeout);
                });
                self.work.push(Work::Settled(owner, path));
            }
        }
    }

    fn failed(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        if path.of_item().is_some() {
            return self.item_failed(id, path, failure);
        }
        let node = self.graph.node(id);
        // A handler that fails is not handled again.
        let taken = self.state.step(&path).and_then(|step| step.taken);
        let handling = matches!(taken, Some(Taken::OnError | Taken::OnTimeout));
        if !handling && self.iterator(id).is_some_and(|plan| plan.atomic) {
            self.commands.push(Command::Atomic { iterator: path.clone(), kept: false });
        }
        let (handler, taken) = match node.on_timeout {
            Some(handler) if failure.code == code::TIMEOUT => (handler, Taken::OnTimeout),
            _ => (node.on_error, Taken::OnError),
        };
        match handler {
            OnErrorPlan::Continue => {
                self.drop_items(&path);
                self.close_with(&path, StepStatus::Failed, |step| {
                    step.error = Some(failure);
                    step.handled = true;
                });
                self.work.push(Work::Settled(id, path));
            }
            OnErrorPlan::Pause => self.set(&path, |step| {
                step.status = StepStatus::Paused;
                step.due = None;
                step.sent = false;
                step.asked = None;
                step.error = Some(failure);
            }),
            OnErrorPlan::Do(list) if !handling => {
                self.drop_items(&path);
                self.set(&path, |step| {
                    step.status = StepStatus::Running;
                    step.due = None;
                    step.sent = false;
                    step.asked = None;
                    step.taken = Some(taken);
                    step.error = Some(failure);
                });
                self.start_list(list, Some(&path));
            }
            OnErrorPlan::Fail | OnErrorPlan::Do(_) => {
                self.close(&path, StepStatus::Failed);
                if !handling {
                    // What its handler failed with is the handler's: a retry deals with the same failure as before.
                    self.set(&path, |step| step.error = Some(failure.clone()));
                }
                self.propagate(id, path, failure);
            }
        }
    }

    /// A failure that its step did not deal with becomes that of what is around it.
    fn propagate(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        let graph = self.graph;
        let node = graph.node(id);
        match (graph.list(node.list).owner, self.around(id, &path)) {
            (Owner::Step(owner, Taken::Steps), Some(around)) => self.parallel(owner, node.list, around),
            (Owner::Step(owner, _), Some(around)) => {
                self.fail(owner, around, failure);
            }
            (Owner::OnFailure, _) => self.finish_failed(),
            (Owner::Run, _) | (Owner::Step(..), None) => self.run_failed(Some(path), failure),
        }
    }

    /// A `stop` with `status: failed` ends the run whatever is around it.
    fn stop_failed(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        let mut at = Some((id, path.clone()));
        while let Some((id, here)) = at {
            self.close(&here, StepStatus::Failed);
            self.set(&here, |step| step.error = Some(failure.clone()));
            if let Some((iterator, index)) = here.of_item()
                && let Some(items) = self.state.items_mut(&iterator)
                && items.open.remove(&index)
            {
                items.broken.insert(index);
                let (status, error) = (StepStatus::Failed, Some(failure.clone()));
                let done = ItemDone { path: here.clone(), status, output: None, error };
                self.commands.push(Command::Item(Box::new(done)));
            }
            at = self.owner_of(id, &here);
        }
        self.state.ended_by = Some(path.clone());
        if self.graph.on_failure.is_some() && self.state.error.is_none() {
            self.cut_off();
        }
        self.run_failed(Some(path), failure);
    }
}
