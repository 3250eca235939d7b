//! Workflows: drafts, versions, activation, and a version compiled to what the engine runs.
use super::catalog::WorkspaceCatalog;
use super::hooks::{self, webhook};
use super::schema;
use crate::api::{DraftSaved, TextFormat, VersionStatus, WorkflowDetail, WorkflowInfo};
use crate::concurrency;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::inputs;
use crate::pace::Pace;
use crate::tables::{self, registry as rows, runs::timestamp};
use crate::timetables;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stepwell_records::Records;
use stepwell_records::filter::Allowed;
use stepwell_store::limits::MAX_VALUE_BYTES;
use stepwell_store::{Key, Refused, Txn, Want, transact};
use stepwell_workflow::check::{Catalog, Checked, check_as};
use stepwell_workflow::document::{self, Source};
use stepwell_workflow::expr::{self, Mode, Reference, Scope, Segment, Template};
use stepwell_workflow::graph::{Condition, Graph};
use stepwell_workflow::graph_draw;
use stepwell_workflow::machine::Payload;
use stepwell_workflow::model::{ActionRef, StepKind, Trigger, Webhook, Workflow};
use stepwell_workflow::timetable::Timetable;

/// A version of a workflow as the engine runs it.
pub(crate) struct Compiled {
    pub name: String,
    pub version: u32,
    pub workflow: Arc<Workflow>,
    pub graph: Graph,
    /// Of a webhook's body, or of what a manual start is given.
    pub input_schema: Option<schema::Compiled>,
    /// The times of a schedule.
    pub timetable: Option<Timetable>,
    /// What must hold of a record event.
    pub event_when: Option<Condition>,
    /// How many of its runs may be under way.
    pub concurrency: Option<concurrency::Limits>,
    /// The actions that it names.
    pub actions: Vec<ActionRef>,
    /// The secrets that it names.
    pub secrets: Arc<[String]>,
    /// The connections that it goes through.
    pub connections: Vec<String>,
    /// The settings that it names.
    pub settings: Vec<String>,
    /// Whether it may read settings, these or those that it finds by a name of its data.
    reads_settings: bool,
    /// Whether it may read or write what it keeps between runs.
    pub reads_state: bool,
    /// How long its events take to fold in.
    pub pace: Pace,
}

impl Compiled {
    /// What its runs that start now see as `settings`. The others are given none: a run keeps what it is given.
    pub(crate) fn settings_now(&self, ctx: &Ctx) -> Payload {
        match self.reads_settings {
            true => crate::settings::for_runs(ctx).into(),
            false => Payload::new(json!({})),
        }
    }

    /// What each action that it names is now; kept with a run from its start.
    pub(crate) fn resolve_actions(&self, ctx: &Ctx) -> Result<BTreeMap<String, String>, EngineError> {
        let actions = ctx.ws.registry.actions();
        let resolve = |reference: &ActionRef| match actions.resolve(reference) {
            Some(action) => Ok((reference.to_string(), action.reference())),
            None => {
                let message =
                    format!("workflow `{}` uses the action `{reference}`, which is not there", self.name);
                Err(EngineError::conflict("unknown_action", message))
            }
        };
        self.actions.iter().map(resolve).collect()
    }
}

