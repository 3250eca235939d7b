//! A store that fails while it writes, and how much one is asked for at once.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use stepwell_engine::{BulkResult, Engine, EngineError, Ports, Workspace};
use stepwell_store::{Refused, View, Want, Watch, Watched};
use support::{World, all_records, in_world};
use tokio::sync::Notify;

struct Failing {
    /// Commits until it fails.
    left: AtomicUsize,
    /// It failed in a commit, and cannot be opened again yet.
    away: AtomicBool,
    back: Notify,
}

impl Failing {
    async fn over(world: &World) -> (Arc<Watched<Self>>, Engine, Workspace) {
        let failing =
            Self { left: AtomicUsize::new(usize::MAX), away: AtomicBool::new(false), back: Notify::new() };
        let failing = Arc::new(Watched::new(world.store.clone(), failing));
        let ports = Ports { store: failing.clone(), ..world.ports() };
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        (failing, engine, workspace)
    }

    fn is_there(&self) -> Result<(), Refused> {
        match self.away.load(SeqCst) {
            true => Err(Refused::Unavailable("it is being opened anew".into())),
            false => Ok(()),
        }
    }

    fn is_back(&self) {
        self.away.store(false, SeqCst);
        self.left.store(usize::MAX, SeqCst);
        self.back.notify_waiters();
    }
}

#[async_trait]
impl Watch for Failing {
    async fn before(&self, _wants: &[Want]) -> Result<(), Refused> {
        self.is_there()
    }

    async fn before_commit(&self) -> Result<(), Refused> {
        self.is_there()?;
        if self.left.fetch_sub(1, SeqCst) == 0 {
            let back = self.back.notified();
            self.away.store(true, SeqCst);
            back.await;
        }
        Ok(())
    }
}

async fn write(workspace: &Workspace, bulk: Value) -> Result<BulkResult, EngineError> {
    workspace.records().bulk("task", serde_json::from_value(bulk).unwrap()).await
}

fn tasks(many: usize, length: usize) -> Vec<Value> {
    (0..many).map(|n| json!({ "title": format!("Task {n}"), "body": "x".repeat(length) })).collect()
}

/// What is written, what is not and what nobody knows are three things.
#[test]
fn a_bulk_write_tells_what_nobody_knows_from_what_is_not_written() {
    in_world(|world| async move {
        let (failing, engine, workspace) = Failing::over(&world).await;
        let all = json!({ "action": "create", "records": tasks(1_000, 0) });
        // How many fit a commit.
        failing.watch.left.store(1, SeqCst);
        let mut records = tasks(1_000, 0);
        records[999] = json!({ "title": 1 });
        let told = write(&workspace, json!({ "action": "create", "records": records })).await.unwrap();
        assert!(told.created > 0 && told.unknown > 0 && told.not_written > 0, "{told:#?}");
        assert_eq!(told.created + told.unknown + told.not_written, 1_000);
        let outcome = |index: usize| told.results[index].outcome.as_str();
        let code = |index: usize| told.results[index].error.as_ref().map(|error| error.code.as_str());
        assert_eq!((outcome(0), outcome(told.created - 1)), ("created", "created"));
        for index in [told.created, told.created + told.unknown - 1] {
            assert_eq!((outcome(index), code(index)), ("unknown", Some("outcome_unknown")));
        }
        for index in [told.created + told.unknown, 998] {
            assert_eq!((outcome(index), code(index)), ("not_written", Some("store_unavailable")));
        }
        failing.watch.is_back();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What was on its way may have come: here it is given up with the call.
        let there = all_records(&workspace, "task").await.len();
        assert!(there == told.created || there == told.created + told.unknown, "{there}");
        // When nothing is written yet there is nothing to tell apart but what was tried.
        failing.watch.left.store(0, SeqCst);
        let error = write(&workspace, all.clone()).await.unwrap_err();
        assert_eq!(error.code, "outcome_unknown");
        assert!(
            error.message.contains(&format!("the first {} of the 1000 records", told.created)),
            "{error}"
        );
        // And while it is away nothing is.
        let error = write(&workspace, all).await.unwrap_err();
        assert_eq!(error.code, "store_unavailable");
        failing.watch.is_back();
        failing.watch.left.store(0, SeqCst);
        let atomic = json!({ "action": "create", "records": tasks(10, 0), "atomic": true });
        let error = write(&workspace, atomic).await.unwrap_err();
        assert_eq!(error.code, "outcome_unknown");
        assert!(error.message.contains("the 10 records"), "{error}");
        failing.watch.is_back();
        // What would write nothing is known not to be written: one of these cannot be.
        let mut records = tasks(10, 0);
        records[9] = json!({ "title": 1 });
        failing.watch.left.store(0, SeqCst);
        let refused = json!({ "action": "create", "records": records, "atomic": true });
        let error = write(&workspace, refused).await.unwrap_err();
        assert!(["store_unavailable", "bulk_refused"].contains(&&*error.code), "{error}");
        failing.watch.is_back();
        engine.close().await;
    });
}

/// The most bytes that one read gave.
#[derive(Default)]
struct Largest(AtomicUsize);

impl Watch for Largest {
    fn after(&self, _wants: &[Want], view: &View) {
        let bytes = view.rows.iter().flatten().map(|(_, value)| value.len()).sum();
        self.0.fetch_max(bytes, SeqCst);
    }
}

#[test]
fn a_reader_of_events_has_so_many_bytes_read_at_once_and_gets_all() {
    in_world(|world| async move {
        let watched = Arc::new(Watched::new(world.store.clone(), Largest::default()));
        let ports = Ports { store: watched.clone(), ..world.ports() };
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        // Small rows, so that pages grow, and large ones after them.
        let mut made = Vec::new();
        for parts in [tasks(40, 0).chunks(1), tasks(1_800, 6_000).chunks(600)] {
            for records in parts {
                let told =
                    write(&workspace, json!({ "action": "create", "records": records })).await.unwrap();
                assert_eq!(told.created, records.len());
                made.extend(told.results.into_iter().filter_map(|row| row.id));
            }
        }
        watched.watch.0.store(0, SeqCst);
        // From wherever its pages begin: each record once, in the order in which they were made.
        for from in 0..8 {
            let mut events = workspace.events(Some(&from.to_string())).await.unwrap();
            let all = async {
                let mut got = Vec::new();
                while got.last() != made.last() {
                    let event = serde_json::to_value(events.next().await.unwrap().unwrap()).unwrap();
                    got.extend(event["event"]["id"].as_str().map(str::to_owned));
                }
                got
            };
            let got = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
            assert!(made.ends_with(&got) && made.len() - got.len() <= from, "{} from {from}", got.len());
        }
        let largest = watched.watch.0.load(SeqCst);
        assert!(largest > 1 << 20 && largest <= 4 << 20, "{largest}");
        engine.close().await;
    });
}
