//! Changes of a record that become one event, and what comes between them and its run.
use super::support::{World, activate, in_world, runtime};
use super::{a_while, create, echo, runs, saved, titles, update};
use serde_json::json;
use std::time::Duration;
use stepwell_engine::Workspace;
use stepwell_store::{Fault, Refused};

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn many_changes_settle_into_one_event() {
    in_world(|world| async move {
        let (engine, workspace) =
            world.set_up(&[], &[&echo("s", "on: [created, updated], settle: 30s")]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome", "jobTitle": "a" })).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(titles(&workspace, "note").await, ["s created - Rome city+jobTitle user"]);
        for (pause, change) in [
            (1, json!({ "city": "Oslo" })),
            (25, json!({ "jobTitle": "b" })),
            (29, json!({ "city": "Lima" })),
        ] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            update(&workspace, "person", &id, change).await;
        }
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(runs(&workspace).await.len(), 1, "not yet");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(titles(&workspace, "note").await[1], "s updated Rome Lima city+jobTitle user");
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(runs(&workspace).await.len(), 2);
        engine.close().await;
    });
}

#[test]
fn what_is_deleted_before_it_settled_is_told_only_to_who_listens_for_that() {
    in_world(|world| async move {
        let quiet = echo("quiet", "on: created, settle: 30s");
        let (engine, workspace) =
            world.set_up(&[], &[&quiet, &echo("both", "on: [created, updated, deleted], settle: 30s")]).await;
        let gone = create(&workspace, "person", json!({ "city": "Rome" })).await;
        workspace.records().delete("person", &gone, None).await.unwrap();
        let kept = create(&workspace, "person", json!({ "city": "Oslo" })).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        let mut told = titles(&workspace, "note").await;
        told.sort();
        assert_eq!(told, ["both created - Oslo city user", "quiet created - Oslo city user"]);
        update(&workspace, "person", &kept, json!({ "city": "Lima" })).await;
        workspace.records().delete("person", &kept, None).await.unwrap();
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(titles(&workspace, "note").await.len(), 3);
        assert!(titles(&workspace, "note").await.contains(&"both deleted Oslo - city user".to_owned()));
        engine.close().await;
    });
}

#[test]
fn a_change_settles_across_a_restart() {
    let world = World::new(1);
    let id = runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&echo("s", "on: updated, settle: 30s")]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        a_while().await;
        engine.close().await;
        id
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        update(&workspace, "person", &id, json!({ "city": "Lima" })).await;
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(runs(&workspace).await.is_empty());
        engine.close().await;
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        a_while().await;
        assert_eq!(titles(&workspace, "note").await, ["s updated Rome Lima city user"]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(runs(&workspace).await.len(), 1);
        engine.close().await;
    });
}

