//! Connections against a real peer on loopback, which measures what arrives.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::support::tls::TlsServer;
use crate::support::{Server, stepwell};

/// When each request came, with its path and its authorization.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<Vec<(Instant, String, String)>>>);

impl Peer {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn came(&self) -> Vec<(Instant, String, String)> {
        self.0.lock().unwrap().clone()
    }
}

async fn take(State(peer): State<Peer>, request: Request) -> Response {
    let auth = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
    let auth = auth.unwrap_or_default();
    peer.0.lock().unwrap().push((Instant::now(), request.uri().to_string(), auth.clone()));
    ([("content-type", "application/json")], json!({ "echo": auth }).to_string()).into_response()
}

const FLOW: &str = "name: call
trigger: { type: webhook, path: call }
steps:
  - { id: ask, type: http_request, connection: crm, url: '/people/{{ trigger.body.n }}', retry: { attempts: 20 } }
";

fn connection(base: &str, more: &str) -> String {
    format!("base_url: {base}/v1\nauth: {{ bearer: '{{{{ secrets.CRM_KEY }}}}' }}\n{more}")
}

/// When so many runs are completed.
async fn completed(server: &Server, count: usize) -> Vec<Value> {
    for _ in 0..3000 {
        let page = server.get("/api/v1/runs?status=completed&limit=500").await.expect(200);
        let runs = page["runs"].as_array().unwrap();
        if runs.len() >= count {
            return runs.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {count} runs within a minute");
}

#[tokio::test]
async fn many_runs_keep_to_the_rate_that_the_peer_measures_through_a_crash_and_none_is_lost() {
    let peer = Peer::default();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::on(&data, &["--dev"], &[]).unwrap();
    server.put("/api/v1/secrets/CRM_KEY", "{\"value\": \"a long secret\"}").await.expect(201);
    let text = connection(&peer.start().await, "rate: { requests: 40, per: 1s }\n");
    let saved = server.put("/api/v1/connections/crm", text).await.expect(201);
    assert_eq!(
        (&saved["missing_secrets"], &saved["rate"]["requests"]),
        (&json!([]), &json!(40)),
        "{saved:#}"
    );
    server.activate("call", FLOW).await;
    for n in 0..120 {
        server.post("/hooks/default/call", &json!({ "n": n })).await.expect(202);
    }
    server.kill();
    let server = Server::on(&data, &["--dev"], &[]).unwrap();
    completed(&server, 120).await;
    let came = peer.came();
    let most = came.iter().map(|(from, ..)| {
        came.iter().filter(|(at, ..)| at >= from && at.duration_since(*from) < Duration::from_secs(1)).count()
    });
    assert!(most.max().unwrap() <= 40);
    for n in 0..120 {
        let path = format!("/v1/people/{n}");
        assert!(came.iter().any(|(_, uri, auth)| *uri == path && auth == "Bearer a long secret"), "{path}");
    }
    let runs = server.get("/api/v1/runs?limit=1").await.expect(200);
    let run = server.ended(runs["runs"][0]["id"].as_str().unwrap()).await;
    assert_eq!(run["output"]["body"]["echo"], "Bearer ***", "{run:#}");
}

#[tokio::test]
async fn the_command_line_applies_lists_and_deletes_connections() {
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("connections");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("crm.yaml"), connection("https://crm.example.com", "")).unwrap();
    std::fs::write(folder.path().join("call.yaml"), FLOW).unwrap();
    let run = |args: &[&str]| {
        let out = stepwell().args(args).args(["--server", &server.base]).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.code(), said)
    };
    let path = folder.path().to_str().unwrap();
    let (status, said) = run(&["workflow", "apply", path]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("connection crm saved\n") && said.contains("stepwell secret set CRM_KEY"),
        "{said}"
    );
    assert!(said.contains("the connection `crm` sends `secrets.CRM_KEY`"), "{said}");
    server.put("/api/v1/secrets/CRM_KEY", "{\"value\": \"a long secret\"}").await.expect(201);
    let (status, said) = run(&["workflow", "apply", path, "--activate"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("connection crm unchanged\n") && said.contains("call is active"), "{said}");
    let (_, said) = run(&["connection", "list"]);
    assert!(said.contains("crm") && said.contains("https://crm.example.com/v1"), "{said}");
    let (_, said) = run(&["connection", "get", "crm"]);
    assert!(said.contains("{{ secrets.CRM_KEY }}") && !said.contains("a long secret"), "{said}");
    let (status, said) = run(&["connection", "delete", "crm"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("the connection `crm` is in use"), "{said}");

    std::fs::write(inside.join("crm.yaml"), "base_url: http://crm.example.com\nauth: { bearer: sk_live }\n")
        .unwrap();
    let (status, said) = run(&["workflow", "check", path]);
    assert_eq!(status, Some(1));
    assert!(said.contains("`auth.bearer` stands in the file for all to read"), "{said}");
    std::fs::write(inside.join("crm.yaml"), "base_url: http://crm.example.com\n").unwrap();
    let (status, said) = run(&["connection", "apply", inside.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(said.contains("plain `http://` to crm.example.com can be read on the way"), "{said}");
}

#[tokio::test]
async fn plain_http_to_another_machine_is_told_before_activation() {
    let server = Server::dev();
    let flow = "name: plain\ntrigger: { type: manual }\nsteps:\n  - { id: ask, type: http_request, url: 'http://crm.example.com/x' }\n";
    let saved = server.put("/api/v1/workflows/plain", flow).await.expect(201);
    assert_eq!(saved["problems"][0]["code"], "plain_http_forbidden", "{saved:#}");
    let refused = server.post("/api/v1/workflows/plain/activate", &Value::Null).await;
    assert_eq!(refused.status.as_u16(), 422);
    let allowed = Server::start(&["--dev", "--allow-plain-http"]);
    allowed.activate("plain", flow).await;
}

fn indented(pem: &str) -> String {
    pem.trim().lines().map(|line| format!("    {line}\n")).collect()
}

/// Each side's certificate counts: the server's only where its authority is known, the client's where it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_both_sides_are_shown_and_looked_at() {
    let (open, mutual) = (TlsServer::start(false), TlsServer::start(true));
    let server = Server::dev();
    let key = json!({ "value": mutual.pem("client.key") });
    server.put("/api/v1/secrets/CLIENT_KEY", key.to_string()).await.expect(201);
    let trust = |peer: &TlsServer| format!("tls:\n  ca: |\n{}", indented(&peer.pem("ca.pem")));
    let own = format!(
        "  client_certificate: |\n{}  client_key: \"{{{{ secrets.CLIENT_KEY }}}}\"\n",
        indented(&mutual.pem("client.pem"))
    );
    for (name, peer, tls, comes_to) in [
        ("unknown", &open, String::new(), Err("connect_failed")),
        ("known", &open, trust(&open), Ok(json!([]))),
        ("nobody", &mutual, trust(&mutual), Err("connection_lost")),
        ("somebody", &mutual, trust(&mutual) + &own, Ok(json!(["flows.example"]))),
    ] {
        let text = format!("base_url: https://127.0.0.1:{}\n{tls}", peer.port);
        server.put(&format!("/api/v1/connections/{name}"), text).await.expect(201);
        let flow = format!(
            "name: {name}\ntrigger: {{ type: manual }}\nsteps: [{{ id: ask, type: http_request, connection: {name}, url: /x }}]\noutput: '{{{{ ask.body.client }}}}'\n"
        );
        server.activate(name, &flow).await;
        let run =
            server.post(&format!("/api/v1/workflows/{name}/run?wait=30s"), &json!({})).await.expect(200);
        match comes_to {
            Ok(client) => assert_eq!(run["output"], client, "{name}: {run:#}"),
            Err(code) => assert_eq!(run["error"]["code"], code, "{name}: {run:#}"),
        }
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told_when_a_connection_is_kept() {
    let server = Server::dev();
    let tls = TlsServer::start(false);
    let (good, client) = (tls.pem("ca.pem"), tls.pem("client.pem"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = good.replace("-----END CERTIFICATE-----", "");
    let put = async |tls: Value| {
        let connection = json!({ "base_url": "https://crm.example.com", "tls": tls }).to_string();
        server.put("/api/v1/connections/crm", connection).await
    };
    let key = "{{ secrets.CLIENT_KEY }}";
    for (tls, path) in [
        (json!({ "ca": broken }), "tls.ca"),
        (json!({ "ca": format!("{good}{broken}") }), "tls.ca"),
        (json!({ "ca": cut }), "tls.ca"),
        (json!({ "client_certificate": broken, "client_key": key }), "tls.client_certificate"),
    ] {
        let refused = put(tls).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "invalid_connection"));
        let told = refused.json();
        assert_eq!(told["errors"][0]["path"], path, "{told:#}");
        assert!(told["errors"][0]["message"].as_str().unwrap().contains("cannot be used"), "{told:#}");
    }
    put(json!({ "ca": good, "client_certificate": client, "client_key": key })).await.expect(201);
}
