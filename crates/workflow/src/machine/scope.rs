//! What the templates of a step can see of its run.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::event::Start;
use super::failure::Failure;
use super::link::link_of;
use super::path::StepPath;
use super::payload::Payload;
use super::state::{Output, State, StepState, StepStatus, Taken};
use crate::expr::{Budget, Found, Scope};
use crate::graph::{Graph, ListId, NodeId, NodeKind, Owner};

/// A place in a run: inside a list, whose owner has this path (none for the workflow's own list).
pub(super) struct Here<'a> {
    pub graph: &'a Graph,
    pub state: &'a State,
    pub list: ListId,
    pub around: Option<&'a StepPath>,
    /// The step whose templates these are; none for an output or an answer.
    pub node: Option<NodeId>,
    /// What `now()` gives.
    pub now: Timestamp,
    /// Of all that is rendered at this place together.
    pub budget: Budget,
    /// What was found by name, in the order of the names: some of it is put together when asked for.
    pub found: RefCell<Vec<(&'a str, Found)>>,
}

impl Here<'_> {
    /// The path of a step that is visible from here: the items are those that this place is in.
    fn instance(&self, node: NodeId) -> StepPath {
        let path = &self.graph.node(node).path;
        let Some(around) = self.around.filter(|around| around.has_items()) else { return path.clone() };
        let mut here = around.as_str().split('.');
        let mut along = true;
        let segments = path.as_str().split('.').map(|id| {
            let segment = here.next().filter(|segment| along && segment.split('[').next() == Some(id));
            along = segment.is_some();
            segment.unwrap_or(id)
        });
        StepPath::new(segments.collect::<Vec<_>>().join("."))
    }

    /// Whether how far `other` has come is the same whenever a template here is rendered: it is not the step itself,
    /// and it does not run beside it.
    fn is_settled(&self, other: NodeId) -> bool {
        let mut here = Some((self.list, self.node));
        while let Some((list, node)) = here {
            let owner = self.graph.list(list).owner;
            if let Some(beside) = self.ancestor_in(other, list) {
                let parallel = matches!(owner, Owner::Step(_, Taken::Steps));
                return match node {
                    Some(node) if node == beside => self.node != Some(other),
                    Some(node) if parallel => self.needs(node, beside),
                    _ => true,
                };
            }
            here = match owner {
                Owner::Step(owner, _) => Some((self.graph.node(owner).list, Some(owner))),
                Owner::Run | Owner::OnFailure => None,
            };
        }
        true
    }

    /// The step of `list` that `node` is, or is inside of.
    fn ancestor_in(&self, mut node: NodeId, list: ListId) -> Option<NodeId> {
        loop {
            let of = self.graph.node(node).list;
            match self.graph.list(of).owner {
                _ if of == list => return Some(node),
                Owner::Step(owner, _) => node = owner,
                Owner::Run | Owner::OnFailure => return None,
            }
        }
    }

    /// Whether a step of a parallel starts only after another one.
    fn needs(&self, node: NodeId, other: NodeId) -> bool {
        let mut seen = Vec::new();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            for need in &self.graph.node(node).needs {
                if *need == other {
                    return true;
                }
                if !seen.contains(need) {
                    seen.push(*need);
                    open.push(*need);
                }
            }
        }
        false
    }

    /// The innermost item that this place is in, with its iterator.
    pub(super) fn item(&self) -> Option<(NodeId, StepPath)> {
        let mut list = self.list;
        let mut around = self.around.cloned();
        loop {
            let Owner::Step(node, taken) = self.graph.list(list).owner else { return None };
            let path = around?;
            if taken == Taken::Item {
                return Some((node, path));
            }
            list = self.graph.node(node).list;
            around = path.parent();
        }
    }

    /// The failure that a handler around here is for.
    fn error(&self) -> Option<Value> {
        let mut list = self.list;
        let mut around = self.around.cloned();
        loop {
            match self.graph.list(list).owner {
                Owner::Run => return None,
                Owner::OnFailure => {
                    let error = self.state.error.as_ref()?;
                    return Some(error_of_step(&error.failure, error.step.as_ref()));
                }
                Owner::Step(node, taken) => {
                    let path = around?;
                    if matches!(taken, Taken::OnError | Taken::OnTimeout) {
                        let error = self.state.step(&path)?.error.as_ref()?;
                        return Some(error_of_step(error, Some(&path)));
                    }
                    list = self.graph.node(node).list;
                    around = path.parent();
                }
            }
        }
    }

    /// `steps`: every step's status, error and output. One that runs beside this one is `pending`, however far it is,
    /// so that a template gives the same in every attempt.
    fn steps(&self) -> Value {
        let mut steps = Map::new();
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let path = self.instance(NodeId(index as u32));
            let step = self.state.step(&path).filter(|_| self.is_settled(NodeId(index as u32)));
            let output = match step.map(|_| output_of(self.graph, self.state, &path)) {
                Some(Found::Value(value)) => Value::clone(&value),
                _ => Value::Null,
            };
            let error = step.and_then(|step| step.error.as_ref()).map_or(Value::Null, error_value);
            let status = step.map_or("pending", |step| step.status.as_str());
            steps.insert(node.id.clone(), json!({"status": status, "error": error, "output": output}));
        }
        Value::Object(steps)
    }
}

