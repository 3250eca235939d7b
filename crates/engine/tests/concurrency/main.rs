//! Runs that count together (`concurrency`): in order, so many at once, nothing held while they wait, whatever crashes;
//! and workflows that take turns at the workspace's slots.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod damage;
mod ends;
#[path = "../support/mod.rs"]
mod support;
mod turns;

use serde_json::{Value, json};
use std::time::Duration;
use stepwell_engine::{
    Awaited, Engine, HookReply, PageRequest, Payload, RunDetail, RunFilter, RunStatus, TextFormat, Workspace,
};
use stepwell_store::Fault;
use stepwell_store::keys::Space;
use support::{Module, World, activate, all_records, in_world, post, runtime};

const WAIT: Duration = Duration::from_secs(24 * 3600);

fn flow(concurrency: &str) -> String {
    format!(
        r#"
name: sync
trigger: {{ type: webhook, path: sync }}
concurrency: {concurrency}
steps:
  - {{ id: begin, type: create_record, object: note, record: {{ title: "begin {{{{ trigger.body.n }}}}" }} }}
  - {{ id: wait, type: delay, for: 10s }}
  - {{ id: end, type: create_record, object: note, record: {{ title: "end {{{{ trigger.body.n }}}}" }} }}
"#
    )
}

async fn send(workspace: &Workspace, body: Value) -> String {
    workspace.hook(post("sync", body)).await.unwrap().run_id
}

async fn ended(workspace: &Workspace, runs: &[String]) -> Vec<RunDetail> {
    let mut all = Vec::new();
    for run in runs {
        all.push(workspace.runs().wait(run, WAIT).await.unwrap());
    }
    all
}

async fn status(workspace: &Workspace, run: &str) -> RunStatus {
    workspace.runs().get(run).await.unwrap().summary.status
}

/// The titles of all notes, in the order of the commits that made them.
async fn titles(workspace: &Workspace) -> Vec<String> {
    use futures::StreamExt;
    let mut events = workspace.events(None).await.unwrap();
    let mut titles = Vec::new();
    // Nothing new for a second means that all was told.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        let event = serde_json::to_value(event.unwrap()).unwrap();
        if event["event"]["object"] == "note" {
            titles.push(event["event"]["record"]["title"].as_str().unwrap().to_owned());
        }
    }
    titles
}

fn code(run: &RunDetail) -> &str {
    run.summary.error.as_ref().map_or("", |error| &error.code)
}

fn places(world: &World) -> usize {
    world.rows(Space::Places).len()
}

/// Nobody is driven, and nobody waits for a slot.
fn is_idle(engine: &Engine) -> bool {
    let stats = engine.stats();
    stats.runs_running + stats.runs_queued == 0
}

