//! Workflows that become active together with a schema: all of it in one commit, or none. Only their drafts come before,
//! since many texts are more than one commit takes.
use super::activation::{self, Activation};
use super::catalog::WorkspaceCatalog;
use super::hooks::{self, HookTable, webhook};
use super::workflows;
use crate::api::TextFormat;
use crate::core::Ctx;
use crate::error::EngineError;
use crate::tables::{self, registry as rows};
use std::collections::BTreeMap;
use stepwell_store::{Refused, Txn};

/// A workflow on its way.
pub(crate) struct Coming {
    activation: Activation,
    /// Its row and version as a draft, where that is not there yet.
    draft: Option<(rows::WorkflowRow, workflows::Kept)>,
}

/// All that would keep these texts from becoming active is told before anything is written. The caller holds the lock
/// of the registry, here and until [`done`].
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
    // Nor may two of them listen on the same path.
    let table = HookTable::of(all.iter().map(|one| one.activation.flow.clone()));
    for Coming { activation, .. } in &all {
        if let Some(hook) = webhook(&activation.flow)
            && let Some((rival, method)) = table.rival(&activation.name, hook, &|_| false)
        {
            return Err(activation::hook_taken(rival, &method, hook));
        }
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
