//! Makes of a warehouse's usage rows the newest figures of each company, oldest first; names the rows that are malformed, and
//! says for each company how far a synchronisation has come if that company's figures cannot be applied.

mod row;
mod time;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_action::{Failure, OrFail, action};

use time::Instant;

/// So many malformed rows are named; all are counted.
const NAMED: usize = 100;
/// A row from further ahead than this is malformed: it would count as the newest until its time has come.
const AHEAD_SECONDS: i64 = 24 * 3600;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Pages {
    pub rows: Vec<Value>,
    /// Up to which time rows were applied before; null at first.
    pub mark: Option<String>,
    pub now: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// One of each company, oldest row first.
    pub companies: Vec<Company>,
    /// Where the mark stands when all of them are applied.
    pub mark: Option<String>,
    pub malformed: Vec<Malformed>,
    pub malformed_count: usize,
    /// Rows of companies that have a newer one, or the same once more.
    pub superseded: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    pub domain: String,
    pub active_users: u64,
    pub api_calls: Option<u64>,
    /// When the warehouse wrote the row, so that a record can hold it.
    pub at: String,
    /// Where the mark stands if this one is the first that cannot be applied.
    pub mark_before: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Malformed {
    /// Its number among all rows, from 1 on.
    pub row: usize,
    pub domain: Option<String>,
    pub why: String,
}

#[action]
pub fn reshape_usage(pages: Pages) -> Result<Usage, Failure> {
    let now = Instant::read(&pages.now).or_fail_with("invalid_time", || "`now` is no time".to_owned())?;
    let mark = match &pages.mark {
        Some(text) => {
            let read = Instant::read(text);
            Some((
                read.or_fail_with("invalid_mark", || format!("the mark `{text}` is no time"))?,
                text.clone(),
            ))
        }
        None => None,
    };
    let (mut newest, mut malformed, mut malformed_count) =
        (BTreeMap::<String, row::Row>::new(), Vec::new(), 0);
    let rows = pages.rows.len();
    for (index, value) in pages.rows.into_iter().enumerate() {
        match row::read(&value, now.plus(AHEAD_SECONDS)) {
            Ok(row) => {
                // Of two with one time the later one counts, as it came.
                if newest.get(&row.domain).is_none_or(|known| known.at.0 <= row.at.0) {
                    newest.insert(row.domain.clone(), row);
                }
            }
            Err(why) => {
                malformed_count += 1;
                if malformed.len() < NAMED {
                    let domain = value.get("domain").and_then(Value::as_str);
                    let domain = domain.map(|domain| domain.chars().take(100).collect());
                    malformed.push(Malformed { row: index + 1, domain, why });
                }
            }
        }
    }
    let superseded = rows - malformed_count - newest.len();
    let mut rows: Vec<row::Row> = newest.into_values().collect();
    rows.sort_by_key(|row| row.at.0);
    // The mark is never before where it was, nor ahead of now: what comes until then is still to be asked for.
    let reached = |row: &row::Row| {
        let at = if row.at.0 > now { (now, pages.now.clone()) } else { row.at.clone() };
        match &mark {
            Some(mark) if mark.0 >= at.0 => mark.clone(),
            _ => at,
        }
    };
    let mut companies = Vec::with_capacity(rows.len());
    // Rows of one time have the mark before them in common.
    let (mut before, mut last) = (mark.clone(), mark.clone());
    for (index, row) in rows.iter().enumerate() {
        if index > 0 && rows[index - 1].at.0 < row.at.0 {
            before = last.clone();
        }
        last = Some(reached(row));
        companies.push(Company {
            domain: row.domain.clone(),
            active_users: row.active_users,
            api_calls: row.api_calls,
            at: time::short(&row.at.1),
            mark_before: before.as_ref().map(|mark| mark.1.clone()),
        });
    }
    log::info!(rows = rows.len(), malformed = malformed_count, superseded; "reshaped");
    Ok(Usage { companies, mark: last.map(|mark| mark.1), malformed, malformed_count, superseded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(rows: Value, mark: Option<&str>) -> Usage {
        let rows = rows.as_array().expect("rows").clone();
        let now = "2026-03-02T02:00:00Z".to_owned();
        reshape_usage(Pages { rows, mark: mark.map(str::to_owned), now }).expect("usage")
    }

    fn row(domain: &str, users: u64, at: &str) -> Value {
        json!({ "domain": domain, "active_users": users, "updated_at": at })
    }

    #[test]
    fn the_newest_row_of_a_company_counts_in_whatever_order_they_come() {
        let rows = json!([
            row("a.example", 3, "2026-03-01T03:00:00Z"),
            row("b.example", 9, "2026-03-01T02:30:00.5Z"),
            row("https://www.A.example/", 1, "2026-03-01T02:00:00+01:00"),
            row("b.example", 9, "2026-03-01T02:30:00.5Z"),
        ]);
        let usage = usage(rows, None);
        let told: Vec<_> = usage.companies.iter().map(|one| (&*one.domain, one.active_users)).collect();
        assert_eq!(told, [("b.example", 9), ("a.example", 3)]);
        assert_eq!((usage.superseded, usage.mark.as_deref()), (2, Some("2026-03-01T03:00:00Z")));
    }

    #[test]
    fn the_mark_before_a_row_is_earlier_than_all_rows_of_its_time() {
        let rows = json!([
            row("a.example", 1, "2026-03-01T01:00:00Z"),
            row("b.example", 1, "2026-03-01T02:00:00Z"),
            row("c.example", 1, "2026-03-01T03:00:00+01:00"),
        ]);
        let usage = usage(rows, Some("2026-03-01T00:00:00Z"));
        let before: Vec<_> = usage.companies.iter().map(|one| one.mark_before.as_deref()).collect();
        let (mark, first) = (Some("2026-03-01T00:00:00Z"), Some("2026-03-01T01:00:00Z"));
        assert_eq!(before, [mark, first, first]);
    }

    #[test]
    fn the_mark_neither_goes_back_nor_ahead_of_now() {
        let old = usage(json!([row("a.example", 1, "2020-01-01T00:00:00Z")]), Some("2026-03-01T00:00:00Z"));
        assert_eq!(old.mark.as_deref(), Some("2026-03-01T00:00:00Z"));
        let ahead = usage(json!([row("a.example", 1, "2026-03-02T12:00:00Z")]), None);
        assert_eq!(ahead.mark.as_deref(), Some("2026-03-02T02:00:00Z"));
        let far = usage(json!([row("a.example", 1, "2027-01-01T00:00:00Z")]), None);
        assert_eq!((far.malformed_count, far.mark), (1, None));
        assert_eq!(
            usage(json!([]), Some("2026-03-01T00:00:00Z")).mark.as_deref(),
            Some("2026-03-01T00:00:00Z")
        );
    }

    #[test]
    fn all_malformed_rows_are_counted_and_the_first_are_named() {
        let usage = usage(Value::Array(vec![json!(null); 150]), None);
        assert_eq!((usage.malformed.len(), usage.malformed_count), (NAMED, 150));
        assert_eq!(usage.malformed[2].row, 3);
    }
}
