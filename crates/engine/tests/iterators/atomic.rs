//! Atomic iterators: what their items write is there as a whole, or not at all.
use super::support::{activate, all_records, in_world};
use super::{MOODY, SLOW, ended, items, started, value};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use stepwell_engine::{Engine, Ports};
use stepwell_engine::{ItemFilter, RunStatus, StepStatus};
use stepwell_store::keys::Space;
use stepwell_store::{Fault, Refused, Want, Watch, Watched};

const TOGETHER: &str = r#"
name: together
trigger: { type: manual }
steps:
  - { id: before, type: create_record, object: note, record: { title: before } }
  - id: beside
    type: parallel
    steps:
      - id: rows
        type: iterator
        over: "{{ trigger.input.rows }}"
        atomic: true
        concurrency: 3
        do:
          - { id: moody, type: code, action: moody, input: { n: "{{ item.n }}", fails: "{{ item.fails }}" } }
          - { id: task, type: create_record, object: task, record: { title: "Row {{ item.n }}" } }
        output: "{{ task.record.title }}"
      - { id: other, type: create_record, object: note, record: { title: beside } }
  - { id: after, type: create_record, object: note, record: { title: "{{ rows.succeeded }} of {{ rows.count }}" } }
output: "{{ rows }}"
"#;

fn input(rows: u64, failing: Option<u64>) -> Value {
    let row = |n| json!({ "n": n, "fails": u64::from(failing == Some(n)) });
    json!({ "rows": (0..rows).map(row).collect::<Vec<_>>() })
}

/// Beside it other steps write, and a failure of one item leaves what they wrote and nothing else. A retry begins anew.
#[test]
fn when_one_item_fails_what_the_others_wrote_is_undone() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[TOGETHER]).await;
        let run = ended(&workspace, "together", input(8, Some(4))).await;
        assert_eq!(run.summary.status, RunStatus::Failed, "{run:#?}");
        let error = run.summary.error.clone().unwrap();
        assert_eq!((error.code.as_str(), error.step.as_deref()), ("busy", Some("beside.rows[4].moody")));
        let rows = run.steps.iter().find(|step| step.id == "rows").unwrap();
        let counts = &rows.error.as_ref().unwrap().details.as_ref().unwrap()["items"];
        assert_eq!(
            (&counts["succeeded"], &counts["failed"], &counts["count"]),
            (&json!(0), &json!(1), &json!(8))
        );
        assert!(counts["undone"].as_u64().unwrap() >= 4, "{counts}");
        assert_eq!(all_records(&workspace, "task").await, [] as [Value; 0]);
        let notes = all_records(&workspace, "note").await;
        assert_eq!(notes.len(), 2, "what stands around it is kept: {notes:#?}");
        let all = items(&workspace, &run.summary.id, ItemFilter::default(), 50).await;
        assert!(all.len() >= 5, "{all:#?}");
        for item in &all {
            let (status, code) = match item.index {
                4 => (StepStatus::Failed, "busy"),
                _ => (StepStatus::Cancelled, "undone"),
            };
            assert_eq!(
                (item.status, item.error.as_ref().unwrap().code.as_str()),
                (status, code),
                "{item:#?}"
            );
        }
        // The module's mood is better now.
        workspace.runs().retry(&run.summary.id, false).await.unwrap();
        let run = workspace.runs().wait(&run.summary.id, Duration::from_secs(60)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(value(&run.output)["succeeded"], 8);
        assert_eq!(all_records(&workspace, "task").await.len(), 8);
        assert_eq!(all_records(&workspace, "note").await.len(), 3);
        engine.close().await;
    });
}

