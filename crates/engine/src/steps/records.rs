//! Record steps: searches and writes in the burst's own transaction. Everything a write needs and must not find out
//! by itself (time, the id of a new record) comes from the run, so a burst that runs again writes the same.
use super::iterate;
use crate::core::{Ctx, TRUST_STAMPS_FOR};
use crate::hash;
use crate::id::RunId;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stepwell_records::schema::Schema;
use stepwell_records::{
    DEFAULT_LIMIT, EventJson, Guard, Origin, Page, Query, Records, RecordsError, Unchanged, Upsert,
    WriteContext, Written, record_id,
};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Refused, Stamp, Txn};
use stepwell_workflow::machine::{Call, Execute, Failure, ItemCall};
use uuid::Uuid;

/// What a record step came to.
pub(crate) struct RecordDone {
    pub output: Value,
    /// The event of a write that changed something.
    pub event: Option<EventJson>,
}

/// The workspace's schema as it was read last, so that a burst rests on it without reading it.
#[derive(Default)]
pub(crate) struct SchemaCache {
    known: Mutex<Option<(Arc<Schema>, Stamp, Duration)>>,
}

impl SchemaCache {
    /// After a conflict: it may have been the schema.
    pub(crate) fn forget(&self) {
        *self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }

    /// The schema; the transaction rests on it.
    pub(crate) async fn get(&self, ctx: &Ctx, txn: &mut Txn) -> Result<Arc<Schema>, RecordsError> {
        let now = ctx.core.ports.clock.elapsed();
        let known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if let Some((schema, at, when)) = known
            && now.saturating_sub(when) < TRUST_STAMPS_FOR
        {
            txn.rest_on(KeyBuilder::new(Space::Objects, ctx.ws.id).prefix(), at);
            return Ok(schema);
        }
        // The stamp is taken before the schema is read, so it is never newer than what was read.
        let at = txn.store().read(ctx.ws.shard, Vec::new()).await?.at;
        let schema = Schema::load(txn, ctx.ws.id).await?;
        *self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((schema.clone(), at, now));
        Ok(schema)
    }
}

/// What one burst has read, and need not read again.
#[derive(Default)]
pub(crate) struct Known {
    schema: Option<Arc<Schema>>,
    /// The page of ids that an iterator is at.
    ids: Option<(Key, Arc<Vec<Uuid>>)>,
}

/// The run that a record step belongs to.
pub(crate) struct Writer<'a> {
    pub run: RunId,
    pub workflow: &'a str,
    /// Of the run: what it writes is one deeper.
    pub depth: u32,
}

