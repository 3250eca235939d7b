//! Bad input of every kind: each gets a clear error, and nothing else is touched.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Server, guests};

const ECHO: &str = "
name: echo
trigger:
  type: webhook
  path: echo
  respond: result
  body_schema:
    type: object
    required: [email]
    additionalProperties: false
    properties:
      email: { type: string, minLength: 3 }
      age: { type: integer, minimum: 0 }
steps:
  - { id: seen, type: set, values: { email: '{{ trigger.body.email }}' } }
";

async fn echo_server(flags: &[&str]) -> Server {
    let mut all = vec!["--dev"];
    all.extend(flags);
    let server = Server::start(&all);
    server.activate("echo", ECHO).await;
    server
}

async fn runs(server: &Server) -> usize {
    server.get("/api/v1/runs").await.expect(200)["runs"].as_array().unwrap().len()
}

fn places(problem: &Value) -> Vec<String> {
    let places = problem["errors"].as_array().cloned().unwrap_or_default();
    places
        .iter()
        .map(|p| format!("{} {}", p["path"].as_str().unwrap_or("-"), p["message"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_hook_s_body_that_is_no_json_or_breaks_the_schema_starts_no_run() {
    let server = echo_server(&[]).await;
    let post = |body: &'static str| {
        server.send(
            server
                .request(reqwest::Method::POST, "/hooks/default/echo")
                .header("content-type", "application/json")
                .body(body),
        )
    };
    for body in ["{\"email\": ", "not json", "{\"email\": \"a@b.c\"} {}"] {
        let answer = post(body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_json"), "{body:?}");
    }
    assert_eq!(post("").await.status.as_u16(), 422, "no body is null, which is no object");
    let answer = post("{\"email\": \"a\", \"age\": -1, \"extra\": 1}").await;
    assert_eq!(answer.status.as_u16(), 422);
    let problem = answer.json();
    let places = places(&problem).join("\n");
    assert!(
        places.contains("/email") && places.contains("/age") && places.contains("extra"),
        "all at once: {places}"
    );
    let problem = post("{}").await.expect(422);
    assert!(problem.to_string().contains("email"), "{problem:#}");
    assert_eq!(runs(&server).await, 0);
    assert_eq!(post("{\"email\": \"a@b.c\"}").await.expect(200), json!({ "email": "a@b.c" }));
    assert_eq!(runs(&server).await, 1);
}

#[tokio::test]
async fn a_json_body_is_json_whatever_the_client_calls_it_and_a_form_is_a_form() {
    let server = echo_server(&[]).await;
    let post = |body: &'static str| {
        let request = server.request(reqwest::Method::POST, "/hooks/default/echo");
        server.send(request.header("content-type", "application/x-www-form-urlencoded").body(body))
    };
    assert_eq!(post("{\"email\": \"a@b.c\"}").await.expect(200), json!({ "email": "a@b.c" }));
    assert_eq!(post("{\"email\": ").await.code(), "invalid_json");
    assert_eq!(post("email=a%40b.c").await.expect(200), json!({ "email": "a@b.c" }));
}

#[tokio::test]
async fn unknown_paths_methods_and_workspaces_say_what_there_is() {
    let server = echo_server(&[]).await;
    let answer = server.post("/hooks/default/ecko", &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "unknown_hook"));
    let answer = server.get("/hooks/default/echo").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.headers.get("allow").map(|v| v.to_str().unwrap()), Some("POST"));
    let answer = server.post("/hooks/nowhere/echo", &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "unknown_workspace"));
    let answer = server.get("/api/v2/runs").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));
    let answer = server.send(server.request(reqwest::Method::DELETE, "/api/v1/runs")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
    for path in [
        "/api/v1/runs/no-such-run",
        "/api/v1/workflows/none",
        "/api/v1/actions/none",
        "/api/v1/records/persn",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
        answer.code();
    }
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_and_the_limit_can_be_set() {
    let server = echo_server(&[]).await;
    let large = json!({ "email": "x".repeat(10 << 20) });
    let answer = server.post("/hooks/default/echo", &large).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(server.get("/healthz").await.expect(200)["status"], "ok");
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::on(folder.path(), &["--dev"], &[("STEPWELL_LIMITS__HOOK_BODY_BYTES", "20000000")]).unwrap();
    server.activate("echo", ECHO).await;
    let answer = server.post("/hooks/default/echo", &large).await.expect(200);
    assert_eq!(answer["email"].as_str().unwrap().len(), 10 << 20);
}

#[tokio::test]
async fn what_is_no_module_is_refused_by_name_of_the_rule() {
    let server = Server::dev();
    let lead = guests::example("normalize-lead");
    let truncated = lead[..lead.len() / 2].to_vec();
    let foreign_import = guests::module(
        r#"(import "env" "open_door" (func)) (memory (export "memory") 1) (func (export "_start"))"#,
    );
    let no_handler =
        wat::parse_str("(module (func (export \"handle\") (param i32) (result i32) local.get 0))").unwrap();
    let action = include_str!("../crates/sandbox/tests/calls/action.wat");
    let guest = r#"(func (export "run") (param i32 i32) (result i32) unreachable)"#;
    let other_type = action
        .replace("@GUEST@", guest)
        .replace("(result (result string (error $failure)))", "(result string)");
    let other_type = wat::parse_str(other_type).unwrap();
    let expected = "run: func(string) -> result<string, record { code: string, message: string, retryable: bool, \
                    retry-after-ms: option<u64>, details: option<string> }>";
    for (what, module, rule, says) in [
        ("text", b"hello, world".to_vec(), "not_wasm", "this is not WebAssembly: the file starts with"),
        ("empty", Vec::new(), "not_wasm", "the file is empty"),
        ("truncated", truncated, "not_wasm", "cut off"),
        ("import", foreign_import, "import", "open_door"),
        ("export", no_handler, "kind", "handle"),
        ("export of another type", other_type, "handler_type", expected),
    ] {
        let answer = server.put("/api/v1/actions/bad", module).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "module_refused"), "{what}");
        let problem = answer.json();
        let place = &problem["errors"][0];
        assert_eq!(place["code"], rule, "{what}: {problem:#}");
        let text =
            format!("{} {}", place["message"].as_str().unwrap(), place["hint"].as_str().unwrap_or("-"));
        assert!(text.contains(says), "{what}: {text}");
    }
    assert_eq!(server.get("/api/v1/actions").await.expect(200)["actions"], json!([]));
}

