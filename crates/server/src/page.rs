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
    pub limit: Option<Limit>,
    pub cursor: Option<String>,
}

/// The most one page holds.
pub const MAX_LIMIT: usize = 500;

/// How many a page is to hold, as a query says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(usize);

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or_else(|| format!("a whole number from 1 to {MAX_LIMIT} is needed"))
    }
}

impl From<Limit> for usize {
    fn from(limit: Limit) -> usize {
        limit.0
    }
}

pub fn request(limit: Option<Limit>, cursor: Option<String>) -> PageRequest {
    PageRequest { limit: limit.map(Limit::into), cursor }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::read;

    #[test]
    fn a_page_s_limit_is_a_number_in_range() {
        let limit = |query| read::<PageQuery>(Some(query)).map(|page| page.limit.map(usize::from));
        assert_eq!(limit("limit=1").unwrap(), Some(1));
        assert_eq!(limit("limit=500").unwrap(), Some(500));
        assert_eq!(limit("cursor=x").unwrap(), None);
        for wrong in ["limit=0", "limit=501", "limit=-1", "limit=ten", "limit=", "limit=99999999999999999999"]
        {
            let problem = limit(wrong).unwrap_err();
            assert_eq!(problem.code, "invalid_query");
            assert_eq!(
                problem.detail, "the query is not understood: limit: a whole number from 1 to 500 is needed",
                "{wrong}"
            );
        }
    }
}
