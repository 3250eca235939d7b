//! A process that writes is killed at random moments: what it had acknowledged is there afterwards, and whole.
#![allow(clippy::unwrap_used)] // all of this is test code, its helpers too
mod noise;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Log, SledOptions, SledStore, Store, Txn, Value, WorkspaceId, read_log};

const FOLDER: &str = "STEPWELL_KILL_TEST_FOLDER";
const TASKS: u32 = 8;
const ROUNDS: u64 = 8;

fn workspace(task: u32) -> WorkspaceId {
    WorkspaceId(task + 1)
}

fn head(task: u32) -> Key {
    KeyBuilder::new(Space::Runs, workspace(task)).build()
}

/// The rows of one transaction: some small, one in pieces, one that is packed, and one that the next transaction
/// replaces.
fn rows(task: u32, n: u64) -> Vec<(Key, Value)> {
    let key = |part: u8| KeyBuilder::new(Space::RunEvents, workspace(task)).u64(n).u8(part).build();
    let value = |size: u64, salt: u64| -> Value {
        (0..size).map(|i| (i * 13 + n * 7 + salt + u64::from(task)) as u8).collect::<Vec<_>>().into()
    };
    let noise = |size: u64| -> Value { noise::noise(n << 8 | u64::from(task), size as usize).into() };
    let mut rows: Vec<_> = (0..6).map(|part| (key(part), value(600, part.into()))).collect();
    rows.push((key(6), noise(n * 977 % 20_000)));
    rows.push((key(7), value(n * 977 % 20_000, 6)));
    rows.push((
        KeyBuilder::new(Space::RunStates, workspace(task)).build(),
        if n.is_multiple_of(3) { value(n * 1319 % 9_000, 7) } else { noise(n * 1319 % 9_000) },
    ));
    rows.push((head(task), n.to_be_bytes().to_vec().into()));
    rows
}

fn open(folder: &str) -> Arc<SledStore> {
    let options = SledOptions { cache_bytes: 16 << 20, disk_floor: 0, ..SledOptions::default() };
    Arc::new(SledStore::open(folder, options).unwrap())
}

async fn last_of(store: &Arc<SledStore>, task: u32) -> u64 {
    let last = Txn::begin(store.clone(), workspace(task).shard()).get(&head(task)).await.unwrap();
    last.map_or(0, |last| u64::from_be_bytes(last[..].try_into().unwrap()))
}

/// Not a test of its own: what the test below runs in another process. Without the folder it does nothing.
#[test]
fn the_process_that_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(&folder);
        let tasks = (0..TASKS).map(|task| tokio::spawn(write_for_ever(store.clone(), task)));
        futures::future::join_all(tasks).await;
    });
}

async fn write_for_ever(store: Arc<SledStore>, task: u32) {
    let mut n = last_of(&store, task).await;
    loop {
        n += 1;
        let mut tx = Txn::begin(store.clone(), workspace(task).shard());
        for (key, value) in rows(task, n) {
            tx.put(key, value);
        }
        if n > 20 {
            // Deleting is half of the work of a store that lives long.
            for (key, _) in rows(task, n - 20).drain(..8) {
                tx.delete(key);
            }
        }
        tx.append(Log(workspace(task)), n.to_be_bytes().to_vec());
        tx.commit().await.unwrap();
        writeln!(std::io::stdout().lock(), "\nacknowledged {task} {n}").unwrap();
    }
}

async fn check(folder: &str, acknowledged: &BTreeMap<u32, u64>) -> u64 {
    let store = open(folder);
    let mut total = 0;
    for task in 0..TASKS {
        let last = last_of(&store, task).await;
        let acknowledged = acknowledged.get(&task).copied().unwrap_or(0);
        assert!(last >= acknowledged, "task {task}: {acknowledged} was acknowledged, {last} is stored");
        let mut expected: BTreeMap<Key, Value> = BTreeMap::new();
        for n in last.saturating_sub(19).max(1)..=last {
            expected.extend(rows(task, n));
        }
        let mut tx = Txn::begin(store.clone(), workspace(task).shard());
        let mut stored = BTreeMap::new();
        for space in [Space::RunEvents, Space::RunStates, Space::Runs] {
            let range = KeyBuilder::new(space, workspace(task)).prefix();
            stored.extend(tx.range(range, usize::MAX, false).await.unwrap());
        }
        assert!(stored == expected, "task {task}: transaction {last} or one of those before is not whole");
        let log = Log(workspace(task));
        assert_eq!(store.log_head(log).await.unwrap(), last + 1);
        let page = read_log(&*store, log, 1, usize::MAX).await.unwrap();
        assert!(page.rows.iter().map(|(_, n)| n.to_vec()).eq((1..=last).map(|n| n.to_be_bytes().to_vec())));
        total += last;
    }
    store.close().await;
    total
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut seed: u64 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env(FOLDER, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        seed = (seed * 6_364_136_223 + 1_442_695_041) % 1_000_003;
        // The first rounds are killed early, while the folder is being made and opened.
        let alive = Duration::from_millis(if round < 3 { seed % 40 } else { 60 + seed % 400 });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let killer = std::thread::spawn(move || {
            let start = Instant::now();
            std::thread::sleep(alive);
            child.kill().unwrap();
            child.wait().unwrap();
            start.elapsed()
        });
        while let Some(Ok(line)) = lines.next() {
            if let Some((task, n)) = line.strip_prefix("acknowledged ").and_then(|line| line.split_once(' '))
            {
                // The last line may be cut.
                if let (Ok(task), Ok(n)) = (task.parse(), n.parse::<u64>()) {
                    let last = acknowledged.entry(task).or_insert(0);
                    *last = n.max(*last);
                }
            }
        }
        killer.join().unwrap();
        let total = runtime.block_on(check(path, &acknowledged));
        assert!(total >= before);
        before = total;
    }
    assert!(before > 100, "{before} transactions are too few to tell anything");
}
