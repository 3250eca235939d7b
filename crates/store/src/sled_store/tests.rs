//! Rules 1, 3 and 6 by the steps of the writer and the mover: the order in which they do things, and what becomes of commits
//! when one fails. Whatever was answered must be what is stored.
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::failed::Failed;
use super::steps::{Real, Steps};
use super::{SledOptions, SledStore};
use crate::keys::{KeyBuilder, Space};
use crate::store::Store;
use crate::txn::Txn;
use crate::types::{Key, Log, Refused, Want, WorkspaceId};

const WS: WorkspaceId = WorkspaceId(1);

/// What goes wrong with a group of commits, or with a table on its way to sled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The log is not written.
    Log,
    LogFull,
    /// It is written, and nobody knows whether it is on the disk.
    LogSync,
    ErrorBefore,
    FullBefore,
    PanicBefore,
    ErrorAfter,
    PanicAfter,
    SyncFails,
    /// After it was applied; and what is on the disk afterwards is what was there before.
    ErrorAfterAndLost,
}

impl Fault {
    fn is_of_the_log(self) -> bool {
        matches!(self, Fault::Log | Fault::LogFull | Fault::LogSync)
    }
}

#[derive(Default)]
struct Watched {
    trace: Mutex<Vec<&'static str>>,
    groups: AtomicUsize,
    tables: AtomicUsize,
    /// Which group or table fails, from 1 on, and how; once.
    fault: Mutex<Option<(usize, Fault)>>,
    /// Where sled's file is, if it is to be kept from before each table.
    db: Option<PathBuf>,
    cannot_open: AtomicBool,
    reopened: AtomicUsize,
}

impl Watched {
    fn failing(at: usize, fault: Fault, folder: &Path) -> Arc<Self> {
        let db = (fault == Fault::ErrorAfterAndLost).then(|| folder.join("rows/db"));
        Arc::new(Self { fault: Mutex::new(Some((at, fault))), db, ..Self::default() })
    }

    fn note(&self, step: &'static str) {
        self.trace.lock().unwrap().push(step);
    }

    /// The fault of what is in hand, if it is one of these.
    fn fault(&self, of: &[Fault]) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        let (at, what) = (*fault)?;
        let now = if what.is_of_the_log() { &self.groups } else { &self.tables };
        let is_now = at == now.load(Ordering::Relaxed) && of.contains(&what);
        is_now.then(|| fault.take()).flatten().map(|(_, fault)| fault)
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
    fn log(&self) -> io::Result<()> {
        self.note("log");
        self.groups.fetch_add(1, Ordering::Relaxed);
        match self.fault(&[Fault::Log, Fault::LogFull]) {
            None => Ok(()),
            Some(Fault::LogFull) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(io::Error::other("for the test")),
        }
    }

    fn sync_log(&self, log: &File) -> io::Result<()> {
        self.note("sync log");
        Real.sync_log(log)?;
        self.fault(&[Fault::LogSync]).map_or(Ok(()), |_| Err(io::Error::other("for the test")))
    }

    fn apply(&self) -> Result<(), Failed> {
        self.note("apply");
        self.tables.fetch_add(1, Ordering::Relaxed);
        if let Some(db) = &self.db
            && *self.fault.lock().unwrap()
                == Some((self.tables.load(Ordering::Relaxed), Fault::ErrorAfterAndLost))
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
            Some(_) => Err(io::Error::other("for the test")),
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

/// So many rows are a table that is brought to sled at once.
const TABLE: u32 = 700;

/// Until a test's condition holds; it is looked at again and again, for no longer than a test should take.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let given_up = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < given_up, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn rules_1_and_3_a_commit_is_synced_before_it_is_answered_and_sled_synced_and_pumped_before_the_log_is_used_again()
 {
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
    let of = |steps: &[&str]| trace.iter().copied().filter(|step| steps.contains(step)).collect::<Vec<_>>();
    assert_eq!(of(&["log", "sync log", "answer"]), ["log", "sync log", "answer"].repeat(ROWS.len()));
    let moved = of(&["apply", "applied", "sync", "pump"]);
    let tables: Vec<&[&str]> =
        moved.split(|step| *step == "apply").filter(|table| !table.is_empty()).collect();
    assert!((1..=2).contains(&tables.len()), "{moved:?}");
    let mut pumps = 0;
    for table in tables {
        assert_eq!(table[..3], ["applied", "sync", "pump"]);
        pumps += table.iter().filter(|step| **step == "pump").count();
    }
    let rows = ROWS.iter().sum::<u32>() as usize;
    assert!((rows / 80 - 1..=rows / 80 + 1).contains(&pumps), "{pumps} for {rows} rows");
}

/// Many commit at once, one group or table fails: each answer is true, at once and after a restart.
async fn answers_are_true(at: usize, fault: Fault) {
    const CLIENTS: u32 = 8;
    const EACH: u32 = 6;
    /// Four of them are a table.
    const ROWS: u32 = TABLE / 4;
    let folder = tempfile::tempdir().unwrap();
    let steps = Watched::failing(at, fault, folder.path());
    let store = open(folder.path(), steps.clone());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for n in client * EACH..(client + 1) * EACH {
                    // All or nothing.
                    answers.push((n, put(&store, ROWS * n..ROWS * (n + 1)).await));
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.unwrap());
    }
    until("it goes on", async || put(&store, [u32::MAX].into_iter()).await.is_ok()).await;
    assert_eq!(steps.reopened.load(Ordering::Relaxed), 1, "{fault:?} of {at}");
    check(&store, &answers, ROWS).await;
    store.close().await;
    let store = open(folder.path(), Arc::new(Real));
    check(&store, &answers, ROWS).await;
    let refused: Vec<_> = answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).collect();
    for refused in &refused {
        match fault {
            Fault::FullBefore | Fault::LogFull => assert!(matches!(refused, Refused::Full(_)), "{refused}"),
            _ => assert!(matches!(refused, Refused::Unavailable(_)), "{refused}"),
        }
    }
    // What sled fails at is done again; those who came while there was no room any more may have been refused.
    assert!(!fault.is_of_the_log() || !refused.is_empty(), "{fault:?}: what is not written is refused");
}

