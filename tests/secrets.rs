//! Secrets and settings through the binary: what a real peer gets has them; what is kept, shown and logged has not.

use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{self, Server};

const VALUE: &str = "Tr0ub4dor&3/correct horse";

/// A peer that sends back all that it was sent.
async fn echo() -> String {
    async fn answer(request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let key = parts.headers.get("x-api-key").map(|v| v.to_str().unwrap().to_owned());
        let told = json!({
            "uri": parts.uri.to_string(), "key": key, "body": String::from_utf8_lossy(&body),
            "base64": STANDARD.encode(format!("user:{}", key.clone().unwrap_or_default())),
        });
        let status = if parts.uri.path().ends_with("refused") { 403 } else { 200 };
        let mut answer = axum::Json(told).into_response();
        *answer.status_mut() = status.try_into().unwrap();
        answer.headers_mut().insert("x-key", key.unwrap_or_default().parse().unwrap());
        answer
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    format!("http://{address}")
}

fn flow(base: &str) -> String {
    format!(
        "name: call
trigger: {{ type: webhook, path: call, respond: result }}
steps:
  - id: ask
    type: http_request
    method: POST
    url: '{base}/{{{{ secrets.CRM_KEY }}}}/{{{{ trigger.body.path }}}}'
    headers: {{ x-api-key: '{{{{ secrets.CRM_KEY }}}}' }}
    query: {{ limit: '{{{{ settings.limit }}}}' }}
    body: {{ json: {{ key: '{{{{ secrets.CRM_KEY }}}}' }} }}
  - {{ id: note, type: create_record, object: task, record: {{ title: '{{{{ ask.body.key }}}}' }} }}
output: '{{{{ ask }}}}'
"
    )
}

/// The forms in which the value may have got somewhere.
fn forms() -> Vec<String> {
    let part = "correct horse".to_owned();
    let base64 = STANDARD.encode(format!("user:{VALUE}"));
    vec![VALUE.into(), part, "Tr0ub4dor".into(), base64[8..24].to_owned(), STANDARD.encode(VALUE)]
}

/// Whether a file below the folder has one of the forms, the key's file included.
fn files_with(folder: &Path, forms: &[String], found: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += files_with(&path, forms, found);
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        let hit = forms.iter().find(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()));
        found.extend(hit.map(|form| format!("{}: {form}", path.display())));
    }
    files
}

#[tokio::test]
async fn a_secret_reaches_the_peer_and_is_nowhere_else() {
    let mut server = Server::start(&["--dev", "--log", "trace"]);
    server.put("/api/v1/secrets/CRM_KEY", json!({ "value": VALUE }).to_string()).await.expect(201);
    server.put("/api/v1/settings/limit", json!({ "value": 7 }).to_string()).await.expect(201);
    server.activate("call", &flow(&echo().await)).await;
    let answer = server.post("/hooks/default/call", &json!({ "path": "people" })).await;
    let refused = server.post("/hooks/default/call", &json!({ "path": "refused" })).await;
    let output = answer.json();
    assert_eq!(answer.status.as_u16(), 200, "{output:#}");
    // The peer saw it: what it sent back was there to be redacted.
    assert_eq!(output["body"]["uri"], "/***/people?limit=7", "{output:#}");
    assert_eq!((&output["body"]["key"], &output["headers"]["x-key"]), (&json!("***"), &json!("***")));
    assert_eq!(output["body"]["body"], "{\"key\":\"***\"}");
    assert_eq!(refused.status.as_u16(), 500);

    let mut shown = vec![String::from_utf8_lossy(&answer.body).into_owned()];
    shown.push(String::from_utf8_lossy(&refused.body).into_owned());
    let runs = server.get("/api/v1/runs").await.expect(200);
    for run in runs["runs"].as_array().unwrap() {
        shown.push(server.ended(run["id"].as_str().unwrap()).await.to_string());
    }
    assert!(shown[2].contains("{{ secrets.CRM_KEY }}") || shown[3].contains("{{ secrets.CRM_KEY }}"));
    for path in [
        "/api/v1/secrets",
        "/api/v1/secrets/CRM_KEY",
        "/api/v1/workflows/call",
        "/metrics",
        "/api/v1/records/task",
    ] {
        shown.push(String::from_utf8_lossy(&server.get(path).await.body).into_owned());
    }
    shown.push(events(&server).await);
    let mut found = Vec::new();
    let files = files_with(&server.data(), &forms(), &mut found);
    assert!(files > 2 && found.is_empty(), "{found:?}");
    server.stop();
    files_with(&server.data(), &forms(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    let log = server.log();
    assert!(log.contains("DEBUG") && log.contains("TRACE"), "the log is whole: {}", log.len());
    shown.push(log);
    for form in forms() {
        for text in &shown {
            if let Some(at) = text.find(&form) {
                panic!(
                    "{form:?} is shown: …{}…",
                    String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..at + 40])
                );
            }
        }
    }
}

