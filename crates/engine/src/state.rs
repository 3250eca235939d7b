//! What a workflow keeps between its runs: known to a run before anything else of a burst, so that what it writes
//! rests on what it has read, or somebody before it; and read and written by people.
use crate::api::StateInfo;
use crate::core::{Ctx, TRUST_STAMPS_FOR};
use crate::error::{EngineError, ErrorKind};
use crate::id::RunId;
use crate::registry::workflows;
use crate::tables::state::{self as rows, StateRow};
use crate::tables::{self, runs::timestamp};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use stepwell_records::json_bytes;
use stepwell_store::{Refused, Stamp, Txn, Want, transact};
use stepwell_workflow::depth;
use stepwell_workflow::machine::{Failure, Payload, SetStateCall};
use stepwell_workflow::model::SetState;

/// What workflows keep as it was read last, so that a burst rests on it without reading it. While anybody is about to
/// write to it it is read each time: what was read before would only lose.
#[derive(Default)]
pub(crate) struct StateCache {
    flows: Mutex<HashMap<String, Known>>,
}

#[derive(Default)]
struct Known {
    read: Option<(Payload, Stamp, Duration)>,
    writers: usize,
}

impl Known {
    fn is_fresh(&self, now: Duration) -> bool {
        self.read.as_ref().is_some_and(|(_, _, when)| now.saturating_sub(*when) < TRUST_STAMPS_FOR)
    }
}

/// As long as somebody has it, what the workflow keeps is about to be another thing.
pub(crate) struct Writing<'a> {
    cache: &'a StateCache,
    workflow: &'a str,
}

