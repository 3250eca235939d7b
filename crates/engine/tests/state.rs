//! What a workflow keeps between its runs: nothing of it is lost, whoever races, and whatever is read is what counts.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use stepwell_engine::{Engine, PageRequest, Payload, Ports, RunStatus, TextFormat, Workspace};
use stepwell_store::keys::{Space, space_in};
use stepwell_store::{Blobs, UNNAMED_AGE, View, Want, Watch, Watched};
use support::{Module, activate, all_records, in_world, runtime};

const WAIT: Duration = Duration::from_secs(3600);

/// A ticket a run; a step between the two that takes a while.
const TICKETS: &str = r#"
name: tickets
trigger: { type: manual }
steps:
  - { id: slow, type: code, action: slow, input: { ms: "{{ trigger.input.ms }}" } }
  - { id: next, type: set_state, values: { n: "{{ state.n | default(0) + 1 }}" } }
  - { id: note, type: create_record, object: note, record: { title: "Ticket {{ next.n }}" } }
output: "{{ next.n }}"
"#;

async fn kept(workspace: &Workspace, name: &str) -> Value {
    let page = workspace.workflows().state(name, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|one| (one.name, one.value)).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn runs_that_race_each_have_a_turn_of_their_own() {
    // With bursts of one step what is written was rendered in the burst before.
    for steps in [64, 1] {
        in_world(|mut world| async move {
            world.config.burst.steps = steps;
            world.store = world.store.with_yields();
            let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[TICKETS]).await;
            let workflows = workspace.workflows();
            let runs = (0..40u64).map(|n| workflows.run("tickets", json!({ "ms": n % 3 }), Some(WAIT)));
            let runs = futures::future::join_all(runs).await;
            let given: BTreeSet<u64> =
                runs.into_iter().map(|run| run.unwrap().output.unwrap().as_u64().unwrap()).collect();
            assert_eq!(given, (1..=40).collect(), "with bursts of {steps}");
            assert_eq!(kept(&workspace, "tickets").await, json!({ "n": 40 }));
            assert_eq!(all_records(&workspace, "note").await.len(), 40);
            engine.close().await;
        });
    }
}

#[test]
fn what_a_run_has_read_is_what_its_history_says() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[TICKETS]).await;
        let workflows = workspace.workflows();
        let first = workflows.run("tickets", json!({ "ms": 0 }), Some(WAIT)).await.unwrap();
        let set = workflows.set_state("tickets", "n", json!(10)).await.unwrap();
        assert!(!set.created && set.info.run.is_none());
        let second = workflows.run("tickets", json!({ "ms": 0 }), Some(WAIT)).await.unwrap();
        for (run, n) in [(&first, 1), (&second, 11)] {
            // Folded again from the journal, whatever is kept by now.
            let run = workspace.runs().get(&run.run_id).await.unwrap();
            assert_eq!(run.output, Some(Payload::Value(json!(n))));
            assert_eq!(run.steps[1].input, Some(Payload::Value(json!({ "values": { "n": n } }))));
        }
        let one = workflows.state_value("tickets", "n").await.unwrap();
        assert_eq!((one.value, one.run), (json!(11), Some(second.run_id)));
        engine.close().await;
    });
}

#[test]
fn it_survives_a_restart_and_goes_with_its_workflow() {
    let mut world = support::World::new(1);
    let modules = [Module::new("slow", "1.0.0", "slow")];
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&modules, &[TICKETS]).await;
        workspace.workflows().run("tickets", json!({ "ms": 0 }), Some(WAIT)).await.unwrap();
        engine.close().await;
    });
    world.restart();
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        let workflows = workspace.workflows();
        let run = workflows.run("tickets", json!({ "ms": 0 }), Some(WAIT)).await.unwrap();
        assert_eq!(run.output, Some(json!(2)));
        workflows.deactivate("tickets").await.unwrap();
        workflows.delete("tickets").await.unwrap();
        assert_eq!(
            workflows.state("tickets", PageRequest::default()).await.unwrap_err().code,
            "unknown_workflow"
        );
        activate(&workspace, TICKETS).await;
        assert_eq!(
            kept(&workspace, "tickets").await,
            json!({}),
            "another workflow of that name knows nothing"
        );
        engine.close().await;
    });
}

#[test]
fn a_test_of_a_draft_reads_what_is_kept_and_writes_nothing() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[TICKETS]).await;
        let workflows = workspace.workflows();
        workflows.set_state("tickets", "n", json!(4)).await.unwrap();
        let text = TICKETS.replace("{{ next.n }}\"\n", "{{ next.n }} {{ state.n }}\"\n");
        let tried = workflows.test("tickets", Some((&text, TextFormat::Yaml)), json!({ "ms": 0 })).await;
        let tried = tried.unwrap();
        assert_eq!((tried.status, tried.output), (RunStatus::Completed, Some(json!("5 5"))));
        assert_eq!(kept(&workspace, "tickets").await, json!({ "n": 4 }));
        engine.close().await;
    });
}

