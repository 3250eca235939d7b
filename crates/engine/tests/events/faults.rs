//! Record events, whatever happens to the process, to its clock and to what is stored.
use super::support::{World, all_records, in_world, runtime};
use super::{WON, a_while, create, echo, fields, runs, saved, titles, update};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use stepwell_engine::{EngineError, RunStatus};
use stepwell_store::{Fault, Key, Txn, WorkspaceId, keys};

/// Whatever commit a process dies at, before it or after it: one run an event.
#[test]
fn each_event_starts_each_run_once_wherever_the_process_dies() {
    for (n, fault) in (1..24).flat_map(|n| [(n, Fault::CrashBefore), (n, Fault::CrashAfter)]) {
        let mut world = World::new(n);
        runtime().block_on(async {
            let texts = [echo("a", "on: [created, updated]"), echo("b", "on: updated, settle: 3s")];
            let (engine, _) = world.set_up(&[], &[&texts[0], &texts[1]]).await;
            engine.close().await;
        });
        world.store.fail_commit(n, fault.clone());
        let mut written = 0;
        runtime().block_on(async {
            let Ok(engine) = stepwell_engine::Engine::open(world.config.clone(), world.ports()).await else {
                return;
            };
            let workspace = engine.workspace("default").await.unwrap();
            let died = async {
                while !world.store.crashed() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let work = async {
                for city in ["Rome", "Oslo"] {
                    let city = fields(json!({ "city": city }));
                    let person = workspace.records().create("person", city).await?.record;
                    written += 1;
                    let id = person["id"].as_str().unwrap();
                    workspace.records().update("person", id, fields(json!({ "city": "Lima" })), None).await?;
                    written += 1;
                    tokio::time::sleep(Duration::from_secs(4)).await;
                }
                Ok::<_, EngineError>(())
            };
            tokio::select! {
                biased;
                () = died => {}
                _ = work => {}
            }
        });
        world.store.clear_faults();
        world.store = world.store.reopen();
        runtime().block_on(async {
            let (engine, workspace) = world.open().await;
            a_while().await;
            let people = all_records(&workspace, "person").await;
            let updated = people.iter().filter(|person| person["version"] == 2).count();
            assert!(people.len() + updated >= written, "what was acknowledged is there");
            let notes = titles(&workspace, "note").await;
            let of = |name: &str| notes.iter().filter(|title| title.starts_with(name)).count();
            let what = format!("commit {n}, {fault:?}: {notes:#?}");
            assert_eq!(
                (of("a created"), of("a updated"), of("b updated")),
                (people.len(), updated, updated),
                "{what}"
            );
            engine.close().await;
        });
    }
}

/// The place in the log is not kept for what nobody listens to; retention takes what was seen, and nothing is lost.
#[test]
fn a_log_that_was_shortened_meanwhile_is_followed_from_where_it_is() {
    let mut world = World::new(1);
    world.config.retention.every = Duration::from_secs(1);
    world.config.retention.runs_for = Duration::from_secs(1);
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[WON]).await;
        for _ in 0..300 {
            create(&workspace, "person", json!({})).await;
        }
        a_while().await;
        assert!(workspace.events(Some("200")).await.is_err(), "these rows are gone");
        engine.close().await;
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        create(&workspace, "opportunity", json!({ "name": "A", "stage": "CLOSED_WON" })).await;
        a_while().await;
        assert_eq!(engine.stats().event_runs, 1);
        engine.close().await;
    });
}

/// Writes over a row that one finds.
async fn damage(world: &World, which: impl Fn(&Key) -> bool) {
    let (key, _) = world.store.dump().into_iter().find(|(key, _)| which(key)).unwrap();
    let mut txn = Txn::begin(Arc::new(world.store.clone()), WorkspaceId(1).shard());
    txn.put(key, b"\x01{".to_vec());
    txn.commit().await.unwrap();
}

/// A row that cannot be read is its own record's trouble alone.
#[test]
fn a_damaged_change_that_settles_stops_no_other() {
    let world = World::new(1);
    let first = runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&echo("s", "on: updated, settle: 30s")]).await;
        let mut first = None;
        for city in ["Oslo", "Lima"] {
            let id = create(&workspace, "person", json!({})).await;
            update(&workspace, "person", &id, json!({ "city": city })).await;
            first.get_or_insert(id);
        }
        a_while().await;
        engine.close().await;
        let first = first.unwrap();
        let record = uuid::Uuid::parse_str(&first).unwrap();
        let mut end = record.as_bytes().to_vec();
        end.push(0);
        damage(&world, |key| key[0] == keys::Space::Dispatch as u8 && key.ends_with(&end)).await;
        first
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(titles(&workspace, "note").await, ["s updated - Lima city user"]);
        update(&workspace, "person", &first, json!({ "city": "Bonn" })).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(titles(&workspace, "note").await[1..], ["s updated Oslo Bonn city user"]);
        engine.close().await;
    });
}

