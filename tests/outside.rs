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