/// A failure as templates and `retry.on` see it. `status`, the one detail everybody asks for, is at hand.
pub(super) fn error_value(failure: &Failure) -> Value {
    let mut value = serde_json::to_value(failure).unwrap_or(Value::Null);
    if let (Value::Object(fields), Some(status)) =
        (&mut value, failure.details.as_ref().and_then(|details| details.get("status")))
    {
        fields.insert("status".to_owned(), status.clone());
    }
    value
}

/// The same with the step that failed, by its path; null where no step did.
fn error_of_step(failure: &Failure, step: Option<&StepPath>) -> Value {
    let mut value = error_value(failure);
    value["step"] = step.map(|path| path.as_str()).into();
    value
}

fn given(payload: Option<&Payload>) -> Found {
    match payload.and_then(Payload::value) {
        Some(value) => Found::Value(value.clone()),
        None => Found::Nothing("is not loaded".to_owned()),
    }
}

fn of_an_item(value: Option<Arc<Value>>) -> Found {
    value.map_or_else(|| Found::Nothing("is there inside an iterator only".to_owned()), Found::Value)
}

/// What a step gave, or why it gave nothing.
pub(super) fn output_of(graph: &Graph, state: &State, path: &StepPath) -> Found {
    let nothing = |why: &str| Found::Nothing(why.to_owned());
    let Some(step) = state.step(path) else { return nothing("has not run") };
    match step.status {
        StepStatus::Skipped => return nothing("was skipped"),
        StepStatus::Failed => return nothing("failed, so it has no output"),
        StepStatus::Cancelled => return nothing("was cancelled"),
        StepStatus::Completed => {}
        StepStatus::Running | StepStatus::Waiting | StepStatus::Paused => return nothing("is not done"),
    }
    match &step.output {
        None => nothing("gave no output"),
        Some(output) => value_of(graph, state, path, output),
    }
}

/// The value of an output that stands at `path`.
pub(super) fn value_of(graph: &Graph, state: &State, path: &StepPath, output: &Output) -> Found {
    match output {
        Output::Own(payload) => given(Some(payload)),
        Output::Of(other) => output_of(graph, state, other),
        Output::Children => {
            let mut children = Map::new();
            for (node, child) in children_of(graph, path) {
                if let Found::Value(value) = output_of(graph, state, &child) {
                    children.insert(graph.node(node).id.clone(), Value::clone(&value));
                }
            }
            Found::Value(Arc::new(Value::Object(children)))
        }
    }
}

/// What an item is: of a list, its part of it; over a search, what was found at its turn.
pub(super) fn item_value(graph: &Graph, state: &State, node: NodeId, path: &StepPath) -> Option<Arc<Value>> {
    let (iterator, index) = path.of_item()?;
    let NodeKind::Iterator(plan) = &graph.node(node).kind else { return None };
    if let Some(found) = state.step(path).and_then(|item| item.item.as_ref()) {
        return found.value().cloned();
    }
    let list = state.step(&iterator)?.items.as_ref()?.list.as_ref()?.value()?.as_array()?;
    let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
    match plan.batch {
        None => list.get(at(index)).cloned().map(Arc::new),
        Some(size) => {
            let from = at(index * size);
            let to = list.len().min(from + at(size));
            list.get(from..to).map(|batch| Arc::new(Value::Array(batch.to_vec())))
        }
    }
}

