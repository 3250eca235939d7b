//! Records through the API: each write is a transaction of its own, with its event in the workspace's log.
use crate::api::{RecordPage, RecordQuery, RecordWritten};
use crate::core::Ctx;
use crate::error::{EngineError, Problem};
use crate::feed::EventPage;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;
use stepwell_records::filter::{Allowed, Filter};
use stepwell_records::schema::Schema;
use stepwell_records::{
    MAX_LIMIT, Origin, Query, Records, RecordsError, Upsert, WriteContext, Written, record_id,
};
use stepwell_store::{Txn, transact};
use uuid::Uuid;

/// What a page of records has at most, about: it is put together in memory.
const PAGE_BYTES: usize = 4 << 20;
/// Records that are looked at together for whether they are there: each may be large.
const LOOKED_AT: usize = 32;

pub(crate) async fn list(ctx: &Ctx, object: &str, query: RecordQuery) -> Result<RecordPage, EngineError> {
    let filter = query.filter.map(|filter| Filter::parse(&filter, Allowed::FIELDS)).transpose();
    let filter = filter.map_err(|problems| {
        let problems = problems.into_iter().map(|problem| Problem {
            code: "invalid_filter".into(),
            message: problem.message,
            path: Some(problem.path),
            hint: problem.hint,
            ..Problem::default()
        });
        EngineError::invalid("invalid_filter", "the filter is wrong").with_problems(problems.collect())
    })?;
    let query = Query {
        filter,
        sort: query.sort,
        limit: query.limit,
        cursor: query.cursor,
        max_bytes: Some(PAGE_BYTES),
        ..Query::default()
    };
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    let page = records.search(object, &query, ctx.core.ports.clock.now()).await.map_err(|error| {
        let of_cursor = error.problems().iter().any(|problem| problem.path == "cursor");
        let error = EngineError::from(error);
        // As every list says it.
        if of_cursor { EngineError { code: "invalid_cursor".into(), ..error } } else { error }
    })?;
    Ok(RecordPage {
        records: page.records,
        next_cursor: page.next_cursor,
        total: page.total,
        total_is_exact: page.total_is_exact,
        index: page.index,
    })
}

pub(crate) async fn get(ctx: &Ctx, object: &str, id: &str) -> Result<Value, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    Ok(records.get(object, id).await?)
}

/// The ids of the records that fit a filter, in the order of their creation; about so many at most.
pub(crate) async fn ids(
    ctx: &Ctx,
    object: &str,
    filter: Value,
    most: usize,
) -> Result<Vec<String>, EngineError> {
    let mut query = RecordQuery { filter: Some(filter), limit: Some(MAX_LIMIT), ..RecordQuery::default() };
    let mut ids = Vec::new();
    loop {
        let page = list(ctx, object, query.clone()).await?;
        ids.extend(page.records.iter().filter_map(|record| record["id"].as_str()).map(str::to_owned));
        match page.next_cursor {
            Some(cursor) if ids.len() < most => query.cursor = Some(cursor),
            _ => return Ok(ids),
        }
    }
}

/// Refuses ids that no record has.
pub(crate) async fn check_all(ctx: &Ctx, object: &str, ids: &[Uuid]) -> Result<(), EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let records = Records::open(&mut txn, ctx.ws.id).await?;
    for some in ids.chunks(LOOKED_AT) {
        let found = records.get_many(object, some).await?;
        let found: HashSet<&str> = found.iter().filter_map(|record| record["id"].as_str()).collect();
        if let Some(missing) = some.iter().map(Uuid::to_string).find(|id| !found.contains(id.as_str())) {
            records.get(object, &missing).await?;
        }
    }
    Ok(())
}

/// A write, as the API asks for it.
pub(crate) enum Write<'a> {
    Create { fields: &'a Map<String, Value> },
    Update { id: &'a str, fields: &'a Map<String, Value>, if_version: Option<u64> },
    Delete { id: &'a str, if_version: Option<u64> },
    Restore { id: &'a str, if_version: Option<u64> },
    Upsert { fields: &'a Map<String, Value>, upsert: Upsert<'a> },
}

impl Write<'_> {
    pub(crate) async fn apply(
        &self,
        records: &mut Records<'_>,
        context: &WriteContext,
        object: &str,
    ) -> Result<Written, RecordsError> {
        match self {
            Write::Create { fields } => records.create(context, object, fields).await,
            Write::Update { id, fields, if_version } => {
                records.update(context, object, id, fields, *if_version).await
            }
            Write::Delete { id, if_version } => records.delete(context, object, id, *if_version).await,
            Write::Restore { id, if_version } => records.restore(context, object, id, *if_version).await,
            Write::Upsert { fields, upsert } => records.upsert(context, object, fields, upsert.clone()).await,
        }
    }
}

/// `created`, `updated`, …
pub(crate) fn outcome_name(written: &Written) -> String {
    let outcome = serde_json::to_value(written.outcome).ok();
    outcome.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// One write. A conflict does it again, with the same time and the same id.
pub(crate) async fn write(
    ctx: &Ctx,
    origin: Origin,
    object: &str,
    write: Write<'_>,
) -> Result<RecordWritten, EngineError> {
    ctx.check_open()?;
    let now = ctx.core.ports.clock.now();
    let mut unique = [0; 10];
    ctx.core.ports.random.fill(&mut unique);
    let context = WriteContext { now, new_id: record_id(now, unique), origin };
    let (write, context) = (&write, &context);
    let written = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            let mut records = Records::open(&mut tx, ctx.ws.id).await?;
            let written = write.apply(&mut records, context, object).await?;
            let outcome = outcome_name(&written);
            let record = written.record;
            if let Some(event) = &written.event {
                let mut events = EventPage::default();
                events.push(event);
                tx.append(ctx.ws.log, events.row(now.as_millisecond(), None)?);
            }
            Ok::<_, RecordsError>(RecordWritten { record, outcome })
        })
    });
    Ok(written.await?)
}

pub(crate) async fn schema(ctx: &Ctx) -> Result<Arc<Schema>, EngineError> {
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    Ok(Schema::load(&mut txn, ctx.ws.id).await?)
}
