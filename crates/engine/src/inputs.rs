//! What people give to steps that wait for it (`wait_for_input`): by a link, which stands for a run and a step, or by
//! the API. It lies in the run's inbox until its next burst; that it is there, or was taken, is looked at in the
//! transaction that puts it there, so one wins.
use crate::api::{GiveInput, InputForm, InputTaken, RunSummary};
use crate::connections;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::hash;
use crate::history::{self, found};
use crate::id::RunId;
use crate::load;
use crate::registry::{Compiled, schema};
use crate::secrets::Opened;
use crate::start::shallow;
use crate::tables::{self, inbox, runs};
use serde_json::Value;
use std::sync::Arc;
use stepwell_records::json_bytes;
use stepwell_store::transact;
use stepwell_workflow::graph::{CallPlan, InputPlan, NodeKind};
use stepwell_workflow::machine::{Event, InputCall, LinkToken, Links, Payload, State, StepPath, StepStatus};

/// What is given lies in a row.
const MAX_BYTES: usize = 256 << 10;
/// How often a run is looked at again that goes on meanwhile, beside the step that waits.
const LOOKS: u32 = 50;

/// What a run's links are made from: a key that is made with the run.
pub(crate) fn links(ctx: &Ctx, flow: &Compiled) -> Option<Links> {
    flow.graph.inputs().next()?;
    let mut key = [0; 32];
    ctx.core.ports.random.fill(&mut key);
    let base = format!("{}/inputs/{}", ctx.core.config.public_url.trim_end_matches('/'), ctx.ws.name);
    Some(Links { base, key: hash::hex(&key) })
}

/// Links that lead nowhere are noticed when nobody answers, and a run keeps what it began with.
pub(crate) fn warn_of_links(ctx: &Ctx, flow: &Compiled) {
    let config = &ctx.core.config;
    if config.public_url_is_own && flow.graph.inputs().next().is_some() {
        tracing::warn!(
            workflow = %flow.name,
            "public_url is not set: the links by which people answer begin with {}, and a run keeps those it began with",
            config.public_url
        );
    }
}

/// A run as somebody finds it who has an input for it; it is long to read.
struct Seen {
    flow: Arc<Compiled>,
    head: runs::RunHead,
    state: State,
}

impl Seen {
    async fn load(ctx: &Ctx, run: RunId) -> Result<Self, EngineError> {
        let head = found(run, load::head(ctx, run).await?)?;
        Self::of(ctx, run, head).await
    }

    async fn of(ctx: &Ctx, run: RunId, head: runs::RunHead) -> Result<Self, EngineError> {
        let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
        let live = match head.status.ended() {
            false => load::live(ctx, run).await?,
            true => None,
        };
        let state = match live {
            Some(mut live) => {
                let begins = |event: &Event| match event {
                    Event::Started(start) => Some(start.clone()),
                    _ => None,
                };
                if live.state.start.is_none() {
                    live.state.start = live.incoming.iter().find_map(begins);
                }
                live.state
            }
            None => history::fold(ctx, run, &flow).await?.state,
        };
        Ok(Self { flow, head, state })
    }

    fn input(&self, path: &StepPath) -> Option<&InputPlan> {
        match &self.flow.graph.node(self.flow.graph.find(path)?).kind {
            NodeKind::Call(CallPlan::Input(plan)) => Some(plan),
            _ => None,
        }
    }

    /// Whether the run may still come to the step: nothing that it stands in is over.
    fn may_come_to(&self, path: &StepPath) -> bool {
        let item = path.innermost_item();
        if item.is_some_and(|item| self.state.step(&item).is_none_or(|item| item.status.is_final())) {
            return false;
        }
        let mut around = path.parent();
        while let Some(path) = around {
            if self.state.step(&path).is_some_and(|step| step.status.is_final()) {
                return false;
            }
            around = path.parent();
        }
        true
    }

