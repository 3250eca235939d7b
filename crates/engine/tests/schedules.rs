//! Schedules start runs: one for each time, whatever happens to the process and its clock.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use stepwell_engine::{PageRequest, RunStatus, RunSummary, TextFormat, Workspace};
use stepwell_store::{Fault, Txn, WorkspaceId, keys};
use support::{World, activate, in_world, runtime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

fn flow(trigger: &str) -> String {
    format!(
        "name: ticking\ntrigger: {{ type: schedule, {trigger} }}\nsteps:\n  \
         - {{ id: seen, type: set, values: {{ at: '{{{{ trigger.scheduled_at }}}}' }} }}\n"
    )
}

/// Each run takes 25 minutes.
fn slow(trigger: &str) -> String {
    flow(trigger) + "  - { id: wait, type: delay, for: 25m }\n"
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Oldest first, with what each saw as `trigger`.
async fn runs(workspace: &Workspace) -> Vec<(RunSummary, Value)> {
    let page = PageRequest { limit: Some(500), cursor: None };
    let mut runs = workspace.runs().list(Default::default(), page).await.unwrap().items;
    runs.reverse();
    let mut all = Vec::new();
    for run in runs {
        let detail = workspace.runs().get(&run.id).await.unwrap();
        all.push((run, serde_json::to_value(&detail.input).unwrap()));
    }
    all
}

fn text(trigger: &Value, name: &str) -> String {
    trigger[name].as_str().unwrap_or("-").to_owned()
}

async fn times(workspace: &Workspace) -> Vec<String> {
    runs(workspace).await.iter().map(|(_, trigger)| text(trigger, "scheduled_at")[11..].to_owned()).collect()
}

/// The world begins at 2026-09-21T14:13:20Z.
#[test]
fn a_run_starts_at_each_time_and_knows_the_one_before() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("cron: '*/10 * * * *'")]).await;
        sleep(HOUR).await;
        let runs = runs(&workspace).await;
        let times: Vec<_> = runs.iter().map(|(_, trigger)| text(trigger, "scheduled_at")).collect();
        assert_eq!(times.len(), 6);
        assert_eq!(times[0], "2026-09-21T14:20:00Z");
        assert_eq!(times[5], "2026-09-21T15:10:00Z");
        for (place, (run, trigger)) in runs.iter().enumerate() {
            assert_eq!((run.status, run.trigger.as_str()), (RunStatus::Completed, "schedule"));
            let before = place.checked_sub(1).map_or("-", |place| times[place].as_str());
            assert_eq!(text(trigger, "previous_at"), before);
            assert_eq!((&trigger["missed"], &trigger["time_zone"]), (&json!(0), &json!("UTC")));
            let late = run.created_at.duration_since(times[place].parse().unwrap());
            assert!(late.as_millis() >= 0 && late.as_millis() < 10, "{late}");
        }
        assert_eq!(engine.stats().schedule_runs, 6);
        engine.close().await;
    });
}

#[test]
fn seconds_zones_and_equal_distances() {
    for (trigger, wanted) in [
        ("cron: '*/30 14 14 * * *'", vec!["14:14:00Z", "14:14:30Z"]),
        // 16:30 in Berlin.
        ("cron: '30 16 * * *', time_zone: Europe/Berlin", vec!["14:30:00Z"]),
        ("every: 25m", vec!["14:38:20Z", "15:03:20Z"]),
    ] {
        in_world(|world| async move {
            let (engine, workspace) = world.set_up(&[], &[&flow(trigger)]).await;
            sleep(HOUR).await;
            let times = times(&workspace).await;
            let cut = |time: &String| format!("{}Z", &time[..8]);
            assert_eq!(times.iter().map(cut).collect::<Vec<_>>(), wanted, "{trigger}");
            engine.close().await;
        });
    }
}

