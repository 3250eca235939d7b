//! Runs that wait for a person: through restarts, without a slot, and how they go on.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use stepwell_engine::{Payload, ResumeAction, ResumeRun, RunDetail, RunStatus, StepStatus, Workspace};
use support::{Module, World, activate, all_records, in_world, process};

const WAIT: Duration = Duration::from_secs(3600);
const BROKEN: Module = Module::new("price", "1.0.0", "trap");
const MENDED: Module = Module::new("price", "1.0.1", "echo");

const PAUSING: &str = r#"
name: pausing
trigger: { type: manual }
steps:
  - { id: before, type: create_record, object: task, record: { title: "before" } }
  - { id: price, type: code, action: price@1, input: { n: 7 }, on_error: pause }
  - { id: after, type: create_record, object: task, record: { title: "price {{ price.n | default('none') }}" } }
"#;

fn resume(action: ResumeAction) -> ResumeRun {
    ResumeRun { action, step: None, actions: BTreeMap::new(), newest: false }
}

fn with(actions: [(&str, &str); 1]) -> ResumeRun {
    let actions = actions.map(|(name, version)| (name.to_owned(), version.to_owned())).into();
    ResumeRun { actions, ..resume(ResumeAction::Retry) }
}

async fn paused(workspace: &Workspace) -> RunDetail {
    let id = workspace.workflows().run("pausing", json!({}), None).await.unwrap().run_id;
    settled(workspace, &id).await
}

/// The run once nothing of it is under way.
async fn settled(workspace: &Workspace, id: &str) -> RunDetail {
    loop {
        let run = workspace.runs().wait(id, Duration::from_millis(10)).await.unwrap();
        if run.summary.status == RunStatus::Paused || run.summary.status.ended() {
            return run;
        }
    }
}

async fn titles(workspace: &Workspace) -> Vec<String> {
    let tasks = all_records(workspace, "task").await;
    tasks.iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_paused_run_survives_a_restart_and_goes_on_with_a_mended_action() {
    let mut world = World::new(1);
    let id = &process(&mut world, async |engine, workspace| {
        workspace.actions().put(BROKEN.name, BROKEN.bytes(), false).await.unwrap();
        activate(&workspace, PAUSING).await;
        let run = paused(&workspace).await;
        assert_eq!(run.summary.status, RunStatus::Paused, "{run:#?}");
        let step = &run.steps[1];
        assert_eq!((step.status, step.error.as_ref().unwrap().code.as_str()), (StepStatus::Paused, "trap"));
        assert_eq!(engine.stats().runs_running, 0, "a run that waits for a person holds no slot");
        engine.close().await;
        run.summary.id
    });
    process(&mut world, async |engine, workspace| {
        let run = settled(&workspace, id).await;
        assert_eq!(run.summary.status, RunStatus::Paused);
        workspace.actions().put(MENDED.name, MENDED.bytes(), false).await.unwrap();
        // As it is, it ends in the same way.
        workspace.runs().resume(id, resume(ResumeAction::Retry)).await.unwrap();
        let run = settled(&workspace, id).await;
        assert_eq!((run.summary.status, run.steps[1].attempts.len()), (RunStatus::Paused, 2));
        for (actions, code) in [
            (("price", "1.0.9"), "unknown_action"),
            (("other", "latest"), "unknown_action"),
            (("price", "x"), "invalid_resume"),
        ] {
            let refused = workspace.runs().resume(id, with([actions])).await.unwrap_err();
            assert_eq!(refused.code, code, "{refused}");
        }
        workspace.runs().resume(id, with([("price", "1.0.1")])).await.unwrap();
        let run = workspace.runs().wait(id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(run.actions["price@1"], "price@1.0.1");
        assert_eq!(run.steps[1].action.as_deref(), Some("price@1.0.1"));
        assert_eq!(titles(&workspace).await, ["before", "price 7"]);
        let late = workspace.runs().resume(id, resume(ResumeAction::Skip)).await.unwrap_err();
        assert_eq!(late.code, "run_not_paused");
        engine.close().await;
    });
}

#[test]
fn a_wait_ends_when_only_a_person_can_let_the_run_go_on() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[BROKEN], &[PAUSING]).await;
        let runs = workspace.runs();
        let before = tokio::time::Instant::now();
        let started = workspace.workflows().run("pausing", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!(started.status, RunStatus::Paused);
        // And when it was so before.
        let run = runs.wait_for_turn(&started.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Paused);
        assert!(before.elapsed() < Duration::from_secs(60), "nobody has waited for nothing");
        // What was said to a run is no reason to leave it: it is about to go on.
        runs.resume(&started.run_id, resume(ResumeAction::Skip)).await.unwrap();
        let run = runs.wait_for_turn(&started.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        engine.close().await;
    });
}

