//! Workflows: drafts, versions, and what is shown of them.
use super::catalog::WorkspaceCatalog;
use super::compiled::{Compiled, compile};
use super::hooks::webhook;
use crate::api::{DraftSaved, TextFormat, VersionStatus, WorkflowDetail, WorkflowInfo};
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::pace::{self, Pace};
use crate::tables::{self, registry as rows, runs::timestamp};
use crate::timetables;
use serde_json::{Value, json};
use std::sync::Arc;
use stepwell_records::Records;
use stepwell_store::limits::MAX_VALUE_BYTES;
use stepwell_store::{Key, Refused, Txn, Want, transact};
use stepwell_workflow::check::{Catalog, Checked, check_as};
use stepwell_workflow::document::{self, Source};
use stepwell_workflow::graph_draw;
use stepwell_workflow::model::ActionRef;

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
pub(super) async fn version_of(
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

pub(super) fn workflow_row(ctx: &Ctx, name: &str) -> Result<rows::WorkflowRow, EngineError> {
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

/// A text of so many bytes is checked in about a millisecond. Longer ones leave the thread to those who ask for something
/// else, and stand in the lane of work that takes long, as do those with patterns, which are compiled.
const CHECKED_AT_ONCE: usize = 8 << 10;

/// Checks a text against what the workspace has.
pub(super) async fn checked(
    ctx: &Ctx,
    name: &str,
    text: &str,
) -> Result<(Checked, Vec<Problem>), EngineError> {
    let catalog = catalog(ctx).await?;
    // A `\` may write the word in another way.
    let compiles = text.contains("pattern") || text.contains('\\');
    if text.len() <= CHECKED_AT_ONCE && !compiles {
        return Ok(checked_against(&catalog, name, text));
    }
    let (pace, clock) = (Pace::slow(), &ctx.core.ports.clock);
    Ok(ctx.core.lane.run(&pace, || clock.elapsed(), || checked_against(&catalog, name, text)).await)
}

pub(crate) fn checked_against(catalog: &dyn Catalog, name: &str, text: &str) -> (Checked, Vec<Problem>) {
    let check = || check_as(text, name, catalog);
    let checked = if text.len() <= CHECKED_AT_ONCE { check() } else { pace::aside(check) };
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
    let _writing = (kept == Kept::Goes).then(|| ctx.ws.states.writing(name));
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
