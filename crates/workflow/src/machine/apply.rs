//! One event folded into a run's state, and what is under way after a crash.

use super::advance::Machine;
use super::command::{Command, Execute};
use super::event::{Event, Resume, Timer, TimerKind};
use super::failure::Failure;
use super::path::StepPath;
use super::payload::Payload;
use super::state::{Output, RunStatus, State, StepState, StepStatus};
use crate::graph::{CallPlan, Graph, NodeId, NodeKind};
use serde_json::Value;

/// Folds one event into the state. An event that does not fit any more changes nothing and asks for nothing.
pub fn apply(graph: &Graph, state: &mut State, event: &Event) -> Vec<Command> {
    let mut machine = Machine::new(graph, state);
    if !machine.take(event) {
        return Vec::new();
    }
    machine.work();
    let commands = machine.commands;
    state.status = match asks_for_a_call(state, &commands) {
        true => RunStatus::Running,
        false => standing(graph, state),
    };
    commands
}

/// [`apply`] as a function of values.
pub fn step(graph: &Graph, state: &State, event: &Event) -> (State, Vec<Command>) {
    let mut state = state.clone();
    let commands = apply(graph, &mut state, event);
    (state, commands)
}

/// What was asked for and is not done, in document order: after a crash, the engine takes it up from here.
pub fn outstanding(graph: &Graph, state: &State) -> Vec<Command> {
    if state.status.is_final() {
        return Vec::new();
    }
    let mut state = state.clone();
    let machine = Machine::new(graph, &mut state);
    let mut open: Vec<(NodeId, &StepPath)> = Vec::new();
    for (path, step) in &machine.state.steps {
        if !step.status.is_final() {
            open.extend(graph.find(path).map(|node| (node, path)));
        }
    }
    open.sort();
    let mut commands = Vec::new();
    for (id, path) in open {
        let Some(step) = machine.state.step(path) else { continue };
        if step.is_calling(graph.node(id)) {
            commands.extend(machine.execute(id, path).ok().map(Command::Execute));
        }
        if let Some(due) = step.due {
            let kind = machine.timer_of(id, step);
            let timer = Timer { path: path.clone(), kind, attempt: step.attempt };
            commands.push(Command::SetTimer { timer, due });
        }
    }
    commands
}

/// The call of the attempt that a step is at, by what the run knows now; nothing when the step is at none.
/// The state is lent, and stays as it is.
pub fn call_now(graph: &Graph, state: &mut State, path: &StepPath) -> Option<Result<Execute, Failure>> {
    let machine = Machine::new(graph, state);
    let attempt = machine.state.step(path)?.attempt;
    let id = machine.calling(path, attempt)?;
    Some(machine.execute(id, path).map(|execute| *execute))
}

/// Whether a call was asked for that is to be made: what most events come to, and the run is running then.
fn asks_for_a_call(state: &State, commands: &[Command]) -> bool {
    !state.status.is_final()
        && commands.iter().any(|command| match command {
            Command::Execute(execute) => state.step(&execute.path).is_some_and(StepState::is_at_work),
            _ => false,
        })
}

/// Where a run stands, by where its steps stand.
fn standing(graph: &Graph, state: &State) -> RunStatus {
    if state.status.is_final() || state.start.is_none() {
        return state.status;
    }
    let mut standing = RunStatus::Running;
    for (path, step) in &state.steps {
        match step.status {
            StepStatus::Running if graph.find(path).is_some_and(|id| step.is_calling(graph.node(id))) => {
                return RunStatus::Running;
            }
            StepStatus::Waiting => standing = RunStatus::Waiting,
            StepStatus::Paused if standing != RunStatus::Waiting => standing = RunStatus::Paused,
            _ => {}
        }
    }
    standing
}

/// Whether a run goes on only when a person does something: a step of it is paused or asks for an input, and nothing
/// else of it is under way, nor waits for a time or for another run. That an input may run out of time is no reason to
/// wait for that.
pub fn needs_a_person(graph: &Graph, state: &State) -> bool {
    if state.status.is_final() {
        return false;
    }
    let mut asks = false;
    for (path, step) in &state.steps {
        let Some(node) = graph.find(path).map(|id| graph.node(id)) else { continue };
        match step.status {
            StepStatus::Running if step.is_calling(node) => return false,
            StepStatus::Waiting => {
                let input = matches!(&node.kind, NodeKind::Call(CallPlan::Input(_)));
                if !input || !step.is_awaiting(node) {
                    return false;
                }
                asks = true;
            }
            StepStatus::Paused => asks = true,
            _ => {}
        }
    }
    asks
}

