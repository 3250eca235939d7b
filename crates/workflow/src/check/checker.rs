//! The walk over a definition: lists of steps from top to bottom, with what is in scope at each of them.

use std::collections::HashMap;
use std::sync::Arc;

use stepwell_records::schema::Schema;

use super::MAX_STEPS;
use super::bounds::{Budget, Suggestions, Type};
use super::catalog::Catalog;
use super::scope::{Known, ListKind, Place, Scope};
use super::types::{Rule, Ty};
use crate::document::{Data, Draft, Node, Path, Source};
use crate::expr::{Kinds, Mode, Segment};
use crate::model::{Concurrency, OnError, Respond, Step, StepKind, Trigger, Workflow};
use crate::problem::{Problem, Problems};

/// Everything that is wrong with what the draft says.
pub(super) fn problems(
    source: &Source<'_>,
    tree: &Node,
    draft: &Draft,
    catalog: &dyn Catalog,
) -> Vec<Problem> {
    let mut checker = Checker {
        source,
        tree,
        draft,
        catalog,
        schema: catalog.schema(),
        problems: Problems::default(),
        path: Path::default(),
        steps: Vec::new(),
        known: HashMap::new(),
        scope: Scope::default(),
        place: Place::Steps,
        trigger: Type::from(Ty::Any),
        actions: HashMap::new(),
        records: HashMap::new(),
        looked: HashMap::new(),
        looks: Budget::looks(),
        suggestions: Suggestions::default(),
        inputs: HashMap::new(),
        run: None,
    };
    checker.workflow(&draft.workflow);
    checker.problems.into_found()
}

pub(super) struct Checker<'w> {
    pub source: &'w Source<'w>,
    pub tree: &'w Node,
    pub draft: &'w Draft,
    pub catalog: &'w dyn Catalog,
    pub schema: Option<Arc<Schema>>,
    pub problems: Problems,
    pub path: Path<'w>,
    /// The steps around the place, innermost last.
    pub steps: Vec<&'w Step>,
    /// Every step of the document that has an id.
    pub known: HashMap<&'w str, Known<'w>>,
    pub scope: Scope<'w>,
    pub place: Place,
    pub trigger: Type,
    /// Output types by action reference, as each is looked up once.
    pub actions: HashMap<String, Type>,
    /// Record types by object.
    pub records: HashMap<String, Type>,
    /// What the templates give, as they were looked at last.
    pub looked: HashMap<&'w str, Looked>,
    /// What may still be looked at.
    pub looks: Budget,
    pub suggestions: Suggestions,
    /// The types of inputs by who takes them.
    pub inputs: HashMap<String, Type>,
    /// The type of `run`.
    pub run: Option<Type>,
}

/// What is known of a template where it stands.
pub(super) struct Looked {
    pub gives: Kinds,
    pub single: Option<Kinds>,
    /// Where it is nothing but a path.
    pub path: Option<(String, Vec<Segment>)>,
}

/// What a list of steps comes to.
pub(super) struct Outcome {
    pub output: Type,
    /// The run has certainly ended after it.
    pub ends: bool,
}

impl<'w> Checker<'w> {
    fn workflow(&mut self, workflow: &'w Workflow) {
        let mut order = 0;
        self.under("steps", |me| me.collect(&workflow.steps, None, ListKind::Top, &mut order));
        self.under("on_failure", |me| {
            me.collect(&workflow.on_failure, None, ListKind::OnFailure, &mut order)
        });
        if order > MAX_STEPS {
            let message = format!("the workflow has {order} steps; at most {MAX_STEPS} are run");
            self.under("steps", |me| {
                me.tell("too_large", message);
            });
            return;
        }
        self.trigger(&workflow.trigger);
        self.concurrency(workflow.concurrency.as_ref());
        if workflow.steps.is_empty()
            && self.tree.get("steps").is_some_and(|entry| is_empty_list(&entry.value))
        {
            self.under("steps", |me| {
                me.tell("invalid_value", "a workflow has at least one step");
            });
        }
        self.under("steps", |me| me.list(&workflow.steps));
        if let Some(output) = &workflow.output {
            self.under("output", |me| me.value(output, Mode::Value));
        }
        if let Trigger::Webhook(webhook) = &workflow.trigger
            && let Respond::Answer(answer) = &webhook.respond
        {
            self.under("trigger", |me| me.under("respond", |me| me.answer(answer)));
        }
        if !self.enough() {
            self.event_loop(workflow);
            self.run_loop(workflow);
        }
        self.scope = Scope::default();
        self.scope.error = Some(Type::from(error()));
        self.under("on_failure", |me| me.list(&workflow.on_failure));
    }

