//! Lists: `limit` and `cursor` in the query, `{"<plural noun>": [...], "next_cursor": …}` in the answer.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stepwell_engine::{Page, PageRequest};

use crate::problem::{Answer, Problem};

/// The query of a list that has no filter of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

/// The most one page holds.
pub const MAX_LIMIT: usize = 500;

/// A page's request, with the limit checked.
pub fn request(limit: Option<usize>, cursor: Option<String>) -> Answer<PageRequest> {
    Ok(PageRequest { limit: check_limit(limit)?, cursor })
}

pub fn check_limit(limit: Option<usize>) -> Answer<Option<usize>> {
    match limit {
        Some(limit) if !(1..=MAX_LIMIT).contains(&limit) => Err(Problem::bad_request(
            "invalid_query",
            format!("`limit={limit}` is out of range; a page holds 1 to {MAX_LIMIT}"),
        )),
        limit => Ok(limit),
    }
}

/// The answer's document.
pub fn answer<T: Serialize>(noun: &str, page: Page<T>) -> Answer<Json<Value>> {
    document(noun, page).map(Json)
}

pub fn document<T: Serialize>(noun: &str, page: Page<T>) -> Answer<Value> {
    let items = serde_json::to_value(page.items)
        .map_err(|e| Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?;
    let mut document = Map::new();
    document.insert(noun.to_owned(), items);
    document.insert("next_cursor".to_owned(), json!(page.next_cursor));
    Ok(Value::Object(document))
}
