//! The world outside of a test: requests get canned answers, e-mail is caught.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepwell_engine::ports::{
    HttpClient, HttpRequest, HttpResponse, MailMessage, MailReceipt, Mailer, OutsideError, async_trait,
};

use super::matching::{named, within};
use crate::compare::{diff, pretty};
use crate::report::Problem;

/// Which requests are meant; what is absent is free.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Pattern {
    method: Option<String>,
    url: Option<String>,
    path: Option<String>,
    query: Option<Map<String, Value>>,
    headers: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    body: Option<Value>,
}

impl Pattern {
    /// What a request would have to have otherwise; nothing when it fits.
    fn differences(&self, request: &HttpRequest) -> Vec<String> {
        let seen = seen(request);
        let mut all = Vec::new();
        let mut compare = |name: &str, wanted: Option<&str>, came: &str| {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != came) {
                all.push(format!("{name} is {came}, not {wanted}"));
            }
        };
        compare("method", self.method.as_deref(), &request.method);
        compare("url", self.url.as_deref(), self.part_of_url(&request.url));
        compare("path", self.path.as_deref(), seen["path"].as_str().unwrap_or_default());
        for (name, wanted) in
            [("query", texts(self.query.as_ref(), false)), ("headers", texts(self.headers.as_ref(), true))]
        {
            if let Some(wanted) = wanted.filter(|wanted| !within(wanted, &seen[name])) {
                all.push(format!("{name}:\n{}", diff(&wanted, &named(&wanted, &seen[name]))));
            }
        }
        if let Some(wanted) = self.body.as_ref().filter(|wanted| !within(wanted, &seen["body"])) {
            all.push(format!("body:\n{}", diff(wanted, &named(wanted, &seen["body"]))));
        }
        all
    }

    pub fn fits(&self, request: &HttpRequest) -> bool {
        self.differences(request).is_empty()
    }

    /// As much of an address as the pattern is about.
    fn part_of_url<'u>(&self, url: &'u str) -> &'u str {
        let whole = self.url.as_ref().is_some_and(|url| url.contains('?'));
        if whole { url } else { url.split('?').next().unwrap_or(url) }
    }

    /// What a request has where the pattern says something.
    pub fn shown(&self, request: &HttpRequest) -> Value {
        let seen = seen(request);
        let mut shown = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                shown.insert(name.to_owned(), value);
            }
        };
        add("method", self.method.as_ref().map(|_| json!(request.method)));
        add("url", self.url.as_ref().map(|_| json!(self.part_of_url(&request.url))));
        add("path", self.path.as_ref().map(|_| seen["path"].clone()));
        add("query", texts(self.query.as_ref(), false).map(|wanted| named(&wanted, &seen["query"])));
        add("headers", texts(self.headers.as_ref(), true).map(|wanted| named(&wanted, &seen["headers"])));
        add("body", self.body.as_ref().map(|wanted| named(wanted, &seen["body"])));
        Value::Object(shown)
    }
}

/// Parameters and headers are texts, whatever they were written as.
fn texts(values: Option<&Map<String, Value>>, lower: bool) -> Option<Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| json!(value.to_string()), |text| json!(text));
    let name = |name: &str| if lower { name.to_ascii_lowercase() } else { name.to_owned() };
    values.map(|values| {
        let one = |(key, value): (&String, &Value)| {
            (name(key), if value.is_null() { Value::Null } else { text(value) })
        };
        Value::Object(values.iter().map(one).collect())
    })
}

/// A request as patterns and people see it.
fn seen(request: &HttpRequest) -> Value {
    let url = url::Url::parse(&request.url).ok();
    let path = url.as_ref().map(|url| url.path().to_owned()).unwrap_or_default();
    let query: Map<String, Value> = url
        .iter()
        .flat_map(|url| url.query_pairs())
        .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
        .collect();
    let headers: Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), json!(value))).collect();
    let is_form = headers
        .get("content-type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.contains("form-urlencoded"));
    let body = if is_form {
        let pairs = url::form_urlencoded::parse(&request.body);
        pairs.map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect()
    } else {
        body(&request.body)
    };
    json!({ "path": path, "query": query, "headers": headers, "body": body })
}

