//! `http_request`: the rendered call becomes the bytes that are sent, and the answer the step's output.
mod through;

use super::outside_failure;
use crate::core::{Core, Ctx};
use crate::outside::http::display_host;
use crate::ports::{HttpRequest, HttpResponse};
use crate::secrets::{Opened, percent_encoded};
use crate::weight::{self, TooHeavy};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use stepwell_workflow::depth;
use stepwell_workflow::expr::RevealError;
use stepwell_workflow::machine::{Failure, HttpBody, HttpCall, Next, PageCall};
use stepwell_workflow::model::ReadAs;
use url::Url;
use url::form_urlencoded;

pub(crate) use through::Through;

/// Without a `timeout:` an attempt takes no longer than this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer that was not accepted is kept in the failure.
const SHOWN_BODY: usize = 2048;
/// How much of it the message says.
const SAID_BODY: usize = 200;

/// What the call's connection, if it has one, adds to it, with its secrets filled in.
pub(crate) fn through(
    ctx: &Ctx,
    call: &HttpCall,
    secret: impl FnMut(&str) -> Option<String>,
) -> Result<Option<Through>, Failure> {
    let Some(name) = &call.connection else { return Ok(None) };
    let table = ctx.ws.registry.connections();
    match table.get(name) {
        Some(row) => Through::new(&row.connection, secret).map(Some),
        None => {
            let message = format!("the connection `{name}` is not there any more");
            Err(Failure::engine("unknown_connection", message))
        }
    }
}

/// The request as it goes out. Secrets are filled in here and nowhere else.
pub(crate) fn request(
    call: &HttpCall,
    through: Option<Through>,
    timeout_ms: Option<u64>,
    mut secret: impl FnMut(&str) -> Option<String>,
) -> Result<HttpRequest, Failure> {
    // Within a URL a secret is data, as everything that is filled in there.
    let url = call.url.reveal(|name| secret(name).map(|value| percent_encoded(&value))).map_err(revealed)?;
    let url = match &through {
        Some(through) => through.connection.address(&url).map_err(|why| {
            let name = &through.connection.name;
            Failure::engine("invalid_request", format!("the connection `{name}` is for one host: {why}"))
        })?,
        None => url,
    };
    let mut url = Url::parse(&url).map_err(|error| {
        Failure::engine("invalid_request", format!("the step's `url` is no URL: {error}"))
    })?;
    if !call.query.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in &call.query {
            pairs.append_pair(name, &value.reveal(&mut secret).map_err(revealed)?);
        }
    }
    if let Some(PageCall { next: Some(Next::Url(next)), number, .. }) = &call.page {
        url = next_page(&url, next, *number)?;
        // What it says of secrets is redacted.
        for (name, value) in call.query.iter().filter(|(_, value)| !value.secrets.is_empty()) {
            set_query(&mut url, name, &value.reveal(&mut secret).map_err(revealed)?);
        }
    }
    let mut headers = Vec::with_capacity(call.headers.len() + 2);
    let mut secret_headers = Vec::new();
    for (name, value) in &call.headers {
        headers.push((name.clone(), value.reveal(&mut secret).map_err(revealed)?));
        if !value.secrets.is_empty() {
            secret_headers.push(name.clone());
        }
    }
    let has =
        |headers: &[(String, String)], name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let (body, content_type) = match &call.body {
        None => (Bytes::new(), None),
        Some(HttpBody::Json(filled)) => {
            let value = filled.reveal(&mut secret).map_err(revealed)?;
            (Bytes::from(value.to_string()), Some("application/json"))
        }
        Some(HttpBody::Form(pairs)) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in pairs {
                form.append_pair(name, &value.reveal(&mut secret).map_err(revealed)?);
            }
            (Bytes::from(form.finish()), Some("application/x-www-form-urlencoded"))
        }
        Some(HttpBody::Text(text)) => {
            let text = text.reveal(&mut secret).map_err(revealed)?;
            (Bytes::from(text), Some("text/plain; charset=utf-8"))
        }
        Some(HttpBody::Bytes(base64)) => {
            let bytes = STANDARD.decode(base64).map_err(|error| {
                Failure::engine("invalid_request", format!("`body.bytes` is no base64: {error}"))
            })?;
            (Bytes::from(bytes), Some("application/octet-stream"))
        }
    };
    let link = through.map(|through| through.put_into(&mut url, &mut headers, &mut secret_headers));
    if let Some(content_type) = content_type
        && !has(&headers, "content-type")
    {
        headers.push(("content-type".into(), content_type.into()));
    }
    if !has(&headers, "idempotency-key") {
        headers.push(("idempotency-key".into(), call.idempotency_key.clone()));
    }
    Ok(HttpRequest {
        method: call.method.as_str().to_owned(),
        url: url.into(),
        headers,
        body,
        secret_headers,
        timeout_ms: timeout_ms.unwrap_or(DEFAULT_TIMEOUT.as_millis() as u64),
        max_response_bytes: call.max_bytes,
        max_redirects: call.redirects.most(),
        stay_on_origin: call.redirects.stays(),
        workspace: String::new(),
        link: link.map(Arc::new),
    })
}

