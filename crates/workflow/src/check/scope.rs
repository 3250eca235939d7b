//! Which steps a template may refer to, place by place.

use std::collections::HashMap;

use super::bounds::Type;
use crate::model::Step;

/// The names that are certain to have a value here. Entering a list and leaving it again costs what the list holds.
#[derive(Debug, Default)]
pub(super) struct Scope<'w> {
    visible: HashMap<&'w str, Type>,
    log: Vec<(&'w str, Option<Type>)>,
    /// `error`, inside a handler.
    pub error: Option<Type>,
    /// `item`, inside an iterator.
    pub item: Option<Type>,
}

/// A point to come back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize);

impl<'w> Scope<'w> {
    pub fn mark(&self) -> Mark {
        Mark(self.log.len())
    }

    pub fn add(&mut self, id: &'w str, ty: Type) {
        let before = self.visible.insert(id, ty);
        self.log.push((id, before));
    }

    pub fn back_to(&mut self, mark: Mark) {
        while self.log.len() > mark.0 {
            match self.log.pop() {
                Some((id, Some(before))) => {
                    self.visible.insert(id, before);
                }
                Some((id, None)) => {
                    self.visible.remove(id);
                }
                None => break,
            }
        }
    }

    pub fn get(&self, id: &str) -> Option<&Type> {
        self.visible.get(id)
    }

    pub fn names(&self) -> impl Iterator<Item = &'w str> + '_ {
        self.visible.keys().copied()
    }
}

/// Where a step stands, for messages about steps that cannot be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'w> {
    /// In the order of the document.
    pub order: usize,
    /// The step whose list it stands in.
    pub inside: Option<&'w str>,
    pub list: ListKind,
    pub step: &'w Step,
}

/// What sort of list a step stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    Top,
    Arm,
    Parallel,
    Item,
    Handler,
    OnFailure,
}

/// Which roots a template may use beside the steps in scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the trigger: nothing has run.
    Trigger,
    /// Before the run begins, with the settings that it is given.
    Start,
    /// A secret and nothing else.
    Secret,
    Steps,
}
