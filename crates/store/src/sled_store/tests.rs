//! Rules 1, 3 and 6 by the steps of the writer: the order in which it does things, and what becomes of commits when
//! one fails. Whatever was answered must be what is stored.
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::failed::Failed;
use super::steps::{Real, Steps};
use super::{SledOptions, SledStore};
use crate::keys::{KeyBuilder, Space};
use crate::store::Store;
use crate::txn::Txn;
use crate::types::{Key, Refused, WorkspaceId};

const WS: WorkspaceId = WorkspaceId(1);

/// What goes wrong with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ErrorBefore,
    FullBefore,
    PanicBefore,
    ErrorAfter,
    PanicAfter,
    SyncFails,
    /// After it was applied; and what is on the disk afterwards is what was there before.
    ErrorAfterAndLost,
}

#[derive(Default)]
struct Watched {
    trace: Mutex<Vec<&'static str>>,
    groups: AtomicUsize,
    /// Which group fails, from 1 on, and how.
    fault: Mutex<Option<(usize, Fault)>>,
    /// Where sled's file is, if it is to be kept from before each group.
    db: Option<PathBuf>,
    cannot_open: AtomicBool,
    reopened: AtomicUsize,
}

impl Watched {
    fn failing(group: usize, fault: Fault, folder: &Path) -> Arc<Self> {
        let db = (fault == Fault::ErrorAfterAndLost).then(|| folder.join("rows/db"));
        Arc::new(Self { fault: Mutex::new(Some((group, fault))), db, ..Self::default() })
    }

    fn note(&self, step: &'static str) {
        self.trace.lock().unwrap().push(step);
    }

    /// The fault of the group in hand, if it is one of these.
    fn fault(&self, of: &[Fault]) -> Option<Fault> {
        let now = self.groups.load(Ordering::Relaxed);
        let fault = *self.fault.lock().unwrap();
        fault.filter(|(group, fault)| *group == now && of.contains(fault)).map(|(_, fault)| fault)
    }

    fn fail(&self, of: &[Fault]) -> Result<(), Failed> {
        match self.fault(of) {
            None => Ok(()),
            Some(Fault::PanicBefore | Fault::PanicAfter) => panic!("for the test"),
            Some(fault) => Err(Failed { reason: "for the test".into(), full: fault == Fault::FullBefore }),
        }
    }
}

fn before(db: &Path) -> PathBuf {
    db.with_added_extension("before")
}

impl Steps for Watched {
    fn apply(&self) -> Result<(), Failed> {
        self.note("apply");
        self.groups.fetch_add(1, Ordering::Relaxed);
        if let Some(db) = &self.db
            && self.fault(&[Fault::ErrorAfterAndLost]).is_some()
        {
            fs::copy(db, before(db)).unwrap();
        }
        self.fail(&[Fault::ErrorBefore, Fault::FullBefore, Fault::PanicBefore])
    }

    fn applied(&self) -> Result<(), Failed> {
        self.note("applied");
        self.fail(&[Fault::ErrorAfter, Fault::PanicAfter, Fault::ErrorAfterAndLost])
    }

    fn sync(&self, data: &File) -> io::Result<()> {
        self.note("sync");
        match self.fault(&[Fault::SyncFails]) {
            Some(_) => {
                *self.fault.lock().unwrap() = None;
                Err(io::Error::other("for the test"))
            }
            None => Real.sync(data),
        }
    }

    fn pump(&self) {
        self.note("pump");
        Real.pump();
    }

    fn answer(&self) {
        self.note("answer");
    }

    fn reopen(&self) -> io::Result<()> {
        if self.cannot_open.load(Ordering::Relaxed) {
            return Err(io::Error::other("for the test"));
        }
        if let Some(db) = &self.db {
            // Under another inode: whatever sled still writes does not come here.
            fs::rename(before(db), db)?;
        }
        self.reopened.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn open(folder: &Path, steps: Arc<dyn Steps>) -> SledStore {
    let options = SledOptions { cache_bytes: 16 << 20, disk_floor: 0, ..SledOptions::default() };
    SledStore::open_with(folder, options, steps).unwrap()
}

fn key(n: u32) -> Key {
    KeyBuilder::new(Space::Records, WS).u32(n).build()
}

async fn put(store: &SledStore, keys: impl Iterator<Item = u32>) -> Result<(), Refused> {
    let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
    for n in keys {
        tx.put(key(n), "x");
    }
    tx.commit().await.map(|_| ())
}

async fn has(store: &SledStore, n: u32) -> bool {
    Txn::begin(Arc::new(store.clone()), WS.shard()).get(&key(n)).await.unwrap().is_some()
}

#[tokio::test]
async fn rules_1_and_3_a_commit_is_synced_and_sled_pumped_before_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Arc::new(Watched::default());
    let store = open(folder.path(), steps.clone());
    steps.trace.lock().unwrap().clear();
    const ROWS: [u32; 4] = [1, 79, 240, 650];
    for (n, rows) in ROWS.iter().enumerate() {
        let from = n as u32 * 1000;
        put(&store, from..from + rows).await.unwrap();
    }
    store.close().await;
    let trace = steps.trace.lock().unwrap().clone();
    // Idle flushes, which answer nobody, stand between the groups.
    let groups: Vec<&[&str]> = trace
        .split_inclusive(|step| *step == "answer")
        .map(|group| &group[group.iter().position(|step| *step == "apply").unwrap_or(group.len())..])
        .filter(|group| !group.is_empty())
        .collect();
    let expected: Vec<Vec<&str>> = ROWS
        .iter()
        .map(|rows| {
            let pumps = (rows / 80).max(1) as usize;
            [&["apply", "applied", "sync"][..], &vec!["pump"; pumps], &["answer"]].concat()
        })
        .collect();
    assert_eq!(groups, expected);
}

/// Many commit at once, one group fails: each answer is true, at once and after a restart.
async fn answers_are_true(group: usize, fault: Fault) {
    const CLIENTS: u32 = 8;
    const EACH: u32 = 6;
    let folder = tempfile::tempdir().unwrap();
    let steps = Watched::failing(group, fault, folder.path());
    let store = open(folder.path(), steps.clone());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for n in client * EACH..(client + 1) * EACH {
                    // Two rows: all or nothing.
                    answers.push((n, put(&store, [2 * n, 2 * n + 1].into_iter()).await));
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.unwrap());
    }
    assert_eq!(steps.reopened.load(Ordering::Relaxed), 1, "{fault:?} of group {group}");
    put(&store, [u32::MAX].into_iter()).await.expect("it goes on");
    let store = {
        check(&store, &answers).await;
        store.close().await;
        open(folder.path(), Arc::new(Real))
    };
    check(&store, &answers).await;
    let refused: Vec<_> = answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).collect();
    for refused in &refused {
        match fault {
            Fault::FullBefore => assert!(matches!(refused, Refused::Full(_)), "{refused}"),
            _ => assert!(matches!(refused, Refused::Unavailable(_)), "{refused}"),
        }
    }
    match fault {
        // Those whose commits were in the group; others may have come while sled was being opened.
        Fault::ErrorBefore | Fault::FullBefore | Fault::PanicBefore | Fault::ErrorAfterAndLost => {
            assert!(!refused.is_empty(), "{fault:?}: what is not written is refused")
        }
        // Sled writes what it has when it is closed, so all is there, and told so.
        Fault::ErrorAfter | Fault::PanicAfter | Fault::SyncFails => {
            assert!(refused.is_empty(), "{fault:?}: {refused:?}")
        }
    }
}

