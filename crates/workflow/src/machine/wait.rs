//! Waits for what comes by an event of its own: the end of another run, what a person gives.

use super::advance::Machine;
use super::command::Command;
use super::event::{Timer, TimerKind};
use super::failure::{Failure, code};
use super::path::StepPath;
use super::retry::after;
use super::state::{StepState, StepStatus};
use crate::graph::{CallPlan, Graph, Node, NodeId, NodeKind};
use crate::model::Millis;
use jiff::Timestamp;

impl Machine<'_> {
    /// What a step waits for has begun, at a time that the run's clock may not have come to.
    pub(super) fn wait_for(
        &mut self,
        id: NodeId,
        path: StepPath,
        plan: &CallPlan,
        run: Option<String>,
        at: Timestamp,
    ) {
        let timeout = match plan {
            CallPlan::Run { wait: false, .. } => None,
            _ => self.graph.node(id).timeout_ms,
        };
        let due = timeout.and_then(|ms| after(self.state.clock.max(at), ms));
        let mut attempt = 0;
        self.set(&path, |step| {
            step.status = StepStatus::Waiting;
            step.sent = true;
            step.run = run;
            step.due = due;
            attempt = step.attempt;
        });
        if let Some(due) = due {
            let timer = Timer { path, kind: TimerKind::Timeout, attempt };
            self.commands.push(Command::SetTimer { timer, due });
        }
    }

    /// It has come: its timer is not waited for any more.
    pub(super) fn clear_timer(&mut self, id: NodeId, path: &StepPath) {
        let Some(step) = self.state.step(path).filter(|step| step.status == StepStatus::Waiting) else {
            return;
        };
        let Some(due) = step.due else { return };
        let timer = Timer { path: path.clone(), kind: self.timer_of(id, step), attempt: step.attempt };
        self.set(path, |step| step.due = None);
        self.commands.push(Command::ClearTimer { timer, due });
    }

    /// It has not come in time.
    pub(super) fn timed_out(&mut self, id: NodeId, path: StepPath) {
        let failure = failure_of(self.graph.node(id));
        let run = self.state.steps.get_mut(&path).and_then(|step| step.run.take());
        self.commands.extend(run.map(|run| Command::CancelRun { run }));
        self.attempt_failed(id, path, failure);
    }

    /// The node of a step that waits for a person.
    pub(super) fn awaits_input(&self, path: &StepPath) -> Option<NodeId> {
        let id = self.graph.find(path)?;
        let node = self.graph.node(id);
        let is_input = matches!(node.kind, NodeKind::Call(CallPlan::Input(_)));
        self.state.step(path).filter(|step| is_input && step.is_awaiting(node)).map(|_| id)
    }

    /// Nobody waits any more, since the run ends: what was waited for is to end too.
    pub(super) fn give_up_waits(&mut self) {
        let awaited: Vec<String> = self.state.awaited().map(|(_, run)| run.to_owned()).collect();
        self.commands.extend(awaited.into_iter().map(|run| Command::CancelRun { run }));
    }
}

fn failure_of(node: &Node) -> Failure {
    let span = Millis(node.timeout_ms.unwrap_or_default());
    let message = match node.kind {
        NodeKind::Call(CallPlan::Input(_)) => format!("nobody gave the input within {span}"),
        _ => format!("the attempt took longer than its timeout of {span}"),
    };
    Failure { limit: node.timeout_ms, ..Failure::engine(code::TIMEOUT, message).retryable() }
}

/// The failure of a step for which what it waited for has not come in time.
pub fn timed_out(graph: &Graph, path: &StepPath) -> Option<Failure> {
    graph.find(path).map(|id| failure_of(graph.node(id)))
}

impl StepState {
    /// Whether a call to the outside was sent whose end is not known.
    pub(super) fn is_out(&self) -> bool {
        self.sent && self.status == StepStatus::Running
    }
}