/// Compiles a stored version. It was checked before it was stored, so a failure here is a defect.
pub(crate) fn compile(
    name: &str,
    version: u32,
    row: &rows::WorkflowVersionRow,
) -> Result<Compiled, EngineError> {
    let Some(workflow) = row.definition.clone() else {
        let message = format!("version {version} of `{name}` has problems; they keep it from running");
        return Err(EngineError::conflict("workflow_has_problems", message));
    };
    let input_schema = match &workflow.trigger {
        Trigger::Webhook(hook) => hook.body_schema.as_ref(),
        Trigger::Manual(manual) => manual.input_schema.as_ref(),
        Trigger::Schedule(_) | Trigger::RecordEvent(_) => None,
    };
    let input_schema = input_schema.map(schema::compile).transpose().map_err(|error| {
        EngineError::conflict("invalid_schema", format!("the trigger's schema of `{name}` is wrong: {error}"))
    })?;
    let mut actions: Vec<ActionRef> = Vec::new();
    let mut connections: Vec<String> = Vec::new();
    for step in workflow.every_step() {
        if let StepKind::HttpRequest(request) = &step.kind {
            connections.extend(request.connection.clone().filter(|name| !connections.contains(name)));
        }
        if let StepKind::Code(code) = &step.kind
            && !actions.contains(&code.action)
        {
            actions.push(code.action.clone());
        }
    }
    let graph = Graph::compile(&workflow).map_err(|errors| {
        let problems = errors.iter().map(|error| Problem {
            code: "invalid_template".into(),
            message: error.message.clone(),
            path: Some(error.place.clone()).filter(|place| !place.is_empty()),
            step: Some(error.step.clone()).filter(|step| !step.is_empty()),
            ..Problem::default()
        });
        refused(name, problems.collect())
    })?;
    let unfit = |why: String| {
        let message = format!("the trigger of version {version} of `{name}` is wrong: {why}");
        EngineError::conflict("workflow_has_problems", message)
    };
    let timetable = match &workflow.trigger {
        Trigger::Schedule(schedule) => Some(Timetable::of(schedule).map_err(unfit)?),
        _ => None,
    };
    let event_when = match &workflow.trigger {
        Trigger::RecordEvent(event) => event.when.as_ref(),
        _ => None,
    };
    let event_when = event_when.map(|when| Condition::compile_for(when, Allowed::BOTH)).transpose();
    let event_when = event_when.map_err(unfit)?;
    let limits = workflow.concurrency.as_ref().map(concurrency::Limits::of).transpose().map_err(|why| {
        let message = format!("`concurrency` of version {version} of `{name}` is wrong: {why}");
        EngineError::conflict("workflow_has_problems", message)
    })?;
    let writes_state = workflow.every_step().iter().any(|step| matches!(step.kind, StepKind::SetState(_)));
    let mut named = Named::default();
    named.look(&serde_json::to_value(&workflow).unwrap_or_default());
    Ok(Compiled {
        name: name.to_owned(),
        version,
        graph,
        input_schema,
        timetable,
        event_when,
        concurrency: limits,
        actions,
        secrets: named.secrets.into_iter().collect(),
        connections,
        settings: named.settings.into_iter().collect(),
        reads_settings: named.reads_settings,
        reads_state: named.reads_state || writes_state,
        pace: Pace::default(),
        workflow: workflow.into(),
    })
}

/// What the templates of a workflow name of its workspace. Texts that are no templates count too: that a
/// description names a secret costs little.
#[derive(Default)]
struct Named {
    secrets: BTreeSet<String>,
    settings: BTreeSet<String>,
    reads_settings: bool,
    reads_state: bool,
}

impl Named {
    fn look(&mut self, value: &Value) {
        match value {
            Value::String(text)
                if ["secrets", "settings", "state"].iter().any(|name| text.contains(name)) =>
            {
                self.reads_settings |= text.contains("settings");
                self.reads_state |= text.contains("state");
                for Reference { root, path, .. } in expr::references(text, Mode::Secrets).unwrap_or_default()
                {
                    let Some(Segment::Key(name)) = path.into_iter().next() else { continue };
                    match root.as_str() {
                        "secrets" => self.secrets.insert(name),
                        "settings" => self.settings.insert(name),
                        _ => false,
                    };
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.look(field)),
            _ => {}
        }
    }
}

/// The names of the active workflows that something holds for.
pub(crate) async fn active_that(
    ctx: &Ctx,
    holds: impl Fn(&Compiled) -> bool,
) -> Result<Vec<String>, EngineError> {
    let active = ctx.ws.registry.active();
    let mut found = Vec::new();
    for (name, number) in active {
        if holds(&*ctx.ws.registry.flow(ctx, &name, number).await?) {
            found.push(name);
        }
    }
    Ok(found)
}

/// A template of a trigger, which sees `trigger` alone.
pub(crate) fn render_text(template: &str, scope: &dyn Scope) -> Result<String, String> {
    let template = Template::compile(template, Mode::Value).map_err(|error| error.to_string())?;
    let text = template.render_text(scope).map_err(|error| error.to_string())?;
    text.reveal(|_| None).map_err(|error| error.to_string())
}

/// A stored version.
pub(crate) async fn version(
    ctx: &Ctx,
    name: &str,
    version: u32,
) -> Result<rows::WorkflowVersionRow, EngineError> {
    let key = rows::workflow_version_key(ctx.ws.id, name, version);
    let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::Key(key)]).await?;
    match view.rows.into_iter().flatten().next() {
        Some((key, value)) => Ok(tables::decode(&key, &value)?),
        None => Err(unknown_version(name, version)),
    }
}

