//! What a machine has still to do about an event.

use std::collections::VecDeque;

use super::failure::Failure;
use super::path::StepPath;
use crate::graph::NodeId;

/// Something to do.
pub(super) enum Work {
    /// Begin a step of a list, if it may still begin.
    Start(NodeId, StepPath),
    /// Begin a step once more, in this generation.
    Again(NodeId, StepPath, u32),
    /// A step is over, and what comes after it may go on.
    Settled(NodeId, StepPath),
    /// A step has failed for good.
    Failed(NodeId, StepPath, Box<Failure>),
}

/// First come, first served. Mostly there is one thing to do, which needs no list.
#[derive(Default)]
pub(super) struct Queue {
    first: Option<Work>,
    rest: VecDeque<Work>,
}

impl Queue {
    pub fn push(&mut self, work: Work) {
        match self.first {
            None => self.first = Some(work),
            Some(_) => self.rest.push_back(work),
        }
    }

    pub fn pop(&mut self) -> Option<Work> {
        let first = self.first.take()?;
        self.first = self.rest.pop_front();
        Some(first)
    }

    pub fn clear(&mut self) {
        *self = Queue::default();
    }
}
