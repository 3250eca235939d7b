//! A burst: a run goes forward in memory, over a transaction that sees its own writes, until it would touch the
//! outside or has gone far enough; then all its events and writes are committed at once.
//!
//! What is committed is in [`Base`]. A burst never changes it: after a conflict or a crash the burst runs again
//! from there, and comes to the same, because outcomes of code are kept in [`Calls`] and everything else follows
//! from the run's own clock, keys and seeds.
use crate::calls::{CallId, Calls};
use crate::children::{Begun, Family, Put};
use crate::core::Ctx;
use crate::feed::{EventPage, RunMoved};
use crate::id::RunId;
use crate::journal::{Note, NoteRef, Page, Shown, Switch};
use crate::registry::Compiled;
use crate::stats::add;
use crate::tables::items::{self, Ended};
use crate::tables::runs::{self, Claim, Frozen, Live, RunHead};
use crate::tables::{self, hooks, inbox, timers};
use crate::timers::whole_ms;
use crate::{api, blobs, children, connections, history, load, state, steps};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stepwell_store::limits::MAX_VALUE_BYTES;
use stepwell_store::{Key, Refused, Stamp, Txn};
use stepwell_workflow::machine::{
    self, Answer, Call, Command, Event, Execute, Failure, Finished, ItemDone, Output, Payload, RunCall,
    State, StepPath, Timer,
};

/// What is known of a run as of its last commit.
pub(crate) struct Base {
    pub run: RunId,
    pub flow: Arc<Compiled>,
    pub head: RunHead,
    pub state: State,
    /// Taken and not folded in yet.
    pub incoming: Vec<Event>,
    pub timers: Vec<(Timer, Timestamp)>,
    /// Those of them whose rows are still to be written.
    pub unset: Vec<(Timer, Timestamp)>,
    pub frozen: BTreeMap<StepPath, Frozen>,
    /// Attempts given by the machine whose end is not in the state.
    pub open: BTreeMap<CallId, Arc<Execute>>,
    /// Whether the head row and the snapshot are there.
    pub stored: bool,
    /// The own last commit, and when: as long as the head is unwritten since, it is as known here.
    pub head_at: Option<(Stamp, Duration)>,
    /// For a run that is not stored yet: the idempotency key that it takes.
    pub hook_key: Option<(Key, hooks::HookKey)>,
    /// Lowered when a burst did not fit into one transaction.
    pub step_limit: usize,
    /// The blob that holds the snapshot, when it is too large for a row.
    pub moved: Option<[u8; 32]>,
    /// What is in `incoming` begins another version of the workflow.
    pub switch: Option<Switch>,
    /// See [`Live`].
    pub items: BTreeMap<StepPath, Vec<u32>>,
    pub claims: Vec<Claim>,
}

/// What a burst came to.
pub(crate) enum Burst {
    /// There was nothing to do, and nothing was written.
    Nothing,
    Committed(Box<Committed>),
    /// The idempotency key was taken by this run; nothing was written.
    Duplicate(hooks::HookKey),
}

pub(crate) struct Committed {
    /// Outside calls that may be sent now.
    pub send: Vec<CallId>,
    pub finished: Option<Finished>,
    pub answer: Option<Answer>,
    /// There is more to do at once: the burst was cut short.
    pub more: bool,
}

/// Stamps are kept by the store for ten seconds; older ones only look like conflicts.
const TRUST_STAMPS_FOR: Duration = Duration::from_secs(5);
/// Room that a transaction keeps for the run's own rows, below the store's limits of 700 rows and 1 MB.
const HARD_ROWS: usize = 600;
/// Rows of timers leave room for what else an event asks for.
const TIMER_ROWS: usize = 500;
const HARD_BYTES: usize = 700 << 10;
/// Messages that are read at once.
const MESSAGES: usize = 100;
/// Record events share one row of the log with the pointer to their run.
const HARD_EVENT_BYTES: usize = MAX_VALUE_BYTES - (64 << 10);
/// A snapshot of a run with items is kept below this, as far as it can be.
const LIGHT_SNAPSHOT: usize = 16 << 10;
/// Of an item that takes many commits, the events of the first ones and of the last are shown.
const SHOWN_COMMITS: usize = 100;
/// A journal page and a row of the log stop growing here.
const PAGE_BYTES: usize = 256 << 10;
/// The largest output of an item that a page takes after that.
const LARGE_PAGE_OUTPUT: usize = 1 << 10;