    /// The key is made before the run begins.
    fn concurrency(&mut self, concurrency: Option<&'w Concurrency>) {
        let Some(key) = concurrency.and_then(|concurrency| concurrency.key.as_ref()) else { return };
        self.place = Place::Start;
        self.under("concurrency", |me| me.under("key", |me| me.template(key, Mode::Value)));
        self.place = Place::Steps;
    }

    /// Notes every id with its place, and tells those that are there twice.
    fn collect(&mut self, steps: &'w [Step], inside: Option<&'w str>, list: ListKind, order: &mut usize) {
        for (index, step) in steps.iter().enumerate() {
            if self.enough() {
                return;
            }
            self.path.index(index);
            self.steps.push(step);
            *order += 1;
            if !step.id.is_empty() {
                let known = Known { order: *order, inside, list, step };
                if self.known.contains_key(step.id.as_str()) {
                    let message =
                        format!("the id `{}` is already taken{}", step.id, self.first_place(&step.id));
                    self.under("id", |me| {
                        me.tell("duplicate_id", message).set_hint("an id is unique in the whole document")
                    });
                } else {
                    self.known.insert(&step.id, known);
                }
            }
            self.each_block(step, |me, block, kind| me.collect(block, Some(&step.id), kind, order));
            self.steps.pop();
            self.path.pop();
        }
    }