async fn check(store: &SledStore, answers: &[(u32, Result<(), Refused>)]) {
    for (n, answer) in answers {
        let there = (has(store, 2 * n).await, has(store, 2 * n + 1).await);
        let expected = answer.is_ok();
        assert_eq!(there, (expected, expected), "row {n} was answered with {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_6_after_an_error_the_number_of_the_last_commit_says_what_was_written() {
    for fault in [Fault::ErrorBefore, Fault::FullBefore, Fault::ErrorAfter, Fault::SyncFails] {
        for group in 1..=3 {
            answers_are_true(group, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_6_after_a_panic_too() {
    for fault in [Fault::PanicBefore, Fault::PanicAfter] {
        for group in 1..=3 {
            answers_are_true(group, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_6_what_was_applied_and_is_not_on_the_disk_is_refused() {
    for group in 1..=3 {
        answers_are_true(group, Fault::ErrorAfterAndLost).await;
    }
}

#[tokio::test]
async fn rule_7_the_ballast_is_given_up_for_a_full_disk_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let ballast = folder.path().join("ballast");
    /// Sled can be opened as soon as there is room.
    struct Full(Arc<Watched>, PathBuf, AtomicBool);
    impl Steps for Full {
        fn apply(&self) -> Result<(), Failed> {
            self.0.apply()
        }
        fn reopen(&self) -> io::Result<()> {
            self.2.store(!self.1.exists(), Ordering::Relaxed);
            self.0.reopen()
        }
    }
    let watched = Watched::failing(2, Fault::FullBefore, folder.path());
    let steps = Arc::new(Full(watched, ballast.clone(), AtomicBool::new(false)));
    let store = open(folder.path(), steps.clone());
    assert!(ballast.exists());
    put(&store, [1].into_iter()).await.unwrap();
    assert!(matches!(put(&store, [2].into_iter()).await, Err(Refused::Full(_))));
    assert!(steps.2.load(Ordering::Relaxed), "it is gone when sled is opened");
    assert!(has(&store, 1).await && !has(&store, 2).await);
    put(&store, [2].into_iter()).await.unwrap();
    assert!(ballast.exists(), "it is there before anything is written");
}

#[tokio::test]
async fn while_sled_cannot_be_opened_only_those_wait_of_whom_nobody_knows() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Watched::failing(2, Fault::ErrorAfter, folder.path());
    let store = open(folder.path(), steps.clone());
    put(&store, [1].into_iter()).await.unwrap();
    let mut old = Txn::begin(Arc::new(store.clone()), WS.shard());
    old.get(&key(3)).await.unwrap();
    old.put(key(3), "x");
    steps.cannot_open.store(true, Ordering::Relaxed);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { put(&store, [2].into_iter()).await }
    });
    while steps.groups.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Nothing is written of those who come now, and nothing can be read.
    assert!(matches!(put(&store, [4].into_iter()).await, Err(Refused::Unavailable(_))));
    assert!(matches!(store.read(WS.shard(), Vec::new()).await, Err(Refused::Unavailable(_))));
    assert!(!waiting.is_finished());
    steps.cannot_open.store(false, Ordering::Relaxed);
    waiting.await.unwrap().expect("it was written");
    assert!(has(&store, 2).await && !has(&store, 4).await);
    assert!(old.commit().await.unwrap_err().is_conflict(), "what it read may be from before");
    // Nor is anybody left waiting when the process ends meanwhile.
    *steps.fault.lock().unwrap() = Some((3, Fault::ErrorAfter));
    steps.cannot_open.store(true, Ordering::Relaxed);
    let (told, ()) = tokio::join!(put(&store, [5].into_iter()), async {
        while steps.groups.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        store.close().await;
    });
    assert!(matches!(told, Err(Refused::Unavailable(_))), "{told:?}");
}
