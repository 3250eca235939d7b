//! Lists of steps: how one step follows the other, arms, parallels, and what the end of a list comes to.

use super::advance::Machine;
use super::iterate::{Over, totals};
use super::path::StepPath;
use super::payload::Payload;
use super::render;
use super::state::{Output, StepState, StepStatus, Taken};
use super::work::Work;
use crate::graph::{Arm, ListId, NodeId, NodeKind, Owner};

impl<'a> Machine<'a> {
    /// The path of a step of the list whose owner stands at `around`.
    pub fn path_in(&self, around: Option<&StepPath>, node: NodeId) -> StepPath {
        let node = self.graph.node(node);
        match around {
            Some(around) if around.has_items() => around.child(&node.id),
            _ => node.path.clone(),
        }
    }

    /// The owner's path of the list that the step at `path` stands in.
    pub fn around(&self, node: NodeId, path: &StepPath) -> Option<StepPath> {
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
                self.queue.push(Work::Start(*first, path));
            }
            None => self.list_done(list, around.cloned(), None),
        }
    }

    /// The last step of a list.
    pub fn last_of(&self, list: ListId, around: &StepPath) -> Option<StepPath> {
        let last = self.graph.list(list).steps.last();
        last.map(|node| self.path_in(Some(around), *node))
    }

    pub fn is_parallel(&self, list: ListId) -> bool {
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

    pub fn branch(
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
                ready.into_iter().for_each(|(node, child)| self.queue.push(Work::Start(node, child)));
            }
            None => self.complete(id, path, Output::Children),
        }
    }

    pub fn settled(&mut self, id: NodeId, path: StepPath) {
        let graph = self.graph;
        let node = graph.node(id);
        let around = self.around(id, &path);
        let list = graph.list(node.list);
        match (list.owner, around) {
            (Owner::Step(owner, Taken::Steps), Some(around)) => self.parallel(owner, node.list, around),
            (_, around) => match list.steps.get(node.place + 1) {
                Some(next) => {
                    let path = self.path_in(around.as_ref(), *next);
                    self.queue.push(Work::Start(*next, path));
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
                self.queue.push(Work::Settled(owner, path));
            }
        }
    }
}
