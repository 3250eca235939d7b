//! Workflows that are started by hand on records: on one, or on a selection of many as one run.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::time::Duration;
use stepwell_engine::{ErrorKind, RunStatus, Workspace};
use support::in_world;

const ONE: &str = r#"
name: one
trigger: { type: manual, on: { object: person }, input_schema: { type: object, required: [note], properties: { note: { type: string } } } }
steps:
  - { id: note, type: create_record, object: note, record: { title: "{{ trigger.record.city }}: {{ trigger.input.note }}", personId: "{{ trigger.record_id }}" } }
output: "{{ note.record.title }}"
"#;

const MANY: &str = r#"
name: many
trigger: { type: manual, on: { object: person, select: many } }
steps:
  - { id: seen, type: set, values: { count: "{{ trigger.count }}", ids: "{{ trigger.record_ids }}", input: "{{ trigger.input }}" } }
"#;

async fn person(workspace: &Workspace, city: &str) -> String {
    let fields = json!({ "city": city }).as_object().unwrap().clone();
    let record = workspace.records().create("person", fields).await.unwrap().record;
    record["id"].as_str().unwrap().to_owned()
}

async fn run(workspace: &Workspace, name: &str, given: Value) -> Result<Value, stepwell_engine::EngineError> {
    let started = workspace.workflows().run(name, given, Some(Duration::from_secs(5))).await?;
    assert_eq!(started.status, RunStatus::Completed, "{started:?}");
    Ok(started.output.unwrap())
}

#[test]
fn on_one_record() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[ONE]).await;
        let id = person(&workspace, "Rome").await;
        let given = json!({ "record_id": id, "input": { "note": "call" } });
        assert_eq!(run(&workspace, "one", given.clone()).await.unwrap(), "Rome: call");
        let test = workspace.workflows().test("one", None, given).await.unwrap();
        assert_eq!(test.output, Some(json!("Rome: call")));
        let fails = |given: Value| {
            let workspace = workspace.clone();
            async move { run(&workspace, "one", given).await.unwrap_err() }
        };
        assert_eq!(fails(json!({ "record_id": id, "input": {} })).await.code, "input_schema");
        assert_eq!(fails(json!({ "input": { "note": "call" } })).await.code, "invalid_selection");
        let both = json!({ "record_ids": [id, id], "input": { "note": "call" } });
        assert_eq!(fails(both).await.code, "invalid_selection");
        let error = fails(json!({ "id": id })).await;
        assert!(error.message.contains("\"record_id\": \"…\""), "{}", error.message);
        let gone = json!({ "record_id": "0199c8f0-0000-7000-8000-000000000000", "input": { "note": "x" } });
        assert_eq!(fails(gone).await.kind, ErrorKind::NotFound);
        engine.close().await;
    });
}

#[test]
fn on_a_selection_of_many_as_one_run() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[MANY]).await;
        let mut ids = Vec::new();
        for n in 0..600 {
            ids.push(person(&workspace, if n % 2 == 0 { "Rome" } else { "Oslo" }).await);
        }
        let picked = json!([ids[5], ids[3], ids[5]]);
        let seen =
            run(&workspace, "many", json!({ "record_ids": picked, "input": { "a": 1 } })).await.unwrap();
        assert_eq!(seen, json!({ "count": 2, "ids": [ids[5], ids[3]], "input": { "a": 1 } }), "each once");
        // In the order of their creation, which within a millisecond is that of their ids.
        let mut romans: Vec<&str> = ids.iter().step_by(2).map(String::as_str).collect();
        romans.sort_unstable();
        let filter = json!({ "filter": { "field": "city", "is": "Rome" } });
        let seen = run(&workspace, "many", filter).await.unwrap();
        assert!(seen == json!({ "count": 300, "ids": romans, "input": {} }), "{} records", seen["count"]);
        let all = run(&workspace, "many", json!({ "record_ids": ids })).await.unwrap();
        assert!(all["count"] == 600 && all["ids"] == json!(ids), "{} records", all["count"]);
        assert_eq!(run(&workspace, "many", json!({ "record_ids": [] })).await.unwrap()["count"], 0);
        assert_eq!(run(&workspace, "many", json!({ "record_id": ids[0] })).await.unwrap()["count"], 1);
        let fails = |given: Value| {
            let workspace = workspace.clone();
            async move { run(&workspace, "many", given).await.unwrap_err() }
        };
        assert_eq!(fails(json!({})).await.code, "invalid_selection");
        assert_eq!(fails(json!({ "record_ids": ["x"] })).await.code, "invalid_selection");
        assert_eq!(fails(json!({ "filter": { "field": "cty", "is": "x" } })).await.code, "invalid_filter");
        let gone = json!({ "record_ids": [ids[0], "0199c8f0-0000-7000-8000-000000000000"] });
        assert_eq!(fails(gone).await.kind, ErrorKind::NotFound);
        let too_many: Vec<String> = (0..10_001).map(|n| format!("0199c8f0-0000-7000-8000-{n:012}")).collect();
        assert_eq!(fails(json!({ "record_ids": too_many })).await.code, "too_large");
        engine.close().await;
    });
}
