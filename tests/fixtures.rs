//! Steps of past runs as fixtures of their actions.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, guests, run};

const FLOW: &str = r#"
name: leads
trigger: { type: manual }
steps:
  - { id: first, type: code, action: normalize-lead, input: "{{ trigger.input.leads[0] }}" }
  - id: rows
    type: iterator
    over: "{{ trigger.input.leads }}"
    tolerate: { failures: 5 }
    do:
      - { id: lead, type: code, action: normalize-lead, input: "{{ item }}" }
      - { id: title, type: set, values: { title: "{{ lead.email }}" } }
  - { id: done, type: set, values: { rows: "{{ rows.count }}" } }
"#;

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// One failing input among many becomes a case, and so does one that went well; both pass with the same module.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_step_becomes_a_fixture_of_its_action() {
    let server = Server::dev();
    let module = guests::example("normalize-lead");
    server.put("/api/v1/actions/normalize-lead", module.clone()).await.expect(201);
    server.activate("leads", FLOW).await;
    let leads: Vec<Value> = (0..30)
        .map(|n| json!({ "name": "Ada X", "email": if n == 17 { "no address".to_owned() } else { format!("P{n}@Example.com") } }))
        .collect();
    let started = server.post("/api/v1/workflows/leads/run", &json!({ "leads": leads })).await.json();
    let id = started["run_id"].as_str().unwrap();
    server.ended(id).await;

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("module.wasm"), module).unwrap();
    let toml = "name = \"normalize-lead\"\nversion = \"9.9.9\"\nmodule = \"module.wasm\"\n";
    std::fs::write(folder.path().join("action.toml"), toml).unwrap();
    let dir = folder.path().to_str().unwrap();
    let fixture = |step: &str, more: &[&str]| {
        let mut arguments = vec!["run", "fixture", id, step, "--dir", dir, "--server", &server.base];
        arguments.extend(more);
        run(&arguments)
    };
    let made = fixture("first", &["--name", "good"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stdout.contains("fixtures/good") && made.stdout.contains("9.9.9"), "{}", made.stdout);
    let made = fixture("rows[17].lead", &["--json"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let told: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(told["expects"], "error.json");
    let case = Path::new(told["fixture"].as_str().unwrap());
    let name = format!("run-{}-rows-17-lead", &id[id.len() - 8..]);
    assert_eq!(case.file_name().unwrap().to_str(), Some(name.as_str()));
    assert_eq!(read(&case.join("input.json")), leads[17]);
    assert_eq!(read(&case.join("error.json"))["code"], "invalid_email");
    assert_eq!(read(&folder.path().join("fixtures/good/expected.json"))["email"], "p0@example.com");
    let tested = run(&["action", "test", dir]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);

    for (step, more, says) in [
        ("first", &["--name", "good"][..], "is there already"),
        ("done", &[], "is a set step"),
        ("rows[0].title", &[], "--index 0"),
        ("rows[99].lead", &[], "--index 99"),
        ("lead", &[], "rows[0].lead"),
        ("first", &["--name", "a/b"], "cannot name a case"),
    ] {
        let refused = fixture(step, more);
        assert_eq!(refused.code, Some(1), "{step}: {}", refused.stdout);
        assert!(refused.stderr.contains(says), "{step}: {}", refused.stderr);
    }
}
