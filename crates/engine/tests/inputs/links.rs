//! What a link is good for, and for how long.

use super::{WAIT, data, start, support, token, waits, world};
use serde_json::json;
use stepwell_engine::{ErrorKind, Payload, RunStatus};
use stepwell_store::keys::{Space, space_in};
use stepwell_store::{Store, Tx, WorkspaceId};
use support::{all_records, in_world};

/// Every failure of a run is told anew: an answer to the one before is none to this one.
#[test]
fn a_link_of_on_failure_is_for_one_failure() {
    const FAILS: &str = r#"
name: fails
trigger: { type: manual }
steps:
  - { id: refused, type: stop, status: failed }
on_failure:
  - { id: ask, type: send_email, to: boss@example.com, subject: "Write it off?", text: "{{ run.input_links.writeoff }}" }
  - { id: writeoff, type: wait_for_input }
  - { id: note, type: create_record, object: note, record: { title: "Said {{ writeoff.ok }}" } }
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[FAILS]).await;
        let (id, runs) = (start(&workspace, "fails").await.summary.id, workspace.runs());
        let first = token(&workspace).await;
        runs.give_input_by_link(&first, json!({ "ok": 1 })).await.unwrap();
        assert_eq!(runs.wait(&id, WAIT).await.unwrap().summary.status, RunStatus::Failed);
        runs.retry(&id, false).await.unwrap();
        assert_eq!(waits(&workspace, &id).await.summary.status, RunStatus::Waiting);
        let second = token(&workspace).await;
        assert_ne!(first, second);
        for refused in [
            runs.input_form(&first).await.unwrap_err(),
            runs.give_input_by_link(&first, json!({ "ok": 1 })).await.unwrap_err(),
        ] {
            assert_eq!((&*refused.code, refused.kind), ("input_expired", ErrorKind::Gone));
        }
        assert_eq!(runs.input_form(&second).await.unwrap().step, "on_failure.writeoff");
        let taken = runs.give_input_by_link(&second, json!({ "ok": 2 })).await.unwrap();
        assert_eq!((taken.run_id.as_str(), taken.step.as_str()), (id.as_str(), "on_failure.writeoff"));
        runs.wait(&id, WAIT).await.unwrap();
        let notes = all_records(&workspace, "note").await;
        let titles: Vec<_> = notes.iter().map(|note| note["title"].as_str().unwrap()).collect();
        assert!(titles.len() == 2 && titles.contains(&"Said 1") && titles.contains(&"Said 2"), "{titles:?}");
        engine.close().await;
    });
}

/// Strangers ask for as much as they like: nothing of the run is read for them but its head.
#[test]
fn without_a_good_signature_the_run_is_not_read() {
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[super::ORDER]).await;
        let run = start(&workspace, "order").await;
        let token = token(&workspace).await;
        // What the run is, and what it has done, cannot be read any more.
        for (key, _) in world.store.dump() {
            if matches!(space_in(&key), Some(Space::RunStates | Space::RunEvents)) {
                let writes = vec![(key, Some(vec![1u8, b'{'].into()))];
                let home = WorkspaceId(1).shard();
                let tx = Tx { home, rests_on: Vec::new(), writes, append: Vec::new() };
                world.store.commit(tx).await.unwrap();
            }
        }
        let runs = workspace.runs();
        let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, "A".repeat(24));
        for refused in [
            runs.input_form(&forged).await.unwrap_err(),
            runs.give_input_by_link(&forged, json!({ "ok": true })).await.unwrap_err(),
        ] {
            assert_eq!(refused.code, "unknown_link");
        }
        assert_ne!(runs.input_form(&token).await.unwrap_err().code, "unknown_link");
        assert!(runs.give_input(&run.summary.id, data(true)).await.is_err());
        engine.close().await;
    });
}

