//! Runs that run other workflows: once, whatever crashes; what they tell each other; and what a retry goes on with.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::json;
use std::time::Duration;
use stepwell_engine::{Payload, RunDetail, RunStatus, StepStatus, TextFormat, Workspace};
use stepwell_store::Fault;
use support::{Module, World, activate, all_records, ended, in_world, runtime};

const WAIT: Duration = Duration::from_secs(24 * 3600);
const MODULES: [Module; 3] = [
    Module::new("moody", "1.0.0", "moody"),
    Module::new("slow", "1.0.0", "slow"),
    Module::new("big", "1.0.0", "big"),
];

const CHARGE: &str = r#"
name: charge
trigger: { type: manual, input_schema: { type: object, required: [n], properties: { n: { type: integer } } } }
steps:
  - { id: note, type: create_record, object: note, record: { title: "Charged {{ trigger.input.n }}" } }
  - { id: try, type: code, action: moody, input: { fails: "{{ trigger.input.fails | default(0) }}", n: "{{ trigger.input.n }}" } }
  - { id: wait, type: delay, for: "{{ trigger.input.wait | default('0s') }}" }
output: { charged: "{{ trigger.input.n }}", calls: "{{ try.calls }}" }
"#;

const ORDER: &str = r#"
name: order
trigger: { type: manual }
steps:
  - { id: pay, type: run_workflow, workflow: charge, input: "{{ trigger.input }}" }
  - { id: done, type: create_record, object: task, record: { title: "Paid {{ pay.charged }}" } }
output: "{{ pay }}"
"#;

async fn of(workspace: &Workspace, workflow: &str) -> Vec<RunDetail> {
    let filter = stepwell_engine::RunFilter { workflow: Some(workflow.into()), status: None };
    let mut all = Vec::new();
    for run in workspace.runs().list(filter, Default::default()).await.unwrap().items {
        all.push(workspace.runs().get(&run.id).await.unwrap());
    }
    all.reverse();
    all
}

async fn count(workspace: &Workspace, object: &str) -> usize {
    all_records(workspace, object).await.len()
}

#[test]
fn the_result_of_the_other_run_is_the_step_s_and_both_say_whose_they_are() {
    in_world(|mut world| async move {
        // One slot: the parent gives it back while it waits.
        world.config.concurrent_runs = 1;
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, ORDER]).await;
        let order = ended(&workspace, "order", json!({ "n": 7, "wait": "5m" })).await;
        assert_eq!(order.output, Some(Payload::Value(json!({ "charged": 7, "calls": 1 }))), "{order:#?}");
        let [charge] = &of(&workspace, "charge").await[..] else { panic!("not one run") };
        let parent = charge.summary.parent.clone().unwrap();
        assert_eq!((parent.run_id, parent.step), (order.summary.id.clone(), "pay".into()));
        assert_eq!(order.steps[0].run_id.as_ref(), Some(&charge.summary.id));
        assert_eq!(
            charge.input,
            Payload::Value(json!({ "type": "manual", "input": { "n": 7, "wait": "5m" } }))
        );
        assert_eq!((count(&workspace, "note").await, count(&workspace, "task").await), (1, 1));
        engine.close().await;
    });
}

#[test]
fn what_cannot_be_run_fails_the_step_and_leaves_no_run() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, ORDER]).await;
        let unfit = ended(&workspace, "order", json!({ "n": "seven" })).await;
        let error = unfit.steps[0].error.clone().unwrap();
        assert_eq!((unfit.summary.status, error.code.as_str()), (RunStatus::Failed, "input_schema"));
        assert!(error.details.unwrap()["problems"][0]["message"].is_string());
        workspace.workflows().deactivate("charge").await.unwrap();
        let off = ended(&workspace, "order", json!({ "n": 7 })).await;
        assert_eq!(off.steps[0].error.as_ref().unwrap().code, "workflow_not_active");
        assert!(of(&workspace, "charge").await.is_empty());
        engine.close().await;
    });
}

#[test]
fn a_failure_names_the_run_and_a_retry_goes_on_where_it_had_failed() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, ORDER]).await;
        let order = ended(&workspace, "order", json!({ "n": 7, "fails": 1 })).await;
        let [charge] = &of(&workspace, "charge").await[..] else { panic!("not one run") };
        let error = order.steps[0].error.clone().unwrap();
        assert_eq!((error.code.as_str(), error.source.as_str()), ("busy", "action"));
        assert!(
            error.message.contains(&charge.summary.id) && error.message.contains("at step `try`"),
            "{error:?}"
        );
        assert_eq!(error.details.unwrap()["run_id"], charge.summary.id.as_str());
        workspace.runs().retry(&order.summary.id, false).await.unwrap();
        let order = workspace.runs().wait(&order.summary.id, WAIT).await.unwrap();
        assert_eq!(order.output, Some(Payload::Value(json!({ "charged": 7, "calls": 2 }))), "{order:#?}");
        // What it had done was not done again.
        assert_eq!((of(&workspace, "charge").await.len(), count(&workspace, "note").await), (1, 1));

        // One that a person has mended by itself is taken as it ended.
        let order = ended(&workspace, "order", json!({ "n": 8, "fails": 1 })).await;
        let charge = order.steps[0].run_id.clone().unwrap();
        workspace.runs().retry(&charge, false).await.unwrap();
        workspace.runs().wait(&charge, WAIT).await.unwrap();
        workspace.runs().retry(&order.summary.id, false).await.unwrap();
        let order = workspace.runs().wait(&order.summary.id, WAIT).await.unwrap();
        assert_eq!(
            (order.summary.status, order.steps[0].run_id.as_ref()),
            (RunStatus::Completed, Some(&charge))
        );
        engine.close().await;
    });
}