#[test]
fn runs_of_one_key_go_in_order_and_those_of_another_beside_them() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ key: 'k{{ trigger.body.key }}' }")]).await;
        let mut runs = Vec::new();
        for n in 0..6 {
            runs.push(send(&workspace, json!({ "n": n, "key": n % 2 })).await);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(titles(&workspace).await, ["begin 0", "begin 1"]);
        assert!(is_idle(&engine), "who waits holds no slot, and stands in no queue for one");
        let waits = workspace.runs().get(&runs[2]).await.unwrap().summary;
        let waits_for = waits.waits_for.unwrap();
        assert_eq!((waits.status, waits_for.what), (RunStatus::Queued, Awaited::Concurrency));
        assert_eq!((waits_for.key.as_deref(), &waits_for.runs[..]), (Some("k0"), &runs[..1]));
        let listed = workspace.runs().list(RunFilter::default(), PageRequest::default()).await.unwrap().items;
        let waiting = listed.iter().filter(|run| run.waits_for.is_some()).count();
        assert_eq!(waiting, 4);
        for run in ended(&workspace, &runs).await {
            assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
            assert_eq!(run.summary.waits_for, None);
        }
        let titles = titles(&workspace).await;
        for parity in 0..2 {
            let own = titles.iter().filter(|t| t.chars().last().unwrap().to_digit(10).unwrap() % 2 == parity);
            let wanted =
                (0..3).map(|n| 2 * n + parity).flat_map(|n| [format!("begin {n}"), format!("end {n}")]);
            assert_eq!(own.cloned().collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        }
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn so_many_at_once_as_the_limit_says() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ limit: 3 }")]).await;
        let mut runs = Vec::new();
        for n in 0..9 {
            runs.push(send(&workspace, json!({ "n": n })).await);
        }
        for round in 1..=3 {
            tokio::time::sleep(Duration::from_secs(if round == 1 { 5 } else { 10 })).await;
            let mut waiting = 0;
            for run in &runs {
                waiting += usize::from(status(&workspace, run).await == RunStatus::Waiting);
            }
            assert_eq!(waiting, 3, "in round {round}");
        }
        let begins: Vec<String> =
            titles(&workspace).await.into_iter().filter(|title| title.starts_with("begin")).collect();
        assert_eq!(begins.len(), 9);
        ended(&workspace, &runs).await;
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_run_that_finds_its_place_free_is_one_commit() {
    const FLOW: &str = r#"
name: sync
trigger: { type: webhook, path: sync }
concurrency: { key: "{{ trigger.body.key }}" }
steps:
  - { id: note, type: create_record, object: note, record: { title: "n {{ trigger.body.n }}" } }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[FLOW]).await;
        let before = engine.stats();
        let run = send(&workspace, json!({ "n": 1, "key": "ada" })).await;
        assert_eq!(ended(&workspace, &[run]).await[0].summary.status, RunStatus::Completed);
        assert_eq!(engine.stats().commits - before.commits, 1);
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn many_of_one_key_at_the_same_instant_make_no_two_at_once() {
    const FLOW: &str = r#"
name: sync
trigger: { type: webhook, path: sync }
concurrency: { key: one }
steps:
  - { id: slow, type: code, action: slow, input: { ms: 30, n: "{{ trigger.body.n }}" } }
  - { id: call, type: http_request, url: "https://example.com/{{ trigger.body.n }}" }
  - { id: note, type: create_record, object: note, record: { title: "n {{ trigger.body.n }}" } }
"#;
    in_world(|mut world| async move {
        world.store = world.store.with_yields();
        let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[FLOW]).await;
        let sent = (0..20).map(|n| {
            let workspace = workspace.clone();
            tokio::spawn(async move { send(&workspace, json!({ "n": n })).await })
        });
        let mut runs = Vec::new();
        for run in futures::future::join_all(sent).await {
            runs.push(run.unwrap());
        }
        for run in ended(&workspace, &runs).await {
            assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        }
        assert_eq!(all_records(&workspace, "note").await.len(), 20);
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn skip_keeps_a_cancelled_run_that_says_why() {
    // Nothing but values: what is not to run would be done by the fold of its journal alone.
    const PURE: &str = r#"
name: pure
trigger: { type: webhook, path: pure, respond: result }
concurrency: { when_full: skip }
steps:
  - { id: first, type: set, values: { x: 1 } }
  - { id: hold, type: delay, for: 10s, if: "{{ trigger.body.holds | default(false) }}" }
output: done
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ when_full: skip }"), PURE]).await;
        let first = send(&workspace, json!({ "n": 1 })).await;
        let second = send(&workspace, json!({ "n": 2 })).await;
        let run = workspace.runs().get(&second).await.unwrap();
        assert_eq!((run.summary.status, code(&run)), (RunStatus::Cancelled, "concurrency_full"));
        let Payload::Value(input) = &run.input else { panic!("{run:#?}") };
        assert_eq!((&input["body"]["n"], run.steps.len()), (&json!(2), 0), "what came is kept, nothing ran");
        assert_eq!(status(&workspace, &first).await, RunStatus::Waiting);
        ended(&workspace, &[first]).await;
        let third = send(&workspace, json!({ "n": 3 })).await;
        assert_eq!(ended(&workspace, &[third]).await[0].summary.status, RunStatus::Completed);
        assert_eq!(titles(&workspace).await, ["begin 1", "end 1", "begin 3", "end 3"]);

        let holds = workspace.clone();
        let holds = tokio::spawn(async move { holds.hook(post("pure", json!({ "holds": true }))).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answer = workspace.hook(post("pure", json!({}))).await.unwrap();
        let HookReply::Cancelled(Some(why)) = &answer.reply else { panic!("{answer:?}") };
        assert_eq!(why.code, "concurrency_full");
        let run = workspace.runs().get(&answer.run_id).await.unwrap();
        assert_eq!((run.steps.len(), run.output), (0, None));
        let done = holds.await.unwrap().unwrap();
        assert!(matches!(done.reply, HookReply::Result { .. }), "{done:?}");
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_repeat_of_what_was_skipped_is_told_the_same() {
    const FLOW: &str = r#"
name: sync
trigger: { type: webhook, path: sync, respond: result, respond_within: 1s }
concurrency: { when_full: skip }
steps:
  - { id: hold, type: delay, for: 10s }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[FLOW]).await;
        workspace.hook(post("sync", json!({}))).await.unwrap();
        let request = || support::with_key(post("sync", json!({ "n": 1 })), "k-1");
        let first = workspace.hook(request()).await.unwrap();
        let again = workspace.hook(request()).await.unwrap();
        assert_eq!((first.first, again.first, &first.run_id), (true, false, &again.run_id));
        for answer in [first, again] {
            let HookReply::Cancelled(Some(why)) = &answer.reply else { panic!("{answer:?}") };
            assert_eq!(why.code, "concurrency_full");
        }
        engine.close().await;
    });
}

#[test]
fn replace_lets_the_newest_run_when_the_others_have_ended() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ limit: 2, when_full: replace }")]).await;
        let mut runs = Vec::new();
        for n in 0..6 {
            runs.push(send(&workspace, json!({ "n": n })).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all = ended(&workspace, &runs).await;
        let of = |status: RunStatus| all.iter().filter(|run| run.summary.status == status).count();
        assert_eq!((of(RunStatus::Completed), of(RunStatus::Cancelled)), (2, 4), "{all:#?}");
        for run in &all[..4] {
            assert_eq!((run.summary.status, code(run)), (RunStatus::Cancelled, "concurrency_replaced"));
        }
        assert_eq!(titles(&workspace).await.iter().filter(|title| title.starts_with("end")).count(), 2);
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

/// All of them at once: those in line are replaced too, each by one that came later.
#[test]
fn of_a_burst_the_last_one_runs() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 2;
        let (engine, workspace) = world.set_up(&[], &[&flow("{ when_full: replace }")]).await;
        let mut runs = Vec::new();
        for n in 0..50 {
            runs.push(send(&workspace, json!({ "n": n })).await);
        }
        let all = ended(&workspace, &runs).await;
        let completed: Vec<usize> =
            (0..50).filter(|n| all[*n].summary.status == RunStatus::Completed).collect();
        assert_eq!(completed, [49]);
        assert!(all[..49].iter().all(|run| code(run) == "concurrency_replaced"));
        assert_eq!(titles(&workspace).await.last().unwrap(), "end 49");
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn runs_of_events_and_of_schedules_stand_in_line_too() {
    const SEEN: &str = r#"
name: seen
trigger: { type: record_event, object: task, on: created }
concurrency: { key: "{{ trigger.after.title }}" }
steps:
  - { id: wait, type: delay, for: 10s }
  - { id: note, type: create_record, object: note, record: { title: "{{ trigger.after.title }} {{ trigger.record_id }}" } }
"#;
    const TICKING: &str = r#"
name: ticking
trigger: { type: schedule, every: 10s }
concurrency: { when_full: skip }
steps:
  - { id: wait, type: delay, for: 25s }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[SEEN, TICKING]).await;
        let mut wanted = Vec::new();
        for _ in 0..4 {
            let fields = json!({ "title": "one" }).as_object().unwrap().clone();
            let written = workspace.records().create("task", fields).await.unwrap();
            wanted.push(format!("one {}", written.record["id"].as_str().unwrap()));
        }
        tokio::time::sleep(Duration::from_secs(65)).await;
        assert_eq!(titles(&workspace).await, wanted, "one after the other, in the order of the events");
        let filter = RunFilter { workflow: Some("ticking".into()), status: None };
        let ticks = workspace.runs().list(filter, PageRequest::default()).await.unwrap().items;
        let skipped = ticks.iter().filter(|run| run.status == RunStatus::Cancelled).count();
        assert_eq!((ticks.len(), skipped), (6, 4), "{ticks:#?}");
        engine.close().await;
    });
}

