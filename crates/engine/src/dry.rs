//! A test of a workflow: its whole run in memory. Code runs for real, records are read and written in a transaction
//! that is never committed, what would go outside is caught, and timers fire at once.
use crate::api::{StepDetail, WorkflowTest, run_failure, run_status};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::events::MAX_DEPTH;
use crate::history::Steps;
use crate::id::RunId;
use crate::journal::{Entry, NoteRef, Shown};
use crate::manual;
use crate::registry::{Compiled, workflows};
use crate::secrets::REDACTED;
use crate::start::seen;
use crate::{children, inputs, state, steps};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use stepwell_store::{Savepoint, Txn};
use stepwell_workflow::machine::{
    self, Call, Command, Event, Execute, Failure, Finished, LEFT_OUT, PageCall, Payload, RunCall, RunInfo,
    Start, State, StepPath, Timer, TimerKind,
};

/// Runs that one test makes.
const MAX_RUNS: u32 = 1_000;

struct Dry<'a> {
    ctx: &'a Ctx,
    flow: Arc<Compiled>,
    /// So many runs led to it.
    depth: u32,
    /// So many runs the test has made up to here.
    runs: u32,
    state: State,
    steps: Steps,
    queue: VecDeque<Execute>,
    timers: Vec<(Timer, Timestamp)>,
    now: Timestamp,
    finished: Option<Finished>,
    mails: Vec<crate::ports::MailMessage>,
    requests: Vec<crate::ports::HttpRequest>,
    known: steps::records::Known,
    /// The atomic iterator under way, and where to go back to; and what became of it.
    held: Option<(StepPath, Savepoint)>,
    over: Option<(StepPath, bool)>,
    /// Items that were run, and those that were not.
    items: usize,
    items_left_out: u64,
}

/// Items of one iterator that are run, the first ones; and of all of them together.
const ITEMS: u64 = 100;
const ALL_ITEMS: usize = 1_000;

pub(crate) async fn run(
    ctx: &Ctx,
    name: &str,
    text: Option<&str>,
    input: Value,
) -> Result<WorkflowTest, EngineError> {
    let flow = match text {
        Some(text) => Arc::new(workflows::compile_text(ctx, name, text).await?),
        None => workflows::newest(ctx, name).await?,
    };
    let trigger = seen(ctx, &flow, manual::trigger(ctx, &flow, input).await?);
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let now = ctx.core.ports.clock.now();
    let mut dry = Dry::new(ctx, flow, now, 0);
    dry.go(&mut txn, trigger).await?;
    let status = dry.finished.as_ref().map_or(dry.state.status, |finished| finished.status);
    let steps: Vec<StepDetail> = dry.steps.finish(&dry.state);
    let output = dry.finished.as_ref().and_then(|finished| finished.output.value());
    Ok(WorkflowTest {
        status: run_status(status),
        output: output.map(|value| (**value).clone()),
        error: dry.finished.as_ref().and_then(|finished| finished.error.as_ref()).map(run_failure),
        steps,
        mails: dry.mails,
        requests: dry.requests,
        items_left_out: dry.items_left_out,
    })
}

impl<'a> Dry<'a> {
    fn new(ctx: &'a Ctx, flow: Arc<Compiled>, now: Timestamp, depth: u32) -> Self {
        Self {
            ctx,
            steps: Steps::new(&flow, false),
            flow,
            depth,
            runs: 1,
            state: State::new(),
            queue: VecDeque::new(),
            timers: Vec::new(),
            now,
            finished: None,
            mails: Vec::new(),
            requests: Vec::new(),
            known: steps::records::Known::default(),
            held: None,
            over: None,
            items: 0,
            items_left_out: 0,
        }
    }

    /// From the start to the end, or to where nothing goes on by itself.
    async fn go(&mut self, txn: &mut Txn, trigger: Value) -> Result<(), EngineError> {
        let (ctx, flow) = (self.ctx, self.flow.clone());
        let start = Start {
            run: RunInfo {
                id: ctx.new_run_id().to_string(),
                workflow: flow.name.clone(),
                version: flow.version.into(),
            },
            trigger: Payload::new(trigger),
            settings: flow.settings_now(ctx),
            actions: flow.resolve_actions(ctx)?,
            links: inputs::links(ctx, &flow),
            at: self.now,
        };
        if flow.reads_state {
            let kept = state::read(ctx, txn, &flow.name).await?;
            self.apply(Event::StateRead { values: Payload::new(kept.into()) }, NoteRef::default()).await?;
        }
        self.apply(Event::Started(Box::new(start)), NoteRef::default()).await?;
        while self.finished.is_none() {
            if let Some(execute) = self.next_call() {
                self.step(txn, execute).await?;
                self.let_go(txn);
            } else if let Some(first) = (0..self.timers.len()).min_by_key(|place| self.timers[*place].1) {
                let (timer, due) = self.timers.swap_remove(first);
                self.now = self.now.max(due);
                self.apply(Event::TimerFired { timer, at: self.now }, NoteRef::default()).await?;
            } else {
                // It waits for a person: that is as far as a test goes.
                break;
            }
        }
        Ok(())
    }

