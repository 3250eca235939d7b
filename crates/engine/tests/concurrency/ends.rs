//! What gives a place back, and what becomes of runs that cannot have one; whatever crashes.
use super::*;

#[test]
fn an_end_of_any_kind_gives_the_place_back_and_a_retry_stands_in_line() {
    const FLOW: &str = r#"
name: sync
trigger: { type: webhook, path: sync }
concurrency: {}
steps:
  - { id: wait, type: delay, for: 10s }
  - { id: moody, type: code, action: moody, input: { fails: "{{ trigger.body.fails | default(0) }}", n: "{{ trigger.body.n }}" } }
  - { id: end, type: create_record, object: note, record: { title: "end {{ trigger.body.n }}" } }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[Module::new("moody", "1.0.0", "moody")], &[FLOW]).await;
        let fails = send(&workspace, json!({ "n": 0, "fails": 1 })).await;
        let cancelled = send(&workspace, json!({ "n": 1 })).await;
        let waits = send(&workspace, json!({ "n": 2 })).await;
        workspace.runs().cancel(&cancelled).await.unwrap();
        let run = workspace.runs().wait(&cancelled, WAIT).await.unwrap();
        assert_eq!((run.summary.status, run.steps.len()), (RunStatus::Cancelled, 0), "{run:#?}");
        assert_eq!(
            status(&workspace, &fails).await,
            RunStatus::Waiting,
            "it did not have to wait for its turn"
        );
        let failed = ended(&workspace, std::slice::from_ref(&fails)).await.remove(0);
        assert_eq!(failed.summary.status, RunStatus::Failed);
        let queued = workspace.runs().retry(&fails, false).await.unwrap();
        assert_eq!(queued.waits_for.unwrap().what, Awaited::Concurrency);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(status(&workspace, &fails).await, RunStatus::Queued);
        let runs = ended(&workspace, &[waits, fails.clone()]).await;
        assert!(runs.iter().all(|run| run.summary.status == RunStatus::Completed), "{runs:#?}");
        assert_eq!(titles(&workspace).await, ["end 2", "end 0"]);
        assert_eq!(places(&world), 0);

        // One that waits to be tried again can be cancelled, and gives nothing back that it has not.
        let fails = send(&workspace, json!({ "n": 3, "fails": 1 })).await;
        ended(&workspace, std::slice::from_ref(&fails)).await;
        let holds = send(&workspace, json!({ "n": 4 })).await;
        workspace.runs().retry(&fails, false).await.unwrap();
        workspace.runs().cancel(&fails).await.unwrap();
        assert_eq!(ended(&workspace, &[fails]).await[0].summary.status, RunStatus::Cancelled);
        assert_eq!(status(&workspace, &holds).await, RunStatus::Waiting);
        ended(&workspace, &[holds]).await;
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_paused_run_keeps_its_place() {
    const FLOW: &str = r#"
name: sync
trigger: { type: webhook, path: sync }
concurrency: {}
steps:
  - { id: call, type: code, action: fail, on_error: pause }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[Module::new("fail", "1.0.0", "fail")], &[FLOW]).await;
        let first = send(&workspace, json!({})).await;
        let second = send(&workspace, json!({})).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(status(&workspace, &first).await, RunStatus::Paused);
        assert_eq!(status(&workspace, &second).await, RunStatus::Queued);
        workspace.runs().cancel(&first).await.unwrap();
        ended(&workspace, &[first]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(status(&workspace, &second).await, RunStatus::Paused);
        engine.close().await;
    });
}

