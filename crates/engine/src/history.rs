//! A run's history: its journal folded through the same machine that ran it, with what the notes say of each step.
use crate::api::{
    AttemptDetail, AttemptOutcome, FailureDetail, ItemCounts, Payload as Shown, PayloadExpired, RunDetail,
    StepDetail, StepStatus,
};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::hooks::answer::Caller;
use crate::id::RunId;
use crate::journal::{self, Commit, Entry, Note};
use crate::registry::Compiled;
use crate::tables::runs::{self, RunHead, timestamp};
use crate::waiters::Ended;
use crate::{abandon, blobs, concurrency, items, load, wakes};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use stepwell_store::Refused;
use stepwell_workflow::machine::{
    self, Answer, Command, Event, Finished, Output, Payload, Start, State, StepPath, TimerKind,
};
use stepwell_workflow::model::Step;

/// A journal, folded.
pub(crate) struct Folded {
    pub state: State,
    pub finished: Option<Finished>,
    pub answer: Option<Answer>,
    pub commits: Vec<Commit>,
    /// What a run was to begin with that ended before it began.
    pub unbegun: Option<Box<Start>>,
    /// Of a run with items, whose state was not folded but read.
    pub read: Option<runs::Live>,
}

/// Reads the journal of a run.
pub(crate) async fn commits(ctx: &Ctx, run: RunId) -> Result<Vec<Commit>, Refused> {
    let keys = runs::journal(ctx.ws.id, run);
    let rows = stepwell_store::all_rows(&*ctx.core.ports.store, ctx.ws.shard, keys).await?;
    rows.iter().map(|(key, value)| journal::read(key, value)).collect()
}

/// Reads the journal of a run and folds it; values that were moved into blobs are put in.
pub(crate) async fn fold(ctx: &Ctx, run: RunId, flow: &Compiled) -> Result<Folded, EngineError> {
    if flow.graph.has_items()
        && let Some(folded) = read(ctx, run, flow).await?
    {
        return Ok(folded);
    }
    let mut commits = commits(ctx, run).await?;
    let mut folded = Folded {
        state: State::new(),
        finished: None,
        answer: None,
        commits: Vec::new(),
        unbegun: None,
        read: None,
    };
    let mut flow = Flow::Given(flow);
    for commit in &mut commits {
        if commit.expired {
            continue;
        }
        if let Some(switch) = &commit.switch {
            flow = Flow::Own(ctx.ws.registry.flow(ctx, &flow.get().name, switch.version).await?);
            switch.apply(&mut folded.state);
        }
        for entry in &mut commit.entries {
            fill(ctx, &mut entry.event).await?;
            if commit.unbegun {
                folded.unbegun = unbegun(&entry.event).or(folded.unbegun);
                continue;
            }
            if let Event::Started(start) = &entry.event
                && start.run.version != u64::from(flow.get().version)
            {
                // A retry went over to a newer version later on.
                let version = u32::try_from(start.run.version).unwrap_or_default();
                flow = Flow::Own(ctx.ws.registry.flow(ctx, &flow.get().name, version).await?);
            }
            for command in machine::apply(&flow.get().graph, &mut folded.state, &entry.event) {
                match command {
                    Command::Finished(finished) => folded.finished = Some(finished),
                    Command::Respond(answer) => folded.answer = Some(answer),
                    Command::Execute(_)
                    | Command::SetTimer { .. }
                    | Command::ClearTimer { .. }
                    | Command::Abandon { .. }
                    | Command::CancelRun { .. }
                    | Command::Item(_)
                    | Command::Atomic { .. } => {}
                }
            }
        }
    }
    folded.commits = commits;
    Ok(folded)
}

fn unbegun(event: &Event) -> Option<Box<Start>> {
    match event {
        Event::Started(start) => Some(start.clone()),
        _ => None,
    }
}