/// The steps of the parallel at `path`.
fn children_of(graph: &Graph, path: &StepPath) -> Vec<(NodeId, StepPath)> {
    let Some(NodeKind::Parallel(list)) = graph.find(path).map(|node| &graph.node(node).kind) else {
        return Vec::new();
    };
    graph.list(*list).steps.iter().map(|node| (*node, path.child(&graph.node(*node).id))).collect()
}

impl<'a> Here<'a> {
    /// The links of the steps that wait for a person, by id: inside an item, those of its own steps.
    fn links(&self, start: &Start) -> Option<Value> {
        start.links.as_ref()?;
        let link = |id: NodeId| {
            let path = self.instance(id);
            let link = link_of(start, &path, self.state.link_round(&path))?;
            Some((self.graph.node(id).id.clone(), Value::String(link)))
        };
        Some(Value::Object(self.graph.inputs().filter_map(link).collect()))
    }

    /// What stands behind a name, with the name as it is known here.
    fn find(&self, root: &str) -> Option<(&'a str, Found)> {
        let start = self.state.start.as_deref();
        Some(match root {
            "trigger" => ("trigger", given(start.map(|start| &start.trigger))),
            "settings" => ("settings", given(start.map(|start| &start.settings))),
            "state" => match &self.state.kept {
                Some(kept) => ("state", given(Some(kept))),
                None => ("state", Found::Value(Arc::new(json!({})))),
            },
            "run" => {
                let id = start.map(|start| start.run.id.as_str());
                let at = start.map(|start| start.at.to_string());
                let mut run = json!({"id": id, "started_at": at});
                if let Some(links) = start.and_then(|start| self.links(start)) {
                    run["input_links"] = links;
                }
                ("run", Found::Value(Arc::new(run)))
            }
            "workflow" => {
                let run = start.map(|start| &start.run);
                let (name, version) = (run.map(|run| run.workflow.as_str()), run.map(|run| run.version));
                ("workflow", Found::Value(Arc::new(json!({"name": name, "version": version}))))
            }
            "steps" => ("steps", Found::Value(Arc::new(self.steps()))),
            "error" => {
                let nothing = || Found::Nothing("is there in `on_error` and `on_failure` only".to_owned());
                ("error", self.error().map_or_else(nothing, |error| Found::Value(Arc::new(error))))
            }
            "item" => {
                let item = self.item();
                let item = item.and_then(|(node, path)| item_value(self.graph, self.state, node, &path));
                ("item", of_an_item(item))
            }
            "index" => {
                let index = self.item().and_then(|(_, path)| path.of_item());
                ("index", of_an_item(index.map(|(_, index)| Arc::new(index.into()))))
            }
            id => {
                let node = self.graph.step(id)?;
                let found = match self.is_settled(node) {
                    true => output_of(self.graph, self.state, &self.instance(node)),
                    false => {
                        Found::Nothing("may not have run before this step: name it in `needs`".to_owned())
                    }
                };
                (&self.graph.node(node).id, found)
            }
        })
    }
}

impl Scope for Here<'_> {
    fn get(&self, root: &str) -> Found {
        let mut known = self.found.borrow_mut();
        match known.binary_search_by(|(name, _)| (*name).cmp(root)) {
            Ok(place) => known[place].1.clone(),
            Err(place) => {
                let Some((name, found)) = self.find(root) else { return Found::Unknown };
                known.insert(place, (name, found.clone()));
                found
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let done = |step: &StepState| step.status == StepStatus::Completed;
        let nodes = self.graph.nodes.iter().enumerate();
        let steps = nodes
            .filter(|(index, _)| self.state.step(&self.instance(NodeId(*index as u32))).is_some_and(done))
            .map(|(_, node)| node.id.clone());
        let item = self.item().map(|_| ["item", "index"]).into_iter().flatten();
        ["trigger", "settings", "state", "run", "workflow", "steps"]
            .into_iter()
            .chain(item)
            .map(str::to_owned)
            .chain(steps)
            .collect()
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn budget(&self) -> Option<&Budget> {
        Some(&self.budget)
    }
}
