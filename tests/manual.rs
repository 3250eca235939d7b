//! Starts by hand on records, from the command line.

use serde_json::{Value, json};

use crate::support::{self, Server};

const GREET: &str = "
name: greet
trigger: { type: manual, on: { object: person } }
steps:
  - { id: seen, type: set, values: { text: 'Dear {{ trigger.record.name.firstName }} of {{ trigger.record.city }}{{ trigger.input.mark }}' } }
output: '{{ seen.text }}'
";

const COUNT: &str = "
name: count
trigger: { type: manual, on: { object: person, select: many } }
steps:
  - id: each
    type: iterator
    over: '{{ trigger.record_ids }}'
    do:
      - { id: touch, type: update_record, object: person, record_id: '{{ item }}', record: { jobTitle: seen } }
output: '{{ each.succeeded }} of {{ trigger.count }}'
";

fn run(server: &Server, arguments: &[&str]) -> support::Finished {
    support::run(&[&["workflow", "run", "--server", &server.base], arguments].concat())
}

#[tokio::test]
async fn a_workflow_is_run_on_the_records_that_are_named() {
    let server = Server::dev();
    server.activate("greet", GREET).await;
    server.activate("count", COUNT).await;
    let mut ids = Vec::new();
    for (name, city) in [("Ann", "Rome"), ("Bob", "Rome"), ("Cid", "Oslo")] {
        let person = json!({ "name": { "firstName": name }, "city": city });
        let made = server.post("/api/v1/records/person", &person).await.expect(201);
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let greeted = run(&server, &["greet", "--record", &ids[0], "--input", "{\"mark\": \"!\"}"]);
    assert_eq!(greeted.stdout.trim(), "\"Dear Ann of Rome!\"", "{}", greeted.stderr);
    let counted = run(&server, &["count", "--record", &ids[0], "--record", &ids[2]]);
    assert_eq!(counted.stdout.trim(), "\"2 of 2\"", "{}", counted.stderr);
    let counted = run(&server, &["count", "--filter", "{\"field\": \"city\", \"is\": \"Rome\"}"]);
    assert_eq!(counted.stdout.trim(), "\"2 of 2\"", "{}", counted.stderr);
    let people = server.records("person").await;
    assert!(people.iter().all(|person| person["jobTitle"] == "seen"), "{people:#?}");
    let refused = run(&server, &["greet"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("\"record_id\""), "{}", refused.stderr);
    let answer = server.post("/api/v1/workflows/greet/run", &json!({ "record_ids": Value::Null })).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_selection".to_owned()));
}

#[tokio::test]
async fn a_start_by_hand_is_answered_alike_however_fast_the_run_is() {
    let server = Server::dev();
    let flow = |name: &str, step: &str| {
        format!("name: {name}\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: one, {step} }}\n")
    };
    server.activate("quick", &flow("quick", "type: set, values: { a: 1 }")).await;
    server.activate("bad", &flow("bad", "type: stop, status: failed, message: no")).await;
    server.activate("slow", &flow("slow", "type: delay, for: 1h")).await;
    // Nobody waits.
    for name in ["quick", "quick", "bad", "slow"] {
        let started = server.post(&format!("/api/v1/workflows/{name}/run"), &json!({})).await.expect(202);
        assert!(started["run_id"].is_string() && started["status"].is_string(), "{started}");
        assert!(started.get("output").is_none(), "{started}");
    }
    // Somebody waits, and the run is over by then.
    let quick = server.post("/api/v1/workflows/quick/run?wait=60s", &json!({})).await.expect(200);
    assert_eq!((&quick["status"], &quick["output"]), (&json!("completed"), &json!({ "a": 1 })));
    let bad = server.post("/api/v1/workflows/bad/run?wait=60s", &json!({})).await.expect(200);
    assert_eq!((&bad["status"], &bad["error"]["code"]), (&json!("failed"), &json!("stopped")));
    // Or it is not.
    for wait in ["0s", "50ms"] {
        let path = format!("/api/v1/workflows/slow/run?wait={wait}");
        let slow = server.post(&path, &json!({})).await.expect(202);
        assert!(["running", "waiting"].contains(&slow["status"].as_str().unwrap()), "{slow}");
    }
}

#[tokio::test]
async fn a_dry_run_tries_a_draft_and_leaves_records_peers_and_mail_as_they_are() {
    let server = Server::dev();
    let draft = "
name: welcome
trigger: { type: manual, on: { object: person, select: many } }
steps:
  - id: each
    type: iterator
    over: '{{ trigger.record_ids }}'
    do:
      - { id: touch, type: update_record, object: person, record_id: '{{ item }}', record: { jobTitle: seen } }
  - { id: tell, type: http_request, method: POST, url: 'http://127.0.0.1:9/told' }
  - { id: mail, type: send_email, to: [ann@example.com], subject: Welcome, text: Hello }
output: '{{ each.succeeded }}'
";
    server.put("/api/v1/workflows/welcome", draft.to_owned()).await.expect(201);
    server.post("/api/v1/records/person", &json!({ "city": "Rome" })).await.expect(201);
    let everybody = ["welcome", "--filter", "{\"field\": \"city\", \"is\": \"Rome\"}", "--dry-run"];
    let tried = run(&server, &everybody);
    assert_eq!(tried.code, Some(0), "{}", tried.stderr);
    for line in [
        "not sent: POST http://127.0.0.1:9/told",
        "not sent: e-mail to ann@example.com: Welcome",
        "nothing was stored, and nothing went out",
        "output: 1",
    ] {
        assert!(tried.stdout.contains(line), "{}", tried.stdout);
    }
    assert_eq!(server.records("person").await[0]["jobTitle"], Value::Null);
    assert_eq!(server.get("/api/v1/mailbox").await.expect(200)["mailbox"], json!([]));
    assert_eq!(server.get("/api/v1/runs").await.expect(200)["runs"], json!([]));
    // A run that would fail says so, and with which status.
    let failed = run(&server, &["welcome", "--record", "0", "--dry-run"]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("`0` is no id"), "{}", failed.stderr);
}