struct Going<'r> {
    ctx: &'r Ctx,
    base: &'r Base,
    calls: &'r mut Calls,
    txn: Txn,
    /// Read once a burst.
    known: steps::records::Known,
    head: RunHead,
    state: State,
    timers: Vec<(Timer, Timestamp)>,
    unset: Vec<(Timer, Timestamp)>,
    frozen: BTreeMap<StepPath, Frozen>,
    open: BTreeMap<CallId, Arc<Execute>>,
    queue: VecDeque<CallId>,
    page: Page,
    moved: Vec<String>,
    items: BTreeMap<StepPath, Vec<u32>>,
    claims: Vec<Claim>,
    switch: Option<Switch>,
    events: EventPage,
    /// What the workflow keeps, where it is not as the run knows it: told before the next event.
    unread: Option<Payload>,
    /// Of what was to be folded in, the part that had to be left to the next burst.
    incoming: Vec<Event>,
    /// Timers that are not to fire any more.
    cleared: Vec<Timestamp>,
    /// Runs that it starts, and runs that find something in their inbox; true: they are to end.
    children: Vec<Put>,
    told: Vec<(RunId, bool)>,
    /// Runs that are to end as well, and are too many for one commit.
    to_end: Vec<RunId>,
    send: Vec<CallId>,
    /// The connections that this goes through, or whose other side has asked to be left alone.
    through: Vec<String>,
    blobs: Vec<[u8; 32]>,
    steps: usize,
    /// Steps, what came from outside, and turns of iterators.
    done: usize,
    began: Duration,
    full: bool,
    /// Something that came from outside had to be left to the next burst.
    late: bool,
    finished: Option<Finished>,
    answer: Option<Answer>,
}

/// Runs one burst and commits it. On success `base` is what is stored now; on any refusal it is as it was.
pub(crate) async fn burst(ctx: &Ctx, base: &mut Base, calls: &mut Calls) -> Result<Burst, Refused> {
    add(&ctx.core.stats.bursts, 1);
    calls.begin_burst();
    let mut going = Going {
        txn: Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard),
        known: steps::records::Known::default(),
        head: base.head.clone(),
        state: base.state.clone(),
        timers: base.timers.clone(),
        unset: base.unset.clone(),
        frozen: base.frozen.clone(),
        open: base.open.clone(),
        queue: base.open.keys().cloned().collect(),
        page: Page::default(),
        moved: Vec::new(),
        items: base.items.clone(),
        claims: base.claims.clone(),
        switch: base.switch.clone(),
        events: EventPage::default(),
        unread: None,
        incoming: Vec::new(),
        cleared: Vec::new(),
        children: Vec::new(),
        told: Vec::new(),
        to_end: Vec::new(),
        send: Vec::new(),
        through: Vec::new(),
        blobs: Vec::new(),
        steps: 0,
        done: 0,
        began: ctx.core.ports.clock.elapsed(),
        full: false,
        late: false,
        finished: None,
        answer: None,
        ctx,
        base,
        calls,
    };
    if let Some((key, own)) = &base.hook_key
        && let Some(value) = going.txn.get(key).await?
    {
        let taken: hooks::HookKey = tables::decode(key, &value)?;
        if !taken.is_over(own.at_ms, ctx.core.config.retention.hook_keys_for) {
            // A read may see what is not on disk yet; whoever is told of the first run must find it there.
            going.txn.validate().await?;
            return Ok(Burst::Duplicate(taken));
        }
    }
    match going.forward().await {
        Ok(()) if going.page.is_empty() && base.stored && base.unset.is_empty() => Ok(Burst::Nothing),
        Ok(()) => going.commit().await.map(|(next, committed)| {
            *base = next;
            Burst::Committed(Box::new(committed))
        }),
        Err(refused) if refused.is_conflict() => Err(refused),
        // A refusal that rests on reads which were not true at one moment is a conflict too.
        Err(refused) => Err(going.txn.validate().await.err().filter(Refused::is_conflict).unwrap_or(refused)),
    }
}

