//! Searching: a filter, a sort, a page.
//!
//! A search is an observation: it sees the transaction's own writes, and the commit does not rest on it. What it costs
//! grows with what it returns where an index fits, else with what it has to look at, up to [`MAX_EXAMINED`] records and
//! [`MAX_COMPARED`] bytes compared.

mod bounds;
#[cfg(test)]
mod cost;
mod cursor;
mod gather;
mod kept;
mod plan;
mod sort;
#[cfg(test)]
mod tests;
mod walk;
mod work;

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Problem, RecordsError};
use crate::filter::{Asked, Filter, FilterProblem};
use crate::records::Records;
use crate::row::{Life, Row};
use crate::schema::{FieldId, Object, Target};
use cursor::Cursor;
use kept::{Kept, rows_within};
use sort::Order;
pub use work::MAX_COMPARED;
use work::Work;

/// Records in a page unless the query says otherwise.
pub const DEFAULT_LIMIT: usize = 50;
/// Records in a page at most.
pub const MAX_LIMIT: usize = 500;
/// Matches are counted this far.
pub const MAX_TOTAL: u64 = 1_000;
/// Records that one search looks at before it gives up.
pub const MAX_EXAMINED: usize = 100_000;
/// Records that a listing looks at before it gives what it has, and a cursor.
const MAX_LISTED: usize = 10_000;
/// Records that a listing puts in an order of fields.
pub const MAX_SORTED: usize = 10_000;
/// Records that are looked at for the total alone, once the page is there.
const MAX_COUNTED: usize = 2_000;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// All records without one.
    pub filter: Option<Filter>,
    /// A saved filter by its name; with `filter` too, both must hold.
    pub view: Option<String>,
    /// Paths, with `-` in front for descending; without any in the order of creation. Empty values come last.
    pub sort: Vec<String>,
    /// [`DEFAULT_LIMIT`] unless given; at most [`MAX_LIMIT`].
    pub limit: Option<usize>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Only these fields, and the id; all without any.
    pub fields: Vec<String>,
    /// Search the deleted records instead.
    pub deleted: bool,
    /// A page ends before it has more bytes than this, about; it has one record at least.
    pub max_bytes: Option<usize>,
}

/// A page of what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    pub records: Vec<Value>,
    pub next_cursor: Option<String>,
    /// All matches, not only this page's; counted up to [`MAX_TOTAL`].
    pub total: u64,
    pub total_is_exact: bool,
    /// What the search went by instead of looking at every record.
    pub index: Option<String>,
}

/// What a strategy gives: the rows of the page, and what it knows beyond it.
struct Found {
    /// At most one more than the page holds.
    rows: Vec<Kept>,
    total: u64,
    total_is_exact: bool,
    /// Of a listing: it has looked this far, and there may be more behind.
    cut: Option<Vec<u8>>,
}

/// A search being done.
struct Search<'a> {
    records: &'a Records<'a>,
    object: &'a Object,
    filter: Option<&'a Filter>,
    order: Order,
    limit: usize,
    max_bytes: Option<usize>,
    /// The fields that are asked for; all without.
    fields: Option<Vec<FieldId>>,
    after: Option<Cursor>,
    life: Life,
    now: Timestamp,
    max_examined: usize,
    /// It is a listing: in the order of ids, of which each page may be short.
    listing: bool,
    /// The filter, laid out.
    asked: Option<Asked<'a>>,
    work: Work,
}

/// How far one search goes.
#[derive(Clone, Copy)]
struct Limits {
    examined: usize,
    compared: u64,
}

