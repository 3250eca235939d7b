//! A burst: a run goes forward in memory, over a transaction that sees its own writes, until it would touch the
//! outside or has gone far enough; then all its events and writes are committed at once.
//!
//! What is committed is in [`Base`]. A burst never changes it: after a conflict or a crash the burst runs again
//! from there, and comes to the same, because outcomes of code are kept in [`Calls`] and everything else follows
//! from the run's own clock, keys and seeds.
mod atomic;
mod attempt;
mod commit;
mod fold;
mod place;

use crate::calls::{CallId, Calls};
use crate::children::{Begun, Family, Put};
use crate::concurrency::{self, Told, Wanted};
use crate::core::{Ctx, TRUST_STAMPS_FOR};
use crate::feed::{EventPage, RunMoved};
use crate::id::RunId;
use crate::journal::{Note, NoteRef, Page, Shown, Switch};
use crate::registry::Compiled;
use crate::schedule::Bell;
use crate::stats::add;
use crate::tables::items::{self, Ended};
use crate::tables::runs::{self, Claim, Frozen, Live, RunHead};
use crate::tables::{self, hooks, inbox, timers};
use crate::timers::whole_ms;
use crate::{api, blobs, children, connections, history, load, state, steps, wakes};
use jiff::Timestamp;
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stepwell_store::limits::MAX_VALUE_BYTES;
use stepwell_store::{Key, Refused, Stamp, Txn};
use stepwell_workflow::machine::{
    self, Answer, Call, Command, Event, Execute, Failure, Finished, ItemDone, Output, Payload, RunCall,
    State, StepPath, StepStatus, Timer,
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
    /// For a run that is not stored yet: the place that it asks for.
    pub wanted: Option<Wanted>,
}

/// What a burst came to.
pub(crate) enum Burst {
    /// There was nothing to do, and nothing was written.
    Nothing,
    Committed(Box<Committed>),
    /// The idempotency key was taken by this run; nothing was written.
    Duplicate(hooks::HookKey),
    /// The place that a new run asks for is taken; nothing was written.
    Stands,
    /// A person has the run go on with another version of its workflow: it is to be read again.
    Switched,
}

pub(crate) struct Committed {
    /// Outside calls that may be sent now.
    pub send: Vec<CallId>,
    pub finished: Option<Finished>,
    pub answer: Option<Answer>,
    /// There is more to do at once: the burst was cut short.
    pub more: bool,
}

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
    /// Rung when something comes from outside.
    bell: &'r Bell,
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
    /// The iterator whose items are to be committed together, while it is under way.
    held: Option<atomic::Held>,
    page: Page,
    moved: Vec<String>,
    items: BTreeMap<StepPath, Vec<u32>>,
    claims: Vec<Claim>,
    switch: Option<Switch>,
    events: EventPage,
    /// What the workflow keeps, where it is not as the run knows it: told before the next event.
    unread: Option<Payload>,
    /// From the first step on that writes to that.
    writing: Option<state::Writing<'r>>,
    /// Of what was to be folded in, the part that had to be left to the next burst.
    incoming: Vec<Event>,
    /// Timers that are not to fire any more.
    cleared: Vec<Timestamp>,
    /// Runs that it starts, and runs that find something in their inbox; true: they are to end.
    children: Vec<Put>,
    told: Vec<(RunId, String, bool)>,
    /// Runs of the own workflow that get its place, or had to give one.
    others: Vec<Told>,
    /// It stands in line for its place.
    stands: bool,
    /// Its workflow is another version now.
    switched: bool,
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
    given_up: bool,
    /// Something that came from outside had to be left to the next burst.
    late: bool,
    finished: Option<Finished>,
    answer: Option<Answer>,
}