#[test]
fn a_cancel_goes_down_and_tells_up() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, ORDER]).await;
        let start = async || {
            let order = workspace
                .workflows()
                .run("order", json!({ "n": 7, "wait": "1h" }), None)
                .await
                .unwrap()
                .run_id;
            loop {
                let order = workspace.runs().get(&order).await.unwrap();
                let child = order.steps.first().and_then(|step| step.run_id.clone());
                if let Some(child) = child
                    && workspace.runs().get(&child).await.unwrap().summary.status == RunStatus::Waiting
                {
                    return (order.summary.id, child);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (order, charge) = start().await;
        assert_eq!(workspace.runs().get(&order).await.unwrap().summary.status, RunStatus::Waiting);
        assert_eq!(engine.stats().runs_running, 0, "who waits holds no slot");
        workspace.runs().cancel(&order).await.unwrap();
        for run in [&order, &charge] {
            let run = workspace.runs().wait(run, WAIT).await.unwrap();
            assert_eq!(run.summary.status, RunStatus::Cancelled);
        }
        let (order, charge) = start().await;
        workspace.runs().cancel(&charge).await.unwrap();
        let order = workspace.runs().wait(&order, WAIT).await.unwrap();
        let error = order.steps[0].error.clone().unwrap();
        assert_eq!((order.summary.status, error.code.as_str()), (RunStatus::Failed, "run_cancelled"));
        // Another one is run then.
        workspace.runs().retry(&order.summary.id, false).await.unwrap();
        let order = workspace.runs().wait(&order.summary.id, WAIT).await.unwrap();
        assert_eq!(order.summary.status, RunStatus::Completed, "{order:#?}");
        assert_ne!(order.steps[0].run_id.as_ref(), Some(&charge));
        engine.close().await;
    });
}

#[test]
fn past_its_timeout_it_is_cancelled() {
    let text = ORDER.replace(
        "input: \"{{ trigger.input }}\" }",
        "input: \"{{ trigger.input }}\", timeout: 1m, on_error: continue }",
    );
    let text =
        text.replace("{{ pay.charged }}", "{{ steps.pay.error.code }}").replace("output: \"{{ pay }}\"", "");
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, &text]).await;
        let order = ended(&workspace, "order", json!({ "n": 7, "wait": "1h" })).await;
        assert_eq!(order.summary.status, RunStatus::Completed, "{order:#?}");
        assert_eq!(all_records(&workspace, "task").await[0]["title"], "Paid timeout");
        let charge = workspace.runs().wait(order.steps[0].run_id.as_ref().unwrap(), WAIT).await.unwrap();
        assert_eq!(charge.summary.status, RunStatus::Cancelled);
        engine.close().await;
    });
}

#[test]
fn many_are_started_and_not_waited_for() {
    const FAN: &str = r#"
name: fan
trigger: { type: manual }
steps:
  - id: each
    type: iterator
    over: "{{ range(50) }}"
    concurrency: 10
    do:
      - { id: start, type: run_workflow, workflow: charge, input: { n: "{{ item }}" }, wait: false }
output: "{{ each.results | map(attribute='run_id') | unique | length }}"
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE, FAN]).await;
        let fan = ended(&workspace, "fan", json!({})).await;
        assert_eq!(fan.output, Some(Payload::Value(json!(50))), "{:#?}", fan.summary);
        for charge in of(&workspace, "charge").await {
            workspace.runs().wait(&charge.summary.id, WAIT).await.unwrap();
        }
        assert_eq!(count(&workspace, "note").await, 50);
        engine.close().await;
    });
}

#[test]
fn a_large_result_is_handed_over_whole() {
    const BIG: &str = r#"
name: big
trigger: { type: manual }
steps: [{ id: make, type: code, action: big, input: { bytes: 200000 } }]
"#;
    const ASKS: &str = r#"
name: asks
trigger: { type: manual }
steps: [{ id: big, type: run_workflow, workflow: big }]
output: "{{ big.text | length }}"
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[BIG, ASKS]).await;
        assert_eq!(ended(&workspace, "asks", json!({})).await.output, Some(Payload::Value(json!(200_000))));
        engine.close().await;
    });
}

