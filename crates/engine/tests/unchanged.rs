//! Writes that count on what was read before, and records that one template gives.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Map, Value, json};
use std::time::Duration;
use stepwell_engine::{RunStatus, Workspace};
use support::{activate, in_world, value};

const WAIT: Duration = Duration::from_secs(3600);

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn person(workspace: &Workspace, record: Value) -> String {
    let written = workspace.records().create("person", fields(record)).await.unwrap();
    written.record["id"].as_str().unwrap().to_owned()
}

/// Looks, lets an hour pass, and writes.
const FILL: &str = r#"
name: fill
trigger: { type: manual, on: { object: person } }
steps:
  - { id: ask, type: delay, for: 1h }
  - id: filled
    type: update_record
    object: person
    record_id: "{{ trigger.record_id }}"
    record: "{{ {trigger.input.field: trigger.input.value} }}"
    if_unchanged: { since: "{{ trigger.record }}" }
    on_error: { do: [{ id: why, type: set, values: { outcome: "{{ error.code }}", fields: "{{ error.details.fields | default([]) }}" } }] }
output: "{{ filled }}"
"#;

#[test]
fn what_a_person_wrote_meanwhile_is_not_written_over() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[], &[FILL]).await;
        let ann = person(&workspace, json!({ "city": "Rome", "jobTitle": "CTO" })).await;
        let start = async |field: &str, value: &str| {
            let input = json!({ "record_id": ann, "input": { "field": field, "value": value } });
            workspace.workflows().run("fill", input, None).await.unwrap().run_id
        };
        let (city, title) = (start("city", "Oslo").await, start("jobTitle", "VP").await);
        tokio::time::sleep(Duration::from_secs(60)).await;
        workspace.records().update("person", &ann, fields(json!({ "city": "Bari" })), None).await.unwrap();

        let city = workspace.runs().wait(&city, WAIT).await.unwrap();
        assert_eq!(value(&city.output), json!({ "outcome": "stale", "fields": ["city"] }));
        let title = workspace.runs().wait(&title, WAIT).await.unwrap();
        assert_eq!(value(&title.output)["outcome"], "updated");
        let now = workspace.records().get("person", &ann).await.unwrap();
        assert_eq!((&now["city"], &now["jobTitle"]), (&json!("Bari"), &json!("VP")));
    });
}

#[test]
fn of_runs_that_count_on_one_look_one_writes() {
    let text = r#"
name: claim
trigger: { type: manual, input_schema: { type: object, properties: { task: { type: string }, who: { type: string } } } }
steps:
  - id: mine
    type: update_record
    object: task
    record_id: "{{ trigger.input.task }}"
    record: { assignee: "{{ trigger.input.who }}" }
    if_unchanged: { since: { assignee: ~ } }
"#;
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[], &[text]).await;
        let task = workspace.records().create("task", fields(json!({ "title": "One" }))).await.unwrap();
        let task = task.record["id"].as_str().unwrap().to_owned();
        let mut runs = Vec::new();
        for n in 0..20 {
            let input = json!({ "task": task, "who": format!("w{n}") });
            runs.push(workspace.workflows().run("claim", input, None).await.unwrap().run_id);
        }
        let mut won = Vec::new();
        for run in runs {
            let run = workspace.runs().wait(&run, WAIT).await.unwrap();
            match run.summary.status {
                RunStatus::Completed => won.push(value(&run.output)["record"]["assignee"].clone()),
                _ => assert_eq!(run.summary.error.unwrap().code, "stale"),
            }
        }
        let now = workspace.records().get("task", &task).await.unwrap();
        assert_eq!(won, [now["assignee"].clone()]);
    });
}

#[test]
fn a_template_gives_a_record_as_a_whole() {
    let text = r#"
name: whole
trigger: { type: manual }
steps:
  - { id: made, type: create_record, object: person, record: "{{ trigger.input.person }}", on_error: { do: [{ id: why, type: set, values: "{{ {'code': error.code, 'message': error.message} }}" }] } }
  - { id: kept, type: upsert_record, object: person, match: emails.primaryEmail, record: "{{ trigger.input.person }}", create_only: city, if: "{{ steps.made.status == 'completed' and made.record is defined }}" }
output: { made: "{{ made }}", kept: "{{ kept | default(none) }}" }
"#;
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[], &[]).await;
        activate(&workspace, text).await;
        let run = async |person: Value| {
            let run = workspace.workflows().run("whole", json!({ "person": person }), None).await.unwrap();
            let run = workspace.runs().wait(&run.run_id, WAIT).await.unwrap();
            value(&run.output)
        };
        let person = json!({ "city": "Rome", "emails": { "primaryEmail": "ann@example.com" } });
        let done = run(person).await;
        assert_eq!(done["made"]["record"]["city"], "Rome");
        assert_eq!(done["kept"]["outcome"], "unchanged");
        let told = |done: &Value| (done["made"]["code"].clone(), done["made"]["message"].clone());
        let done = run(json!("Ann")).await;
        assert_eq!(told(&done), (json!("invalid_step_input"), json!("record is an object, not \"Ann\"")));
        let done = run(json!({ "emial": "ann@example.com" })).await;
        assert_eq!(told(&done).0, "invalid_record");
    });
}

#[test]
fn what_a_change_counts_on_is_of_the_same_record() {
    let text = r#"
name: other
trigger: { type: manual }
steps:
  - { id: one, type: create_record, object: note, record: { title: One } }
  - { id: two, type: create_record, object: note, record: { title: Two } }
  - { id: three, type: update_record, object: note, record_id: "{{ one.record.id }}", record: { title: Three }, if_unchanged: { since: "{{ two.record }}", fields: body } }
"#;
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[], &[text]).await;
        let run = workspace.workflows().run("other", json!({}), None).await.unwrap();
        let run = workspace.runs().wait(&run.run_id, WAIT).await.unwrap();
        let error = run.summary.error.unwrap();
        assert_eq!((error.code.as_str(), error.step.as_deref()), ("invalid_step_input", Some("three")));
        assert!(error.message.starts_with("if_unchanged.since is the record "), "{}", error.message);
    });
}
