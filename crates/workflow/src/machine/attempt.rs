//! The attempts of a call: asking for one, what exactly is asked, and what follows when it fails.

use super::advance::Machine;
use super::command::{Call, Command, Execute, InputCall};
use super::event::{Timer, TimerKind};
use super::failure::{Failure, code};
use super::path::StepPath;
use super::state::StepStatus;
use super::{derive, pages, render, retry};
use crate::graph::{CallPlan, NodeId, NodeKind};

impl Machine<'_> {
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
}
