//! A definition as a flat graph: what the engine runs and `workflow graph` draws.
//!
//! Every step is a [`Node`] of one list of nodes, in document order; the lists that steps stand in are [`List`]s
//! beside it. Templates and filters are compiled here, once per version of a workflow.

mod compile;
mod condition;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use condition::{Condition, FilterPlan, Undecided};

use serde_json::Value;

use crate::expr::{Document, Template};
use crate::machine::{StepPath, Taken};
use crate::model::{Backoff, Limits, Method, Pagination, Redirects, Response, StopStatus, Tolerate};

/// A compiled workflow.
#[derive(Debug)]
pub struct Graph {
    pub name: String,
    /// In document order: a step before the steps inside it.
    pub nodes: Vec<Node>,
    pub lists: Vec<List>,
    /// The workflow's own steps.
    pub root: ListId,
    pub on_failure: Option<ListId>,
    /// The run's result; the last step's output when absent.
    pub output: Option<Document>,
    pub respond: RespondPlan,
    /// Whether any of its iterators is atomic.
    pub has_atomic: bool,
    pub(crate) by_path: HashMap<StepPath, NodeId>,
    pub(crate) by_id: HashMap<String, NodeId>,
}

/// A place in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// A place in [`Graph::lists`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(pub u32);

/// Steps that belong together.
#[derive(Debug)]
pub struct List {
    pub owner: Owner,
    pub steps: Vec<NodeId>,
}

/// Where a list stands. A list runs from top to bottom, unless it is a parallel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Run,
    OnFailure,
    /// This list of this step.
    Step(NodeId, Taken),
}

/// One step.
#[derive(Debug)]
pub struct Node {
    /// The step's id.
    pub id: String,
    /// The ids of the steps around it and its own; a run's path without the numbers of items.
    pub path: StepPath,
    /// As documents write it: `search_records`.
    pub type_name: &'static str,
    pub kind: NodeKind,
    /// The list it stands in, and its place there.
    pub list: ListId,
    pub place: usize,
    /// Siblings of a parallel that must be done before.
    pub needs: Vec<NodeId>,
    pub condition: Option<Condition>,
    pub retry: Option<RetryPlan>,
    /// Of one attempt.
    pub timeout_ms: Option<u64>,
    pub on_error: OnErrorPlan,
    /// What becomes of it when it has waited in vain, where that is another thing.
    pub on_timeout: Option<OnErrorPlan>,
}

/// What a step does.
#[derive(Debug)]
pub enum NodeKind {
    /// Something that the engine executes.
    Call(CallPlan),
    Branch {
        arms: Vec<Arm>,
        otherwise: Option<Arm>,
    },
    Filter(Condition),
    Parallel(ListId),
    Iterator(Box<IteratorPlan>),
    Set(Document),
    Delay(DelayPlan),
    Stop {
        status: StopStatus,
        message: Option<Template>,
        output: Option<Document>,
    },
}

/// The same list for each of many items.
#[derive(Debug)]
pub struct IteratorPlan {
    pub items: ItemsPlan,
    pub list: ListId,
    /// Of one item.
    pub output: Option<Document>,
    /// What one item adds to each sum.
    pub totals: Vec<(String, Document)>,
    pub concurrency: u32,
    pub batch: Option<u64>,
    pub tolerate: Tolerate,
    /// Its items are committed together, or what they wrote is undone.
    pub atomic: bool,
}

/// What an iterator goes over.
#[derive(Debug)]
pub enum ItemsPlan {
    List(Document),
    Search { object: String, view: Option<String>, filter: Option<FilterPlan>, sort: Vec<String> },
}

/// How long a delay waits.
#[derive(Debug)]
pub enum DelayPlan {
    For(Template),
    Until(Template),
}

/// One way through a branch.
#[derive(Debug)]
pub struct Arm {
    /// `None` for `else`.
    pub when: Option<Condition>,
    pub list: ListId,
    pub output: Option<Document>,
}

/// When and how often an attempt is made again.
#[derive(Debug)]
pub struct RetryPlan {
    pub attempts: u32,
    pub backoff: Backoff,
    pub within_ms: Option<u64>,
    pub on: Option<FilterPlan>,
}

/// What becomes of a step that has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnErrorPlan {
    Fail,
    Continue,
    Pause,
    Do(ListId),
}

/// A call with its templates.
#[derive(Debug)]
pub enum CallPlan {
    Code {
        action: String,
        input: Document,
        limits: Limits,
    },
    Search {
        object: String,
        view: Option<String>,
        filter: Option<FilterPlan>,
        sort: Vec<String>,
        limit: Option<Document>,
    },
    Create {
        object: String,
        record: Document,
    },
    Update {
        object: String,
        record_id: Template,
        record: Document,
        if_version: Option<Document>,
        if_unchanged: Option<UnchangedPlan>,
    },
    Delete {
        object: String,
        record_id: Template,
        if_version: Option<Document>,
    },
    Upsert {
        object: String,
        match_on: Vec<String>,
        record: Document,
        create_only: Vec<String>,
    },
    SetState(Document),
    Run {
        workflow: String,
        input: Document,
        wait: bool,
    },
    Input(Box<InputPlan>),
    Http(Box<HttpPlan>),
    Email(Box<EmailPlan>),
}

impl CallPlan {
    /// Whether the world outside can notice the call.
    pub fn is_outside(&self) -> bool {
        matches!(self, CallPlan::Http(_) | CallPlan::Email(_))
    }

    /// Whether its end comes as an event of its own, for which the run waits.
    pub fn waits(&self) -> bool {
        matches!(self, CallPlan::Run { .. } | CallPlan::Input(_))
    }
}