    /// As in a burst: what an atomic iterator writes is written without anything else in between.
    fn next_call(&mut self) -> Option<Execute> {
        let Some((held, _)) = &self.held else { return self.queue.pop_front() };
        let place = self.queue.iter().position(|execute| execute.path.is_within(held))?;
        self.queue.remove(place)
    }

    fn let_go(&mut self, txn: &mut Txn) {
        let Some((iterator, kept)) = self.over.take() else { return };
        if let Some((_, before)) = self.held.take_if(|(held, _)| *held == iterator)
            && !kept
        {
            txn.rollback_to(before);
        }
    }

    /// A run that it starts is tried in the same way, and its end is the step's whether it is waited for or not.
    async fn child(
        &mut self,
        txn: &mut Txn,
        call: &RunCall,
    ) -> Result<Result<Payload, Failure>, EngineError> {
        if self.depth >= MAX_DEPTH {
            let message = format!("{MAX_DEPTH} runs led to this one: so long a chain is taken for a loop");
            return Ok(Err(Failure::engine("workflow_loop", message)));
        }
        if self.runs >= MAX_RUNS {
            let message = format!("a test makes at most {MAX_RUNS} runs, and this one would make more");
            return Ok(Err(Failure::engine("test_too_long", message)));
        }
        let begun = async {
            let flow = workflows::active(self.ctx, &call.workflow).await?;
            let trigger = manual::trigger(self.ctx, &flow, call.input.clone()).await?;
            let trigger = seen(self.ctx, &flow, trigger);
            Ok::<_, EngineError>((flow, trigger))
        };
        let (flow, trigger) = match begun.await {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(Failure::engine(error.code, error.message))),
        };
        let mut child = Dry::new(self.ctx, flow, self.now, self.depth + 1);
        child.runs += self.runs;
        Box::pin(child.go(txn, trigger)).await?;
        self.runs = child.runs;
        self.now = self.now.max(child.now);
        self.mails.append(&mut child.mails);
        self.requests.append(&mut child.requests);
        let run = child.run()?;
        if !call.wait {
            return Ok(Ok(Payload::new(json!({ "run_id": run.to_string() }))));
        }
        match child.finished {
            Some(finished) => Ok(children::outcome(run, &child.flow.name, &finished)),
            None => {
                let message = format!("`{}` waits for a person, which a test does not", child.flow.name);
                Ok(Err(Failure::engine("test_waits", message)))
            }
        }
    }

    async fn apply(&mut self, event: Event, note: NoteRef<'_>) -> Result<(), EngineError> {
        for command in machine::apply(&self.flow.graph, &mut self.state, &event) {
            match command {
                Command::Execute(execute) => self.queue.push_back(*execute),
                // Nobody comes in a test, and what becomes of it then is not what is tried.
                Command::SetTimer { timer, .. } if timer.kind == TimerKind::Timeout => {}
                Command::SetTimer { timer, due } => self.timers.push((timer, due)),
                Command::ClearTimer { timer, due } => self.timers.retain(|set| *set != (timer.clone(), due)),
                Command::Finished(finished) => self.finished = Some(finished),
                Command::Atomic { iterator, kept } => self.over = Some((iterator, kept)),
                Command::Abandon { path, attempt } => {
                    self.queue.retain(|call| (&call.path, call.attempt) != (&path, attempt));
                }
                Command::Respond(_) | Command::CancelRun { .. } | Command::Item(_) => {}
            }
        }
        self.steps.entry(self.ctx, Entry { event, note: note.owned()?, after_items: 0 }).await
    }

    async fn step(&mut self, txn: &mut Txn, execute: Execute) -> Result<(), EngineError> {
        let began_ms = Some(self.ctx.now_ms());
        let plain = NoteRef { input: Some(Shown::Call(&execute.call)), began_ms, ..NoteRef::default() };
        match &execute.call {
            Call::Item(item) if self.is_left_out(&execute) => {
                self.items_left_out += 1;
                let skipped = if item.records.is_some() { Value::Null } else { LEFT_OUT };
                self.done(&execute, Ok(Payload::new(skipped)), NoteRef::default()).await
            }
            Call::Code(code) => {
                let secrets = crate::connections::secrets_of(self.ctx, &self.flow);
                let done = steps::code::run(self.ctx, &execute, code, &secrets).await;
                let note = NoteRef {
                    input: Some(Shown::Json(&code.input.value)),
                    logs: &done.logs,
                    usage: done.usage.as_ref(),
                    action: Some(&code.action),
                    ..plain
                };
                self.done(&execute, done.result.clone(), note).await
            }
            Call::Http(call) => {
                // It is shown, so it has the place of a secret and not the value.
                let secrets = self.ctx.ws.registry.secrets();
                let secret = |name: &str| secrets.contains_key(name).then(|| REDACTED.to_owned());
                let result = steps::http::through(self.ctx, call, secret)
                    .and_then(|through| steps::http::request(call, through, execute.timeout_ms, secret))
                    .map(|request| {
                        self.requests.push(request);
                        let nothing = || json!({ "status": 200, "headers": {}, "body": null });
                        Payload::new(call.page.as_ref().map_or_else(nothing, PageCall::empty_answer))
                    });
                self.done(&execute, result, plain).await
            }
            Call::Email(call) => {
                let message = match steps::mail::message(call, &execute) {
                    Ok(message) => message,
                    Err(failure) => return self.done(&execute, Err(failure), plain).await,
                };
                let accepted: Vec<&String> =
                    message.to.iter().chain(&message.cc).chain(&message.bcc).collect();
                let output = json!({ "message_id": message.message_id, "accepted": accepted });
                self.mails.push(message);
                self.done(&execute, Ok(Payload::new(output)), plain).await
            }
            Call::Input(_) => {
                let (path, attempt) = (execute.path.clone(), execute.attempt);
                self.apply(Event::AttemptStarted { path, attempt, run: None, at: self.now }, plain).await
            }
            Call::Run(call) => {
                let result = self.child(txn, call).await?;
                self.done(&execute, result, plain).await
            }
            Call::SetState(_) => {
                // A step beside it may have written since the call was made.
                let now = machine::call_now(&self.flow.graph, &mut self.state, &execute.path);
                let execute = match now {
                    Some(Ok(now)) => now,
                    Some(Err(failure)) => return self.done(&execute, Err(failure), plain).await,
                    None => return Ok(()),
                };
                let Call::SetState(call) = &execute.call else { return Ok(()) };
                let plain = NoteRef { input: Some(Shown::Call(&execute.call)), ..plain };
                let kept = self.state.kept.as_ref().and_then(|kept| kept.value()?.as_object()).cloned();
                let run = self.run()?;
                let before = txn.savepoint();
                let kept = kept.unwrap_or_default();
                let result = state::write(self.ctx, txn, &self.flow.name, run, &kept, call)?;
                if result.is_err() {
                    txn.rollback_to(before);
                }
                let result = result.map(|()| Payload::new(call.values.clone().into()));
                self.done(&execute, result, plain).await
            }
            _ => {
                let before = txn.savepoint();
                if self.held.is_none() {
                    self.held = self.flow.graph.atomic(&execute.path).map(|iterator| (iterator, before));
                }
                let run = self.run()?;
                let origin = steps::records::Writer { run, workflow: &self.flow.name, depth: self.depth };
                let result =
                    steps::records::execute(self.ctx, txn, &mut self.known, &execute, origin).await?;
                if result.is_err() {
                    txn.rollback_to(before);
                }
                self.done(&execute, result.map(|done| Payload::new(done.output)), plain).await
            }
        }
    }

    fn run(&self) -> Result<RunId, EngineError> {
        let run = self.state.start.as_ref().and_then(|start| start.run.id.parse().ok());
        run.ok_or_else(|| EngineError::internal("a run without an id"))
    }

    /// A test shows what every item does; it does not do all that there is to do.
    fn is_left_out(&mut self, execute: &Execute) -> bool {
        let index = execute.path.of_item().map_or(0, |(_, index)| index);
        let left_out = index >= ITEMS || self.items >= ALL_ITEMS;
        self.items += usize::from(!left_out);
        left_out
    }

    async fn done(
        &mut self,
        execute: &Execute,
        result: Result<Payload, Failure>,
        note: NoteRef<'_>,
    ) -> Result<(), EngineError> {
        let at = self.ctx.core.ports.clock.now().max(self.now);
        let (path, attempt) = (execute.path.clone(), execute.attempt);
        self.apply(Event::StepDone { path, attempt, result, at }, note).await
    }
}