/// A version that somebody asks for by its number. Those that a deleted workflow of the same name had are there for
/// their runs alone.
async fn version_of(
    ctx: &Ctx,
    name: &str,
    row: &rows::WorkflowRow,
    number: u32,
) -> Result<rows::WorkflowVersionRow, EngineError> {
    if !row.numbers().any(|known| known == number) {
        return Err(unknown_version(name, number));
    }
    version(ctx, name, number).await
}

fn unknown_version(name: &str, number: u32) -> EngineError {
    EngineError::not_found("unknown_version", format!("workflow `{name}` has no version {number}"))
}

fn workflow_row(ctx: &Ctx, name: &str) -> Result<rows::WorkflowRow, EngineError> {
    ctx.ws.registry.workflow(name).ok_or_else(|| {
        let names = ctx.ws.registry.workflow_names();
        let message = match stepwell_records::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("there is no workflow `{name}`; did you mean `{near}`?"),
            None => format!("there is no workflow `{name}`"),
        };
        EngineError::not_found("unknown_workflow", message)
    })
}

/// The version that starts runs, compiled.
pub(crate) async fn active(ctx: &Ctx, name: &str) -> Result<Arc<Compiled>, EngineError> {
    let row = workflow_row(ctx, name)?;
    let Some(version) = row.active else {
        let message = format!("workflow `{name}` is not active; activate it first");
        return Err(EngineError::conflict("workflow_not_active", message));
    };
    ctx.ws.registry.flow(ctx, name, version).await
}

pub(crate) async fn catalog(ctx: &Ctx) -> Result<WorkspaceCatalog, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    let views = records.view_names().await?;
    Ok(WorkspaceCatalog::new(ctx, records.schema().clone(), views))
}

/// Checks a text against what the workspace has.
async fn checked(ctx: &Ctx, name: &str, text: &str) -> Result<(Checked, Vec<Problem>), EngineError> {
    let catalog = catalog(ctx).await?;
    Ok(checked_against(&catalog, name, text))
}

pub(crate) fn checked_against(catalog: &dyn Catalog, name: &str, text: &str) -> (Checked, Vec<Problem>) {
    let checked = check_as(text, name, catalog);
    let problems = checked.problems.iter().map(Problem::from).collect();
    (checked, problems)
}

/// What a save would say.
pub(crate) async fn check_text(ctx: &Ctx, name: &str, text: &str) -> Result<Vec<Problem>, EngineError> {
    Ok(checked(ctx, name, text).await?.1)
}

/// A text as it would run, for tests of drafts; with problems it is refused.
pub(crate) async fn compile_text(ctx: &Ctx, name: &str, text: &str) -> Result<Compiled, EngineError> {
    let (checked, problems) = checked(ctx, name, text).await?;
    let Some(definition) = checked.workflow else { return Err(refused(name, problems)) };
    let row = rows::WorkflowVersionRow {
        format: TextFormat::Yaml,
        text: String::new(),
        definition: Some(definition),
        created_ms: 0,
    };
    compile(name, 0, &row)
}

pub(crate) fn refused(name: &str, problems: Vec<Problem>) -> EngineError {
    let message = match problems.len() {
        1 => format!("workflow `{name}` has a problem"),
        n => format!("workflow `{name}` has {n} problems"),
    };
    EngineError::invalid("invalid_workflow", message).with_problems(problems)
}

/// Saves a draft. What cannot be read as a workflow at all is refused; what can be read is saved with its problems.
pub(crate) async fn put_draft(
    ctx: &Ctx,
    name: &str,
    text: &str,
    format: TextFormat,
) -> Result<DraftSaved, EngineError> {
    check_name(name)?;
    let (checked, problems) = checked(ctx, name, text).await?;
    if checked.workflow.is_none() && !readable(text) {
        let error = if text.len() > document::MAX_BYTES {
            too_large(name, text.len(), text.len(), document::MAX_BYTES)
        } else {
            return Err(refused(name, problems));
        };
        return Err(error.with_problems(problems));
    }
    let _one = ctx.ws.registry.changing.lock().await;
    let mut row = ctx.ws.registry.workflow_or_what_is_left(name).unwrap_or_default();
    let anew = std::mem::take(&mut row.deleted);
    let newest = row.draft.or(row.active);
    if let Some(newest) = newest
        && let Ok(stored) = version(ctx, name, newest).await
        && stored.text == text
        && stored.definition == checked.workflow
    {
        return Ok(DraftSaved { name: name.to_owned(), version: newest, changed: false, problems });
    }
    let number = match row.draft {
        Some(draft) => draft,
        None => row.last + 1,
    };
    row.draft = Some(number);
    row.last = row.last.max(number);
    row.updated_ms = ctx.now_ms();
    let stored = rows::WorkflowVersionRow {
        format,
        text: text.to_owned(),
        definition: checked.workflow,
        created_ms: row.updated_ms,
    };
    // A run of the one before may have written at the moment of its end.
    let kept = if anew { Kept::Goes } else { Kept::Stays };
    save_with(ctx, name, row, Some((number, stored)), None, kept).await?;
    Ok(DraftSaved { name: name.to_owned(), version: number, changed: true, problems })
}

