//! Objects and fields of a workspace: shown, added one by one, or brought to what a file says, with a plan first and
//! never under the feet of an active workflow.
use crate::api::{SchemaApplied, SchemaPlan, SetConflict};
use crate::core::Ctx;
use crate::error::{EngineError, Problem};
use crate::indexer;
use crate::records::schema;
use crate::registry::catalog::WorkspaceCatalog;
use crate::registry::{together, workflows};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stepwell_records::schema::{NewField, NewObject, Plan, Schema, Wanted, WantedObject};
use stepwell_records::{Backfill, Records, RecordsError};
use stepwell_store::{Txn, transact};
use stepwell_workflow::schema_file;

pub(crate) async fn list(ctx: &Ctx) -> Result<Vec<Value>, EngineError> {
    let (schema, done) = (schema(ctx).await?, indexer::progress(ctx).await?);
    Ok(schema
        .objects()
        .map(|object| schema.describe(object, &|of: Backfill| done.get(&of).copied()))
        .collect())
}

pub(crate) async fn get(ctx: &Ctx, name: &str) -> Result<Value, EngineError> {
    let (schema, done) = (schema(ctx).await?, indexer::progress(ctx).await?);
    let object = schema.object(name)?;
    Ok(schema.describe(object, &|of: Backfill| done.get(&of).copied()))
}

fn read<T: DeserializeOwned>(json: Value, what: &str) -> Result<T, EngineError> {
    serde_json::from_value(json)
        .map_err(|error| EngineError::invalid("invalid_schema", format!("this is no {what}: {error}")))
}

pub(crate) async fn create_object(ctx: &Ctx, object: Value) -> Result<Value, EngineError> {
    let new: NewObject = read(object, "object")?;
    let new = &new;
    ctx.check_open()?;
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            Records::open(&mut tx, ctx.ws.id).await?.create_object(new).await?;
            Ok::<_, RecordsError>(())
        })
    })
    .await?;
    ctx.ws.schema.forget();
    get(ctx, &new.name).await
}

pub(crate) async fn add_field(ctx: &Ctx, object: &str, field: Value) -> Result<Value, EngineError> {
    let new: NewField = read(field.clone(), "field")?;
    let new = &new;
    ctx.check_open()?;
    let _one = ctx.ws.registry.changing.lock().await;
    let name = schema(ctx).await?.object(object)?.name.clone();
    let wanted = serde_json::json!({ "objects": [{ "name": name, "fields": [field] }] });
    let wanted: Wanted = read(wanted, "field")?;
    let plan = {
        let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
        let mut records = Records::open(&mut txn, ctx.ws.id).await?;
        match records.plan_schema(&wanted).await {
            Ok(plan) => plan,
            Err(error) => {
                // Adding it says the same in the words of one field.
                records.add_field(object, new).await?;
                return Err(error.into());
            }
        }
    };
    fits(ctx, &wanted, &plan, &BTreeMap::new(), |_| true).await?;
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            Records::open(&mut tx, ctx.ws.id).await?.add_field(object, new).await?;
            Ok::<_, RecordsError>(())
        })
    })
    .await?;
    ctx.ws.schema.forget();
    indexer::look(ctx);
    get(ctx, object).await
}

/// A schema as it was given: a file's text, or what it says.
pub(crate) struct Given {
    wanted: Wanted,
    text: Option<String>,
}

impl Given {
    /// What a person gives: a file's text, or the same as JSON, which is read in the same way.
    pub(crate) fn new(schema: Option<Value>) -> Result<Self, EngineError> {
        let (text, is_file) = match schema {
            None => return Ok(Self { wanted: Wanted::default(), text: None }),
            Some(Value::String(text)) => (text, true),
            Some(schema) => (schema.to_string(), false),
        };
        match schema_file::read(&text) {
            Ok(wanted) => Ok(Self { wanted, text: Some(text).filter(|_| is_file) }),
            Err(problems) => {
                let shown = |problem: &stepwell_workflow::problem::Problem| match is_file {
                    true => Problem::from(problem),
                    // It has no lines.
                    false => Problem { line: None, column: None, ..Problem::from(problem) },
                };
                Err(refused(problems.iter().map(shown).collect()))
            }
        }
    }

