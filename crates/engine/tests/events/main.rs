//! Record events start runs: which, how often, in what order, and what the runs see.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod faults;
mod settle;
#[path = "../support/mod.rs"]
mod support;

use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::time::Duration;
use stepwell_engine::{EngineError, PageRequest, RunDetail, RunStatus, RunSummary, TextFormat, Workspace};
use support::{activate, all_records, in_world};

const WON: &str = r#"
name: won
trigger:
  type: record_event
  object: opportunity
  on: upserted
  fields: stage
  when: { all: [{ field: after.stage, is: CLOSED_WON }, { field: before.stage, is_not: CLOSED_WON }] }
steps:
  - { id: bill, type: create_record, object: task, record: { title: "Bill {{ trigger.after.name }}" } }
"#;

/// Says what it saw of each event in a note's title.
fn echo(name: &str, rest: &str) -> String {
    format!(
        r#"
name: {name}
trigger: {{ type: record_event, object: person, {rest} }}
steps:
  - id: note
    type: create_record
    object: note
    record:
      title: "{name} {{{{ trigger.event }}}} {{{{ trigger.before.city | default('-') }}}} {{{{ trigger.after.city | default('-') }}}} {{{{ trigger.fields | join('+') }}}} {{{{ trigger.origin.by }}}}"
"#
    )
}

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn create(workspace: &Workspace, object: &str, record: Value) -> String {
    let written = workspace.records().create(object, fields(record)).await.unwrap();
    written.record["id"].as_str().unwrap().to_owned()
}

async fn update(workspace: &Workspace, object: &str, id: &str, record: Value) {
    workspace.records().update(object, id, fields(record), None).await.unwrap();
}

/// Time in which everything comes to its end that can.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Of the records that were created, in the order of their commits.
async fn titles(workspace: &Workspace, object: &str) -> Vec<String> {
    let mut events = workspace.events(None).await.unwrap();
    let mut titles = Vec::new();
    // Nothing new at once means that all was told.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        let event = serde_json::to_value(event.unwrap()).unwrap();
        let event = &event["event"];
        if event["object"] == object && event["kind"] == "created" {
            titles.push(event["record"]["title"].as_str().unwrap().trim().to_owned());
        }
    }
    titles
}

/// Oldest first.
async fn runs(workspace: &Workspace) -> Vec<RunSummary> {
    let page = PageRequest { limit: Some(500), cursor: None };
    let mut runs = workspace.runs().list(Default::default(), page).await.unwrap().items;
    runs.reverse();
    runs
}

async fn detail(workspace: &Workspace, run: &RunSummary) -> RunDetail {
    workspace.runs().get(&run.id).await.unwrap()
}

fn trigger(detail: &RunDetail) -> Value {
    serde_json::to_value(&detail.input).unwrap()
}

async fn saved(workspace: &Workspace, name: &str, text: &str) -> Result<(), EngineError> {
    let draft = workspace.workflows().put_draft(name, text, TextFormat::Yaml).await?;
    assert!(draft.problems.is_empty(), "{:#?}", draft.problems);
    workspace.workflows().activate(name, None).await.map(|_| ())
}

#[test]
fn a_stage_that_is_reached_starts_one_run_each_time() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[WON]).await;
        let id = create(&workspace, "opportunity", json!({ "name": "A" })).await;
        update(&workspace, "opportunity", &id, json!({ "stage": "PROPOSAL" })).await;
        update(&workspace, "opportunity", &id, json!({ "stage": "CLOSED_WON" })).await;
        update(&workspace, "opportunity", &id, json!({ "stage": "CLOSED_WON" })).await;
        update(&workspace, "opportunity", &id, json!({ "name": "B" })).await;
        a_while().await;
        assert_eq!(titles(&workspace, "task").await, ["Bill A"]);
        update(&workspace, "opportunity", &id, json!({ "stage": "MEETING" })).await;
        update(&workspace, "opportunity", &id, json!({ "stage": "CLOSED_WON" })).await;
        create(&workspace, "opportunity", json!({ "name": "C", "stage": "CLOSED_WON" })).await;
        a_while().await;
        assert_eq!(titles(&workspace, "task").await, ["Bill A", "Bill B", "Bill C"]);
        engine.close().await;
    });
}

