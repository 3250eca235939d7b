//! How a run ends, and how a failed one is taken up again.

use super::advance::Machine;
use super::command::{Answer, Command, Finished, ItemDone, RunFailure};
use super::event::Timer;
use super::failure::{Failure, code};
use super::path::StepPath;
use super::payload::Payload;
use super::render;
use super::scope::value_of;
use super::state::{Output, RunStatus, State, StepStatus, Taken};
use crate::expr::Found;
use crate::graph::{Graph, ListId, NodeId, NodeKind, OnErrorPlan, RespondPlan};

impl Machine<'_> {
    /// Every step of the workflow's own list is done; `last` is the last of them.
    pub(super) fn run_done(&mut self, last: Option<StepPath>) {
        let output = match &self.graph.output {
            Some(output) => match output.render_value(&self.here(self.graph.root, None, self.state.clock)) {
                Ok(value) => Some(Output::Own(Payload::new(value))),
                Err(error) => {
                    let failure = render::template_failure(error.under("output"));
                    return self.run_failed(None, failure);
                }
            },
            None => last.map(Output::Of),
        };
        self.completed(output, false);
    }

    /// A `filter` or a `stop` ends the run as completed.
    pub(super) fn end(&mut self, by: StepPath, output: Option<Payload>) {
        if self.state.error.is_some() {
            return self.finish_failed();
        }
        self.give_up_waits();
        let now = self.state.clock;
        self.cut_items(Some(&by));
        for step in self.state.steps.values_mut().filter(|step| !step.status.is_final()) {
            // What is around it has done what it could; a call beside it is not waited for.
            step.status = if step.taken.is_some() { StepStatus::Completed } else { StepStatus::Cancelled };
            step.ended_at = Some(now);
            step.due = None;
        }
        self.state.ended_by = Some(by);
        self.completed(output.map(Output::Own), true);
    }

    /// The run ends while items are under way: that is what became of them. The one in which the run was ended has
    /// come to its end.
    fn cut_items(&mut self, by: Option<&StepPath>) {
        let open = self
            .state
            .steps
            .iter()
            .filter(|(path, step)| path.of_item().is_some() && !step.status.is_final());
        for (path, _) in open {
            let ended = by.is_some_and(|by| by.is_within(path));
            let status = if ended { StepStatus::Completed } else { StepStatus::Cancelled };
            let done = ItemDone { path: path.clone(), status, output: None, error: None };
            self.commands.push(Command::Item(Box::new(done)));
        }
    }

    /// `early`: not every step has run, so a template of the answer may find nothing.
    fn completed(&mut self, output: Option<Output>, early: bool) {
        let payload = result(self.graph, self.state, output.as_ref());
        let plain = || {
            let body = payload.value().map(|value| serde_json::Value::clone(value));
            Answer { status: 200, headers: Default::default(), body }
        };
        let answer = match &self.graph.respond {
            RespondPlan::Nothing => None,
            RespondPlan::Result => Some(plain()),
            RespondPlan::Answer(plan) => {
                let here = self.here(self.graph.root, None, self.state.clock);
                match render::answer(plan, &here) {
                    Ok(answer) => Some(answer),
                    Err(_) if early => Some(plain()),
                    Err(failure) => return self.run_failed(None, failure),
                }
            }
        };
        self.state.status = RunStatus::Completed;
        self.state.output = output;
        self.commands.extend(answer.map(Command::Respond));
        self.commands.push(Command::Finished(Finished {
            status: RunStatus::Completed,
            output: payload,
            error: None,
        }));
    }

    /// The run has failed: first comes the `on_failure` list, when there is one.
    pub(super) fn run_failed(&mut self, step: Option<StepPath>, failure: Failure) {
        if self.state.error.is_some() {
            return self.finish_failed();
        }
        let step = step.map(|path| self.origin(path));
        self.state.error = Some(RunFailure { step, failure });
        match self.graph.on_failure {
            Some(list) => self.start_list(list, None),
            None => self.finish_failed(),
        }
    }

    /// A `stop` has failed the run, whose `on_failure` list may take long: nothing else of it goes on meanwhile.
    pub(super) fn cut_off(&mut self) {
        self.clear_work();
        self.give_up_waits();
        self.cut_items(None);
        let now = self.state.clock;
        for (path, step) in self.state.steps.iter().filter(|(_, step)| !step.status.is_final()) {
            let Some(id) = self.graph.find(path) else { continue };
            if step.is_calling(self.graph.node(id)) {
                self.commands.push(Command::Abandon { path: path.clone(), attempt: step.attempt });
            }
            if let Some(due) = step.due {
                let timer =
                    Timer { path: path.clone(), kind: self.timer_of(id, step), attempt: step.attempt };
                self.commands.push(Command::ClearTimer { timer, due });
            }
        }
        for step in self.state.steps.values_mut().filter(|step| !step.status.is_final()) {
            step.status = StepStatus::Cancelled;
            step.ended_at = Some(now);
            step.due = None;
        }
    }

    pub(super) fn finish_failed(&mut self) {
        self.give_up_waits();
        let now = self.state.clock;
        self.cut_items(None);
        for step in self.state.steps.values_mut().filter(|step| !step.status.is_final()) {
            step.status = StepStatus::Cancelled;
            step.ended_at = Some(now);
            step.due = None;
        }
        self.state.status = RunStatus::Failed;
        let error = self.state.error.clone();
        let output = Payload::default();
        self.commands.push(Command::Finished(Finished { status: RunStatus::Failed, output, error }));
    }

    /// Ends the run at once. What became of a call that was sent is not known.
    pub(super) fn cancel(&mut self) {
        self.give_up_waits();
        let now = self.state.clock;
        self.cut_items(None);
        for step in self.state.steps.values_mut().filter(|step| !step.status.is_final()) {
            if step.is_out() {
                let message =
                    "the run was cancelled while the call was under way; what became of it is not known";
                step.error = Some(Failure::engine(code::INTERRUPTED, message));
            }
            step.status = StepStatus::Cancelled;
            step.ended_at = Some(now);
            step.due = None;
            step.sent = false;
        }
        self.state.status = RunStatus::Cancelled;
        self.commands.push(Command::Finished(Finished {
            status: RunStatus::Cancelled,
            output: Payload::default(),
            error: None,
        }));
    }

    /// The list that a step is in, or was.
    fn list_of(&self, node: NodeId, taken: Taken) -> Option<ListId> {
        let node = self.graph.node(node);
        match (&node.kind, taken) {
            (_, Taken::OnTimeout) => match node.on_timeout {
                Some(OnErrorPlan::Do(list)) => Some(list),
                _ => None,
            },
            (_, Taken::OnError) => match node.on_error {
                OnErrorPlan::Do(list) => Some(list),
                _ => None,
            },
            (NodeKind::Branch { arms, .. }, Taken::Arm(place)) => {
                arms.get(place as usize).map(|arm| arm.list)
            }
            (NodeKind::Branch { otherwise, .. }, Taken::Else) => otherwise.as_ref().map(|arm| arm.list),
            (NodeKind::Parallel(list), Taken::Steps) => Some(*list),
            (NodeKind::Iterator(plan), Taken::Item) => Some(plan.list),
            _ => None,
        }
    }

    /// The failed steps, or items, right inside the one at `path`, in document order.
    fn all_failed_inside(&self, node: NodeId, path: &StepPath) -> Vec<(NodeId, StepPath)> {
        let Some(step) = self.state.step(path) else { return Vec::new() };
        if let (Some(Taken::Items), Some(items)) = (step.taken, &step.items) {
            return items.broken.iter().map(|index| (node, path.item(*index))).collect();
        }
        let list = step.taken.and_then(|taken| self.list_of(node, taken));
        list.map_or_else(Vec::new, |list| self.all_failed_in(list, Some(path)))
    }

    /// The step inside the one at `path` whose failure became its failure.
    fn failed_inside(&self, path: &StepPath) -> Option<StepPath> {
        let node = self.graph.find(path)?;
        self.all_failed_inside(node, path).into_iter().next().map(|(_, path)| path)
    }

    fn origin(&self, mut path: StepPath) -> StepPath {
        while let Some(inside) = self.failed_inside(&path) {
            path = inside;
        }
        path
    }

    /// A person wants the failed run to go on from what failed. What was done stays done.
    pub(super) fn retry(&mut self) {
        let mut from = self.all_failed_in(self.graph.root, None);
        from.extend(self.revive());
        self.state.steps.retain(|path, _| !path.is_on_failure());
        let error = self.state.error.take();
        self.state.ended_by = None;
        self.state.status = RunStatus::Running;
        self.state.retries += 1;
        self.go_on_from(from);
        if error.is_some_and(|error| error.step.is_none()) {
            let last = self.graph.list(self.graph.root).steps.last();
            self.run_done(last.map(|node| self.graph.node(*node).path.clone()));
        }
    }

    /// A person has mended what made a step pause: it goes on from what failed.
    pub(super) fn mend(&mut self, id: NodeId, path: StepPath) {
        self.set(&path, |step| step.status = StepStatus::Failed);
        self.go_on_from(vec![(id, path)]);
    }

    /// Starts again what failed, these steps or what is inside them.
    fn go_on_from(&mut self, from: Vec<(NodeId, StepPath)>) {
        for (node, path, failed_inside) in self.failed_steps(from) {
            let Some(step) = self.state.steps.get_mut(&path) else { continue };
            let generation = step.next_generation();
            step.status = StepStatus::Running;
            step.ended_at = None;
            let handled = matches!(step.taken, Some(Taken::OnError | Taken::OnTimeout));
            if !handled && self.iterator(node).is_some_and(|plan| plan.atomic) {
                self.begin_anew(&path);
                self.start_again(node, path, generation);
                continue;
            }
            let Some(step) = self.state.steps.get_mut(&path) else { continue };
            if let Some(items) = &mut step.items {
                items.open.append(&mut items.broken);
            }
            match step.taken {
                // It goes on when what failed inside it has.
                Some(Taken::OnError | Taken::OnTimeout) if failed_inside => {}
                Some(_) if failed_inside => step.error = None,
                Some(taken) => {
                    let done = self.list_of(node, taken);
                    let last = done.and_then(|list| self.last_of(list, &path));
                    if let Some(list) = done {
                        self.list_done(list, Some(path), last);
                    }
                }
                None => self.start_again(node, path, generation),
            }
        }
        for (node, path) in self.open_of(Taken::Steps) {
            if let Some(list) = self.list_of(node, Taken::Steps) {
                self.parallel(node, list, path);
            }
        }
        for (node, path) in self.open_of(Taken::Items) {
            self.more_items(node, path);
        }
    }

    /// These failed steps and those inside them that they failed by, in document order, and whether each did by one
    /// inside it. What failed inside a list that was left for an `on_error` list is not among them.
    fn failed_steps(&self, mut open: Vec<(NodeId, StepPath)>) -> Vec<(NodeId, StepPath, bool)> {
        let mut failed = Vec::new();
        while let Some((node, path)) = open.pop() {
            let inside = self.all_failed_inside(node, &path);
            failed.push((node, path, !inside.is_empty()));
            // The items of an atomic iterator begin anew with it.
            if self.iterator(node).is_none_or(|plan| !plan.atomic) {
                open.extend(inside);
            }
        }
        failed.sort();
        failed.dedup();
        failed
    }

    /// A `stop` in an item ended the run while other items were under way: they go on where they were. Gives those
    /// steps that had failed there, and waited for a person.
    fn revive(&mut self) -> Vec<(NodeId, StepPath)> {
        let cancelled = self
            .state
            .steps
            .iter()
            .filter(|(path, step)| step.status == StepStatus::Cancelled && !path.is_on_failure());
        let mut cancelled: Vec<(NodeId, StepPath)> =
            cancelled.filter_map(|(path, _)| Some((self.graph.find(path)?, path.clone()))).collect();
        cancelled.sort();
        let mut failed = Vec::new();
        for (node, path) in cancelled {
            let inside = self.failed_inside(&path).is_some();
            let Some(step) = self.state.steps.get_mut(&path) else { continue };
            step.ended_at = None;
            match step.taken {
                Some(_) if !inside => step.status = StepStatus::Running,
                _ => {
                    step.status = StepStatus::Failed;
                    failed.push((node, path));
                }
            }
        }
        failed
    }

    /// The parallels, or the iterators, that are under way, in document order.
    fn open_of(&self, taken: Taken) -> Vec<(NodeId, StepPath)> {
        let open = self.state.steps.iter();
        let open = open.filter(|(_, step)| step.status == StepStatus::Running && step.taken == Some(taken));
        let mut open: Vec<_> =
            open.filter_map(|(path, _)| Some((self.graph.find(path)?, path.clone()))).collect();
        open.sort();
        open
    }
}

/// How a run has ended, by its state alone.
pub fn ended(graph: &Graph, state: &State) -> Option<Finished> {
    let output = result(graph, state, state.output.as_ref());
    let error = state.error.clone().filter(|_| state.status == RunStatus::Failed);
    state.status.is_final().then_some(Finished { status: state.status, output, error })
}

/// A run's result as a value.
fn result(graph: &Graph, state: &State, output: Option<&Output>) -> Payload {
    match output {
        Some(Output::Own(payload)) => payload.clone(),
        Some(output) => match value_of(graph, state, &StepPath::new(""), output) {
            Found::Value(value) => Payload::from(value),
            _ => Payload::default(),
        },
        None => Payload::default(),
    }
}
