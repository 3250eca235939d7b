//! Power cuts: of what was written to the log and not synced some blocks are on the disk and others are not, and sled has
//! what it had between two tables, whose writing is cut short in `kill.rs`: the system writes sled's files through (rule
//! 1). What was answered is there afterwards, and whole.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::failed::Failed;
use super::steps::{Real, Steps};
use super::{SledOptions, SledStore};
use crate::keys::{KeyBuilder, Space};
use crate::store::Store;
use crate::txn::Txn;
use crate::types::{Key, Log, WorkspaceId};

const BLOCK: usize = 4096;
const LOG: [&str; 2] = ["wal.0", "wal.1"];

/// What of the log a sync has made durable, and whether sled is being written to.
struct Disk {
    folder: PathBuf,
    durable: Mutex<BTreeMap<&'static str, Vec<u8>>>,
    sled: Mutex<Sled>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sled {
    Quiet,
    Written,
    Copied,
}

impl Disk {
    fn set(&self, sled: Sled) {
        let quiet = self.changed.wait_while(self.sled.lock().unwrap(), |now| {
            // Whoever writes ends it, and so does whoever copies.
            *now != Sled::Quiet && sled != Sled::Quiet
        });
        *quiet.unwrap() = sled;
        self.changed.notify_all();
    }
}

impl Steps for Disk {
    fn sync_log(&self, log: &File) -> io::Result<()> {
        // Nothing is cut while it is synced.
        let mut durable = self.durable.lock().unwrap();
        let now = LOG.map(|file| (file, fs::read(self.folder.join(file)).unwrap()));
        Real.sync_log(log)?;
        durable.extend(now);
        Ok(())
    }

    fn apply(&self) -> Result<(), Failed> {
        self.set(Sled::Written);
        Ok(())
    }

