//! What becomes of a step that has failed for good: its `on_error`, and what is around it.

use super::advance::Machine;
use super::command::{Command, ItemDone};
use super::failure::{Failure, code};
use super::path::StepPath;
use super::state::{StepStatus, Taken};
use super::work::Work;
use crate::graph::{NodeId, OnErrorPlan, Owner};

impl Machine<'_> {
    pub fn failed(&mut self, id: NodeId, path: StepPath, failure: Failure) {
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
                self.queue.push(Work::Settled(id, path));
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
    pub fn stop_failed(&mut self, id: NodeId, path: StepPath, failure: Failure) {
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
