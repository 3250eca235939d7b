//! Record events start runs, through HTTP: each once, also when the server dies in between.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{self, Server};

const WON: &str = "
name: won
trigger:
  type: record_event
  object: opportunity
  on: upserted
  fields: stage
  when: [{ field: after.stage, is: CLOSED_WON }, { field: before.stage, is_not: CLOSED_WON }]
steps:
  - { id: bill, type: create_record, object: task, record: { title: 'Bill {{ trigger.after.name }} by {{ trigger.origin.by }}' } }
";

const SETTLED: &str = "
name: settled
trigger: { type: record_event, object: company, on: [created, updated], settle: 10h }
steps:
  - { id: note, type: create_record, object: note, record: { title: '{{ trigger.event }} {{ trigger.after.name }}' } }
";

async fn until(server: &Server, object: &str, count: usize) -> Vec<String> {
    loop {
        let records = server.records(object).await;
        if records.len() >= count {
            return records.iter().map(|record| record["title"].as_str().unwrap().to_owned()).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn patch(server: &Server, path: &str, body: &Value) {
    server.send(server.request(Method::PATCH, path).json(body)).await.expect(200);
}

#[tokio::test]
async fn a_stage_that_is_reached_starts_a_run_and_its_history_tells_why() {
    let server = Server::start(&[]);
    server.activate("won", WON).await;
    let made = server.post("/api/v1/records/opportunity", &json!({ "name": "Acme" })).await.expect(201);
    let path = format!("/api/v1/records/opportunity/{}", made["id"].as_str().unwrap());
    for stage in ["MEETING", "CLOSED_WON", "CLOSED_WON"] {
        patch(&server, &path, &json!({ "stage": stage })).await;
    }
    patch(&server, &path, &json!({ "name": "Acme Inc" })).await;
    // An event that comes later: what comes before it has started what it starts.
    server
        .post("/api/v1/records/opportunity", &json!({ "name": "Last", "stage": "CLOSED_WON" }))
        .await
        .expect(201);
    let bills = until(&server, "task", 2).await;
    assert_eq!(bills, ["Bill Acme by api_key", "Bill Last by api_key"]);
    let runs = server.get("/api/v1/runs").await.expect(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2);
    let run = &runs["runs"][1];
    assert_eq!((&run["trigger"], &run["workflow"]), (&json!("record_event"), &json!("won")));
    let run = server.ended(run["id"].as_str().unwrap()).await;
    let input = &run["input"];
    assert_eq!(
        (&input["before"]["stage"], &input["after"]["stage"]),
        (&json!("MEETING"), &json!("CLOSED_WON"))
    );
    assert!(input["origin"]["api_key"].as_str().unwrap().starts_with("key_"), "{input}");
    assert_eq!(server.metric("stepwell_event_runs_total").await, 2);
}

#[tokio::test]
async fn changes_settle_while_the_server_is_down() {
    let mut server = Server::dev();
    let data = server.data();
    server.activate("settled", SETTLED).await;
    let made = server.post("/api/v1/records/company", &json!({ "name": "Acme" })).await.expect(201);
    let path = format!("/api/v1/records/company/{}", made["id"].as_str().unwrap());
    server.kill();
    let server = Server::on(&data, &["--dev"], &[]).unwrap();
    patch(&server, &path, &json!({ "name": "Acme Inc" })).await;
    server.post("/api/v1/dev/clock", &json!({ "advance": "540m" })).await.expect(200);
    patch(&server, &path, &json!({ "name": "Acme AG" })).await;
    server.post("/api/v1/dev/clock", &json!({ "advance": "540m" })).await.expect(200);
    assert!(server.records("note").await.is_empty());
    server.post("/api/v1/dev/clock", &json!({ "advance": "120m" })).await.expect(200);
    assert_eq!(until(&server, "note", 1).await, ["created Acme AG"]);
    let finished = support::run(&["run", "list", "--server", &server.base, "--json"]);
    assert!(finished.stdout.contains("record_event"), "{}", finished.stdout);
}