/// Whether a text is a workflow at all, whatever is wrong with it.
fn readable(text: &str) -> bool {
    let source = Source::new(text);
    let (tree, _) = document::parse(&source);
    tree.is_some_and(|tree| document::read(&source, &tree).0.is_some())
}

/// What becomes of the values that a workflow keeps.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kept {
    Stays,
    Goes,
}

/// Writes rows and memory; with them a row that another table has for the workflow.
pub(crate) async fn save_with(
    ctx: &Ctx,
    name: &str,
    row: rows::WorkflowRow,
    version: Option<(u32, rows::WorkflowVersionRow)>,
    beside: Option<(Key, Option<stepwell_store::Value>)>,
    kept: Kept,
) -> Result<(), EngineError> {
    let mut writes = vec![(rows::workflow_key(ctx.ws.id, name), tables::encode(&row)?)];
    if let Some((number, version)) = &version {
        let value = tables::encode(version)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(too_large(name, version.text.len(), value.len(), MAX_VALUE_BYTES));
        }
        writes.push((rows::workflow_version_key(ctx.ws.id, name, *number), value));
    }
    let (writes, beside) = (&writes, &beside);
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            for (key, value) in writes {
                tx.put(key.clone(), value.clone());
            }
            if kept == Kept::Goes {
                crate::state::forget(ctx, &mut tx, name).await?;
            }
            match beside {
                Some((key, Some(value))) => tx.put(key.clone(), value.clone()),
                Some((key, None)) => tx.delete(key.clone()),
                None => {}
            }
            Ok::<_, Refused>(())
        })
    })
    .await?;
    if let Some((number, _)) = version {
        ctx.ws.registry.forget_flow(name, number);
    }
    ctx.ws.registry.insert_workflow(name, row);
    Ok(())
}

fn too_large(name: &str, text: usize, stored: usize, most: usize) -> EngineError {
    let message = format!(
        "workflow `{name}` takes {stored} bytes to store (its text of {text} bytes, and its steps as they are run); \
         at most {most} are possible: move steps into workflows of their own, and large values into records"
    );
    EngineError::new(ErrorKind::TooLarge, "too_large", message)
}

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

pub(crate) fn hook_taken(rival: &str, method: &str, hook: &Webhook) -> EngineError {
    let message =
        format!("workflow `{rival}` already listens on {method} `{}`; choose another path", hook.path);
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
        return Err(hook_taken(rival, &method, hook));
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

/// Takes a workflow away. Its runs stay, and those under way end on their version; the name may be used again.
pub(crate) async fn delete(ctx: &Ctx, name: &str) -> Result<WorkflowInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let row = workflow_row(ctx, name)?;
    if row.active.is_some() {
        let message = format!("workflow `{name}` is active; deactivate it first");
        return Err(EngineError::conflict("workflow_active", message));
    }
    let was = info(ctx, name).await?;
    let left = rows::WorkflowRow {
        last: row.last,
        service: row.service,
        updated_ms: ctx.now_ms(),
        deleted: true,
        ..Default::default()
    };
    save_with(ctx, name, left, None, Some(timetables::gone(ctx, name)), Kept::Goes).await?;
    Ok(was)
}

/// A line of a list.
pub(crate) async fn info(ctx: &Ctx, name: &str) -> Result<WorkflowInfo, EngineError> {
    let row = workflow_row(ctx, name)?;
    let shown = row.active.or(row.draft).or_else(|| row.archived.last().copied());
    let flow = match shown {
        Some(version) => ctx.ws.registry.flow(ctx, name, version).await.ok(),
        None => None,
    };
    let trigger = flow.as_ref().map_or("unknown", |flow| flow.workflow.trigger.type_name()).to_owned();
    let hook = flow.as_ref().and_then(|flow| webhook(flow)).map(|hook| hook.path.clone());
    Ok(WorkflowInfo {
        name: name.to_owned(),
        active_version: row.active,
        draft_version: row.draft,
        trigger,
        hook,
        updated_at: timestamp(row.updated_ms),
    })
}