/// All events so far.
async fn events(server: &Server) -> String {
    let mut answer = server.request(Method::GET, "/api/v1/events").send().await.unwrap();
    let mut text = String::new();
    while text.matches("\"completed\"").count() + text.matches("\"failed\"").count() < 2 {
        text.push_str(&String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()));
    }
    text
}

#[tokio::test]
async fn the_key_is_a_file_beside_the_store_and_without_it_the_server_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::on(&data, &["--dev"], &[]).unwrap();
    let key_file = data.join("secrets.key");
    assert!(!key_file.exists(), "it is made with the first secret");
    server.put("/api/v1/secrets/A", "{\"value\": \"one value\"}").await.expect(201);
    let key = std::fs::read_to_string(&key_file).unwrap();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    server.stop();

    std::fs::rename(&key_file, folder.path().join("moved.key")).unwrap();
    let error = Server::on(&data, &["--dev"], &[]).err().unwrap();
    assert!(
        error.contains("the key of the secrets cannot be used") && error.contains("secrets.key"),
        "{error}"
    );
    assert!(!key_file.exists(), "another key would open nothing");
    let other = STANDARD.encode([1; 32]);
    let error = Server::on(&data, &["--dev"], &[("STEPWELL_SECRETS_KEY", &other)]).err().unwrap();
    assert!(error.contains("not the one that the stored secrets are encrypted with"), "{error}");
    assert!(!error.contains(&other), "{error}");
    drop(Server::on(&data, &["--dev"], &[("STEPWELL_SECRETS_KEY", key.trim())]).unwrap());
    let moved = folder.path().join("moved.key");
    let variable = [("STEPWELL_SECRETS__KEY_FILE", moved.to_str().unwrap())];
    let mut server = Server::on(&data, &["--dev"], &variable).unwrap();
    server.put("/api/v1/secrets/B", "{\"value\": \"another value\"}").await.expect(201);
    server.stop();

    // Lost for good.
    std::fs::remove_file(&moved).unwrap();
    let forgotten = support::run(&["secret", "forget-all", "--data", data.to_str().unwrap()]);
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    assert!(
        forgotten.stdout.contains("default/A") && forgotten.stdout.contains("default/B"),
        "{forgotten:?}"
    );
    let server = Server::on(&data, &["--dev"], &[]).unwrap();
    assert_eq!(server.get("/api/v1/secrets").await.expect(200)["secrets"], json!([]));
    server.put("/api/v1/secrets/A", "{\"value\": \"one value\"}").await.expect(201);
}