#[test]
fn what_is_kept_is_bounded_and_the_refusal_says_how() {
    const KEEPS: &str = r#"
name: keeps
trigger: { type: manual }
steps:
  - { id: keep, type: set_state, values: { text: "{{ trigger.input.text }}", also: 1 } }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[KEEPS]).await;
        let workflows = workspace.workflows();
        let large = json!({ "text": "x".repeat(65 << 10) });
        let run = workflows.run("keeps", large.clone(), Some(WAIT)).await.unwrap();
        let error = run.error.unwrap();
        assert_eq!((run.status, error.code.as_str()), (RunStatus::Failed, "state_too_large"), "{error:?}");
        assert!(error.message.contains("`text` has 66562 bytes as JSON"), "{error:?}");
        assert_eq!(kept(&workspace, "keeps").await, json!({}), "a step that fails keeps nothing");
        for (name, value, code) in [
            ("High", json!(1), "invalid_name"),
            ("text", large["text"].clone(), "state_too_large"),
            ("text", (0..70).fold(json!(1), |inner, _| json!([inner])), "too_deep"),
            ("text", Value::Null, "invalid_state"),
        ] {
            assert_eq!(workflows.set_state("keeps", name, value).await.unwrap_err().code, code);
        }
        for n in 0..4 {
            let half = json!("x".repeat(63 << 10));
            workflows.set_state("keeps", &format!("n{n}"), half).await.unwrap();
        }
        let fifth = workflows.set_state("keeps", "n5", json!("x".repeat(20 << 10))).await.unwrap_err();
        assert_eq!(fifth.code, "state_too_large", "{fifth}");
        // All of it is in the run's history, which is large by then, and can be read.
        let run = workflows.run("keeps", json!({ "text": "fits" }), Some(WAIT)).await.unwrap();
        assert_eq!(run.status, RunStatus::Completed);
        let run = workspace.runs().get(&run.run_id).await.unwrap();
        assert_eq!(run.steps[0].output, Some(Payload::Value(json!({ "text": "fits", "also": 1 }))));
        let unknown = workflows.delete_state("keeps", "txt").await.unwrap_err();
        assert!(unknown.message.contains("did you mean `text`?"), "{unknown}");
        workflows.delete_state("keeps", "text").await.unwrap();
        assert!(kept(&workspace, "keeps").await.get("text").is_none());
        engine.close().await;
    });
}

#[test]
fn a_run_that_is_retried_counts_on_what_is_kept_by_then() {
    const RETRIED: &str = r#"
name: retried
trigger: { type: manual }
steps:
  - { id: try, type: code, action: moody, input: { fails: 1 } }
  - { id: next, type: set_state, values: { n: "{{ state.n | default(0) + 1 }}" } }
output: "{{ next.n }}"
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[Module::new("moody", "1.0.0", "moody")], &[RETRIED]).await;
        let workflows = workspace.workflows();
        workflows.set_state("retried", "n", json!(5)).await.unwrap();
        let run = workflows.run("retried", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!(run.status, RunStatus::Failed);
        workflows.set_state("retried", "n", json!(15)).await.unwrap();
        workspace.runs().retry(&run.run_id, false).await.unwrap();
        let run = workspace.runs().wait(&run.run_id, WAIT).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!(16))), "{run:#?}");
        assert_eq!(kept(&workspace, "retried").await, json!({ "n": 16 }));
        engine.close().await;
    });
}

#[test]
fn steps_beside_each_other_each_have_a_turn_of_their_own() {
    const BESIDE: &str = r#"
name: beside
trigger: { type: manual }
steps:
  - id: both
    type: parallel
    steps:
      - { id: a, type: set_state, values: { n: "{{ state.n | default(0) + 1 }}" } }
      - { id: b, type: set_state, values: { n: "{{ state.n | default(0) + 1 }}" } }
  - id: each
    type: iterator
    over: "{{ range(6) }}"
    concurrency: 3
    do:
      - { id: turn, type: set_state, values: { n: "{{ state.n + 1 }}" } }
output: "{{ [a.n, b.n] + (each.results | map(attribute='n') | list) }}"
"#;
    for steps in [64, 1] {
        in_world(|mut world| async move {
            world.config.burst.steps = steps;
            let (engine, workspace) = world.set_up(&[], &[BESIDE]).await;
            let workflows = workspace.workflows();
            let tried = workflows.test("beside", None, json!({})).await.unwrap();
            let run = workflows.run("beside", json!({}), Some(WAIT)).await.unwrap();
            for output in [tried.output, run.output] {
                assert_eq!(output, Some(json!([1, 2, 3, 4, 5, 6, 7, 8])), "with bursts of {steps}");
            }
            assert_eq!(kept(&workspace, "beside").await, json!({ "n": 8 }));
            engine.close().await;
        });
    }
}

#[test]
fn a_run_that_outlives_its_workflow_leaves_nothing_to_the_next_of_that_name() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[TICKETS]).await;
        let workflows = workspace.workflows();
        let run = workflows.run("tickets", json!({ "ms": 5000 }), None).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(1)).await;
        workflows.deactivate("tickets").await.unwrap();
        workflows.delete("tickets").await.unwrap();
        let run = workspace.runs().wait(&run, WAIT).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!(1))), "it ends as it would have: {run:#?}");
        activate(&workspace, TICKETS).await;
        assert_eq!(kept(&workspace, "tickets").await, json!({}));
        engine.close().await;
    });
}