/// The events of items are not folded again: the state of such a run is read as it was written last. Nothing when its
/// snapshot has gone with its payloads, or with a driver that could not read it.
async fn read(ctx: &Ctx, run: RunId, flow: &Compiled) -> Result<Option<Folded>, EngineError> {
    let mut live = load::live(ctx, run).await?;
    if live.is_none() {
        live = load::last(ctx, run).await?;
    }
    let Some(mut live) = live else { return Ok(None) };
    let state = std::mem::take(&mut live.state);
    let finished = machine::ended(&flow.graph, &state);
    let mut commits = commits(ctx, run).await?;
    // What a workflow keeps is read anew in many commits, and only folding has a use for it.
    let unused = |entry: &Entry| matches!(entry.event, Event::StateRead { .. });
    commits.iter_mut().for_each(|commit| commit.entries.retain(|entry| !unused(entry)));
    for entry in commits.iter_mut().flat_map(|commit| &mut commit.entries) {
        fill(ctx, &mut entry.event).await?;
    }
    let answer = live.answer.take();
    Ok(Some(Folded { state, finished, answer, commits, unbegun: None, read: Some(live) }))
}

enum Flow<'a> {
    Given(&'a Compiled),
    Own(Arc<Compiled>),
}

impl Flow<'_> {
    fn get(&self) -> &Compiled {
        match self {
            Flow::Given(flow) => flow,
            Flow::Own(flow) => flow,
        }
    }
}

pub(crate) async fn fill(ctx: &Ctx, event: &mut Event) -> Result<(), Refused> {
    for payload in event.payloads_mut() {
        blobs::fill_one(ctx, payload).await?;
    }
    Ok(())
}

/// How a run has ended, told again; `None` while it goes on when the time is over.
pub(crate) async fn wait_for_end(
    ctx: &Ctx,
    run: RunId,
    caller: &Caller<'_>,
) -> Result<Option<Arc<Ended>>, EngineError> {
    // Listening comes first, so that an end between the look and the wait is heard.
    let seen = ctx.ws.waiters.listen(run);
    let head = found(run, load::head(ctx, run).await?)?;
    if !head.status.ended() {
        return Ok(caller.hears(ctx, seen).await);
    }
    let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
    let folded = fold(ctx, run, &flow).await?;
    match folded.finished {
        Some(mut finished) => {
            if finished.status == machine::RunStatus::Cancelled {
                // Why is nothing that its journal knows.
                finished.error = head.error.as_ref().map(abandon::failure);
            }
            Ok(Some(Arc::new(Ended { finished, answer: folded.answer })))
        }
        None if head.payloads_expired => Err(expired(run)),
        // It could not be driven to its end, or did not begin, so its journal has none.
        None => match abandon::finished(&head) {
            Some(finished) => Ok(Some(Arc::new(Ended { finished, answer: None }))),
            None => Err(expired(run)),
        },
    }
}

pub(crate) fn found(run: RunId, head: Option<RunHead>) -> Result<RunHead, EngineError> {
    head.ok_or_else(|| EngineError::not_found("unknown_run", format!("there is no run {run}")))
}

pub(crate) fn expired(run: RunId) -> EngineError {
    let message = format!("the payloads of run {run} were removed by retention");
    EngineError::new(crate::ErrorKind::Gone, "payload_expired", message)
}

/// What a run began with, as long as that is kept.
pub(crate) async fn start(ctx: &Ctx, run: RunId) -> Result<Option<Box<Start>>, EngineError> {
    let of = |event: Event| match event {
        Event::Started(start) => Some(start),
        _ => None,
    };
    let first = commits(ctx, run).await?.into_iter().next();
    let expired = first.as_ref().is_some_and(|commit| commit.expired);
    let started = first.and_then(|commit| commit.entries.into_iter().find_map(|entry| of(entry.event)));
    match started {
        Some(start) => Ok((!expired).then_some(start)),
        None => Ok(load::live(ctx, run).await?.and_then(|live| live.incoming.into_iter().find_map(of))),
    }
}