impl Machine<'_> {
    /// Notes what has happened; false when it does not fit.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Started(start) => {
                if self.state.start.is_some() || self.state.status.is_final() {
                    return false;
                }
                self.state.clock = start.at;
                self.state.status = RunStatus::Running;
                self.state.start = Some(start.clone());
                self.start_list(self.graph.root, None);
                true
            }
            Event::CancelRequested { at } => {
                if self.state.status.is_final() {
                    return false;
                }
                self.forward(*at);
                self.cancel();
                true
            }
            Event::RetryRequested { at } => {
                if self.state.status != RunStatus::Failed || self.state.start.is_none() {
                    return false;
                }
                self.forward(*at);
                self.retry();
                true
            }
            // Before anything else, so before the retry of a run that has failed.
            Event::StateRead { values } => {
                self.state.kept = Some(values.clone());
                true
            }
            _ if self.state.status.is_final() => false,
            Event::AttemptStarted { path, attempt, run, at } => {
                let Some(id) = self.calling(path, *attempt) else { return false };
                let NodeKind::Call(plan) = &self.graph.node(id).kind else { return false };
                match self.state.steps.get_mut(path) {
                    Some(step) if plan.is_outside() => {
                        step.sent = true;
                        step.first_sent.get_or_insert(*at);
                    }
                    Some(_) if plan.waits() => self.wait_for(id, path.clone(), plan, run.clone(), *at),
                    _ => return false,
                }
                true
            }
            Event::RunEnded { path, run, result, at } => {
                let awaits = self.state.step(path).is_some_and(|step| step.awaited() == Some(run));
                let Some(id) = self.graph.find(path).filter(|_| awaits) else { return false };
                self.forward(*at);
                self.done(id, path.clone(), result.clone());
                true
            }
            Event::StepDone { path, attempt, result, at } => {
                let Some(id) = self.calling(path, *attempt) else { return false };
                let of_time = match &self.graph.node(id).kind {
                    NodeKind::Call(plan) => plan.is_outside(),
                    // Nothing else may tell a run of many items what time it is.
                    NodeKind::Iterator(_) => true,
                    _ => false,
                };
                if of_time {
                    self.forward(*at);
                }
                self.done(id, path.clone(), result.clone());
                true
            }
            Event::InputGiven { path, data, at } => {
                let Some(id) = self.awaits_input(path) else { return false };
                self.forward(*at);
                self.clear_timer(id, path);
                self.complete(id, path.clone(), Output::Own(data.clone()));
                true
            }
            Event::TimerFired { timer, at } => {
                let Some(step) = self.state.step(&timer.path) else { return false };
                // Another attempt may have set a timer of the same name since.
                let too_early = timer.kind == TimerKind::Timeout && step.due.is_none_or(|due| *at < due);
                let expected =
                    step.status == StepStatus::Waiting && step.attempt == timer.attempt && !too_early;
                let (attempt, due) = (step.attempt + 1, step.due);
                let id = self.graph.find(&timer.path).filter(|id| self.timer_of(*id, step) == timer.kind);
                let Some(id) = id.filter(|_| expected) else { return false };
                self.forward(*at);
                match timer.kind {
                    TimerKind::Retry => self.attempt(id, timer.path.clone(), attempt),
                    TimerKind::Delay => self.delayed(id, timer.path.clone(), due.unwrap_or(*at)),
                    TimerKind::Timeout => self.timed_out(id, timer.path.clone()),
                }
                true
            }
            Event::Resumed { path, how, at } => {
                let paused = self.state.step(path).is_some_and(|step| step.status == StepStatus::Paused);
                let Some(id) = self.graph.find(path).filter(|_| paused) else { return false };
                self.forward(*at);
                match how {
                    Resume::Retry => self.mend(id, path.clone()),
                    Resume::Skip => self.skip(id, path.clone()),
                    Resume::Output(output) => self.complete(id, path.clone(), Output::Own(output.clone())),
                }
                true
            }
        }
    }

    /// What a step waits for, when it waits.
    pub(super) fn timer_of(&self, id: NodeId, step: &StepState) -> TimerKind {
        let node = self.graph.node(id);
        match node.kind {
            NodeKind::Delay(_) => TimerKind::Delay,
            _ if step.is_awaiting(node) => TimerKind::Timeout,
            _ => TimerKind::Retry,
        }
    }

    fn done(&mut self, id: NodeId, path: StepPath, result: Result<Payload, Failure>) {
        self.clear_timer(id, &path);
        match (result, self.iterator(id)) {
            (Ok(answer), Some(plan)) => self.iterator_done(id, path, plan, answer),
            (Ok(answer), None) if self.pagination(id).is_some() => self.page_done(id, path, answer),
            (Ok(output), None) => {
                if let NodeKind::Call(CallPlan::SetState(_)) = &self.graph.node(id).kind {
                    self.keep(&output);
                }
                self.complete(id, path, Output::Own(output));
            }
            (Err(failure), _) => self.attempt_failed(id, path, failure),
        }
    }

    /// What was written is read from here on.
    fn keep(&mut self, written: &Payload) {
        let kept = self.state.kept.as_ref().and_then(|kept| kept.value()?.as_object());
        let mut kept = kept.cloned().unwrap_or_default();
        for (name, value) in written.value().and_then(|values| values.as_object()).into_iter().flatten() {
            match value {
                Value::Null => _ = kept.remove(name),
                value => _ = kept.insert(name.clone(), value.clone()),
            }
        }
        self.state.kept = Some(Payload::new(Value::Object(kept)));
    }

    /// The node of a step whose attempt is being made.
    fn calling(&self, path: &StepPath, attempt: u32) -> Option<NodeId> {
        let id = self.graph.find(path)?;
        let step = self.state.step(path)?;
        let node = self.graph.node(id);
        (step.attempt == attempt && (step.is_calling(node) || step.is_awaiting(node))).then_some(id)
    }

    /// The run's clock never goes back.
    fn forward(&mut self, at: jiff::Timestamp) {
        self.state.clock = self.state.clock.max(at);
    }
}