    /// " in line 12".
    fn first_place(&self, id: &str) -> String {
        fn find<'n>(node: &'n Node, id: &str) -> Option<&'n Node> {
            match &node.data {
                Data::Map(entries) => {
                    let own = entries.iter().find(|entry| entry.key == "id").map(|entry| &entry.value);
                    let typed = entries.iter().any(|entry| entry.key == "type");
                    match own {
                        Some(node) if typed && node.data == Data::Text(id.to_owned()) => Some(node),
                        _ => entries.iter().find_map(|entry| find(&entry.value, id)),
                    }
                }
                Data::List(items) => items.iter().find_map(|item| find(item, id)),
                _ => None,
            }
        }
        match find(self.tree, id) {
            Some(node) => format!(" in line {}", self.source.line_and_column(node.from).0),
            None => String::new(),
        }
    }

    /// Calls `visit` for each list of steps inside a step, with the path set to the list.
    fn each_block(&mut self, step: &'w Step, mut visit: impl FnMut(&mut Self, &'w [Step], ListKind)) {
        match &step.kind {
            StepKind::Branch(branch) => {
                self.path.key("branches");
                for (index, arm) in branch.branches.iter().enumerate() {
                    self.path.index(index);
                    self.under("do", |me| visit(me, &arm.steps, ListKind::Arm));
                    self.path.pop();
                }
                self.path.pop();
                if let Some(block) = &branch.otherwise {
                    self.else_list(|me| visit(me, &block.steps, ListKind::Arm));
                }
            }
            StepKind::Parallel(parallel) => {
                self.under("steps", |me| visit(me, &parallel.steps, ListKind::Parallel))
            }
            StepKind::Iterator(iterate) => self.under("do", |me| visit(me, &iterate.steps, ListKind::Item)),
            _ => {}
        }
        if let OnError::Do { steps } = &step.on_error {
            self.under("on_error", |me| me.under("do", |me| visit(me, steps, ListKind::Handler)));
        }
        if let StepKind::WaitForInput(wait) = &step.kind
            && let Some(OnError::Do { steps }) = &wait.on_timeout
        {
            self.under("on_timeout", |me| me.under("do", |me| visit(me, steps, ListKind::Handler)));
        }
    }

    /// `else` is a list, or a map with the list under `do`.
    pub(super) fn else_list<R>(&mut self, then: impl FnOnce(&mut Self) -> R) -> R {
        self.under("else", |me| {
            if matches!(me.node().data, Data::List(_)) { then(me) } else { me.under("do", then) }
        })
    }

    /// A list from top to bottom. Its steps stay in scope; whoever enters it goes back when it leaves.
    pub(super) fn list(&mut self, steps: &'w [Step]) -> Outcome {
        let mut output = Type::from(Ty::Any);
        let mut ends = false;
        let mut told = false;
        for (index, step) in steps.iter().enumerate() {
            if self.enough() {
                break;
            }
            self.path.index(index);
            self.steps.push(step);
            if ends && !told {
                told = true;
                self.tell(
                    "unreachable",
                    format!("`{}` is never reached: the run has ended before it", step.id),
                )
                .set_hint("give the step that ends the run an `if`, or take this one out");
            }
            let outcome = self.step(step);
            self.steps.pop();
            self.path.pop();
            ends |= outcome.ends;
            output = outcome.output;
            self.scope.add(&step.id, output.clone());
        }
        Outcome { output, ends }
    }

    /// One step: what all steps have, then what its type has.
    pub(super) fn step(&mut self, step: &'w Step) -> Outcome {
        self.common(step);
        self.inside_atomic(step);
        let broken = !self.draft.broken.is_empty() && self.draft.broken.contains(&self.path.to_string());
        let outcome =
            if broken { Outcome { output: Type::from(Ty::Any), ends: false } } else { self.kind(step) };
        let mut output = outcome.output;
        if let OnError::Do { steps } = &step.on_error {
            output = self.under("on_error", |me| me.handler(steps, output));
        }
        if let StepKind::WaitForInput(wait) = &step.kind
            && let Some(OnError::Do { steps }) = &wait.on_timeout
        {
            output = self.under("on_timeout", |me| me.handler(steps, output));
        }
        Outcome { output, ends: outcome.ends && step.condition.is_none() }
    }

    /// Steps for when it fails: what the step gives is what it would have given, or their last output.
    fn handler(&mut self, steps: &'w [Step], output: Type) -> Type {
        let mark = self.scope.mark();
        let error = self.scope.error.replace(Type::from(error()));
        let handled = self.under("do", |me| me.list(steps));
        self.scope.error = error;
        self.scope.back_to(mark);
        match (steps.is_empty(), handled.ends) {
            (true, _) => Type::from(Ty::Any),
            (_, true) => output,
            _ => Type::one_of(vec![output, handled.output], Rule::Every),
        }
    }

    // Places and problems.

    /// Whether an empty list is written here, which is another thing than none.
    pub(super) fn is_empty_list(&self) -> bool {
        is_empty_list(self.node())
    }

    /// Does something one key further down.
    pub(super) fn under<R>(&mut self, key: &'w str, then: impl FnOnce(&mut Self) -> R) -> R {
        self.path.key(key);
        let result = then(self);
        self.path.pop();
        result
    }

    /// What stands in the document at the present path.
    pub(super) fn node(&self) -> &'w Node {
        let tree: &'w Node = self.tree;
        tree.find(&self.path).0
    }

    /// Whether so much is wrong that nothing else is looked for: whatever goes on for each part of a document asks.
    pub(super) fn enough(&self) -> bool {
        self.problems.is_over()
    }

    pub(super) fn tell(&mut self, code: &'static str, message: impl Into<String>) -> &mut Problem {
        let (from, to) = shown(self.node());
        self.tell_at(from, to, code, message)
    }

    /// At the key instead of the value.
    pub(super) fn tell_key(&mut self, code: &'static str, message: impl Into<String>) -> &mut Problem {
        let tree: &'w Node = self.tree;
        let (from, to) = match tree.find(&self.path) {
            (_, Some(entry)) => (entry.from, entry.to),
            (node, None) => shown(node),
        };
        self.tell_at(from, to, code, message)
    }

    pub(super) fn tell_at(
        &mut self,
        from: usize,
        to: usize,
        code: &'static str,
        message: impl Into<String>,
    ) -> &mut Problem {
        let step = self.steps.last().map(|step| step.id.as_str());
        let problem = Problem::at(self.source, from, to, code, message).path(&self.path).step(step);
        self.problems.push(problem)
    }

    /// The name that was most likely meant.
    pub(super) fn nearest<'n>(
        &self,
        word: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<&'n str> {
        self.suggestions.nearest(word, names)
    }

    /// Who a message is about: the step, or the part of the document.
    pub(super) fn user(&self) -> String {
        match (self.steps.last(), self.path.0.first()) {
            (Some(step), _) if !step.id.is_empty() => format!("`{}`", step.id),
            (Some(_), _) => "the step".into(),
            (None, Some(crate::document::Segment::Key(key))) => format!("`{key}`"),
            _ => "the document".into(),
        }
    }

    /// The kind of list that the innermost step stands in, and those around it.
    pub(super) fn lists_around(&self) -> impl Iterator<Item = ListKind> + '_ {
        self.steps.iter().rev().filter_map(|step| self.known.get(step.id.as_str())).map(|known| known.list)
    }
}

/// Where a value is pointed at: a step by its id.
fn shown(node: &Node) -> (usize, usize) {
    let place = match (node.get("id"), node.get("type")) {
        (Some(id), Some(_)) => &id.value,
        _ => node,
    };
    (place.from, place.to)
}

/// How a step failed.
pub(super) fn failure() -> Ty {
    Ty::object("a failure", failure_members())
}

/// What `error` is: it says of which step.
pub(super) fn error() -> Ty {
    let mut members = failure_members();
    members.push(("step", Ty::Any));
    Ty::object("a failure", members)
}

fn failure_members() -> Vec<(&'static str, Ty)> {
    vec![
        ("source", Ty::Text),
        ("code", Ty::Text),
        ("message", Ty::Text),
        ("status", Ty::Any),
        ("retryable", Ty::Boolean),
        ("retry_after_ms", Ty::Number),
        ("limit", Ty::Number),
        ("used", Ty::Number),
        ("details", Ty::Any),
    ]
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.data, Data::List(items) if items.is_empty())
}
