//! Folding an event into the run: its place in the journal, the machine's turn, and what that asks for.
use super::*;

impl Going<'_> {
    /// Lets the run know what was read.
    pub(super) async fn tell_state(&mut self) -> Result<(), Refused> {
        match self.unread.take() {
            Some(values) => self.fold(Event::StateRead { values }, NoteRef::default()).await,
            None => Ok(()),
        }
    }

    pub(super) async fn fold(&mut self, mut event: Event, note: NoteRef<'_>) -> Result<(), Refused> {
        self.write_down(&mut event, note).await?;
        let (flow, clock) = (&self.base.flow, &self.ctx.core.ports.clock);
        let fold = || machine::apply(&flow.graph, &mut self.state, &event);
        let commands = self.ctx.core.lane.run(&flow.pace, || clock.elapsed(), fold).await;
        if self.head.inbox > 0 && commands.iter().any(|command| matches!(command, Command::Finished(_))) {
            self.write_down_late().await?;
        }
        for command in commands {
            self.follow(command).await?;
        }
        Ok(())
    }

    /// Whether a step waits for what a person gives.
    pub(super) fn awaits(&self, path: &StepPath) -> bool {
        self.state.step(path).is_some_and(|step| step.status == StepStatus::Waiting && step.sent)
    }

    /// What people gave in time for the answer that it was taken, and too late for the run, stands in its journal.
    pub(super) async fn write_down_late(&mut self) -> Result<(), Refused> {
        for (key, value) in
            self.txn.range(inbox::of_run(self.ctx.ws.id, self.base.run), usize::MAX, false).await?
        {
            let message: inbox::Message = tables::decode(&key, &value)?;
            let mut event = message.event;
            if !matches!(event, Event::InputGiven { .. }) {
                continue;
            }
            if !self.fits() || self.rows() >= HARD_ROWS {
                tracing::warn!(run = %self.base.run, "so much was given to a run as it ended that not all of it is kept");
                return Ok(());
            }
            self.txn.delete(key);
            self.write_down(&mut event, NoteRef { late: true, ..NoteRef::default() }).await?;
        }
        Ok(())
    }

    /// An event's place in the journal.
    pub(super) async fn write_down(&mut self, event: &mut Event, note: NoteRef<'_>) -> Result<(), Refused> {
        let mark = self.page.mark();
        self.page.push(event, &note)?;
        let limit = self.ctx.core.config.inline_payload_bytes;
        if self.page.bytes_since(mark) > limit {
            // Something in it is large: what is goes into blobs, before the transaction that names them.
            self.page.back_to(mark);
            let mut note = note.owned()?;
            for payload in event.payloads_mut().into_iter().chain(note.payloads()) {
                self.blobs.extend(blobs::spill(self.ctx, payload, limit / 4).await?);
            }
            self.page.push(event, &note.by_ref())?;
        }
        if let Some(item) = event.path().and_then(StepPath::innermost_item) {
            let commits = self.items.entry(item).or_default();
            if commits.last() != Some(&self.head.commits) {
                // The last one has what the item comes to.
                commits.truncate(SHOWN_COMMITS - 1);
                commits.push(self.head.commits);
            }
        }
        Ok(())
    }

    /// Does what the machine asks for.
    pub(super) async fn follow(&mut self, command: Command) -> Result<(), Refused> {
        match command {
            Command::Execute(execute) => {
                let id = (execute.path.clone(), execute.attempt);
                self.open.insert(id.clone(), Arc::new(*execute));
                self.queue.push_back(id);
            }
            Command::SetTimer { timer, due } => {
                let due = whole_ms(due);
                self.unset.push((timer.clone(), due));
                self.timers.push((timer, due));
                self.set_timers();
            }
            // One that is left because there are too many is for a step that does not wait when it rings.
            Command::ClearTimer { .. } if self.rows() >= HARD_ROWS => {}
            Command::ClearTimer { timer, due } => {
                let due = whole_ms(due);
                self.txn.delete(timers::key(self.ctx.ws.id, self.base.run, &timer, due));
                let set = (timer, due);
                self.timers.retain(|known| *known != set);
                self.cleared.push(due);
            }
            Command::Respond(answer) => self.answer = Some(answer),
            Command::Finished(finished) => self.finished = Some(finished),
            Command::Abandon { path, attempt } => {
                let id = (path, attempt);
                self.open.remove(&id);
                self.queue.retain(|queued| *queued != id);
                self.send.retain(|sent| *sent != id);
                if self.calls.is_held(&id) {
                    // All that stand in line are abandoned; those of `on_failure` come later.
                    connections::forget(self.ctx, self.base.run);
                }
            }
            Command::CancelRun { run } => {
                let Ok(run) = run.parse() else { return Ok(()) };
                if self.rows() >= HARD_ROWS {
                    self.to_end.push(run);
                } else if let Some(workflow) = children::cancel(self.ctx, &mut self.txn, run).await? {
                    self.told.push((run, workflow, true));
                }
            }
            Command::Item(done) => self.item_ended(*done).await?,
            Command::Atomic { iterator, kept } => self.let_go(&iterator, kept)?,
        }
        Ok(())
    }

    /// Writes the rows of timers, as many as fit: one event may ask for more than a transaction takes. The others are
    /// for the next burst, and the run is not parked before.
    pub(super) fn set_timers(&mut self) {
        while self.rows() < TIMER_ROWS
            && let Some((timer, due)) = self.unset.pop()
        {
            // It may be over already.
            if self.timers.iter().any(|(known, at)| (known, at) == (&timer, &due)) {
                let key = timers::key(self.ctx.ws.id, self.base.run, &timer, due);
                self.txn.put(key, vec![tables::FORMAT]);
            }
        }
    }

    /// What became of an item is written beside its events; the state forgets it.
    pub(super) async fn item_ended(&mut self, done: ItemDone) -> Result<(), Refused> {
        let ItemDone { path, status, mut output, error } = done;
        if let Some(Output::Own(payload)) = &mut output {
            let limit = self.ctx.core.config.inline_payload_bytes;
            // One event may end many items: a page that is large already takes only small ones.
            let limit = if self.page.bytes() < PAGE_BYTES { limit } else { limit.min(LARGE_PAGE_OUTPUT) };
            self.blobs.extend(blobs::spill(self.ctx, payload, limit).await?);
        }
        let commits = self.items.get(&path).cloned().unwrap_or_default();
        // One that may be retried is still in the state; else the items inside it, failed ones too, have left with it.
        if self.state.step(&path).is_none() {
            let inside = self.items.range(path.clone()..).map(|(item, _)| item);
            let inside: Vec<_> = inside.take_while(|item| item.is_within(&path)).cloned().collect();
            inside.iter().for_each(|item| _ = self.items.remove(item));
        }
        self.page.item_ended(&Ended { path, status, output, error, commits })
    }
}

impl Note {
    fn payloads(&mut self) -> impl Iterator<Item = &mut Payload> {
        self.input.iter_mut().chain(&mut self.answer).chain(&mut self.logs)
    }
}
