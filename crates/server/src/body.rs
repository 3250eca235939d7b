//! Reading requests: bodies under a limit, JSON of bounded depth with the place of its first fault.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use stepwell_workflow::depth::{MAX_DEPTH, place_of, text_too_deep};
use stepwell_workflow::distinct;
use stepwell_workflow::model::Millis;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::App;
use crate::problem::{Answer, Problem};
use crate::stream::Stalled;

/// How much of a body that is too large is still read, so that its sender gets to see the answer.
const DRAINED: usize = 64 << 20;
/// How much memory is taken for a body before any of it is there.
const RESERVED: usize = 64 << 10;
/// What bodies are counted in against the memory that all of them may take.
const UNIT: usize = 16 << 10;

/// Who sends a body, as far as it matters for how much memory it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Has shown a key, or needs none for a call of the API (`--dev`).
    Known,
    /// Anybody: of webhooks and links.
    Stranger,
}

/// The memory that the bodies of all requests may take together; strangers have half of it, so that whatever they do
/// leaves the other half to those who have a key. What a body has below [`RESERVED`] is not counted: small ones are read
/// whatever large ones take, and the number of connections bounds them.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    bytes: usize,
}

/// What a body has of it, and gives back.
#[derive(Default)]
struct Taken {
    permits: Vec<OwnedSemaphorePermit>,
    units: usize,
}

impl Room {
    pub fn new(bytes: usize) -> Self {
        let units = Self::units(bytes);
        let of = |units| Arc::new(Semaphore::new(units));
        Self { all: of(units), strangers: of(Self::of_strangers(units)), bytes }
    }

    fn units(bytes: usize) -> usize {
        (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS)
    }

    fn of_strangers(units: usize) -> usize {
        (units / 2).max(1)
    }

    /// The bytes that all bodies take now, and those of strangers among them.
    pub fn taken(&self) -> (u64, u64) {
        let bytes = |units: usize, left: usize| (units.saturating_sub(left) * UNIT) as u64;
        let units = Self::units(self.bytes);
        (
            bytes(units, self.all.available_permits()),
            bytes(Self::of_strangers(units), self.strangers.available_permits()),
        )
    }

    /// Takes what a body of `bytes` needs besides what it has.
    fn take(&self, sender: Sender, taken: &mut Taken, bytes: usize) -> Answer<()> {
        let units = bytes.saturating_sub(RESERVED).div_ceil(UNIT);
        let Some(more) = units.checked_sub(taken.units).filter(|more| *more > 0) else { return Ok(()) };
        let acquire =
            |from: &Arc<Semaphore>| from.clone().try_acquire_many_owned(u32::try_from(more).ok()?).ok();
        let from: &[_] = match sender {
            Sender::Known => &[&self.all],
            Sender::Stranger => &[&self.strangers, &self.all],
        };
        let Some(permits) = from.iter().map(|from| acquire(from)).collect::<Option<Vec<_>>>() else {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", self.is_full(sender)));
        };
        taken.units = units;
        match taken.permits.is_empty() {
            true => taken.permits = permits,
            false => taken.permits.iter_mut().zip(permits).for_each(|(has, more)| has.merge(more)),
        }
        Ok(())
    }

    fn is_full(&self, sender: Sender) -> String {
        let bytes = self.bytes;
        let part = match sender {
            Sender::Known => String::new(),
            Sender::Stranger => {
                format!(", or those without a key the {} that these may have of them", bytes / 2)
            }
        };
        format!(
            "the bodies of all requests under way take the {bytes} bytes that they may have \
             (limits.bodies_bytes){part}; send it again in a moment"
        )
    }
}