/// The address of a page, as the one before it says; on the same host, for it is given what that one was given.
fn next_page(first: &Url, next: &str, number: u32) -> Result<Url, Failure> {
    let invalid = |why: String| {
        Failure::engine("invalid_response", format!("the answer before leads to page {number} {why}"))
    };
    let url = first.join(next).map_err(|error| invalid(format!("by what is no URL: {error}")))?;
    if url.origin() != first.origin() {
        let (there, here) = (display_host(url.as_str()), display_host(first.as_str()));
        return Err(invalid(format!("at {there}, and the step calls {here}")));
    }
    Ok(url)
}

/// Puts a parameter into a query, in place of those of its name.
fn set_query(url: &mut Url, name: &str, value: &str) {
    let others: Vec<(String, String)> =
        url.query_pairs().filter(|(known, _)| known != name).map(|(n, v)| (n.into(), v.into())).collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
}

fn revealed(error: RevealError) -> Failure {
    Failure::engine("unknown_secret", error.to_string())
}

/// Sends it. The failure of an answer that is not accepted carries status and body.
pub(crate) async fn send(
    core: &Core,
    call: &HttpCall,
    request: &HttpRequest,
    now: jiff::Timestamp,
    secrets: &Opened,
) -> Result<Value, Failure> {
    let response = core.ports.http.send(request).await.map_err(outside_failure)?;
    let (mut output, no_json) = output(&response, call.response.read_as);
    // Before anything is cut or quoted: here the answer enters the run.
    secrets.redact(&mut output);
    if call.response.accepts(response.status) {
        if let Some(why) = no_json {
            return Err(why.failure(&request.url, &output));
        }
        check_schema(core, call, &output).await?;
        return Ok(output);
    }
    let status = response.status;
    let host = display_host(&request.url);
    let mut failure =
        Failure::engine("http_status", format!("{host} answered {status}{}", said(&output["body"])));
    failure.retryable = matches!(status, 408 | 425 | 429 | 500..=599);
    failure.retry_after_ms =
        output["headers"]["retry-after"].as_str().and_then(|text| retry_after(text, now));
    failure.details =
        Some(json!({ "status": status, "headers": output["headers"], "body": shown(&output["body"]) }));
    Err(failure)
}

/// `{status, headers, body}`: JSON is read as such, other text as text, anything else as base64. And why a body that the
/// answer calls JSON is none; it is there as the text that it is.
fn output(response: &HttpResponse, read_as: Option<ReadAs>) -> (Value, Option<NoJson>) {
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let name = name.to_ascii_lowercase();
        match headers.get_mut(&name) {
            Some(Value::String(known)) => {
                known.push_str(", ");
                known.push_str(value);
            }
            _ => {
                headers.insert(name, Value::String(value.clone()));
            }
        }
    }
    let json = read_as.is_none()
        && headers.get("content-type").and_then(Value::as_str).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or(kind).trim();
            kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
        });
    let read = match json && !response.body.is_empty() {
        true => Some(read_json(&response.body)),
        false => None,
    };
    let (body, no_json) = match read {
        Some(Ok(json)) => (json, None),
        other => (raw(&response.body), other.and_then(Result::err)),
    };
    let mut output = json!({ "status": response.status, "headers": headers });
    // The macro would copy it.
    output["body"] = body;
    (output, no_json)
}