#[tokio::test]
async fn a_module_that_takes_the_compiler_s_memory_is_refused_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // The least that may be set for the compiler, and any time, so that the end does not depend on how fast the machine is.
    let limits =
        [("STEPWELL_SANDBOX__COMPILE_MEMORY_BYTES", "192MiB"), ("STEPWELL_SANDBOX__COMPILE_SECONDS", "3600")];
    let server = Server::on(folder.path(), &["--dev"], &limits).unwrap();
    let answer = server.put("/api/v1/actions/bomb", guests::compile_bomb()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "module_refused"));
    let problem = answer.json();
    let place = &problem["errors"][0];
    assert_eq!(place["code"], "compile_memory", "{problem:#}");
    assert_eq!(place["limit"], 192 << 20, "{problem:#}");
    assert!(place["used"].as_u64() > place["limit"].as_u64(), "{problem:#}");
    assert_eq!(place["message"], "the compiler took more than 192 MiB of memory");
    assert!(place["hint"].is_string(), "{problem:#}");
    assert_eq!(server.get("/healthz").await.expect(200)["status"], "ok");
    server.put("/api/v1/actions/honest", guests::prints("null")).await.expect(201);
}

/// How a step ends whose module misbehaves: the code, the limit and how much was used at least, and words of the message.
struct End {
    name: &'static str,
    module: Vec<u8>,
    code: &'static str,
    limit: Option<u64>,
    says: &'static str,
}

