//! Workflows that become active together with a schema: all of it in one commit, or none. Only their drafts come before,
//! since many texts are more than one commit takes.
use super::activation::{self, Activation};
use super::catalog::WorkspaceCatalog;
use super::hooks;
use super::workflows;
use crate::api::TextFormat;
use crate::core::Ctx;
use crate::error::{EngineError, Problem};
use crate::tables::{self, registry as rows};
use std::collections::BTreeMap;
use stepwell_store::{Refused, Txn};
use stepwell_workflow::check::{NoCatalog, check_as};
use stepwell_workflow::document::{self, Source};
use stepwell_workflow::model::{Trigger, Webhook};

/// A workflow on its way.
pub(crate) struct Coming {
    activation: Activation,
    /// Its row and version as a draft, where that is not there yet.
    draft: Option<(rows::WorkflowRow, workflows::Kept)>,
}

/// Those of the texts that listen where another workflow does, which is active and stays as it is, or comes along; with
/// what is to be told of each. What else is wrong with them is told elsewhere.
pub(crate) fn taken(ctx: &Ctx, texts: &BTreeMap<String, String>) -> Vec<(String, Problem)> {
    let hook = |(name, text): (&String, &String)| match check_as(text, name, &NoCatalog).workflow?.trigger {
        Trigger::Webhook(hook) => Some((name.clone(), hook)),
        Trigger::Schedule(_) | Trigger::RecordEvent(_) | Trigger::Manual(_) => None,
    };
    let hooks: Vec<(String, Webhook)> = texts.iter().filter_map(hook).collect();
    let table = ctx.ws.registry.hooks();
    let beside = |other: &str| texts.contains_key(other);
    let rival = |name: &str, hook: &Webhook| {
        if let Some((rival, method)) = table.rival(name, hook, &beside) {
            return Some((rival.to_owned(), "already listens", method));
        }
        let others = hooks.iter().filter(|(other, _)| other != name);
        others
            .into_iter()
            .find_map(|(other, its)| Some((other.clone(), "is also to listen", hooks::both_hear(hook, its)?)))
    };
    let told = |(name, hook): &(String, Webhook)| {
        let (rival, how, method) = rival(name, hook)?;
        let error = activation::hook_taken(&rival, how, &method, hook);
        let (line, column) = texts.get(name).and_then(|text| place(text)).unzip();
        let (code, message) = (error.code.into_owned(), error.message);
        let path = Some("trigger.path".to_owned());
        Some((name.clone(), Problem { code, message, path, line, column, ..Problem::default() }))
    };
    hooks.iter().filter_map(told).collect()
}

/// Where a document says its webhook's path.
fn place(text: &str) -> Option<(u32, u32)> {
    let source = Source::new(text);
    let tree = document::parse(&source).0?;
    let path = &tree.get("trigger")?.value.get("path")?.value;
    let (line, column) = source.line_and_column(path.from);
    Some((line.try_into().ok()?, column.try_into().ok()?))
}

/// All that would keep these texts from becoming active is told before anything is written; of the paths on which they
/// listen it was ([`taken`]). The caller holds the lock of the registry, from there until [`done`].
pub(crate) async fn prepare(
    ctx: &Ctx,
    catalog: &WorkspaceCatalog,
    texts: &BTreeMap<String, String>,
) -> Result<Vec<Coming>, EngineError> {
    let mut all: Vec<Coming> = Vec::new();
    for (name, text) in texts {
        workflows::check_name(name)?;
        let (checked, problems) = workflows::checked_against(catalog, name, text);
        let Some(definition) = checked.workflow else { return Err(workflows::refused(name, problems)) };
        let mut row = ctx.ws.registry.workflow_or_what_is_left(name).unwrap_or_default();
        let anew = std::mem::take(&mut row.deleted);
        let newest = row.draft.or(row.active);
        let known = match newest {
            Some(number) => workflows::version(ctx, name, number).await.ok().map(|row| (number, row)),
            None => None,
        };
        let known =
            known.filter(|(_, row)| row.text == *text && row.definition.as_ref() == Some(&definition));
        let (number, stored, draft) = match known {
            Some((number, stored)) => (number, stored, None),
            None => {
                let number = row.draft.unwrap_or(row.last + 1);
                (row.draft, row.last, row.updated_ms) = (Some(number), row.last.max(number), ctx.now_ms());
                let json = text.trim_start().starts_with('{');
                let stored = rows::WorkflowVersionRow {
                    format: if json { TextFormat::Json } else { TextFormat::Yaml },
                    text: text.clone(),
                    definition: Some(definition),
                    created_ms: row.updated_ms,
                };
                let kept = if anew { workflows::Kept::Goes } else { workflows::Kept::Stays };
                (number, stored, Some((row.clone(), kept)))
            }
        };
        let beside = |other: &str| texts.contains_key(other);
        let activation = activation::activation(ctx, name, row, number, stored, &beside).await?;
        all.push(Coming { activation, draft });
    }
    Ok(all)
}

/// Saves what is new of them as drafts.
pub(crate) async fn save_drafts(ctx: &Ctx, all: &[Coming]) -> Result<(), EngineError> {
    for Coming { activation, draft } in all {
        if let Some((row, kept)) = draft {
            let version = Some((activation.number, activation.stored.clone()));
            workflows::save_with(ctx, &activation.name, row.clone(), version, None, *kept).await?;
        }
    }
    Ok(())
}

/// Makes one active; its version is there.
pub(crate) fn put(ctx: &Ctx, tx: &mut Txn, one: &Coming) -> Result<(), Refused> {
    let Activation { name, row, armed, .. } = &one.activation;
    tx.put(rows::workflow_key(ctx.ws.id, name), tables::encode(row)?);
    match armed {
        Some((key, Some(value))) => tx.put(key.clone(), value.clone()),
        Some((key, None)) => tx.delete(key.clone()),
        None => {}
    }
    Ok(())
}

/// They are active on disk, and now here. Gives their names.
pub(crate) async fn done(ctx: &Ctx, all: Vec<Coming>) -> Result<Vec<String>, EngineError> {
    let mut names = Vec::new();
    for Coming { activation, .. } in all {
        let Activation { name, row, number, flow, .. } = activation;
        ctx.ws.registry.forget_flow(&name, number);
        ctx.ws.registry.insert_workflow(&name, row);
        activation::warm(ctx, &flow);
        names.push(name);
    }
    hooks::rebuild(ctx).await?;
    Ok(names)
}