/// Everything that is kept of a run.
pub(crate) async fn detail(ctx: &Ctx, run: RunId) -> Result<RunDetail, EngineError> {
    let head = found(run, load::head(ctx, run).await?)?;
    let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
    let mut folded = fold(ctx, run, &flow).await?;
    let is_expired = head.payloads_expired || folded.commits.iter().any(|commit| commit.expired);
    let mut steps = Steps::new(&flow, is_expired).of(&head);
    for commit in std::mem::take(&mut folded.commits) {
        for entry in commit.entries {
            steps.entry(ctx, entry).await?;
        }
    }
    if let Some(live) = &folded.read {
        items::open_steps(ctx, run, live, &mut steps).await?;
    }
    let mut start = folded.state.start.clone().or_else(|| folded.unbegun.take());
    if start.is_none()
        && let Some(live) = load::live(ctx, run).await?
    {
        start = live.incoming.into_iter().find_map(|event| match event {
            Event::Started(start) => Some(start),
            _ => None,
        });
    }
    let (input, actions) = match start {
        Some(start) if !is_expired => {
            let Start { mut trigger, actions, .. } = *start;
            blobs::fill_one(ctx, &mut trigger).await?;
            (shown(&trigger), actions)
        }
        Some(start) => (EXPIRED, start.actions),
        None if is_expired => (EXPIRED, BTreeMap::new()),
        None => (Shown::Value(Value::Null), BTreeMap::new()),
    };
    let output = match (&folded.finished, is_expired) {
        (_, true) => head.status.ended().then_some(EXPIRED),
        (Some(finished), false) => Some(shown(&finished.output)),
        (None, false) => None,
    };
    let mut summary = head.summary(run);
    if let Some(waits_for) = &mut summary.waits_for {
        waits_for.runs = concurrency::waits_for(ctx, &head).await?;
    }
    let mut steps = steps.finish(&folded.state);
    if !head.status.ended() && head.started_ms.is_some() {
        let live = match folded.read {
            Some(live) => Some(live),
            None => load::live(ctx, run).await?,
        };
        let timers = live.map(|live| live.timers).unwrap_or_default();
        wakes::of_steps(&mut steps, &timers, &flow.graph, &folded.state);
    }
    Ok(RunDetail { summary, input, actions, output, steps })
}

/// The type of steps that have items.
const ITERATOR: &str = "iterator";

pub(crate) const EXPIRED: Shown = Shown::Expired { error: PayloadExpired::PayloadExpired };

pub(crate) fn shown(payload: &Payload) -> Shown {
    Shown::Value(payload.value().map_or(Value::Null, |value| (**value).clone()))
}

/// The steps of a run as they come out of its journal.
pub(crate) struct Steps {
    /// For each step of the document its place in it, and its type.
    known: HashMap<String, (usize, &'static str)>,
    steps: BTreeMap<StepPath, StepDetail>,
    flow: Arc<Compiled>,
    expired: bool,
    /// What the outcomes of code steps depend on whose notes name nothing else.
    semantics: Option<String>,
}

impl Steps {
    pub(crate) fn new(flow: &Arc<Compiled>, expired: bool) -> Self {
        let mut known = HashMap::new();
        places(&flow.workflow.steps, "", &mut known);
        places(&flow.workflow.on_failure, &format!("{}.", StepPath::ON_FAILURE), &mut known);
        Self { known, steps: BTreeMap::new(), flow: flow.clone(), expired, semantics: None }
    }

    /// Of a run, whose head says what the steps' notes leave out.
    pub(crate) fn of(self, head: &RunHead) -> Self {
        Self { semantics: head.semantics.clone(), ..self }
    }

    fn kind(&self, path: &StepPath) -> &'static str {
        self.known.get(&path.without_items()).map_or("unknown", |(_, kind)| kind)
    }

    fn step(&mut self, path: &StepPath) -> &mut StepDetail {
        let kind = self.kind(path);
        self.steps.entry(path.clone()).or_insert_with(|| StepDetail {
            id: path.id().to_owned(),
            path: path.as_str().to_owned(),
            kind: kind.to_owned(),
            status: StepStatus::Running,
            input: None,
            output: None,
            error: None,
            logs: Vec::new(),
            usage: None,
            action: None,
            semantics: None,
            attempts: Vec::new(),
            wakes: None,
            items: None,
            run_id: None,
            started_at: None,
            ended_at: None,
        })
    }

