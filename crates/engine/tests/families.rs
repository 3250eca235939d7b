//! Parents of many runs, whose ends, and whose cancels, come together.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::json;
use std::time::Duration;
use stepwell_engine::{ItemFilter, PageRequest, Payload, RunFilter, RunStatus, StepStatus};
use stepwell_store::keys::Space;
use support::{Module, ended, in_world};

const WAIT: Duration = Duration::from_secs(24 * 3600);
const MODULES: [Module; 1] = [Module::new("big", "1.0.0", "big")];

const BULKY: &str = r#"
name: bulky
trigger: { type: manual }
steps:
  - { id: make, type: code, action: big, input: { bytes: 25000 } }
  - { id: rest, type: delay, for: 1m }
output: "{{ make }}"
"#;

/// Sixty at once; and one more run later, in a branch beside them.
const FAN: &str = r#"
name: fan
trigger: { type: manual }
steps:
  - id: all
    type: parallel
    steps:
      - id: each
        type: iterator
        over: "{{ range(60) }}"
        concurrency: 60
        do: [{ id: one, type: run_workflow, workflow: bulky }]
      - id: beside
        type: branch
        branches:
          - when: "{{ trigger.input.beside }}"
            do:
              - { id: pause, type: delay, for: 30s }
              - { id: other, type: run_workflow, workflow: bulky }
output: "{{ each.succeeded }}"
"#;

#[test]
fn ends_of_many_runs_that_come_together_are_taken_in_part_by_part() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 200;
        world.store = world.store.with_yields();
        let (engine, workspace) = world.set_up(&MODULES, &[BULKY, FAN]).await;
        let fan = ended(&workspace, "fan", json!({ "beside": false })).await;
        assert_eq!(fan.output, Some(Payload::Value(json!(60))), "{:#?}", fan.summary);
        engine.close().await;
    });
}

#[test]
fn a_retry_takes_in_what_has_ended_meanwhile_part_by_part() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 200;
        let (engine, workspace) = world.set_up(&MODULES, &[BULKY, FAN]).await;
        let fan = workspace.workflows().run("fan", json!({ "beside": true }), None).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(10)).await;
        // A defect, when it starts the other run.
        world.rng.panic_at(1);
        tokio::time::sleep(Duration::from_secs(120)).await;
        let given_up = workspace.runs().get(&fan).await.unwrap();
        assert_eq!(given_up.summary.error.as_ref().unwrap().code, "internal", "{:#?}", given_up.summary);
        workspace.runs().retry(&fan, false).await.unwrap();
        let fan = workspace.runs().wait(&fan, WAIT).await.unwrap();
        assert_eq!(fan.output, Some(Payload::Value(json!(60))), "{:#?}", fan.summary);
        assert_eq!(fan.summary.status, RunStatus::Completed);
        engine.close().await;
    });
}

#[test]
fn items_show_what_the_runs_that_they_waited_for_gave() {
    const ASKS: &str = r#"
name: asks
trigger: { type: manual }
steps:
  - id: each
    type: iterator
    over: [1, 2, 3]
    concurrency: 3
    tolerate: { failures: 1 }
    do: [{ id: ask, type: run_workflow, workflow: answers, input: { n: "{{ item }}" }, timeout: 1h }]
  - { id: rest, type: delay, for: 10m }
"#;
    const ANSWERS: &str = r#"
name: answers
trigger: { type: manual }
steps:
  - { id: short, type: delay, for: 1m }
  - { id: odd, type: stop, if: "{{ trigger.input.n == 2 }}", status: failed, message: two }
output: "{{ trigger.input.n * 10 }}"
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[ANSWERS, ASKS]).await;
        let timers = || world.rows(Space::Timers).len();
        let run = workspace.workflows().run("asks", json!({}), None).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!((timers(), engine.stats().timers), (6, 4), "of three steps at one time, and three delays");
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!((timers(), engine.stats().timers), (1, 1), "a timeout goes with what it was set for");
        workspace.runs().wait(&run, WAIT).await.unwrap();
        let page = workspace.runs().items(&run, ItemFilter::default(), PageRequest::default()).await.unwrap();
        let mut items = page.items;
        items.sort_by_key(|item| item.index);
        for item in &items {
            let [ask] = &item.steps[..] else { panic!("not one step: {item:#?}") };
            let ten = Some(Payload::Value(json!((item.index + 1) * 10)));
            let told = match item.index {
                1 => (StepStatus::Failed, None, Some("stopped")),
                _ => (StepStatus::Completed, ten.clone(), None),
            };
            let code = ask.error.as_ref().map(|error| error.code.as_str());
            assert_eq!((ask.status, ask.output.clone(), code), told, "{item:#?}");
            assert_eq!((item.status, item.output.clone()), (told.0, told.1), "{item:#?}");
        }
        assert_eq!(items.len(), 3);
        engine.close().await;
    });
}

#[test]
fn a_cancel_ends_more_runs_than_fit_one_commit() {
    let each = |n: usize| format!("      - {{ id: r{n}, type: run_workflow, workflow: rests }}\n");
    let text = format!(
        "name: crowd\ntrigger: {{ type: manual }}\nsteps:\n  - id: all\n    type: parallel\n    steps:\n{}",
        (0..400).map(each).collect::<String>()
    );
    let rests = "name: rests\ntrigger: { type: manual }\nsteps: [{ id: rest, type: delay, for: 30d }]\n";
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[rests, &text]).await;
        let crowd = workspace.workflows().run("crowd", json!({}), None).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let with = async |status| {
            let filter = RunFilter { workflow: Some("rests".into()), status: Some(status) };
            let page = PageRequest { limit: Some(500), cursor: None };
            workspace.runs().list(filter, page).await.unwrap().items.len()
        };
        assert_eq!(with(RunStatus::Waiting).await, 400);
        workspace.runs().cancel(&crowd).await.unwrap();
        let crowd = workspace.runs().wait(&crowd, WAIT).await.unwrap();
        assert_eq!(crowd.summary.status, RunStatus::Cancelled, "{:#?}", crowd.summary);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(with(RunStatus::Cancelled).await, 400);
        assert_eq!(world.rows(Space::Inbox).len(), 0);
        engine.close().await;
    });
}

#[test]
fn a_test_of_a_draft_makes_no_more_runs_than_it_may() {
    const THRICE: &str = r#"
name: thrice
trigger: { type: manual }
steps:
  - id: more
    type: branch
    branches:
      - when: "{{ true }}"
        do:
          - { id: a, type: run_workflow, workflow: thrice, wait: false, on_error: continue }
          - { id: b, type: run_workflow, workflow: thrice, wait: false, on_error: continue }
          - { id: c, type: run_workflow, workflow: thrice, wait: false, on_error: continue }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[THRICE]).await;
        let tried = workspace.workflows().test("thrice", None, json!({})).await.unwrap();
        let last = tried.steps.iter().find(|step| step.path == "more.c").unwrap();
        assert_eq!(last.error.as_ref().unwrap().code, "test_too_long");
        assert_eq!(tried.status, RunStatus::Completed);
        engine.close().await;
    });
}