/// JSON where it is some, or else text; nothing at all is null.
fn body(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

/// A request for people.
pub(super) fn whole(request: &HttpRequest) -> Value {
    let seen = seen(request);
    json!({ "method": request.method, "url": request.url, "headers": seen["headers"], "body": seen["body"] })
}

/// An answer that a test gives, and to what.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Canned {
    #[serde(flatten)]
    pattern: Pattern,
    #[serde(default)]
    answer: Answer,
    error: Option<NoAnswer>,
    times: Option<Value>,
    /// Where it stands, for people.
    #[serde(skip)]
    pub place: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Answer {
    status: Option<u16>,
    headers: Option<Map<String, Value>>,
    body: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NoAnswer {
    Timeout,
    Connection,
}

impl Canned {
    /// How many requests it has to answer; none: any number.
    fn times(&self) -> Option<u64> {
        match &self.times {
            None => Some(1),
            Some(times) => times.as_u64(),
        }
    }

    fn give(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
        let error = |code: &str, message: &str, outcome_unknown| OutsideError {
            code: code.into(),
            message: message.into(),
            retryable: true,
            outcome_unknown,
            retry_after_ms: None,
            details: None,
        };
        match self.error {
            Some(NoAnswer::Timeout) => {
                let message = format!("no answer within {} ms", request.timeout_ms);
                return Err(error("timeout", &message, true));
            }
            Some(NoAnswer::Connection) => {
                return Err(error("connect_failed", "the connection was refused", false));
            }
            None => {}
        }
        let given = texts(self.answer.headers.as_ref(), true);
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in given.iter().filter_map(Value::as_object).flatten() {
            headers.push((name.clone(), value.as_str().unwrap_or_default().to_owned()));
        }
        let (kind, body) = match &self.answer.body {
            None => (None, Bytes::new()),
            Some(Value::String(text)) => (Some("text/plain; charset=utf-8"), text.clone().into()),
            Some(value) => (Some("application/json"), value.to_string().into()),
        };
        if let Some(kind) = kind.filter(|_| headers.iter().all(|(name, _)| name != "content-type")) {
            headers.push(("content-type".into(), kind.into()));
        }
        Ok(HttpResponse { status: self.answer.status.unwrap_or(200), headers, body })
    }
}

/// Answers requests as a test says.
pub(super) struct CannedHttp {
    canned: Vec<Canned>,
    state: Mutex<Asked>,
}

struct Asked {
    used: Vec<u64>,
    sent: Vec<HttpRequest>,
    problems: Vec<Problem>,
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Candidates that are shown for a request that nothing answers.
const NEAREST: usize = 3;

impl CannedHttp {
    pub fn new(canned: Vec<Canned>) -> Self {
        let state = Asked { used: vec![0; canned.len()], sent: Vec::new(), problems: Vec::new() };
        Self { canned, state: Mutex::new(state) }
    }

    pub fn sent(&self) -> Vec<HttpRequest> {
        lock(&self.state).sent.clone()
    }

    /// Requests that had no answer.
    pub fn unanswered(&self) -> Vec<Problem> {
        lock(&self.state).problems.clone()
    }

    /// Answers that were to be asked for and were not.
    pub fn unasked(&self) -> Vec<Problem> {
        let asked = lock(&self.state);
        let one = |(canned, used): (&Canned, &u64)| {
            let times = canned.times().filter(|times| times > used)?;
            let said = match times {
                1 => "nothing asked for this answer".to_owned(),
                times => format!("this answer was asked for {used} times, not {times}"),
            };
            Some(Problem::new(format!("{}: {said}; `times: any` allows that", canned.place)))
        };
        self.canned.iter().zip(&asked.used).filter_map(one).collect()
    }

    fn no_answer(&self, request: &HttpRequest, used: &[u64]) -> Problem {
        let mut below = pretty(&whole(request));
        let mut near: Vec<(Vec<String>, &Canned, u64)> = self
            .canned
            .iter()
            .zip(used)
            .map(|(canned, used)| (canned.pattern.differences(request), canned, *used))
            .collect();
        near.sort_by_key(|(differences, ..)| differences.len());
        for (differences, canned, used) in near.iter().take(NEAREST) {
            if differences.is_empty() {
                below.push_str(&format!(
                    "\n{} would fit, but has answered {used} already (`times`)",
                    canned.place
                ));
                continue;
            }
            below.push_str(&format!("\n{} does not fit:", canned.place));
            for line in differences.iter().flat_map(|difference| difference.lines()) {
                below.push_str(&format!("\n  {line}"));
            }
        }
        let none = if self.canned.is_empty() { "; the test has no `http`" } else { "" };
        let url = request.url.split('?').next().unwrap_or_default();
        Problem::new(format!("nothing answers {} {url}{none}:", request.method)).below(below)
    }
}

#[async_trait]
impl HttpClient for CannedHttp {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
        let mut asked = lock(&self.state);
        asked.sent.push(request.clone());
        for (index, canned) in self.canned.iter().enumerate() {
            let left = canned.times().is_none_or(|times| asked.used[index] < times);
            if left && canned.pattern.fits(request) {
                asked.used[index] += 1;
                return canned.give(request);
            }
        }
        let problem = self.no_answer(request, &asked.used);
        asked.problems.push(problem);
        Err(OutsideError {
            code: "connect_failed".into(),
            message: "the test has no answer to this request".into(),
            retryable: false,
            outcome_unknown: false,
            retry_after_ms: None,
            details: None,
        })
    }
}

/// The answers of a test that are known only once its records are there.
#[derive(Default)]
pub(super) struct LateHttp(OnceLock<Arc<CannedHttp>>);

impl LateHttp {
    pub fn set(&self, canned: Arc<CannedHttp>) {
        // A test gives its answers once.
        let _ = self.0.set(canned);
    }
}

#[async_trait]
impl HttpClient for LateHttp {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
        self.0.get_or_init(|| Arc::new(CannedHttp::new(Vec::new()))).send(request).await
    }
}

/// Keeps e-mail.
#[derive(Default)]
pub(super) struct CaughtMail {
    sent: Mutex<Vec<MailMessage>>,
}

impl CaughtMail {
    pub fn sent(&self) -> Vec<Value> {
        lock(&self.sent).iter().map(|mail| serde_json::to_value(mail).unwrap_or_default()).collect()
    }
}

#[async_trait]
impl Mailer for CaughtMail {
    async fn send(&self, message: &MailMessage) -> Result<MailReceipt, OutsideError> {
        lock(&self.sent).push(message.clone());
        let accepted = message.to.iter().chain(&message.cc).chain(&message.bcc).cloned().collect();
        Ok(MailReceipt { accepted, response: "250 kept by the test".into() })
    }
}

/// An e-mail as it came, where an expectation says something of it.
pub(super) fn mail_shown(expected: &Value, mail: &Value) -> Value {
    let text = ["text", "html"].map(|part| mail[part].as_str().unwrap_or_default()).join("\n");
    let text = text.trim_matches('\n');
    let mut shown = Map::new();
    for (key, wanted) in expected.as_object().into_iter().flatten() {
        let parts = || wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
        let value = match key.as_str() {
            "contains" if parts().all(|part| text.contains(part)) => wanted.clone(),
            "lacks" if !parts().any(|part| text.contains(part)) => wanted.clone(),
            "contains" | "lacks" => text.lines().collect(),
            // One without copies has no such member.
            "cc" | "bcc" => mail.get(key).cloned().unwrap_or_else(|| json!([])),
            key => mail[key].clone(),
        };
        shown.insert(key.clone(), value);
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, url: &str, body: Value) -> HttpRequest {
        HttpRequest {
            method: method.into(),
            url: url.into(),
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.to_string().into(),
            secret_headers: vec![],
            timeout_ms: 1_000,
            max_response_bytes: 1 << 20,
            max_redirects: 0,
            stay_on_origin: false,
            workspace: String::new(),
            link: None,
        }
    }

    fn canned(values: Value) -> CannedHttp {
        let canned: Vec<Canned> = serde_json::from_value(values).unwrap();
        let placed = |(index, canned)| Canned { place: format!("a.yaml:{}", index + 1), ..canned };
        CannedHttp::new(canned.into_iter().enumerate().map(placed).collect())
    }

    #[tokio::test]
    async fn answers_come_in_order_and_as_often_as_they_say() {
        let http = canned(json!([
            { "path": "/v1/leads", "answer": { "status": 429, "headers": { "Retry-After": 5 } } },
            { "path": "/v1/leads", "error": "timeout" },
            { "url": "https://api.example.com/v1/leads", "query": { "page": 2 }, "times": "any", "answer": { "body": { "ok": true } } },
        ]));
        let post = request("POST", "https://api.example.com/v1/leads?page=2", json!({}));
        let first = http.send(&post).await.unwrap();
        assert_eq!((first.status, first.headers[0].1.as_str()), (429, "5"));
        assert_eq!(http.send(&post).await.unwrap_err().code, "timeout");
        for _ in 0..3 {
            assert_eq!(http.send(&post).await.unwrap().body, "{\"ok\":true}");
        }
        assert!(http.unanswered().is_empty() && http.unasked().is_empty());
        assert_eq!(http.sent().len(), 5);
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_shown_with_the_nearest_ones() {
        let http = canned(json!([
            { "method": "GET", "path": "/v2/leads", "times": "any" },
            { "method": "POST", "path": "/v1/leads", "body": { "email": "bob@example.com" } },
            { "method": "POST", "path": "/v1/leads", "body": { "n": 1 } },
        ]));
        let post = request(
            "POST",
            "https://api.example.com/v1/leads",
            json!({ "email": "ada@example.com", "n": 1 }),
        );
        assert_eq!(http.send(&post).await.unwrap().status, 200);
        assert!(!http.send(&post).await.unwrap_err().retryable);
        let text: Vec<String> = http
            .unanswered()
            .into_iter()
            .chain(http.unasked())
            .map(|problem| format!("{}\n{}", problem.summary, problem.below))
            .collect();
        insta::assert_snapshot!(text.join("\n\n"), @r#"
        nothing answers POST https://api.example.com/v1/leads:
        {
          "body": {
            "email": "ada@example.com",
            "n": 1
          },
          "headers": {
            "content-type": "application/json"
          },
          "method": "POST",
          "url": "https://api.example.com/v1/leads"
        }
        a.yaml:3 would fit, but has answered 1 already (`times`)
        a.yaml:2 does not fit:
          body:
            {
          -   "email": "bob@example.com"
          +   "email": "ada@example.com"
            }
        a.yaml:1 does not fit:
          method is POST, not GET
          path is /v1/leads, not /v2/leads

        a.yaml:2: nothing asked for this answer; `times: any` allows that
        "#);
    }
}