async fn check(store: &SledStore, answers: &[(u32, Result<(), Refused>)], rows: u32) {
    for (n, answer) in answers {
        let there = (has(store, rows * n).await, has(store, rows * (n + 1) - 1).await);
        let expected = answer.is_ok();
        assert_eq!(there, (expected, expected), "{n} was answered with {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_an_error_of_the_log_nothing_is_written_of_what_is_refused() {
    for fault in [Fault::Log, Fault::LogFull, Fault::LogSync] {
        for group in 1..=3 {
            answers_are_true(group, fault).await;
        }
    }
}

#[tokio::test]
async fn after_an_error_of_the_log_what_was_refused_can_be_done_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Watched::failing(2, Fault::LogSync, folder.path());
    let store: Arc<dyn Store> = Arc::new(open(folder.path(), steps.clone()));
    let count = async || {
        let mut tx = Txn::begin(store.clone(), WS.shard());
        let before = tx.get(&key(1)).await.unwrap().map_or(0, |count| count[0]);
        tx.put(key(1), vec![before + 1]);
        tx.append(Log(WS), vec![before + 1]);
        tx.commit().await.map(|_| before + 1)
    };
    assert_eq!(count().await, Ok(1));
    assert!(matches!(count().await, Err(Refused::Unavailable(_))));
    for n in 2..5 {
        assert_eq!(count().await, Ok(n));
        assert_eq!(store.log_head(Log(WS)).await, Ok(u64::from(n) + 1));
    }
}

#[tokio::test]
async fn what_has_failed_and_was_mended_is_not_told_to_those_who_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Watched::failing(1, Fault::ErrorBefore, folder.path());
    let store = open(folder.path(), steps.clone());
    for n in 0..40 {
        put(&store, n * TABLE..(n + 1) * TABLE).await.unwrap();
    }
    assert_eq!(steps.reopened.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_6_after_an_error_of_sled_s_all_that_was_answered_is_there() {
    for fault in [Fault::ErrorBefore, Fault::FullBefore, Fault::ErrorAfter, Fault::SyncFails] {
        for table in 1..=3 {
            answers_are_true(table, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_6_after_a_panic_too() {
    for fault in [Fault::PanicBefore, Fault::PanicAfter] {
        for table in 1..=3 {
            answers_are_true(table, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_6_what_was_applied_and_is_not_on_the_disk_is_applied_again() {
    for table in 1..=3 {
        answers_are_true(table, Fault::ErrorAfterAndLost).await;
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
    let steps = Arc::new(Full(watched.clone(), ballast.clone(), AtomicBool::new(false)));
    let store = open(folder.path(), steps.clone());
    assert!(ballast.exists());
    put(&store, 0..TABLE).await.unwrap();
    put(&store, TABLE..2 * TABLE).await.unwrap();
    until("sled is opened anew", async || watched.reopened.load(Ordering::Relaxed) == 1).await;
    assert!(steps.2.load(Ordering::Relaxed), "it is gone when sled is opened");
    // What the log has is read, though sled did not take it.
    assert!(has(&store, 1).await && has(&store, TABLE).await);
    until("what failed is done again", async || watched.tables.load(Ordering::Relaxed) == 3).await;
    assert!(ballast.exists(), "it is there before anything is written");
    put(&store, [u32::MAX].into_iter()).await.unwrap();
}

#[tokio::test]
async fn while_sled_cannot_be_opened_what_the_log_takes_is_committed_and_the_rest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Watched::failing(1, Fault::ErrorAfter, folder.path());
    let store = open(folder.path(), steps.clone());
    steps.cannot_open.store(true, Ordering::Relaxed);
    put(&store, 0..TABLE).await.unwrap();
    until("nothing can be read", async || {
        matches!(store.read(WS.shard(), vec![Want::Key(key(0))]).await, Err(Refused::Unavailable(_)))
    })
    .await;
    let mut last = TABLE;
    let refused = loop {
        last += 100;
        if let Err(refused) = put(&store, last - 100..last).await {
            break refused;
        }
    };
    assert!(matches!(&refused, Refused::Unavailable(why) if why.contains("for the test")), "{refused}");
    // A table on its way to sled, and one that takes what comes.
    assert!((2 * TABLE..=4 * TABLE).contains(&last), "{last}");
    steps.cannot_open.store(false, Ordering::Relaxed);
    until("it goes on", async || put(&store, [u32::MAX].into_iter()).await.is_ok()).await;
    assert!(has(&store, 0).await && has(&store, last - 101).await && !has(&store, last - 100).await);

    // Nor is anybody left waiting when the process ends meanwhile, and nothing of what was answered is lost.
    *steps.fault.lock().unwrap() = Some((steps.tables.load(Ordering::Relaxed) + 1, Fault::ErrorAfter));
    steps.cannot_open.store(true, Ordering::Relaxed);
    put(&store, 0..1).await.unwrap();
    put(&store, 100_000..100_000 + TABLE).await.unwrap();
    store.close().await;
    assert!(put(&store, 0..1).await.is_err());
    let store = open(folder.path(), Arc::new(Real));
    assert!(has(&store, 0).await && has(&store, last - 101).await && has(&store, 100_000 + TABLE - 1).await);
}