#[test]
fn times_that_were_missed_are_run_as_the_schedule_says() {
    for (missed, runs_then, counts) in
        [("skip", 0, vec![]), ("run_once", 1, vec![4]), ("run_all", 5, vec![0, 0, 0, 0, 0])]
    {
        let world = World::new(1);
        runtime().block_on(async {
            let (engine, _) =
                world.set_up(&[], &[&flow(&format!("cron: '0 * * * *', missed: {missed}"))]).await;
            engine.close().await;
        });
        // Five hours, and five minutes past the last of them.
        world.time.fetch_add((5 * HOUR - 8 * MINUTE) * 1000, SeqCst);
        runtime().block_on(async {
            let (engine, workspace) = world.open().await;
            sleep(1).await;
            let before = runs(&workspace).await;
            assert_eq!(before.len(), runs_then, "{missed}");
            let missed_then: Vec<u64> =
                before.iter().map(|(_, seen)| seen["missed"].as_u64().unwrap()).collect();
            assert_eq!(missed_then, counts, "{missed}");
            sleep(HOUR).await;
            let times = times(&workspace).await;
            assert_eq!(times.last().unwrap(), "20:00:00Z", "{missed}");
            assert_eq!(times.len(), runs_then + 1);
            let listed = workspace.schedules(PageRequest::default()).await.unwrap().items;
            assert_eq!(
                listed[0].skipped,
                [5, 4, 0][["skip", "run_once", "run_all"].iter().position(|m| *m == missed).unwrap()]
            );
            engine.close().await;
        });
    }
}

#[test]
fn a_time_that_comes_while_the_run_before_goes_on() {
    for (overlap, wanted) in [
        ("allow", vec!["14:20", "14:30", "14:40", "14:50", "15:00", "15:10"]),
        ("skip", vec!["14:20", "14:50"]),
        // What waits is run once the one before is over; of several the last one counts.
        ("wait", vec!["14:20", "14:40", "15:10"]),
        ("wait, missed: run_all", vec!["14:20", "14:30", "14:40"]),
    ] {
        in_world(|world| async move {
            let (engine, workspace) =
                world.set_up(&[], &[&slow(&format!("cron: '*/10 * * * *', overlap: {overlap}"))]).await;
            sleep(HOUR + 3 * MINUTE).await;
            let times: Vec<String> =
                times(&workspace).await.iter().map(|time| time[..5].to_owned()).collect();
            assert_eq!(times, wanted, "{overlap}");
            engine.close().await;
        });
    }
}

/// The server is there all the time, so nothing is missed, however long the run before takes.
#[test]
fn a_time_that_waits_for_a_run_is_not_missed() {
    in_world(|world| async move {
        let text = slow("cron: '20,26 14 * * *', overlap: wait, missed: skip");
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        sleep(HOUR).await;
        assert_eq!(times(&workspace).await, ["14:20:00Z", "14:26:00Z"]);
        let listed = workspace.schedules(PageRequest::default()).await.unwrap().items;
        assert_eq!(listed[0].skipped, 0);
        engine.close().await;
    });
}

/// Sixty runs with the settings of their workspace in each are more than one commit takes.
#[test]
fn missed_times_are_run_in_as_many_commits_as_they_take() {
    let world = World::new(1);
    let using = "  - { id: uses, type: set, values: { note: '{{ settings.note | length }}' } }\n";
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        for n in 0..5 {
            let name = if n == 0 { "note".to_owned() } else { format!("note{n}") };
            workspace.settings().put(&name, json!("n".repeat(6000))).await.unwrap();
        }
        activate(&workspace, &(flow("every: 5m, missed: run_all") + using)).await;
        let other = flow("every: 10m").replace("ticking", "other");
        activate(&workspace, &other).await;
        engine.close().await;
    });
    world.time.fetch_add(5 * HOUR * 1000 + 5 * MINUTE * 1000, SeqCst);
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        sleep(MINUTE).await;
        let runs = runs(&workspace).await;
        assert!(runs.iter().all(|(run, _)| run.status == RunStatus::Completed));
        assert_eq!(runs.iter().filter(|(run, _)| run.workflow == "ticking").count(), 61);
        assert_eq!(runs.iter().filter(|(run, _)| run.workflow == "other").count(), 1);
        engine.close().await;
    });
}

#[test]
fn of_very_many_missed_times_the_newest_are_run() {
    let world = World::new(1);
    runtime().block_on(async {
        let (engine, _) = world.set_up(&[], &[&flow("every: 1m, missed: run_all")]).await;
        engine.close().await;
    });
    world.time.fetch_add(20 * HOUR * 1000, SeqCst);
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        sleep(30).await;
        let listed = workspace.schedules(PageRequest::default()).await.unwrap().items;
        assert_eq!((engine.stats().schedule_runs, listed[0].skipped), (1000, 200));
        engine.close().await;
    });
}