/// Fields that must hold what they did.
#[derive(Debug)]
pub struct UnchangedPlan {
    pub since: Document,
    pub fields: Vec<String>,
}

#[derive(Debug)]
pub struct InputPlan {
    pub schema: Option<Value>,
    pub title: Option<Template>,
    pub message: Option<Template>,
}

#[derive(Debug)]
pub struct HttpPlan {
    pub connection: Option<String>,
    pub method: Method,
    pub url: Template,
    pub headers: Vec<(String, Template)>,
    pub query: PairsPlan,
    pub body: Option<BodyPlan>,
    pub response: Response,
    pub redirects: Redirects,
    pub max_bytes: u64,
    pub idempotency_key: Option<Template>,
    pub pagination: Option<Pagination>,
}

/// Names and their values, for a query or a form.
#[derive(Debug)]
pub enum PairsPlan {
    Each(Vec<(String, Document)>),
    /// One template gives them all.
    Whole(Document),
}

#[derive(Debug)]
pub enum BodyPlan {
    Json(Document),
    Form(PairsPlan),
    Text(Template),
    Bytes(Template),
}

#[derive(Debug)]
pub struct EmailPlan {
    /// Each gives one address or a list of them.
    pub to: Vec<Document>,
    pub cc: Vec<Document>,
    pub bcc: Vec<Document>,
    pub from: Option<Template>,
    pub reply_to: Option<Template>,
    pub subject: Template,
    pub text: Option<Template>,
    pub html: Option<Template>,
    pub headers: Vec<(String, Template)>,
}

/// What the caller of a webhook gets from the run itself.
#[derive(Debug)]
pub enum RespondPlan {
    /// Nothing: it was answered before.
    Nothing,
    /// The run's result.
    Result,
    Answer(Box<AnswerPlan>),
}

#[derive(Debug)]
pub struct AnswerPlan {
    pub status: Document,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Document>,
}

/// A template or filter of a definition that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", at(.step, .place))]
pub struct CompileError {
    /// The step's path; empty for the workflow itself.
    pub step: String,
    /// Where in the step: `record`, `headers.x-id`.
    pub place: String,
    pub message: String,
}

fn at(step: &str, place: &str) -> String {
    match (step.is_empty(), place.is_empty()) {
        (true, _) => place.to_owned(),
        (false, true) => format!("step `{step}`"),
        (false, false) => format!("step `{step}`, {place}"),
    }
}

impl Node {
    /// Whether it is an iterator whose items are committed together.
    pub(crate) fn is_atomic(&self) -> bool {
        matches!(&self.kind, NodeKind::Iterator(plan) if plan.atomic)
    }
}

impl Graph {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn list(&self, id: ListId) -> &List {
        &self.lists[id.0 as usize]
    }

    /// The node of a path, with or without the numbers of items.
    pub fn find(&self, path: &StepPath) -> Option<NodeId> {
        match path.has_items() {
            true => self.by_path.get(path.without_items().as_str()).copied(),
            false => self.by_path.get(path).copied(),
        }
    }

    /// What an iterator counts its items by: the object that it searches, if it does, the size of its batches, and
    /// whether those that are over are written.
    pub fn goes_over(&self, id: NodeId) -> Option<(Option<&str>, Option<u64>, bool)> {
        let NodeKind::Iterator(plan) = &self.node(id).kind else { return None };
        let object = match &plan.items {
            ItemsPlan::Search { object, .. } => Some(object.as_str()),
            ItemsPlan::List(_) => None,
        };
        Some((object, plan.batch, plan.atomic))
    }

    /// Whether runs of it have items, whose history is kept apart.
    pub fn has_items(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.kind, NodeKind::Iterator(_)))
    }

    /// The iterator whose items are committed together, if the step is one or stands in an item of one. (What stands in
    /// its `on_error` comes after them.) They do not nest.
    pub fn atomic(&self, path: &StepPath) -> Option<StepPath> {
        if !self.has_atomic {
            return None;
        }
        let mut at = Some(path.clone());
        let mut counts = true;
        while let Some(here) = at {
            let item = here.of_item();
            counts |= item.is_some();
            let here = item.map_or(here, |(iterator, _)| iterator);
            if counts && self.find(&here).is_some_and(|id| self.node(id).is_atomic()) {
                return Some(here);
            }
            (at, counts) = (here.parent(), false);
        }
        None
    }

    /// Whether any of its steps asks for pages.
    pub fn has_pages(&self) -> bool {
        self.nodes.iter().any(
            |node| matches!(&node.kind, NodeKind::Call(CallPlan::Http(plan)) if plan.pagination.is_some()),
        )
    }

    /// The steps that wait for a person.
    pub fn inputs(&self) -> impl Iterator<Item = NodeId> {
        let waits = |(_, node): &(usize, &Node)| matches!(node.kind, NodeKind::Call(CallPlan::Input(_)));
        self.nodes.iter().enumerate().filter(waits).map(|(index, _)| NodeId(index as u32))
    }

    /// The node of a step's id.
    pub fn step(&self, id: &str) -> Option<NodeId> {
        self.by_id.get(id).copied()
    }
}

impl Node {
    /// The lists inside the step, in document order.
    pub fn lists(&self) -> Vec<ListId> {
        let mut lists = match &self.kind {
            NodeKind::Branch { arms, otherwise } => {
                arms.iter().chain(otherwise).map(|arm| arm.list).collect()
            }
            NodeKind::Parallel(list) => vec![*list],
            NodeKind::Iterator(plan) => vec![plan.list],
            _ => Vec::new(),
        };
        if let OnErrorPlan::Do(list) = self.on_error {
            lists.push(list);
        }
        if let Some(OnErrorPlan::Do(list)) = self.on_timeout {
            lists.push(list);
        }
        lists
    }
}