/// Executes a record call. The inner error is the step's failure; the outer one is the store's refusal.
pub(crate) async fn execute(
    ctx: &Ctx,
    txn: &mut Txn,
    known: &mut Known,
    execute: &Execute,
    writer: Writer<'_>,
) -> Result<Result<RecordDone, Failure>, Refused> {
    if let Call::Item(ItemCall { records: None }) = &execute.call {
        return Ok(Ok(RecordDone { output: Value::Null, event: None }));
    }
    let schema = match &known.schema {
        Some(schema) => schema.clone(),
        None => match ctx.ws.schema.get(ctx, txn).await {
            Ok(schema) => known.schema.insert(schema).clone(),
            Err(error) => return refused(error),
        },
    };
    let mut records = Records::with_schema(txn, ctx.ws.id, schema);
    let context = || WriteContext {
        now: execute.started_at,
        new_id: record_id(execute.started_at, unique(&execute.key)),
        origin: Origin {
            by: "workflow".into(),
            workflow: Some(writer.workflow.to_owned()),
            run: Some(writer.run.to_string()),
            depth: writer.depth + 1,
            ..Origin::default()
        },
    };
    let written = match &execute.call {
        Call::Search(call) => {
            let query = Query {
                view: call.view.clone(),
                filter: call.filter.clone(),
                sort: call.sort.clone(),
                limit: call.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
                max_bytes: Some(MAX_FOUND_BYTES),
                ..Query::default()
            };
            return match records.search(&call.object, &query, execute.started_at).await {
                Ok(page) if is_cut(&page, query.limit.unwrap_or(DEFAULT_LIMIT)) => {
                    Ok(Err(found_too_large("a smaller `limit`, and the others in a later step")))
                }
                Ok(page) => {
                    let mut output = Map::new();
                    output.insert("records".into(), Value::Array(page.records));
                    output.insert("total".into(), page.total.into());
                    output.insert("index".into(), page.index.into());
                    if !page.total_is_exact {
                        output.insert("total_is_exact".into(), false.into());
                    }
                    Ok(Ok(RecordDone { output: Value::Object(output), event: None }))
                }
                Err(error) => refused(error),
            };
        }
        Call::List(call) => return iterate::list(ctx, &mut records, call, execute, writer.run).await,
        Call::Item(ItemCall { records: Some(call) }) => {
            return iterate::item(ctx, &mut records, &mut known.ids, call, execute, writer.run).await;
        }
        Call::Create(call) => records.create(&context(), &call.object, &call.record).await,
        Call::Update(call) => {
            let unchanged = call.if_unchanged.as_ref();
            let guard = Guard {
                if_version: call.if_version,
                if_unchanged: unchanged.map(|call| Unchanged { since: &call.since, fields: &call.fields }),
            };
            records.update(&context(), &call.object, &call.record_id, &call.record, guard).await
        }
        Call::Upsert(call) => {
            let upsert =
                Upsert { match_on: &call.match_on, create_only: &call.create_only, if_version: None };
            records.upsert(&context(), &call.object, &call.record, upsert).await
        }
        Call::Delete(call) => {
            records.delete(&context(), &call.object, &call.record_id, call.if_version).await
        }
        _ => {
            return Ok(Err(Failure::engine(
                "internal",
                "a call that is no record call was given to the records",
            )));
        }
    };
    match written {
        Ok(written) => Ok(Ok(done(written))),
        Err(error) => refused(error),
    }
}

/// Records that a step has at once, as JSON and about: 500 may be stored that would take the memory of all else.
pub(super) const MAX_FOUND_BYTES: usize = 16 << 20;

/// Whether there are more that were asked for, which had no room.
pub(super) fn is_cut(page: &Page, limit: usize) -> bool {
    page.records.len() < limit && page.next_cursor.is_some()
}

pub(super) fn found_too_large(instead: &str) -> Failure {
    let most = MAX_FOUND_BYTES >> 20;
    let message =
        format!("the records take more than the {most} MiB that a step may have at once; ask for {instead}");
    Failure::engine("output_too_large", message)
}

/// Ten bytes that are the same in every attempt and different for every step of every run.
fn unique(key: &str) -> [u8; 10] {
    let mut unique = [0; 10];
    unique.copy_from_slice(&hash::sha256(key.as_bytes())[..10]);
    unique
}

/// The output of a write, and its event.
fn done(written: Written) -> RecordDone {
    let event = written.event;
    let mut output = Map::new();
    output.insert("record".into(), written.record);
    output.insert("outcome".into(), json!(written.outcome));
    RecordDone { output: Value::Object(output), event }
}

/// What the store refused is the burst's business, everything else the step's.
pub(super) fn refused<T>(error: RecordsError) -> Result<Result<T, Failure>, Refused> {
    let code = error.code();
    let message = error.to_string();
    match error {
        RecordsError::Store(Refused::TooBig(_)) => Ok(Err(Failure::engine(code, message))),
        RecordsError::Store(refused) => Err(refused),
        RecordsError::Damaged(why) => Err(Refused::Damaged(why)),
        error => {
            let mut failure = Failure::engine(code, message);
            let problems = error.problems();
            failure.details = match &error {
                RecordsError::UniqueConflict { other, .. } => Some(json!({ "record_id": other.to_string() })),
                RecordsError::Changed { fields, .. } => Some(json!({ "fields": fields })),
                _ if problems.is_empty() => None,
                _ => Some(json!({ "problems": problems })),
            };
            Ok(Err(failure))
        }
    }
}