#[test]
fn all_items_are_one_commit_whatever_crashes() {
    for crash_at in 1..8 {
        in_world(async |mut world| {
            let (engine, workspace) = world.set_up(&[MOODY], &[TOGETHER]).await;
            world.store.fail_commit(
                crash_at,
                if crash_at % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter },
            );
            let started = workspace.workflows().run("together", input(90, None), None).await;
            if let Ok(started) = &started {
                let _ = workspace.runs().wait(&started.run_id, Duration::from_secs(5)).await;
            }
            drop((engine, workspace));
            world.store.clear_faults();
            world.store = world.store.reopen();
            world.code.restart();
            let written = world.rows(Space::Records).len();
            let (engine, workspace) = world.open().await;
            let tasks = all_records(&workspace, "task").await.len();
            assert!(tasks == 0 || tasks == 90, "{tasks} tasks, {written} rows after the crash");
            if let Ok(started) = started {
                let run = workspace.runs().wait(&started.run_id, Duration::from_secs(60)).await.unwrap();
                assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
                assert_eq!(all_records(&workspace, "task").await.len(), 90);
            }
            engine.close().await;
        });
    }
}

const SLOWLY: &str = r#"
name: slowly
trigger: { type: manual }
steps:
  - id: beside
    type: parallel
    steps:
      - id: rows
        type: iterator
        over: [1, 2, 3]
        atomic: true
        do:
          - { id: slow, type: code, action: slow, input: { ms: 20000, n: "{{ item }}" } }
          - { id: task, type: create_record, object: task, record: { title: "Item {{ item }}" } }
      - { id: pause, type: delay, for: 5s }
"#;

/// What else a run has to hear of comes after it, and no code is run again for that.
#[test]
fn a_cancel_does_not_wait_for_the_items_and_a_timer_does() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[SLOW], &[SLOWLY]).await;
        let id = started(&workspace, "slowly", json!({})).await;
        let run = workspace.runs().wait(&id, Duration::from_secs(600)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(all_records(&workspace, "task").await.len(), 3);
        let calls = world.code.calls.lock().unwrap().len();
        assert_eq!(calls, 3, "each item's code ran once");

        let id = started(&workspace, "slowly", json!({})).await;
        tokio::time::sleep(Duration::from_secs(25)).await;
        workspace.runs().cancel(&id).await.unwrap();
        let run = workspace.runs().wait(&id, Duration::from_secs(2)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Cancelled, "{run:#?}");
        assert_eq!(all_records(&workspace, "task").await.len(), 3, "nothing of it is there");
        engine.close().await;
    });
}

#[test]
fn more_than_a_transaction_takes_is_refused_as_a_whole() {
    in_world(async |world| {
        let handled = TOGETHER
            .replace("name: together", "name: handled")
            .replace("        atomic: true\n", "        atomic: true\n        on_error: continue\n")
            .replace("{{ rows.succeeded }} of {{ rows.count }}", "went on");
        let handled = handled.replace("output: \"{{ rows }}\"\n", "output: \"{{ steps.rows.error }}\"\n");
        let (engine, workspace) = world.set_up(&[MOODY], &[TOGETHER, &handled]).await;
        let run = ended(&workspace, "together", input(1_000, None)).await;
        assert_eq!(run.summary.status, RunStatus::Failed, "{run:#?}");
        let error = run.summary.error.unwrap();
        assert_eq!(error.code, "too_big");
        assert!(error.message.contains("`beside.rows` is atomic"), "{}", error.message);
        assert_eq!(all_records(&workspace, "task").await, [] as [Value; 0]);
        let run = ended(&workspace, "handled", input(1_000, None)).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(value(&run.output)["code"], "too_big");
        assert_eq!(all_records(&workspace, "task").await, [] as [Value; 0]);
        engine.close().await;
    });
}

/// What stands in its `on_error` comes after it, and may do what nothing in it may.
#[test]
fn what_deals_with_its_failure_is_not_part_of_it() {
    let handled = TOGETHER.replace("name: together", "name: handled").replace(
        "        concurrency: 3\n",
        "        concurrency: 3\n        on_error: { do: [{ id: noted, type: create_record, object: note, record: { title: '{{ error.code }}' } }, { id: rest, type: delay, for: 1m }] }\n",
    );
    let handled = handled
        .replace("{{ rows.succeeded }} of {{ rows.count }}", "went on")
        .replace("output: \"{{ rows }}\"\n", "");
    let plain = TOGETHER.replace("        atomic: true\n", "");
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[&handled, TOGETHER]).await;
        let test = workspace.workflows().test("handled", None, input(5, Some(2))).await.unwrap();
        assert_eq!(test.status, RunStatus::Completed, "{test:#?}");
        let run = ended(&workspace, "handled", input(6, Some(3))).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(all_records(&workspace, "task").await, [] as [Value; 0]);
        let notes = all_records(&workspace, "note").await;
        let titles: std::collections::BTreeSet<&str> =
            notes.iter().filter_map(|note| note["title"].as_str()).collect();
        assert_eq!(titles, ["before", "beside", "busy", "went on"].into());
        // A version that writes its items one by one cannot go on where nothing was written.
        let run = ended(&workspace, "together", input(7, Some(4))).await;
        assert_eq!(run.summary.status, RunStatus::Failed);
        super::activate(&workspace, &plain).await;
        let refused = workspace.runs().retry(&run.summary.id, true).await.unwrap_err();
        assert!(refused.message.contains("beside.rows"), "{refused:?}");
        engine.close().await;
    });
}