/// A body without looking at what it says.
fn raw(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok("") => Value::Null,
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({ "base64": STANDARD.encode(body) }),
    }
}

/// Why what says that it is JSON is not read as such.
#[derive(Debug, PartialEq)]
enum NoJson {
    Broken(String),
    Heavy(TooHeavy),
}

impl NoJson {
    fn failure(&self, url: &str, output: &Value) -> Failure {
        let mut failure = match self {
            Self::Broken(why) => broken(why, url),
            Self::Heavy(heavy) => too_heavy(heavy, url, output["body"].as_str().map_or(0, str::len)),
        };
        failure.details = Some(
            json!({ "status": output["status"], "headers": output["headers"], "body": shown(&output["body"]) }),
        );
        failure
    }
}

/// JSON of the other side, or why it is none that a run can hold.
fn read_json(body: &[u8]) -> Result<Value, NoJson> {
    // A byte order mark is no part of what follows it (RFC 8259).
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| NoJson::Broken("it is not UTF-8".to_owned()))?;
    if depth::text_too_deep(body).is_some() {
        return Err(NoJson::Broken(format!("it nests deeper than {} levels", depth::MAX_DEPTH)));
    }
    weight::check(body).map_err(NoJson::Heavy)?;
    serde_json::from_str(text).map_err(|error| NoJson::Broken(error.to_string()))
}

/// The failure of an answer that came, and cannot be read. The other side has acted: so another attempt, which may bring
/// the whole of it, goes out under the same key.
fn broken(why: &str, url: &str) -> Failure {
    let host = display_host(url);
    let message = format!("the answer of {host} says that it is JSON, but cannot be read as such: {why}");
    Failure::engine("invalid_response", message).retryable()
}

/// The failure of an answer that another attempt would get again.
fn too_heavy(heavy: &TooHeavy, url: &str, bytes: usize) -> Failure {
    let host = display_host(url);
    let message = format!(
        "the answer of {host} has {bytes} bytes of JSON, and {heavy}; ask for less of it, or take it as a text \
         (`response: {{ as: text }}`)"
    );
    Failure::engine("response_too_large", message)
}

async fn check_schema(core: &Core, call: &HttpCall, output: &Value) -> Result<(), Failure> {
    let Some(schema) = &call.response.schema else { return Ok(()) };
    let problems = crate::registry::schema::check(core, schema, &output["body"])
        .await
        .map_err(|error| Failure::engine("invalid_schema", format!("`response.schema`: {error}")))?;
    if problems.is_empty() {
        return Ok(());
    }
    let said: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
    let mut failure = Failure::engine(
        "invalid_response",
        format!("the answer does not fit `response.schema`: {}", said.join("; ")),
    );
    failure.details = Some(json!({ "body": shown(&output["body"]) }));
    Err(failure)
}