fn cli(server: &Server, arguments: &[&str], stdin: &str) -> support::Finished {
    use std::io::Write;
    let mut child = support::stepwell()
        .args(arguments)
        .env("STEPWELL_SERVER", &server.base)
        .env("OF_THE_CRM", "from the environment")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read it may have ended.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[tokio::test]
async fn the_command_line_sets_lists_and_deletes_them() {
    let server = Server::dev();
    let secret = STANDARD.encode([5; 24]);
    let set = cli(&server, &["secret", "set", "HOOK"], &format!("{secret}\n"));
    assert_eq!(
        (set.code, set.stdout.as_str()),
        (Some(0), "HOOK is set; workflows send it as {{ secrets.HOOK }}\n")
    );
    assert_eq!(cli(&server, &["secret", "set", "CRM", "--from-env", "OF_THE_CRM"], "").code, Some(0));
    let none = cli(&server, &["secret", "set", "CRM", "--from-env", "NOT_THERE"], "");
    assert!(none.code == Some(1) && none.stderr.contains("NOT_THERE"), "{none:?}");
    let empty = cli(&server, &["secret", "set", "CRM"], "\n");
    assert!(empty.code == Some(1) && empty.stderr.contains("is empty"), "{empty:?}");
    let list = cli(&server, &["secret", "list"], "");
    assert!(list.stdout.contains("CRM") && list.stdout.contains("HOOK"), "{list:?}");
    assert!(!list.stdout.contains(&secret), "{list:?}");

    // The hook takes what was signed with what stdin said.
    let text = "name: signed
trigger: { type: webhook, path: signed, auth: { hmac: { secret: '{{ secrets.HOOK }}' } } }
steps: [{ id: task, type: create_record, object: task, record: { title: '{{ trigger.body.title }}' } }]
";
    server.activate("signed", text).await;
    let send = |key: [u8; 24], body: &'static str| {
        let time = jiff::Timestamp::now().as_second();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("msg_1.{time}.{body}").as_bytes());
        let request = server
            .request(Method::POST, "/hooks/default/signed")
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", time.to_string())
            .header("webhook-signature", format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
            .body(body);
        server.send(request)
    };
    send([5; 24], "{\"title\": \"Call Ada\"}").await.expect(202);
    assert_eq!(send([6; 24], "{\"title\": \"Call Eve\"}").await.code(), "bad_signature");
    let used = cli(&server, &["secret", "delete", "HOOK"], "");
    assert!(used.code == Some(1) && used.stderr.contains("`signed` uses it"), "{used:?}");
    assert_eq!(cli(&server, &["secret", "delete", "CRM"], "").code, Some(0));

    assert_eq!(cli(&server, &["setting", "set", "region", "\"eu-west\""], "").code, Some(0));
    let wrong = cli(&server, &["setting", "set", "region", "eu-west"], "");
    assert!(wrong.code == Some(1) && wrong.stderr.contains("quotes of its own"), "{wrong:?}");
    assert_eq!(cli(&server, &["setting", "set", "score", "-"], "{\"hot\": 10}").code, Some(0));
    let list = cli(&server, &["setting", "list"], "");
    assert!(list.stdout.contains("\"eu-west\"") && list.stdout.contains("{\"hot\":10}"), "{list:?}");
    let one: Value = serde_json::from_str(&cli(&server, &["setting", "get", "score"], "").stdout).unwrap();
    assert_eq!(one, json!({ "hot": 10 }));
    assert_eq!(cli(&server, &["setting", "delete", "region"], "").code, Some(0));
    assert_eq!(server.get("/api/v1/settings/region").await.code(), "unknown_setting");
}

#[tokio::test]
async fn keys_that_read_see_names_and_change_nothing() {
    let server = Server::start(&[]);
    server.put("/api/v1/secrets/A", "{\"value\": \"one value\"}").await.expect(201);
    let made = json!({ "name": "reader", "scopes": ["read"] });
    let key = server.post("/api/v1/api-keys", &made).await.expect(201)["secret"].as_str().unwrap().to_owned();
    let as_reader = |method, path: &str| {
        let request = support::client().request(method, format!("{}{path}", server.base)).bearer_auth(&key);
        server.send(request.body("{\"value\": \"x\"}"))
    };
    let list = as_reader(Method::GET, "/api/v1/secrets").await.expect(200);
    assert_eq!(list["secrets"][0]["name"], "A");
    assert!(list["secrets"][0].get("value").is_none(), "{list}");
    for path in ["/api/v1/secrets/A", "/api/v1/settings/a"] {
        assert_eq!(as_reader(Method::PUT, path).await.code(), "forbidden");
        assert_eq!(as_reader(Method::DELETE, path).await.code(), "forbidden");
    }
    let wrong = server.put("/api/v1/secrets/A", "{\"value\": 48151623}").await;
    assert!(!String::from_utf8_lossy(&wrong.body).contains("48151623"), "what is no secret is not quoted");
    assert_eq!(wrong.code(), "invalid_body");
    let null = server.put("/api/v1/settings/a", "{\"value\": null}").await.expect(201);
    assert_eq!(null["value"], Value::Null);
    assert_eq!(server.put("/api/v1/settings/a", "{}").await.code(), "invalid_body");
}