#[test]
fn a_chain_of_runs_that_is_too_long_is_taken_for_a_loop() {
    const DOWN: &str = r#"
name: down
trigger: { type: manual }
steps:
  - { id: more, type: branch, branches: [{ when: "{{ true }}", do: [{ id: again, type: run_workflow, workflow: down, input: {} }] }] }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[DOWN]).await;
        let first = ended(&workspace, "down", json!({})).await;
        let error = first.summary.error.clone().unwrap();
        assert_eq!((first.summary.status, error.code.as_str()), (RunStatus::Failed, "workflow_loop"));
        assert_eq!(of(&workspace, "down").await.len(), 9);
        engine.close().await;
    });
}

#[test]
fn a_record_that_the_parent_has_just_made_is_there_for_the_child() {
    const GREET: &str = r#"
name: greet
trigger: { type: manual, on: { object: person } }
steps: [{ id: task, type: create_record, object: task, record: { title: "Greet {{ trigger.record.jobTitle }}" } }]
"#;
    const ADD: &str = r#"
name: add
trigger: { type: manual }
steps:
  - { id: person, type: create_record, object: person, record: { jobTitle: Queen, emails: { primaryEmail: q@x.example } } }
  - { id: greet, type: run_workflow, workflow: greet, input: { record_id: "{{ person.record.id }}" } }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[GREET, ADD]).await;
        assert_eq!(ended(&workspace, "add", json!({})).await.summary.status, RunStatus::Completed);
        assert_eq!(all_records(&workspace, "task").await[0]["title"], "Greet Queen");
        engine.close().await;
    });
}

#[test]
fn a_test_of_a_draft_runs_the_others_too_and_leaves_nothing() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[CHARGE]).await;
        let tried =
            workspace.workflows().test("order", Some((ORDER, TextFormat::Yaml)), json!({ "n": 3 })).await;
        let tried = tried.unwrap();
        assert_eq!(
            (tried.status, tried.output),
            (RunStatus::Completed, Some(json!({ "charged": 3, "calls": 1 })))
        );
        assert!(of(&workspace, "charge").await.is_empty());
        assert_eq!(count(&workspace, "note").await, 0);
        engine.close().await;
    });
}

/// Wherever the process dies: one child, its work done once, and the parent hears of it.
#[test]
fn a_crash_anywhere_makes_no_second_run() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for commit in 1..8 {
            let mut world = World::new(1);
            runtime().block_on(async {
                let (engine, _) = world.set_up(&MODULES, &[CHARGE, ORDER]).await;
                engine.close().await;
            });
            world.restart();
            world.store.fail_commit(commit, fault.clone());
            let told = runtime().block_on(async {
                let (_engine, workspace) = world.open().await;
                let started = workspace.workflows().run("order", json!({ "n": 7, "wait": "3s" }), None).await;
                tokio::time::sleep(Duration::from_secs(60)).await;
                started.ok().map(|started| started.run_id)
            });
            world.store.clear_faults();
            world.restart();
            runtime().block_on(async {
                let (engine, workspace) = world.open().await;
                tokio::time::sleep(Duration::from_secs(60)).await;
                let orders = of(&workspace, "order").await;
                assert!(told.is_none() || orders.len() == 1, "{fault:?} at {commit}");
                for order in &orders {
                    assert_eq!(
                        order.summary.status,
                        RunStatus::Completed,
                        "{fault:?} at {commit}: {order:#?}"
                    );
                    assert_eq!(order.steps[0].status, StepStatus::Completed);
                }
                let made = (
                    of(&workspace, "charge").await.len(),
                    count(&workspace, "note").await,
                    count(&workspace, "task").await,
                );
                assert_eq!(made, (orders.len(), orders.len(), orders.len()), "{fault:?} at {commit}");
                engine.close().await;
            });
        }
    }
}

#[test]
fn circles_and_names_that_are_not_there_are_told_before_a_run() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&MODULES, &[]).await;
        let workflows = workspace.workflows();
        let to = |name: &str, other: &str| {
            format!(
                "name: {name}\ntrigger: {{ type: manual }}\nsteps: [{{ id: go, type: run_workflow, workflow: {other} }}]\n"
            )
        };
        let saved = workflows.put_draft("a", &to("a", "b"), TextFormat::Yaml).await.unwrap();
        assert_eq!(saved.problems[0].code, "unknown_workflow");
        activate(
            &workspace,
            "name: b\ntrigger: { type: manual }\nsteps: [{ id: x, type: set, values: {} }]\n",
        )
        .await;
        activate(&workspace, &to("a", "b")).await;
        let saved = workflows.put_draft("b", &to("b", "a"), TextFormat::Yaml).await.unwrap();
        assert_eq!(saved.problems[0].code, "workflow_loop");
        assert_eq!(
            saved.problems[0].message,
            "the workflow would run itself for ever: `b` runs `a`, which runs `b`"
        );
        engine.close().await;
    });
}
