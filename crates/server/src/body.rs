//! Reading requests: bodies under a limit, JSON with the place of its first fault, query parameters by name.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::{Answer, Problem};

/// How much of a body that is too large is still read, so that its sender gets to see the answer.
const DRAINED: usize = 64 << 20;

/// The whole body, or 413 when it is larger than `limit`.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Answer<Bytes> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    let mut body = body;
    let mut read = BytesMut::with_capacity(announced.unwrap_or(0).min(limit));
    let mut seen = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            Problem::bad_request("body_incomplete", format!("the body ended before it was complete: {e}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= limit {
            read.extend_from_slice(&data);
        } else if seen > limit + DRAINED || announced.is_some_and(|n| n > limit + DRAINED) {
            break;
        }
    }
    if seen > limit {
        let amount = announced.map_or_else(|| "more".to_owned(), |n| format!("{n} bytes"));
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body has {amount}; at most {limit} bytes are taken here"),
        ));
    }
    Ok(read.freeze())
}

/// JSON of a given shape. `what` names it in errors: "a record", "the input".
pub fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Answer<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        if bytes.is_empty() {
            return Problem::bad_request(
                "invalid_json",
                format!("the body is empty; {what} as JSON was expected"),
            );
        }
        match e.classify() {
            serde_json::error::Category::Data => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_body",
                format!("this is not {what}: {e}"),
            ),
            _ => Problem::bad_request("invalid_json", format!("the body is not JSON: {e}")),
        }
    })
}

/// Like [`json`], with a value of its own for an empty body.
pub fn json_or<T: DeserializeOwned>(bytes: &[u8], what: &str, empty: T) -> Answer<T> {
    if bytes.iter().all(u8::is_ascii_whitespace) { Ok(empty) } else { json(bytes, what) }
}

/// Query parameters into a struct with `deny_unknown_fields`.
pub fn query<T: DeserializeOwned>(query: Option<&str>) -> Answer<T> {
    axum::extract::Query::<T>::try_from_uri(&uri_of(query)).map(|q| q.0).map_err(|e| {
        Problem::bad_request("invalid_query", format!("the query is not understood: {}", innermost(&e)))
    })
}

fn uri_of(query: Option<&str>) -> http::Uri {
    // A query that came in a request's URI is valid in another.
    format!("/?{}", query.unwrap_or_default()).parse().unwrap_or_default()
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        last = e.to_string();
        next = e.source();
    }
    last
}

/// A query parameter that is JSON, such as `filter`.
pub fn json_parameter(name: &str, text: Option<&str>) -> Answer<Option<Value>> {
    text.map(|text| {
        serde_json::from_str(text).map_err(|e| {
            Problem::bad_request("invalid_query", format!("the parameter `{name}` is not JSON: {e}"))
        })
    })
    .transpose()
}

/// A length of time such as `10s`, `500ms` or `2m`; a bare number is seconds.
pub fn duration(name: &str, text: &str) -> Answer<std::time::Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(unit_ms)
        .and_then(|(n, ms)| n.checked_mul(ms))
        .map(std::time::Duration::from_millis)
        .ok_or_else(|| {
            Problem::bad_request(
                "invalid_query",
                format!("`{name}={text}` is not a length of time; write 500ms, 10s or 2m"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: Option<u32>,
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_past_it_is_named() {
        let read = |n: usize| async move { read(&HeaderMap::new(), Body::from(vec![b'x'; n]), 10).await };
        assert_eq!(read(10).await.unwrap().len(), 10);
        let problem = read(11).await.unwrap_err();
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(problem.detail.contains("at most 10 bytes"), "{}", problem.detail);
    }

    #[test]
    fn json_faults_have_a_place() {
        let problem = json::<Value>(b"{\"a\": }", "a record").unwrap_err();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        assert!(problem.detail.contains("line 1 column 7"), "{}", problem.detail);
        let problem = json::<Page>(b"{\"limt\": 3}", "a page").unwrap_err();
        assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(problem.detail.contains("`limt`"), "{}", problem.detail);
        assert!(json::<Value>(b"", "a record").unwrap_err().detail.contains("empty"));
    }

    #[test]
    fn query_faults_name_the_parameter() {
        assert_eq!(query::<Page>(Some("limit=3")).unwrap().limit, Some(3));
        assert_eq!(query::<Page>(None).unwrap().limit, None);
        for (text, says) in [("limt=3", "`limt`"), ("limit=x", "limit")] {
            let problem = query::<Page>(Some(text)).unwrap_err();
            assert!(problem.detail.contains(says), "{}", problem.detail);
        }
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("wait", "10s").unwrap().as_secs(), 10);
        assert_eq!(duration("wait", "500ms").unwrap().as_millis(), 500);
        assert_eq!(duration("wait", "3").unwrap().as_secs(), 3);
        assert!(duration("wait", "ten").unwrap_err().detail.contains("wait=ten"));
        assert!(duration("wait", "99999999999999999999s").is_err());
    }
}