/// Over a search, and as a test of a draft.
#[test]
fn records_that_are_found_are_changed_together() {
    const RAISE: &str = r#"
name: raise
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    search: { object: task }
    atomic: true
    batch: 2
    on_error: continue
    do:
      - { id: moody, type: code, action: moody, input: { n: "{{ trigger.input.n }}", fails: "{{ trigger.input.fails if index == 2 else 0 }}" } }
      - { id: one, type: update_record, object: task, record_id: "{{ item[0].id }}", record: { body: raised } }
  - { id: left, type: search_records, object: task, filter: { field: body, is: raised } }
output: "{{ left.total }}"
"#;
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[MOODY], &[TOGETHER, RAISE]).await;
        ended(&workspace, "together", input(10, None)).await;
        let test = workspace.workflows().test("raise", None, json!({ "n": 1, "fails": 1 })).await.unwrap();
        assert_eq!(test.output, Some(json!(0)), "{test:#?}");
        let run = ended(&workspace, "raise", json!({ "n": 2, "fails": 1 })).await;
        assert_eq!(value(&run.output), json!(0), "{run:#?}");
        let run = ended(&workspace, "raise", json!({ "n": 3, "fails": 0 })).await;
        assert_eq!(value(&run.output), json!(5), "{run:#?}");
        engine.close().await;
    });
}

/// Reads take so many milliseconds of the world's time.
struct Slow(AtomicU64);

#[async_trait]
impl Watch for Slow {
    async fn before(&self, _wants: &[Want]) -> Result<(), Refused> {
        let ms = self.0.load(SeqCst);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Ok(())
    }
}

/// Reads that take longer than the store remembers writes would never be taken; the time that code takes is none of it.
#[test]
fn what_its_items_read_may_take_as_long_as_one_commit_may() {
    const READS: &str = r#"
name: reads
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ trigger.input.rows }}"
    atomic: true
    do:
      - { id: wait, type: code, action: slow, input: { ms: "{{ item }}" } }
      - { id: find, type: search_records, object: company, filter: { field: name, is: "c{{ index }}" } }
      - { id: task, type: create_record, object: task, record: { title: "Row {{ index }}" } }
output: "{{ rows.succeeded }}"
"#;
    in_world(async |world| {
        let slow = Arc::new(Watched::new(world.store.clone(), Slow(AtomicU64::new(0))));
        let ports = Ports { store: slow.clone(), ..world.ports() };
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        workspace.actions().put(SLOW.name, SLOW.bytes(), false).await.unwrap();
        activate(&workspace, READS).await;
        // A minute of code, and reads that take next to nothing.
        let run = ended(&workspace, "reads", json!({ "rows": vec![6_000; 10] })).await;
        assert_eq!(value(&run.output), json!(10), "{run:#?}");
        // Ten reads at least, of a second each.
        slow.watch.0.store(1_000, SeqCst);
        let run = ended(&workspace, "reads", json!({ "rows": vec![0; 10] })).await;
        slow.watch.0.store(0, SeqCst);
        let error = run.summary.error.clone().unwrap();
        assert_eq!(error.code, "too_big", "{error:?}");
        assert!(error.message.contains("takes longer than one commit may (5 s)"), "{error:?}");
        assert_eq!(all_records(&workspace, "task").await.len(), 10, "nothing of it is there");
        engine.close().await;
    });
}
