//! Things that come, go and come back: workflows, versions of actions, records, workspaces.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Finished, Server, guests, stepwell};

const PLAIN: &str = "
name: plain
trigger: { type: webhook, path: plain, respond: result }
steps:
  - { id: seen, type: set, values: { n: '1' } }
";

fn cli(server: &Server, arguments: &[&str]) -> Finished {
    let mut command = stepwell();
    command.args(arguments).args(["--server", &server.base]);
    if let Some(key) = &server.key {
        command.env("STEPWELL_KEY", key);
    }
    Finished::from(command.output().unwrap())
}

async fn delete(server: &Server, path: &str) -> (u16, Value) {
    let answer = server.send(server.request(Method::DELETE, path)).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn a_deactivated_workflow_is_activated_again_as_it_was() {
    let server = Server::dev();
    server.activate("plain", PLAIN).await;
    server.post("/api/v1/workflows/plain/deactivate", &Value::Null).await.expect(200);
    assert_eq!(server.post("/hooks/default/plain", &json!({})).await.status.as_u16(), 404);
    let again = server.post("/api/v1/workflows/plain/activate", &Value::Null).await.expect(200);
    assert_eq!((again["active_version"].as_u64(), &again["draft_version"]), (Some(1), &Value::Null));
    server.post("/hooks/default/plain", &json!({})).await.expect(200);
    // A draft goes before it.
    server.post("/api/v1/workflows/plain/deactivate", &Value::Null).await.expect(200);
    server.put("/api/v1/workflows/plain", PLAIN.replace("'1'", "'2'")).await.expect(201);
    let newer = server.post("/api/v1/workflows/plain/activate", &Value::Null).await.expect(200);
    assert_eq!(newer["active_version"], 2);
    let back = server.post("/api/v1/workflows/plain/activate?version=1", &Value::Null).await.expect(200);
    assert_eq!(back["active_version"], 1);
}

#[tokio::test]
async fn a_deleted_workflow_is_gone_its_runs_stay_and_its_name_may_be_used_again() {
    let mut server = Server::dev();
    server.activate("plain", PLAIN).await;
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let waits = format!(
        "name: waits\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: call, type: http_request, url: 'http://{}/', retry: {{ attempts: 5 }} }}\n",
        peer.local_addr().unwrap()
    );
    server.activate("waits", &waits).await;
    let waiting = server.post("/api/v1/workflows/waits/run", &json!({})).await.expect(202);
    // Its call is out, and nothing answers it.
    let held = peer.accept().await.unwrap();
    let answer = server.post("/hooks/default/plain", &json!({})).await;
    let run = answer.headers["stepwell-run-id"].to_str().unwrap().to_owned();
    let (status, problem) = delete(&server, "/api/v1/workflows/plain").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("workflow_active")));
    for name in ["plain", "waits"] {
        server.post(&format!("/api/v1/workflows/{name}/deactivate"), &Value::Null).await.expect(200);
        assert_eq!(delete(&server, &format!("/api/v1/workflows/{name}")).await.0, 200);
        assert_eq!(delete(&server, &format!("/api/v1/workflows/{name}")).await.0, 404);
    }
    assert_eq!(server.get("/api/v1/workflows").await.expect(200)["workflows"], json!([]));
    for call in ["activate", "run"] {
        let answer = server.post(&format!("/api/v1/workflows/plain/{call}"), &Value::Null).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "unknown_workflow"), "{call}");
    }
    // Over a restart too.
    let data = server.data();
    let kept = tempfile::tempdir().unwrap();
    assert!(server.stop().success());
    let moved = kept.path().join("data");
    std::fs::rename(&data, &moved).unwrap();
    let server = Server::on(&moved, &["--dev"], &[]).unwrap();
    assert_eq!(server.get("/api/v1/workflows/plain").await.status.as_u16(), 404);
    assert_eq!(server.get(&format!("/api/v1/runs/{run}")).await.expect(200)["status"], "completed");
    // The run under way ends on the version that it began with.
    drop(held);
    let (mut again, _) = peer.accept().await.unwrap();
    // An answer that is there before its request is none.
    assert_ne!(again.read(&mut [0; 1024]).await.unwrap(), 0);
    again.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    assert_eq!(server.ended(waiting["run_id"].as_str().unwrap()).await["status"], "completed");
    let draft = server.put("/api/v1/workflows/plain", PLAIN).await.expect(201);
    assert_eq!(draft["version"], 2, "no number is given twice");
    let shown = server.get("/api/v1/workflows/plain").await.expect(200);
    assert_eq!(shown["versions"], json!([[2, "draft"]]));
}

