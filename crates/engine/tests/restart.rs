//! What survives a crash, a restart, a disk that is full, and the passing of time.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::json;
use std::time::Duration;
use stepwell_engine::{AttemptOutcome, ErrorKind, Payload, RunStatus};
use stepwell_store::keys::{Space, space_in};
use stepwell_store::{Fault, Refused};
use support::{Module, WEB_FORM, World, activate, all_records, lead, post, process, with_key};

const NORMALIZE: Module = Module::new("normalize-lead", "1.2.0", "normalize");
const WAIT: Duration = Duration::from_secs(3600);

const CALLING: &str = r#"
name: calling
trigger: { type: manual }
steps:
  - { id: before, type: create_record, object: task, record: { title: "before" } }
  - { id: call, type: http_request, method: POST, url: "https://api.example.com/", body: { json: { n: 1 } } }
  - { id: after, type: create_record, object: task, record: { title: "after" } }
"#;

#[test]
fn a_call_that_was_out_at_a_crash_is_shown_and_made_again_with_the_same_key() {
    let mut world = World::new(1);
    world.http.behave(0, 10_000);
    let id = process(&mut world, async |_engine, workspace| {
        activate(&workspace, CALLING).await;
        let started = workspace.workflows().run("calling", json!({}), None).await.unwrap();
        started.run_id
    });
    // The process is gone while the request is under way, and so is the next one.
    let id = &id;
    process(&mut world, async |_engine, workspace| {
        let run = workspace.runs().get(id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Running);
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    world.http.behave(0, 0);
    process(&mut world, async |engine, workspace| {
        let run = workspace.runs().wait(id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let attempts = &run.steps[1].attempts;
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome).collect();
        let (interrupted, completed) = (AttemptOutcome::Interrupted, AttemptOutcome::Completed);
        assert_eq!(outcomes, [interrupted, interrupted, completed]);
        assert!(attempts.iter().all(|attempt| attempt.key.is_some() && attempt.key == attempts[0].key));
        assert!(attempts.iter().all(|attempt| attempt.request == attempts[0].request));
        assert_eq!(all_records(&workspace, "task").await.len(), 2, "record effects happen once");
        engine.close().await;
    });
    assert_eq!(world.rows(Space::RunStates).len(), 0);
}

#[test]
fn a_retry_that_waits_survives_a_restart_and_keeps_its_time() {
    let mut world = World::new(1);
    world.sends_mail = true;
    world.mail.behave(100, 0);
    let id = process(&mut world, async |engine, workspace| {
        workspace.actions().put(NORMALIZE.name, NORMALIZE.bytes(), false).await.unwrap();
        activate(&workspace, &WEB_FORM.replace("initial: 1s", "initial: 1h, max: 2h")).await;
        let answer = workspace.hook(post("web-form", lead(1, "ada@example.com"))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let run = workspace.runs().get(&answer.run_id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Waiting, "{run:#?}");
        assert_eq!(engine.stats().runs_running, 0, "a run that waits gives its slot back");
        engine.close().await;
        answer.run_id
    });
    assert_eq!(world.rows(Space::Timers).len(), 1);
    world.mail.behave(0, 0);
    process(&mut world, async |engine, workspace| {
        tokio::time::sleep(Duration::from_secs(3000)).await;
        let run = workspace.runs().get(&id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Waiting);
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        engine.close().await;
    });
    assert_eq!(world.rows(Space::Timers).len(), 0);
}

#[test]
fn a_delay_survives_a_restart_and_keeps_its_time() {
    let text = r#"
name: later
trigger: { type: manual }
steps:
  - { id: made, type: create_record, object: task, record: { title: "soon gone" } }
  - { id: wait, type: delay, for: "{{ trigger.input.hours }}h" }
  - { id: gone, type: delete_record, object: task, record_id: "{{ made.record.id }}", if_version: 1 }
  - { id: again, type: delete_record, object: task, record_id: "{{ made.record.id }}" }
output: { waited: "{{ wait.until }}", first: "{{ gone.outcome }}", second: "{{ again.outcome }}" }
"#;
    let mut world = World::new(1);
    let id = process(&mut world, async |engine, workspace| {
        activate(&workspace, text).await;
        let started = workspace.workflows().run("later", json!({ "hours": 1 }), None).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let run = workspace.runs().get(&started.run_id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Waiting, "{run:#?}");
        assert_eq!(engine.stats().runs_running, 0, "a run that waits gives its slot back");
        assert_eq!(all_records(&workspace, "task").await.len(), 1);
        engine.close().await;
        started.run_id
    });
    assert_eq!(world.rows(Space::Timers).len(), 1);
    process(&mut world, async |engine, workspace| {
        tokio::time::sleep(Duration::from_secs(3000)).await;
        let run = workspace.runs().get(&id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Waiting);
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let Some(Payload::Value(output)) = &run.output else { panic!("{run:#?}") };
        assert_eq!((&output["first"], &output["second"]), (&json!("deleted"), &json!("unchanged")));
        assert!(all_records(&workspace, "task").await.is_empty());
        engine.close().await;
    });
    assert_eq!(world.rows(Space::Timers).len(), 0);
}

#[test]
fn queued_runs_go_on_in_their_order_after_a_restart() {
    let mut world = World::new(1);
    world.config.concurrent_runs = 1;
    let slow = Module::new("slow", "1.0.0", "slow");
    let text = r#"
name: slow
trigger: { type: webhook, path: slow }
steps:
  - { id: slow, type: code, action: slow, input: { ms: 60000, n: "{{ trigger.body.n }}" } }
"#;
    process(&mut world, async |_engine, workspace| {
        workspace.actions().put(slow.name, slow.bytes(), false).await.unwrap();
        activate(&workspace, text).await;
        for n in 0..6 {
            workspace.hook(post("slow", json!({ "n": n }))).await.unwrap();
        }
    });
    world.code.calls.lock().unwrap().clear();
    process(&mut world, async |engine, workspace| {
        tokio::time::sleep(WAIT).await;
        let runs = workspace.runs().list(Default::default(), Default::default()).await.unwrap();
        assert!(runs.items.iter().all(|run| run.status == RunStatus::Completed));
        assert_eq!(runs.items.len(), 6);
        engine.close().await;
    });
    let order: Vec<u64> =
        world.code.calls_of("slow").iter().map(|input| input["n"].as_u64().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_full_disk_refuses_new_runs_and_fails_none_that_were_taken() {
    let mut world = World::new(1);
    world.sends_mail = true;
    process(&mut world, async |_engine, workspace| {
        workspace.actions().put(NORMALIZE.name, NORMALIZE.bytes(), false).await.unwrap();
        activate(&workspace, WEB_FORM).await;
    });
    // Faults belong to what is stored, whichever process opened it.
    let store = world.store.clone();
    process(&mut world, async |engine, workspace| {
        let full = || Fault::Refuse(Refused::Full("no room".into()));
        let live = workspace.hook(post("web-form", lead(1, "ada@example.com"))).await.unwrap();
        let run = workspace.runs().wait(&live.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        // The first commit of a run is refused: its caller is told, and nothing is there.
        store.fail_commit(1, full());
        let error = workspace.hook(post("web-form", lead(2, "bob@example.com"))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::StorageFull, "storage_full"));
        // A later commit of a run is refused twice: it goes on once there is room.
        store.fail_commit(2, full());
        store.fail_commit(3, full());
        let taken = workspace.hook(post("web-form", lead(3, "eve@example.com"))).await.unwrap();
        let run = workspace.runs().wait(&taken.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let runs = workspace.runs().list(Default::default(), Default::default()).await.unwrap();
        assert_eq!(runs.items.len(), 2);
        engine.close().await;
    });
    let sent = world.mail.sent.lock().unwrap();
    assert_eq!(sent.iter().filter(|mail| mail.subject == "Lead 3").count(), 1, "its answer was not lost");
}

#[test]
fn what_is_over_is_removed_in_its_time() {
    let mut world = World::new(1);
    world.config.inline_payload_bytes = 2_000;
    process(&mut world, async |engine, workspace| {
        workspace.actions().put(NORMALIZE.name, NORMALIZE.bytes(), false).await.unwrap();
        activate(&workspace, WEB_FORM).await;
        let mut body = lead(1, "ada@example.com");
        body["message"] = "x".repeat(5_000).into();
        let request = || with_key(post("web-form", body.clone()), "k");
        let first = workspace.hook(request()).await.unwrap();
        let hours = |n: u64| tokio::time::sleep(Duration::from_secs(n * 3600));
        hours(23).await;
        assert_eq!(workspace.hook(request()).await.unwrap().run_id, first.run_id);
        // After a day the key may be used again.
        hours(2).await;
        let second = workspace.hook(request()).await.unwrap();
        assert!(second.first && second.run_id != first.run_id);
        // After two days payloads are gone, and the history says so.
        hours(24).await;
        let run = workspace.runs().get(&first.run_id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        assert!(matches!(run.input, Payload::Expired { .. }), "{run:#?}");
        assert_eq!(run.steps.iter().filter(|step| step.path == "normalize").count(), 1);
        assert!(matches!(run.steps[0].output, Some(Payload::Expired { .. })), "{:#?}", run.steps[0]);
        let kept = workspace.runs().get(&second.run_id).await.unwrap();
        assert!(matches!(kept.input, Payload::Value(_)));
        // After a week the run is gone, and with it everything that named it.
        hours(24 * 6).await;
        let error = workspace.runs().get(&first.run_id).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        hours(24 * 4).await;
        assert!(
            workspace.runs().list(Default::default(), Default::default()).await.unwrap().items.is_empty()
        );
        let expired = workspace.events(Some("1.0")).await.err().map(|error| error.code.into_owned());
        assert_eq!(expired.as_deref(), Some("events_expired"));
        engine.close().await;
    });
    for space in
        [Space::Runs, Space::RunEvents, Space::RunStates, Space::BlobRefs, Space::HookKeys, Space::Mailbox]
    {
        assert_eq!(world.rows(space).len(), 0, "{space:?}");
    }
}

/// Every round of retention that writes is cut after its first commit, until the faults are cleared.
#[test]
fn what_retention_leaves_half_done_is_finished_later_and_nothing_builds_on_it_meanwhile() {
    let mut world = World::new(1);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    (world.config.retention.payloads_for, world.config.retention.runs_for) = (hours(1), hours(2));
    let steps: String = (0..220)
        .map(|n| format!("  - {{ id: s{n}, type: http_request, url: \"https://api.example.com/{n}\" }}\n"))
        .collect();
    let text = format!(
        "name: long\ntrigger: {{ type: manual }}\nsteps:\n{steps}  - {{ id: over, type: stop, status: failed, message: \"no\" }}\n"
    );
    let store = world.store.clone();
    process(&mut world, async |engine, workspace| {
        activate(&workspace, &text).await;
        let run = workspace.workflows().run("long", json!({ "n": 1 }), Some(WAIT)).await.unwrap();
        assert_eq!(run.status, RunStatus::Failed);
        let journal = || {
            store
                .dump()
                .into_iter()
                .filter(|(key, _)| space_in(key) == Some(Space::RunEvents))
                .collect::<Vec<_>>()
        };
        let expired = || journal().iter().filter(|(_, row)| contains(row, b"\"p\":true")).count();
        let all = journal().len();
        assert!(all > 200, "{all} rows take more than one commit");
        let refused = Fault::Refuse(Refused::Unavailable("not now".into()));

        store.fail_commit(2, refused.clone());
        while expired() == 0 {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        assert!(expired() < all, "half of it is done");
        let error = workspace.runs().retry(&run.run_id, false).await.unwrap_err();
        assert_eq!(error.code, "payload_expired");
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(expired(), all, "a later round does the rest");

        store.fail_commit(2, refused);
        while journal().len() == all {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        assert!(!journal().is_empty());
        assert!(workspace.runs().retry(&run.run_id, false).await.is_err());
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(journal().is_empty());
        assert!(workspace.runs().get(&run.run_id).await.is_err());
        engine.close().await;
    });
}

fn contains(row: &[u8], text: &[u8]) -> bool {
    row.windows(text.len()).any(|window| window == text)
}