#[test]
fn a_paused_run_goes_on_with_a_newer_version_of_its_workflow() {
    let newer = PAUSING
        .replace("action: price@1,", "action: cost,")
        .replace("title: \"price {{", "title: \"cost {{")
        .replace("steps:", "output: \"{{ after.record.title }}\"\nsteps:");
    let cost = Module::new("cost", "2.0.0", "echo");
    let mut world = World::new(1);
    let id = &process(&mut world, async |engine, workspace| {
        workspace.actions().put(BROKEN.name, BROKEN.bytes(), false).await.unwrap();
        activate(&workspace, PAUSING).await;
        let run = paused(&workspace).await;
        workspace.actions().put(cost.name, cost.bytes(), false).await.unwrap();
        activate(&workspace, &newer).await;
        let go_on = ResumeRun { newest: true, ..resume(ResumeAction::Retry) };
        let summary = workspace.runs().resume(&run.summary.id, go_on.clone()).await.unwrap();
        assert_eq!(summary.version, 2);
        let again = workspace.runs().wait(&run.summary.id, WAIT).await.unwrap();
        assert_eq!(again.summary.status, RunStatus::Completed, "{again:#?}");
        assert_eq!(again.output, Some(Payload::Value(json!("cost 7"))));
        assert_eq!((again.summary.version, again.actions["cost"].as_str()), (2, "cost@2.0.0"));
        let shown: Vec<_> = again.steps.iter().map(|step| (step.id.as_str(), step.status)).collect();
        assert!(shown.iter().all(|(_, status)| *status == StepStatus::Completed), "{shown:?}");
        assert_eq!(again.steps[1].attempts.len(), 2);

        // A version without a step of the run is refused, and the run waits as before.
        activate(&workspace, PAUSING).await;
        let run = paused(&workspace).await;
        let without = PAUSING.replace("{ id: before,", "{ id: first,");
        activate(&workspace, &without).await;
        let refused = workspace.runs().resume(&run.summary.id, go_on.clone()).await.unwrap_err();
        assert_eq!(refused.code, "version_does_not_fit", "{refused}");
        assert_eq!(settled(&workspace, &run.summary.id).await.summary.status, RunStatus::Paused);

        // What was asked for is on disk when it is told: a crash then changes nothing.
        activate(&workspace, &newer).await;
        workspace.runs().resume(&run.summary.id, go_on).await.unwrap();
        drop(engine);
        run.summary.id
    });
    process(&mut world, async |engine, workspace| {
        let run = workspace.runs().wait(id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(run.output, Some(Payload::Value(json!("cost 7"))));
        let mut titles = titles(&workspace).await;
        titles.sort_unstable();
        assert_eq!(titles, ["before", "before", "cost 7", "cost 7"]);
        engine.close().await;
    });
}

/// What a run failed by may stand in a setting: once it is mended, a retry on what there is now finds it.
#[test]
fn a_retry_on_the_newest_takes_the_settings_of_now() {
    const TAXED: &str = r#"
name: taxed
trigger: { type: manual }
steps:
  - { id: tax, type: set, values: { percent: "{{ settings.percent | int }}" } }
output: "{{ tax.percent }}"
"#;
    let mut world = World::new(1);
    let id = &process(&mut world, async |engine, workspace| {
        workspace.settings().put("percent", json!("nineteen")).await.unwrap();
        activate(&workspace, TAXED).await;
        let id = workspace.workflows().run("taxed", json!({}), None).await.unwrap().run_id;
        assert_eq!(settled(&workspace, &id).await.summary.status, RunStatus::Failed);
        workspace.settings().put("percent", json!("19")).await.unwrap();
        workspace.runs().retry(&id, false).await.unwrap();
        let run = settled(&workspace, &id).await;
        assert_eq!(run.summary.status, RunStatus::Failed, "as it was when the run started");
        workspace.runs().retry(&id, true).await.unwrap();
        let run = settled(&workspace, &id).await;
        assert_eq!((run.summary.status, run.output), (RunStatus::Completed, Some(Payload::Value(json!(19)))));
        engine.close().await;
        id
    });
    process(&mut world, async |engine, workspace| {
        let run = workspace.runs().get(id).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!(19))), "and so the journal says");
        engine.close().await;
    });
}