#[tokio::test]
async fn a_version_of_an_action_can_be_deleted_unless_a_workflow_would_be_left_without() {
    let server = Server::dev();
    for text in ["{\"v\": 1}", "{\"v\": 2}"] {
        server.put("/api/v1/actions/says", guests::prints(text)).await.expect(201);
    }
    let uses = |reference: &str| {
        format!(
            "name: uses\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: it, type: code, action: {reference} }}\n"
        )
    };
    server.activate("uses", &uses("says@0.0.2")).await;
    let (status, problem) = delete(&server, "/api/v1/actions/says?version=0.0.2").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("action_in_use")));
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("`uses`"), "{problem:#}");
    // One that floats takes the version before.
    server.activate("uses", &uses("says")).await;
    let run = async || {
        let run = server.post("/api/v1/workflows/uses/run?wait=30s", &json!({})).await.expect(200);
        run["output"]["v"].as_u64()
    };
    assert_eq!(run().await, Some(2));
    for query in ["", "?version=0", "?version=latest"] {
        let (status, problem) = delete(&server, &format!("/api/v1/actions/says{query}")).await;
        assert!(matches!(status, 400 | 422), "{query}: {problem:#}");
    }
    assert_eq!(delete(&server, "/api/v1/actions/says?version=0.0.2").await.0, 200);
    assert_eq!(delete(&server, "/api/v1/actions/says?version=0.0.2").await.0, 404);
    assert_eq!(run().await, Some(1));
    assert_eq!(server.get("/api/v1/actions/says").await.expect(200)["versions"], json!(["0.0.1"]));
    let (status, problem) = delete(&server, "/api/v1/actions/says?version=0.0.1").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("action_in_use")), "{problem:#}");
    // Other bytes get a number of their own, and the same ones theirs back.
    let third = server.put("/api/v1/actions/says", guests::prints("{\"v\": 3}")).await.expect(201);
    assert_eq!(third["version"], "0.0.3");
    let second = server.put("/api/v1/actions/says", guests::prints("{\"v\": 2}")).await.expect(201);
    assert_eq!(second["version"], "0.0.2");
}

#[tokio::test]
async fn a_deleted_record_can_be_restored() {
    let server = Server::dev();
    let ada = json!({ "emails": { "primaryEmail": "ada@example.com" } });
    let record = server.post("/api/v1/records/person", &ada).await.expect(201);
    let path = format!("/api/v1/records/person/{}", record["id"].as_str().unwrap());
    assert_eq!(delete(&server, &path).await.0, 200);
    assert_eq!(server.get(&path).await.status.as_u16(), 404);
    let restored = server.post(&format!("{path}/restore"), &Value::Null).await.expect(200);
    assert_eq!(restored["version"], 3);
    server.get(&path).await.expect(200);
    assert_eq!(server.post(&format!("{path}/restore?if_version=1"), &Value::Null).await.code(), "stale");
    // A condition that nobody would look at is not passed over.
    let guarded = server.request(Method::DELETE, &path).header("if-match", "\"1\"");
    let answer = server.send(guarded).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (412, "unknown_condition"));
    server.get(&path).await.expect(200);
    // Onto a place that is taken.
    assert_eq!(delete(&server, &path).await.0, 200);
    server.post("/api/v1/records/person", &ada).await.expect(201);
    assert_eq!(server.post(&format!("{path}/restore"), &Value::Null).await.code(), "unique_conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_deletes_and_restores() {
    let server = Server::start(&[]);
    server.activate("plain", PLAIN).await;
    let refused = cli(&server, &["workflow", "delete", "plain"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("deactivate it first"), "{}", refused.stderr);
    server.put("/api/v1/actions/says", guests::prints("{}")).await.expect(201);
    let note = server.post("/api/v1/records/note", &json!({ "title": "x" })).await.expect(201);
    let id = note["id"].as_str().unwrap();
    delete(&server, &format!("/api/v1/records/note/{id}")).await;
    for arguments in [
        &["workflow", "deactivate", "plain"][..],
        &["workflow", "activate", "plain"],
        &["workflow", "deactivate", "plain"],
        &["workflow", "delete", "plain"],
        &["action", "delete", "says@0.0.1"],
        &["record", "restore", "note", id],
        &["workspace", "create", "sales"],
    ] {
        let done = cli(&server, arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {}{}", done.stdout, done.stderr);
    }
    assert_eq!(cli(&server, &["action", "delete", "says"]).code, Some(1));
    assert!(cli(&server, &["workspace", "list"]).stdout.contains("sales"));
}

#[tokio::test]
async fn workspaces_are_made_by_admins_and_keep_things_apart() {
    let mut server = Server::start(&[]);
    let made = server.post("/api/v1/workspaces", &json!({ "name": "sales" })).await.expect(201);
    assert_eq!(made, json!({ "name": "sales" }));
    server.post("/api/v1/workspaces", &json!({ "name": "sales" })).await.expect(200);
    assert_eq!(server.post("/api/v1/workspaces", &json!({ "name": "No Good" })).await.code(), "invalid_name");
    let list = server.get("/api/v1/workspaces").await.expect(200);
    assert_eq!(list["workspaces"], json!([{ "name": "default" }, { "name": "sales" }]));
    let request = server.request(Method::POST, "/api/v1/api-keys").header("stepwell-workspace", "sales");
    let key = server.send(request.json(&json!({ "name": "k", "scopes": ["write"] }))).await.expect(201);
    server.post("/api/v1/records/note", &json!({ "title": "of default" })).await.expect(201);
    server.key = Some(key["secret"].as_str().unwrap().to_owned());
    assert_eq!(server.records("note").await.len(), 0);
    assert_eq!(server.get("/api/v1/workspaces").await.code(), "forbidden");
    assert_eq!(server.post("/api/v1/workspaces", &json!({ "name": "more" })).await.code(), "forbidden");
}
