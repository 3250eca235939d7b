//! Iterators in the engine: their items in bursts, what is kept of them, and what survives a crash.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod atomic;
mod ends;
mod lists;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use stepwell_engine::{ItemDetail, ItemFilter, PageRequest, Payload, RunStatus, StepStatus, Workspace};
use stepwell_store::keys::Space;
use stepwell_store::{Fault, Store, Tx, WorkspaceId};
use support::{Module, World, activate, all_records, ended, in_world, process, runtime, value};

const WAIT: Duration = Duration::from_secs(24 * 3600);
const MOODY: Module = Module::new("moody", "1.0.0", "moody");
const SLOW: Module = Module::new("slow", "1.0.0", "slow");
const ECHO: Module = Module::new("echo", "1.0.0", "echo");

async fn started(workspace: &Workspace, name: &str, input: Value) -> String {
    workspace.workflows().run(name, input, None).await.unwrap().run_id
}

async fn items(workspace: &Workspace, id: &str, filter: ItemFilter, size: usize) -> Vec<ItemDetail> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: Some(size), cursor };
        let page = workspace.runs().items(id, filter.clone(), page).await.unwrap();
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

/// The largest row of a space.
fn largest(world: &World, space: Space) -> usize {
    world.rows(space).iter().map(|(_, value)| value.len()).max().unwrap_or(0)
}

const OVER_LIST: &str = r#"
name: over-list
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ trigger.input.rows }}"
    tolerate: { failures: 1 }
    do:
      - { id: good, type: filter, when: "{{ item.n != 1 }}" }
      - { id: moody, type: code, action: moody, input: { n: "{{ item.n }}", fails: "{{ item.fails }}" } }
      - { id: task, type: create_record, object: task, record: { title: "Row {{ item.n }} of {{ index }}" } }
    output: "{{ task.record.title }}"
  - { id: last, type: create_record, object: note, record: { title: "{{ rows.succeeded }} of {{ rows.count }}" } }
output: "{{ rows }}"
"#;

#[test]
fn items_of_a_list_are_run_counted_and_shown() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[OVER_LIST]).await;
        let rows: Vec<Value> = (0..100).map(|n| json!({ "n": n, "fails": u64::from(n == 7) })).collect();
        let run = ended(&workspace, "over-list", json!({ "rows": rows })).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let output = value(&run.output);
        let counts = ["count", "succeeded", "failed", "skipped"].map(|name| output[name].as_u64().unwrap());
        assert_eq!(counts, [100, 98, 1, 1]);
        assert_eq!(output["results"][1], "Row 2 of 2");
        assert_eq!(output["failures"][0]["item"], json!({ "n": 7, "fails": 1 }));
        assert_eq!(output["failures"][0]["error"]["code"], "busy");
        assert_eq!(all_records(&workspace, "task").await.len(), 98);
        // The run shows the iterator, and none of its items that are over.
        let steps: Vec<&str> = run.steps.iter().map(|step| step.path.as_str()).collect();
        assert_eq!(steps, ["rows", "last"]);
        let counts = run.steps[0].items.unwrap();
        assert_eq!(
            (counts.count, counts.succeeded, counts.failed, counts.skipped, counts.open),
            (100, 98, 1, 1, 0)
        );
        assert!(run.steps[0].attempts.is_empty());
        // They are listed apart, with their steps.
        let id = &run.summary.id;
        let all = items(&workspace, id, ItemFilter::default(), 7).await;
        let numbers: Vec<u64> = all.iter().map(|item| item.index).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        assert_eq!(value(&all[3].output), "Row 3 of 3");
        let steps: Vec<&str> = all[3].steps.iter().map(|step| step.path.as_str()).collect();
        assert_eq!(steps, ["rows[3].moody", "rows[3].task"]);
        assert_eq!(value(&all[3].steps[0].input), json!({ "n": 3, "fails": 0 }));
        assert_eq!(all[3].steps[0].logs.len(), 1);
        let failed = ItemFilter { status: Some(StepStatus::Failed), step: Some("rows".into()), index: None };
        let failed = items(&workspace, id, failed, 50).await;
        assert_eq!((failed.len(), failed[0].index), (1, 7));
        assert_eq!(failed[0].error.as_ref().unwrap().code, "busy");
        // A step without items, or a slip of the pen, is no step without any yet.
        for wrong in ["last", "rosw"] {
            let other = ItemFilter { step: Some(wrong.into()), ..ItemFilter::default() };
            let refused = workspace.runs().items(id, other, PageRequest::default()).await.unwrap_err();
            assert_eq!(refused.code, "unknown_item", "{refused}");
        }
        engine.close().await;
    });
}

