//! A test of a workflow: its whole run in memory. Code runs for real, records are read and written in a transaction
//! that is never committed, what would go outside is caught, and timers fire at once.
use crate::api::{StepDetail, WorkflowTest, run_failure, run_status};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::history::Steps;
use crate::journal::{Entry, NoteRef, Shown};
use crate::manual;
use crate::registry::{Compiled, workflows};
use crate::secrets::REDACTED;
use crate::start::seen;
use crate::steps;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use stepwell_store::Txn;
use stepwell_workflow::machine::{
    self, Call, Command, Event, Execute, Failure, Finished, Payload, RunInfo, Start, State, Timer,
};

struct Dry<'a> {
    ctx: &'a Ctx,
    flow: Arc<Compiled>,
    state: State,
    steps: Steps,
    queue: VecDeque<Execute>,
    timers: Vec<(Timer, Timestamp)>,
    now: Timestamp,
    finished: Option<Finished>,
    mails: Vec<crate::ports::MailMessage>,
    requests: Vec<crate::ports::HttpRequest>,
    known: steps::records::Known,
}

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
    let now = ctx.core.ports.clock.now();
    let start = Start {
        run: RunInfo {
            id: ctx.new_run_id().to_string(),
            workflow: flow.name.clone(),
            version: flow.version.into(),
        },
        trigger: Payload::new(seen(ctx, &flow, manual::trigger(ctx, &flow, input).await?)),
        settings: flow.settings_now(ctx),
        actions: flow.resolve_actions(ctx)?,
        at: now,
    };
    let mut dry = Dry {
        ctx,
        steps: Steps::new(&flow, false),
        flow,
        state: State::new(),
        queue: VecDeque::new(),
        timers: Vec::new(),
        now,
        finished: None,
        mails: Vec::new(),
        requests: Vec::new(),
        known: steps::records::Known::default(),
    };
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    dry.apply(Event::Started(Box::new(start)), NoteRef::default()).await?;
    while dry.finished.is_none() {
        if let Some(execute) = dry.queue.pop_front() {
            dry.step(&mut txn, execute).await?;
        } else if let Some(first) = (0..dry.timers.len()).min_by_key(|place| dry.timers[*place].1) {
            let (timer, due) = dry.timers.swap_remove(first);
            dry.now = dry.now.max(due);
            dry.apply(Event::TimerFired { timer, at: dry.now }, NoteRef::default()).await?;
        } else {
            // It waits for a person: that is as far as a test goes.
            break;
        }
    }
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
    })
}

impl Dry<'_> {
    async fn apply(&mut self, event: Event, note: NoteRef<'_>) -> Result<(), EngineError> {
        for command in machine::apply(&self.flow.graph, &mut self.state, &event) {
            match command {
                Command::Execute(execute) => self.queue.push_back(*execute),
                Command::SetTimer { timer, due } => self.timers.push((timer, due)),
                Command::Finished(finished) => self.finished = Some(finished),
                Command::Respond(_) | Command::Item(_) => {}
            }
        }
        self.steps.entry(self.ctx, Entry { event, note: note.owned()?, after_items: 0 }).await
    }

    async fn step(&mut self, txn: &mut Txn, execute: Execute) -> Result<(), EngineError> {
        let began_ms = Some(self.ctx.now_ms());
        let plain = NoteRef { input: Some(Shown::Call(&execute.call)), began_ms, ..NoteRef::default() };
        match &execute.call {
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
                        Payload::new(json!({ "status": 200, "headers": {}, "body": null }))
                    });
                self.done(&execute, result, plain).await
            }
            Call::Email(call) => {
                let message = steps::mail::message(call, &execute);
                let accepted: Vec<&String> =
                    message.to.iter().chain(&message.cc).chain(&message.bcc).collect();
                let output = json!({ "message_id": message.message_id, "accepted": accepted });
                self.mails.push(message);
                self.done(&execute, Ok(Payload::new(output)), plain).await
            }
            _ => {
                let before = txn.savepoint();
                let run = self.state.start.as_ref().and_then(|start| start.run.id.parse().ok());
                let Some(run) = run else { return Err(EngineError::internal("a run without an id")) };
                let origin = steps::records::Writer { run, workflow: &self.flow.name, depth: 0 };
                let result =
                    steps::records::execute(self.ctx, txn, &mut self.known, &execute, origin).await?;
                if result.is_err() {
                    txn.rollback_to(before);
                }
                self.done(&execute, result.map(|done| Payload::new(done.output)), plain).await
            }
        }
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
