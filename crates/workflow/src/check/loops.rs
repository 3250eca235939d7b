//! Workflows that certainly start each other for ever by what they write. Only what is certain is told: what every run
//! comes to that does not fail, and a trigger that takes every such event. An update may come to a rest, since one that
//! changes nothing is no event; for the rest there is the engine's guard of the depth.

use std::collections::{BTreeSet, HashSet};

use super::bounds::Budget;
use super::catalog::{Catalog, WorkflowLookup};
use crate::model::{RecordChange, RecordEvent, Step, StepKind, Trigger, Workflow, Writers};

/// Something that every run of a list of steps does, unless it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed<'w> {
    /// Creates a record, with these fields certainly not empty.
    Create {
        object: &'w str,
        fields: Vec<&'w str>,
    },
    /// Deletes the record that this template names.
    Delete {
        object: &'w str,
        record: &'w str,
    },
    Run {
        workflow: &'w str,
    },
}

/// What a list of steps certainly does.
pub(super) fn deeds(steps: &[Step]) -> Vec<Deed<'_>> {
    let mut found = Vec::new();
    for step in steps {
        found.extend(deeds_of(step));
        if may_end_the_run(step) {
            break;
        }
    }
    found
}

/// What a step certainly does.
pub(super) fn deeds_of(step: &Step) -> Vec<Deed<'_>> {
    if step.condition.is_some() {
        return Vec::new();
    }
    match &step.kind {
        StepKind::CreateRecord(create) => {
            // Only what is written down is certain not to come out empty.
            let written = create.record.each().into_iter().flatten();
            let given = written.filter(|(_, value)| match value {
                serde_json::Value::String(text) => !text.is_empty() && !text.contains("{{"),
                _ => false,
            });
            let fields = given.map(|(name, _)| name.as_str()).collect();
            vec![Deed::Create { object: &create.object, fields }]
        }
        StepKind::DeleteRecord(delete) => {
            vec![Deed::Delete { object: &delete.object, record: delete.record_id.trim() }]
        }
        StepKind::RunWorkflow(run) => vec![Deed::Run { workflow: &run.workflow }],
        StepKind::Parallel(parallel) => parallel.steps.iter().flat_map(deeds_of).collect(),
        StepKind::Iterator(iterate) => match &iterate.over {
            Some(serde_json::Value::Array(items)) if !items.is_empty() => deeds(&iterate.steps),
            _ => Vec::new(),
        },
        StepKind::Branch(branch) => {
            let Some(otherwise) = &branch.otherwise else { return Vec::new() };
            let arms = branch.branches.iter().map(|arm| deeds(&arm.steps));
            arms.fold(deeds(&otherwise.steps), |both, arm| in_both(&both, &arm))
        }
        _ => Vec::new(),
    }
}

/// What is done whichever of two ways is gone.
fn in_both<'w>(one: &[Deed<'w>], other: &[Deed<'w>]) -> Vec<Deed<'w>> {
    let common = |deed: &Deed<'w>| {
        other.iter().find_map(|second| match (deed, second) {
            (Deed::Create { object, fields }, Deed::Create { object: same, fields: also })
                if object == same =>
            {
                let fields = fields.iter().filter(|name| also.contains(name)).copied().collect();
                Some(Deed::Create { object, fields })
            }
            (deed, second) => (deed == second).then(|| deed.clone()),
        })
    };
    one.iter().filter_map(common).collect()
}

/// A write that every run of a workflow makes, itself or by a workflow that it runs.
#[derive(Debug, Clone)]
struct Write {
    change: RecordChange,
    object: String,
    fields: BTreeSet<String>,
    /// The workflows from the one to the one that writes.
    by: Vec<String>,
}

/// One way from a workflow to the next: what it writes, and whom that starts.
pub(super) struct Edge {
    write: Write,
    to: String,
}

/// A circle through `first`, if there is one.
pub(super) fn circle(first: &Workflow, others: &[&Workflow], catalog: &dyn Catalog) -> Option<Vec<Edge>> {
    Search { first, others, catalog, deeds: Budget::new(DEEDS) }.circle(first, &mut HashSet::new(), 0)
}

/// What workflows certainly do is looked at until so many deeds have been, and along chains that are so long: a circle that
/// is larger is left to the engine's guard.
const DEEDS: usize = 20_000;
pub(super) const CHAIN: usize = 32;

struct Search<'w> {
    first: &'w Workflow,
    others: &'w [&'w Workflow],
    catalog: &'w dyn Catalog,
    deeds: Budget,
}

