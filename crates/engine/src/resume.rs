//! A person says how a step goes on that has failed and waits (`on_error: pause`): the answer lies in the run's inbox
//! until its next burst.
use crate::api::{ResumeAction, ResumeRun, RunSummary};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::history::found;
use crate::id::RunId;
use crate::registry::Compiled;
use crate::secrets::Opened;
use crate::tables::{self, inbox, runs};
use crate::{load, requests, start};
use std::collections::BTreeMap;
use stepwell_records::json_bytes;
use stepwell_store::{Key, Txn, transact};
use stepwell_workflow::machine::{Event, Payload, Resume, State, StepPath, StepStatus};
use stepwell_workflow::model::{ActionRef, VersionWanted};

/// What is given by hand lies in a row.
const MAX_OUTPUT_BYTES: usize = 256 << 10;

pub(crate) async fn resume(ctx: &Ctx, run: RunId, wanted: ResumeRun) -> Result<RunSummary, EngineError> {
    ctx.check_open()?;
    let head = found(run, load::head(ctx, run).await?)?;
    let live = load::live(ctx, run).await?;
    let Some(live) = live.filter(|_| !head.status.ended()) else {
        return Err(not_paused(run, &head));
    };
    let path = paused_step(run, &head, &live.state, wanted.step.as_deref())?;
    let newer = match wanted.newest {
        true => {
            let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
            Some(requests::newer(ctx, &head, &flow, &live.state).await?)
        }
        false => None,
    };
    let actions = match (&live.state.start, &newer) {
        (_, Some(newer)) => Some(other_versions(ctx, &newer.resolve_actions(ctx)?, &wanted.actions)?),
        (Some(start), None) if !wanted.actions.is_empty() => {
            Some(other_versions(ctx, &start.actions, &wanted.actions)?)
        }
        _ => None,
    };
    let how = match wanted.action {
        ResumeAction::Retry => Resume::Retry,
        ResumeAction::Skip => Resume::Skip,
        ResumeAction::Output(output) => {
            let mut output = start::shallow(output, "the output")?;
            let bytes = json_bytes(&output);
            if bytes > MAX_OUTPUT_BYTES {
                let message = format!("the output has {bytes} bytes; at most {MAX_OUTPUT_BYTES} are taken");
                return Err(EngineError::invalid("invalid_resume", message));
            }
            let flow = ctx.ws.registry.flow(ctx, &head.workflow, head.version).await?;
            Opened::new(ctx, &crate::connections::secrets_of(ctx, &flow)).redact(&mut output);
            Resume::Output(Payload::new(output))
        }
    };
    let event = Event::Resumed { path, how, at: ctx.core.ports.clock.now() };
    if let (Some(newer), Some(actions)) = (newer.filter(|newer| newer.version != head.version), &actions) {
        return go_over(ctx, run, &head, live, &newer, actions.clone(), event).await;
    }
    let message = &tables::encode(&inbox::Message { event, actions })?;
    let (key, seen) = (&runs::head_key(ctx.ws.id, run), &head);
    let head = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut head = as_seen(run, &mut tx, key, seen).await?;
            tx.put(inbox::key(ctx.ws.id, run, head.inbox), message.clone());
            head.inbox += 1;
            tx.put(key.clone(), tables::encode(&head)?);
            Ok::<_, EngineError>(head)
        })
    })
    .await?;
    ctx.wake(run, &head.workflow);
    Ok(head.summary(run))
}

/// The run's head, if nothing has happened to it since it was looked at.
async fn as_seen(
    run: RunId,
    tx: &mut Txn,
    key: &Key,
    seen: &runs::RunHead,
) -> Result<runs::RunHead, EngineError> {
    let head = tx.get(key).await?;
    let head = found(run, head.map(|value| tables::decode::<runs::RunHead>(key, &value)).transpose()?)?;
    if head.commits != seen.commits || head.version != seen.version || head.inbox > 0 {
        let message = format!("run {run} has moved on meanwhile; look again");
        return Err(EngineError::conflict("run_moved", message).with_run(run.to_string()));
    }
    Ok(head)
}

