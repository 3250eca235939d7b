//! What the log must say of runs that count together (`concurrency`), whatever happened.

use crate::clients::Posted;
use futures::StreamExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stepwell_engine::{RunSummary, Workspace};

/// Of the runs of a key never more are under way than may be, and they begin in the order in which they were accepted:
/// the log says so, commit by commit.
pub async fn check(workspace: &Workspace, posted: &[Posted], runs: &[RunSummary]) {
    let paths: BTreeMap<u64, &str> =
        posted.iter().map(|request| (request.body["n"].as_u64().unwrap(), request.path)).collect();
    let limits = BTreeMap::from([("ordered", 1), ("newest", 2), ("lonely", 1)]);
    let mut key_of: BTreeMap<String, (&str, u64)> = BTreeMap::new();
    let mut run_of: BTreeMap<u64, String> = BTreeMap::new();
    for run in runs.iter().filter(|run| limits.contains_key(run.workflow.as_str())) {
        let detail = workspace.runs().get(&run.id).await.unwrap();
        let n = serde_json::to_value(&detail.input).unwrap()["body"]["n"].as_u64().unwrap();
        let key = if run.workflow == "lonely" { 0 } else { n % 2 };
        key_of.insert(run.id.clone(), (paths[&n], key));
        run_of.insert(n, run.id.clone());
    }
    let mut commits: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut events = workspace.events(None).await.unwrap();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        let event = event.unwrap();
        let position = event.id.split_once('.').unwrap().0.parse().unwrap();
        commits.entry(position).or_default().push(serde_json::to_value(event).unwrap());
    }
    let mut accepted: Vec<String> = Vec::new();
    let mut begun: Vec<String> = Vec::new();
    let mut under_way: BTreeMap<(&str, u64), BTreeSet<String>> = BTreeMap::new();
    for events in commits.into_values() {
        let (of_runs, of_records): (Vec<Value>, Vec<Value>) =
            events.into_iter().partition(|event| event["type"] == "run");
        let run = |event: &Value| event["run_id"].as_str().unwrap().to_owned();
        for run in of_runs.iter().map(run).filter(|run| key_of.contains_key(run)) {
            if !accepted.contains(&run) {
                accepted.push(run);
            }
        }
        for event in of_records.iter().filter(|event| event["event"]["object"] == "note") {
            let title = event["event"]["record"]["title"].as_str().unwrap();
            let Some(n) = title.strip_prefix("Began ").and_then(|n| n.parse::<u64>().ok()) else { continue };
            let run = &run_of[&n];
            let key = key_of[run];
            let held = under_way.entry(key).or_default();
            held.insert(run.clone());
            assert!(held.len() <= limits[key.0], "{held:?} of {key:?} at once");
            begun.push(run.clone());
        }
        for event in of_runs {
            if ["completed", "failed", "cancelled"].contains(&event["status"].as_str().unwrap())
                && let Some(key) = key_of.get(&run(&event))
            {
                under_way.entry(*key).or_default().remove(&run(&event));
            }
        }
    }
    assert!(under_way.values().all(BTreeSet::is_empty), "{under_way:?}");
    for key in key_of.values().filter(|key| limits[key.0] == 1).collect::<BTreeSet<_>>() {
        let of_key = |runs: &[String]| {
            runs.iter().filter(|run| key_of[*run] == *key && begun.contains(run)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(of_key(&begun), of_key(&accepted), "of {key:?}");
    }
    // The last one of those that replace each other is not replaced.
    for key in [0, 1] {
        let last = accepted.iter().rfind(|run| key_of[*run] == ("newest", key));
        let last = last.and_then(|last| runs.iter().find(|run| run.id == *last));
        let why = last.and_then(|run| run.error.as_ref()).map_or("", |error| &error.code);
        assert_eq!(why, "", "{last:?}");
    }
}