/// A body and its share of the room, which it gives back when nobody needs it any more.
struct Held {
    bytes: BytesMut,
    _room: Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body of a call of the API, or 413 when it is larger than those may be.
pub async fn whole(app: &App, request: Request) -> Answer<Bytes> {
    let (parts, body) = request.into_parts();
    read(app, Sender::Known, &parts.headers, body, app.config().api_body_bytes).await
}

/// The whole body, or 413 when it is larger than `limit`.
pub async fn read(app: &App, sender: Sender, headers: &HeaderMap, body: Body, limit: usize) -> Answer<Bytes> {
    read_into(app.room(), sender, headers, body, limit).await
}

async fn read_into(
    room: &Room,
    sender: Sender,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Answer<Bytes> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    let mut body = body;
    // What is announced is only a claim: memory is taken as bytes come.
    let mut read = BytesMut::with_capacity(announced.unwrap_or(0).min(limit).min(RESERVED));
    let (mut seen, mut taken) = (0usize, Taken::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= limit {
            room.take(sender, &mut taken, seen)?;
            read.extend_from_slice(&data);
            continue;
        }
        // Nobody will see any of it.
        (read, taken) = Default::default();
        if seen > limit + DRAINED || announced.is_some_and(|n| n > limit + DRAINED) {
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
    Ok(match taken.units {
        0 => read.freeze(),
        _ => Bytes::from_owner(Held { bytes: read, _room: taken }),
    })
}

fn broken(error: &axum::Error) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(stalled) = error.downcast_ref::<Stalled>() {
            return Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", stalled.to_string());
        }
        cause = error.source();
    }
    Problem::bad_request("body_incomplete", format!("the body ended before it was complete: {error}"))
}

/// JSON of a given shape. `what` names it in errors: "a record", "the input".
pub fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Answer<T> {
    check_depth(bytes, "the body")?;
    check_weight(bytes)?;
    distinct::from_slice(bytes).map_err(|e| {
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

/// An object of named members. A list of the same values in the right order would be taken for one otherwise.
pub fn object<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Answer<T> {
    let other = match bytes.trim_ascii_start().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => return json(bytes, what),
    };
    // What is no JSON at all is told as that.
    json::<IgnoredAny>(bytes, what)?;
    Err(Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_body",
        format!("this is not {what}: it is {other}, and an object `{{…}}` is needed"),
    ))
}

/// Like [`object`], with a value of its own for an empty body.
pub fn object_or<T: DeserializeOwned>(bytes: &[u8], what: &str, empty: T) -> Answer<T> {
    if bytes.iter().all(u8::is_ascii_whitespace) { Ok(empty) } else { object(bytes, what) }
}

/// What is nested deeper could not be read back once it is stored, or takes more stack than there is.
fn check_depth(bytes: &[u8], what: &str) -> Answer<()> {
    let Some(offset) = text_too_deep(bytes) else { return Ok(()) };
    let (line, column) = place_of(bytes, offset);
    Err(Problem::bad_request(
        "too_deep",
        format!(
            "{what} is nested deeper than {MAX_DEPTH} levels of lists and objects, at line {line} column {column}"
        ),
    ))
}

/// What takes far more memory than its bytes.
fn check_weight(bytes: &[u8]) -> Answer<()> {
    match stepwell_engine::weight::check(bytes) {
        Ok(_) => Ok(()),
        Err(heavy) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body has {} bytes, and {heavy}; send it in parts", bytes.len()),
        )),
    }
}

/// A query parameter that is JSON, such as `filter`.
pub fn json_parameter(name: &str, text: Option<&str>) -> Answer<Option<Value>> {
    text.map(|text| {
        check_depth(text.as_bytes(), &format!("the parameter `{name}`"))?;
        distinct::from_slice(text.as_bytes()).map_err(|e| {
            let what = if e.is_data() { "ambiguous" } else { "not JSON" };
            Problem::bad_request("invalid_query", format!("the parameter `{name}` is {what}: {e}"))
        })
    })
    .transpose()
}