    /// What the step waits for, or why it does not.
    fn awaited(&self, ctx: &Ctx, run: RunId, path: &StepPath) -> Result<InputCall, EngineError> {
        let of_run = |error: EngineError| error.with_run(run.to_string());
        let gone =
            |code: &'static str, message: String| of_run(EngineError::new(ErrorKind::Gone, code, message));
        let step = self.state.step(path);
        let waits = step.filter(|step| step.status == StepStatus::Waiting && step.sent);
        if let (Some(step), Some(plan), false) = (waits, self.input(path), self.head.status.ended()) {
            if step.due.is_some_and(|due| due <= ctx.core.ports.clock.now()) {
                return Err(gone("input_expired", format!("the time to give `{path}` its input is over")));
            }
            return Ok(InputCall::again(plan, step.asked.as_ref()));
        }
        let over = step.is_some_and(|step| step.status == StepStatus::Completed && !step.handled);
        let comes = match step {
            None => self.may_come_to(path),
            // It is just about to ask, or asks again when somebody resumes it.
            Some(step) => match step.status {
                StepStatus::Running => step.taken.is_none(),
                StepStatus::Waiting | StepStatus::Paused => true,
                _ => false,
            },
        };
        match step {
            Some(_) if over => Err(gone("input_given", format!("`{path}` has been given its input before"))),
            _ if comes && !self.head.status.ended() => {
                let message = format!("run {run} has not come to `{path}` yet; try again later");
                Err(of_run(EngineError::conflict("input_not_awaited", message)))
            }
            _ => {
                let message = format!(
                    "`{path}` waits for no input any more: it was given, or run {run} went on without"
                );
                Err(gone("input_expired", message))
            }
        }
    }
}

/// The step that is meant: the one that waits, or the one named among several.
fn waiting_step(run: RunId, seen: &Seen, named: Option<&str>) -> Result<StepPath, EngineError> {
    let waits = |path: &StepPath| {
        let step = seen.state.step(path);
        seen.input(path).is_some() && step.is_some_and(|step| step.status == StepStatus::Waiting)
    };
    let waiting: Vec<&StepPath> = seen.state.steps.keys().filter(|path| waits(path)).collect();
    let refused = |code: &'static str, message: String| {
        Err(EngineError::conflict(code, message).with_run(run.to_string()))
    };
    match (named.map(StepPath::new), waiting.as_slice()) {
        (Some(path), _) if seen.input(&path).is_some() => Ok(path),
        (Some(path), _) => {
            refused("input_not_awaited", format!("`{path}` is no step that waits for an input"))
        }
        (None, [only]) => Ok((*only).clone()),
        (None, []) => {
            let message =
                format!("run {run} is {}; no step of it waits for an input", seen.head.status.as_str());
            refused("input_not_awaited", message)
        }
        (None, _) => {
            let listed =
                waiting.iter().take(20).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
            refused("input_not_awaited", format!("several steps wait, so `step` must name one: {listed}"))
        }
    }
}

/// By the API.
pub(crate) async fn give(ctx: &Ctx, run: RunId, given: GiveInput) -> Result<RunSummary, EngineError> {
    let seen = Seen::load(ctx, run).await?;
    let path = waiting_step(run, &seen, given.step.as_deref())?;
    take(ctx, run, &path, given.data, seen).await
}

fn no_link() -> EngineError {
    EngineError::not_found("unknown_link", "this link is not valid; it may be incomplete")
}

/// The run and the step of a link. Whoever has no good signature costs the reading of a head.
async fn of_link(ctx: &Ctx, token: &str) -> Result<(RunId, StepPath, Seen), EngineError> {
    let token = LinkToken::read(token).ok_or_else(no_link)?;
    let run: RunId = token.run.parse().map_err(|_| no_link())?;
    let head = load::head(ctx, run).await?.ok_or_else(no_link)?;
    if !head.links.as_ref().is_some_and(|key| token.is_signed_with(key)) {
        return Err(no_link());
    }
    let seen = Seen::of(ctx, run, head).await?;
    if seen.input(&token.path).is_none() {
        return Err(no_link());
    }
    if token.round != seen.state.link_round(&token.path) {
        let message = format!("run {run} was retried since it asked by this link; it asks by another now");
        return Err(EngineError::new(ErrorKind::Gone, "input_expired", message).with_run(run.to_string()));
    }
    Ok((run, token.path, seen))
}