/// Nothing is told twice then; what comes after it is told.
#[test]
fn a_damaged_place_in_the_log_stops_nothing_that_comes() {
    let world = World::new(1);
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&echo("s", "on: created")]).await;
        create(&workspace, "person", json!({ "city": "Oslo" })).await;
        a_while().await;
        engine.close().await;
        damage(&world, |key| key[0] == keys::Space::Dispatch as u8).await;
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        a_while().await;
        create(&workspace, "person", json!({ "city": "Lima" })).await;
        a_while().await;
        assert_eq!(
            titles(&workspace, "note").await,
            ["s created - Oslo city user", "s created - Lima city user"]
        );
        engine.close().await;
    });
}

/// A defect of ours is one run's trouble: it fails, and the next event has its run.
#[test]
fn a_panic_stops_no_other_event() {
    in_world(|world| async move {
        let texts = [echo("now", "on: updated"), echo("later", "on: updated, settle: 30s")];
        let (engine, workspace) = world.set_up(&[], &[&texts[0], &texts[1]]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        a_while().await;
        for city in ["Oslo", "Lima", "Bonn"] {
            // Of the one it is the first run, of the other the second.
            if city == "Oslo" {
                // The write itself takes some first.
                world.rng.panic_at(2);
            }
            update(&workspace, "person", &id, json!({ "city": city })).await;
            a_while().await;
            if city == "Lima" {
                tokio::time::sleep(Duration::from_secs(20)).await;
                world.rng.panic_at(1);
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let told = titles(&workspace, "note").await;
        let wanted = [
            "now updated Oslo Lima city user",
            "now updated Lima Bonn city user",
            "later updated Lima Bonn city user",
        ];
        assert_eq!(told, wanted);
        let failed = &runs(&workspace).await[0];
        assert_eq!((failed.workflow.as_str(), failed.status), ("now", RunStatus::Failed));
        assert_eq!(failed.error.as_ref().unwrap().code, "internal");
        engine.close().await;
    });
}

/// More decisions than one batch makes, of events of one commit, and hardly one that starts a run.
#[test]
fn many_events_of_one_commit_are_held_against_many_workflows() {
    let world = World::new(1);
    let writer = r#"
name: writer
trigger: { type: manual }
steps:
  - id: each
    type: iterator
    over: "{{ range(60) }}"
    do:
      - { id: one, type: create_record, object: person, record: { city: "c{{ item }}" } }
"#;
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[writer]).await;
        for n in 0..200 {
            let text = echo(&format!("w{n:03}"), "on: created, when: { field: after.city, is: nowhere }");
            saved(&workspace, &format!("w{n:03}"), &text).await.unwrap();
        }
        let last = echo("x", "on: created, when: { field: after.city, is_not: c7 }");
        saved(&workspace, "x", &last).await.unwrap();
        let run =
            workspace.workflows().run("writer", json!({}), Some(Duration::from_secs(60))).await.unwrap();
        assert_eq!(run.status, RunStatus::Completed);
        a_while().await;
        assert_eq!(engine.stats().event_runs, 59);
        engine.close().await;
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        a_while().await;
        assert_eq!(engine.stats().event_runs, 0);
        create(&workspace, "person", json!({})).await;
        a_while().await;
        assert_eq!(engine.stats().event_runs, 1);
        engine.close().await;
    });
}

/// What is decided again after a restart is decided by the time of the event.
#[test]
fn an_event_is_held_against_the_clock_of_its_own_time() {
    let world = World::new(1);
    let text = echo("s", "on: created, when: \"{{ now() > '2026-09-22' }}\"");
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        create(&workspace, "person", json!({ "city": "Oslo" })).await;
        a_while().await;
        engine.close().await;
    });
    world.time.fetch_add(3 * 24 * 3_600_000, SeqCst);
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        a_while().await;
        create(&workspace, "person", json!({ "city": "Lima" })).await;
        a_while().await;
        assert_eq!(titles(&workspace, "note").await, ["s created - Lima city user"]);
        assert_eq!(runs(&workspace).await.len(), 1);
        engine.close().await;
    });
}
