//! Parents that go on long after the runs that they had started: nothing is done twice, and nobody waits for what has been.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::time::Duration;
use stepwell_engine::{Payload, ResumeAction, ResumeRun, RunDetail, RunFilter, RunStatus, Workspace};
use stepwell_store::keys::Space;
use stepwell_store::{Blobs, UNNAMED_AGE};
use support::{Module, activate, all_records, in_world};

const HOUR: Duration = Duration::from_secs(3600);
const WAIT: Duration = Duration::from_secs(24 * 3600);
const MODULES: [Module; 3] = [
    Module::new("moody", "1.0.0", "moody"),
    Module::new("fail", "1.0.0", "fail"),
    Module::new("big", "1.0.0", "big"),
];

/// Fails once, after it has done something.
const CHARGE: &str = r#"
name: charge
trigger: { type: manual }
steps:
  - { id: note, type: create_record, object: note, record: { title: Charged } }
  - { id: try, type: code, action: moody, input: { fails: 1 } }
output: done
"#;

async fn get(workspace: &Workspace, run: &str) -> RunDetail {
    workspace.runs().get(run).await.unwrap()
}

async fn start(workspace: &Workspace, name: &str, input: Value) -> String {
    workspace.workflows().run(name, input, None).await.unwrap().run_id
}

async fn runs_of(workspace: &Workspace, workflow: &str) -> usize {
    let filter = RunFilter { workflow: Some(workflow.into()), status: None };
    workspace.runs().list(filter, Default::default()).await.unwrap().items.len()
}

async fn try_again(workspace: &Workspace, run: &str) {
    let resume =
        ResumeRun { step: None, action: ResumeAction::Retry, actions: Default::default(), newest: false };
    workspace.runs().resume(run, resume).await.unwrap();
}

#[test]
fn what_a_run_may_have_done_is_not_done_again_when_it_cannot_go_on() {
    const PAY: &str = r#"
name: pay
trigger: { type: manual }
steps:
  - id: both
    type: parallel
    steps:
      - { id: charge, type: run_workflow, workflow: charge }
      - { id: rest, type: delay, for: 47h }
"#;
    in_world(|mut world| async move {
        world.config.retention.every = HOUR / 2;
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, PAY]).await;
        let pay = start(&workspace, "pay", json!({})).await;
        tokio::time::sleep(50 * HOUR).await;
        // The payloads of the run that failed first have gone; its parent has just failed, and is not as old.
        workspace.runs().retry(&pay, false).await.unwrap();
        let pay = workspace.runs().wait(&pay, WAIT).await.unwrap();
        let error = pay.summary.error.clone().unwrap();
        assert_eq!((pay.summary.status, error.code.as_str()), (RunStatus::Failed, "payload_expired"));
        let step = pay.steps.iter().find(|step| step.path == "both.charge").unwrap();
        assert_eq!(step.error.as_ref().unwrap().details, Some(json!({ "run_id": step.run_id })));
        assert_eq!(
            (runs_of(&workspace, "charge").await, all_records(&workspace, "note").await.len()),
            (1, 1)
        );
        engine.close().await;
    });
}

#[test]
fn a_run_is_kept_as_long_as_its_parent_may_go_on_with_it() {
    const PAY: &str = r#"
name: pay
trigger: { type: manual }
steps: [{ id: charge, type: run_workflow, workflow: charge, on_error: pause }]
output: "{{ charge }}"
"#;
    in_world(|mut world| async move {
        world.config.retention.every = HOUR;
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, PAY]).await;
        let pay = start(&workspace, "pay", json!({})).await;
        tokio::time::sleep(10 * 24 * HOUR).await;
        assert_eq!(get(&workspace, &pay).await.summary.status, RunStatus::Paused);
        try_again(&workspace, &pay).await;
        let pay = workspace.runs().wait(&pay, WAIT).await.unwrap();
        assert_eq!(pay.output, Some(Payload::Value(json!("done"))), "{pay:#?}");
        assert_eq!(
            (runs_of(&workspace, "charge").await, all_records(&workspace, "note").await.len()),
            (1, 1)
        );
        tokio::time::sleep(8 * 24 * HOUR).await;
        assert_eq!(world.rows(Space::Runs).len(), 0);
        engine.close().await;
    });
}

