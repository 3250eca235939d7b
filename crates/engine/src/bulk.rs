//! Many writes of records in one call: in chunks that fit a commit each, or all in one.
use crate::api::{BulkAction, BulkEvents, BulkResult, BulkRow, BulkWrite};
use crate::core::{AWAY, Ctx};
use crate::error::{EngineError, ErrorKind, Problem};
use crate::feed::EventPage;
use crate::records::{Write, outcome_name};
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};
use stepwell_records::schema::Schema;
use stepwell_records::{Origin, Records, RecordsError, Upsert, WriteContext, record_id};
use stepwell_store::{Refused, Txn, transact};

/// Rows of one call.
pub(crate) const MAX_ROWS: usize = 1_000;

/// A row as it was read.
struct Row {
    id: String,
    if_version: Option<u64>,
    fields: Map<String, Value>,
    unique: [u8; 10],
}

pub(crate) async fn write(
    ctx: &Ctx,
    origin: Origin,
    object: &str,
    bulk: BulkWrite,
) -> Result<BulkResult, EngineError> {
    ctx.check_open()?;
    if bulk.records.len() > MAX_ROWS {
        let message = format!(
            "{} records in one call; at most {MAX_ROWS} are taken, send them in parts",
            bulk.records.len()
        );
        return Err(EngineError::new(ErrorKind::TooLarge, "too_large", message));
    }
    let upsert = bulk.action == BulkAction::Upsert;
    if upsert == bulk.match_on.is_empty() || (!upsert && !bulk.create_only.is_empty()) {
        let message = match upsert {
            true => "an upsert says by which unique set of fields records are found: `match`",
            false => "`match` and `create_only` are for `upsert` alone",
        };
        return Err(EngineError::invalid("invalid_match", message));
    }
    // Unknown objects are told once, not by every row.
    crate::records::schema(ctx).await?.object(object)?;
    let rows: Vec<Result<Row, EngineError>> =
        bulk.records.iter().map(|record| read(ctx, &bulk, record)).collect();
    let mut results: Vec<BulkRow> = Vec::with_capacity(rows.len());
    while results.len() < rows.len() {
        let from = results.len();
        let tried = Tried::default();
        let chunk = tokio::select! {
            biased;
            chunk = chunk(ctx, &origin, object, &bulk, &rows[from..], &tried) => match chunk {
                // What is written already is told; of the rest, that it is not: a store that refuses has found out.
                Err(error) if from > 0 => {
                    std::iter::repeat_n(Err(Undone::not_written(error)), rows.len() - from).collect()
                }
                chunk => chunk?,
            },
            () = ctx.core.store_is_away(AWAY) => tried.told(from, rows.len(), bulk.atomic)?,
        };
        if bulk.atomic {
            return atomic(chunk, rows.len());
        }
        for (offset, done) in chunk.into_iter().enumerate() {
            results.push(shown(from + offset, done));
        }
    }
    Ok(BulkResult::of(results))
}

/// What is in a commit that is under way: of each row, why it is not. Nothing while there is none that writes.
#[derive(Default)]
struct Tried(Mutex<Vec<Option<EngineError>>>);

impl Tried {
    fn set(&self, rows: impl Iterator<Item = Option<EngineError>>) {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tried.clear();
        tried.extend(rows);
    }