impl Records<'_> {
    /// The records that a query asks for. `now` is what relative operands are relative to.
    pub async fn search(&self, object: &str, query: &Query, now: Timestamp) -> Result<Page, RecordsError> {
        let limits = Limits { examined: MAX_EXAMINED, compared: MAX_COMPARED };
        self.search_within(object, query, now, limits, false).await
    }

    /// As [`Records::search`], for going over all there is, however many pages that takes and whatever is written
    /// meanwhile: in the order of ids, which never changes. So a page with a cursor may have fewer records than asked
    /// for, or none. In an order of fields, which may change, all come at once, whatever the limit: `MAX_SORTED`.
    pub async fn list(&self, object: &str, query: &Query, now: Timestamp) -> Result<Page, RecordsError> {
        let limits = Limits { examined: MAX_LISTED, compared: MAX_COMPARED };
        self.search_within(object, query, now, limits, true).await
    }

    async fn search_within(
        &self,
        object: &str,
        query: &Query,
        now: Timestamp,
        limits: Limits,
        listing: bool,
    ) -> Result<Page, RecordsError> {
        let object = self.object(object)?;
        let wrong = |problem| RecordsError::Query { object: object.name.clone(), problem };
        let (filter, sort) = match &query.view {
            None => (query.filter.as_ref().map(Cow::Borrowed), Cow::Borrowed(&query.sort)),
            Some(view) => {
                let saved = self.view(&object.name, view).await?;
                let filter = match (saved.filter, &query.filter) {
                    (Some(saved), Some(filter)) => Some(Cow::Owned(Filter::All(vec![saved, filter.clone()]))),
                    (saved, filter) => saved.map(Cow::Owned).or(filter.as_ref().map(Cow::Borrowed)),
                };
                let sort = match query.sort.is_empty() {
                    true => Cow::Owned(saved.sort),
                    false => Cow::Borrowed(&query.sort),
                };
                (filter, sort)
            }
        };
        let filter = filter.map(|filter| filter.bind(&object)).transpose();
        let filter = filter.map_err(|problems| filter_error(&object, problems))?;
        let order = Order::parse(&object, &sort).map_err(wrong)?;
        let sorted = listing && !order.by.is_empty();
        let listing = listing && !sorted;
        let (max_examined, limit) = match sorted {
            true => (limits.examined.max(MAX_EXAMINED), Some(MAX_LIMIT)),
            false => (limits.examined, query.limit),
        };
        let limit = match limit {
            None => DEFAULT_LIMIT,
            Some(limit @ 1..=MAX_LIMIT) => limit,
            Some(limit) => {
                let message = format!("{limit} records cannot be asked for at once");
                return Err(wrong(Problem::new("limit", message).hint(format!("ask for 1 to {MAX_LIMIT}"))));
            }
        };
        let limit = if sorted { MAX_SORTED } else { limit };
        let keep = projection(&object, &query.fields).map_err(wrong)?;
        let life = if query.deleted { Life::Deleted } else { Life::Live };
        // Most searches have one page.
        let fingerprint =
            LazyLock::new(|| cursor::fingerprint(&object, filter.as_ref(), &sort, query.deleted));
        let after = query.cursor.as_deref().map(|text| Cursor::parse(text, &fingerprint)).transpose();
        let after = after.map_err(wrong)?;

        let mut search = Search {
            records: self,
            object: &object,
            filter: filter.as_ref(),
            order,
            limit,
            max_bytes: query.max_bytes,
            fields: (!keep.is_empty()).then(|| {
                let named = object.fields.iter().filter(|field| keep.contains(&field.name));
                named.map(|field| field.id).collect()
            }),
            after: after.clone(),
            life,
            now,
            max_examined,
            listing,
            asked: filter.as_ref().map(Asked::of),
            work: Work::of_at_most(limits.compared),
        };
        let mut plan = search.plan();
        let mut found = search.run(&plan).await;
        if listing && matches!(found, Err(RecordsError::TooBroad { .. } | RecordsError::TooMuch { .. })) {
            // Too many to be put in order: past all records, which are.
            search.work = Work::of_at_most(limits.compared);
            plan = search.whole(None);
            found = search.run(&plan).await;
        }
        let Found { mut rows, total, total_is_exact, cut } = found?;
        // The first page counts; the others carry its count on, so that it does not change under the reader.
        let (total, total_is_exact) = match after {
            Some(after) => (after.total, after.total_is_exact),
            None if total > MAX_TOTAL => (MAX_TOTAL, false),
            None => (total, total_is_exact),
        };
        let limit = query.max_bytes.map_or(limit, |most| rows_within(&rows, most).min(limit));
        let more = rows.len() > limit;
        if sorted && more {
            let message = format!("more than {MAX_SORTED} records cannot be put in order to go over them");
            return Err(wrong(Problem::new("sort", message).hint("leave `sort` out, or narrow the filter")));
        }
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(|kept| kept.position.clone()).or(cut);
        let next_cursor =
            last.map(|position| Cursor { position, total, total_is_exact }.to_text(&fingerprint));
        let records = rows.into_iter().map(|kept| keep_fields(kept.row.into_flat(&object), &keep)).collect();
        Ok(Page { records, next_cursor, total, total_is_exact, index: plan.index })
    }
}