#[test]
fn a_failed_run_is_retried_from_the_item_that_failed() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[OVER_LIST]).await;
        let rows: Vec<Value> =
            (0..20).map(|n| json!({ "n": n, "fails": u64::from(n == 7 || n == 9) })).collect();
        let run = ended(&workspace, "over-list", json!({ "rows": rows })).await;
        assert_eq!(run.summary.status, RunStatus::Failed);
        assert_eq!(run.summary.error.as_ref().unwrap().step.as_deref(), Some("rows[9].moody"));
        let shown = run.steps.iter().find(|step| step.path == "rows[9].moody").unwrap();
        assert_eq!((shown.status, shown.attempts.len()), (StepStatus::Failed, 1));
        assert_eq!(run.steps[0].items.unwrap().failed, 2);
        workspace.runs().retry(&run.summary.id, false).await.unwrap();
        let run = workspace.runs().wait(&run.summary.id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(world.code.calls_of("moody").len(), 20, "19 items, and one of them twice");
        assert_eq!(all_records(&workspace, "task").await.len(), 18);
        let all = items(&workspace, &run.summary.id, ItemFilter::default(), 50).await;
        let nine: Vec<StepStatus> =
            all.iter().filter(|item| item.index == 9).map(|item| item.status).collect();
        assert_eq!(nine, [StepStatus::Failed, StepStatus::Completed]);
        engine.close().await;
    });
}

const OVER_SEARCH: &str = r#"
name: over-search
trigger: { type: manual }
steps:
  - id: people
    type: iterator
    search: { object: person, filter: { field: city, is: "{{ trigger.input.city }}" } }
    do:
      - { id: score, type: code, action: echo, input: { title: "seen {{ item.name.firstName }}" } }
      - { id: seen, type: update_record, object: person, record_id: "{{ item.id }}", record: { jobTitle: "{{ score.title }}" } }
    output: "{{ index }}"
output: "{{ people }}"
"#;

async fn people(workspace: &Workspace, count: usize) {
    for n in 0..count {
        let city = if n % 5 == 4 { "Rome" } else { "Paris" };
        let person = json!({ "name": { "firstName": format!("p{n}") }, "city": city });
        workspace.records().create("person", person.as_object().unwrap().clone()).await.unwrap();
    }
}

#[test]
fn ten_thousand_records_are_visited_once_with_a_state_that_stays_small() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[ECHO], &[OVER_SEARCH]).await;
        people(&workspace, 12_500).await;
        let commits = world.store.dump().len();
        let id = started(&workspace, "over-search", json!({ "city": "Paris" })).await;
        let (mut seen, mut snapshot) = (Vec::new(), 0);
        loop {
            let run = workspace.runs().wait(&id, Duration::from_millis(400)).await.unwrap();
            snapshot = snapshot.max(largest(&world, Space::RunStates));
            seen.extend(run.steps.first().and_then(|step| step.items));
            if run.summary.status.ended() {
                assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
                let output = value(&run.output);
                assert_eq!((&output["count"], &output["succeeded"]), (&json!(10_000), &json!(10_000)));
                assert_eq!(output["results"].as_array().unwrap().len(), 1_000);
                break;
            }
        }
        assert!(snapshot < 16 << 10, "the snapshot grew to {snapshot} bytes");
        assert!(commits > 0 && seen.iter().all(|counts| counts.open <= 1));
        let updated: usize = all_records(&workspace, "person")
            .await
            .iter()
            .filter(|person| {
                let seen =
                    person["jobTitle"] == format!("seen {}", person["name"]["firstName"].as_str().unwrap());
                assert_eq!(seen, person["city"] == "Paris");
                assert_eq!(person["version"], if seen { 2 } else { 1 });
                seen
            })
            .count();
        assert_eq!(updated, 10_000);
        let page = PageRequest { limit: Some(500), cursor: None };
        let page = workspace.runs().items(&id, ItemFilter::default(), page).await.unwrap();
        assert!(
            page.next_cursor.is_some()
                && page.items.iter().enumerate().all(|(n, item)| item.index == n as u64)
        );
        engine.close().await;
    });
}

