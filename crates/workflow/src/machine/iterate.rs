//! Iterators: what they go over, and their items, each a list of steps of its own.
//!
//! An item begins with a call that the engine answers: over a search it brings the record, over a list it only gives the
//! engine its turn, so that no event is ever worth more than one item's steps. When an item is over, its steps leave
//! the state: what became of it is told by [`Command::Item`].

use serde_json::{Map, Number, Value};
use stepwell_records::json_bytes;

use super::advance::Machine;
use super::command::{Call, Command, ItemCall, ItemDone, ItemRecords, ListCall};
use super::failure::{Failure, code};
use super::items::Items;
use super::path::StepPath;
use super::payload::Payload;
use super::render;
use super::scope::{error_value, item_value, value_of};
use super::state::{Output, State, StepState, StepStatus, Taken};
use crate::expr::{Document, Found, Scope};
use crate::graph::{Graph, ItemsPlan, IteratorPlan, NodeId, NodeKind, Owner};

/// How an item ended.
pub(super) enum Over {
    /// With an output, or with none, and what it adds to the sums.
    Succeeded(Option<Output>, Vec<(String, Number)>),
    Failed(Failure),
    Skipped,
}

impl<'a> Machine<'a> {
    pub(super) fn iterator(&self, id: NodeId) -> Option<&'a IteratorPlan> {
        match &self.graph.node(id).kind {
            NodeKind::Iterator(plan) => Some(plan),
            _ => None,
        }
    }

    /// Begins an iterator: a list is there at once, a search is listed first.
    pub(super) fn iterate(&mut self, id: NodeId, path: StepPath, plan: &IteratorPlan, list: Option<Value>) {
        let none = plan.totals.iter().map(|(name, _)| (name.clone(), 0.into()));
        let mut items = Items { totals: none.collect(), ..Items::default() };
        match list {
            None => {
                self.set(&path, |step| step.items = Some(Box::new(items)));
                self.attempt(id, path, 1);
            }
            Some(list) => {
                let length = list.as_array().map_or(0, Vec::len) as u64;
                items.list = Some(Payload::new(list));
                self.set(&path, |step| step.items = Some(Box::new(items)));
                self.all_found(id, path, plan, length);
            }
        }
    }

    /// The call that an iterator, or one of its items, is at.
    pub(super) fn iterator_call(
        &self,
        plan: &IteratorPlan,
        path: &StepPath,
        scope: &dyn Scope,
    ) -> Result<Call, Failure> {
        let ItemsPlan::Search { object, view, filter, sort } = &plan.items else {
            return Ok(Call::Item(ItemCall { records: None }));
        };
        let (owner, item) = match path.of_item() {
            Some((iterator, index)) => (iterator, Some(index)),
            None => (path.clone(), None),
        };
        let filter = filter.as_ref().map(|plan| plan.render(scope)).transpose();
        let filter = filter.map_err(|error| render::condition_failure("search.filter", error))?;
        let gone = || Failure::engine(code::INVALID_STEP, format!("step `{owner}` goes over nothing"));
        let iterator = self.state.step(&owner).ok_or_else(gone)?;
        let items = iterator.items.as_ref().ok_or_else(gone)?;
        let (object, view) = (object.clone(), view.clone());
        Ok(match item {
            None => Call::List(ListCall {
                object,
                view,
                filter,
                sort: sort.clone(),
                found: items.found,
                cursor: items.cursor.clone(),
            }),
            Some(index) => {
                let from = index * plan.batch.unwrap_or(1);
                let count = plan.batch.unwrap_or(1).min(items.found.saturating_sub(from));
                let batch = plan.batch.is_some();
                let generation = iterator.generation;
                let iterator = owner.clone();
                let records = ItemRecords { object, view, filter, iterator, generation, from, count, batch };
                Call::Item(ItemCall { records: Some(Box::new(records)) })
            }
        })
    }

    /// A call of an iterator, or of one of its items, has gone well.
    pub(super) fn iterator_done(
        &mut self,
        id: NodeId,
        path: StepPath,
        plan: &'a IteratorPlan,
        answer: Payload,
    ) {
        if path.of_item().is_some() {
            return self.item_begun(id, path, plan, answer);
        }
        let found = answer.value().and_then(|answer| answer.get("found")?.as_u64()).unwrap_or(0);
        let cursor = answer.value().and_then(|answer| answer.get("cursor")?.as_str()).map(str::to_owned);
        let Some(step) = self.state.steps.get_mut(&path) else { return };
        let Some(items) = &mut step.items else { return };
        items.found += found;
        items.cursor = cursor;
        match items.cursor {
            Some(_) => {
                let attempt = step.attempt + 1;
                self.attempt(id, path, attempt);
            }
            None => {
                let found = items.found;
                self.all_found(id, path, plan, found);
            }
        }
    }

    fn all_found(&mut self, id: NodeId, path: StepPath, plan: &IteratorPlan, found: u64) {
        self.set(&path, |step| {
            step.taken = Some(Taken::Items);
            if let Some(items) = &mut step.items {
                items.found = found;
                items.count = found.div_ceil(plan.batch.unwrap_or(1));
            }
        });
        self.more_items(id, path);
    }

    /// Begins as many items as may be under way, or ends the iterator.
    pub(super) fn more_items(&mut self, id: NodeId, path: StepPath) {
        let Some(plan) = self.iterator(id) else { return };
        let elsewhere = match plan.concurrency {
            0 | 1 => 0,
            _ => self.open_items_beside(&path),
        };
        let Some(step) = self.state.steps.get_mut(&path) else { return };
        let going = step.status == StepStatus::Running && step.taken == Some(Taken::Items);
        let Some(items) = step.items.as_mut().filter(|_| going) else { return };
        if let Some(first) = items.broken.first().copied() {
            if items.open.is_empty() {
                if plan.atomic {
                    items.undo();
                }
                let come = items.come_to();
                let failure = self.state.step(&path.item(first)).and_then(|item| item.error.clone());
                let failure = failure.unwrap_or_else(|| Failure::engine(code::STOPPED, "an item failed"));
                self.fail(id, path, with_items(failure, first, come));
            }
            return;
        }
        // Each iterator may always have one, so that none waits for another.
        let most = plan.concurrency.min(MAX_OPEN.saturating_sub(elsewhere).max(1));
        let mut begin = Vec::new();
        while (items.open.len() as u64) < u64::from(most) && items.next < items.count {
            items.open.insert(items.next);
            begin.push(path.item(items.next));
            items.next += 1;
        }
        if items.open.is_empty() {
            let output = items.output();
            items.close();
            if plan.atomic {
                self.commands.push(Command::Atomic { iterator: path.clone(), kept: true });
            }
            return self.complete(id, path, Output::Own(Payload::new(output)));
        }
        for item in begin {
            self.begin_item(id, item, 0);
        }
    }

    /// Items that other iterators have under way.
    fn open_items_beside(&self, path: &StepPath) -> u32 {
        let others = self.state.steps.iter().filter(|(other, _)| *other != path);
        let open = others.filter_map(|(_, step)| step.items.as_ref()).map(|items| items.open.len());
        u32::try_from(open.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// An iterator's failure is dealt with, so nobody will take it up again: only the numbers are left of its items.
    pub(super) fn drop_items(&mut self, path: &StepPath) {
        let Some(items) = self.state.items_mut(path) else { return };
        items.failed += items.broken.len() as u64;
        items.close();
        let broken = std::mem::take(&mut items.broken);
        for item in broken {
            self.forget_within(&path.item(item));
        }
    }

    /// An atomic iterator that has failed left nothing behind: it begins anew.
    pub(super) fn begin_anew(&mut self, path: &StepPath) {
        let Some(items) = self.state.step(path).and_then(|step| step.items.as_ref()) else { return };
        for item in items.broken.clone() {
            self.forget_within(&path.item(item));
        }
        self.set(path, |step| (step.items, step.taken) = (None, None));
    }

    /// Takes an item with its steps out of the state.
    fn forget_within(&mut self, path: &StepPath) {
        let inside = self.state.steps.range(path.clone()..);
        let inside: Vec<StepPath> =
            inside.map(|(step, _)| step).take_while(|step| step.is_within(path)).cloned().collect();
        for step in inside {
            self.state.steps.remove(&step);
        }
    }

    pub(super) fn begin_item(&mut self, id: NodeId, path: StepPath, generation: u32) {
        let started = StepState::new(self.state.clock, generation);
        self.state.steps.insert(path.clone(), started);
        self.attempt(id, path, 1);
    }

    /// The engine has given an item its turn.
    fn item_begun(&mut self, id: NodeId, path: StepPath, plan: &IteratorPlan, answer: Payload) {
        let searched = matches!(plan.items, ItemsPlan::Search { .. });
        let left_out = if searched { Value::Null } else { LEFT_OUT };
        if answer.value().is_some_and(|answer| **answer == left_out) {
            return self.item_over(id, path, Over::Skipped);
        }
        if searched {
            self.set(&path, |step| step.item = Some(answer));
        }
        self.set(&path, |step| step.taken = Some(Taken::Item));
        self.start_list(plan.list, Some(&path));
    }

    /// An item has failed: it is counted, or it was one too many.
    pub(super) fn item_failed(&mut self, id: NodeId, path: StepPath, failure: Failure) {
        let (Some((iterator, index)), Some(plan)) = (path.of_item(), self.iterator(id)) else { return };
        let Some(items) = self.state.items_mut(&iterator) else { return };
        // By the plan as it is now: a version that the run was retried on may tolerate more.
        if items.failed < plan.tolerate.allowed(items.count) {
            return self.item_over(id, path, Over::Failed(failure));
        }
        items.open.remove(&index);
        items.broken.insert(index);
        self.close(&path, StepStatus::Failed);
        self.set(&path, |step| step.error = Some(failure.clone()));
        let done = ItemDone { path, status: StepStatus::Failed, output: None, error: Some(failure) };
        self.commands.push(Command::Item(Box::new(done)));
        self.more_items(id, iterator);
    }

    /// An item is over, and its steps leave the state.
    pub(super) fn item_over(&mut self, id: NodeId, path: StepPath, over: Over) {
        let Some((iterator, index)) = path.of_item() else { return };
        let Some(items) = self.state.step(&iterator).and_then(|step| step.items.as_ref()) else { return };
        let shown = match &over {
            Over::Succeeded(output, _) if items.results.takes(index) => {
                let found = output.as_ref().map(|output| value_of(self.graph, self.state, &path, output));
                Some(match found {
                    Some(Found::Value(value)) => Value::clone(&value),
                    _ => Value::Null,
                })
            }
            Over::Failed(failure) if items.failures.takes(index) => {
                let item = item_value(self.graph, self.state, id, &path);
                let item = item.filter(|item| json_bytes(item.as_ref()) <= SHOWN_ITEM);
                let item = item.map_or(Value::Null, |item| Value::clone(&item));
                Some(serde_json::json!({ "index": index, "error": error_value(failure), "item": item }))
            }
            _ => None,
        };
        let (status, output, error) = match &over {
            Over::Succeeded(output, _) => {
                let output = output.clone().map(|output| origin(self.graph, self.state, output));
                (StepStatus::Completed, output, None)
            }
            Over::Failed(failure) => (StepStatus::Failed, None, Some(failure.clone())),
            Over::Skipped => (StepStatus::Skipped, None, None),
        };
        self.forget_within(&path);
        let Some(items) = self.state.items_mut(&iterator) else { return };
        items.open.remove(&index);
        let (count, kept) = match over {
            Over::Succeeded(_, sums) => {
                items.add(sums);
                (&mut items.succeeded, Some(&mut items.results))
            }
            Over::Failed(_) => (&mut items.failed, Some(&mut items.failures)),
            Over::Skipped => (&mut items.skipped, None),
        };
        *count += 1;
        if let (Some(kept), Some(shown)) = (kept, shown) {
            kept.keep(index, shown);
        }
        self.commands.push(Command::Item(Box::new(ItemDone { path, status, output, error })));
        self.more_items(id, iterator);
    }

    /// What a step, or an item, is part of.
    pub(super) fn owner_of(&self, id: NodeId, path: &StepPath) -> Option<(NodeId, StepPath)> {
        if let Some((iterator, _)) = path.of_item() {
            return Some((id, iterator));
        }
        match (self.graph.list(self.graph.node(id).list).owner, path.parent()) {
            (Owner::Step(owner, _), Some(around)) => Some((owner, around)),
            _ => None,
        }
    }
}

/// What an item adds to the sums.
pub(super) fn totals(plan: &IteratorPlan, scope: &dyn Scope) -> Result<Vec<(String, Number)>, Failure> {
    let one = |(name, value): &(String, Document)| {
        let place = format!("totals.{name}");
        let value =
            value.render_value(scope).map_err(|error| render::template_failure(error.under(&place)))?;
        match value {
            Value::Number(number) => Ok((name.clone(), number)),
            Value::Bool(is) => Ok((name.clone(), u64::from(is).into())),
            other => Err(render::wrong(&place, "a number, or true or false", &other)),
        }
    };
    plan.totals.iter().map(one).collect()
}

/// The answer to the turn of an item of a list that is to be left out.
pub const LEFT_OUT: Value = Value::Bool(false);
/// Items that a run has under way, of all its iterators, and one of each whatever the others have.
const MAX_OPEN: u32 = 100;

/// The failure of an iterator: that of the item, and what became of the others.
fn with_items(failure: Failure, index: u64, come: Value) -> Failure {
    let mut details = match failure.details {
        Some(Value::Object(details)) => details,
        Some(other) => Map::from_iter([("details".to_owned(), other)]),
        None => Map::new(),
    };
    details.insert("index".into(), index.into());
    details.insert("items".into(), come);
    Failure { details: Some(Value::Object(details)), ..failure }
}

/// Items that failed are shown with what they were, unless that is larger.
const SHOWN_ITEM: usize = 1 << 10;

/// An output at the call that it comes from, which history knows already; any other as its own value.
fn origin(graph: &Graph, state: &State, output: Output) -> Output {
    let mut at = output;
    while let Output::Of(path) = &at {
        match state.step(path).and_then(|step| step.output.as_ref()) {
            Some(Output::Of(other)) => at = Output::Of(other.clone()),
            Some(Output::Own(own)) => {
                let call =
                    graph.find(path).is_some_and(|id| matches!(graph.node(id).kind, NodeKind::Call(_)));
                return if call { at } else { Output::Own(own.clone()) };
            }
            Some(Output::Children) => {
                let found = value_of(graph, state, path, &Output::Children);
                return Output::Own(match found {
                    Found::Value(value) => Payload::from(value),
                    _ => Payload::default(),
                });
            }
            None => return Output::Own(Payload::default()),
        }
    }
    at
}