impl Records<'_> {
    pub(crate) fn check_sort(&self, object: &Object, sort: &[String]) -> Result<(), Problem> {
        Order::parse(object, sort).map(|_| ())
    }
}

fn filter_error(object: &Object, problems: Vec<FilterProblem>) -> RecordsError {
    let problems = problems.into_iter().map(Problem::from).collect();
    RecordsError::Filter { object: object.name.clone(), problems }
}

/// The top-level names of the fields asked for.
fn projection(object: &Object, names: &[String]) -> Result<Vec<String>, Problem> {
    (names.iter())
        .map(|name| match object.target(name) {
            Ok(Target::System(system)) => Ok(system.name().to_owned()),
            Ok(Target::Field { field, .. }) => Ok(field.name.clone()),
            Err(unknown) => {
                Err(Problem { path: "fields".to_owned(), message: unknown.message, hint: unknown.hint })
            }
        })
        .collect()
}

fn keep_fields(record: Value, keep: &[String]) -> Value {
    match record {
        Value::Object(record) if !keep.is_empty() => {
            let kept = record.into_iter().filter(|(name, _)| name == "id" || keep.contains(name));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        record => record,
    }
}

impl Search<'_> {
    async fn run(&self, plan: &plan::Plan) -> Result<Found, RecordsError> {
        match &plan.source {
            plan::Source::Walk(segments) => self.walk(segments).await,
            plan::Source::Ids(ids) => self.gather(gather::Candidates::Ids(ids)).await,
            plan::Source::UniqueKeys(keys) => self.gather(gather::Candidates::UniqueKeys(keys)).await,
            plan::Source::Ranges(ranges) => self.gather(gather::Candidates::Ranges(ranges)).await,
        }
    }

    /// Whether a row is wanted. A large record and many conditions take long, so others have their turns meanwhile.
    async fn matches(&self, row: &Row) -> Result<bool, RecordsError> {
        let Some(asked) = &self.asked else {
            self.work.take_turns().await;
            return Ok(true);
        };
        let mut asking = asked.begin();
        loop {
            self.work.take_turns().await;
            let resolve = |name: &str| match self.object.target(name).ok()? {
                Target::System(system) => Some(Cow::Owned(row.system(system).into())),
                target @ Target::Field { .. } => Some(Cow::Borrowed(row.get(&target.path()?))),
            };
            let before = asking.spent();
            let decided = asking.go_on(&resolve, self.now, self.work.left_of_turn());
            self.work.compared(asking.spent() - before);
            if let Some(holds) = decided.map_err(|problem| filter_error(self.object, vec![problem]))? {
                return Ok(holds);
            }
        }
    }

    /// Whether the last of so many rows, with so many bytes together, lies behind the end of the page.
    fn are_too_many(&self, rows: usize, bytes: usize) -> bool {
        rows > 1 && self.max_bytes.is_some_and(|most| bytes > most)
    }

    fn too_broad(&self) -> RecordsError {
        RecordsError::TooBroad {
            object: self.object.name.clone(),
            scanned: self.max_examined,
            advice: self.advice(),
        }
    }

    /// The filter on what was read was too much work.
    fn too_much(&self) -> RecordsError {
        RecordsError::TooMuch {
            object: self.object.name.clone(),
            most: self.work.most(),
            advice: self.advice(),
        }
    }
}