    /// The rows from one on, of so many, when nobody will know for long whether that commit is written: it may be, nothing
    /// after it is, and what was told before is. Where that is nothing yet, there is an error for all.
    fn told(self, from: usize, of: usize, atomic: bool) -> Result<Vec<Done>, EngineError> {
        let tried = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let away = "the store failed and cannot be opened again yet";
        let refused = EngineError::new(
            ErrorKind::Unavailable,
            "store_unavailable",
            format!("{away}: this was not written"),
        );
        if from == 0 && tried.is_empty() {
            return Err(refused);
        }
        if from == 0 {
            let message = match tried.len() {
                all if atomic || all == of => {
                    format!("{away}: whether the {of} records were written will be known then")
                }
                some => format!(
                    "{away}: whether the first {some} of the {of} records were written will be known then; the others were not"
                ),
            };
            return Err(EngineError::new(ErrorKind::Unavailable, UNKNOWN, message));
        }
        let unknown = EngineError::new(
            ErrorKind::Unavailable,
            UNKNOWN,
            format!("{away}: whether this was written will be known then"),
        );
        let told = tried.into_iter().map(|failed| {
            Err(failed.map_or_else(|| Undone { outcome: "unknown", error: unknown.clone() }, Undone::failed))
        });
        let rest = std::iter::repeat_n(Err(Undone::not_written(refused)), of);
        Ok(told.chain(rest).take(of - from).collect())
    }
}

/// What nobody knows.
const UNKNOWN: &str = "outcome_unknown";

/// All rows or none: what did not go well is told of each.
fn atomic(chunk: Vec<Done>, rows: usize) -> Result<BulkResult, EngineError> {
    let failed =
        chunk.iter().enumerate().filter_map(|(index, done)| Some((index, &done.as_ref().err()?.error)));
    let problems: Vec<Problem> = failed
        .map(|(index, error)| Problem {
            code: error.code.to_string(),
            message: error.message.clone(),
            path: Some(format!("records[{index}]")),
            ..Problem::default()
        })
        .collect();
    if !problems.is_empty() {
        let message = format!("{} of {rows} records cannot be written; none was", problems.len());
        return Err(EngineError::invalid("bulk_refused", message).with_problems(problems));
    }
    let results = chunk.into_iter().enumerate().map(|(index, done)| shown(index, done));
    Ok(BulkResult::of(results.collect()))
}

fn shown(index: usize, done: Done) -> BulkRow {
    match done {
        Ok((outcome, record)) => BulkRow {
            index,
            outcome,
            id: record["id"].as_str().map(str::to_owned),
            version: record["version"].as_u64(),
            error: None,
        },
        Err(Undone { outcome, error }) => BulkRow {
            index,
            outcome: outcome.into(),
            id: None,
            version: None,
            error: Some(Problem {
                code: error.code.to_string(),
                message: error.message.clone(),
                path: error.problems.first().and_then(|problem| problem.path.clone()),
                hint: error.problems.first().and_then(|problem| problem.hint.clone()),
                ..Problem::default()
            }),
        },
    }
}

/// A row: the fields, with `id` and `if_version` beside them where the action takes them.
fn read(ctx: &Ctx, bulk: &BulkWrite, record: &Value) -> Result<Row, EngineError> {
    let wrong = |message: String| EngineError::invalid("invalid_record", message);
    let Value::Object(fields) = record else {
        return Err(wrong("a record is an object of fields".into()));
    };
    let mut fields = fields.clone();
    let (mut id, mut if_version) = (String::new(), None);
    if matches!(bulk.action, BulkAction::Update | BulkAction::Delete | BulkAction::Restore) {
        id = match fields.remove("id") {
            Some(Value::String(id)) => id,
            _ => return Err(wrong("the record has no `id`, by which it would be found".into())),
        };
        if_version = match fields.remove("if_version") {
            None | Some(Value::Null) => None,
            Some(version) => Some(
                version.as_u64().ok_or_else(|| wrong("`if_version` is the number of a version".into()))?,
            ),
        };
        if bulk.action != BulkAction::Update && !fields.is_empty() {
            return Err(wrong("only `id` and `if_version` are said of it here".into()));
        }
    }
    let mut unique = [0; 10];
    ctx.core.ports.random.fill(&mut unique);
    Ok(Row { id, if_version, fields, unique })
}

