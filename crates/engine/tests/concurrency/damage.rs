//! Rows of a line that cannot be read shut no key: what they said is said elsewhere too.
use super::*;
use stepwell_store::{Key, Store, Tx, WorkspaceId};

/// Writes what nobody can read into rows.
async fn damage(world: &World, rows: Vec<Key>) {
    let writes = rows.into_iter().map(|key| (key, Some(vec![1u8, b'{'].into()))).collect();
    let home = WorkspaceId(1).shard();
    world.store.commit(Tx { home, rests_on: Vec::new(), writes, append: Vec::new() }).await.unwrap();
}

fn keys(world: &World, space: Space) -> Vec<Key> {
    world.rows(space).into_iter().map(|(key, _)| key).collect()
}

/// The rows of the one key: how many there are, the run under way, and those that wait.
fn rows(world: &World) -> Vec<Key> {
    let rows = keys(world, Space::Places);
    assert_eq!(rows.len(), 1 + 1 + 3);
    rows
}

async fn four(workspace: &Workspace) -> Vec<String> {
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.push(send(workspace, json!({ "n": n })).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    runs
}

async fn all_ran_alone(world: &World, workspace: &Workspace, runs: &[String]) {
    for run in ended(workspace, runs).await {
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
    }
    let titles = titles(workspace).await;
    assert_eq!(titles.len(), 2 * runs.len());
    for pair in titles.chunks(2) {
        assert_eq!(pair[0].replace("begin", "end"), pair[1], "one at a time: {titles:?}");
    }
    assert_eq!(places(world), 0);
}

const WHICH: [&[usize]; 6] = [&[0], &[1], &[2], &[3, 4], &[2, 3, 4], &[0, 1, 2, 3, 4]];

#[test]
fn a_row_that_cannot_be_read_shuts_no_key() {
    for which in WHICH {
        in_world(move |world| async move {
            let (engine, workspace) = world.set_up(&[], &[&flow("{ key: k }")]).await;
            let mut runs = four(&workspace).await;
            let rows = rows(&world);
            damage(&world, which.iter().map(|n| rows[*n].clone()).collect()).await;
            let waits = workspace.runs().get(&runs[1]).await.unwrap().summary.waits_for.unwrap();
            assert_eq!(waits.what, Awaited::Concurrency);
            runs.push(send(&workspace, json!({ "n": 4 })).await);
            all_ran_alone(&world, &workspace, &runs).await;
            engine.close().await;
        });
    }
}

#[test]
fn nor_does_it_keep_an_engine_from_starting() {
    for which in WHICH {
        let mut world = World::new(1);
        let mut runs = runtime().block_on(async {
            let (_engine, workspace) = world.set_up(&[], &[&flow("{ key: k }")]).await;
            four(&workspace).await
        });
        world.restart();
        runtime().block_on(async {
            let rows = rows(&world);
            damage(&world, which.iter().map(|n| rows[*n].clone()).collect()).await;
            let (engine, workspace) = world.open().await;
            runs.push(send(&workspace, json!({ "n": 4 })).await);
            all_ran_alone(&world, &workspace, &runs).await;
            engine.close().await;
        });
    }
}

#[test]
fn whose_run_is_lost_as_well_is_taken_out_and_one_that_replaces_waits_for_nobody_s_row() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ key: k }")]).await;
        let runs = four(&workspace).await;
        let rows = rows(&world);
        // The heads are in the order of the runs.
        let heads = keys(&world, Space::Runs);
        damage(&world, vec![rows[2].clone(), heads[1].clone()]).await;
        let left = [runs[0].clone(), runs[2].clone(), runs[3].clone()];
        all_ran_alone(&world, &workspace, &left).await;
        engine.close().await;
    });
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("{ key: k, when_full: replace }")]).await;
        let first = send(&workspace, json!({ "n": 0 })).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        damage(&world, vec![keys(&world, Space::Places)[1].clone()]).await;
        let second = send(&workspace, json!({ "n": 1 })).await;
        let ran = ended(&workspace, &[first, second]).await;
        assert_eq!((code(&ran[0]), code(&ran[1])), ("concurrency_replaced", ""));
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}

#[test]
fn a_run_whose_head_is_lost_holds_its_place_for_nobody() {
    for which in [0, 1] {
        in_world(move |world| async move {
            let (engine, workspace) = world.set_up(&[], &[&flow("{ key: k }")]).await;
            let mut runs = four(&workspace).await;
            // The first is under way, the second waits. The heads are in the order of the runs.
            damage(&world, vec![keys(&world, Space::Runs)[which].clone()]).await;
            runs.remove(which);
            for run in ended(&workspace, &runs).await {
                assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
            }
            assert_eq!(places(&world), 0);
            engine.close().await;
        });
    }
}

#[test]
fn one_that_replaces_several_passes_none_by_whose_row_cannot_be_read() {
    in_world(|world| async move {
        let (engine, workspace) =
            world.set_up(&[], &[&flow("{ key: k, limit: 3, when_full: replace }")]).await;
        let mut runs = Vec::new();
        for n in 0..3 {
            runs.push(send(&workspace, json!({ "n": n })).await);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        activate(&workspace, &flow("{ key: k, limit: 1, when_full: replace }")).await;
        damage(&world, vec![keys(&world, Space::Places)[1].clone()]).await;
        runs.push(send(&workspace, json!({ "n": 3 })).await);
        let ran = ended(&workspace, &runs).await;
        let codes: Vec<&str> = ran.iter().map(code).collect();
        assert_eq!(codes, ["concurrency_replaced", "concurrency_replaced", "concurrency_replaced", ""]);
        assert_eq!(places(&world), 0);
        engine.close().await;
    });
}
