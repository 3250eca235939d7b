//! Atomic iterators: what their items write is one commit, or nothing. Such an iterator begins with a burst, and the
//! burst does not end before it; whatever else the run has to do waits meanwhile.
use super::*;
use stepwell_store::Savepoint;

/// An atomic iterator under way, and where to go back to.
pub(super) struct Held {
    iterator: StepPath,
    before: Savepoint,
    events: usize,
}

/// Whether an attempt begins an atomic iterator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    No,
    Yes,
    /// It is to begin with the next burst, which has all the room.
    Later,
}

impl Going<'_> {
    /// The next call to be made or looked at.
    pub(super) fn next_call(&mut self) -> Option<CallId> {
        let Some(held) = &self.held else { return self.queue.pop_front() };
        let place = self.queue.iter().position(|(path, _)| path.is_within(&held.iterator))?;
        self.queue.remove(place)
    }

    /// Looks whether an attempt is of an atomic iterator that has not begun.
    pub(super) fn hold(&mut self, id: &CallId) -> Begins {
        if self.held.is_some() {
            return Begins::No;
        }
        let Some(iterator) = self.base.flow.graph.atomic(&id.0) else { return Begins::No };
        if !self.page.is_empty() {
            return Begins::Later;
        }
        let (before, events) = (self.txn.savepoint(), self.events.bytes());
        self.held = Some(Held { iterator, before, events });
        Begins::Yes
    }

    /// Waits for code that an item runs: nothing is committed meanwhile.
    pub(super) async fn wait_for_held(&mut self) -> Result<(), Refused> {
        match self.calls.next_done().await {
            Some(id) => {
                if self.open.contains_key(&id) {
                    self.queue.push_back(id);
                }
                Ok(())
            }
            // Its steps are such as end by themselves: check sees to that.
            None => {
                Err(Refused::Damaged(format!("the atomic iterator of run {} does not end", self.base.run)))
            }
        }
    }

    /// Why the iterator under way cannot be committed as a whole, if so.
    pub(super) fn too_big_together(&self, begins: Begins, fits: bool) -> Option<Failure> {
        let held = self.held.as_ref()?;
        // A burst that was too large for the store is made again with a lower limit.
        let refused = begins == Begins::Yes && self.base.step_limit != usize::MAX;
        let page = self.page.bytes() <= HARD_EVENT_BYTES;
        (refused || !fits || !page).then(|| {
            let message = format!(
                "`{}` is atomic, and what its items write is more than fits one transaction ({HARD_ROWS} rows, indexes \
                 included, {HARD_BYTES} bytes, of which its record events, and its history, may have \
                 {HARD_EVENT_BYTES} each): go over fewer items, or leave `atomic` out",
                held.iterator
            );
            Failure::engine("too_big", message)
        })
    }

    /// The iterator is over: what it wrote belongs to the burst, or is undone.
    pub(super) fn let_go(&mut self, iterator: &StepPath, kept: bool) -> Result<(), Refused> {
        let Some(held) = self.held.take_if(|held| held.iterator == *iterator) else { return Ok(()) };
        if !kept {
            self.txn.rollback_to(held.before);
            self.events.back_to(held.events);
            let message = format!(
                "another item of `{iterator}`, which is atomic, failed: what this one wrote is undone"
            );
            self.page.undo_items(iterator, &Failure::engine("undone", message))?;
        }
        Ok(())
    }
}