/// Runs one burst and commits it. On success `base` is what is stored now; on any refusal it is as it was, and so it is
/// where nothing came of it, because the run was cancelled while the burst waited: that is to be made again.
pub(crate) async fn burst(
    ctx: &Ctx,
    base: &mut Base,
    calls: &mut Calls,
    bell: &Bell,
) -> Result<Option<Burst>, Refused> {
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
        queue: atomic::in_turn(base),
        held: None,
        page: Page::default(),
        moved: Vec::new(),
        items: base.items.clone(),
        claims: base.claims.clone(),
        switch: base.switch.clone(),
        events: EventPage::default(),
        unread: None,
        writing: None,
        incoming: Vec::new(),
        cleared: Vec::new(),
        children: Vec::new(),
        told: Vec::new(),
        others: Vec::new(),
        stands: false,
        switched: false,
        to_end: Vec::new(),
        send: Vec::new(),
        through: Vec::new(),
        blobs: Vec::new(),
        steps: 0,
        done: 0,
        began: ctx.core.ports.clock.elapsed(),
        full: false,
        given_up: false,
        late: false,
        finished: None,
        answer: None,
        ctx,
        base,
        calls,
        bell,
    };
    if let Some((key, own)) = &base.hook_key
        && let Some(value) = going.txn.get(key).await?
    {
        let taken: hooks::HookKey = tables::decode(key, &value)?;
        if !taken.is_over(own.at_ms, ctx.core.config.retention.hook_keys_for) {
            // A read may see what is not on disk yet; whoever is told of the first run must find it there.
            going.txn.validate().await?;
            return Ok(Some(Burst::Duplicate(taken)));
        }
    }
    if !going.takes_its_place().await? {
        return Ok(Some(Burst::Stands));
    }
    match going.forward().await {
        Ok(()) if going.given_up => Ok(None),
        Ok(()) if going.switched => Ok(Some(Burst::Switched)),
        Ok(()) if going.stands => Ok(Some(Burst::Nothing)),
        Ok(()) if going.page.is_empty() && base.stored && base.unset.is_empty() => Ok(Some(Burst::Nothing)),
        Ok(()) => going.commit().await.map(|(next, committed)| {
            *base = next;
            Some(Burst::Committed(Box::new(committed)))
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
        if self.stands || self.switched {
            return Ok(());
        }
        loop {
            while self.finished.is_none() && !self.full {
                let Some(id) = self.next_call() else { break };
                self.step(id).await?;
                // Calls that are only looked at cost nothing: each is asked whether its turn has come.
                self.full |= self.held.is_none() && !self.page.is_empty() && self.has_enough();
            }
            if self.held.is_some() && self.finished.is_none() {
                self.wait_for_held().await?;
                if self.given_up {
                    return Ok(());
                }
                continue;
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
                    if head.version != self.base.head.version {
                        self.switched = true;
                        return Ok(());
                    }
                    self.head.inbox = head.inbox;
                    self.head.place = head.place;
                }
            }
        }
        if self.base.stored && self.head.waits_for_its_place() && !self.goes_without_its_place().await? {
            return Ok(());
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
            if self.state.step(&timer.path).is_none_or(|step| step.status != StepStatus::Waiting) {
                continue;
            }
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
                let switch = Switch { version: self.head.version, actions, links: None, settings: None };
                switch.apply(&mut self.state);
                self.switch = Some(switch);
            }
            self.txn.delete(key);
            let mut event = message.event;
            history::fill(self.ctx, &mut event).await?;
            self.done += 1;
            let late = matches!(&event, Event::InputGiven { path, .. } if !self.awaits(path));
            self.apply(event, NoteRef { late, ..NoteRef::default() }).await?;
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
        let states = &self.ctx.ws.states;
        let now = states.get(self.ctx, &mut self.txn, &self.base.flow.name).await?;
        let known = self.state.kept.as_ref().and_then(Payload::value);
        let same = match known {
            Some(known) => now.value() == Some(known),
            None => now.value().and_then(|kept| kept.as_object()).is_none_or(Map::is_empty),
        };
        self.unread = (!same).then_some(now);
        Ok(())
    }

    /// Journals an event, folds it in, and notes what the machine asks for.
    async fn apply(&mut self, event: Event, note: NoteRef<'_>) -> Result<(), Refused> {
        self.tell_state().await?;
        self.fold(event, note).await
    }
}