impl Going<'_> {
    async fn forward(&mut self) -> Result<(), Refused> {
        let clock = self.ctx.core.ports.clock.clone();
        let began = self.began;
        let limits = &self.ctx.core.config.burst;
        self.take_in().await?;
        loop {
            while self.finished.is_none() && !self.full {
                let Some(id) = self.queue.pop_front() else { break };
                self.step(id).await?;
                // Calls that are only looked at cost nothing: each is asked whether its turn has come.
                self.full |= !self.page.is_empty() && self.has_enough();
            }
            if self.finished.is_some() || self.full || !self.send.is_empty() || self.page.is_empty() {
                return Ok(());
            }
            // What is finished is committed in time, while code that takes longer runs on outside the transaction.
            let left = limits.time.saturating_sub(clock.elapsed() - began);
            if left.is_zero() || !self.open.keys().any(|id| self.calls.is_running(id)) {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(id) = self.calls.next_done() => {
                    if self.open.contains_key(&id) {
                        self.queue.push_back(id);
                    }
                }
                () = clock.sleep(left) => return Ok(()),
            }
        }
    }

    /// Whether it has come as far as one commit should.
    fn has_enough(&self) -> bool {
        let limits = &self.ctx.core.config.burst;
        self.steps >= limits.steps
            || self.done >= self.base.step_limit
            || self.rows() >= limits.keys
            || self.bytes() >= limits.bytes
            || self.page.bytes().max(self.events.bytes()) >= PAGE_BYTES
            || self.ctx.core.ports.clock.elapsed() - self.began >= limits.time
    }

    /// Rows that would be written so far, apart from the run's own.
    fn rows(&self) -> usize {
        self.txn.keys() + self.blobs.len()
    }

    /// What would be written so far.
    fn bytes(&self) -> usize {
        self.txn.bytes() + self.page.bytes() + self.events.bytes()
    }

    /// Folds in what came from outside the run: its start, what lies in the inbox, timers that are due.
    async fn take_in(&mut self) -> Result<(), Refused> {
        let (ws, run) = (self.ctx.ws.id, self.base.run);
        if self.base.stored {
            let key = runs::head_key(ws, run);
            let trusted = self.base.head_at.filter(|(_, when)| {
                self.ctx.core.ports.clock.elapsed().saturating_sub(*when) < TRUST_STAMPS_FOR
            });
            match trusted {
                Some((stamp, _)) => self.txn.rest_on(key.only(), stamp),
                None => {
                    let value = self.txn.get(&key).await?;
                    let value = value
                        .ok_or_else(|| Refused::Damaged(format!("the unfinished run `{key}` has no head")))?;
                    let head: RunHead = tables::decode(&key, &value)?;
                    if head.commits != self.base.head.commits {
                        return Err(Refused::Damaged(format!("`{key}` was written by a second driver")));
                    }
                    self.head.inbox = head.inbox;
                }
            }
        }
        self.read_state().await?;
        let base = self.base;
        for (place, event) in base.incoming.iter().enumerate() {
            if !self.has_room() {
                self.incoming = base.incoming[place..].to_vec();
                return Ok(());
            }
            self.done += 1;
            self.apply(event.clone(), NoteRef::default()).await?;
        }
        if self.head.inbox > 0 {
            self.take_messages().await?;
        }
        self.set_timers();
        self.full |= !self.unset.is_empty();
        let now = self.ctx.core.ports.clock.now();
        let due: Vec<_> = self.timers.iter().filter(|(_, due)| *due <= now).cloned().collect();
        for (timer, due) in due {
            // Once the run has ended, its end takes the others.
            if self.finished.is_some() || !self.has_room() {
                break;
            }
            let set = (timer, due);
            if !self.timers.contains(&set) {
                // What it was set for has come with another one.
                continue;
            }
            self.timers.retain(|known| *known != set);
            let (timer, due) = set;
            self.txn.delete(timers::key(ws, run, &timer, due));
            self.done += 1;
            self.apply(Event::TimerFired { timer, at: now }, NoteRef::default()).await?;
        }
        Ok(())
    }

    /// Folds in what lies in the inbox, as far as one commit takes it. Ends of other runs are large, and many may come
    /// at once.
    async fn take_messages(&mut self) -> Result<(), Refused> {
        let (ws, run) = (self.ctx.ws.id, self.base.run);
        let rows = self.txn.range(inbox::of_run(ws, run), MESSAGES, false).await?;
        let all = rows.len() < MESSAGES;
        for (key, value) in rows {
            if self.finished.is_some() || !self.has_room() {
                return Ok(());
            }
            let message: inbox::Message = tables::decode(&key, &value)?;
            if let Some(actions) = message.actions {
                if !self.page.is_empty() {
                    // Known before anything of its commit is applied, as whoever reads the journal knows it.
                    (self.full, self.late) = (true, true);
                    return Ok(());
                }
                let switch = Switch { version: self.head.version, actions };
                switch.apply(&mut self.state);
                self.switch = Some(switch);
            }
            self.txn.delete(key);
            let mut event = message.event;
            history::fill(self.ctx, &mut event).await?;
            self.done += 1;
            self.apply(event, NoteRef::default()).await?;
        }
        if all {
            self.head.inbox = 0;
        } else {
            (self.full, self.late) = (true, true);
        }
        Ok(())
    }

    /// Whether this burst takes in more of what came from outside. What it leaves begins the next one.
    fn has_room(&mut self) -> bool {
        let left = self.late || (self.done > 0 && self.has_enough());
        if left {
            (self.full, self.late) = (true, true);
        }
        !left
    }

    /// What the workflow keeps is read once a burst: all that is rendered in it sees the same, and the commit rests
    /// on it.
    async fn read_state(&mut self) -> Result<(), Refused> {
        if !self.base.flow.reads_state {
            return Ok(());
        }
        let now = state::read(self.ctx, &mut self.txn, &self.base.flow.name).await?;
        let known = self.state.kept.as_ref().and_then(|kept| kept.value()?.as_object());
        let same = known.map_or(now.is_empty(), |known| *known == now);
        self.unread = (!same).then(|| Payload::new(now.into()));
        Ok(())
    }

    /// Journals an event, folds it in, and notes what the machine asks for.
    async fn apply(&mut self, event: Event, note: NoteRef<'_>) -> Result<(), Refused> {
        self.tell_state().await?;
        self.fold(event, note).await
    }

    /// Lets the run know what was read.
    async fn tell_state(&mut self) -> Result<(), Refused> {
        match self.unread.take() {
            Some(values) => self.fold(Event::StateRead { values }, NoteRef::default()).await,
            None => Ok(()),
        }
    }

    async fn fold(&mut self, mut event: Event, note: NoteRef<'_>) -> Result<(), Refused> {
        let mark = self.page.mark();
        self.page.push(&event, &note)?;
        let limit = self.ctx.core.config.inline_payload_bytes;
        if self.page.bytes_since(mark) > limit {
            // Something in it is large: what is goes into blobs, before the transaction that names them.
            self.page.back_to(mark);
            let mut note = note.owned()?;
            for payload in event.payloads_mut().into_iter().chain(note.payloads()) {
                self.blobs.extend(blobs::spill(self.ctx, payload, limit / 4).await?);
            }
            self.page.push(&event, &note.by_ref())?;
        }
        if let Some(item) = event.path().and_then(StepPath::innermost_item) {
            let commits = self.items.entry(item).or_default();
            if commits.last() != Some(&self.head.commits) {
                // The last one has what the item comes to.
                commits.truncate(SHOWN_COMMITS - 1);
                commits.push(self.head.commits);
            }
        }
        let (flow, clock) = (&self.base.flow, &self.ctx.core.ports.clock);
        let fold = || machine::apply(&flow.graph, &mut self.state, &event);
        for command in self.ctx.core.lane.run(&flow.pace, || clock.elapsed(), fold).await {
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
                Command::ClearTimer { timer, due } => {
                    let due = whole_ms(due);
                    self.txn.delete(timers::key(self.ctx.ws.id, self.base.run, &timer, due));
                    let set = (timer, due);
                    self.timers.retain(|known| *known != set);
                    self.cleared.push(due);
                }
                Command::Respond(answer) => self.answer = Some(answer),
                Command::Finished(finished) => self.finished = Some(finished),
                Command::CancelRun { run } => {
                    let Ok(run) = run.parse() else { continue };
                    if self.rows() >= HARD_ROWS {
                        self.to_end.push(run);
                    } else if children::cancel(self.ctx, &mut self.txn, run).await? {
                        self.told.push((run, true));
                    }
                }
                Command::Item(done) => self.item_ended(*done).await?,
            }
        }
        Ok(())
    }

    /// Writes the rows of timers, as many as fit: one event may ask for more than a transaction takes. The others are
    /// for the next burst, and the run is not parked before.
    fn set_timers(&mut self) {
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
    async fn item_ended(&mut self, done: ItemDone) -> Result<(), Refused> {
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

    /// Makes one attempt, or looks what became of it.
    async fn step(&mut self, id: CallId) -> Result<(), Refused> {
        let Some(execute) = self.open.get(&id).cloned() else { return Ok(()) };
        match &execute.call {
            Call::Code(code) => {
                let Some(done) = self.calls.code(self.ctx, &id, &execute) else { return Ok(()) };
                let note = NoteRef {
                    input: Some(Shown::Json(&code.input.value)),
                    logs: &done.logs,
                    usage: done.usage.as_ref(),
                    action: Some(&code.action),
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
                let message = steps::mail::message(email, &execute);
                let (run, at_ms) = (self.base.run, self.ctx.now_ms());
                let caught =
                    steps::mail::catch(&mut self.txn, self.ctx.ws.id, run, &execute, message, at_ms)?;
                let note = NoteRef {
                    input: Some(Shown::Call(&execute.call)),
                    key: Some(&execute.key),
                    began_ms: Some(at_ms),
                    ..NoteRef::default()
                };
                self.done(&id, Ok(Payload::new(caught)), at_ms, note).await
            }
            Call::Http(_) | Call::Email(_) => self.outside_step(id, execute).await,
        }
    }

    async fn record_step(&mut self, id: &CallId, execute: &Execute) -> Result<(), Refused> {
        let began_ms = self.ctx.now_ms();
        let (before, events) = (self.txn.savepoint(), self.events.bytes());
        let (workflow, depth) = (self.head.workflow.as_str(), self.head.depth);
        let origin = steps::records::Writer { run: self.base.run, workflow, depth };
        let result =
            steps::records::execute(self.ctx, &mut self.txn, &mut self.known, execute, origin).await?;
        let mut result = match result {
            Ok(done) => {
                done.event.iter().try_for_each(|event| self.events.push(event))?;
                Ok(Payload::new(done.output))
            }
            Err(failure) => {
                self.txn.rollback_to(before);
                Err(failure)
            }
        };
        let fits =
            self.rows() <= HARD_ROWS && self.bytes() <= HARD_BYTES && self.events.bytes() <= HARD_EVENT_BYTES;
        if result.is_ok() && !fits {
            self.txn.rollback_to(before);
            self.events.back_to(events);
            if !self.page.is_empty() {
                // It starts the next burst, with a transaction of its own.
                self.queue.push_front(id.clone());
                self.full = true;
                return Ok(());
            }
            let message = format!(
                "the step writes more than fits one transaction ({HARD_ROWS} rows, {HARD_BYTES} bytes, of which its \
                 record events may have {HARD_EVENT_BYTES})"
            );
            result = Err(Failure::engine("too_big", message));
        }
        let note = NoteRef {
            input: Some(Shown::Call(&execute.call)),
            began_ms: Some(began_ms),
            ..NoteRef::default()
        };
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
        let result = match rendered {
            Ok(()) => {
                let flow = &self.base.flow.name;
                let kept = kept.unwrap_or_default();
                state::write(self.ctx, &mut self.txn, flow, self.base.run, &kept, call)?
            }
            Err(failure) => Err(failure),
        };
        if result.is_err() {
            self.txn.rollback_to(before);
        } else if self.rows() > HARD_ROWS || self.bytes() > HARD_BYTES {
            // It starts the next burst, with a transaction of its own: what is kept fits one.
            self.txn.rollback_to(before);
            self.queue.push_front(id.clone());
            self.full = true;
            return Ok(());
        }
        let note = NoteRef {
            input: Some(Shown::Call(&execute.call)),
            began_ms: Some(began_ms),
            ..NoteRef::default()
        };
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
        let fits = self.rows() <= HARD_ROWS && self.bytes() <= HARD_BYTES;
        if matches!(begun, Begun::Later) || (!fits && !self.page.is_empty()) {
            self.txn.rollback_to(before);
            self.queue.push_front(id.clone());
            self.full = true;
            return Ok(());
        }
        let note = NoteRef {
            input: Some(Shown::Call(&execute.call)),
            began_ms: Some(began_ms),
            ..NoteRef::default()
        };
        let (run, ended) = match begun {
            Begun::Run { run, put } => {
                self.children.extend(put);
                let output = Payload::new(serde_json::json!({ "run_id": run.to_string() }));
                (run, (!call.wait).then_some(Ok(output)))
            }
            Begun::Ended { run, result } => (run, Some(result)),
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

    /// Commits all of it, and says what is stored now.
    async fn commit(mut self) -> Result<(Base, Committed), Refused> {
        let (ws, run) = (self.ctx.ws.id, self.base.run);
        let now = self.ctx.core.ports.clock.now();
        self.settle_head(now.as_millisecond());
        let (mut moved, mut left) = (None, Vec::new());
        if let Some(finished) = &self.finished {
            if finished.status == machine::RunStatus::Cancelled {
                // Before the commit: what asked for it lies in the inbox until then, so no crash leaves them running.
                children::cancel_all(self.ctx, &std::mem::take(&mut self.to_end)).await?;
            }
            let parent = children::tell_parent(self.ctx, &mut self.txn, run, &self.head, finished).await?;
            self.told.extend(parent.map(|parent| (parent, false)));
        }
        if self.finished.is_some() {
            if self.base.flow.graph.has_items() {
                self.write_last().await?;
            } else {
                // What its snapshots alone named is claimed by this commit from here on.
                self.page.let_go(&std::mem::take(&mut self.claims))?;
            }
            self.open.clear();
            self.send.clear();
            self.frozen.clear();
            self.unset.clear();
            self.incoming.clear();
            for (timer, due) in std::mem::take(&mut self.timers) {
                let key = timers::key(ws, run, &timer, due);
                if self.rows() < HARD_ROWS { self.txn.delete(key) } else { left.push(key) }
            }
            if self.head.inbox > 0 {
                // What it did not come to hear goes with it.
                for (key, _) in self.txn.range(inbox::of_run(ws, run), usize::MAX, false).await? {
                    if self.rows() < HARD_ROWS { self.txn.delete(key) } else { left.push(key) }
                }
                self.head.inbox = 0;
            }
            if self.base.stored {
                self.txn.delete(runs::live_key(ws, run));
            }
        } else {
            moved = self.write_snapshot().await?;
        }
        if let Some(before) = self.base.moved
            && moved != self.base.moved
        {
            self.txn.delete(runs::blob_ref_key(ws, &before, run));
        }
        if let Some(page) = self.page.value(now.as_millisecond(), self.switch.as_ref())? {
            self.txn.put(runs::journal_key(ws, run, self.head.commits), page);
        }
        if let Some(page) = self.page.items_value() {
            self.txn.put(items::events_key(ws, run, self.head.commits), page);
        }
        let pointer = RunMoved { steps: std::mem::take(&mut self.moved), ..RunMoved::of(run, &self.head) };
        let queued: Vec<&RunMoved> = self.children.iter().map(Put::moved).collect();
        let row = self.events.row_with(now.as_millisecond(), Some(&pointer), &queued)?;
        self.txn.append(self.ctx.ws.log, row);
        self.head.commits += 1;
        self.txn.put(runs::head_key(ws, run), tables::encode(&self.head)?);
        for sha256 in &self.blobs {
            self.txn.put(runs::blob_ref_key(ws, sha256, run), vec![tables::FORMAT]);
        }
        if let Some((key, row)) = &self.base.hook_key {
            self.txn.put(key.clone(), tables::encode(row)?);
        }
        for connection in &self.through {
            if let Some((key, value)) = connections::remembered(self.ctx, connection)? {
                self.txn.put(key, value);
            }
        }
        let is_ready =
            |id: &CallId| !self.calls.is_running(id) && !self.send.contains(id) && !self.calls.is_held(id);
        let more = self.late || !self.unset.is_empty() || self.open.keys().any(is_ready);
        let stats = &self.ctx.core.stats;
        let keys = self.txn.keys() as u64;
        let stamp = self.txn.commit().await?;
        add(&stats.commits, 1);
        add(&stats.keys_written, keys);
        add(&stats.steps, self.steps as u64);
        self.calls.keep_only(&self.open);
        if self.finished.is_some() {
            connections::forget(self.ctx, run);
        }
        self.children.iter().for_each(|child| child.stored(self.ctx));
        for (run, ends) in &self.told {
            if *ends { self.ctx.wake_at_once(*run) } else { self.ctx.wake(*run) }
        }
        crate::timers::sweep(self.ctx, run, &left).await;
        if let Err(refused) = children::cancel_all(self.ctx, &self.to_end).await {
            tracing::warn!(%run, %refused, "runs that nobody waits for any more go on to their own end");
        }
        for due in self.cleared {
            // Others may be due at the same time.
            if !self.timers.iter().any(|(_, other)| *other == due) {
                self.ctx.core.timers.remove(due.as_millisecond(), self.ctx.ws.id, run);
            }
        }
        let next = Base {
            run,
            flow: self.base.flow.clone(),
            head: self.head,
            state: self.state,
            incoming: self.incoming,
            timers: self.timers,
            unset: self.unset,
            frozen: self.frozen,
            open: self.open,
            stored: true,
            head_at: Some((stamp, self.ctx.core.ports.clock.elapsed())),
            hook_key: None,
            step_limit: usize::MAX,
            moved,
            switch: None,
            items: self.items,
            claims: self.claims,
        };
        Ok((next, Committed { send: self.send, finished: self.finished, answer: self.answer, more }))
    }

    fn settle_head(&mut self, now_ms: i64) {
        self.head.status = api::run_status(self.state.status);
        if !self.open.is_empty() && self.open.keys().all(|id| self.calls.is_held(id)) {
            self.head.status = api::RunStatus::Waiting;
        }
        if let (Some(start), None) = (&self.state.start, self.head.started_ms) {
            // Not the time of the commit: the steps of the first burst were done before it.
            self.head.started_ms = Some(start.at.as_millisecond());
        }
        if let Some(finished) = &self.finished {
            self.head.status = api::run_status(finished.status);
            self.head.ended_ms = Some(now_ms);
            self.head.error = finished.error.as_ref().map(api::brief_failure);
        }
    }

    /// The snapshot that the next burst starts from, if this process does not make it.
    async fn write_snapshot(&mut self) -> Result<Option<[u8; 32]>, Refused> {
        let parked = self.open.is_empty() && self.unset.is_empty() && self.incoming.is_empty();
        let key = runs::live_key(self.ctx.ws.id, self.base.run);
        let incoming = self.incoming.clone();
        self.snapshot(key, Live { parked, incoming, ..Live::default() }).await
    }

    /// The last snapshot of a run with items: a retry, and whoever looks at the run, start from it.
    async fn write_last(&mut self) -> Result<(), Refused> {
        let answer = self.answer.clone();
        let key = items::last_key(self.ctx.ws.id, self.base.run);
        self.snapshot(key, Live { answer, ..Live::default() }).await.map(|_| ())
    }

    async fn snapshot(&mut self, key: Key, with: Live) -> Result<Option<[u8; 32]>, Refused> {
        let mut live = Live {
            state: std::mem::take(&mut self.state),
            timers: std::mem::take(&mut self.timers),
            unset: std::mem::take(&mut self.unset),
            frozen: std::mem::take(&mut self.frozen),
            items: std::mem::take(&mut self.items),
            claims: std::mem::take(&mut self.claims),
            ..with
        };
        // Of an iterator whose failure was dealt with nothing is left to be retried.
        live.items.retain(|item, _| live.state.step(item).is_some());
        if !live.claims.is_empty() {
            let named = live.state.payloads_mut().filter_map(|payload| payload.reference().cloned());
            let named: BTreeSet<String> = named.map(|blob| blob.sha256).collect();
            let claims = std::mem::take(&mut live.claims).into_iter();
            let (kept, gone) = claims.partition(|claim| named.contains(&claim.blob.sha256));
            live.claims = kept;
            // What has left the state is claimed by this commit from here on, and not written again.
            self.page.let_go(&gone)?;
        }
        let mut value = tables::encode(&live)?;
        let graph = &self.base.flow.graph;
        if value.len() > LIGHT_SNAPSHOT && (graph.has_items() || graph.has_pages()) {
            // It is written many times: what does not change is written once, and named.
            let before = self.blobs.len();
            for payload in live.state.payloads_mut().filter(|payload| payload.reference().is_none()) {
                self.blobs.extend(blobs::spill(self.ctx, payload, LIGHT_SNAPSHOT / 4).await?);
                let claim = payload.reference().cloned().map(|blob| Claim { blob });
                live.claims.extend(claim.filter(|claim| !live.claims.contains(claim)));
            }
            if self.blobs.len() > before {
                value = tables::encode(&live)?;
            }
        }
        let (value, moved) = load::snapshot_value(self.ctx, value).await?;
        self.blobs.extend(moved);
        self.txn.put(key, value);
        self.state = live.state;
        self.timers = live.timers;
        self.unset = live.unset;
        self.frozen = live.frozen;
        self.items = live.items;
        self.claims = live.claims;
        Ok(moved)
    }
}

/// The key that goes out with a call: the author's, or the step's own.
fn outside_key<'a>(execute: &'a Execute, frozen: &'a Frozen) -> &'a str {
    match &frozen.call {
        Call::Http(http) => &http.idempotency_key,
        _ => &execute.key,
    }
}

impl Note {
    fn payloads(&mut self) -> impl Iterator<Item = &mut Payload> {
        self.input.iter_mut().chain(&mut self.answer).chain(&mut self.logs)
    }
}
