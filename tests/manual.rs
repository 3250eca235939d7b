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