#[test]
fn a_run_sees_the_record_before_and_after_and_who_wrote() {
    in_world(|world| async move {
        let (engine, workspace) =
            world.set_up(&[], &[&echo("all", "on: [upserted, deleted, restored]")]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        update(&workspace, "person", &id, json!({ "city": "Paris", "jobTitle": "Painter" })).await;
        let key = engine.keys().create("default", "crm", &[stepwell_engine::Scope::Write]).await.unwrap();
        let caller = engine.keys().authenticate(&key.secret).await.unwrap();
        let by_key = workspace.clone().called_by(&caller);
        by_key.records().delete("person", &id, None).await.unwrap();
        workspace.records().restore("person", &id, None).await.unwrap();
        a_while().await;
        assert_eq!(
            titles(&workspace, "note").await,
            [
                "all created - Rome city user",
                "all updated Rome Paris city+jobTitle user",
                "all deleted Paris -  api_key",
                "all restored - Paris  user",
            ]
        );
        let runs = runs(&workspace).await;
        assert_eq!(runs[0].trigger, "record_event");
        let updated = trigger(&detail(&workspace, &runs[1]).await);
        assert_eq!((&updated["object"], &updated["record_id"]), (&json!("person"), &json!(id)));
        assert_eq!((&updated["before"]["version"], &updated["after"]["version"]), (&json!(1), &json!(2)));
        assert!(
            updated["before"]["updatedAt"].as_str().unwrap()
                <= updated["after"]["updatedAt"].as_str().unwrap()
        );
        assert_eq!(updated["before"]["jobTitle"], Value::Null);
        let deleted = trigger(&detail(&workspace, &runs[2]).await);
        assert_eq!(deleted["origin"]["api_key"], json!(caller.key_id));
        assert_eq!((&deleted["after"], &deleted["before"]["version"]), (&Value::Null, &json!(2)));
        assert_eq!(deleted["before"].get("deletedAt"), None);
        engine.close().await;
    });
}

const WRITER: &str = r#"
name: writer
trigger: { type: manual }
steps:
  - { id: a, type: upsert_record, object: person, match: [emails.primaryEmail], record: { emails: { primaryEmail: a@b.example }, city: Rome } }
  - { id: b, type: upsert_record, object: person, match: [emails.primaryEmail], record: { emails: { primaryEmail: a@b.example }, city: Oslo } }
  - { id: c, type: update_record, object: person, record_id: "{{ a.record.id }}", record: { city: Lima } }
  - { id: d, type: update_record, object: person, record_id: "{{ a.record.id }}", record: { city: Lima } }
  - { id: e, type: delete_record, object: person, record_id: "{{ a.record.id }}" }
"#;

#[test]
fn steps_of_workflows_start_runs_like_everybody_else_one_an_event() {
    in_world(|world| async move {
        let (engine, workspace) =
            world.set_up(&[], &[WRITER, &echo("e", "on: [created, updated, deleted]")]).await;
        let run = workspace.workflows().run("writer", json!({}), Some(Duration::from_secs(5))).await.unwrap();
        a_while().await;
        assert_eq!(
            titles(&workspace, "note").await,
            [
                "e created - Rome city+emails workflow",
                "e updated Rome Oslo city workflow",
                "e updated Oslo Lima city workflow",
                "e deleted Lima -  workflow",
            ]
        );
        let first = trigger(&detail(&workspace, &runs(&workspace).await[1]).await);
        let origin =
            json!({ "by": "workflow", "api_key": null, "workflow": "writer", "run": run.run_id, "depth": 1 });
        assert_eq!(first["origin"], origin);
        engine.close().await;
    });
}

/// Counts up with every event.
fn counting(name: &str, from: &str) -> String {
    format!(
        "
name: {name}
trigger: {{ type: record_event, object: person, on: updated, fields: jobTitle, from: {from} }}
steps:
  - {{ id: up, type: update_record, object: person, record_id: '{{{{ trigger.record_id }}}}', record: {{ jobTitle: '{{{{ trigger.after.jobTitle }}}}x' }} }}
"
    )
}

#[test]
fn a_workflow_does_not_start_itself_unless_it_says_so() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&counting("one", "others")]).await;
        let id = create(&workspace, "person", json!({})).await;
        update(&workspace, "person", &id, json!({ "jobTitle": "x" })).await;
        a_while().await;
        assert_eq!(runs(&workspace).await.len(), 1);
        assert_eq!(all_records(&workspace, "person").await[0]["jobTitle"], "xx");
        engine.close().await;
    });
}