impl<'w> Search<'w> {
    fn circle(&self, here: &Workflow, seen: &mut HashSet<&'w str>, length: usize) -> Option<Vec<Edge>> {
        for write in self.certain_writes(here) {
            if starts(&write, self.first) {
                return Some(vec![Edge { write, to: self.first.name.clone() }]);
            }
            for next in self.others {
                if length < CHAIN && starts(&write, next) && seen.insert(&next.name) {
                    let Some(mut rest) = self.circle(next, seen, length + 1) else { continue };
                    rest.insert(0, Edge { write, to: next.name.clone() });
                    return Some(rest);
                }
            }
        }
        None
    }

    /// What every run writes that does not fail.
    fn certain_writes(&self, workflow: &Workflow) -> Vec<Write> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([workflow.name.clone()]);
        self.writes_of(workflow, &mut Vec::new(), &mut seen, &mut found);
        found
    }

    /// Each workflow writes the same however often and by whomever it is run: it is looked at the first time.
    fn writes_of(
        &self,
        workflow: &Workflow,
        by: &mut Vec<String>,
        seen: &mut HashSet<String>,
        found: &mut Vec<Write>,
    ) {
        let deeds = deeds(&workflow.steps);
        if by.len() >= CHAIN || !self.deeds.spend(1 + deeds.len()) {
            return;
        }
        by.push(workflow.name.clone());
        for deed in deeds {
            match deed {
                Deed::Create { object, fields } => found.push(Write {
                    change: RecordChange::Created,
                    object: object.to_owned(),
                    fields: fields.into_iter().map(str::to_owned).collect(),
                    by: by.clone(),
                }),
                Deed::Delete { object, record } if exists(workflow, object, record) => found.push(Write {
                    change: RecordChange::Deleted,
                    object: object.to_owned(),
                    fields: BTreeSet::new(),
                    by: by.clone(),
                }),
                Deed::Delete { .. } => {}
                Deed::Run { workflow: name } if !seen.insert(name.to_owned()) => {}
                Deed::Run { workflow: name } if name == self.first.name => {
                    self.writes_of(self.first, by, seen, found);
                }
                Deed::Run { workflow: name } => {
                    if let WorkflowLookup::Found(other) = self.catalog.workflow(name) {
                        self.writes_of(&other, by, seen, found);
                    }
                }
            }
        }
        by.pop();
    }
}

/// Whether such a write certainly starts a run of `listener`.
fn starts(write: &Write, listener: &Workflow) -> bool {
    let Trigger::RecordEvent(event) = &listener.trigger else { return false };
    let RecordEvent { object: listened, when, from, .. } = event;
    let own = write.by.last() == Some(&listener.name) && *from == Writers::Others;
    let touched = event.fields.is_empty() || event.fields.iter().any(|name| write.fields.contains(name));
    *listened == write.object && event.takes(write.change) && when.is_none() && !own && touched
}

/// Whether the record that a run deletes is certainly there before: the one whose event started it, unless that was its end,
/// or one that the run has created.
fn exists(workflow: &Workflow, object: &str, record: &str) -> bool {
    let path = record.trim_start_matches("{{").trim_end_matches("}}").trim();
    match &workflow.trigger {
        Trigger::RecordEvent(event) if matches!(path, "trigger.record_id" | "trigger.after.id") => {
            event.object == object && !event.takes(RecordChange::Deleted)
        }
        _ => workflow.steps.iter().any(|step| match &step.kind {
            StepKind::CreateRecord(create) => {
                let certain = step.condition.is_none() && create.object == object;
                certain && path == format!("{}.record.id", step.id)
            }
            _ => false,
        }),
    }
}

/// Whether a run may end with it, so that what comes after is not certain.
pub(super) fn may_end_the_run(step: &Step) -> bool {
    matches!(step.kind, StepKind::Filter(_) | StepKind::Stop(_))
        || step.blocks().into_iter().flatten().any(may_end_the_run)
}

/// "each run of `a` creates a task record, which starts `b`; each run of `b` creates a note record, which starts `a`".
pub(super) fn told(circle: &[Edge]) -> String {
    let steps = circle.iter().map(|Edge { write, to }| {
        let by: Vec<String> = write.by.iter().map(|name| format!("`{name}`")).collect();
        let by = by.join(" runs ");
        let (does, object) = match write.change {
            RecordChange::Deleted => ("deletes", &write.object),
            _ => ("creates", &write.object),
        };
        let which = if write.by.len() > 1 { ", which" } else { "" };
        let article = if object.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("each run of {by}{which} {does} {article} {object} record, which starts `{to}`")
    });
    steps.collect::<Vec<_>>().join("; ")
}