impl StateCache {
    fn flows(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.flows.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// After a conflict: it may have been this.
    pub(crate) fn forget(&self, workflow: &str) {
        if let Some(known) = self.flows().get_mut(workflow) {
            known.read = None;
        }
    }

    /// Before something is put into a transaction that writes it, until that has ended.
    pub(crate) fn writing<'a>(&'a self, workflow: &'a str) -> Writing<'a> {
        let mut flows = self.flows();
        let known = flows.entry(workflow.to_owned()).or_default();
        known.read = None;
        known.writers += 1;
        Writing { cache: self, workflow }
    }

    /// All that a workflow keeps, an object; the transaction rests on it.
    pub(crate) async fn get(&self, ctx: &Ctx, txn: &mut Txn, workflow: &str) -> Result<Payload, Refused> {
        let now = ctx.core.ports.clock.elapsed();
        if let Some(known) = self.flows().get(workflow)
            && known.is_fresh(now)
            && let Some((values, at, _)) = &known.read
        {
            txn.rest_on(rows::of_workflow(ctx.ws.id, workflow), *at);
            return Ok(values.clone());
        }
        let (values, at) = look(ctx, txn, workflow).await?;
        let values = Payload::new(values.into());
        let mut flows = self.flows();
        // What is too old to be rested on is no use to anybody.
        flows.retain(|_, known| known.writers > 0 || known.is_fresh(now));
        let known = flows.entry(workflow.to_owned()).or_default();
        if known.writers == 0 {
            known.read = Some((values.clone(), at, now));
        }
        Ok(values)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut flows = self.cache.flows();
        if let Some(known) = flows.get_mut(self.workflow) {
            known.writers -= 1;
            if known.writers == 0 {
                flows.remove(self.workflow);
            }
        }
    }
}

/// All that a workflow keeps; the transaction rests on it.
pub(crate) async fn read(ctx: &Ctx, txn: &mut Txn, workflow: &str) -> Result<Map<String, Value>, Refused> {
    Ok(look(ctx, txn, workflow).await?.0)
}

async fn look(ctx: &Ctx, txn: &mut Txn, workflow: &str) -> Result<(Map<String, Value>, Stamp), Refused> {
    let keys = rows::of_workflow(ctx.ws.id, workflow);
    let view = txn.read(vec![Want::range(keys.clone(), usize::MAX)]).await?;
    txn.rest_on(keys, view.at);
    let mut kept = Map::new();
    for (key, value) in view.rows.into_iter().flatten() {
        let row: StateRow = tables::decode(&key, &value)?;
        kept.insert(rows::name_in(&key)?, row.value);
    }
    Ok((kept, view.at))
}

/// What a `set_state` step writes over what its run has read.
pub(crate) fn write(
    ctx: &Ctx,
    txn: &mut Txn,
    workflow: &str,
    run: RunId,
    kept: &Map<String, Value>,
    call: &SetStateCall,
) -> Result<Result<(), Failure>, Refused> {
    let deleted = ctx.ws.registry.workflow_or_what_is_left(workflow).is_some_and(|row| row.deleted);
    let mut after = kept.clone();
    for (name, value) in &call.values {
        let was = match value {
            Value::Null => after.remove(name),
            value => after.insert(name.clone(), value.clone()),
        };
        if let Err(error) = fits(name, value, &after) {
            return Ok(Err(Failure::engine(error.code, error.message)));
        }
        // The next workflow of that name is to know nothing of it.
        if was.as_ref() == Some(value) || deleted {
            continue;
        }
        let key = rows::key(ctx.ws.id, workflow, name);
        match value {
            Value::Null if was.is_none() => {}
            Value::Null => txn.delete(key),
            value => {
                let row = StateRow { value: value.clone(), updated_ms: ctx.now_ms(), run: Some(run) };
                txn.put(key, tables::encode(&row)?);
            }
        }
    }
    Ok(Ok(()))
}

/// Whether a value can be kept, and all of them together after it.
fn fits(name: &str, value: &Value, after: &Map<String, Value>) -> Result<(), EngineError> {
    if !SetState::is_name(name) {
        let message = format!(
            "`{name}` cannot name what a workflow keeps: lower case letters, digits and `_`, a letter first, at most 64"
        );
        return Err(EngineError::invalid("invalid_name", message));
    }
    if depth::too_deep(value) {
        let message =
            format!("`{name}` is nested deeper than {} levels of lists and objects", depth::MAX_DEPTH);
        return Err(EngineError::invalid("too_deep", message));
    }
    let too_large = |message: String| Err(EngineError::new(ErrorKind::TooLarge, "state_too_large", message));
    let bytes = json_bytes(value);
    if bytes > SetState::MAX_VALUE {
        let most = SetState::MAX_VALUE;
        return too_large(format!(
            "`{name}` has {bytes} bytes as JSON; a workflow keeps at most {most} of one value"
        ));
    }
    if after.len() > SetState::MAX_NAMES {
        let most = SetState::MAX_NAMES;
        return too_large(format!(
            "with `{name}` the workflow would keep more than {most} values: many things are records"
        ));
    }
    let together: usize = after.iter().map(|(name, value)| name.len() + json_bytes(value)).sum();
    if together > SetState::MAX_TOGETHER {
        let most = SetState::MAX_TOGETHER;
        return too_large(format!(
            "with `{name}` the workflow would keep {together} bytes; at most {most} are possible"
        ));
    }
    Ok(())
}

/// Takes all of it away, with the workflow.
pub(crate) async fn forget(ctx: &Ctx, txn: &mut Txn, workflow: &str) -> Result<(), Refused> {
    for (key, _) in txn.range(rows::of_workflow(ctx.ws.id, workflow), usize::MAX, false).await? {
        txn.delete(key);
    }
    Ok(())
}

fn info(name: String, row: StateRow) -> StateInfo {
    StateInfo {
        name,
        value: row.value,
        updated_at: timestamp(row.updated_ms),
        run: row.run.map(|run| run.to_string()),
    }
}

pub(crate) async fn list(ctx: &Ctx, workflow: &str) -> Result<Vec<StateInfo>, EngineError> {
    workflows::info(ctx, workflow).await?;
    let wants = vec![Want::range(rows::of_workflow(ctx.ws.id, workflow), usize::MAX)];
    let view = ctx.core.ports.store.read(ctx.ws.shard, wants).await?;
    let rows = view.rows.into_iter().flatten();
    let read = |(key, value)| Ok(info(rows::name_in(&key)?, tables::decode(&key, &value)?));
    Ok(rows.map(read).collect::<Result<_, Refused>>()?)
}

pub(crate) async fn get(ctx: &Ctx, workflow: &str, name: &str) -> Result<StateInfo, EngineError> {
    let kept = list(ctx, workflow).await?;
    let near = stepwell_records::nearest(name, kept.iter().map(|one| one.name.as_str())).map(str::to_owned);
    kept.into_iter().find(|one| one.name == name).ok_or_else(|| unknown(workflow, name, near))
}

fn unknown(workflow: &str, name: &str, near: Option<String>) -> EngineError {
    let message = match near {
        Some(near) => format!("`{workflow}` keeps no `{name}`; did you mean `{near}`?"),
        None => format!("`{workflow}` keeps no `{name}`"),
    };
    EngineError::not_found("unknown_state", message)
}

/// Writes a value by hand. Returns whether it is new.
pub(crate) async fn put(
    ctx: &Ctx,
    workflow: &str,
    name: &str,
    value: Value,
) -> Result<(StateInfo, bool), EngineError> {
    workflows::info(ctx, workflow).await?;
    if value.is_null() {
        return Err(EngineError::invalid(
            "invalid_state",
            "null is no value to keep; delete the name instead",
        ));
    }
    let row = StateRow { value, updated_ms: ctx.now_ms(), run: None };
    let _writing = ctx.ws.states.writing(workflow);
    let (key, encoded, row) = (&rows::key(ctx.ws.id, workflow, name), &tables::encode(&row)?, &row);
    let created = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut kept = read(ctx, &mut tx, workflow).await?;
            let created = kept.insert(name.to_owned(), row.value.clone()).is_none();
            fits(name, &row.value, &kept)?;
            tx.put(key.clone(), encoded.clone());
            Ok::<_, EngineError>(created)
        })
    })
    .await?;
    Ok((info(name.to_owned(), row.clone()), created))
}

pub(crate) async fn delete(ctx: &Ctx, workflow: &str, name: &str) -> Result<StateInfo, EngineError> {
    let was = get(ctx, workflow, name).await?;
    let _writing = ctx.ws.states.writing(workflow);
    crate::settings::write(ctx, rows::key(ctx.ws.id, workflow, name), None).await?;
    Ok(was)
}