pub(crate) async fn detail(
    ctx: &Ctx,
    name: &str,
    wanted: Option<u32>,
) -> Result<WorkflowDetail, EngineError> {
    let row = workflow_row(ctx, name)?;
    let newest = wanted.or(row.draft).or(row.active).or_else(|| row.archived.last().copied());
    let Some(number) = newest else {
        return Err(EngineError::not_found("unknown_version", format!("workflow `{name}` has no version")));
    };
    let stored = version_of(ctx, name, &row, number).await?;
    let status = |number: u32| match number {
        n if row.active == Some(n) => VersionStatus::Active,
        n if row.draft == Some(n) => VersionStatus::Draft,
        _ => VersionStatus::Archived,
    };
    let mut numbers: Vec<u32> = row.numbers().collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.dedup();
    Ok(WorkflowDetail {
        info: info(ctx, name).await?,
        version: number,
        status: status(number),
        format: stored.format,
        problems: check_text(ctx, name, &stored.text).await?,
        text: stored.text,
        versions: numbers.into_iter().map(|number| (number, status(number))).collect(),
    })
}

/// The draft, or else the active version, compiled.
pub(crate) async fn newest(ctx: &Ctx, name: &str) -> Result<Arc<Compiled>, EngineError> {
    let row = workflow_row(ctx, name)?;
    let Some(number) = row.draft.or(row.active).or_else(|| row.archived.last().copied()) else {
        return Err(EngineError::not_found("unknown_version", format!("workflow `{name}` has no version")));
    };
    ctx.ws.registry.flow(ctx, name, number).await
}

/// A version's graph: its steps in document order, with what stands inside what and what waits for what.
pub(crate) async fn graph(ctx: &Ctx, name: &str, wanted: Option<u32>) -> Result<Value, EngineError> {
    let flow = match wanted {
        Some(number) if workflow_row(ctx, name)?.numbers().all(|known| known != number) => {
            return Err(unknown_version(name, number));
        }
        Some(number) => ctx.ws.registry.flow(ctx, name, number).await?,
        None => newest(ctx, name).await?,
    };
    let trigger = flow.workflow.trigger.type_name();
    Ok(json!({
        "name": flow.name, "version": flow.version, "trigger": trigger, "nodes": graph_draw::nodes(&flow.graph),
    }))
}

/// What active workflows that would pick up a new version of an action cannot do with it.
pub(crate) async fn picked_up(ctx: &Ctx, action: &str) -> Result<Vec<Problem>, EngineError> {
    let active = ctx.ws.registry.active();
    let catalog = catalog(ctx).await?;
    let mut found = Vec::new();
    for (name, number) in active {
        let flow = ctx.ws.registry.flow(ctx, &name, number).await?;
        if flow.actions.iter().any(|reference| reference.name == action) {
            let stored = version(ctx, &name, number).await?;
            let (_, problems) = checked_against(&catalog, &name, &stored.text);
            found.extend(problems.into_iter().map(|problem| Problem {
                message: format!("workflow `{name}`: {}", problem.message),
                ..problem
            }));
        }
    }
    Ok(found)
}

/// Active workflows that name an action by a reference that would be `gone`.
pub(crate) async fn left_without(
    ctx: &Ctx,
    action: &str,
    gone: impl Fn(&ActionRef) -> bool,
) -> Result<Vec<Problem>, EngineError> {
    let active = ctx.ws.registry.active();
    let mut found = Vec::new();
    for (name, number) in active {
        let flow = ctx.ws.registry.flow(ctx, &name, number).await?;
        if let Some(used) = flow.actions.iter().find(|used| used.name == action && gone(used)) {
            found.push(Problem {
                code: "action_in_use".into(),
                message: format!("the active workflow `{name}` uses `{used}`, and no other version fits"),
                hint: Some(format!("deactivate `{name}`, or activate a version of it that uses another")),
                ..Problem::default()
            });
        }
    }
    Ok(found)
}

pub(crate) fn check_name(name: &str) -> Result<(), EngineError> {
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if starts_well && name.len() <= 64 && name.bytes().all(known) {
        return Ok(());
    }
    let message = format!(
        "`{name}` cannot name a workflow: lower case letters, digits, `-` and `_`, a letter first, at most 64"
    );
    Err(EngineError::invalid("invalid_name", message))
}