fn ends() -> Vec<End> {
    let end = |name, module, code, limit, says| End { name, module, code, limit, says };
    let bare = |body: &str| guests::module(&format!(r#"(memory (export "memory") 1) {body}"#));
    let write = "(i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 60000))
        (loop (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))";
    let sleep =
        "(i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const 3600000000000))
        (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 2048)))";
    let bad_text = "(i32.store16 (i32.const 16) (i32.const 0xfeff))
        (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 2))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let grow = r#"(func (export "_start")
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 100)) (i32.const -1)))) unreachable)"#;
    vec![
        end("loops", guests::endless(), "fuel_exhausted", Some(10_000_000), "used up its 10000000 fuel"),
        end("grows", bare(grow), "memory_limit", Some(64 << 20), "raise memory_bytes"),
        end(
            "floods-output",
            guests::calling(&["fd_write"], write),
            "output_too_large",
            Some(1 << 20),
            "raise output_bytes",
        ),
        end(
            "sleeps",
            guests::calling(&["poll_oneoff"], sleep),
            "sleep_limit",
            Some(30_000),
            "raise virtual_ms",
        ),
        end("no-json", guests::prints("{\"a\": "), "invalid_output", None, "exactly one JSON value"),
        end("bad-text", guests::calling(&["fd_write"], bad_text), "invalid_output", None, "UTF-8"),
        end("traps", bare(r#"(func (export "_start") unreachable)"#), "trap", None, "unreachable"),
        end(
            "trap-in-start",
            bare(r#"(func $s unreachable) (start $s) (func (export "_start"))"#),
            "trap",
            None,
            "while the module was starting",
        ),
        end(
            "recurses",
            bare(r#"(func $f (export "_start") (call $f))"#),
            "trap",
            None,
            "the stack overflowed",
        ),
    ]
}

/// Activates and runs a workflow of one step that calls the action; the run when it has ended.
async fn run_of(server: &Server, name: &str) -> Value {
    let text = format!(
        "name: run-{name}\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: it, type: code, action: {name}, limits: {{ fuel: 10000000 }} }}\n"
    );
    server.activate(&format!("run-{name}"), &text).await;
    let started =
        server.post(&format!("/api/v1/workflows/run-{name}/run?wait=30s"), &json!({})).await.expect(200);
    server.ended(started["run_id"].as_str().unwrap()).await
}

#[tokio::test]
async fn a_module_that_misbehaves_fails_its_step_with_a_code_of_its_own() {
    let server = Server::dev();
    for End { name, module, code, limit, says } in ends() {
        server.put(&format!("/api/v1/actions/{name}"), module).await.expect(201);
        let test =
            server.post(&format!("/api/v1/actions/{name}/test?fuel=10000000"), &json!({})).await.expect(200);
        let run = run_of(&server, name).await;
        assert_eq!((&run["status"], &run["error"]["step"]), (&json!("failed"), &json!("it")), "{run:#}");
        for error in [&test["error"], &run["steps"][0]["error"]] {
            assert_eq!(
                (&error["source"], &error["code"]),
                (&json!("sandbox"), &json!(code)),
                "{name}: {error:#}"
            );
            assert_eq!(error["limit"].as_u64(), limit, "{name}: {error:#}");
            // None is less than any amount, so one without a limit has neither.
            assert!(error["used"].as_u64() >= limit, "{name}: {error:#}");
            assert_eq!(error["used"].is_u64(), limit.is_some(), "{name}: {error:#}");
            assert!(error["message"].as_str().unwrap().contains(says), "{name}: {error:#}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_logs_is_cut_and_says_so_and_the_step_goes_on() {
    let server = Server::dev();
    let flood = "(memory.fill (i32.const 1000) (i32.const 120) (i32.const 60000))
        (i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 60000))
        (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 4))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
    server.put("/api/v1/actions/floods-logs", guests::calling(&["fd_write"], flood)).await.expect(201);
    let run = run_of(&server, "floods-logs").await;
    let step = &run["steps"][0];
    assert_eq!((&run["status"], &step["output"]), (&json!("completed"), &Value::Null), "{run:#}");
    let logs = step["logs"].as_array().unwrap();
    let bytes: usize = logs.iter().map(|line| line["message"].as_str().unwrap().len()).sum();
    assert!(bytes <= (64 << 10) + 100, "{bytes} bytes of logs");
    assert_eq!(logs.last().unwrap()["message"], "[log cut here: it is longer than 65536 bytes]");
    assert_eq!(logs.last().unwrap()["level"], "warn");
}

#[tokio::test]
async fn a_workflow_s_problems_come_all_at_once_with_their_places() {
    let server = Server::dev();
    let text = "
name: bad
trigger: { type: manual }
steps:
  - { id: one, type: set, values: { a: '{{ two.x }}' } }
  - { id: one, type: set, values: {} }
  - { id: other, type: setx, values: {} }
  - { id: two, type: set, values: { b: '{{ 1 + }}' } }
  - id: par
    type: parallel
    steps:
      - { id: x, type: set, needs: [y], values: {} }
      - { id: y, type: set, needs: [x], values: {} }
";
    let answer = server.put("/api/v1/workflows/bad", text).await;
    let document = answer.json();
    let problems = document.get("problems").or(document.get("errors")).unwrap().as_array().unwrap();
    let told: Vec<(u64, &str, &str)> = problems
        .iter()
        .map(|p| (p["line"].as_u64().unwrap(), p["code"].as_str().unwrap(), p["message"].as_str().unwrap()))
        .collect();
    for (line, code, says) in [
        (5, "not_yet_run", "`one` uses `two.x`, but `two` runs later"),
        (6, "duplicate_id", "the id `one` is already taken in line 5"),
        (7, "unknown_type", "setx"),
        (8, "template_syntax", "`two`: unexpected `}}`"),
        (12, "cycle", "steps wait for each other: `x` needs `y` needs `x`"),
    ] {
        let found =
            told.iter().any(|(at, what, message)| *at == line && *what == code && message.contains(says));
        assert!(found, "line {line}: {code}: {says}: {told:#?}");
    }
    let answer = server.post("/api/v1/workflows/bad/activate", &Value::Null).await;
    assert!(answer.status.is_client_error());
    answer.code();
}

#[tokio::test]
async fn a_record_s_problems_name_object_field_value_and_what_would_be_right() {
    let server = Server::dev();
    let bad = json!({ "jobTitl": "x", "emails": { "primaryEmail": "not an address" }, "companyId": 3 });
    let answer = server.post("/api/v1/records/person", &bad).await;
    assert_eq!(answer.status.as_u16(), 422);
    let problem = answer.json();
    assert_eq!(answer.code(), "invalid_record");
    assert!(problem["detail"].as_str().unwrap().contains("person"), "the object: {problem:#}");
    let all = places(&problem);
    for (field, says) in
        [("jobTitl", "`jobTitle`"), ("emails.primaryEmail", "\"not an address\""), ("companyId", "3")]
    {
        let found = problem["errors"].as_array().unwrap().iter().any(|place| {
            place["path"] == field
                && place.to_string().contains(&json!(says).to_string().trim_matches('"').to_owned())
        });
        assert!(found, "{field}: {says}: {all:#?}");
    }
    let ada = json!({ "emails": { "primaryEmail": "ada@example.com" } });
    let first = server.post("/api/v1/records/person", &ada).await.expect(201);
    let answer = server
        .post("/api/v1/records/person", &json!({ "emails": { "primaryEmail": " ADA@example.com" } }))
        .await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (409, "unique_conflict"));
    assert!(answer.json().to_string().contains(first["id"].as_str().unwrap()), "it names the other record");
    assert_eq!(server.records("person").await.len(), 1);
    for filter in ["{\"field\":\"emails.primryEmail\",\"is\":\"x\"}", "{\"feld\":1}", "{"] {
        let answer = server
            .send(server.request(reqwest::Method::GET, "/api/v1/records/person").query(&[("filter", filter)]))
            .await;
        assert!(answer.status.is_client_error(), "{filter}");
        answer.code();
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_told_so() {
    let server = Server::dev();
    let long = format!("GET /api/v1/runs?filter={} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(70_000));
    let headers: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    for (request, status, code) in [(long, 414, "url_too_long"), (many, 431, "headers_too_large")] {
        let address = server.base.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It hangs up with some of the request unread, which may look like a reset.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], code);
    }
}