    /// What a call about one field or object comes to.
    pub(crate) fn made(schema: Value) -> Result<Self, EngineError> {
        Ok(Self { wanted: read(schema, "schema")?, text: None })
    }

    /// An error of the records, with the lines of the file.
    fn told(&self, error: RecordsError) -> EngineError {
        match (&self.text, &error) {
            (Some(text), RecordsError::Schema { .. }) => {
                refused(schema_file::told(text, &error).iter().map(Problem::from).collect())
            }
            _ => error.into(),
        }
    }
}

fn refused(problems: Vec<Problem>) -> EngineError {
    let message = match problems.len() {
        1 => "the schema cannot be applied".to_owned(),
        n => format!("the schema cannot be applied: {n} problems"),
    };
    EngineError::invalid("invalid_schema", message).with_problems(problems)
}

/// What applying would change.
pub(crate) async fn plan(
    ctx: &Ctx,
    given: Given,
    texts: &BTreeMap<String, String>,
) -> Result<SchemaPlan, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let mut records = Records::open(&mut txn, ctx.ws.id).await?;
    let plan = records.plan_schema(&given.wanted).await.map_err(|error| given.told(error))?;
    // Connections may come along with the same files; applying asks for them.
    fits(ctx, &given.wanted, &plan, texts, |code| code != "unknown_connection").await?;
    Ok(SchemaPlan { changes: plan.steps })
}

/// Refuses a schema that active workflows, but for those that change along, or the texts given do not go with, and texts
/// that could not become active beside each other; of what is wrong with those texts the codes that count.
async fn fits(
    ctx: &Ctx,
    wanted: &Wanted,
    plan: &Plan,
    texts: &BTreeMap<String, String>,
    counts: impl Fn(&str) -> bool,
) -> Result<WorkspaceCatalog, EngineError> {
    let now = workflows::catalog(ctx).await?;
    let then = catalog(ctx, wanted, plan).await?.with(texts);
    let mut problems = Vec::new();
    for (name, number) in ctx.ws.registry.active() {
        if texts.contains_key(&name) || plan.steps.is_empty() {
            continue;
        }
        let text = workflows::version(ctx, &name, number).await?.text;
        let known: BTreeSet<String> =
            workflows::checked_against(&now, &name, &text).1.into_iter().map(|p| p.message).collect();
        let new = workflows::checked_against(&then, &name, &text).1;
        problems.extend(new.into_iter().filter(|p| !known.contains(&p.message)).map(|problem| Problem {
            code: "schema_in_use".into(),
            message: format!("the active workflow `{name}`: {}", problem.message),
            hint: Some(format!(
                "deactivate `{name}`, or apply a version of it that fits together with the schema"
            )),
            step: problem.step,
            ..Problem::default()
        }));
    }
    if !problems.is_empty() {
        let message = "active workflows use what would no longer be there";
        return Err(EngineError::conflict("schema_in_use", message).with_problems(problems));
    }
    for (name, text) in texts {
        let new = workflows::checked_against(&then, name, text).1;
        problems.extend(new.into_iter().filter(|problem| counts(&problem.code)).map(|problem| Problem {
            message: format!("workflow `{name}`: {}", problem.message),
            ..problem
        }));
    }
    let only_taken = problems.is_empty();
    problems.extend(together::taken(ctx, texts).into_iter().map(|(name, problem)| Problem {
        message: format!("workflow `{name}`: {}", problem.message),
        ..problem
    }));
    match problems.as_slice() {
        [] => return Ok(then),
        [problem, ..] if only_taken => {
            let message = match problems.len() {
                1 => problem.message.clone(),
                n => format!("{n} workflows listen where another one does; nothing was changed"),
            };
            return Err(EngineError::conflict("hook_taken", message).with_problems(problems));
        }
        _ => {}
    }
    let message = "the workflows that come with the schema have problems; nothing was changed";
    Err(EngineError::invalid("invalid_workflow", message).with_problems(problems))
}