/// What is told is what became of the record, whether somebody listens for each of its changes or not.
#[test]
fn what_was_deleted_and_restored_is_told_as_what_it_came_to() {
    in_world(|world| async move {
        let texts = ["updated", "deleted", "[deleted, restored]", "[updated, deleted]"];
        let names = ["updates", "deletions", "both", "all"];
        let texts: Vec<String> =
            names.iter().zip(texts).map(|(name, on)| echo(name, &format!("on: {on}, settle: 30s"))).collect();
        let (engine, workspace) =
            world.set_up(&[], &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        workspace.records().delete("person", &id, None).await.unwrap();
        workspace.records().restore("person", &id, None).await.unwrap();
        sleep(40).await;
        let mut told = titles(&workspace, "note").await;
        told.sort();
        assert_eq!(told, ["all updated Rome Oslo city user", "updates updated Rome Oslo city user"]);
        engine.close().await;
    });
}

#[test]
fn what_is_as_it_was_when_it_has_settled_is_told_nobody() {
    in_world(|world| async move {
        let all = echo("all", "on: [created, updated, deleted, restored], settle: 30s");
        let city = echo("city", "on: updated, fields: city, settle: 30s");
        let (engine, workspace) = world.set_up(&[], &[&all, &city]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome", "jobTitle": "a" })).await;
        update(&workspace, "person", &id, json!({ "jobTitle": null })).await;
        sleep(40).await;
        let mut told = vec!["all created - Rome city user"];
        assert_eq!(
            titles(&workspace, "note").await,
            told,
            "what is empty in the end is no field of a new record"
        );
        // There and back.
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        update(&workspace, "person", &id, json!({ "city": "Rome" })).await;
        sleep(40).await;
        // Gone and back, and come and gone.
        workspace.records().delete("person", &id, None).await.unwrap();
        workspace.records().restore("person", &id, None).await.unwrap();
        let other = create(&workspace, "person", json!({ "city": "Bonn" })).await;
        workspace.records().delete("person", &other, None).await.unwrap();
        sleep(40).await;
        workspace.records().restore("person", &other, None).await.unwrap();
        workspace.records().delete("person", &other, None).await.unwrap();
        sleep(40).await;
        assert_eq!(titles(&workspace, "note").await, told);
        // There and back, beside something that stays.
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        update(&workspace, "person", &id, json!({ "jobTitle": "b" })).await;
        update(&workspace, "person", &id, json!({ "city": "Rome" })).await;
        sleep(40).await;
        told.push("all updated Rome Rome jobTitle user");
        assert_eq!(titles(&workspace, "note").await, told);
        // Each by itself, once it has settled, is a change.
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        sleep(40).await;
        update(&workspace, "person", &id, json!({ "city": "Rome" })).await;
        sleep(40).await;
        assert_eq!(titles(&workspace, "note").await.len(), told.len() + 4);
        engine.close().await;
    });
}

#[test]
fn what_does_not_count_puts_nothing_off_and_is_seen() {
    in_world(|world| async move {
        let text = echo("s", "on: updated, fields: jobTitle, settle: 30s");
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        update(&workspace, "person", &id, json!({ "city": "Bonn" })).await;
        sleep(1).await;
        update(&workspace, "person", &id, json!({ "jobTitle": "a" })).await;
        sleep(29).await;
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        sleep(2).await;
        assert_eq!(titles(&workspace, "note").await, ["s updated Bonn Oslo city+jobTitle user"]);
        engine.close().await;
    });
}

/// The dispatcher comes late to what has settled, and a change was written meanwhile: that is another event.
#[test]
fn a_change_after_the_record_has_settled_is_another_event() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&echo("s", "on: updated, settle: 30s")]).await;
        let id = create(&workspace, "person", json!({ "city": "Rome" })).await;
        update(&workspace, "person", &id, json!({ "city": "Oslo" })).await;
        sleep(29).await;
        world.store.fail_commit(1, Fault::Refuse(Refused::Unavailable("test".into())));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        update(&workspace, "person", &id, json!({ "city": "Lima" })).await;
        sleep(40).await;
        let told = titles(&workspace, "note").await;
        assert_eq!(told, ["s updated Rome Oslo city user", "s updated Oslo Lima city user"]);
        engine.close().await;
    });
}

async fn one_update(workspace: &Workspace) {
    let id = create(workspace, "person", json!({ "city": "Rome" })).await;
    update(workspace, "person", &id, json!({ "city": "Oslo" })).await;
    a_while().await;
}

#[test]
fn what_waits_belongs_to_one_time_in_service() {
    in_world(|world| async move {
        let text = echo("s", "on: updated, settle: 30s");
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        one_update(&workspace).await;
        workspace.workflows().deactivate("s").await.unwrap();
        workspace.workflows().activate("s", None).await.unwrap();
        sleep(60).await;
        assert!(runs(&workspace).await.is_empty(), "it was out of service in between");
        one_update(&workspace).await;
        workspace.workflows().deactivate("s").await.unwrap();
        workspace.workflows().delete("s").await.unwrap();
        activate(&workspace, &text).await;
        sleep(60).await;
        assert!(runs(&workspace).await.is_empty(), "it is another workflow of the same name");
        engine.close().await;
    });
}

/// A new version takes over what waits, as far as it listens to it.
#[test]
fn what_waits_goes_on_for_a_new_version() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&echo("s", "on: updated, settle: 30s")]).await;
        for (on, told) in [
            ("on: updated, settle: 20s", 1),
            ("on: updated, fields: city", 2),
            ("on: updated, fields: jobTitle, settle: 30s", 2),
        ] {
            saved(&workspace, "s", &echo("s", "on: updated, settle: 30s")).await.unwrap();
            one_update(&workspace).await;
            saved(&workspace, "s", &echo("s", on)).await.unwrap();
            sleep(60).await;
            assert_eq!(runs(&workspace).await.len(), told, "{on}");
        }
        engine.close().await;
    });
}

#[test]
fn many_records_settle_across_a_restart() {
    let world = World::new(1);
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&echo("s", "on: created, settle: 30s")]).await;
        for n in 0..300 {
            create(&workspace, "person", json!({ "city": format!("c{n}") })).await;
        }
        a_while().await;
        engine.close().await;
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        sleep(60).await;
        assert_eq!(runs(&workspace).await.len(), 300);
        engine.close().await;
    });
}