#[test]
fn a_loop_ends_in_a_failed_run_that_says_why() {
    for workflows in
        [vec![counting("one", "any")], vec![counting("one", "others"), counting("two", "others")]]
    {
        in_world(|world| async move {
            let texts: Vec<&str> = workflows.iter().map(String::as_str).collect();
            let (engine, workspace) = world.set_up(&[], &texts[..1]).await;
            let id = create(&workspace, "person", json!({})).await;
            for text in &texts[1..] {
                activate(&workspace, text).await;
            }
            // In a loop of two the first write starts both, and what the second writes is there already.
            let beside = texts.len() - 1;
            update(&workspace, "person", &id, json!({ "jobTitle": "x" })).await;
            a_while().await;
            let runs = runs(&workspace).await;
            assert_eq!(runs.len(), 9 + beside);
            let (failed, good): (Vec<_>, Vec<_>) =
                runs.iter().partition(|run| run.status == RunStatus::Failed);
            assert_eq!((failed.len(), good.len()), (1, 8 + beside));
            assert!(good.iter().all(|run| run.status == RunStatus::Completed));
            let error = failed[0].error.as_ref().unwrap();
            assert_eq!(error.code, "event_loop");
            assert!(error.message.contains("8 runs led to"), "{}", error.message);
            let seen = trigger(&detail(&workspace, failed[0]).await);
            assert_eq!(seen["origin"]["depth"], 8);
            assert_eq!(engine.stats().event_loops_stopped, 1);
            engine.close().await;
        });
    }
}

#[test]
fn a_workflow_sees_what_happens_from_its_activation_on() {
    in_world(|world| async move {
        let text = echo("late", "on: [created, updated]");
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        activate(&workspace, &text).await;
        a_while().await;
        assert!(runs(&workspace).await.is_empty(), "that was before");
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        a_while().await;
        assert_eq!(runs(&workspace).await.len(), 1);
        workspace.workflows().deactivate("late").await.unwrap();
        update(&workspace, "person", &id, json!({ "city": "Lima" })).await;
        workspace.workflows().activate("late", None).await.unwrap();
        update(&workspace, "person", &id, json!({ "city": "Bonn" })).await;
        // Another version goes on where this one ends.
        update(&workspace, "person", &id, json!({ "city": "Kiel" })).await;
        saved(&workspace, "late", &echo("late", "on: updated")).await.unwrap();
        update(&workspace, "person", &id, json!({ "city": "Graz" })).await;
        a_while().await;
        let seen = titles(&workspace, "note").await;
        let cities: Vec<&str> = seen.iter().map(|title| title.split(' ').nth(3).unwrap()).collect();
        assert_eq!(cities, ["Oslo", "Bonn", "Kiel", "Graz"]);
        engine.close().await;
    });
}

#[test]
fn runs_start_in_the_order_of_the_commits_however_few_at_a_time() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 1;
        let (engine, workspace) =
            world.set_up(&[], &[&echo("a", "on: updated"), &echo("b", "on: updated")]).await;
        let id = create(&workspace, "person", json!({})).await;
        for n in 0..200 {
            update(&workspace, "person", &id, json!({ "city": format!("c{n}") })).await;
        }
        a_while().await;
        let seen = titles(&workspace, "note").await;
        let cities = |name: &str| -> Vec<String> {
            let own = seen.iter().filter(|title| title.starts_with(name));
            own.map(|title| title.split(' ').nth(3).unwrap().to_owned()).collect()
        };
        let wanted: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
        assert_eq!(cities("a"), wanted);
        assert_eq!(cities("b"), wanted);
        engine.close().await;
    });
}

#[test]
fn a_condition_that_cannot_be_answered_is_a_failed_run() {
    in_world(|world| async move {
        let text = echo(
            "odd",
            "on: created, when: { field: after.city, greater_than: \"{{ trigger.after.jobTitle }}\" }",
        );
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        create(&workspace, "person", json!({ "city": "Rome" })).await;
        create(&workspace, "person", json!({ "city": "Rome", "jobTitle": "A" })).await;
        a_while().await;
        let runs = runs(&workspace).await;
        assert_eq!(runs[0].status, RunStatus::Failed);
        assert_eq!(runs[0].error.as_ref().unwrap().code, "condition_error");
        assert_eq!(runs.len(), 2, "the next event is another matter: {runs:#?}");
        engine.close().await;
    });
}