#[test]
fn what_a_run_has_read_goes_with_its_payloads() {
    in_world(|mut world| async move {
        world.config.retention.payloads_for = Duration::from_secs(3600);
        let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[TICKETS]).await;
        let workflows = workspace.workflows();
        workflows.set_state("tickets", "last", json!("ada@example.com")).await.unwrap();
        let run = workflows.run("tickets", json!({ "ms": 0 }), Some(WAIT)).await.unwrap();
        workflows.delete_state("tickets", "last").await.unwrap();
        let told = || {
            let rows = world.rows(Space::RunEvents).into_iter();
            rows.filter(|(_, row)| row.windows(3).any(|three| three == b"ada")).count()
        };
        assert_eq!(told(), 1);
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!(told(), 0);
        let run = workspace.runs().get(&run.run_id).await.unwrap();
        assert!(matches!(run.output, Some(Payload::Expired { .. })));
        engine.close().await;
    });
}

#[test]
fn a_look_at_a_run_of_many_items_asks_for_nothing_that_was_read_on_the_way() {
    const EACH: &str = r#"
name: each
trigger: { type: manual }
steps:
  - { id: each, type: iterator, over: [1, 2], do: [{ id: rest, type: delay, for: 1m }, { id: keep, type: set_state, values: { n: "{{ item }}" } }] }
output: "{{ state.n }}"
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[EACH]).await;
        let workflows = workspace.workflows();
        let text = |word: &str| json!(word.repeat(12_000));
        workflows.set_state("each", "text", text("first")).await.unwrap();
        let run = workflows.run("each", json!({}), None).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(30)).await;
        workflows.set_state("each", "text", text("later")).await.unwrap();
        workspace.runs().wait(&run, WAIT).await.unwrap();
        // What was read first is nowhere to be had; what was read last is in the run's last state.
        let blobs = world.blobs.clone();
        let is_named = |id| -> futures::future::BoxFuture<'_, Result<bool, stepwell_store::Refused>> {
            let blobs = blobs.clone();
            Box::pin(async move {
                let bytes = blobs.get(id).await?.unwrap_or_default();
                Ok(!bytes.windows(10).any(|ten| ten == b"firstfirst"))
            })
        };
        world.blobs.advance(2 * UNNAMED_AGE);
        let swept = world.blobs.sweep(UNNAMED_AGE, &is_named).await.unwrap();
        assert!(swept.blobs > 0, "{swept:?}");
        let run = workspace.runs().get(&run).await.unwrap();
        assert_eq!((run.summary.status, run.output), (RunStatus::Completed, Some(Payload::Value(json!(2)))));
        engine.close().await;
    });
}

/// Counts trips that read what workflows keep.
#[derive(Default)]
struct Reads(AtomicUsize);

impl Watch for Reads {
    fn after(&self, wants: &[Want], _view: &View) {
        let kept = |want: &Want| match want {
            Want::Key(key) => space_in(key) == Some(Space::FlowState),
            Want::Range { keys, .. } => space_in(&keys.start) == Some(Space::FlowState),
        };
        self.0.fetch_add(usize::from(wants.iter().any(kept)), SeqCst);
    }
}

/// Shows what is kept, and keeps it if it is to.
const LOOKS: &str = r#"
name: looks
trigger: { type: manual }
steps:
  - { id: keep, type: set_state, if: "{{ trigger.input.keep is defined }}", values: { n: "{{ trigger.input.keep }}" } }
  - { id: seen, type: set, values: { n: "{{ state.n | default(0) }}" } }
output: "{{ seen.n }}"
"#;

#[test]
fn what_nobody_changes_is_not_read_each_time_and_whatever_changes_is_seen_at_once() {
    in_world(|world| async move {
        let store = Arc::new(Watched::new(world.store.clone(), Reads::default()));
        let ports = Ports { store: store.clone(), ..world.ports() };
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        activate(&workspace, LOOKS).await;
        let workflows = workspace.workflows();
        let run = async |input: Value| {
            let run = workflows.run("looks", input, Some(WAIT)).await.unwrap();
            assert_eq!(run.status, RunStatus::Completed, "{run:?}");
            run.output
        };
        let sees = async |n: u64| {
            let before = store.watch.0.load(SeqCst);
            for _ in 0..5 {
                assert_eq!(run(json!({})).await, Some(json!(n)));
            }
            store.watch.0.load(SeqCst) - before
        };
        assert_eq!(sees(0).await, 1);
        assert_eq!(run(json!({ "keep": 7 })).await, Some(json!(7)));
        assert_eq!(sees(7).await, 1);
        workflows.set_state("looks", "n", json!(8)).await.unwrap();
        assert_eq!(sees(8).await, 1);
        workflows.delete_state("looks", "n").await.unwrap();
        assert_eq!(sees(0).await, 1);
        // Longer ago than the store knows what was written since.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!((sees(0).await, sees(0).await), (1, 0));
        engine.close().await;
    });
}
