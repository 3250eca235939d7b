//! Outputs that may not be there though their step stands before: it has an `if`, goes on when it fails, or is a branch
//! that may take no arm. Using one is told, unless it is plain that somebody has thought of it.

use super::checker::Checker;
use super::scope::{Known, ListKind};
use crate::expr::Reference;
use crate::model::{OnError, Step, StepKind};

/// Why a step that stands before may have no output.
fn why(step: &Step) -> Option<&'static str> {
    if step.condition.is_some() {
        return Some("is skipped when its `if` is false");
    }
    if step.on_error == OnError::Continue {
        return Some("may have failed, and the run goes on (`on_error: continue`)");
    }
    match &step.kind {
        StepKind::Branch(branch) if branch.otherwise.is_none() => Some("is skipped when no arm is taken"),
        StepKind::WaitForInput(wait) if wait.on_timeout == Some(OnError::Continue) => {
            Some("may have waited in vain, and the run goes on (`on_timeout: continue`)")
        }
        _ => None,
    }
}

impl<'w> Checker<'w> {
    /// Tells of an output that may not be there. `text` is the whole template.
    pub(super) fn may_be_missing(&mut self, reference: &Reference, written: &str, text: &str) {
        let id = reference.root.as_str();
        if reference.guarded || self.scope.get(id).is_none() {
            return;
        }
        let Some(known) = self.known.get(id).copied() else { return };
        let Some(why) = why(known.step) else { return };
        if self.is_thought_of(known, text) {
            return;
        }
        let message = format!("{} uses `{written}`, but `{id}` {why}", self.user());
        let hint = format!(
            "say what holds without it, such as `{written} | default('')`, or give this step an `if`, such as \
             `\"{{{{ steps.{id}.status == 'completed' }}}}\"`"
        );
        self.tell_reference(reference, written, "may_be_missing", message, Some(hint));
    }

    /// Whether something that stands around the use, or before it, may depend on how the step ended: an `if`, an arm, a
    /// `filter`, a `stop`. Whether it asks the right question is its author's affair.
    fn is_thought_of(&self, known: Known<'w>, text: &str) -> bool {
        let id = &known.step.id;
        let asks = text.contains(&format!("steps.{id}")) || text.contains(" if ");
        if asks || self.scope.error.is_some() {
            return true;
        }
        let conditional =
            |around: &&Step| around.condition.is_some() || matches!(around.kind, StepKind::Branch(_));
        if self.steps.iter().any(conditional) {
            return true;
        }
        // The workflow's output comes after all steps.
        let here = self.steps.last().and_then(|step| self.known.get(step.id.as_str()));
        let here = here.map_or(usize::MAX, |here| here.order);
        self.known.values().any(|other| {
            let ends = match &other.step.kind {
                StepKind::Filter(_) => true,
                StepKind::Stop(_) => other.step.condition.is_some() || other.list == ListKind::Arm,
                _ => false,
            };
            ends && known.order < other.order && other.order < here
        })
    }
}