/// A length of time as documents write it: `500ms`, `10s`, `1h30m`, `7d`; a bare number is seconds.
pub fn duration(name: &str, text: &str) -> Answer<std::time::Duration> {
    let seconds = text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1_000)).map(Millis);
    let length = seconds.map_or_else(|| text.parse::<Millis>().ok(), Some);
    length.map(Millis::as_duration).ok_or_else(|| {
        Problem::bad_request(
            "invalid_query",
            format!("`{name}={text}` is not a length of time; write 500ms, 10s, 2m, 1h30m or 7d"),
        )
    })
}

/// A document, which is UTF-8 text; `what` is how messages call it.
pub async fn text(app: &App, request: Request, what: &str) -> Answer<String> {
    let bytes = whole(app, request).await?;
    String::from_utf8(bytes.to_vec()).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Problem::bad_request("invalid_body", format!("{what} is not UTF-8 text: byte {at} is wrong"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::BoxError;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: Option<u32>,
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_past_it_is_named() {
        let room = &Room::new(1 << 20);
        let read = |n: usize| async move {
            read_into(room, Sender::Known, &HeaderMap::new(), Body::from(vec![b'x'; n]), 10).await
        };
        assert_eq!(read(10).await.unwrap().len(), 10);
        let problem = read(11).await.unwrap_err();
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(problem.detail.contains("at most 10 bytes"), "{}", problem.detail);
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_room_and_give_it_back_when_they_are_done_with() {
        let room = &Room::new(1 << 20);
        let read = |n: usize| async move {
            read_into(room, Sender::Known, &HeaderMap::new(), Body::from(vec![b'x'; n]), 8 << 20).await
        };
        let large = read(900 << 10).await.unwrap();
        let part = large.slice(10..20);
        let problem = read(300 << 10).await.unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code.as_str()), (503, "too_busy"));
        assert!(problem.detail.contains("limits.bodies_bytes"), "{}", problem.detail);
        assert_eq!(read(RESERVED).await.unwrap().len(), RESERVED, "small ones are read all the same");
        drop(large);
        assert!(read(300 << 10).await.is_err(), "a part of it is still needed");
        drop(part);
        assert_eq!(read(300 << 10).await.unwrap().len(), 300 << 10);
        // Alone, one is read up to its own limit or that of all.
        assert!(read(2 << 20).await.is_err());
        assert_eq!(read(900 << 10).await.unwrap().len(), 900 << 10);
    }

    #[tokio::test]
    async fn strangers_leave_half_of_the_room_to_those_with_a_key() {
        let room = &Room::new(1 << 20);
        let read = |sender, n: usize| async move {
            read_into(room, sender, &HeaderMap::new(), Body::from(vec![b'x'; n]), 8 << 20).await
        };
        assert_eq!(room.taken(), (0, 0));
        let theirs = read(Sender::Stranger, 500 << 10).await.unwrap();
        assert_eq!(room.taken(), (448 << 10, 448 << 10));
        let problem = read(Sender::Stranger, 300 << 10).await.unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code.as_str()), (503, "too_busy"));
        assert!(problem.detail.contains("524288"), "{}", problem.detail);
        let ours = read(Sender::Known, 500 << 10).await.unwrap();
        drop(theirs);
        assert_eq!(room.taken(), (448 << 10, 0));
        // Those with a key may have all of it, and what was refused has left nothing behind.
        let more = read(Sender::Known, 500 << 10).await.unwrap();
        assert!(read(Sender::Stranger, 300 << 10).await.is_err());
        drop((ours, more));
        assert_eq!(read(Sender::Stranger, 500 << 10).await.unwrap().len(), 500 << 10);
    }

    #[tokio::test]
    async fn what_is_read_of_a_body_that_is_too_large_takes_no_room() {
        use futures::StreamExt as _;
        let room = &Room::new(1 << 20);
        // It goes over its limit, and then nothing comes.
        let parts = futures::stream::iter([500 << 10, 500 << 10].map(|n| Ok::<_, BoxError>(vec![b'x'; n])));
        let body = Body::from_stream(parts.chain(futures::stream::pending()));
        let headers = HeaderMap::new();
        let mut reading = Box::pin(read_into(room, Sender::Stranger, &headers, body, 600 << 10));
        assert!(futures::poll!(&mut reading).is_pending());
        let whole = Body::from(vec![b'x'; 500 << 10]);
        read_into(room, Sender::Stranger, &headers, whole, 8 << 20).await.unwrap();
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
        let twice = "{\"a\": 1, \"a\": 2}";
        let problem = json::<Value>(twice.as_bytes(), "a record").unwrap_err();
        assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            problem.detail,
            "this is not a record: the member \"a\" is there twice at line 1 column 12"
        );
        let problem = json_parameter("filter", Some(twice)).unwrap_err();
        assert!(problem.detail.contains("`filter` is ambiguous: the member \"a\""), "{}", problem.detail);
    }

    #[test]
    fn json_is_nested_64_levels_at_most_and_brackets_in_texts_do_not_count() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        json::<Value>(nested(64).as_bytes(), "a value").unwrap();
        for levels in [65, 200, 100_000] {
            let problem = json::<Value>(nested(levels).as_bytes(), "a value").unwrap_err();
            assert_eq!((problem.status, problem.code.as_str()), (StatusCode::BAD_REQUEST, "too_deep"));
            assert!(problem.detail.contains("line 1 column 65"), "{}", problem.detail);
        }
        let objects = "{\"a\":\n".repeat(65) + "1" + &"}".repeat(65);
        assert!(json::<Value>(objects.as_bytes(), "x").unwrap_err().detail.contains("line 65 column 1"));
        let text = format!("{{\"a\": \"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        json::<Value>(text.as_bytes(), "a value").unwrap();
        assert!(json_parameter("filter", Some(&nested(65))).is_err());
    }

    #[test]
    fn a_body_whose_values_would_take_too_much_memory_is_not_read() {
        let heavy = format!("[{}]", vec![r#"{"":0}"#; 1 << 20].join(","));
        let problem = json::<Value>(heavy.as_bytes(), "a value").unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code.as_str()), (413, "body_too_large"));
        assert!(
            problem.detail.contains(&format!("the body has {} bytes", heavy.len())),
            "{}",
            problem.detail
        );
        let text = format!("{:?}", "{\"\":0},".repeat(1 << 20));
        assert!(json::<Value>(text.as_bytes(), "a value").unwrap().is_string());
    }

    #[test]
    fn what_is_no_object_is_told_what_it_is() {
        let problem = object::<Page>(b" [3]", "a page").unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code.as_str()), (422, "invalid_body"));
        for (body, is) in
            [("5", "a number"), ("\"a\"", "a text"), (" true", "true or false"), ("null", "null")]
        {
            let problem = object::<Page>(body.as_bytes(), "a page").unwrap_err();
            assert_eq!(
                problem.detail,
                format!("this is not a page: it is {is}, and an object `{{…}}` is needed")
            );
        }
        assert_eq!(object::<Page>(b"nothing", "a page").unwrap_err().code, "invalid_json");
        assert_eq!(object::<Page>(b"[3", "a page").unwrap_err().code, "invalid_json");
        assert_eq!(object::<Page>(b"{\"limit\": 3}", "a page").unwrap().limit, Some(3));
        assert_eq!(object_or(b" ", "a page", Page { limit: None }).unwrap().limit, None);
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("wait", "10s").unwrap().as_secs(), 10);
        assert_eq!(duration("wait", "500ms").unwrap().as_millis(), 500);
        assert_eq!(duration("wait", "3").unwrap().as_secs(), 3);
        assert_eq!(duration("advance", "1d2h").unwrap().as_secs(), 26 * 3600);
        assert!(duration("wait", "").is_err());
        assert!(duration("wait", "ten").unwrap_err().detail.contains("wait=ten"));
        assert!(duration("wait", "99999999999999999999s").is_err());
    }
}