/// Ten thousand times on a Monday, and then none for days: the last one is still the last.
#[test]
fn of_very_many_missed_times_that_lie_unevenly_the_newest_are_run() {
    for (missed, runs_then) in [("run_once", 1), ("run_all", 1000)] {
        let world = World::new(1);
        let every = format!("cron: '*/2 * 9-16 * * TUE', missed: {missed}");
        runtime().block_on(async {
            let (engine, _) = world.set_up(&[], &[&flow(&every)]).await;
            engine.close().await;
        });
        // From a Monday to the Friday behind it.
        world.time.fetch_add(4 * 24 * HOUR * 1000, SeqCst);
        runtime().block_on(async {
            let (engine, workspace) = world.open().await;
            sleep(30).await;
            assert_eq!(engine.stats().schedule_runs, runs_then, "{missed}");
            let page = PageRequest { limit: Some(1), cursor: None };
            let last = workspace.runs().list(Default::default(), page).await.unwrap().items.remove(0);
            let last = workspace.runs().get(&last.id).await.unwrap();
            let at = serde_json::to_value(&last.input).unwrap()["scheduled_at"].clone();
            assert_eq!(at, "2026-09-22T16:59:58Z", "{missed}");
            engine.close().await;
        });
    }
}

/// A row that cannot be read is its own schedule's trouble alone.
#[test]
fn a_damaged_schedule_stops_no_other() {
    let world = World::new(1);
    runtime().block_on(async {
        let damaged = flow("every: 9m").replace("ticking", "damaged");
        let (engine, _) = world.set_up(&[], &[&damaged, &flow("every: 10m")]).await;
        engine.close().await;
        let is_it = |key: &[u8]| key.windows(7).any(|part| part == b"damaged");
        let rows = world.store.dump();
        let schedules = keys::Space::Schedules as u8;
        let (key, _) = rows.into_iter().find(|(key, _)| key[0] == schedules && is_it(key)).unwrap();
        let mut txn = Txn::begin(Arc::new(world.store.clone()), WorkspaceId(1).shard());
        txn.put(key, b"\x01{".to_vec());
        txn.commit().await.unwrap();
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        sleep(11 * MINUTE).await;
        let runs = runs(&workspace).await;
        assert_eq!(runs.iter().map(|(run, _)| run.workflow.as_str()).collect::<Vec<_>>(), ["ticking"]);
        engine.close().await;
    });
}

/// A defect of ours costs a schedule a minute, and no other anything.
#[test]
fn a_panic_stops_no_schedule() {
    in_world(|world| async move {
        let other = flow("every: 10m").replace("ticking", "other");
        let (engine, workspace) = world.set_up(&[], &[&flow("every: 10m"), &other]).await;
        sleep(5 * MINUTE).await;
        world.rng.panic_at(1);
        sleep(17 * MINUTE).await;
        assert_eq!(runs(&workspace).await.len(), 4);
        engine.close().await;
    });
}

#[test]
fn overlap_holds_across_a_change_of_the_times() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&slow("every: 10m, overlap: skip")]).await;
        sleep(11 * MINUTE).await;
        workspace.workflows().deactivate("ticking").await.unwrap();
        activate(&workspace, &slow("every: 8m, overlap: skip")).await;
        sleep(17 * MINUTE).await;
        assert_eq!(runs(&workspace).await.len(), 1, "it goes on for 25 minutes");
        sleep(20 * MINUTE).await;
        assert_eq!(runs(&workspace).await.len(), 2);
        engine.close().await;
    });
}

#[test]
fn what_waits_for_a_run_goes_on_after_a_restart() {
    let world = World::new(1);
    runtime().block_on(async {
        let (engine, workspace) =
            world.set_up(&[], &[&slow("every: 10m, overlap: wait, missed: run_all")]).await;
        sleep(25 * MINUTE).await;
        assert_eq!(runs(&workspace).await.len(), 1);
        engine.close().await;
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        sleep(25 * MINUTE).await;
        assert_eq!(runs(&workspace).await.len(), 2);
        engine.close().await;
    });
}

#[test]
fn jitter_moves_the_start_and_not_the_time() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow("cron: '*/10 * * * *', jitter: 5m")]).await;
        sleep(3 * HOUR).await;
        let runs = runs(&workspace).await;
        let mut late = Vec::new();
        for (run, trigger) in &runs {
            let at: jiff::Timestamp = text(trigger, "scheduled_at").parse().unwrap();
            assert_eq!(at.as_second() % 600, 0);
            late.push(run.created_at.duration_since(at).as_secs());
        }
        // The last one may still be to come.
        assert!((17..=18).contains(&runs.len()), "{}", runs.len());
        assert!(late.iter().all(|late| (0..300).contains(late)), "{late:?}");
        assert!(late.iter().any(|late| *late > 0));
        engine.close().await;
    });
}

