//! What the log of events must say, and what it must have started.

use crate::support::all_records;
use futures::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use stepwell_engine::{RunDetail, RunStatus, RunSummary, Workspace};

/// The log tells every run's end once, and every record's events in the order of its versions.
pub async fn ends_and_versions(workspace: &Workspace, runs: &[RunSummary]) {
    let mut events = workspace.events(None).await.unwrap();
    let mut ended: BTreeMap<String, usize> = BTreeMap::new();
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    // Nothing new for a second means that all was told.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        let event = serde_json::to_value(event.unwrap()).unwrap();
        if event["type"] == "run" {
            let status = event["status"].as_str().unwrap();
            if ["completed", "failed", "cancelled"].contains(&status) {
                *ended.entry(event["run_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        } else {
            let id = event["event"]["id"].as_str().unwrap().to_owned();
            let version = event["event"]["version"].as_u64().unwrap();
            let before = versions.insert(id, version).unwrap_or(0);
            assert_eq!(version, before + 1, "an event is missing or doubled: {event}");
        }
    }
    for object in ["person", "company", "task", "note"] {
        for record in all_records(workspace, object).await {
            let told = versions.get(record["id"].as_str().unwrap()).copied();
            assert_eq!(told, record["version"].as_u64(), "the log and the record disagree: {record}");
        }
    }
    for run in runs {
        // One that its parent has retried has ended each time.
        let most = if run.workflow == "child" { 3 } else { 1 };
        let ends = ended.get(&run.id).copied().unwrap_or(0);
        assert!((1..=most).contains(&ends), "{ends} ends of {run:?} in the log");
    }
}

/// What a person was at each of its versions, but for when that was written.
async fn states(workspace: &Workspace) -> BTreeMap<String, BTreeMap<u64, Value>> {
    let mut states: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    let mut events = workspace.events(None).await.unwrap();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        let event = serde_json::to_value(event.unwrap()).unwrap();
        let event = &event["event"];
        if event["object"] == "person" {
            let mut record = event["record"].clone();
            let parts = record.as_object_mut().unwrap();
            let version = parts.remove("version").unwrap().as_u64().unwrap();
            parts.remove("updatedAt");
            states.entry(event["id"].as_str().unwrap().to_owned()).or_default().insert(version, record);
        }
    }
    states
}

/// Each event has started each run once: a task one run, and the changes of a person runs that go on from each other;
/// what is left out between them came to nothing.
pub async fn started_by_events(workspace: &Workspace, runs: &[RunDetail]) {
    let inputs = runs.iter().map(|run| (run, serde_json::to_value(&run.input).unwrap()));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut settled: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for (run, input) in inputs {
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let record = input["record_id"].as_str().unwrap().to_owned();
        match run.summary.workflow.as_str() {
            "seen" => *seen.entry(record).or_default() += 1,
            _ => {
                let version = |side: &str| input[side]["version"].as_u64().unwrap_or(0);
                settled.entry(record).or_default().push((version("before"), version("after")));
            }
        }
    }
    let tasks = all_records(workspace, "task").await;
    assert_eq!(seen.len(), tasks.len());
    for task in tasks {
        assert_eq!(seen.get(task["id"].as_str().unwrap()), Some(&1), "the runs for {task}");
    }
    let people = all_records(workspace, "person").await;
    assert_eq!(settled.len(), people.len());
    let states = states(workspace).await;
    for person in people {
        let id = person["id"].as_str().unwrap();
        let (changes, states) = (settled.get_mut(id).unwrap(), &states[id]);
        changes.sort_unstable();
        let same = |one: u64, other: u64| one == other || states.get(&one) == states.get(&other);
        let last = changes.iter().fold(0, |last, (before, after)| {
            assert!(after > before && same(last, *before), "{changes:?} of {person}");
            assert!(!same(*before, *after), "nothing has changed in one of {changes:?} of {person}");
            *after
        });
        let now = person["version"].as_u64().unwrap();
        assert!(same(last, now), "the last change of {person} is not told");
    }
}