#[test]
fn what_is_no_longer_what_was_searched_is_left_out_at_its_turn() {
    let text = r#"
name: moving
trigger: { type: manual }
steps:
  - id: people
    type: iterator
    search: { object: person, filter: { field: city, is: Paris }, sort: name.firstName }
    do:
      - { id: rest, type: search_records, object: person, filter: { field: city, is: Paris }, sort: name.firstName }
      - { id: gone, type: delete_record, object: person, record_id: "{{ rest.records[1].id }}", if: "{{ index == 0 }}" }
      - { id: moved, type: update_record, object: person, record_id: "{{ rest.records[2].id }}", record: { city: Rome }, if: "{{ index == 0 }}" }
    output: "{{ item.name.firstName }}"
output: { names: "{{ people.results }}", skipped: "{{ people.skipped }}" }
"#;
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[], &[text]).await;
        people(&workspace, 4).await;
        let run = ended(&workspace, "moving", json!({})).await;
        assert_eq!(value(&run.output), json!({ "names": ["p0", "p3"], "skipped": 2 }), "{run:#?}");
        engine.close().await;
    });
}

#[test]
fn batches_over_a_search_and_several_at_once_over_the_outside() {
    let text = r#"
name: batches
trigger: { type: manual }
steps:
  - id: all
    type: iterator
    search: { object: person }
    batch: 30
    concurrency: 3
    do:
      - { id: send, type: http_request, method: POST, url: "https://api.example.com/{{ index }}", body: { json: "{{ item | map(attribute='name.firstName') }}" } }
    output: "{{ item | length }}"
output: "{{ all.results }}"
"#;
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[], &[text]).await;
        people(&workspace, 700).await;
        let run = ended(&workspace, "batches", json!({})).await;
        let mut sizes = vec![json!(30); 23];
        sizes.push(json!(10));
        assert_eq!(value(&run.output), Value::Array(sizes), "{run:#?}");
        let sent = std::mem::take(&mut *world.http.sent.lock().unwrap());
        let names: usize =
            sent.iter().map(|r| serde_json::from_slice::<Vec<String>>(&r.body).unwrap().len()).sum();
        assert_eq!((sent.len(), names), (24, 700));
        engine.close().await;
    });
}

/// Of records as large as they may be, 500 would take 125 MiB.
#[test]
fn records_that_together_are_too_large_are_not_had_at_once() {
    let text = r#"
name: large
trigger: { type: manual }
steps:
  - { id: found, type: search_records, object: note, limit: "{{ trigger.input.limit }}" }
  - id: each
    type: iterator
    search: { object: note }
    batch: BATCH
    do: [{ id: n, type: set, values: { n: "{{ item | length }}" } }]
    output: "{{ n.n }}"
output: "{{ each.results }}"
"#;
    in_world(async |world| {
        let small = text.replace("BATCH", "20");
        let large = text.replace("BATCH", "71").replace("name: large", "name: larger");
        let (engine, workspace) = world.set_up(&[], &[&small, &large]).await;
        for n in 0..71 {
            let note = json!({ "title": format!("n{n}"), "body": "x".repeat(250 << 10) });
            workspace.records().create("note", note.as_object().unwrap().clone()).await.unwrap();
        }
        let done = ended(&workspace, "large", json!({ "limit": 20 })).await;
        assert_eq!(value(&done.output), json!([20, 20, 20, 11]), "{:?}", done.summary.error);
        let failed = ended(&workspace, "large", json!({ "limit": 71 })).await.summary.error.unwrap();
        assert_eq!((failed.code.as_str(), failed.step.as_deref()), ("output_too_large", Some("found")));
        assert!(
            failed.message.contains("16 MiB") && failed.message.contains("`limit`"),
            "{}",
            failed.message
        );
        let failed = ended(&workspace, "larger", json!({ "limit": 20 })).await.summary.error.unwrap();
        assert_eq!(failed.code, "output_too_large");
        assert!(failed.message.contains("`batch`"), "{}", failed.message);
        engine.close().await;
    });
}

