//! Atomic iterators: what their items write is one commit, or nothing. Such an iterator begins with a burst, and the
//! burst does not end before it; whatever else the run has to do waits meanwhile.
use super::*;
use stepwell_store::Savepoint;

/// The store remembers for ten seconds what was written: a burst that reads for longer would never be taken.
const LONGEST: Duration = Duration::from_secs(5);

/// An atomic iterator under way, and where to go back to.
pub(super) struct Held {
    iterator: StepPath,
    before: Savepoint,
    events: usize,
    /// How long its items have waited for code, whose outcomes are kept when the burst is made again.
    waited: Duration,
}

/// Whether an attempt begins an atomic iterator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    No,
    Yes,
    /// It is to begin with the next burst, which has all the room.
    Later,
}

/// The calls of a run that are open, in the order in which a burst takes them: an atomic iterator that is to begin comes
/// first, since it needs a burst in which nothing was done.
pub(super) fn in_turn(base: &Base) -> VecDeque<CallId> {
    let mut calls: Vec<CallId> = base.open.keys().cloned().collect();
    if base.flow.graph.has_atomic {
        calls.sort_by_key(|(path, _)| base.flow.graph.atomic(path).is_none());
    }
    calls.into()
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
        self.held = Some(Held { iterator, before, events, waited: Duration::ZERO });
        Begins::Yes
    }

    /// Waits for code that an item runs: nothing is committed meanwhile. A cancel does not wait for that: the burst is
    /// given up, and the next one takes it in. Everything else that the run is to hear of comes after the iterator; to
    /// begin it anew for each such thing would be to run all its code again.
    pub(super) async fn wait_for_held(&mut self) -> Result<(), Refused> {
        let (clock, closing) = (&self.ctx.core.ports.clock, &self.ctx.core.closing);
        let began = clock.elapsed();
        let done = loop {
            tokio::select! {
                done = self.calls.next_done() => break done,
                () = self.bell.rung() => {
                    let mut looks = Txn::begin(self.ctx.core.ports.store.clone(), self.ctx.ws.shard);
                    if concurrency::cancelled(self.ctx, &mut looks, self.base.run).await? {
                        self.given_up = true;
                        return Ok(());
                    }
                    self.late = true;
                }
                // Nothing of it is written: it begins anew after the next start.
                () = closing.cancelled() => return Err(Refused::Unavailable("the engine is closing".into())),
            }
        };
        if let Some(held) = &mut self.held {
            held.waited += clock.elapsed().saturating_sub(began);
        }
        match done {
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
        let own = (self.ctx.core.ports.clock.elapsed() - self.began).saturating_sub(held.waited);
        if own > LONGEST {
            let message = format!(
                "`{}` is atomic, and what its items read takes longer than one commit may ({} s): narrow its searches, let an \
                 index help them, or leave `atomic` out",
                held.iterator,
                LONGEST.as_secs()
            );
            return Some(Failure::engine("too_big", message));
        }
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
            self.page.undo_items(iterator, &Failure::engine("undone", "another item failed"))?;
        }
        Ok(())
    }
}