fn write_of<'a>(bulk: &'a BulkWrite, row: &'a Row) -> Write<'a> {
    let (id, if_version, fields) = (row.id.as_str(), row.if_version, &row.fields);
    match bulk.action {
        BulkAction::Create => Write::Create { fields },
        BulkAction::Update => Write::Update { id, fields, if_version },
        BulkAction::Delete => Write::Delete { id, if_version },
        BulkAction::Restore => Write::Restore { id, if_version },
        BulkAction::Upsert => {
            let upsert =
                Upsert { match_on: &bulk.match_on, create_only: &bulk.create_only, if_version: None };
            Write::Upsert { fields, upsert }
        }
    }
}

/// What came of a row: the outcome and the record.
type Done = Result<(String, Value), Undone>;

/// A row that is not written, as far as anybody knows.
#[derive(Clone)]
struct Undone {
    outcome: &'static str,
    error: EngineError,
}

impl Undone {
    /// It cannot be written.
    fn failed(error: EngineError) -> Self {
        Self { outcome: "failed", error }
    }

    /// The store took nothing any more when it came to this one, with which nothing is wrong.
    fn not_written(error: EngineError) -> Self {
        Self { outcome: "not_written", error }
    }
}

/// As many of the rows as fit a commit, at least one. A conflict does all of them again, with the same times and ids.
async fn chunk(
    ctx: &Ctx,
    origin: &Origin,
    object: &str,
    bulk: &BulkWrite,
    rows: &[Result<Row, EngineError>],
    tried: &Tried,
) -> Result<Vec<Done>, EngineError> {
    let now = ctx.core.ports.clock.now();
    let done = transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            tried.set(std::iter::empty());
            let schema = Schema::load(&mut tx, ctx.ws.id).await?;
            let start = tx.savepoint();
            let mut events = EventPage::default();
            let mut done: Vec<Done> = Vec::new();
            for row in rows {
                if !done.is_empty() && is_full(&tx, &events) {
                    if !bulk.atomic {
                        break;
                    }
                    let message = format!(
                        "{} records fill a transaction; with `atomic` all have to fit one",
                        done.len()
                    );
                    return Err(RecordsError::Store(Refused::TooBig(message)));
                }
                let row = match row {
                    Ok(row) => row,
                    Err(error) => {
                        done.push(Err(Undone::failed(error.clone())));
                        continue;
                    }
                };
                let context =
                    WriteContext { now, new_id: record_id(now, row.unique), origin: origin.clone() };
                let (before, told) = (tx.savepoint(), events.bytes());
                let mut records = Records::with_schema(&mut tx, ctx.ws.id, schema.clone());
                match write_of(bulk, row).apply(&mut records, &context, object).await {
                    Ok(written) => {
                        if let (Some(event), BulkEvents::Emit) = (&written.event, bulk.events) {
                            events.push(event);
                        }
                        done.push(Ok((outcome_name(&written), written.record)));
                    }
                    Err(
                        error @ (RecordsError::Store(_) | RecordsError::Damaged(_) | RecordsError::Misuse(_)),
                    ) => return Err(error),
                    Err(error) => {
                        tx.rollback_to(before);
                        events.back_to(told);
                        done.push(Err(Undone::failed(error.into())));
                    }
                }
            }
            if bulk.atomic && done.iter().any(Result::is_err) {
                tx.rollback_to(start);
            } else if events.bytes() > 0 {
                tx.append(ctx.ws.log, events.row(now.as_millisecond(), None)?);
            }
            if !tx.is_read_only() {
                tried.set(done.iter().map(|row| Some(row.as_ref().err()?.error.clone())));
            }
            Ok::<_, RecordsError>(done)
        })
    });
    Ok(done.await?)
}

/// Whether a commit is full enough: one more record, with its event, still fits.
fn is_full(tx: &Txn, events: &EventPage) -> bool {
    const MAX_BYTES: usize = 384 << 10;
    crate::begin::is_full(tx) || tx.bytes() + events.bytes() >= MAX_BYTES
}
