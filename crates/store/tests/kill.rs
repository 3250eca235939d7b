//! A process that writes is killed at random moments, and so is one that looks at what is there and mends it: what was
//! acknowledged is there afterwards, and whole. The moments come from a seed, which a failure prints.
#![allow(clippy::unwrap_used)] // all of this is test code, its helpers too
mod noise;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{
    BlobId, Blobs, FileBlobs, Key, Log, SledOptions, SledStore, Store, Txn, Value, WorkspaceId,
    first_position, prune_log, read_log,
};

const FOLDER: &str = "STEPWELL_KILL_TEST_FOLDER";
/// What was acknowledged, and whether to close the store at the end: what the checking process is told.
const ACKNOWLEDGED: &str = "STEPWELL_KILL_TEST_ACKNOWLEDGED";
const CLOSE: &str = "STEPWELL_KILL_TEST_CLOSE";
/// Repeats the moments of a run that failed.
const SEED: &str = "STEPWELL_KILL_TEST_SEED";
const TASKS: u32 = 8;
const ROUNDS: u64 = 8;
/// How many transactions keep their rows.
const KEPT: u64 = 20;

fn workspace(task: u32) -> WorkspaceId {
    WorkspaceId(task + 1)
}

fn head(task: u32) -> Key {
    KeyBuilder::new(Space::Runs, workspace(task)).build()
}

/// Every third transaction has a blob, which it names in a row.
fn blob(task: u32, n: u64) -> Option<Vec<u8>> {
    n.is_multiple_of(3).then(|| noise::noise(n << 8 | u64::from(task), 33_000 + (n * 977 % 20_000) as usize))
}

fn event(task: u32, n: u64, part: u8) -> Key {
    KeyBuilder::new(Space::RunEvents, workspace(task)).u64(n).u8(part).build()
}

/// The rows of one transaction: some small, one in pieces, one that is packed, and one that the next transaction
/// replaces.
fn rows(task: u32, n: u64) -> Vec<(Key, Value)> {
    let key = |part: u8| event(task, n, part);
    let value = |size: u64, salt: u64| -> Value {
        (0..size).map(|i| (i * 13 + n * 7 + salt + u64::from(task)) as u8).collect::<Vec<_>>().into()
    };
    let noise = |size: u64| -> Value { noise::noise(n << 8 | u64::from(task), size as usize).into() };
    let mut rows: Vec<_> = (0..6).map(|part| (key(part), value(600, part.into()))).collect();
    rows.push((key(6), noise(n * 977 % 20_000)));
    rows.push((key(7), value(n * 977 % 20_000, 6)));
    rows.extend(blob(task, n).map(|blob| (key(8), BlobId::of(&blob).0.to_vec().into())));
    rows.push((
        KeyBuilder::new(Space::RunStates, workspace(task)).build(),
        if n.is_multiple_of(3) { value(n * 1319 % 9_000, 7) } else { noise(n * 1319 % 9_000) },
    ));
    rows.push((head(task), n.to_be_bytes().to_vec().into()));
    rows
}

fn open(folder: &str) -> Arc<SledStore> {
    // Sled moves what is alive about while it is killed.
    let clean_every = Duration::from_millis(2);
    let options = SledOptions { cache_bytes: 16 << 20, disk_floor: 0, clean_every, ..SledOptions::default() };
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
        let blobs = FileBlobs::open(format!("{folder}/blobs")).unwrap();
        let tasks = (0..TASKS).map(|task| tokio::spawn(write_for_ever(store.clone(), blobs.clone(), task)));
        futures::future::join_all(tasks).await;
    });
}

async fn write_for_ever(store: Arc<SledStore>, blobs: FileBlobs, task: u32) {
    let mut n = last_of(&store, task).await;
    loop {
        n += 1;
        if let Some(blob) = blob(task, n) {
            // Before the transaction that names it.
            blobs.put(blob.into()).await.unwrap();
        }
        let mut tx = Txn::begin(store.clone(), workspace(task).shard());
        for (key, value) in rows(task, n) {
            tx.put(key, value);
        }
        if n > KEPT {
            // Deleting is half of the work of a store that lives long.
            (0..9).for_each(|part| tx.delete(event(task, n - KEPT, part)));
        }
        tx.append(Log(workspace(task)), n.to_be_bytes().to_vec());
        tx.commit().await.unwrap();
        writeln!(std::io::stdout().lock(), "\nacknowledged {task} {n}").unwrap();
        if n.is_multiple_of(50) {
            prune_log(&*store, Log(workspace(task)), n - KEPT).await.unwrap();
        }
    }
}