    fn sync(&self, data: &File) -> io::Result<()> {
        Real.sync(data)?;
        self.set(Sled::Quiet);
        Ok(())
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const TASKS: u32 = 6;
const KEPT: u64 = 15;

fn ws(task: u32) -> WorkspaceId {
    WorkspaceId(task + 1)
}

fn row(task: u32, n: u64, part: u8) -> Key {
    KeyBuilder::new(Space::RunEvents, ws(task))
        .u64(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .u64(n)
        .u8(part)
        .build()
}

fn head(task: u32) -> Key {
    KeyBuilder::new(Space::Runs, ws(task)).build()
}

fn value(task: u32, n: u64, part: u8) -> Vec<u8> {
    let mut random = Random(n << 16 | u64::from(task) << 8 | u64::from(part));
    // The last part is in pieces, now and then.
    let length = if part == 5 { random.below(12_000) } else { 300 };
    (0..length).map(|_| random.below(256) as u8).collect()
}

async fn write_on(store: &Arc<SledStore>, task: u32, n: u64) -> bool {
    let mut tx = Txn::begin(store.clone(), ws(task).shard());
    for part in 0..6 {
        tx.put(row(task, n, part), value(task, n, part));
        if n > KEPT {
            tx.delete(row(task, n - KEPT, part));
        }
    }
    tx.put(head(task), n.to_be_bytes().to_vec());
    tx.append(Log(ws(task)), n.to_be_bytes().to_vec());
    tx.commit().await.is_ok()
}

async fn check(store: &Arc<SledStore>, answered: &[u64]) {
    for (task, &answered) in (0..).zip(answered) {
        let mut tx = Txn::begin(store.clone(), ws(task).shard());
        let last = tx.get(&head(task)).await.unwrap();
        let last = last.map_or(0, |last| u64::from_be_bytes(last[..].try_into().unwrap()));
        assert!(last >= answered, "task {task}: {answered} was answered, {last} is there");
        let there = tx.range(KeyBuilder::new(Space::RunEvents, ws(task)).prefix(), usize::MAX, false).await;
        let there: BTreeMap<_, _> = there.unwrap().into_iter().collect();
        let mut expected = BTreeMap::new();
        for n in last.saturating_sub(KEPT - 1).max(1)..=last {
            expected.extend((0..6).map(|part| (row(task, n, part), value(task, n, part).into())));
        }
        assert!(there == expected, "task {task}: {last}, or one before, is not whole");
        assert_eq!(store.log_head(Log(ws(task))).await.unwrap(), last + 1);
    }
}

fn open(folder: &Path, steps: Arc<dyn Steps>) -> Arc<SledStore> {
    let clean_every = Duration::from_secs(3600);
    let options = SledOptions { cache_bytes: 16 << 20, disk_floor: 0, clean_every, ..SledOptions::default() };
    Arc::new(SledStore::open_with(folder, options, steps).unwrap())
}

/// What is on the disk after a cut: of each block of the log either what was durable or what has been written since.
fn cut(disk: &Disk, to: &Path, random: &mut Random) {
    disk.set(Sled::Copied);
    let durable = disk.durable.lock().unwrap();
    fs::create_dir_all(to.join("rows")).unwrap();
    for entry in fs::read_dir(&disk.folder).unwrap().chain(fs::read_dir(disk.folder.join("rows")).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(&disk.folder).unwrap();
        if path.is_file() && !LOG.iter().any(|file| name == Path::new(file)) && name != Path::new("lock") {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
    // Few of the blocks, many, or half of them.
    let share = [5, 50, 95][random.below(3) as usize];
    for file in LOG {
        let mut now = fs::read(disk.folder.join(file)).unwrap();
        let was = &durable[file];
        for block in (0..now.len()).step_by(BLOCK) {
            let of = block..block + BLOCK;
            if now[of.clone()] != was[of.clone()] && random.below(100) >= share {
                now[of.clone()].copy_from_slice(&was[of]);
            }
        }
        fs::write(to.join(file), now).unwrap();
    }
    drop(durable);
    disk.set(Sled::Quiet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_power_cut_loses_nothing_that_was_answered() {
    const CUTS: u64 = 8;
    let seed = std::env::var("STEPWELL_POWER_CUT_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed: u64 = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("the cuts of STEPWELL_POWER_CUT_TEST_SEED={seed}");
    let mut random = Random(seed);
    let folders = tempfile::tempdir().unwrap();
    let mut folder = folders.path().join("0");
    drop(open(&folder, Arc::new(Real)));
    let mut answered = vec![0; TASKS as usize];
    for round in 1..=CUTS {
        let durable = LOG.map(|file| (file, fs::read(folder.join(file)).unwrap()));
        let disk = Arc::new(Disk {
            folder: folder.clone(),
            durable: Mutex::new(durable.into_iter().collect()),
            sled: Mutex::new(Sled::Quiet),
            changed: Condvar::new(),
        });
        let store = open(&folder, disk.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Mutex::new(answered.clone()));
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            let (store, is_over, told) = (store.clone(), is_over.clone(), told.clone());
            let mut n = answered[task as usize];
            // What was not answered may be there as well.
            let last = Txn::begin(store.clone(), ws(task).shard()).get(&head(task)).await.unwrap();
            n = n.max(last.map_or(0, |last| u64::from_be_bytes(last[..].try_into().unwrap())));
            tasks.push(tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) && write_on(&store, task, n + 1).await {
                    n += 1;
                    told.lock().unwrap()[task as usize] = n;
                }
            }));
        }
        let enough = answered.iter().sum::<u64>() + 100 + random.below(1_000);
        while told.lock().unwrap().iter().sum::<u64>() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
        // What is answered by now is durable by now.
        answered = told.lock().unwrap().clone();
        let after = folders.path().join(round.to_string());
        cut(&disk, &after, &mut random);
        is_over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        drop(store);
        let store = open(&after, Arc::new(Real));
        check(&store, &answered).await;
        folder = after;
        if round.is_multiple_of(2) {
            store.close().await;
        }
    }
}
