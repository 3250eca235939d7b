//! What a webhook's sender is told when something is wrong inside: nothing that is not theirs to know.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Server, guests};

const FAILS: &str = "
name: fails
trigger: { type: webhook, path: fails, respond: result }
steps:
  - { id: inner_step, type: http_request, url: 'https://10.1.2.3/secret-place', retry: { attempts: 1 } }
";
const USES: &str = "
name: uses
trigger: { type: webhook, path: uses }
steps:
  - { id: it, type: code, action: helper }
";

fn post(server: &Server, path: &str, key: Option<&str>) -> reqwest::RequestBuilder {
    let request = reqwest::Client::new().post(format!("{}{path}", server.base)).json(&json!({}));
    match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    }
}

#[tokio::test]
async fn a_failed_run_tells_a_stranger_its_id_and_who_may_read_the_reason() {
    let server = Server::start(&[]);
    server.activate("fails", FAILS).await;
    let hooks =
        server.post("/api/v1/api-keys", &json!({ "name": "h", "scopes": ["hooks"] })).await.expect(201);
    for key in [None, hooks["secret"].as_str()] {
        let answer = server.send(post(&server, "/hooks/default/fails", key)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (500, "run_failed"));
        let text = answer.json().to_string();
        for inner in ["inner_step", "10.1.2.3", "secret-place", "address"] {
            assert!(!text.contains(inner), "{inner}: {text}");
        }
        let run = answer.json()["run_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.headers["stepwell-run-id"], run);
    }
    let answer = server.send(post(&server, "/hooks/default/fails", server.key.as_deref())).await;
    let problem = answer.json();
    assert_eq!(problem["detail"], "the run failed at step `inner_step`");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("10.1.2.3"), "{problem:#}");
    assert_eq!(
        problem.to_string().matches("10.1.2.3").count(),
        problem["errors"][0].to_string().matches("10.1.2.3").count()
    );
}

#[tokio::test]
async fn a_repeat_of_a_failed_request_is_marked_as_one() {
    let server = Server::start(&[]);
    server.activate("fails", FAILS).await;
    let send = || server.send(post(&server, "/hooks/default/fails", None).header("idempotency-key", "k"));
    let (first, again) = (send().await, send().await);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(first.headers["stepwell-run-id"], again.headers["stepwell-run-id"]);
    assert_eq!(first.json(), again.json());
}

#[tokio::test]
async fn only_who_may_read_the_workspace_is_told_of_similar_paths() {
    let server = Server::start(&[]);
    server.activate("fails", FAILS).await;
    let answer = server.send(post(&server, "/hooks/default/fail", None)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "unknown_hook"));
    assert!(!answer.json().to_string().contains("fails"), "{:#}", answer.json());
    let answer = server.send(post(&server, "/hooks/default/fail", server.key.as_deref())).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("did you mean `fails`?"));
    let dev = Server::dev();
    dev.activate("fails", FAILS).await;
    let answer = dev.post("/hooks/default/fail", &Value::Null).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("did you mean `fails`?"));
}

/// A workflow whose action was deleted cannot start; a stranger is not told which.
#[tokio::test]
async fn what_keeps_a_workflow_from_starting_is_not_told_to_strangers() {
    let server = Server::start(&[]);
    server.put("/api/v1/actions/helper", guests::prints("{}")).await.expect(201);
    server.activate("uses", USES).await;
    server.send(post(&server, "/hooks/default/uses", None)).await.expect(202);
    let refused = server.send(server.request(Method::DELETE, "/api/v1/actions/helper?version=0.0.1")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "action_in_use"));
    assert!(refused.json().to_string().contains("uses"), "it says by which");
}

/// Two requests on one connection: whoever misreads the first answer's end misreads the second.
#[tokio::test]
async fn an_answer_of_a_status_without_body_has_none_whatever_the_workflow_says() {
    let server = Server::dev();
    for status in [204, 205, 304] {
        let name = format!("s{status}");
        let text = format!(
            "name: {name}\ntrigger:\n  type: webhook\n  path: {name}\n  respond: {{ status: {status}, headers: {{ x-own: kept }}, body: {{ text: none }} }}\nsteps:\n  - {{ id: s, type: set, values: {{ a: 1 }} }}\n"
        );
        server.activate(&name, &text).await;
        let mut stream =
            tokio::net::TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
        let request = |path: &str, close: &str| {
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n{close}\r\n")
        };
        let hook = request(&format!("/hooks/default/{name}"), "");
        let both = hook + &request("/nowhere", "connection: close\r\n");
        stream.write_all(both.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let all = String::from_utf8(all).unwrap();
        let (head, rest) = all.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")) && head.contains("x-own: kept"), "{head}");
        assert!(!head.contains("content-type") && !head.contains("transfer-encoding"), "{head}");
        if status != 205 {
            assert!(!head.contains("content-length"), "{head}");
        }
        assert!(rest.starts_with("HTTP/1.1 404 "), "{status}: {rest}");
    }
}

#[tokio::test]
async fn which_workspaces_there_are_is_not_told_to_strangers() {
    let server = Server::start(&[]);
    server.activate("fails", FAILS).await;
    server.post("/api/v1/workspaces", &json!({ "name": "other" })).await.expect(201);
    let made = server.request(Method::POST, "/api/v1/api-keys").header("stepwell-workspace", "other");
    let foreign = server.send(made.json(&json!({ "name": "k", "scopes": ["write"] }))).await.expect(201);
    for key in [None, foreign["secret"].as_str()] {
        let there = server.send(post(&server, "/hooks/default/nothing", key)).await;
        let nowhere = server.send(post(&server, "/hooks/nowhere/nothing", key)).await;
        assert_eq!((there.status.as_u16(), there.code().as_str()), (404, "unknown_hook"));
        assert_eq!(there.json(), nowhere.json());
    }
    let admin = server.send(post(&server, "/hooks/nowhere/nothing", server.key.as_deref())).await;
    assert_eq!(admin.code(), "unknown_workspace", "an admin may know");
}

#[tokio::test]
async fn a_redirect_leads_where_its_author_says_and_nowhere_else() {
    let server = Server::dev();
    let flow = |name: &str, headers: &str| {
        format!(
            "name: {name}\ntrigger: {{ type: webhook, path: {name}, respond: {{ status: 303, body: '' {headers} }} }}\nsteps: [{{ id: a, type: set, values: {{ x: 1 }} }}]\n"
        )
    };
    server.activate("leads", &flow("leads", ", headers: { Location: '/thanks' }")).await;
    server.activate("plain", &flow("plain", "")).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (path, leads) in [("leads", Some("/thanks")), ("plain", None)] {
        let sent = client.post(format!("{}/hooks/default/{path}", server.base)).json(&json!({})).send();
        let answer = sent.await.unwrap();
        assert_eq!(answer.status().as_u16(), 303);
        assert_eq!(answer.headers().get("location").map(|value| value.to_str().unwrap()), leads);
        assert!(answer.headers().contains_key("stepwell-run-id"));
    }
}