#[test]
fn progress_survives_crashes_and_every_item_has_its_effect_once() {
    let text = r#"
name: long
trigger: { type: manual }
steps:
  - id: people
    type: iterator
    search: { object: person }
    concurrency: 2
    do:
      - { id: scored, type: code, action: slow, input: { ms: 50, id: "{{ item.id }}" } }
      - { id: task, type: create_record, object: task, record: { title: "{{ scored.id }}" } }
"#;
    let mut world = World::new(3);
    world.config.burst.steps = 6;
    world.config.inline_payload_bytes = 300;
    let id = &process(&mut world, async |engine, workspace| {
        workspace.actions().put(SLOW.name, SLOW.bytes(), false).await.unwrap();
        activate(&workspace, text).await;
        people(&workspace, 300).await;
        let id = started(&workspace, "long", json!({})).await;
        engine.close().await;
        id
    });
    let mut before = 0;
    for crash in [1, 3, 2, 5, 4, 2] {
        let fault = if crash % 2 == 0 { Fault::CrashAfter } else { Fault::CrashBefore };
        world.store = world.store.reopen();
        world.store.fail_commit(crash, fault);
        let store = world.store.clone();
        runtime().block_on(async {
            let (_engine, _workspace) = world.open().await;
            while !store.crashed() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        world.store.clear_faults();
        let done = process(&mut world, async |engine, workspace| {
            let run = workspace.runs().get(id).await.unwrap();
            engine.close().await;
            run.steps.first().and_then(|step| step.items).map_or(0, |items| items.succeeded)
        });
        assert!(done >= before, "{done} after {before}");
        before = done;
    }
    process(&mut world, async |engine, workspace| {
        let run = workspace.runs().wait(id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let mut tasks: BTreeMap<String, usize> = BTreeMap::new();
        for task in all_records(&workspace, "task").await {
            *tasks.entry(task["title"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(tasks.len(), 300);
        assert!(tasks.values().all(|count| *count == 1));
        let mut numbers: Vec<u64> =
            items(&workspace, id, ItemFilter::default(), 100).await.iter().map(|item| item.index).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>());
        engine.close().await;
    });
}

#[test]
fn retention_leaves_nothing_of_items_behind() {
    let mut world = World::new(5);
    world.config.retention.payloads_for = Duration::from_secs(3600);
    world.config.retention.runs_for = Duration::from_secs(7200);
    world.config.inline_payload_bytes = 300;
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[ECHO], &[OVER_SEARCH]).await;
        people(&workspace, 300).await;
        let run = ended(&workspace, "over-search", json!({ "city": "Paris" })).await;
        assert!(!world.rows(Space::Payloads).is_empty() && !world.rows(Space::BlobRefs).is_empty());
        tokio::time::sleep(Duration::from_secs(4000)).await;
        assert_eq!(world.rows(Space::Payloads).len(), 0);
        let shown = workspace.runs().get(&run.summary.id).await.unwrap();
        assert!(matches!(shown.output, Some(Payload::Expired { .. })), "{shown:#?}");
        let page =
            workspace.runs().items(&run.summary.id, ItemFilter::default(), PageRequest::default()).await;
        assert_eq!(page.unwrap_err().code, "payload_expired");
        tokio::time::sleep(Duration::from_secs(4000)).await;
        for space in [Space::Runs, Space::RunEvents, Space::Payloads, Space::BlobRefs] {
            assert_eq!(world.rows(space).len(), 0, "{space:?}");
        }
        engine.close().await;
    });
}

/// Eight timers an item, a hundred items at once: more than one transaction takes.
const WAITING: &str = r#"
name: waiting
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ trigger.input.rows }}"
    concurrency: 100
    do:
      - id: together
        type: parallel
        steps:
          - { id: a, type: delay, for: 1h }
          - { id: b, type: delay, for: 1h }
          - { id: c, type: delay, for: 1h }
          - { id: d, type: delay, for: 1h }
          - { id: e, type: delay, for: 1h }
          - { id: f, type: delay, for: 1h }
          - { id: g, type: delay, for: 1h }
          - { id: h, type: delay, for: 1h }
      - { id: text, type: set, values: { text: "{{ trigger.input.text }}" } }
    output: "{{ text }}"
output: "{{ rows.succeeded }}"
"#;

async fn waiting(world: &World, workspace: &Workspace) -> String {
    let rows: Vec<u32> = (0..100).collect();
    let id = started(workspace, "waiting", json!({ "rows": rows, "text": "x".repeat(20_000) })).await;
    let run = workspace.runs().wait(&id, Duration::from_secs(60)).await.unwrap();
    assert_eq!(run.summary.status, RunStatus::Waiting, "{:?}", run.summary);
    assert_eq!(world.rows(Space::Timers).len(), 800);
    id
}

#[test]
fn more_timers_than_one_transaction_takes_fire_and_are_left_behind_by_no_end() {
    let mut world = World::new(7);
    let id = &runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[WAITING]).await;
        let id = waiting(&world, &workspace).await;
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{:?}", run.summary);
        assert_eq!((value(&run.output), world.rows(Space::Timers).len()), (json!(100), 0));
        let id = waiting(&world, &workspace).await;
        workspace.runs().cancel(&id).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!((run.summary.status, world.rows(Space::Timers).len()), (RunStatus::Cancelled, 0));
        let id = waiting(&world, &workspace).await;
        engine.close().await;
        id
    });
    // One that cannot be read any more is given up, and what it had done cannot be told from what it had not.
    world.store = world.store.reopen();
    let live = world.rows(Space::RunStates).into_iter().next();
    runtime().block_on(async {
        let writes = vec![(live.unwrap().0, Some(vec![1u8, b'{'].into()))];
        let home = WorkspaceId(1).shard();
        world.store.commit(Tx { home, rests_on: Vec::new(), writes, append: Vec::new() }).await.unwrap();
        let (engine, workspace) = world.open().await;
        let run = workspace.runs().wait(id, WAIT).await.unwrap();
        assert_eq!(run.summary.error.unwrap().code, "run_damaged");
        assert_eq!(world.rows(Space::Timers).len(), 0);
        let error = workspace.runs().retry(id, false).await.unwrap_err();
        assert_eq!(error.code, "run_not_retryable");
        engine.close().await;
    });
}

