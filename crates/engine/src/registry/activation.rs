//! Which version of a workflow starts runs: activation, what is looked at and written for it, and deactivation.
use super::compiled::{Compiled, compile};
use super::hooks::{self, webhook};
use super::workflows::{Kept, checked, info, refused, save_with, version_of, workflow_row};
use crate::api::WorkflowInfo;
use crate::core::Ctx;
use crate::error::EngineError;
use crate::inputs;
use crate::tables::registry as rows;
use crate::timetables;
use std::sync::Arc;
use stepwell_store::Key;
use stepwell_workflow::model::{Trigger, Webhook, Workflow};

/// Makes a version the one whose trigger starts runs.
pub(crate) async fn activate(
    ctx: &Ctx,
    name: &str,
    wanted: Option<u32>,
) -> Result<WorkflowInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let row = workflow_row(ctx, name)?;
    // One that was deactivated is activated again as it was.
    let newest = row.draft.or(row.active).or_else(|| row.archived.last().copied());
    let Some(number) = wanted.or(newest) else {
        return Err(EngineError::conflict(
            "nothing_to_activate",
            format!("workflow `{name}` has no version"),
        ));
    };
    let mut stored = version_of(ctx, name, &row, number).await?;
    // The workspace may have changed since it was saved.
    let (checked, problems) = checked(ctx, name, &stored.text).await?;
    let Some(definition) = checked.workflow else { return Err(refused(name, problems)) };
    stored.definition = Some(definition);
    let Activation { row, stored, armed, flow, .. } =
        activation(ctx, name, row, number, stored, &|_| false).await?;
    warm(ctx, &flow);
    save_with(ctx, name, row, Some((number, stored)), armed, Kept::Stays).await?;
    hooks::rebuild(ctx).await?;
    info(ctx, name).await
}

/// A version that is to start runs from now on, with all that is written for it.
pub(crate) struct Activation {
    pub name: String,
    pub row: rows::WorkflowRow,
    pub number: u32,
    pub stored: rows::WorkflowVersionRow,
    pub armed: Option<(Key, Option<stepwell_store::Value>)>,
    pub flow: Arc<Compiled>,
}

/// `how` the rival listens there: `already listens`, or would.
pub(crate) fn hook_taken(rival: &str, how: &str, method: &str, hook: &Webhook) -> EngineError {
    let message = format!("workflow `{rival}` {how} on {method} `{}`; choose another path", hook.path);
    EngineError::conflict("hook_taken", message)
}

/// Looks whether a checked version can become active, and what that would be; nothing is written. `beside` are
/// workflows that change along.
pub(crate) async fn activation(
    ctx: &Ctx,
    name: &str,
    mut row: rows::WorkflowRow,
    number: u32,
    stored: rows::WorkflowVersionRow,
    beside: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Activation, EngineError> {
    let flow = Arc::new(compile(name, number, &stored)?);
    if let Some(hook) = webhook(&flow)
        && let Some((rival, method)) = ctx.ws.registry.hooks().rival(name, hook, beside)
    {
        return Err(hook_taken(rival, "already listens", &method, hook));
    }
    let listens = listens(ctx, name, &row, &flow.workflow).await?;
    let unfit = crate::hooks::signature::unfit(ctx, &flow);
    if !unfit.is_empty() {
        return Err(refused(name, unfit));
    }
    let before = row.active.replace(number);
    row.archived.extend(before.filter(|before| *before != number));
    row.archived.retain(|archived| *archived != number);
    if row.draft == Some(number) {
        row.draft = None;
    }
    (row.since, row.service) = listens;
    row.updated_ms = ctx.now_ms();
    let armed = timetables::armed(ctx, &flow).await?;
    Ok(Activation { name: name.to_owned(), row, number, stored, armed, flow })
}

/// From which position of the log on record events start runs of a version that is activated now: from now on, or
/// where the version before it goes out of service, so that no event between the two is lost or counts twice. And
/// which time in service that is: what waits to settle for the version before goes on as well.
async fn listens(
    ctx: &Ctx,
    name: &str,
    row: &rows::WorkflowRow,
    definition: &Workflow,
) -> Result<(u64, u32), EngineError> {
    let Trigger::RecordEvent(event) = &definition.trigger else { return Ok((0, row.service)) };
    if let Some(active) = row.active {
        let before = ctx.ws.registry.flow(ctx, name, active).await?;
        if let Trigger::RecordEvent(before) = &before.workflow.trigger
            && before.object == event.object
        {
            return Ok((row.since.max(ctx.ws.events.position()), row.service));
        }
    }
    Ok((ctx.core.ports.store.log_head(ctx.ws.log).await?, row.service + 1))
}

/// Loads the modules of a workflow that is about to run, so that its first run does not wait for them.
pub(crate) fn warm(ctx: &Ctx, flow: &Compiled) {
    inputs::warn_of_links(ctx, flow);
    if flow.actions.is_empty() {
        return;
    }
    let actions: Vec<_> = {
        let table = ctx.ws.registry.actions();
        flow.actions.iter().filter_map(|reference| table.resolve(reference).cloned()).collect()
    };
    let task = ctx.clone();
    ctx.core.tasks.spawn(async move {
        for action in actions {
            if task.core.closing.is_cancelled() {
                return;
            }
            if let Err(failure) = crate::steps::code::ready(&task, &action).await {
                tracing::warn!(action = %action.reference(), error = %failure.message, "a module does not load");
            }
        }
    });
}

/// Loads the modules of all active workflows, in the background, after a start.
pub(crate) async fn warm_all(ctx: &Ctx) {
    let active = ctx.ws.registry.active();
    for (name, number) in active {
        if let Ok(flow) = ctx.ws.registry.flow(ctx, &name, number).await {
            warm(ctx, &flow);
        }
    }
}

pub(crate) async fn deactivate(ctx: &Ctx, name: &str) -> Result<WorkflowInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let mut row = workflow_row(ctx, name)?;
    if let Some(active) = row.active.take() {
        row.archived.push(active);
        row.updated_ms = ctx.now_ms();
        let disarmed = timetables::disarmed(ctx, name).await?;
        save_with(ctx, name, row, None, disarmed, Kept::Stays).await?;
        hooks::rebuild(ctx).await?;
    }
    info(ctx, name).await
}
