//! `http_request` against a real peer on loopback that answers late, wrongly, or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::support::Server;

/// What the peer saw, and what it answers next; 200 `{"ok": true}` when nothing is planned.
#[derive(Clone, Default)]
struct Peer {
    seen: Arc<Mutex<Vec<Seen>>>,
    next: Arc<Mutex<VecDeque<Planned>>>,
}

/// Status, headers, body.
type Planned = (u16, Vec<(&'static str, String)>, String);

#[derive(Debug, Clone)]
struct Seen {
    method: String,
    uri: String,
    key: Option<String>,
    body: Bytes,
}

impl Peer {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn plan(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        self.next.lock().unwrap().push_back((status, headers, body.to_owned()));
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(State(peer): State<Peer>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    peer.seen.lock().unwrap().push(Seen {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        key: header("idempotency-key"),
        body,
    });
    let planned = peer.next.lock().unwrap().pop_front();
    let (status, headers, text) =
        planned.unwrap_or((200, vec![("content-type", "application/json".into())], "{\"ok\":true}".into()));
    let mut answer = text.into_response();
    *answer.status_mut() = status.try_into().unwrap();
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

fn flow(base: &str, more: &str) -> String {
    format!(
        "name: call
trigger: {{ type: webhook, path: call, respond: result }}
steps:
  - id: ask
    type: http_request
    method: POST
    url: '{base}/people/{{{{ trigger.body.name }}}}'
    body: {{ json: {{ name: '{{{{ trigger.body.name }}}}' }} }}
{more}"
    )
}

async fn call(server: &Server, name: &str) -> (u16, Value) {
    let answer = server.post("/hooks/default/call", &json!({ "name": name })).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn a_request_arrives_encoded_with_a_key_and_its_answer_is_the_output() {
    let peer = Peer::default();
    let server = Server::dev();
    server.activate("call", &flow(&peer.start().await, "")).await;
    let (status, output) = call(&server, "Ada/../admin?x=1").await;
    assert_eq!(
        (status, &output["status"], &output["body"]),
        (200, &json!(200), &json!({ "ok": true })),
        "{output:#}"
    );
    let seen = peer.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, "POST");
    assert!(!seen[0].uri.contains("admin?") && seen[0].uri.starts_with("/people/Ada%2F"), "{}", seen[0].uri);
    assert!(seen[0].key.is_some());
    assert_eq!(
        serde_json::from_slice::<Value>(&seen[0].body).unwrap(),
        json!({ "name": "Ada/../admin?x=1" })
    );
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again_under_its_key_and_never_taken_for_a_text() {
    let peer = Peer::default();
    let server = Server::dev();
    let base = peer.start().await;
    let json = [("content-type", "application/json")];
    server.activate("call", &flow(&base, "    retry: { attempts: 2, backoff: { initial: 10ms } }\n")).await;
    peer.plan(200, &json, "{\"a\":");
    peer.plan(200, &json, "{\"a\": 1}");
    let (status, output) = call(&server, "Ada").await;
    assert_eq!((status, &output["body"]), (200, &json!({ "a": 1 })), "{output:#}");
    let seen = peer.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((&seen[0].key, &seen[0].body), (&seen[1].key, &seen[1].body));

    server.activate("call", &flow(&base, "")).await;
    peer.plan(200, &json, "{\"a\":");
    let (status, failed) = call(&server, "Ada").await;
    assert_eq!((status, &failed["code"]), (500, &json!("run_failed")), "{failed:#}");
    let run = server.get(&format!("/api/v1/runs/{}", failed["run_id"].as_str().unwrap())).await.json();
    let error = &run["steps"][0]["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("invalid_response"), &json!(true)),
        "{error:#}"
    );
    assert_eq!((&error["details"]["status"], &error["details"]["body"]), (&json!(200), &json!("{\"a\":")));
    assert!(error["message"].as_str().unwrap().contains("says that it is JSON"), "{error:#}");

    server.activate("call", &flow(&base, "    response: { as: text }\n")).await;
    peer.plan(200, &json, "{\"a\":");
    let (status, output) = call(&server, "Ada").await;
    assert_eq!((status, &output["body"]), (200, &json!("{\"a\":")), "{output:#}");
}

#[tokio::test]
async fn a_retry_sends_the_same_bytes_with_the_same_key_after_the_wait_it_was_asked_for() {
    let peer = Peer::default();
    let server = Server::dev();
    let retry = "    retry: { attempts: 4, backoff: { initial: 10ms } }\n";
    server.activate("call", &flow(&peer.start().await, retry)).await;
    peer.plan(500, &[], "broken");
    peer.plan(429, &[("retry-after", "1")], "slow down");
    let (status, output) = call(&server, "Ada").await;
    assert_eq!(status, 200, "{output:#}");
    let seen = peer.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter().all(|s| s.key == seen[0].key && s.body == seen[0].body && s.uri == seen[0].uri),
        "{seen:#?}"
    );
    let runs = server.get("/api/v1/runs").await.expect(200);
    let run = server.ended(runs["runs"][0]["id"].as_str().unwrap()).await;
    let attempts = run["steps"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{run:#}");
    assert_eq!(attempts[2]["outcome"], "completed");
}

#[tokio::test]
async fn an_answer_that_is_no_success_fails_the_step_with_its_status_and_body() {
    let peer = Peer::default();
    let server = Server::dev();
    server.activate("call", &flow(&peer.start().await, "    retry: { attempts: 3 }\n")).await;
    peer.plan(422, &[("content-type", "application/json")], "{\"reason\": \"no such plan\"}");
    let (status, problem) = call(&server, "Ada").await;
    assert_eq!(status, 500);
    let run = server.ended(problem["run_id"].as_str().unwrap()).await;
    let error = run["steps"][0]["error"].to_string();
    assert!(error.contains("422") && error.contains("no such plan"), "{error}");
    assert_eq!(peer.seen().len(), 1, "a 422 is not retried");
}

#[tokio::test]
async fn loopback_is_refused_outside_dev() {
    let peer = Peer::default();
    let base = peer.start().await;
    let server = Server::start(&[]);
    server.activate("call", &flow(&base, "")).await;
    let (status, problem) = call(&server, "Ada").await;
    assert_eq!(status, 500);
    let run = server.ended(problem["run_id"].as_str().unwrap()).await;
    assert_eq!(run["steps"][0]["error"]["code"], "address_forbidden", "{run:#}");
    assert_eq!(peer.seen().len(), 0);
    drop(server);
    let server = Server::start(&["--allow-private-hosts", "127.0.0.1"]);
    server.activate("call", &flow(&base, "")).await;
    assert_eq!(call(&server, "Ada").await.0, 200);
}

/// A run's first step.
async fn first_step(server: &Server, answer: &Value) -> Value {
    let run = server.ended(answer["run_id"].as_str().unwrap()).await;
    run["steps"][0].clone()
}

#[tokio::test]
async fn a_202_is_asked_again_until_the_answer_is_there() {
    let peer = Peer::default();
    let server = Server::dev();
    let poll = "    response: { status: 200 }\n    retry: { attempts: 10, backoff: { initial: 10ms }, on: { field: status, in: [202, 429, 503] } }\n";
    server.activate("call", &flow(&peer.start().await, poll)).await;
    peer.plan(202, &[("retry-after", "1")], "");
    peer.plan(202, &[], "");
    let (status, output) = call(&server, "Ada").await;
    assert_eq!((status, &output["status"]), (200, &json!(200)), "{output:#}");
    assert_eq!(peer.seen().len(), 3);
    // What is not named is not tried again.
    peer.plan(404, &[], "");
    let (status, problem) = call(&server, "Eve").await;
    assert_eq!(status, 500);
    assert_eq!(first_step(&server, &problem).await["attempts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    let peer = Peer::default();
    let server = Server::dev();
    let retry = "    retry: { attempts: 2, backoff: { initial: 1ms } }\n";
    server.activate("call", &flow(&peer.start().await, retry)).await;
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    peer.plan(503, &[("retry-after", &date)], "");
    let (status, output) = call(&server, "Ada").await;
    assert_eq!(status, 200, "{output:#}");
    // The date is in whole seconds: the second attempt is not before the second that it names.
    let date = jiff::Timestamp::from_second(at.as_second()).unwrap();
    assert!(jiff::Timestamp::now() >= date, "it came before {date}");
}

#[tokio::test]
async fn redirects_go_as_far_as_the_step_says() {
    let peer = Peer::default();
    let (server, base, other) = (Server::dev(), peer.start().await, peer.start().await);
    let get = |more: &str| {
        format!(
            "name: call\ntrigger: {{ type: webhook, path: call, respond: result }}\nsteps:\n  - {{ id: ask, type: http_request, url: '{base}/a', headers: {{ authorization: x }}, {more} }}\n"
        )
    };
    server.activate("call", &get("redirects: none, response: { status: 302 }")).await;
    peer.plan(302, &[("location", "/b")], "");
    let (_, output) = call(&server, "").await;
    assert_eq!((&output["status"], &output["headers"]["location"]), (&json!(302), &json!("/b")));

    server.activate("call", &get("redirects: same_origin")).await;
    peer.plan(302, &[("location", "/b")], "");
    assert_eq!(call(&server, "").await.1["status"], 200);
    peer.plan(302, &[("location", &format!("{other}/c"))], "");
    let (_, problem) = call(&server, "").await;
    let error = first_step(&server, &problem).await["error"].clone();
    assert_eq!(error["code"], "redirect_refused", "{error:#}");
    assert!(error["message"].as_str().unwrap().contains("`redirects: same_origin`"), "{error:#}");

    server.activate("call", &get("redirects: 1")).await;
    peer.plan(302, &[("location", &format!("{other}/c"))], "");
    assert_eq!(call(&server, "").await.1["status"], 200);
    peer.plan(302, &[("location", "/b")], "");
    peer.plan(302, &[("location", "/c")], "");
    let (_, problem) = call(&server, "").await;
    assert_eq!(first_step(&server, &problem).await["error"]["code"], "too_many_redirects");
}

#[tokio::test]
async fn bytes_go_out_as_they_are_and_an_answer_that_is_no_text_comes_as_base64() {
    let peer = Peer::default();
    let server = Server::dev();
    let flow = flow(&peer.start().await, "").replace(
        "body: { json: { name: '{{ trigger.body.name }}' } }",
        "body: { bytes: '{{ trigger.body.name }}' }",
    );
    server.activate("call", &flow).await;
    let (status, output) = call(&server, "/wAB").await;
    assert_eq!(status, 200, "{output:#}");
    assert_eq!(&peer.seen()[0].body[..], [0xff, 0x00, 0x01]);
    let (status, problem) = call(&server, "no base64!").await;
    assert_eq!(status, 500);
    let error = first_step(&server, &problem).await["error"].clone();
    assert_eq!(error["code"], "invalid_step_input", "{error:#}");
    assert!(error["message"].as_str().unwrap().starts_with("body.bytes is no base64"), "{error:#}");
}

#[tokio::test]
async fn pages_are_asked_for_until_the_last() {
    let peer = Peer::default();
    let (server, base) = (Server::dev(), peer.start().await);
    let flow = format!(
        "name: call\ntrigger: {{ type: webhook, path: call, respond: result }}\nsteps:\n  - {{ id: ask, type: http_request, url: '{base}/list', pagination: {{ next: {{ link: next }} }}, retry: {{ attempts: 2, backoff: {{ initial: 10ms }} }} }}\n"
    );
    server.activate("call", &flow).await;
    let json = ("content-type", "application/json");
    peer.plan(200, &[json, ("link", &format!("<{base}/list?page=2>; rel=\"next\""))], "[1, 2]");
    peer.plan(500, &[], "");
    peer.plan(200, &[json], "[3]");
    let (status, output) = call(&server, "").await;
    assert_eq!((status, output), (200, json!({ "items": [1, 2, 3], "pages": 2 })));
    let uris: Vec<String> = peer.seen().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(uris, ["/list", "/list?page=2", "/list?page=2"]);
}