/// The workspace as it would be.
async fn catalog(ctx: &Ctx, wanted: &Wanted, plan: &Plan) -> Result<WorkspaceCatalog, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    let before = records.schema().clone();
    let mut views: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (object, names) in records.view_names().await? {
        let id = before.object(&object)?.id;
        let Some(object) = plan.schema.object_by_id(id) else { continue };
        views.entry(object.name.clone()).or_default().extend(names);
    }
    for view in &wanted.views {
        let object = plan.schema.object(&view.object)?.name.clone();
        views.entry(object).or_default().push(view.name.clone());
    }
    Ok(WorkspaceCatalog::new(ctx, plan.schema.clone(), views))
}

/// Changes the schema, and makes the workflows that come with it active: both or neither, but for drafts.
pub(crate) async fn apply(
    ctx: &Ctx,
    given: Given,
    texts: &BTreeMap<String, String>,
    wait: Option<Duration>,
) -> Result<SchemaApplied, EngineError> {
    ctx.check_open()?;
    let (steps, activated) = {
        let _one = ctx.ws.registry.changing.lock().await;
        let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
        let mut records = Records::open(&mut txn, ctx.ws.id).await?;
        let planned = records.plan_schema(&given.wanted).await.map_err(|error| given.told(error))?;
        let then = fits(ctx, &given.wanted, &planned, texts, |_| true).await?;
        let coming = together::prepare(ctx, &then, texts).await?;
        together::save_drafts(ctx, &coming).await?;
        let (wanted, all, changes) = (&given.wanted, &coming, !planned.steps.is_empty());
        let applied = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
            Box::pin(async move {
                let mut steps = Vec::new();
                if changes {
                    steps = Records::open(&mut tx, ctx.ws.id).await?.apply_schema(wanted).await?.steps;
                }
                all.iter().try_for_each(|one| together::put(ctx, &mut tx, one))?;
                Ok::<_, RecordsError>(steps)
            })
        });
        let steps = applied.await.map_err(|error| given.told(error))?;
        ctx.ws.schema.forget();
        (steps, together::done(ctx, coming).await?)
    };
    indexer::look(ctx);
    if let Some(within) = wait {
        indexer::idle(ctx, within).await;
    }
    let schema = schema(ctx).await?;
    let building = !schema.backfills().is_empty();
    let conflicts = given_up(&schema, &given.wanted);
    let refused = conflicts.iter().map(|set| set.message.clone()).collect();
    Ok(SchemaApplied { changes: steps, activated, building, refused, conflicts })
}

/// Unique sets that were asked for, and that records contradict.
fn given_up(schema: &Schema, wanted: &Wanted) -> Vec<SetConflict> {
    let mut given_up = Vec::new();
    for wanted in &wanted.objects {
        let Ok(object) = schema.object(&wanted.name) else { continue };
        for set in object.unique.iter().filter(|set| set.is_given_up()) {
            let fields = object.unique_names(set);
            let field = |name: &str| name.split('.').next().is_some_and(|field| is_unique(wanted, field));
            let asked =
                object.is_one_of(set, &wanted.unique) || matches!(fields.as_slice(), [one] if field(one));
            if asked {
                let problem = set.problem.as_deref().unwrap_or_default();
                given_up.push(SetConflict {
                    object: object.name.clone(),
                    message: format!("[{}] of {} is not unique: {problem}", fields.join(", "), object.name),
                    fields,
                    records: set.twins.iter().map(|twins| twins.map(|id| id.to_string())).collect(),
                });
            }
        }
    }
    given_up
}

fn is_unique(wanted: &WantedObject, field: &str) -> bool {
    wanted.fields.iter().any(|wanted| wanted.unique && wanted.name == field)
}
