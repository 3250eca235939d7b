//! Workflows that run others, through HTTP and the CLI, and across a kill.

use serde_json::{Value, json};

use crate::support::{Finished, Server, stepwell};

const CHARGE: &str = r#"
name: charge
trigger: { type: manual, input_schema: { type: object, required: [amount], properties: { amount: { type: integer } } } }
steps:
  - { id: note, type: create_record, object: note, record: { title: "Charged {{ trigger.input.amount }}" } }
  - { id: wait, type: delay, for: 2s }
output: { receipt: "R-{{ trigger.input.amount }}" }
"#;

const ORDER: &str = r#"
name: order
trigger: { type: manual }
steps:
  - { id: pay, type: run_workflow, workflow: charge, input: { amount: "{{ trigger.input.amount }}" } }
output: "{{ pay.receipt }}"
"#;

fn cli(server: &Server, arguments: &[&str]) -> Finished {
    Finished::from(stepwell().args(["--server", &server.base]).args(arguments).output().unwrap())
}

#[tokio::test]
async fn a_run_waits_for_another_across_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    // Together, in the order of their names the other way round.
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a-order.yaml"), ORDER.replace("name: order", "name: a-order")).unwrap();
    std::fs::write(files.path().join("charge.yaml"), CHARGE).unwrap();
    let dir = files.path().to_str().unwrap();
    assert_eq!(cli(&server, &["workflow", "check", "--online", dir]).code, Some(0));
    let applied = cli(&server, &["workflow", "apply", "--activate", dir]);
    assert_eq!(applied.code, Some(0), "{}{}", applied.stdout, applied.stderr);

    let started = server.post("/api/v1/workflows/a-order/run", &json!({ "amount": 3 })).await.expect(202);
    let order = started["run_id"].as_str().unwrap().to_owned();
    let child = loop {
        let run = server.get(&format!("/api/v1/runs/{order}?wait=50ms")).await.expect(200);
        if let Some(child) = run["steps"][0]["run_id"].as_str() {
            assert_eq!(run["status"], "waiting");
            break child.to_owned();
        }
    };
    server.kill();
    let server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    let run = server.ended(&order).await;
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!("R-3")), "{run:#}");
    let run = server.get(&format!("/api/v1/runs/{child}")).await.expect(200);
    assert_eq!(run["parent"], json!({ "run_id": order, "step": "pay" }));
    assert_eq!(server.records("note").await.len(), 1);
    let shown = cli(&server, &["run", "show", &child]);
    assert!(shown.stdout.contains(&format!("run {order}, step pay")), "{}", shown.stdout);
    let shown = cli(&server, &["run", "show", &order]);
    assert!(shown.stdout.contains(&format!("run       {child}")), "{}", shown.stdout);
}

#[tokio::test]
async fn what_cannot_be_run_is_told_before_and_at_the_step() {
    let server = Server::dev();
    let saved = server.put("/api/v1/workflows/order", ORDER).await.expect(201);
    assert_eq!(saved["problems"][0]["code"], "unknown_workflow", "{saved:#}");
    server.activate("charge", CHARGE).await;
    let wrong = ORDER.replace("amount: \"{{ trigger.input.amount }}\"", "amount: much");
    let saved: Value = server.put("/api/v1/workflows/order", wrong).await.expect(201);
    assert_eq!(saved["problems"][0]["code"], "invalid_input", "{saved:#}");
    server.activate("order", ORDER).await;
    let started =
        server.post("/api/v1/workflows/order/run?wait=20s", &json!({ "amount": "3" })).await.expect(200);
    assert_eq!(
        (&started["status"], &started["error"]["code"]),
        (&json!("failed"), &json!("input_schema")),
        "{started:#}"
    );
}
