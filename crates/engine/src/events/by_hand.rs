//! A record event made by hand: for a run or a test of a workflow that record events start.
use super::decide::Happened;
use crate::core::Ctx;
use crate::error::EngineError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use stepwell_records::Origin;
use stepwell_workflow::model::{RecordChange, RecordEvent};

/// `{"record_id": …}` takes the record as it is for what it was changed to; `before`, `after`, `event` and `fields`
/// say more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    record_id: Option<uuid::Uuid>,
    event: Option<RecordChange>,
    #[serde(default)]
    fields: BTreeSet<String>,
    before: Option<Map<String, Value>>,
    after: Option<Map<String, Value>>,
}

pub(crate) async fn trigger(ctx: &Ctx, event: &RecordEvent, input: Value) -> Result<Value, EngineError> {
    let given: Given = serde_json::from_value(input).map_err(|error| wrong(&error.to_string()))?;
    let id_in = |side: &Option<Map<String, Value>>| {
        side.as_ref().and_then(|record| record.get("id")?.as_str()?.parse().ok())
    };
    let record = given.record_id.or_else(|| id_in(&given.after)).or_else(|| id_in(&given.before));
    let record = record.ok_or_else(|| wrong("it names no record"))?;
    let change = given.event.or(event.on.first().copied()).unwrap_or(RecordChange::Updated);
    let change = if change == RecordChange::Upserted { RecordChange::Updated } else { change };
    let mut before = given.before.map_or(Value::Null, Value::Object);
    let mut after = given.after.map_or(Value::Null, Value::Object);
    if before.is_null() && after.is_null() {
        let now = crate::records::get(ctx, &event.object, &record.to_string()).await?;
        if matches!(change, RecordChange::Updated | RecordChange::Deleted) {
            before = now.clone();
        }
        if change != RecordChange::Deleted {
            after = now;
        }
    }
    let happened = Happened {
        change,
        object: event.object.clone(),
        record,
        fields: given.fields,
        before,
        after,
        origin: Origin { by: "user".into(), ..Origin::default() },
    };
    Ok(happened.trigger())
}

fn wrong(why: &str) -> EngineError {
    let message = format!(
        "a workflow that record events start is given an event by hand: {{\"record_id\": \"…\"}} for a record as it is, \
         and `event`, `fields`, `before` and `after` for more ({why})"
    );
    EngineError::invalid("invalid_event", message)
}