/// What a link asks for.
pub(crate) async fn form(ctx: &Ctx, token: &str) -> Result<InputForm, EngineError> {
    let (run, path, seen) = of_link(ctx, token).await?;
    let call = seen.awaited(ctx, run, &path)?;
    Ok(InputForm {
        run_id: run.to_string(),
        step: path.to_string(),
        title: call.title.unwrap_or_else(|| seen.head.workflow.clone()),
        message: call.message,
        schema: call.schema,
        until: seen.state.step(&path).and_then(|step| step.due),
    })
}

/// By a link.
pub(crate) async fn give_by_link(ctx: &Ctx, token: &str, data: Value) -> Result<InputTaken, EngineError> {
    let (run, path, seen) = of_link(ctx, token).await?;
    let (run_id, step) = (run.to_string(), path.to_string());
    take(ctx, run, &path, data, seen).await?;
    Ok(InputTaken { run_id, step })
}

/// Checks what is given, and lays it into the run's inbox.
async fn take(
    ctx: &Ctx,
    run: RunId,
    path: &StepPath,
    data: Value,
    mut seen: Seen,
) -> Result<RunSummary, EngineError> {
    ctx.check_open()?;
    let mut data = shallow(data, "the input")?;
    let bytes = json_bytes(&data);
    if bytes > MAX_BYTES {
        let message = format!("the input has {bytes} bytes; at most {MAX_BYTES} are taken");
        return Err(EngineError::new(ErrorKind::TooLarge, "too_large", message));
    }
    for _ in 0..LOOKS {
        let call = seen.awaited(ctx, run, path)?;
        if let Some(schema) = &call.schema {
            let problems = schema::check(&ctx.core, schema, &data)
                .await
                .map_err(|why| EngineError::internal(format!("`{path}`: {why}")))?;
            if !problems.is_empty() {
                let message = format!("the input does not fit the schema of `{path}`");
                return Err(EngineError::invalid("input_schema", message).with_problems(problems));
            }
        }
        Opened::new(ctx, &connections::secrets_of(ctx, &seen.flow)).redact(&mut data);
        if let Some(head) = lay(ctx, run, path, &seen.head, &data).await? {
            ctx.wake(run, &head.workflow);
            return Ok(head.summary(run));
        }
        seen = Seen::load(ctx, run).await?;
    }
    let message = format!("run {run} moves on all the time; give the input once more");
    Err(EngineError::conflict("run_moved", message).with_run(run.to_string()))
}

/// Nothing when the run has moved on since it was looked at.
async fn lay(
    ctx: &Ctx,
    run: RunId,
    path: &StepPath,
    seen: &runs::RunHead,
    data: &Value,
) -> Result<Option<runs::RunHead>, EngineError> {
    let key = &runs::head_key(ctx.ws.id, run);
    let at = ctx.core.ports.clock.now();
    let event = Event::InputGiven { path: path.clone(), data: Payload::new(data.clone()), at };
    let message = &tables::encode(&inbox::Message { event, actions: None })?;
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let head = tx.get(key).await?;
            let head = head.map(|value| tables::decode::<runs::RunHead>(key, &value)).transpose()?;
            let mut head = found(run, head)?;
            if head.commits != seen.commits || head.status.ended() {
                return Ok(None);
            }
            // What lies there already comes first.
            for (key, value) in tx.range(inbox::of_run(ctx.ws.id, run), usize::MAX, false).await? {
                let laid: inbox::Message = tables::decode(&key, &value)?;
                let (code, why) = match &laid.event {
                    Event::InputGiven { path: other, .. } if other == path => {
                        ("input_given", format!("`{path}` has been given its input before"))
                    }
                    Event::CancelRequested { .. } => {
                        ("input_expired", format!("run {run} is being cancelled"))
                    }
                    _ => continue,
                };
                return Err(EngineError::new(ErrorKind::Gone, code, why).with_run(run.to_string()));
            }
            tx.put(inbox::key(ctx.ws.id, run, head.inbox), message.clone());
            head.inbox += 1;
            // Whoever drives the run rests on its head: that commit conflicts now, and finds the inbox.
            tx.put(key.clone(), tables::encode(&head)?);
            Ok::<_, EngineError>(Some(head))
        })
    })
    .await
}
