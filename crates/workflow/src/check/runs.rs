//! Steps that run other workflows: whether these are there, whether the input can fit, and circles of workflows that
//! certainly run each other for ever.

use std::collections::HashSet;
use std::sync::Arc;

use super::bounds::Type;
use super::catalog::{Catalog, WorkflowLookup};
use super::checker::Checker;
use super::loops::{CHAIN, Deed, deeds, deeds_of, may_end_the_run};
use super::types::Ty;
use crate::expr::Mode;
use crate::model::{RunWorkflow, StepKind, Trigger, Workflow};

/// How many workflows are looked at for a circle.
const WORKFLOWS: usize = 1_000;

impl<'w> Checker<'w> {
    pub(super) fn run_workflow(&mut self, run: &'w RunWorkflow) -> Type {
        self.under("input", |me| me.value(&run.input, Mode::Value));
        let own = &self.draft.workflow;
        match self.catalog.workflow(&run.workflow) {
            _ if run.workflow == own.name => self.takes(run, own),
            WorkflowLookup::Found(workflow) => self.takes(run, &workflow),
            WorkflowLookup::Unknown(names) => {
                let message = format!("there is no workflow `{}`", run.workflow);
                let hint = match self.nearest(&run.workflow, names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "save it first: `stepwell workflow apply FILE`".into(),
                };
                self.under("workflow", |me| me.tell("unknown_workflow", message).set_hint(hint));
            }
            WorkflowLookup::Draft | WorkflowLookup::NotKnown => {}
        }
        Type::from(match run.wait {
            true => Ty::Any,
            false => Ty::object("a run that is not waited for", vec![("run_id", Ty::Text)]),
        })
    }

    fn takes(&mut self, run: &'w RunWorkflow, workflow: &Workflow) {
        if let Trigger::Manual(manual) = &workflow.trigger
            && manual.on.is_none()
        {
            let label = format!("`{}`", workflow.name);
            self.fits(&run.input, manual.input_schema.as_ref(), &label);
        }
    }

    /// A workflow whose runs would certainly run it again and again.
    pub(super) fn run_loop(&mut self, workflow: &'w Workflow) {
        // What has been seen not to lead back does not, whoever runs it.
        let mut seen = HashSet::new();
        for (index, step) in workflow.steps.iter().enumerate() {
            let circle = deeds_of(step).into_iter().find_map(|deed| match deed {
                Deed::Run { workflow: next } => circle(workflow, next, self.catalog, &mut seen),
                _ => None,
            });
            if let Some(circle) = circle {
                self.path.key("steps");
                self.path.index(index);
                self.steps.push(step);
                let message = format!("the workflow would run itself for ever: {}", told(&circle));
                let tell = |me: &mut Self| {
                    me.tell("workflow_loop", message)
                        .set_hint("let an `if`, a `filter` or a `branch` end the circle");
                };
                match &step.kind {
                    StepKind::RunWorkflow(_) => self.under("workflow", tell),
                    _ => tell(self),
                }
                self.steps.pop();
                self.path.pop();
                self.path.pop();
                return;
            }
            if may_end_the_run(step) {
                return;
            }
        }
    }
}

/// The names from a workflow by the one that it runs back to it, if every run goes that way.
fn circle(
    first: &Workflow,
    next: &str,
    catalog: &dyn Catalog,
    seen: &mut HashSet<String>,
) -> Option<Vec<String>> {
    let mut walk = vec![first.name.clone()];
    back(first, next, catalog, seen, &mut walk).then_some(walk)
}

fn back(
    first: &Workflow,
    here: &str,
    catalog: &dyn Catalog,
    seen: &mut HashSet<String>,
    walk: &mut Vec<String>,
) -> bool {
    walk.push(here.to_owned());
    if here == first.name {
        return true;
    }
    if walk.len() <= CHAIN
        && seen.len() < WORKFLOWS
        && seen.insert(here.to_owned())
        && let WorkflowLookup::Found(workflow) = catalog.workflow(here)
    {
        for next in certain_runs(&workflow) {
            if back(first, &next, catalog, seen, walk) {
                return true;
            }
        }
    }
    walk.pop();
    false
}

/// The workflows that every run starts that does not fail before.
fn certain_runs(workflow: &Arc<Workflow>) -> Vec<String> {
    let runs = deeds(&workflow.steps).into_iter().filter_map(|deed| match deed {
        Deed::Run { workflow } => Some(workflow.to_owned()),
        _ => None,
    });
    runs.collect()
}

/// "`a` runs `b`, which runs `a`".
fn told(walk: &[String]) -> String {
    let names: Vec<String> = walk.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [first, rest @ ..] => format!("{first} runs {}", rest.join(", which runs ")),
        [] => String::new(),
    }
}
