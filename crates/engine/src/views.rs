//! Views: filters and orders that are saved under a name, for searches to use.
use crate::api::{Page, PageRequest, ViewInfo, page_of_names};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::registry::workflows;
use crate::settings::in_use;
use serde_json::Value;
use std::collections::BTreeMap;
use stepwell_records::{Records, RecordsError, View};
use stepwell_store::{Txn, transact};
use stepwell_workflow::model::{StepKind, Workflow};

fn info(view: View) -> ViewInfo {
    let filter = view.filter.as_ref().and_then(|filter| serde_json::to_value(filter).ok());
    ViewInfo { object: view.object, name: view.name, filter, sort: view.sort }
}

pub(crate) async fn list(
    ctx: &Ctx,
    object: Option<&str>,
    page: PageRequest,
) -> Result<Page<ViewInfo>, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    let wanted = object.map(|object| records.schema().object(object)).transpose()?.map(|o| o.name.clone());
    let mut found: BTreeMap<String, ViewInfo> = BTreeMap::new();
    let objects: Vec<String> = records.view_names().await?.into_keys().collect();
    for object in objects.iter().filter(|name| wanted.as_ref().is_none_or(|wanted| wanted == *name)) {
        let views = records.views(object).await?;
        found.extend(views.into_iter().map(|view| (format!("{object}/{}", view.name), info(view))));
    }
    let names = found.keys().cloned().collect();
    page_of_names("views", names, &page, |name| found.remove(name))
}

pub(crate) async fn get(ctx: &Ctx, object: &str, name: &str) -> Result<ViewInfo, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    Ok(info(records.view(object, name).await?))
}

/// Saves a view, and says whether it is new.
pub(crate) async fn put(
    ctx: &Ctx,
    object: &str,
    name: &str,
    filter: Option<Value>,
    sort: Vec<String>,
) -> Result<(ViewInfo, bool), EngineError> {
    ctx.check_open()?;
    let (filter, sort) = (filter.as_ref(), &sort);
    let (view, new) = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut records = Records::open(&mut tx, ctx.ws.id).await?;
            let new = records.view(object, name).await.is_err();
            let view = records.save_view(object, name, filter, sort).await?;
            Ok::<_, RecordsError>((view, new))
        })
    })
    .await?;
    Ok((info(view), new))
}

/// Whether a workflow searches by a view.
fn uses(workflow: &Workflow, object: &str, plural: &str, name: &str) -> bool {
    let is_it =
        |of: &str, view: &Option<String>| view.as_deref() == Some(name) && (of == object || of == plural);
    workflow.every_step().into_iter().any(|step| match &step.kind {
        StepKind::SearchRecords(search) => is_it(&search.object, &search.view),
        StepKind::Iterator(iterate) => {
            iterate.search.as_ref().is_some_and(|search| is_it(&search.object, &search.view))
        }
        _ => false,
    })
}

/// Refuses to take a name away that active workflows use.
async fn unused(ctx: &Ctx, object: &str, name: &str) -> Result<(), EngineError> {
    let schema = crate::records::schema(ctx).await?;
    let known = schema.object(object)?.clone();
    let users =
        workflows::active_that(ctx, |flow| uses(&flow.workflow, &known.name, &known.plural, name)).await?;
    if users.is_empty() { Ok(()) } else { Err(in_use("view_in_use", "view", name, &users)) }
}

pub(crate) async fn rename(ctx: &Ctx, object: &str, name: &str, to: &str) -> Result<ViewInfo, EngineError> {
    ctx.check_open()?;
    let _one = ctx.ws.registry.changing.lock().await;
    if name == to {
        return get(ctx, object, name).await;
    }
    get(ctx, object, name).await?;
    unused(ctx, object, name).await?;
    let view = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut records = Records::open(&mut tx, ctx.ws.id).await?;
            records.rename_view(object, name, to).await
        })
    })
    .await?;
    Ok(info(view))
}

pub(crate) async fn delete(ctx: &Ctx, object: &str, name: &str) -> Result<ViewInfo, EngineError> {
    ctx.check_open()?;
    let _one = ctx.ws.registry.changing.lock().await;
    let was = get(ctx, object, name).await?;
    unused(ctx, object, name).await?;
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut records = Records::open(&mut tx, ctx.ws.id).await?;
            records.delete_view(object, name).await
        })
    })
    .await?;
    Ok(was)
}