/// The beginning of a body, for a message.
fn said(body: &Value) -> String {
    let mut text = match body {
        Value::Null | Value::Object(_) if body["base64"].is_string() || body.is_null() => {
            return String::new();
        }
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    super::cut(&mut text, SAID_BODY);
    if text.is_empty() { text } else { format!(": {text}") }
}

/// A body, cut to what a person reads.
fn shown(body: &Value) -> Value {
    let mut text = match body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= SHOWN_BODY {
        return body.clone();
    }
    super::cut(&mut text, SHOWN_BODY);
    Value::String(text)
}

/// `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(value: &str, now: jiff::Timestamp) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(u64::try_from(at.duration_since(now).as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stepwell_workflow::expr::Text;
    use stepwell_workflow::model::{Method, Redirects, Response};

    fn call(body: Option<HttpBody>) -> HttpCall {
        HttpCall {
            connection: None,
            page: None,
            redirects: Redirects::default(),
            method: Method::Post,
            url: Text::from("https://example.com/a%20b".to_owned()),
            headers: [("X-One".to_owned(), Text::from("1".to_owned()))].into(),
            query: vec![("q".into(), Text::from("a&b c".to_owned()))],
            body,
            response: Response::default(),
            max_bytes: 100,
            idempotency_key: "key-1".into(),
        }
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> HttpResponse {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        HttpResponse { status, headers, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn the_request_is_rendered_once_and_carries_its_key() {
        let body = HttpBody::Form(vec![("a".into(), Text::from("1 &".to_owned()))]);
        let request = request(&call(Some(body)), None, Some(7), |_| None).unwrap();
        assert_eq!(request.url, "https://example.com/a%20b?q=a%26b+c");
        assert_eq!(&request.body[..], b"a=1+%26");
        assert_eq!(request.timeout_ms, 7);
        let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(header("X-One"), Some("1"));
        assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(header("idempotency-key"), Some("key-1"));
    }

    #[test]
    fn bodies_are_read_by_what_they_are() {
        let body = |answer: &HttpResponse| {
            let (output, no_json) = output(answer, None);
            assert_eq!(no_json, None);
            output["body"].clone()
        };
        let json = answer(200, &[("Content-Type", "application/problem+json; charset=utf-8")], b"{\"a\":1}");
        assert_eq!(body(&json), json!({"a": 1}));
        let marked = answer(200, &[("content-type", "application/json")], b"\xef\xbb\xbf{\"a\":1}");
        assert_eq!(body(&marked), json!({"a": 1}), "a byte order mark is no fault");
        let none = answer(200, &[("content-type", "application/json")], b"");
        assert_eq!((body(&none), body(&answer(204, &[], b""))), (Value::Null, Value::Null));
        assert_eq!(body(&answer(200, &[], b"{\"a\":")), json!("{\"a\":"));
        assert_eq!(body(&answer(200, &[], b"\xff\x00")), json!({"base64": "/wA="}));
        let twice = answer(200, &[("Set-Cookie", "a=1"), ("set-cookie", "b=2")], b"");
        assert_eq!(output(&twice, None).0["headers"]["set-cookie"], json!("a=1, b=2"));
    }

    #[test]
    fn what_says_that_it_is_json_and_is_not_is_told() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let abyss = "[".repeat(1000);
        for (body, says) in [
            (&b"{\"a\":"[..], "EOF"),
            (b"<html>", "expected value"),
            (b"{\"a\":1} {", "trailing"),
            (b"1e400", "out of range"),
            (b"\"\xff\"", "not UTF-8"),
            (deep.as_bytes(), "deeper than 64"),
            (abyss.as_bytes(), "deeper than 64"),
        ] {
            let answer = answer(200, &[("content-type", "application/json")], body);
            let (read, why) = output(&answer, None);
            let Some(NoJson::Broken(why)) = why else { panic!("{says}: {why:?}") };
            assert!(why.contains(says), "{says}: {why}");
            assert!(read["body"].is_string() || read["body"]["base64"].is_string(), "{read}");
            let (read, why) = output(&answer, Some(ReadAs::Text));
            assert_eq!((why, &read["body"]), (None, &raw(body)));
        }
    }

    /// Such an answer is a text that is there, and no JSON.
    #[test]
    fn json_that_would_take_too_much_memory_is_not_read() {
        let heavy = format!("[{}]", vec![r#"{"":0}"#; 1 << 20].join(","));
        let answer = answer(200, &[("content-type", "application/json")], heavy.as_bytes());
        let (read, why) = output(&answer, None);
        let failure = why.unwrap().failure("https://api.example.com/x?key=1", &read);
        assert_eq!((failure.code.as_str(), failure.retryable), ("response_too_large", false));
        let says = format!("https://api.example.com has {} bytes of JSON", heavy.len());
        assert!(failure.message.contains(&says) && failure.message.contains("as: text"), "{failure:?}");
        assert_eq!(failure.details.unwrap()["status"], 200);
        assert_eq!(output(&answer, Some(ReadAs::Text)), (read, None));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let after = |value| retry_after(value, now);
        assert_eq!(after("7"), Some(7000));
        assert_eq!(after("Fri, 02 Jan 2026 03:04:15 GMT"), Some(10_000));
        assert_eq!(after("Fri, 02 Jan 2026 03:04:00 GMT"), Some(0), "a date that is over means now");
        assert_eq!(after("soon"), None);
    }
}