#[test]
fn what_left_the_snapshot_is_not_written_again_and_goes_with_the_run() {
    let text = r#"
name: large
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ trigger.input.rows }}"
    concurrency: 8
    do:
      - { id: big, type: code, action: echo, input: { text: "{{ trigger.input.text }}", n: "{{ item }}" } }
      - { id: slow, type: code, action: slow, input: { ms: 200 } }
    output: "{{ item }}"
"#;
    let mut world = World::new(5);
    world.config.retention.payloads_for = Duration::from_secs(3600);
    world.config.retention.runs_for = Duration::from_secs(7200);
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[ECHO, SLOW], &[text]).await;
        let rows_in: Vec<u32> = (0..400).collect();
        let id = started(&workspace, "large", json!({ "rows": rows_in, "text": "x".repeat(6_000) })).await;
        let mut snapshot = 0;
        loop {
            let run = workspace.runs().wait(&id, Duration::from_millis(100)).await.unwrap();
            if run.summary.status.ended() {
                assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
                break;
            }
            snapshot = snapshot.max(largest(&world, Space::RunStates));
        }
        assert!(world.rows(Space::BlobRefs).len() > 300, "a value of each item was kept apart");
        assert!(snapshot < 16 << 10, "the snapshot grew to {snapshot} bytes");
        tokio::time::sleep(Duration::from_secs(4000)).await;
        assert_eq!((world.rows(Space::Payloads).len(), world.rows(Space::BlobRefs).len()), (0, 0));
        engine.close().await;
    });
}

#[test]
fn items_that_failed_inside_an_item_leave_with_it() {
    let text = r#"
name: nested
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ trigger.input.rows }}"
    tolerate: { failures: 1000 }
    do:
      - id: inner
        type: iterator
        over: [1]
        do:
          - { id: moody, type: code, action: moody, input: { n: "{{ item }}", fails: 9 } }
output: "{{ rows.failed }}"
"#;
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[text]).await;
        let run = ended(&workspace, "nested", json!({ "rows": [1, 2, 3] })).await;
        assert_eq!(value(&run.output), 3, "{run:#?}");
        let last = world.rows(Space::Payloads).pop().unwrap();
        let last = String::from_utf8_lossy(&last.1);
        assert!(last.contains("\"state\"") && !last.contains("rows["), "{last}");
        engine.close().await;
    });
}

#[test]
fn an_item_of_many_commits_shows_its_output() {
    let mut world = World::new(5);
    world.config.burst.steps = 1;
    let steps: Vec<String> = (0..110)
        .map(|n| format!("      - {{ id: s{n}, type: code, action: echo, input: {{ n: {n} }} }}\n"))
        .collect();
    let text = format!(
        "name: many\ntrigger: {{ type: manual }}\nsteps:\n  - id: rows\n    type: iterator\n    over: [1]\n    do:\n{}",
        steps.concat()
    );
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[ECHO], &[&text]).await;
        let run = ended(&workspace, "many", json!({})).await;
        let all = items(&workspace, &run.summary.id, ItemFilter::default(), 5).await;
        assert_eq!(value(&all[0].output), json!({ "n": 109 }));
        engine.close().await;
    });
}

#[test]
fn a_retry_on_a_version_that_goes_over_something_else_is_refused() {
    let text = r#"
name: single
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: [1, 2, 3, 4]
    do:
      - { id: moody, type: code, action: moody, input: { n: "{{ index }}", fails: 1 } }
"#;
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[text]).await;
        let run = ended(&workspace, "single", json!({})).await;
        assert_eq!(run.summary.status, RunStatus::Failed);
        let batches = text.replace("    do:", "    batch: 2\n    do:");
        activate(&workspace, &batches).await;
        let error = workspace.runs().retry(&run.summary.id, true).await.unwrap_err();
        assert_eq!(error.code, "version_does_not_fit");
        assert!(error.message.contains("`rows`"), "{}", error.message);
        engine.close().await;
    });
}