    pub(crate) async fn entry(
        &mut self,
        ctx: &Ctx,
        Entry { event, note, .. }: Entry,
    ) -> Result<(), EngineError> {
        let expired = self.expired;
        if event.path().is_some_and(|path| self.kind(path) == ITERATOR) {
            // Its pages and its items' turns: the state says how far it is.
            return Ok(());
        }
        match event {
            Event::AttemptStarted { path, attempt, run, at } => {
                let input = payload(ctx, note.input, expired).await?;
                let step = self.step(&path);
                interrupted(step, at);
                step.started_at.get_or_insert(at);
                step.ended_at = None;
                step.input = step.input.take().or_else(|| input.clone());
                step.run_id = run.or_else(|| step.run_id.take());
                step.attempts.push(AttemptDetail {
                    number: numbered(step, attempt),
                    outcome: AttemptOutcome::Running,
                    key: note.key,
                    request: input,
                    answer: None,
                    error: None,
                    started_at: at,
                    ended_at: None,
                });
            }
            Event::StepDone { path, attempt, result, at } => {
                let Note { input, answer, key, logs, usage, action, semantics, began_ms, .. } = note;
                let semantics = usage.as_ref().and_then(|_| semantics.or_else(|| self.semantics.clone()));
                let input = payload(ctx, input, expired).await?;
                let answer = payload(ctx, answer, expired).await?;
                let logs = match payload(ctx, logs, expired).await? {
                    Some(Shown::Value(lines)) => serde_json::from_value(lines).unwrap_or_default(),
                    _ => Vec::new(),
                };
                let step = self.step(&path);
                let began = began_ms.map_or(at, timestamp);
                step.started_at.get_or_insert(began);
                step.ended_at = Some(at);
                step.input = input.or_else(|| step.input.take());
                step.logs = logs;
                step.usage = usage;
                step.action = action;
                step.semantics = semantics;
                let error = result.as_ref().err().map(FailureDetail::from);
                (step.status, step.output) = match &result {
                    Ok(_) if expired => (StepStatus::Completed, Some(EXPIRED)),
                    Ok(output) => (StepStatus::Completed, Some(shown(output))),
                    Err(_) => (StepStatus::Failed, None),
                };
                step.error.clone_from(&error);
                let outcome =
                    if error.is_some() { AttemptOutcome::Failed } else { AttemptOutcome::Completed };
                let open = step.attempts.last_mut().filter(|last| last.outcome == AttemptOutcome::Running);
                match open {
                    Some(last) => {
                        last.outcome = outcome;
                        last.answer = answer.or_else(|| step.output.clone());
                        last.error = error;
                        last.ended_at = Some(at);
                    }
                    None => step.attempts.push(AttemptDetail {
                        number: numbered(step, attempt),
                        outcome,
                        key,
                        request: None,
                        answer: None,
                        error,
                        started_at: began,
                        ended_at: Some(at),
                    }),
                }
            }
            Event::RunEnded { path, result, at, .. } => {
                let expired = self.expired;
                let step = self.step(&path);
                (step.status, step.output) = match &result {
                    Ok(_) if expired => (StepStatus::Completed, Some(EXPIRED)),
                    Ok(output) => (StepStatus::Completed, Some(shown(output))),
                    Err(_) => (StepStatus::Failed, None),
                };
                step.error = result.as_ref().err().map(FailureDetail::from);
                if let Some(last) = step.attempts.last_mut()
                    && last.outcome == AttemptOutcome::Running
                {
                    let error = result.as_ref().err().map(FailureDetail::from);
                    let good = error.is_none();
                    last.outcome = if good { AttemptOutcome::Completed } else { AttemptOutcome::Failed };
                    last.error = error;
                    last.ended_at = Some(at);
                    step.ended_at = Some(at);
                }
            }
            Event::InputGiven { path, data, at } if note.late => {
                let step = self.step(&path);
                interrupted(step, at);
                if let Some(last) = step.attempts.last_mut() {
                    last.answer = Some(if expired { EXPIRED } else { shown(&data) });
                }
            }
            Event::InputGiven { path, data, at } => {
                let step = self.step(&path);
                step.ended_at = Some(at);
                step.status = StepStatus::Completed;
                step.output = Some(if expired { EXPIRED } else { shown(&data) });
                step.error = None;
                if let Some(last) = step.attempts.last_mut() {
                    last.outcome = AttemptOutcome::Completed;
                    last.answer.clone_from(&step.output);
                    last.ended_at = Some(at);
                }
            }
            Event::TimerFired { timer, at } if timer.kind == TimerKind::Timeout => {
                let failure = machine::timed_out(&self.flow.graph, &timer.path);
                let step = self.step(&timer.path);
                interrupted(step, at);
                step.status = StepStatus::Failed;
                step.error = failure.as_ref().map(FailureDetail::from);
                step.ended_at = Some(at);
            }
            Event::CancelRequested { at } => {
                for step in self.steps.values_mut() {
                    interrupted(step, at);
                }
            }
            Event::Started(_)
            | Event::TimerFired { .. }
            | Event::RetryRequested { .. }
            | Event::StateRead { .. }
            | Event::Resumed { .. } => {}
        }
        Ok(())
    }