#[test]
fn a_result_that_is_taken_later_is_the_parent_s_own() {
    // What it kept is large, so parts of it are elsewhere.
    const LISTS: &str = r#"
name: lists
trigger: { type: manual }
steps:
  - { id: each, type: iterator, over: "{{ range(4) }}", do: [{ id: make, type: code, action: big, input: { bytes: 6000 } }] }
  - { id: try, type: code, action: moody, input: { fails: 1 } }
output: "{{ each.results }}"
"#;
    const ASK: &str = r#"
name: ask
trigger: { type: manual }
steps:
  - { id: lists, type: run_workflow, workflow: lists, on_error: pause }
  - { id: rest, type: delay, for: 47h }
output: "{{ lists | length }}"
"#;
    in_world(|mut world| async move {
        world.config.retention.every = HOUR / 2;
        let (engine, workspace) = world.set_up(&MODULES, &[LISTS, ASK]).await;
        let ask = start(&workspace, "ask", json!({})).await;
        tokio::time::sleep(HOUR).await;
        let lists = get(&workspace, &ask).await.steps[0].run_id.clone().unwrap();
        workspace.runs().retry(&lists, false).await.unwrap();
        let ended = workspace.runs().wait(&lists, WAIT).await.unwrap();
        assert_eq!(ended.summary.status, RunStatus::Completed);
        try_again(&workspace, &ask).await;
        tokio::time::sleep(51 * HOUR).await;
        assert!(matches!(get(&workspace, &lists).await.output, Some(Payload::Expired { .. })));
        world.blobs.advance(60 * HOUR);
        tokio::time::sleep(2 * HOUR).await;
        let ask = get(&workspace, &ask).await;
        assert_eq!(ask.output, Some(Payload::Value(json!(4))), "{ask:#?}");
        assert_eq!(ask.steps[0].output, ended.output);
        engine.close().await;
    });
}

#[test]
fn a_run_that_was_given_up_waits_for_no_end_that_has_been() {
    const BULKY: &str = r#"
name: bulky
trigger: { type: manual }
steps:
  - { id: rest, type: delay, for: 1m }
  - { id: make, type: code, action: big, input: { bytes: 100000 } }
"#;
    const ASKS: &str = r#"
name: asks
trigger: { type: manual }
steps:
  - id: all
    type: parallel
    steps:
      - { id: one, type: run_workflow, workflow: bulky }
      - id: beside
        type: branch
        branches:
          - when: "{{ true }}"
            do:
              - { id: pause, type: delay, for: 30s }
              - { id: other, type: run_workflow, workflow: bulky, wait: false }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[BULKY, ASKS]).await;
        let asks = start(&workspace, "asks", json!({})).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        // A defect, when it starts the other run.
        world.rng.panic_at(1);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(get(&workspace, &asks).await.summary.error.unwrap().code, "internal");
        // The result of the one that it waited for is gone.
        world.blobs.advance(2 * UNNAMED_AGE);
        world.blobs.sweep(UNNAMED_AGE, &|_| Box::pin(async { Ok(false) })).await.unwrap();
        workspace.runs().retry(&asks, false).await.unwrap();
        let asks = workspace.runs().wait(&asks, WAIT).await.unwrap();
        let error = asks.summary.error.clone().unwrap();
        assert_eq!((asks.summary.status, error.step.as_deref()), (RunStatus::Failed, Some("all.one")));
        assert!(error.message.contains("no other is started"), "{error:?}");
        engine.close().await;
    });
}

#[test]
fn a_newer_version_that_names_another_workflow_runs_that() {
    let refuses = "name: refuses\ntrigger: { type: manual }\nsteps: [{ id: no, type: code, action: fail, input: {} }]\n";
    let pay =
        "name: pay\ntrigger: { type: manual }\nsteps: [{ id: go, type: run_workflow, workflow: refuses }]\n";
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[refuses, pay]).await;
        let run = start(&workspace, "pay", json!({})).await;
        assert_eq!(workspace.runs().wait(&run, WAIT).await.unwrap().summary.status, RunStatus::Failed);
        activate(
            &workspace,
            "name: takes\ntrigger: { type: manual }\nsteps: [{ id: yes, type: set, values: {} }]\n",
        )
        .await;
        activate(&workspace, &pay.replace("refuses", "takes")).await;
        workspace.runs().retry(&run, true).await.unwrap();
        let run = workspace.runs().wait(&run, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!((runs_of(&workspace, "refuses").await, runs_of(&workspace, "takes").await), (1, 1));
        engine.close().await;
    });
}

#[test]
fn a_run_that_is_started_late_comes_late_in_order() {
    const SLOW: &str = "name: slow\ntrigger: { type: manual }\nsteps: [{ id: rest, type: delay, for: \"{{ trigger.input.for }}\" }]\n";
    const AGAIN: &str = r#"
name: again
trigger: { type: manual }
steps: [{ id: go, type: run_workflow, workflow: slow, input: { for: 30d }, timeout: 1h, retry: { attempts: 4, backoff: { initial: 1h, factor: 100, max: 1d } } }]
"#;
    in_world(|mut world| async move {
        world.config.retention.every = HOUR;
        let (engine, workspace) = world.set_up(&[], &[SLOW, AGAIN]).await;
        let again = start(&workspace, "again", json!({})).await;
        // The fourth attempt comes after two days and some hours.
        tokio::time::sleep(40 * HOUR).await;
        let between = start(&workspace, "slow", json!({ "for": "1s" })).await;
        tokio::time::sleep(40 * HOUR).await;
        let last = get(&workspace, &again).await.steps[0].run_id.clone().unwrap();
        assert_eq!(runs_of(&workspace, "slow").await, 5);
        assert!(last > between, "{last} was started after {between}");
        engine.close().await;
    });
}