#[test]
fn a_schedule_out_of_service_misses_nothing_and_another_version_goes_on() {
    in_world(|world| async move {
        let text = flow("cron: '0 * * * *', missed: run_all");
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        sleep(HOUR).await;
        assert_eq!(times(&workspace).await, ["15:00:00Z"]);
        workspace.workflows().deactivate("ticking").await.unwrap();
        assert!(workspace.schedules(PageRequest::default()).await.unwrap().items.is_empty());
        sleep(3 * HOUR).await;
        workspace.workflows().activate("ticking", None).await.unwrap();
        sleep(HOUR).await;
        assert_eq!(times(&workspace).await, ["15:00:00Z", "19:00:00Z"]);
        // The same times: the schedule goes on. Other times: they are counted from now.
        for trigger in ["cron: '0 * * * *', overlap: skip", "cron: '30 * * * *'"] {
            workspace.workflows().put_draft("ticking", &flow(trigger), TextFormat::Yaml).await.unwrap();
            workspace.workflows().activate("ticking", None).await.unwrap();
            let listed = workspace.schedules(PageRequest::default()).await.unwrap().items;
            let goes_on = trigger.contains("skip");
            assert!(listed[0].last_scheduled_at.is_some(), "what `overlap` rests on stays");
            let next: Vec<String> = listed[0].next.iter().map(ToString::to_string).collect();
            let wanted = if goes_on { "2026-09-21T20:00:00Z" } else { "2026-09-21T19:30:00Z" };
            assert_eq!((next.len(), next[0].as_str()), (5, wanted));
        }
        engine.close().await;
    });
}

/// Whatever commit a process dies at, before it or after it: one run a time.
#[test]
fn each_time_has_its_run_once_wherever_the_process_dies() {
    for (n, fault) in (1..16).flat_map(|n| [(n, Fault::CrashBefore), (n, Fault::CrashAfter)]) {
        let mut world = World::new(n);
        runtime().block_on(async {
            let (engine, _) = world.set_up(&[], &[&flow("every: 1m, missed: run_all")]).await;
            engine.close().await;
        });
        world.store.fail_commit(n, fault.clone());
        runtime().block_on(async {
            let Ok(engine) = stepwell_engine::Engine::open(world.config.clone(), world.ports()).await else {
                return;
            };
            let _kept = engine;
            while !world.store.crashed() {
                sleep(1).await;
            }
        });
        world.time.fetch_add(150_000, SeqCst);
        world.store.clear_faults();
        world.store = world.store.reopen();
        runtime().block_on(async {
            let (engine, workspace) = world.open().await;
            sleep(5 * MINUTE).await;
            let runs = runs(&workspace).await;
            let seconds: Vec<i64> = runs
                .iter()
                .map(|(_, trigger)| {
                    text(trigger, "scheduled_at").parse::<jiff::Timestamp>().unwrap().as_second()
                })
                .collect();
            assert!(seconds.len() >= 7, "{seconds:?}");
            assert!(
                seconds.windows(2).all(|two| two[1] - two[0] == 60),
                "commit {n}, {fault:?}: {seconds:?}"
            );
            assert!(runs.iter().all(|(run, _)| run.status == RunStatus::Completed));
            engine.close().await;
        });
    }
}

#[test]
fn a_schedule_is_run_by_hand_for_a_time() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        activate(&workspace, &flow("cron: '0 0 1 1 *'")).await;
        let flows = workspace.workflows();
        let wait = Some(Duration::from_secs(1));
        let run =
            flows.run("ticking", json!({ "scheduled_at": "2026-01-01T00:00:00Z" }), wait).await.unwrap();
        assert_eq!(run.output, Some(json!({ "at": "2026-01-01T00:00:00Z" })));
        assert_eq!(flows.run("ticking", json!({}), wait).await.unwrap().status, RunStatus::Completed);
        let wrong = flows.run("ticking", json!({ "scheduled_at": "tomorrow" }), wait).await.unwrap_err();
        assert_eq!(wrong.code, "invalid_event");
        for wrong in [json!({ "scheduled_att": "2026-01-01T00:00:00Z" }), json!([1]), json!(1)] {
            assert_eq!(flows.run("ticking", wrong, wait).await.unwrap_err().code, "invalid_event");
        }
        engine.close().await;
    });
}