/// A process that dies at each commit in turn, and the next one: all runs end, in order, and no place is left.
#[test]
fn nothing_is_lost_or_freed_twice_wherever_it_crashes() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        let mut nth = 0;
        loop {
            nth += 1;
            let mut world = World::new(nth);
            world.config.concurrent_runs = 2;
            runtime().block_on(async {
                let (engine, _) =
                    world.set_up(&[], &[&flow("{ key: '{{ trigger.body.key }}', limit: 1 }")]).await;
                engine.close().await;
            });
            world.store = world.store.reopen();
            world.store.fail_commit(nth, fault.clone());
            let crashed = runtime().block_on(async {
                let Ok(engine) = Engine::open(world.config.clone(), world.ports()).await else { return true };
                let workspace = engine.workspace("default").await.unwrap();
                for n in 0..6 {
                    let body = json!({ "n": n, "key": n % 2 });
                    if workspace.hook(post("sync", body)).await.is_err() {
                        break;
                    }
                }
                for _ in 0..2_000 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    if world.store.crashed() {
                        return true;
                    }
                }
                engine.close().await;
                false
            });
            world.store.clear_faults();
            world.store = world.store.reopen();
            runtime().block_on(async {
                let (engine, workspace) = world.open().await;
                let listed =
                    workspace.runs().list(RunFilter::default(), PageRequest::default()).await.unwrap();
                let runs: Vec<String> = listed.items.into_iter().map(|run| run.id).collect();
                let mut numbers = Vec::new();
                for run in ended(&workspace, &runs).await {
                    assert_eq!(run.summary.status, RunStatus::Completed, "{fault:?} at {nth}: {run:#?}");
                    let Payload::Value(input) = &run.input else { panic!("{run:#?}") };
                    numbers.push(input["body"]["n"].as_u64().unwrap());
                }
                numbers.sort_unstable();
                let titles = titles(&workspace).await;
                for parity in 0..2 {
                    let own: Vec<u64> = numbers.iter().copied().filter(|n| n % 2 == parity).collect();
                    let wanted: Vec<String> =
                        own.iter().flat_map(|n| [format!("begin {n}"), format!("end {n}")]).collect();
                    let got: Vec<&String> = titles.iter().filter(|title| wanted.contains(title)).collect();
                    assert_eq!(got, wanted.iter().collect::<Vec<_>>(), "{fault:?} at {nth}");
                }
                assert_eq!(titles.len(), 2 * numbers.len(), "{fault:?} at {nth}: {titles:?}");
                assert_eq!(places(&world), 0, "{fault:?} at {nth}");
                engine.close().await;
            });
            if !crashed {
                assert!(nth > 15, "every commit had its turn: {nth}");
                break;
            }
        }
    }
}

#[test]
fn a_key_that_cannot_be_made_fails_its_run_alone() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ key: '{{ trigger.body.key }}' }")]).await;
        let mut failed = Vec::new();
        for body in
            [json!({ "n": 1 }), json!({ "n": 1, "key": null }), json!({ "n": 1, "key": "x".repeat(513) })]
        {
            let run = send(&workspace, body).await;
            let detail = workspace.runs().get(&run).await.unwrap();
            assert_eq!(
                (detail.summary.status, code(&detail)),
                (RunStatus::Failed, "invalid_concurrency_key")
            );
            assert_eq!(detail.steps.len(), 0, "{detail:#?}");
            failed.push(run);
        }
        let good = send(&workspace, json!({ "n": 2, "key": "x".repeat(512) })).await;
        assert_eq!(ended(&workspace, &[good]).await[0].summary.status, RunStatus::Completed);
        assert_eq!(titles(&workspace).await, ["begin 2", "end 2"]);
        let error = workspace.runs().retry(&failed[0], false).await.unwrap_err();
        assert_eq!(error.code, "invalid_concurrency_key");
        // What it failed by is mended: it begins.
        activate(&workspace, &flow("{ key: '{{ trigger.body.key | default(1) }}' }")).await;
        workspace.runs().retry(&failed[0], true).await.unwrap();
        let run = ended(&workspace, &failed[..1]).await.remove(0);
        assert_eq!((run.summary.status, run.summary.version), (RunStatus::Completed, 2), "{run:#?}");
        assert_eq!(titles(&workspace).await, ["begin 2", "end 2", "begin 1", "end 1"]);
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_run_does_not_wait_for_one_that_waits_for_it() {
    const SELF: &str = r#"
name: again
trigger: { type: manual }
concurrency: {}
steps:
  - { id: once, type: run_workflow, workflow: again, input: { n: 1 }, if: "{{ trigger.input.n is not defined }}" }
"#;
    const OUTER: &str = r#"
name: outer
trigger: { type: manual }
concurrency: { key: "{{ trigger.input.n }}" }
steps:
  - { id: sub, type: run_workflow, workflow: inner, input: { n: "{{ trigger.input.n }}" }, on_error: continue }
output: "{{ steps.sub.error.code | default('none') }}"
"#;
    const INNER: &str = r#"
name: inner
trigger: { type: manual }
concurrency: { key: one, when_full: skip }
steps:
  - { id: hold, type: delay, for: 10s }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[SELF, INNER, OUTER]).await;
        let run = workspace.workflows().run("again", json!({}), Some(WAIT)).await.unwrap();
        let error = run.error.unwrap();
        assert_eq!(
            (run.status, error.code.as_str()),
            (RunStatus::Failed, "concurrency_deadlock"),
            "{error:?}"
        );
        let first = workspace.workflows().run("outer", json!({ "n": 1 }), None).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = workspace.workflows().run("outer", json!({ "n": 2 }), Some(WAIT)).await.unwrap();
        assert_eq!(second.output, Some(json!("concurrency_full")), "{second:?}");
        let first = ended(&workspace, &[first.run_id]).await.remove(0);
        assert_eq!(first.output, Some(Payload::Value(json!("none"))));
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

