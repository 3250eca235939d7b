//! Everything that must hold when all has come to its end, whatever happened before.

mod feed;
mod places;
mod requests;

use crate::clients::Posted;
use crate::support::{World, all_records};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use stepwell_engine::{PageRequest, RunDetail, RunStatus, RunSummary, Workspace};

pub async fn check(world: &World, posted: &[Posted], workspace: &Workspace) {
    let runs = runs(workspace).await;
    let found = Found::of(workspace, &runs).await;
    let mut left = requests::Left::default();
    for request in posted {
        requests::check(world, &found, request, &mut left);
    }
    // No ticket was given twice, and none was lost.
    assert_eq!(left.tickets, (1..=left.tickets.len() as u64).collect());
    let kept = workspace.workflows().state_value("counted", "last").await;
    assert_eq!(kept.map_or(0, |kept| kept.value.as_u64().unwrap()), left.tickets.len() as u64);
    // Each time has its run once, and none is left out.
    assert!(found.ticks.windows(2).all(|two| two[1] - two[0] == 37_000), "{:?}", found.ticks);
    let most = world.http.most_within("https://many.example.com/", 2_000);
    assert!(most <= 3, "{most} requests within two seconds");
    feed::started_by_events(workspace, &found.by_event).await;
    let people = all_records(workspace, "person").await;
    let emails: BTreeSet<String> =
        people.iter().map(|person| person["emails"]["primaryEmail"].as_str().unwrap().to_owned()).collect();
    assert_eq!(emails.len(), people.len(), "one person twice: {people:#?}");
    assert_eq!(emails, left.emails);
    feed::ends_and_versions(workspace, &runs).await;
    places::check(workspace, posted, &runs).await;
}

/// What there is in the end: each run by what has started it, and what the runs have written.
struct Found<'a> {
    /// By the number of the request.
    by_n: BTreeMap<u64, Vec<(&'a RunSummary, RunDetail)>>,
    by_event: Vec<RunDetail>,
    /// By the run that has started it.
    children: BTreeMap<String, RunDetail>,
    /// The times of the schedule, in order.
    ticks: Vec<i64>,
    /// How many there are by title.
    tasks: BTreeMap<String, usize>,
    notes: BTreeMap<String, usize>,
}

impl<'a> Found<'a> {
    async fn of(workspace: &Workspace, runs: &'a [RunSummary]) -> Self {
        let mut found = Self {
            by_n: BTreeMap::new(),
            by_event: Vec::new(),
            children: BTreeMap::new(),
            ticks: Vec::new(),
            tasks: titles(all_records(workspace, "task").await),
            notes: titles(all_records(workspace, "note").await),
        };
        for run in runs {
            let detail = workspace.runs().get(&run.id).await.unwrap();
            let input = serde_json::to_value(&detail.input).unwrap();
            if run.trigger == "schedule" {
                let time: jiff::Timestamp = input["scheduled_at"].as_str().unwrap().parse().unwrap();
                assert_eq!(run.status, RunStatus::Completed, "{detail:#?}");
                found.ticks.push(time.as_millisecond());
            } else if run.workflow == "child" {
                let parent = detail.summary.parent.clone().unwrap().run_id;
                assert!(found.children.insert(parent, detail).is_none(), "two runs of one step");
            } else if run.trigger == "record_event" {
                found.by_event.push(detail);
            } else {
                let n = input["body"]["n"].as_u64().unwrap();
                found.by_n.entry(n).or_default().push((run, detail));
            }
        }
        found.ticks.sort_unstable();
        found
    }
}

fn titles(records: Vec<Value>) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record["title"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

pub async fn runs(workspace: &Workspace) -> Vec<RunSummary> {
    let mut all = Vec::new();
    let mut page = PageRequest { limit: Some(500), cursor: None };
    loop {
        let runs = workspace.runs().list(Default::default(), page.clone()).await.unwrap();
        all.extend(runs.items);
        page.cursor = runs.next_cursor;
        if page.cursor.is_none() {
            return all;
        }
    }
}
