//! What the API refuses before it does anything: depth, lists for objects, unknown parameters, cursors, paths, sizes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, guests};

const MANUAL: &str = "
name: by-hand
trigger: { type: manual }
steps:
  - { id: seen, type: set, values: { n: '1' } }
";

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// Within an object, which is a level too.
fn nested_in(member: &str, levels: usize) -> String {
    format!("{{\"{member}\": {}}}", nested(levels - 1))
}

async fn body(server: &Server, method: Method, path: &str, body: String) -> (u16, String, String) {
    let answer = server.send(server.request(method, path).body(body)).await;
    (answer.status.as_u16(), answer.code(), answer.json()["detail"].to_string())
}

#[tokio::test]
async fn every_json_body_is_refused_beyond_64_levels_and_the_server_goes_on() {
    let server = Server::dev();
    server.activate("by-hand", MANUAL).await;
    server.put("/api/v1/actions/ok", guests::prints("{}")).await.expect(201);
    for (method, path) in [
        (Method::POST, "/api/v1/records/note"),
        (Method::POST, "/api/v1/records/note/upsert"),
        (Method::PATCH, "/api/v1/records/note/x"),
        (Method::POST, "/api/v1/objects"),
        (Method::POST, "/api/v1/objects/note/fields"),
        (Method::POST, "/api/v1/api-keys"),
        (Method::POST, "/api/v1/workflows/by-hand/run"),
        (Method::POST, "/api/v1/workflows/by-hand/test"),
        (Method::POST, "/api/v1/actions/ok/test"),
    ] {
        for levels in [65, 200_000] {
            let (status, code, detail) =
                body(&server, method.clone(), path, nested_in("input", levels)).await;
            assert_eq!((status, code.as_str()), (400, "too_deep"), "{method} {path}: {detail}");
            assert!(detail.contains("64"), "{detail}");
        }
    }
    let filter = format!("{{\"all\": {}}}", nested(64));
    let request = server.request(Method::GET, "/api/v1/records/note").query(&[("filter", filter)]);
    assert_eq!(server.send(request).await.code(), "too_deep");
    // A workflow that is JSON, and one that is YAML.
    for text in [nested_in("steps", 100_000), "steps: ".to_owned() + &nested(100_000)] {
        let answer = server.put("/api/v1/workflows/deep", text).await;
        assert!(answer.status.is_client_error(), "{}", answer.status);
        answer.code();
    }
    // What is just within is taken.
    let run = server.request(Method::POST, "/api/v1/workflows/by-hand/run?wait=10s").body(nested_in("a", 64));
    assert_eq!(server.send(run).await.expect(200)["status"], "completed");
}

#[tokio::test]
async fn a_list_is_not_taken_for_an_object() {
    let server = Server::dev();
    server.activate("by-hand", MANUAL).await;
    for (path, list) in [
        ("/api/v1/records/note", json!([["title", "x"]])),
        ("/api/v1/records/person/upsert", json!([["emails.primaryEmail"], { "jobTitle": "x" }])),
        ("/api/v1/objects", json!(["thing"])),
        ("/api/v1/objects/note/fields", json!(["size", null, "number"])),
        ("/api/v1/api-keys", json!(["name", ["read"]])),
        ("/api/v1/workflows/by-hand/test", json!([{}, null])),
        ("/api/v1/dev/clock", json!(["1s"])),
    ] {
        let answer = server.post(path, &list).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "invalid_body"), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_on_every_call() {
    let server = Server::dev();
    let document = server.get("/api/openapi.json").await.expect(200);
    let mut calls = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/") {
            continue;
        }
        let path = path.replace("{name}", "x").replace("{object}", "note").replace("{id}", "x");
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = server.send(server.request(method.clone(), &format!("{path}?colour=red"))).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (400, "invalid_query"),
                "{method} {path}"
            );
            assert!(answer.json()["detail"].as_str().unwrap().contains("`colour`"));
            calls += 1;
        }
    }
    assert!(calls > 30, "{calls}");
    let answer = server.get("/api/v1/runs?limt=3").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("did you mean `limit`?"));
    let limit = &document["paths"]["/api/v1/runs"]["get"]["parameters"][2]["schema"];
    assert_eq!(limit, &json!({ "type": "integer", "minimum": 1, "maximum": 500 }));
    for limit in ["0", "501", "-1", "x"] {
        assert_eq!(
            server.get(&format!("/api/v1/runs?limit={limit}")).await.code(),
            "invalid_query",
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_cursor_that_no_list_gave_is_refused_by_every_list() {
    let server = Server::dev();
    for name in ["one", "two", "three"] {
        let text = MANUAL.replace("by-hand", name);
        server.put(&format!("/api/v1/workflows/{name}"), text).await.expect(201);
        server.put(&format!("/api/v1/actions/{name}"), guests::prints("{}")).await.expect(201);
    }
    for list in ["actions", "workflows", "runs", "mailbox", "records/note"] {
        for cursor in ["garbage", "zzz", "!", "one", "%F0%9F%A6%80"] {
            let answer = server.get(&format!("/api/v1/{list}?cursor={cursor}")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (400, "invalid_cursor"),
                "{list} {cursor}"
            );
        }
    }
    for list in ["actions", "workflows"] {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/v1/{list}?limit=1{cursor}")).await.expect(200);
            names.push(page[list][0]["name"].as_str().unwrap().to_owned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(names, ["one", "three", "two"], "{list}");
        let other = if list == "actions" { "workflows" } else { "actions" };
        assert_eq!(server.get(&format!("/api/v1/{other}?limit=1{cursor}")).await.code(), "invalid_cursor");
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_gets_a_problem_document() {
    let server = Server::dev();
    for path in [
        "/api/v1/runs/%ff",
        "/api/v1/workflows/%ff",
        "/api/v1/records/note/%ff",
        "/hooks/default/%ff",
        "/hooks/%ff/x",
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_path"), "{path}");
    }
}

#[tokio::test]
async fn a_workflow_that_is_too_large_is_told_limit_and_amount() {
    let server = Server::dev();
    let text =
        format!("{MANUAL}  - {{ id: large, type: set, values: {{ x: '{}' }} }}\n", "x".repeat(600_000));
    let answer = server.put("/api/v1/workflows/by-hand", text).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "too_large"));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`by-hand`") && detail.contains("512000") && detail.contains("600"), "{detail}");
    assert!(!detail.contains("workflow-versions"), "{detail}");
    let none: Value = json!([]);
    assert_eq!(server.get("/api/v1/workflows").await.expect(200)["workflows"], none);
}
