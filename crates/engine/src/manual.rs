//! What a run that is started by hand is given: the input, and the records that it is started on; or what its trigger
//! would have said, made by hand.
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::registry::{Compiled, schema};
use crate::start::shallow;
use crate::{events, records, timetables};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use stepwell_workflow::model::{OnRecords, Select, Trigger};
use uuid::Uuid;

/// A run may be started on so many records.
pub(crate) const MAX_SELECTED: usize = 10_000;

/// What templates see as `trigger`.
pub(crate) async fn trigger(ctx: &Ctx, flow: &Compiled, given: Value) -> Result<Value, EngineError> {
    let given = shallow(given, "the input")?;
    Ok(match &flow.workflow.trigger {
        Trigger::Manual(manual) => match &manual.on {
            None => {
                fits(ctx, flow, &given).await?;
                // Large ones are moved: the macro would copy them.
                let mut trigger = json!({ "type": "manual" });
                trigger["input"] = given;
                trigger
            }
            Some(on) => on_records(ctx, flow, on, given).await?,
        },
        Trigger::Webhook(hook) => {
            fits(ctx, flow, &given).await?;
            let mut trigger = json!({
                "type": "webhook",
                "method": hook.methods.first().copied().unwrap_or_default().as_str(),
                "path": hook.path,
                "headers": {},
                "query": {},
            });
            trigger["body"] = given;
            trigger
        }
        Trigger::Schedule(schedule) => timetables::trigger_by_hand(ctx, schedule, &given)?,
        Trigger::RecordEvent(event) => events::trigger_by_hand(ctx, event, given).await?,
    })
}

async fn fits(ctx: &Ctx, flow: &Compiled, input: &Value) -> Result<(), EngineError> {
    let Some(validator) = &flow.input_schema else { return Ok(()) };
    let problems = schema::problems(&ctx.core, validator, input).await;
    if problems.is_empty() {
        return Ok(());
    }
    let message = format!("the input does not fit the trigger's schema of workflow `{}`", flow.name);
    Err(EngineError::invalid("input_schema", message).with_problems(problems))
}

/// The start of a workflow that is about records.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    record_id: Option<String>,
    record_ids: Option<Vec<String>>,
    filter: Option<Value>,
    #[serde(default)]
    input: Value,
}

fn wrong(on: &OnRecords, why: &str) -> EngineError {
    let takes = match on.select {
        Select::One => "{\"record_id\": \"…\", \"input\": …}",
        Select::Many => "{\"record_ids\": [\"…\"], \"input\": …}, or a `filter` in place of the ids",
    };
    let message = format!("this workflow is started on {} records by {takes}: {why}", on.object);
    EngineError::invalid("invalid_selection", message)
}

async fn on_records(ctx: &Ctx, flow: &Compiled, on: &OnRecords, given: Value) -> Result<Value, EngineError> {
    let given = if given.is_null() { Value::Object(Map::new()) } else { given };
    let start: Start = serde_json::from_value(given).map_err(|error| wrong(on, &error.to_string()))?;
    let input = if start.input.is_null() { Value::Object(Map::new()) } else { start.input };
    // Whoever names no record is told that first: what else there is to give depends on it.
    if let (None, None, None) = (&start.record_id, &start.record_ids, &start.filter) {
        return Err(wrong(on, "it names no record"));
    }
    fits(ctx, flow, &input).await?;
    let ids = match (start.record_id, start.record_ids, start.filter) {
        (Some(id), None, None) => vec![id],
        (None, Some(ids), None) => ids,
        (None, None, Some(filter)) if on.select == Select::Many => {
            let chosen = records::ids(ctx, &on.object, filter, MAX_SELECTED + 1).await?;
            check_number(on, chosen.len())?;
            return Ok(many(on, chosen, input));
        }
        (None, None, Some(_)) => return Err(wrong(on, "a filter may find several")),
        _ => return Err(wrong(on, "it says in several ways which records are meant")),
    };
    match on.select {
        Select::One => {
            let [id] = ids.as_slice() else {
                return Err(wrong(on, &format!("it names {} records", ids.len())));
            };
            let record = records::get(ctx, &on.object, id).await?;
            let trigger = json!({
                "type": "manual", "object": on.object, "record_id": record["id"], "record": record, "input": input,
            });
            shallow(trigger, "the record")
        }
        Select::Many => {
            check_number(on, ids.len())?;
            let mut chosen: Vec<Uuid> = Vec::with_capacity(ids.len());
            for id in ids {
                chosen.push(id.parse().map_err(|_| wrong(on, &format!("`{id}` is no id")))?);
            }
            // Each once, in the order in which they were selected.
            let mut seen = HashSet::new();
            chosen.retain(|id| seen.insert(*id));
            records::check_all(ctx, &on.object, &chosen).await?;
            Ok(many(on, chosen.iter().map(Uuid::to_string).collect(), input))
        }
    }
}

fn check_number(on: &OnRecords, number: usize) -> Result<(), EngineError> {
    if number <= MAX_SELECTED {
        return Ok(());
    }
    let message =
        format!("a run is started on at most {MAX_SELECTED} {} records; select fewer at a time", on.object);
    Err(EngineError::new(ErrorKind::TooLarge, "too_large", message))
}

fn many(on: &OnRecords, ids: Vec<String>, input: Value) -> Value {
    json!({ "type": "manual", "object": on.object, "count": ids.len(), "record_ids": ids, "input": input })
}
