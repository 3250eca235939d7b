//! Workflows take turns at the slots of their workspace.
use super::*;

#[test]
fn a_workflow_with_many_runs_does_not_keep_another_waiting() {
    const STEPS: &str =
        "steps:\n  - { id: it, type: code, action: slow, input: { ms: 1000, n: '{{ trigger.body.n }}' } }\n";
    in_world(|mut world| async move {
        world.config.concurrent_runs = 1;
        let flow = |name: &str| format!("name: {name}\ntrigger: {{ type: webhook, path: {name} }}\n{STEPS}");
        let (engine, workspace) =
            world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[&flow("busy"), &flow("other")]).await;
        let mut busy = Vec::new();
        for n in 0..30 {
            busy.push(workspace.hook(post("busy", json!({ "n": n }))).await.unwrap().run_id);
        }
        let other = workspace.hook(post("other", json!({ "n": 0 }))).await.unwrap().run_id;
        let other = workspace.runs().wait(&other, WAIT).await.unwrap().summary.ended_at.unwrap();
        let runs = ended(&workspace, &busy).await;
        let before = runs.iter().filter(|run| run.summary.ended_at.unwrap() < other).count();
        assert!(before <= 3, "{before} runs of the busy one came first");
        assert!(runs.is_sorted_by_key(|run| run.summary.ended_at), "its own are in order");
        engine.close().await;
    });
}

/// Runs that were under way and are woken take turns by their workflows as well, also after a restart.
#[test]
fn runs_that_are_woken_all_at_once_do_not_keep_another_waiting() {
    const STEPS: &str = "steps:\n  - { id: sleep, type: delay, for: '{{ trigger.body.for }}' }\n  - { id: it, type: code, action: slow, input: { ms: 1000, n: '{{ trigger.body.n }}' } }\n";
    let mut world = World::new(1);
    world.config.concurrent_runs = 1;
    let flow = |name: &str| format!("name: {name}\ntrigger: {{ type: webhook, path: {name} }}\n{STEPS}");
    let (busy, other) = runtime().block_on(async {
        let (engine, workspace) =
            world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[&flow("busy"), &flow("other")]).await;
        let mut busy = Vec::new();
        for n in 0..30 {
            let body = json!({ "n": n, "for": "60s" });
            busy.push(workspace.hook(post("busy", body)).await.unwrap().run_id);
        }
        let body = json!({ "n": 0, "for": "59s" });
        let other = workspace.hook(post("other", body)).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(10)).await;
        engine.close().await;
        (busy, other)
    });
    world.restart();
    runtime().block_on(async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        let (engine, workspace) = world.open().await;
        let other = workspace.runs().wait(&other, WAIT).await.unwrap().summary.ended_at.unwrap();
        let runs = ended(&workspace, &busy).await;
        let before = runs.iter().filter(|run| run.summary.ended_at.unwrap() < other).count();
        assert!(before <= 3, "{before} runs of the busy one came first");
        engine.close().await;
    });
}