/// Those that want another text are not asked; that changes nothing of what each would say.
#[test]
fn conditions_on_a_text_are_found_by_the_text() {
    in_world(|world| async move {
        let whens = [
            ("rome", "on: upserted, when: { field: after.city, is: Rome }"),
            (
                "oslo",
                "on: upserted, fields: city, when: [{ field: after.city, is: Oslo }, { field: before.city, is_not: Oslo }]",
            ),
            ("left", "on: [updated, deleted], when: { field: before.city, is: Rome }"),
            ("late", "on: updated, settle: 1s, when: { field: after.city, is: Oslo }"),
            ("other", "on: upserted, when: { field: after.city, is_not: Rome }"),
        ];
        let texts: Vec<String> = whens.iter().map(|(name, rest)| echo(name, rest)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (engine, workspace) = world.set_up(&[], &texts).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        for city in [json!("Oslo"), json!(null), json!("Rome")] {
            a_while().await;
            update(&workspace, "person", &id, json!({ "city": city })).await;
        }
        a_while().await;
        workspace.records().delete("person", &id, None).await.unwrap();
        a_while().await;
        assert_eq!(
            titles(&workspace, "note").await,
            [
                "rome created - Rome city user",
                "left updated Rome Oslo city user",
                "oslo updated Rome Oslo city user",
                "other updated Rome Oslo city user",
                "late updated Rome Oslo city user",
                "other updated Oslo - city user",
                "rome updated - Rome city user",
                "left deleted Rome -  user",
            ]
        );
        engine.close().await;
    });
}

#[test]
fn a_thousand_workflows_listen_to_one_object_and_none_of_them_to_another() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        for n in 0..1000 {
            let text = format!(
                "name: w{n:04}\ntrigger: {{ type: record_event, object: company, on: created }}\nsteps:\n  \
                 - {{ id: a, type: set, values: {{ n: '{{{{ trigger.after.name }}}}' }} }}\n"
            );
            saved(&workspace, &format!("w{n:04}"), &text).await.unwrap();
        }
        create(&workspace, "person", json!({})).await;
        a_while().await;
        assert_eq!(engine.stats().event_runs, 0);
        create(&workspace, "company", json!({ "name": "Acme" })).await;
        a_while().await;
        let stats = engine.stats();
        assert_eq!((stats.event_runs, stats.runs_completed), (1000, 1000));
        let mut started: Vec<String> = Vec::new();
        let mut page = PageRequest { limit: Some(500), cursor: None };
        loop {
            let runs = workspace.runs().list(Default::default(), page).await.unwrap();
            started.extend(runs.items.into_iter().map(|run| run.workflow));
            let Some(cursor) = runs.next_cursor else { break };
            page = PageRequest { limit: Some(500), cursor: Some(cursor) };
        }
        started.reverse();
        assert!(started.is_sorted(), "in the order of their names, across commits");
        engine.close().await;
    });
}

#[test]
fn a_workflow_that_events_start_runs_by_hand_for_a_record() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        activate(&workspace, &echo("hand", "on: [created, updated]")).await;
        let flows = workspace.workflows();
        let run = |input: Value| flows.run("hand", input, Some(Duration::from_secs(5)));
        assert_eq!(run(json!({ "record_id": id })).await.unwrap().status, RunStatus::Completed);
        assert_eq!(titles(&workspace, "note").await, ["hand created - Rome  user"]);
        let wrong = workspace.workflows().run("hand", json!({}), None).await.unwrap_err();
        assert_eq!(wrong.code, "invalid_event");
        let given = json!({ "event": "updated", "record_id": id, "before": { "city": "A" }, "after": { "city": "B" }, "fields": ["city"] });
        let test = workspace.workflows().test("hand", None, given).await.unwrap();
        assert_eq!(test.status, RunStatus::Completed, "{test:#?}");
        engine.close().await;
    });
}

#[test]
fn a_circle_of_workflows_is_refused_before_it_turns() {
    in_world(|world| async move {
        let making = |name: &str, on: &str, object: &str| {
            format!(
                "name: {name}\ntrigger: {{ type: record_event, object: {on}, on: created }}\nsteps:\n  \
                 - {{ id: make, type: create_record, object: {object}, record: {{ title: x }} }}\n"
            )
        };
        let (engine, workspace) = world.set_up(&[], &[&making("one", "task", "note")]).await;
        let draft =
            workspace.workflows().put_draft("two", &making("two", "note", "task"), TextFormat::Yaml).await;
        let problems = draft.unwrap().problems;
        assert_eq!(problems[0].code, "event_loop");
        assert!(
            problems[0].message.contains("`two` creates a task record, which starts `one`"),
            "{problems:?}"
        );
        assert!(workspace.workflows().activate("two", None).await.is_err());
        // With a condition it may end: then the guard of the depth is there.
        let ends = making("two", "note", "task")
            .replace("on: created", "on: created, when: { field: after.title, is: y }");
        saved(&workspace, "two", &ends).await.unwrap();
        engine.close().await;
    });
}