/// Has the run go on with a newer version of its workflow: what it starts from is written over, as for a retry, so
/// nothing of it may be under way.
async fn go_over(
    ctx: &Ctx,
    run: RunId,
    seen: &runs::RunHead,
    mut live: runs::Live,
    newer: &Compiled,
    actions: BTreeMap<String, String>,
    event: Event,
) -> Result<RunSummary, EngineError> {
    if !live.parked {
        let message = format!(
            "other steps of run {run} are under way, on version {} of `{}`; resume it on another one when they are done",
            seen.version, seen.workflow
        );
        return Err(EngineError::conflict("version_does_not_fit", message).with_run(run.to_string()));
    }
    let links = requests::switch(ctx, newer, actions, &mut live).map(|links| links.key);
    live.incoming.push(event);
    live.parked = false;
    let before = live.moved;
    let (live, moved) = load::snapshot_value(ctx, tables::encode(&live)?).await?;
    let (key, live, links, ws) = (&runs::head_key(ctx.ws.id, run), &live, &links, ctx.ws.id);
    let head = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut head = as_seen(run, &mut tx, key, seen).await?;
            tx.put(runs::live_key(ws, run), live.clone());
            if let Some(sha256) = before.filter(|_| before != moved) {
                tx.delete(runs::blob_ref_key(ws, &sha256, run));
            }
            if let Some(sha256) = moved {
                tx.put(runs::blob_ref_key(ws, &sha256, run), vec![tables::FORMAT]);
            }
            head.version = newer.version;
            head.links = links.clone().or(head.links);
            tx.put(key.clone(), tables::encode(&head)?);
            Ok::<_, EngineError>(head)
        })
    })
    .await?;
    ctx.wake(run, &head.workflow);
    Ok(head.summary(run))
}

fn not_paused(run: RunId, head: &runs::RunHead) -> EngineError {
    let message = format!("run {run} is {}; no step of it waits for a person", head.status.as_str());
    EngineError::conflict("run_not_paused", message).with_run(run.to_string())
}

/// The step that is meant: the one that waits, or the one named among several.
fn paused_step(
    run: RunId,
    head: &runs::RunHead,
    state: &State,
    named: Option<&str>,
) -> Result<StepPath, EngineError> {
    let paused = state.steps.iter().filter(|(_, step)| step.status == StepStatus::Paused);
    let paused: Vec<&StepPath> = paused.map(|(path, _)| path).collect();
    let listed = || paused.iter().take(20).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    let message = match (named, paused.as_slice()) {
        (_, []) => return Err(not_paused(run, head)),
        (Some(named), _) => match paused.iter().find(|path| path.as_str() == named) {
            Some(path) => return Ok((*path).clone()),
            None => format!("step `{named}` does not wait for a person; {} does", listed()),
        },
        (None, [only]) => return Ok((*only).clone()),
        (None, _) => format!("several steps wait, so `step` must name one: {}", listed()),
    };
    Err(EngineError::conflict("step_not_paused", message).with_run(run.to_string()))
}

/// The run's actions with other versions of some.
fn other_versions(
    ctx: &Ctx,
    now: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, EngineError> {
    let mut actions = now.clone();
    let name_of = |reference: &str| reference.split('@').next().unwrap_or(reference).to_owned();
    for (name, version) in wanted {
        if !now.keys().any(|reference| name_of(reference) == *name) {
            let names: Vec<String> = now.keys().map(|reference| name_of(reference)).collect();
            let message = format!("the workflow uses no action `{name}`; it uses {}", names.join(", "));
            return Err(EngineError::invalid("unknown_action", message));
        }
        let text = match version.as_str() {
            "latest" => name.clone(),
            version => format!("{name}@{version}"),
        };
        let reference = text.parse::<ActionRef>().map_err(|error| {
            EngineError::invalid("invalid_resume", format!("the version {version:?} of `{name}`: {error}"))
        })?;
        let Some(action) = ctx.ws.registry.actions().resolve(&reference).cloned() else {
            let what = match reference.version {
                VersionWanted::Latest => "no version".to_owned(),
                _ => format!("no version {version}"),
            };
            return Err(EngineError::invalid(
                "unknown_action",
                format!("there is {what} of the action `{name}`"),
            ));
        };
        for (written, resolved) in &mut actions {
            if name_of(written) == *name {
                *resolved = action.reference();
            }
        }
    }
    Ok(actions)
}
