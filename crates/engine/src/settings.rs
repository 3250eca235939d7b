//! Settings: values of a workspace that its workflows read as `settings.NAME`, given to a run when it starts.
use crate::api::SettingInfo;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::registry::values::SettingTable;
use crate::registry::workflows;
use crate::tables::settings::SettingRow;
use crate::tables::{self, runs::timestamp, settings as rows};
use serde_json::Value;
use std::sync::Arc;
use stepwell_records::json_bytes;
use stepwell_store::{Key, Refused, transact};
use stepwell_workflow::depth;

/// The largest value, as JSON.
const MAX_VALUE: usize = 64 << 10;
/// Of all together: every run of a workflow that reads one is given all.
const MAX_TOGETHER: usize = 256 << 10;

pub(crate) fn info(name: &str, row: &SettingRow) -> SettingInfo {
    SettingInfo {
        name: name.to_owned(),
        value: row.value.clone(),
        created_at: timestamp(row.created_ms),
        updated_at: timestamp(row.updated_ms),
    }
}

pub(crate) fn get(ctx: &Ctx, name: &str) -> Result<SettingInfo, EngineError> {
    let table = ctx.ws.registry.settings();
    match table.rows().get(name) {
        Some(row) => Ok(info(name, row)),
        None => {
            let near = stepwell_records::nearest(name, table.rows().keys().map(String::as_str));
            Err(unknown(name, near))
        }
    }
}

fn unknown(name: &str, near: Option<impl std::fmt::Display>) -> EngineError {
    let message = match near {
        Some(near) => format!("there is no setting `{name}`; did you mean `{near}`?"),
        None => format!("there is no setting `{name}`"),
    };
    EngineError::not_found("unknown_setting", message)
}

/// Returns whether it is new.
pub(crate) async fn put(ctx: &Ctx, name: &str, value: Value) -> Result<(SettingInfo, bool), EngineError> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 || !name.bytes().all(known) {
        let message = format!(
            "`{name}` cannot name a setting: lower case letters, digits and `_`, a letter first, at most 64"
        );
        return Err(EngineError::invalid("invalid_name", message));
    }
    if depth::too_deep(&value) {
        let message =
            format!("the value is nested deeper than {} levels of lists and objects", depth::MAX_DEPTH);
        return Err(EngineError::invalid("too_deep", message));
    }
    let bytes = json_bytes(&value);
    if bytes > MAX_VALUE {
        let message = format!("the value has {bytes} bytes as JSON; a setting has at most {MAX_VALUE}");
        return Err(EngineError::new(ErrorKind::TooLarge, "too_large", message));
    }
    let _one = ctx.ws.registry.changing.lock().await;
    let before = ctx.ws.registry.settings();
    let was = before.rows().get(name);
    let now_ms = ctx.now_ms();
    let row = SettingRow { value, created_ms: was.map_or(now_ms, |row| row.created_ms), updated_ms: now_ms };
    let after = before.with(name, row.clone());
    let together = json_bytes(after.object().as_ref());
    if together > MAX_TOGETHER {
        let message = format!(
            "the settings of the workspace would have {together} bytes together; at most {MAX_TOGETHER} are possible, \
             since runs are given all of them: larger tables are records"
        );
        return Err(EngineError::new(ErrorKind::TooLarge, "too_large", message));
    }
    write(ctx, rows::key(ctx.ws.id, name), Some(tables::encode(&row)?)).await?;
    let created = was.is_none();
    ctx.ws.registry.set_settings(after);
    Ok((info(name, &row), created))
}

pub(crate) async fn delete(ctx: &Ctx, name: &str) -> Result<SettingInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let was = get(ctx, name)?;
    let users = workflows::active_that(ctx, |flow| flow.settings.iter().any(|used| used == name)).await?;
    if !users.is_empty() {
        return Err(in_use("setting_in_use", "setting", name, &users));
    }
    write(ctx, rows::key(ctx.ws.id, name), None).await?;
    let after: SettingTable = ctx.ws.registry.settings().without(name);
    ctx.ws.registry.set_settings(after);
    Ok(was)
}

/// The refusal to take something away that active workflows use.
pub(crate) fn in_use(code: &'static str, kind: &str, name: &str, users: &[String]) -> EngineError {
    let problems = users.iter().map(|user| Problem {
        code: code.to_owned(),
        message: format!("the active workflow `{user}` uses it"),
        hint: Some(format!("deactivate `{user}`, or activate a version of it that does without")),
        ..Problem::default()
    });
    EngineError::conflict(code, format!("the {kind} `{name}` is in use")).with_problems(problems.collect())
}

/// Writes or deletes one row of the workspace.
pub(crate) async fn write(
    ctx: &Ctx,
    key: Key,
    value: Option<stepwell_store::Value>,
) -> Result<(), EngineError> {
    let (key, value) = (&key, &value);
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            match value {
                Some(value) => tx.put(key.clone(), value.clone()),
                None => tx.delete(key.clone()),
            }
            Ok::<_, Refused>(())
        })
    })
    .await?;
    Ok(())
}

/// The object that a run of a workflow which reads settings is given.
pub(crate) fn for_runs(ctx: &Ctx) -> Arc<Value> {
    ctx.ws.registry.settings().object()
}
