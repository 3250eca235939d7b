//! How iterators end before their time, and what is kept of their items then.
use super::support::in_world;
use super::{SLOW, ended, items, started};
use serde_json::json;
use std::time::Duration;
use stepwell_engine::{ItemFilter, RunStatus, StepStatus};
use stepwell_store::keys::Space;

const SLOWLY: &str = "
name: slowly
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: '{{ range(40) }}'
    concurrency: 4
    do:
      - { id: nap, type: code, action: slow, input: { ms: 1000, n: '{{ item }}' } }
      - { id: rest, type: delay, for: 1m }
";

#[test]
fn what_a_cancel_cuts_off_is_listed() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[SLOW], &[SLOWLY]).await;
        let id = started(&workspace, "slowly", json!({})).await;
        tokio::time::sleep(Duration::from_secs(150)).await;
        workspace.runs().cancel(&id).await.unwrap();
        let run = workspace.runs().wait(&id, Duration::from_secs(60)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Cancelled);
        let all = items(&workspace, &id, ItemFilter::default(), 100).await;
        let of = |status: StepStatus| all.iter().filter(|item| item.status == status).count();
        assert_eq!((of(StepStatus::Completed), of(StepStatus::Cancelled), all.len()), (8, 4, 12));
        let cut = ItemFilter { status: Some(StepStatus::Cancelled), ..ItemFilter::default() };
        let cut = items(&workspace, &id, cut, 100).await;
        let indexes: std::collections::BTreeSet<u64> = cut.iter().map(|item| item.index).collect();
        assert_eq!(indexes, [8, 9, 10, 11].into());
        assert!(cut.iter().all(|item| item.steps[0].id == "nap"), "what they had done is shown");
        engine.close().await;
    });
}

/// However often somebody asks, it is asked once.
#[test]
fn a_cancel_is_stored_once() {
    in_world(async |mut world| {
        world.config.concurrent_runs = 1;
        let (engine, workspace) = world.set_up(&[SLOW], &[SLOWLY]).await;
        started(&workspace, "slowly", json!({})).await;
        let waits = started(&workspace, "slowly", json!({})).await;
        let cancels = (0..1000).map(|_| async { workspace.runs().cancel(&waits).await.is_ok() });
        let asked = futures::future::join_all(cancels).await;
        assert!(asked[0] && world.rows(Space::Inbox).len() <= 1, "{}", world.rows(Space::Inbox).len());
        let run = workspace.runs().wait(&waits, Duration::from_secs(60)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Cancelled);
        engine.close().await;
    });
}

/// More timers than one transaction takes, asked for by one event: at the start, and by a retry.
#[test]
fn very_many_delays_begin_at_once() {
    in_world(async |world| {
        let delays: String =
            (0..900).map(|n| format!("      - {{ id: d{n}, type: delay, for: 1h }}\n")).collect();
        let flow = format!(
            "name: delays\ntrigger: {{ type: manual }}\nsteps:\n  - id: all\n    type: parallel\n    steps:\n{delays}"
        );
        let (engine, workspace) = world.set_up(&[], &[&flow]).await;
        let id = started(&workspace, "delays", json!({})).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.rows(Space::Timers).len(), 900);
        let run = workspace.runs().wait(&id, Duration::from_secs(7200)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{:?}", run.summary.error);
        assert_eq!(world.rows(Space::Timers).len(), 0);
        engine.close().await;
    });
}

/// What many runs have to say at once is taken in as it fits.
#[test]
fn very_many_runs_end_at_once() {
    in_world(async |world| {
        let child = "
name: child
trigger: { type: manual }
steps:
  - { id: rest, type: delay, until: '{{ trigger.input.until }}' }
  - { id: big, type: set, values: { text: \"{{ range(2500) | join('-----') }}\" } }
";
        let parent = "
name: parent
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: '{{ range(100) }}'
    concurrency: 100
    do:
      - { id: ran, type: run_workflow, workflow: child, timeout: 1h, input: { until: '{{ trigger.input.until }}' } }
    output: '{{ ran.text | length }}'
output: '{{ rows }}'
";
        let (engine, workspace) = world.set_up(&[], &[child, parent]).await;
        let until = "2026-09-21T15:00:00Z";
        let run = ended(&workspace, "parent", json!({ "until": until })).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{:?}", run.summary.error);
        let output = super::value(&run.output);
        assert_eq!((&output["succeeded"], &output["results"][99]), (&json!(100), &json!(21_385)));
        assert_eq!(world.rows(Space::Inbox).len(), 0);
        engine.close().await;
    });
}