#[test]
fn a_newer_version_waits_until_nothing_of_the_run_is_under_way() {
    let both = r#"
name: both
trigger: { type: manual }
steps:
  - id: both
    type: parallel
    steps:
      - { id: price, type: code, action: price@1, input: { n: 7 }, on_error: pause }
      - { id: slow, type: http_request, url: "https://example.com/slow" }
output: VERSION
"#;
    in_world(async |world| {
        let first = both.replace("VERSION", "1");
        let (engine, workspace) = world.set_up(&[BROKEN], &[&first]).await;
        world.http.behave(0, 60_000);
        let id = workspace.workflows().run("both", json!({}), None).await.unwrap().run_id;
        activate(&workspace, &both.replace("VERSION", "2")).await;
        let runs = workspace.runs();
        loop {
            let run = runs.wait(&id, Duration::from_millis(10)).await.unwrap();
            if run.steps.iter().any(|step| step.id == "price" && step.status == StepStatus::Paused) {
                break;
            }
        }
        let go_on = ResumeRun { newest: true, ..resume(ResumeAction::Skip) };
        let refused = runs.resume(&id, go_on.clone()).await.unwrap_err();
        assert_eq!(refused.code, "version_does_not_fit", "{refused}");
        let run = runs.wait_for_turn(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Paused, "the call has ended, and only a person is left");
        runs.resume(&id, go_on).await.unwrap();
        let run = runs.wait(&id, WAIT).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!(2))), "{run:#?}");
        engine.close().await;
    });
}

#[test]
fn a_paused_step_is_skipped_or_given_an_output_or_cancelled_with_its_run() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[BROKEN], &[PAUSING]).await;
        let id = paused(&workspace).await.summary.id;
        let named = ResumeRun { step: Some("before".into()), ..resume(ResumeAction::Skip) };
        let refused = workspace.runs().resume(&id, named).await.unwrap_err();
        assert_eq!(refused.code, "step_not_paused");
        assert_eq!(refused.message, "step `before` does not wait for a person; `price` does");
        workspace.runs().resume(&id, resume(ResumeAction::Skip)).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!((run.summary.status, run.steps[1].status), (RunStatus::Completed, StepStatus::Skipped));

        let id = paused(&workspace).await.summary.id;
        let large = json!({ "n": "x".repeat(40_000) });
        workspace.runs().resume(&id, resume(ResumeAction::Output(large.clone()))).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        assert_eq!(run.steps[1].output, Some(Payload::Value(large)));

        let id = paused(&workspace).await.summary.id;
        workspace.runs().resume(&id, resume(ResumeAction::Output(json!({ "n": 8 })))).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);

        let id = paused(&workspace).await.summary.id;
        workspace.runs().cancel(&id).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Cancelled);
        assert!(titles(&workspace).await.contains(&"price 8".to_owned()));
        engine.close().await;
    });
}

const RELEASES: [&str; 2] = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"];

const CODE: &str = r#"
name: pausing
trigger: { type: manual }
steps:
  - { id: one, type: code, action: echo, input: 1 }
  - { id: two, type: code, action: echo, input: 2 }
  - { id: price, type: code, action: price@1, input: { n: 7 }, on_error: pause }
"#;

/// What an outcome depends on besides module, input, seed and start is kept with it: once, as long as it is the same.
#[test]
fn a_step_that_another_release_of_the_sandbox_made_says_so() {
    let mut world = World::new(1);
    let semantics = |run: &RunDetail| -> Vec<Option<String>> {
        run.steps.iter().map(|step| step.semantics.clone()).collect()
    };
    let [old, new] = RELEASES.map(|release| Some(release.to_owned()));
    let rows = |world: &World, release: &str| {
        let holds = |value: &[u8]| value.windows(16).filter(|part| *part == release.as_bytes()).count();
        world.store.dump().iter().map(|(_, value)| holds(value)).sum::<usize>()
    };
    *world.code.semantics.lock().unwrap() = Some(RELEASES[0]);
    let id = &process(&mut world, async |engine, workspace| {
        for module in [BROKEN, Module::new("echo", "1.0.0", "echo")] {
            workspace.actions().put(module.name, module.bytes(), false).await.unwrap();
        }
        activate(&workspace, CODE).await;
        let run = paused(&workspace).await;
        assert_eq!(semantics(&run), vec![old.clone(); 3]);
        engine.close().await;
        run.summary.id
    });
    assert_eq!(rows(&world, RELEASES[0]), 1, "three steps, and it is written once");
    *world.code.semantics.lock().unwrap() = Some(RELEASES[1]);
    process(&mut world, async |engine, workspace| {
        workspace.actions().put(MENDED.name, MENDED.bytes(), false).await.unwrap();
        workspace.runs().resume(id, with([("price", "1.0.1")])).await.unwrap();
        let run = workspace.runs().wait(id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(semantics(&run), [old.clone(), old, new]);
        engine.close().await;
    });
    assert_eq!([rows(&world, RELEASES[0]), rows(&world, RELEASES[1])], [1, 1]);
}
