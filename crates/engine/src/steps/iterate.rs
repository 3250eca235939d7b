//! Iterators over a search: the ids are listed, page by page, into rows beside the run; at its turn a record is read as
//! it is then, and asked again whether it is one of those that were searched.
use super::records::{MAX_FOUND_BYTES, RecordDone, found_too_large, is_cut, refused};
use crate::core::Ctx;
use crate::id::RunId;
use crate::tables::items;
use serde_json::{Value, json};
use std::sync::Arc;
use stepwell_records::filter::{Allowed, Filter};
use stepwell_records::{MAX_LIMIT, Query, Records, RecordsError};
use stepwell_store::{Key, Refused};
use stepwell_workflow::machine::{Execute, Failure, ItemRecords, ListCall};
use uuid::Uuid;

type Done = Result<Result<RecordDone, Failure>, Refused>;

pub(crate) async fn list(
    ctx: &Ctx,
    records: &mut Records<'_>,
    call: &ListCall,
    execute: &Execute,
    run: RunId,
) -> Done {
    // All pages of the list but the last are full, so that a record's place tells its page.
    let full = MAX_LIMIT as u64;
    let there = (call.found % full) as usize;
    let query = Query {
        view: call.view.clone(),
        filter: call.filter.clone(),
        sort: call.sort.clone(),
        limit: Some(MAX_LIMIT - there),
        cursor: call.cursor.clone(),
        fields: vec!["id".into()],
        ..Query::default()
    };
    let page = match records.list(&call.object, &query, execute.started_at).await {
        Ok(page) => page,
        Err(error) if call.view.is_some() && error.problems().iter().any(|p| p.path == "cursor") => {
            let view = call.view.as_deref().unwrap_or_default();
            let message = format!("the view `{view}` was changed while its records were listed; try again");
            return Ok(Err(Failure::engine("view_changed", message)));
        }
        Err(error) => return refused(error),
    };
    let key = |at: u64| {
        let page = u32::try_from(at / full).unwrap_or(u32::MAX);
        items::ids_key(ctx.ws.id, run, &execute.path, execute.generation, page)
    };
    let mut ids = Vec::new();
    if there > 0 {
        let key = key(call.found);
        let before = records.txn().get(&key).await?;
        let before = before.ok_or_else(|| {
            Refused::Damaged(format!("the list `{key}` that an iterator goes on with is not there"))
        })?;
        ids = items::decode_ids(&key, &before)?;
        ids.truncate(there);
    }
    let found = page.records.iter().filter_map(|record| record["id"].as_str()?.parse::<Uuid>().ok());
    ids.extend(found);
    let found = ids.len() - there;
    let first = call.found - there as u64;
    for (number, ids) in ids.chunks(MAX_LIMIT).enumerate() {
        records.txn().put(key(first + number as u64 * full), items::encode_ids(ids));
    }
    done(json!({ "found": found, "cursor": page.next_cursor }))
}

pub(crate) async fn item(
    ctx: &Ctx,
    records: &mut Records<'_>,
    known: &mut Option<(Key, Arc<Vec<Uuid>>)>,
    call: &ItemRecords,
    execute: &Execute,
    run: RunId,
) -> Done {
    let mut wanted = Vec::new();
    for place in call.from..call.from + call.count {
        let (page, place) = (place / MAX_LIMIT as u64, place % MAX_LIMIT as u64);
        let page = u32::try_from(page).unwrap_or(u32::MAX);
        let key = items::ids_key(ctx.ws.id, run, &call.iterator, call.generation, page);
        let ids = match known {
            Some((of, ids)) if *of == key => ids.clone(),
            _ => {
                let value = records.txn().get(&key).await?;
                let value = value.ok_or_else(|| {
                    Refused::Damaged(format!("the list `{key}` that an iterator goes over is not there"))
                })?;
                let ids = Arc::new(items::decode_ids(&key, &value)?);
                *known = Some((key, ids.clone()));
                ids
            }
        };
        wanted.extend(ids.get(place as usize).map(Uuid::to_string));
    }
    let among = json!({ "field": "id", "in": wanted });
    let filter = match Filter::parse(&among, Allowed::FIELDS) {
        Ok(among) => among,
        Err(_) => return Ok(Err(Failure::engine("internal", "an iterator's records cannot be asked for"))),
    };
    let filter = Filter::All(std::iter::once(filter).chain(call.filter.clone()).collect());
    let view = call.view.clone();
    let limit = Some(MAX_LIMIT);
    let max_bytes = Some(MAX_FOUND_BYTES);
    let query = Query { view, filter: Some(filter), limit, max_bytes, ..Query::default() };
    let page = match records.search(&call.object, &query, execute.started_at).await {
        Ok(page) if is_cut(&page, MAX_LIMIT) => return Ok(Err(found_too_large("a smaller `batch`"))),
        Ok(page) => page,
        // The object itself is gone: so are its records.
        Err(RecordsError::UnknownObject { .. }) => return done(Value::Null),
        Err(error) => return refused(error),
    };
    let mut found = page.records;
    let place = |record: &Value| wanted.iter().position(|id| record["id"].as_str() == Some(id));
    found.sort_by_cached_key(place);
    done(match (found.is_empty(), call.batch) {
        (true, _) => Value::Null,
        (false, true) => Value::Array(found),
        (false, false) => found.swap_remove(0),
    })
}

fn done(output: Value) -> Done {
    Ok(Ok(RecordDone { output, event: None }))
}