    /// The state knows best where each step stands, and it knows the steps that call nothing.
    pub(crate) fn finish(mut self, state: &State) -> Vec<StepDetail> {
        if state.start.is_some() {
            for (path, known) in state.steps.iter().filter(|(path, _)| path.of_item().is_none()) {
                let output = match known.output {
                    Some(_) if self.expired => Some(EXPIRED),
                    _ => output(state, path, 0).map(Shown::Value),
                };
                let step = self.step(path);
                step.status = status(known.status);
                step.output = output;
                step.error = known.error.as_ref().map(FailureDetail::from);
                step.items = known.items.as_deref().map(ItemCounts::from);
                step.started_at.get_or_insert(known.started_at);
                step.ended_at = step.ended_at.or(known.ended_at);
                if let (machine::StepStatus::Cancelled, Some(at)) = (known.status, known.ended_at) {
                    interrupted(step, at);
                }
            }
        }
        self.all()
    }

    /// The steps in document order.
    pub(crate) fn all(self) -> Vec<StepDetail> {
        let place = |step: &StepDetail| {
            let path = StepPath::new(&step.path);
            self.known.get(&path.without_items()).map_or(usize::MAX, |(place, _)| *place)
        };
        let mut steps: Vec<StepDetail> = self.steps.values().cloned().collect();
        steps.sort_by_cached_key(|step| (place(step), step.path.clone()));
        steps
    }
}

/// A step's output: its own, or put together of those of the steps inside it.
fn output(state: &State, path: &StepPath, depth: usize) -> Option<Value> {
    const DEEPEST: usize = 64;
    match state.step(path)?.output.as_ref()? {
        Output::Own(payload) => payload.value().map(|value| (**value).clone()),
        Output::Of(inner) if depth < DEEPEST => output(state, inner, depth + 1),
        Output::Children if depth < DEEPEST => {
            let inside = state.steps.keys().filter(|inner| inner.parent().as_ref() == Some(path));
            let outputs =
                inside.filter_map(|inner| Some((inner.id().to_owned(), output(state, inner, depth + 1)?)));
            Some(Value::Object(outputs.collect()))
        }
        Output::Of(_) | Output::Children => None,
    }
}

/// A retry of the run begins with the first attempt again; whoever reads on finds each number once.
fn numbered(step: &StepDetail, attempt: u32) -> u32 {
    step.attempts.last().map_or(attempt, |last| attempt.max(last.number + 1))
}

/// A call that was out when something else came: what became of it is not known.
fn interrupted(step: &mut StepDetail, at: Timestamp) {
    if let Some(last) = step.attempts.last_mut()
        && last.outcome == AttemptOutcome::Running
    {
        last.outcome = AttemptOutcome::Interrupted;
        last.ended_at = Some(at);
    }
}

async fn payload(ctx: &Ctx, payload: Option<Payload>, expired: bool) -> Result<Option<Shown>, EngineError> {
    match payload {
        None => Ok(None),
        Some(_) if expired => Ok(Some(EXPIRED)),
        Some(mut payload) => {
            blobs::fill_one(ctx, &mut payload).await?;
            Ok(Some(shown(&payload)))
        }
    }
}

fn places(steps: &[Step], before: &str, known: &mut HashMap<String, (usize, &'static str)>) {
    for step in steps {
        let path = format!("{before}{}", step.id);
        known.insert(path.clone(), (known.len(), step.kind.type_name()));
        for block in step.blocks() {
            places(block, &format!("{path}."), known);
        }
    }
}

pub(crate) fn status(status: machine::StepStatus) -> StepStatus {
    match status {
        machine::StepStatus::Running => StepStatus::Running,
        machine::StepStatus::Waiting => StepStatus::Waiting,
        machine::StepStatus::Paused => StepStatus::Paused,
        machine::StepStatus::Completed => StepStatus::Completed,
        machine::StepStatus::Failed => StepStatus::Failed,
        machine::StepStatus::Cancelled => StepStatus::Cancelled,
        machine::StepStatus::Skipped => StepStatus::Skipped,
    }
}
