//! Workflows that certainly start each other for ever by what they write. Only what is certain is told: a step that
//! every run comes to and that creates a record, and a trigger that takes every such record. An update may come to a
//! rest, since one that changes nothing is no event; for the rest there is the engine's guard of the depth.

use std::collections::HashSet;

use crate::model::{RecordChange, RecordEvent, Step, StepKind, Trigger, Workflow, Writers};

/// One way from a workflow to the next: what it creates, and whom that starts.
pub(super) struct Edge<'w> {
    from: &'w str,
    object: &'w str,
    to: &'w str,
}

/// A circle through `first`, if there is one.
pub(super) fn circle<'w>(first: &'w Workflow, others: &[&'w Workflow]) -> Option<Vec<Edge<'w>>> {
    let mut seen = HashSet::new();
    walk(first, first, others, &mut seen)
}

fn walk<'w>(
    here: &'w Workflow,
    first: &'w Workflow,
    others: &[&'w Workflow],
    seen: &mut HashSet<&'w str>,
) -> Option<Vec<Edge<'w>>> {
    for (object, fields) in certain_creations(here) {
        if starts(here, object, &fields, first) {
            return Some(vec![Edge { from: &here.name, object, to: &first.name }]);
        }
        for next in others {
            if starts(here, object, &fields, next) && seen.insert(&next.name) {
                let Some(mut rest) = walk(next, first, others, seen) else { continue };
                rest.insert(0, Edge { from: &here.name, object, to: &next.name });
                return Some(rest);
            }
        }
    }
    None
}

/// Whether such a record, created by a run of `writer`, certainly starts a run of `listener`.
fn starts(writer: &Workflow, object: &str, fields: &[&str], listener: &Workflow) -> bool {
    let Trigger::RecordEvent(event) = &listener.trigger else { return false };
    let RecordEvent { object: listened, when, from, .. } = event;
    let own = writer.name == listener.name && *from == Writers::Others;
    let touched = event.fields.is_empty() || event.fields.iter().any(|name| fields.contains(&name.as_str()));
    listened == object && event.takes(RecordChange::Created) && when.is_none() && !own && touched
}

/// What every run creates that does not fail: the object, and the fields that are given a value.
fn certain_creations(workflow: &Workflow) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    for step in &workflow.steps {
        if let (StepKind::CreateRecord(create), None) = (&step.kind, &step.condition) {
            // Only what is written down is certain not to come out empty.
            let given = create.record.iter().filter(|(_, value)| match value {
                serde_json::Value::String(text) => !text.is_empty() && !text.contains("{{"),
                _ => false,
            });
            found.push((create.object.as_str(), given.map(|(name, _)| name.as_str()).collect()));
        }
        if may_end_the_run(step) {
            break;
        }
    }
    found
}

/// Whether a run may end with it, so that what comes after is not certain.
pub(super) fn may_end_the_run(step: &Step) -> bool {
    matches!(step.kind, StepKind::Filter(_) | StepKind::Stop(_))
        || step.blocks().into_iter().flatten().any(may_end_the_run)
}

/// "`a` creates a task, which starts `b`; `b` creates a note, which starts `a`".
pub(super) fn told(circle: &[Edge<'_>]) -> String {
    let steps = circle.iter().map(|Edge { from, object, to }| {
        format!("each run of `{from}` creates a {object} record, which starts `{to}`")
    });
    steps.collect::<Vec<_>>().join("; ")
}