/// `a` and `b` are in order by their keys, and each runs the other one, or nothing; `hold` before that.
fn chain(name: &str, limit: u32, runs: &str) -> String {
    format!(
        r#"
name: {name}
trigger: {{ type: manual }}
concurrency: {{ key: "{{{{ trigger.input.key }}}}", limit: {limit} }}
steps:
  - {{ id: hold, type: delay, for: 10s }}
  - {{ id: sub, type: run_workflow, workflow: {runs}, input: "{{{{ trigger.input.then }}}}", if: "{{{{ trigger.input.then is defined }}}}" }}
"#
    )
}

#[test]
fn two_chains_that_would_wait_for_each_other_s_keys_are_told() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        // A workflow that is run is there before who runs it.
        activate(&workspace, &chain("b", 1, "b")).await;
        activate(&workspace, &chain("a", 1, "b")).await;
        activate(&workspace, &chain("b", 1, "a")).await;
        let start = |name: &str, input: Value| {
            let (workspace, name) = (workspace.clone(), name.to_owned());
            async move { workspace.workflows().run(&name, input, None).await.unwrap().run_id }
        };
        let a = start("a", json!({ "key": "x", "then": { "key": "y" } })).await;
        let b = start("b", json!({ "key": "y", "then": { "key": "x" } })).await;
        let both = ended(&workspace, &[a, b]).await;
        let codes: Vec<_> = both.iter().map(|run| (run.summary.status, code(run).to_owned())).collect();
        let failed = codes.iter().filter(|(_, code)| code == "concurrency_deadlock").count();
        let completed = codes.iter().filter(|(status, _)| *status == RunStatus::Completed).count();
        assert_eq!((failed, completed), (1, 1), "{codes:?}");
        let told = both.iter().find_map(|run| run.summary.error.as_ref()).unwrap();
        assert!(told.message.contains("nobody would ever go on"), "{told:?}");
        assert_eq!(places(&world), 0);

        // By way of a third that has a key of its own.
        activate(&workspace, &chain("c", 1, "a")).await;
        activate(&workspace, &chain("b", 1, "c")).await;
        let third = json!({ "key": "z", "then": { "key": "x" } });
        let a = start("a", json!({ "key": "x", "then": { "key": "y" } })).await;
        let b = start("b", json!({ "key": "y", "then": third })).await;
        let both = ended(&workspace, &[a, b]).await;
        assert_eq!(both[0].summary.status, RunStatus::Completed, "{both:#?}");
        assert_eq!((both[1].summary.status, code(&both[1])), (RunStatus::Failed, "concurrency_deadlock"));
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_run_is_waited_for_while_a_place_of_its_key_will_be_free() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&chain("a", 2, "a")]).await;
        let start = async |input: Value| workspace.workflows().run("a", input, None).await.unwrap().run_id;
        // The own run has one of two places: the other one is free.
        let alone = start(json!({ "key": "x", "then": { "key": "x" } })).await;
        let alone = ended(&workspace, &[alone]).await.remove(0);
        assert_eq!(alone.summary.status, RunStatus::Completed, "{alone:#?}");
        // Both are taken, and one by a run that ends by itself.
        let first = start(json!({ "key": "x", "then": { "key": "x" } })).await;
        let other = start(json!({ "key": "x" })).await;
        for run in ended(&workspace, &[first, other]).await {
            assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        }
        // A third place would be needed.
        let three = json!({ "key": "x", "then": { "key": "x", "then": { "key": "x" } } });
        let run = start(three).await;
        let run = ended(&workspace, &[run]).await.remove(0);
        assert_eq!(code(&run), "concurrency_deadlock");
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}