/// Whoever opens an item's link before the item has come to its step is to come again.
#[test]
fn the_link_of_an_item_says_that_it_is_too_early_until_the_item_is_over() {
    const EACH: &str = r#"
name: each
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: [0]
    do:
      - { id: say, type: send_email, to: a@example.com, subject: "!", text: "{{ run.input_links.give }}" }
      - { id: grace, type: delay, for: 5m }
      - { id: give, type: wait_for_input }
  - { id: after, type: delay, for: 5m }
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[EACH]).await;
        let id = start(&workspace, "each").await.summary.id;
        let token = token(&workspace).await;
        let runs = workspace.runs();
        for early in [
            runs.input_form(&token).await.unwrap_err(),
            runs.give_input_by_link(&token, json!({})).await.unwrap_err(),
        ] {
            assert_eq!((&*early.code, early.kind), ("input_not_awaited", ErrorKind::Conflict));
        }
        while runs.input_form(&token).await.is_err() {
            runs.wait(&id, WAIT / 60).await.unwrap();
        }
        runs.give_input_by_link(&token, json!({ "n": 1 })).await.unwrap();
        let page = || runs.items(&id, Default::default(), Default::default());
        while page().await.unwrap().items.is_empty() {
            runs.wait(&id, WAIT / 3600).await.unwrap();
        }
        // The run is under way, and the item over.
        let late = runs.input_form(&token).await.unwrap_err();
        assert_eq!((&*late.code, late.kind), ("input_expired", ErrorKind::Gone));
        engine.close().await;
    });
}

#[test]
fn a_paused_step_asks_again_by_the_same_link() {
    let pauses = super::ORDER.replace(
        "    on_timeout: { do: [{ id: no_answer, type: set, values: { ok: false } }] }\n",
        "    on_error: pause\n",
    );
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[&pauses]).await;
        let id = start(&workspace, "order").await.summary.id;
        let token = token(&workspace).await;
        let runs = workspace.runs();
        while runs.get(&id).await.unwrap().summary.status != RunStatus::Paused {
            runs.wait(&id, 25 * WAIT).await.unwrap();
        }
        let early = runs.input_form(&token).await.unwrap_err();
        assert_eq!((&*early.code, early.kind), ("input_not_awaited", ErrorKind::Conflict));
        let again = stepwell_engine::ResumeRun {
            action: stepwell_engine::ResumeAction::Retry,
            step: None,
            actions: Default::default(),
            newest: false,
        };
        runs.resume(&id, again).await.unwrap();
        waits(&workspace, &id).await;
        runs.give_input_by_link(&token, json!({ "ok": true })).await.unwrap();
        assert_eq!(runs.wait(&id, WAIT).await.unwrap().summary.status, RunStatus::Completed);
        engine.close().await;
    });
}

#[test]
fn a_retry_on_a_version_with_a_wait_gets_links() {
    const FIRST: &str = "
name: grows
trigger: { type: manual }
steps:
  - { id: before, type: set, values: { n: 1 } }
  - { id: work, type: stop, status: failed }
";
    const SECOND: &str = r#"
name: grows
trigger: { type: manual }
steps:
  - { id: before, type: set, values: { n: 1 } }
  - { id: work, type: stop, status: failed, if: "{{ false }}" }
  - { id: ask, type: send_email, to: boss@example.com, subject: "!", text: "{{ run.input_links.approval }}" }
  - { id: approval, type: wait_for_input }
  - { id: last, type: stop, status: failed, if: "{{ approval.fails }}" }
output: "{{ approval }}"
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[FIRST]).await;
        let id = start(&workspace, "grows").await.summary.id;
        support::activate(&workspace, SECOND).await;
        let runs = workspace.runs();
        runs.retry(&id, true).await.unwrap();
        let run = waits(&workspace, &id).await;
        assert_eq!(run.summary.status, RunStatus::Waiting, "{run:#?}");
        let token = token(&workspace).await;
        runs.give_input_by_link(&token, json!({ "fails": true })).await.unwrap();
        assert_eq!(runs.wait(&id, WAIT).await.unwrap().summary.status, RunStatus::Failed);
        // What is folded from the journal knows them, too.
        assert_eq!(runs.input_form(&token).await.unwrap_err().code, "input_given");
        runs.retry(&id, false).await.unwrap();
        assert_eq!(runs.wait(&id, WAIT).await.unwrap().summary.status, RunStatus::Failed);
        let run = runs.get(&id).await.unwrap();
        assert_eq!(run.steps[3].output, Some(Payload::Value(json!({ "fails": true }))));
        engine.close().await;
    });
}
