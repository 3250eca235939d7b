//! One attempt of a step within a burst, by what kind of call it is.
use super::*;

impl Going<'_> {
    /// Makes one attempt, or looks what became of it.
    pub(super) async fn step(&mut self, id: CallId) -> Result<(), Refused> {
        let Some(execute) = self.open.get(&id).cloned() else { return Ok(()) };
        match &execute.call {
            Call::Code(code) => {
                let Some(done) = self.calls.code(self.ctx, &id, &execute) else { return Ok(()) };
                let semantics = done.usage.as_ref().and_then(|_| self.other_semantics());
                let note = NoteRef {
                    input: Some(Shown::Json(&code.input.value)),
                    logs: &done.logs,
                    usage: done.usage.as_ref(),
                    action: Some(&code.action),
                    semantics,
                    began_ms: Some(done.began_ms),
                    ..NoteRef::default()
                };
                if let Some(usage) = &done.usage {
                    self.head.fuel = self.head.fuel.saturating_add(usage.fuel.unwrap_or(0));
                    self.head.peak_memory_bytes = self.head.peak_memory_bytes.max(usage.peak_memory_bytes);
                }
                self.done(&id, done.result.clone(), done.ended_ms, note).await
            }
            Call::Search(_)
            | Call::Create(_)
            | Call::Update(_)
            | Call::Upsert(_)
            | Call::Delete(_)
            | Call::List(_)
            | Call::Item(_) => self.record_step(&id, &execute).await,
            Call::SetState(_) => self.state_step(&id, execute).await,
            Call::Run(call) => self.run_step(&id, &execute, call).await,
            Call::Input(_) => {
                // From this commit on it can be given.
                let at = self.ctx.core.ports.clock.now();
                let note = NoteRef { input: Some(Shown::Call(&execute.call)), ..NoteRef::default() };
                let (path, attempt) = id.clone();
                self.apply(Event::AttemptStarted { path, attempt, run: None, at }, note).await?;
                self.open.remove(&id);
                self.steps += 1;
                self.done += 1;
                Ok(())
            }
            Call::Email(email) if self.ctx.core.ports.mail.is_none() => {
                let (run, at_ms) = (self.base.run, self.ctx.now_ms());
                let caught = match steps::mail::message(email, &execute) {
                    Ok(message) => {
                        let ws = self.ctx.ws.id;
                        Ok(steps::mail::catch(&mut self.txn, ws, run, &execute, message, at_ms)?)
                    }
                    Err(failure) => Err(failure),
                };
                let note = NoteRef {
                    input: Some(Shown::Call(&execute.call)),
                    key: Some(&execute.key),
                    began_ms: Some(at_ms),
                    ..NoteRef::default()
                };
                self.done(&id, caught.map(Payload::new), at_ms, note).await
            }
            Call::Http(_) | Call::Email(_) => self.outside_step(id, execute).await,
        }
    }

    /// Whether one transaction takes all that there is so far.
    pub(super) fn fits(&self) -> bool {
        self.rows() <= HARD_ROWS && self.bytes() <= HARD_BYTES
    }

    /// An attempt that was undone starts the next burst, with a transaction of its own.
    fn put_back(&mut self, id: &CallId) {
        self.queue.push_front(id.clone());
        self.full = true;
    }

    /// What a step that was done here and now shows of its attempt.
    fn note_of(execute: &Execute, began_ms: i64) -> NoteRef<'_> {
        NoteRef { input: Some(Shown::Call(&execute.call)), began_ms: Some(began_ms), ..NoteRef::default() }
    }

    async fn record_step(&mut self, id: &CallId, execute: &Execute) -> Result<(), Refused> {
        let began_ms = self.ctx.now_ms();
        let begins = self.hold(id);
        if begins == atomic::Begins::Later {
            self.put_back(id);
            return Ok(());
        }
        let (before, events) = (self.txn.savepoint(), self.events.bytes());
        let (workflow, depth) = (self.head.workflow.as_str(), self.head.depth);
        let origin = steps::records::Writer { run: self.base.run, workflow, depth };
        let result =
            steps::records::execute(self.ctx, &mut self.txn, &mut self.known, execute, origin).await?;
        let mut result = match result {
            Ok(done) => {
                if let Some(event) = &done.event {
                    self.events.push(event);
                }
                Ok(Payload::new(done.output))
            }
            Err(failure) => {
                self.txn.rollback_to(before);
                Err(failure)
            }
        };
        let fits = self.fits() && self.events.bytes() <= HARD_EVENT_BYTES;
        if result.is_ok()
            && let Some(failure) = self.too_big_together(begins, fits)
        {
            self.txn.rollback_to(before);
            self.events.back_to(events);
            result = Err(failure);
        } else if result.is_ok() && !fits {
            self.txn.rollback_to(before);
            self.events.back_to(events);
            if !self.page.is_empty() {
                self.put_back(id);
                return Ok(());
            }
            let message = format!(
                "the step writes more than fits one transaction ({HARD_ROWS} rows, {HARD_BYTES} bytes, of which its \
                 record events may have {HARD_EVENT_BYTES})"
            );
            result = Err(Failure::engine("too_big", message));
        }
        let note = Self::note_of(execute, began_ms);
        let now_ms = self.ctx.now_ms();
        if execute.call.is_of_iterator() {
            // The run's clock goes with it: a burst that is made again has the same time.
            let at_ms = self.calls.turn_at(now_ms);
            return self.done(id, result, at_ms, NoteRef::default()).await;
        }
        self.done(id, result, now_ms, note).await
    }

    /// What the workflow keeps is written with the step's end. The call is made again: it counts on what is kept now,
    /// which an earlier burst, or a step beside it, did not know.
    async fn state_step(&mut self, id: &CallId, mut execute: Arc<Execute>) -> Result<(), Refused> {
        let began_ms = self.ctx.now_ms();
        let mut rendered = Ok(());
        self.tell_state().await?;
        match machine::call_now(&self.base.flow.graph, &mut self.state, &id.0) {
            Some(Ok(now)) => execute = Arc::new(now),
            Some(Err(failure)) => rendered = Err(failure),
            None => return Ok(()),
        }
        let Call::SetState(call) = &execute.call else { return Ok(()) };
        let kept = self.state.kept.as_ref().and_then(|kept| kept.value()?.as_object()).cloned();
        let before = self.txn.savepoint();
        let flow = &self.base.flow.name;
        self.writing.get_or_insert_with(|| self.ctx.ws.states.writing(flow));
        let result = match rendered {
            Ok(()) => {
                let kept = kept.unwrap_or_default();
                state::write(self.ctx, &mut self.txn, flow, self.base.run, &kept, call)?
            }
            Err(failure) => Err(failure),
        };
        if result.is_err() {
            self.txn.rollback_to(before);
        } else if !self.fits() {
            // What is kept fits a transaction of its own.
            self.txn.rollback_to(before);
            self.put_back(id);
            return Ok(());
        }
        let note = Self::note_of(&execute, began_ms);
        let output = call.values.clone();
        let result = result.map(|()| Payload::new(output.into()));
        self.done(id, result, self.ctx.now_ms(), note).await
    }

    /// A run of another workflow comes into being with this commit.
    async fn run_step(&mut self, id: &CallId, execute: &Execute, call: &RunCall) -> Result<(), Refused> {
        let began_ms = self.ctx.now_ms();
        let before = self.txn.savepoint();
        let family = Family {
            run: self.base.run,
            head: &self.head,
            now: self.state.clock,
            clean: self.page.is_empty(),
        };
        let begun = children::begin(self.ctx, &mut self.txn, call, execute, family).await?;
        if matches!(begun, Begun::Later) || (!self.fits() && !self.page.is_empty()) {
            self.txn.rollback_to(before);
            self.put_back(id);
            return Ok(());
        }
        let note = Self::note_of(execute, began_ms);
        let (run, ended) = match begun {
            Begun::Run { run, put } => {
                self.children.extend(put);
                let output = Payload::new(serde_json::json!({ "run_id": run.to_string() }));
                (run, (!call.wait).then_some(Ok(output)))
            }
            Begun::Ended { run, result } => (run, Some(result)),
            Begun::Skipped { run, put, result } => {
                self.children.push(put);
                (run, Some(result))
            }
            Begun::Failed(failure) => return self.done(id, Err(failure), self.ctx.now_ms(), note).await,
            Begun::Later => return Ok(()),
        };
        let at = self.ctx.core.ports.clock.now();
        let (path, attempt) = id.clone();
        self.apply(Event::AttemptStarted { path, attempt, run: Some(run.to_string()), at }, note).await?;
        if let Some(result) = ended {
            return self.done(id, result, self.ctx.now_ms(), NoteRef::default()).await;
        }
        self.open.remove(id);
        self.steps += 1;
        self.done += 1;
        Ok(())
    }

    /// A call to the outside: what it sends is committed before it is sent, and its answer starts a later burst.
    async fn outside_step(&mut self, id: CallId, execute: Arc<Execute>) -> Result<(), Refused> {
        if let Some(done) = self.calls.outside_done(&id) {
            let note = NoteRef { key: Some(&done.key), began_ms: Some(done.began_ms), ..NoteRef::default() };
            if let Call::Http(http) = &execute.call
                && let Some(connection) = http.connection.as_ref().filter(|_| done.held)
                && !self.through.contains(connection)
            {
                self.through.push(connection.clone());
            }
            self.done(&id, done.result.clone(), done.ended_ms, note).await?;
            // One that went well is not sent again: what the step asks for next is the next page.
            let well = done.result.is_ok();
            if well || self.state.step(&id.0).is_none_or(|step| step.status.is_final()) {
                self.frozen.remove(&id.0);
            }
            return Ok(());
        }
        if self.calls.is_running(&id) {
            return Ok(());
        }
        let frozen = self.frozen.get(&id.0).filter(|frozen| frozen.generation == execute.generation);
        let frozen = frozen
            .cloned()
            .unwrap_or_else(|| Frozen { generation: execute.generation, call: execute.call.clone() });
        if let Call::Http(http) = &frozen.call
            && let Some(connection) = &http.connection
        {
            // To wait is no attempt, and nothing that anybody has to know after a crash.
            if !self.calls.may_send(self.ctx, self.base.run, &id, connection) {
                return Ok(());
            }
            if !self.through.contains(connection) {
                self.through.push(connection.clone());
            }
        }
        let event = Event::AttemptStarted {
            path: id.0.clone(),
            attempt: id.1,
            run: None,
            at: self.ctx.core.ports.clock.now(),
        };
        let key = outside_key(&execute, &frozen);
        let note = NoteRef { input: Some(Shown::Call(&frozen.call)), key: Some(key), ..NoteRef::default() };
        self.apply(event, note).await?;
        // A retry sends what the first attempt sent, whatever a template would give now.
        let mut resent = Arc::unwrap_or_clone(execute);
        resent.call.clone_from(&frozen.call);
        self.open.insert(id.clone(), Arc::new(resent));
        self.frozen.insert(id.0.clone(), frozen);
        self.send.push(id);
        self.steps += 1;
        self.done += 1;
        Ok(())
    }

    /// An attempt has ended.
    async fn done(
        &mut self,
        id: &CallId,
        result: Result<Payload, Failure>,
        at_ms: i64,
        note: NoteRef<'_>,
    ) -> Result<(), Refused> {
        self.done += 1;
        if self.open.remove(id).is_some_and(|execute| !execute.call.is_of_iterator()) {
            self.steps += 1;
            self.head.steps_done += 1;
            self.moved.push(id.0.as_str().to_owned());
        }
        let at = runs::timestamp(at_ms);
        let result = result.map_err(steps::capped);
        let event = Event::StepDone { path: id.0.clone(), attempt: id.1, result, at };
        self.apply(event, note).await
    }
}

impl<'r> Going<'r> {
    /// What the outcome of a code step depends on, if it is not what the run's head says. The first one decides that.
    fn other_semantics(&mut self) -> Option<&'r str> {
        let ctx: &'r Ctx = self.ctx;
        let now = ctx.core.ports.code.semantics();
        match &self.head.semantics {
            Some(known) => (known != now).then_some(now),
            // Code that ran before this was kept is not said to have run under it.
            None if self.head.fuel > 0 => Some(now).filter(|now| !now.is_empty()),
            None => {
                self.head.semantics = Some(now.to_owned()).filter(|now| !now.is_empty());
                None
            }
        }
    }
}

/// The key that goes out with a call: the author's, or the step's own.
fn outside_key<'a>(execute: &'a Execute, frozen: &'a Frozen) -> &'a str {
    match &frozen.call {
        Call::Http(http) => &http.idempotency_key,
        _ => &execute.key,
    }
}