/// Not a test of its own either: looks at what is there, and says how much.
#[test]
fn the_process_that_checks() {
    let Ok(acknowledged) = std::env::var(ACKNOWLEDGED) else { return };
    let folder = std::env::var(FOLDER).unwrap();
    let acknowledged: Vec<u64> = acknowledged.split(' ').map(|n| n.parse().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = open(&folder);
    let total = runtime.block_on(check(&store, &folder, &acknowledged));
    writeln!(std::io::stdout().lock(), "\nwhole {total}").unwrap();
    match std::env::var_os(CLOSE) {
        Some(_) => runtime.block_on(store.close()),
        // Nothing is closed, flushed or dropped.
        None => std::process::exit(0),
    }
}

async fn check(store: &Arc<SledStore>, folder: &str, acknowledged: &[u64]) -> u64 {
    let blobs = FileBlobs::open(format!("{folder}/blobs")).unwrap();
    let mut total = 0;
    for (task, &acknowledged) in (0..).zip(acknowledged) {
        let last = last_of(store, task).await;
        assert!(last >= acknowledged, "task {task}: {acknowledged} was acknowledged, {last} is stored");
        let mut expected: BTreeMap<Key, Value> = BTreeMap::new();
        for n in last.saturating_sub(KEPT - 1).max(1)..=last {
            expected.extend(rows(task, n));
            if let Some(blob) = blob(task, n) {
                let stored = blobs.get(BlobId::of(&blob)).await.unwrap();
                assert!(
                    stored.is_some_and(|stored| stored == blob),
                    "task {task}: the blob of {n} is not there"
                );
            }
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
        let first = first_position(&**store, log).await.unwrap();
        assert!(first <= last.saturating_sub(KEPT).max(1), "task {task}: the log begins with {first}");
        let page = read_log(&**store, log, first, usize::MAX).await.unwrap();
        let numbers = page.rows.iter().map(|(_, n)| n.to_vec());
        assert!(numbers.eq((first..=last).map(|n| n.to_be_bytes().to_vec())));
        total += last;
    }
    total
}

/// This test's own program, as one of the processes above.
fn process(test: &str, folder: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder);
    command
}

/// Kills it after some milliseconds, if it has not ended by then.
fn kill(mut child: Child, after: u64) {
    std::thread::sleep(Duration::from_millis(after));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Writes until it is killed, so many milliseconds after so many transactions; notes what was acknowledged.
fn write_and_kill(folder: &str, transactions: u64, after: u64, acknowledged: &mut [u64]) {
    let mut child = process("the_process_that_is_killed", folder).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (enough, told) = std::sync::mpsc::channel();
    let killer = std::thread::spawn(move || {
        // Or the process has ended by itself, and with it what it says.
        let _ = told.recv();
        kill(child, after);
    });
    let mut seen = 0;
    for line in std::iter::once(String::new()).chain(lines.map_while(Result::ok)) {
        if seen == transactions {
            let _ = enough.send(());
        }
        let Some((task, n)) = line.strip_prefix("acknowledged ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        // The last line may be cut.
        if let (Ok(task), Ok(n)) = (task.parse::<usize>(), n.parse::<u64>()) {
            acknowledged[task] = n.max(acknowledged[task]);
            seen += 1;
        }
    }
    drop(enough);
    killer.join().unwrap();
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let mut seed: u64 =
        given.unwrap_or_else(|| std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("the moments of {SEED}={seed}");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut acknowledged = vec![0; TASKS as usize];
    let mut before = 0;
    for round in 0..ROUNDS {
        // The first rounds are killed early, while the folder is being made and opened.
        let (transactions, after) = if round < 3 { (0, random(40)) } else { (25 + random(200), random(10)) };
        write_and_kill(path, transactions, after, &mut acknowledged);
        let told = acknowledged.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let mut checking = process("the_process_that_checks", path);
        checking.env(ACKNOWLEDGED, told);
        for _ in 0..round % 3 {
            // Killed while it mends what the kill before has left, too.
            let child = checking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            kill(child, random(120));
        }
        if round.is_multiple_of(2) {
            checking.env(CLOSE, "1");
        }
        let done = checking.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        let total = said.lines().find_map(|line| line.strip_prefix("whole ")?.parse::<u64>().ok());
        let total = total.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&done.stderr)));
        assert!(done.status.success() && total >= before, "{said}");
        before = total;
    }
    assert!(before > 100, "{before} transactions are too few to tell anything");
}
