//! Keys outside `--dev`, and what `--dev` refuses instead.

use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::json;

use crate::support::{Server, guests, run};

#[tokio::test]
async fn without_a_key_nothing_under_api_answers_and_the_first_key_is_written_once() {
    let mut server = Server::start(&[]);
    let file = server.data().join("admin.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = server.key.take().unwrap();
    for path in ["/api/v1/runs", "/api/v1/records/person", "/api/v1/api-keys", "/api/v1/events"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "unauthorized"), "{path}");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    server.key = Some("sw_wrong".into());
    assert_eq!(server.get("/api/v1/runs").await.status.as_u16(), 401);
    server.key = None;
    server.get("/healthz").await.expect(200);
    server.key = Some(key.clone());
    server.get("/api/v1/runs").await.expect(200);
    let data = server.data();
    assert!(server.stop().success());
    // The next start makes no second key.
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("data");
    std::fs::rename(&data, &copy).unwrap();
    std::fs::remove_file(copy.join("admin.key")).unwrap();
    let mut again = Server::on(&copy, &[], &[]).unwrap();
    assert!(!copy.join("admin.key").exists());
    again.key = Some(key);
    again.get("/api/v1/runs").await.expect(200);
}

#[tokio::test]
async fn keys_have_scopes_and_can_be_revoked() {
    let mut server = Server::start(&[]);
    let admin = server.key.clone();
    let key = async |scope: &str| {
        let made =
            server.post("/api/v1/api-keys", &json!({ "name": scope, "scopes": [scope] })).await.expect(201);
        (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
    };
    let (reader_id, reader) = key("read").await;
    let (_, writer) = key("write").await;
    let (_, hooks) = key("hooks").await;
    let person = json!({ "jobTitle": "x" });
    let mut status = async |key: &str, method: Method, path: &str| {
        server.key = Some(key.to_owned());
        let request = server.request(method, path).json(&person);
        server.send(request).await.status.as_u16()
    };
    assert_eq!(status(&reader, Method::GET, "/api/v1/records/person").await, 200);
    assert_eq!(status(&reader, Method::POST, "/api/v1/records/person").await, 403);
    assert_eq!(status(&writer, Method::POST, "/api/v1/records/person").await, 201);
    assert_eq!(status(&writer, Method::GET, "/api/v1/api-keys").await, 403);
    assert_eq!(status(&hooks, Method::GET, "/api/v1/records/person").await, 403);
    server.key = admin;
    let listed = server.get("/api/v1/api-keys").await.expect(200).to_string();
    assert!(!listed.contains(&reader), "a secret is shown once");
    server.send(server.request(Method::DELETE, &format!("/api/v1/api-keys/{reader_id}"))).await.expect(200);
    server.key = Some(reader);
    assert_eq!(server.get("/api/v1/records/person").await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_dev_server_takes_nothing_from_foreign_pages_and_no_foreign_host() {
    let server = Server::dev();
    for (name, value, code) in [
        ("host", "evil.example", "foreign_host"),
        ("origin", "https://evil.example", "foreign_origin"),
        ("sec-fetch-site", "cross-site", "foreign_origin"),
    ] {
        for path in ["/api/v1/runs", "/hooks/default/x"] {
            let answer = server.send(server.request(Method::GET, path).header(name, value)).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, code), "{name} {path}");
        }
    }
    let refused = run(&["serve", "--dev", "--listen", "0.0.0.0:0", "--data", "/nonexistent/x"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("loopback"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_admin_key_is_made_anew_on_a_stopped_server_s_folder() {
    let mut server = Server::start(&[]);
    let (data, old) = (server.data(), server.key.clone().unwrap());
    let mode = std::fs::metadata(&data).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "nobody else looks into the folder");
    let reset = || run(&["key", "reset-admin", "--data", data.to_str().unwrap()]);
    let refused = reset();
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("stopped") && refused.stderr.contains("in use"), "{}", refused.stderr);
    let kept = tempfile::tempdir().unwrap();
    assert!(server.stop().success());
    std::fs::remove_file(data.join("admin.key")).unwrap();
    let done = reset();
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    let file = data.join("admin.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let moved = kept.path().join("data");
    std::fs::rename(&data, &moved).unwrap();
    let mut server = Server::on(&moved, &[], &[]).unwrap();
    assert_ne!(server.key.as_deref(), Some(old.as_str()));
    server.get("/api/v1/api-keys").await.expect(200);
    server.key = Some(old);
    server.get("/api/v1/api-keys").await.expect(200);
    for folder in ["/nonexistent/x", kept.path().to_str().unwrap()] {
        let refused = run(&["key", "reset-admin", "--data", folder]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("no data folder"), "{}", refused.stderr);
    }
    assert!(!kept.path().join("format").exists());
}

/// A crash after the file was written and before the key was stored.
#[tokio::test]
async fn a_key_file_without_a_stored_key_is_replaced_by_one_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("admin.key"), "swk_never_stored\n").unwrap();
    let server = Server::on(&data, &[], &[]).unwrap();
    assert_ne!(server.key.as_deref(), Some("swk_never_stored"));
    server.get("/api/v1/api-keys").await.expect(200);
}

#[tokio::test]
async fn only_a_dev_server_replaces_a_version() {
    let server = Server::start(&[]);
    let answer = server.put("/api/v1/actions/x?dev=true", guests::prints("{}")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "dev_only"));
    assert_eq!(server.get("/api/v1/actions").await.expect(200)["actions"], json!([]));
    let dev = Server::dev();
    for text in ["{}", "[]"] {
        let put = dev.put("/api/v1/actions/x?dev=true", guests::prints(text)).await.expect(201);
        assert_eq!(put["version"], "0.0.1");
    }
}

#[tokio::test]
async fn a_module_with_a_broken_schema_is_refused_with_the_place() {
    let server = Server::dev();
    let module = |metadata: &str| {
        let escaped = metadata.replace('"', "\\\"");
        guests::module(&format!(
            "(@custom \"stepwell:action\" \"{escaped}\") (memory (export \"memory\") 1) (func (export \"_start\"))"
        ))
    };
    // The sandbox knows a schema's shape, the engine whether what it refers to is there.
    for (schema, code, place) in [
        (r#"{"properties": {"n": {"type": "strin"}}}"#, "module_refused", "/properties/n/type"),
        (r#"{"properties": {"n": {"$ref": "other.json"}}}"#, "invalid_schema", "output_schema"),
        (r##"{"properties": {"n": {"$ref": "#/$defs/none"}}}"##, "invalid_schema", "output_schema"),
    ] {
        let broken = format!(r#"{{"name": "x", "version": "1.0.0", "output_schema": {schema}}}"#);
        let answer = server.put("/api/v1/actions/x", module(&broken)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, code), "{schema}");
        assert!(answer.json()["errors"].to_string().contains(place), "{:#}", answer.json());
    }
    let good =
        r#"{"name": "x", "version": "1.0.0", "input_schema": {"properties": {"n": {"type": "string"}}}}"#;
    server.put("/api/v1/actions/x", module(good)).await.expect(201);
}