#[test]
fn a_version_that_lets_more_run_comes_to_a_long_line() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{}")]).await;
        let mut runs = Vec::new();
        for n in 0..60 {
            runs.push(send(&workspace, json!({ "n": n })).await);
        }
        activate(&workspace, &flow("{ limit: 40 }")).await;
        runs.push(send(&workspace, json!({ "n": 60 })).await);
        let begun = tokio::time::Instant::now();
        let all = ended(&workspace, &runs).await;
        assert!(all.iter().all(|run| run.summary.status == RunStatus::Completed));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_version_that_replaces_clears_a_long_line() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{}")]).await;
        let mut runs = Vec::new();
        for n in 0..100 {
            runs.push(send(&workspace, json!({ "n": n })).await);
        }
        activate(&workspace, &flow("{ when_full: replace }")).await;
        let last = send(&workspace, json!({ "n": 100 })).await;
        let all = ended(&workspace, &runs).await;
        assert!(all.iter().all(|run| code(run) == "concurrency_replaced"), "{all:#?}");
        assert_eq!(ended(&workspace, &[last]).await[0].summary.status, RunStatus::Completed);
        assert_eq!(titles(&workspace).await.last().unwrap(), "end 100");
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

/// More than one transaction tells to end: those that end tell the next.
#[test]
fn a_version_with_a_lower_limit_replaces_as_many_as_it_needs() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ limit: 200, when_full: replace }")]).await;
        let mut runs = Vec::new();
        for n in 0..120 {
            runs.push(send(&workspace, json!({ "n": n })).await);
        }
        activate(&workspace, &flow("{ limit: 2, when_full: replace }")).await;
        let last = send(&workspace, json!({ "n": 120 })).await;
        let all = ended(&workspace, &runs).await;
        let gone = all.iter().filter(|run| run.summary.status == RunStatus::Cancelled).count();
        assert_eq!(gone, 119, "one of them and the new one are as many as may run");
        assert!(all[..119].iter().all(|run| code(run) == "concurrency_replaced"));
        assert_eq!(ended(&workspace, &[last]).await[0].summary.status, RunStatus::Completed);
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_draft_with_a_wrong_key_is_told() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let text = flow("{ key: '{{ begin.record.id }}', limit: 0 }");
        let saved = workspace.workflows().put_draft("sync", &text, TextFormat::Yaml).await.unwrap();
        let codes: Vec<&str> = saved.problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, ["not_yet_run", "invalid_value"]);
        engine.close().await;
    });
}
