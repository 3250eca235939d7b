//! A disk that fills up: commits are refused as `Full`, reading goes on, nothing acknowledged is lost, and with
//! room again the store mends itself. A limit on the size of files plays the full disk, in a process of its own; a disk
//! that is really full is in the black-box tests (`full_disk.rs`).
#![allow(clippy::unwrap_used)] // all of this is test code, its helpers too
mod noise;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Refused, SledOptions, SledStore, Txn, WorkspaceId};

const FOLDER: &str = "STEPWELL_DISK_FULL_TEST_FOLDER";
const WS: WorkspaceId = WorkspaceId(1);

fn key(n: u32) -> Key {
    KeyBuilder::new(Space::Records, WS).u32(n).build()
}

async fn put(store: &Arc<SledStore>, n: u32) -> Result<(), Refused> {
    let mut tx = Txn::begin(store.clone(), WS.shard());
    tx.get(&key(n)).await?;
    tx.put(key(n), noise::noise(n.into(), 3000));
    tx.commit().await.map(|_| ())
}

/// How many rows from 0 on are there and whole.
async fn whole(store: &Arc<SledStore>) -> u32 {
    let mut tx = Txn::begin(store.clone(), WS.shard());
    let rows = tx.range(KeyBuilder::new(Space::Records, WS).prefix(), usize::MAX, false).await.unwrap();
    assert!(rows.iter().zip(0..).all(|((k, seen), n)| *k == key(n) && *seen == noise::noise(n.into(), 3000)));
    rows.len() as u32
}

fn limit_files_to(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

/// Not a test of its own: what the test below runs in another process. Without the folder it does nothing.
#[test]
fn the_process_whose_disk_is_full() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let options = SledOptions { cache_bytes: 16 << 20, disk_floor: 0, ..SledOptions::default() };
        let store = Arc::new(SledStore::open(&folder, options.clone()).unwrap());
        let mut acknowledged = 0;
        for round in 1..=3 {
            limit_files_to(Some(round * (3 << 20)));
            let refused = loop {
                match put(&store, acknowledged).await {
                    Ok(()) => acknowledged += 1,
                    Err(refused) => break refused,
                }
                assert!(acknowledged < 100_000, "the limit is never met");
            };
            assert!(matches!(refused, Refused::Full(_)), "{refused}");
            // What was refused is not there, and what was acknowledged is.
            assert_eq!(whole(&store).await, acknowledged);
            // Opened anew, sled may find a little room yet; soon it finds none.
            for _ in 0..300 {
                match put(&store, acknowledged).await {
                    Ok(()) => acknowledged += 1,
                    Err(refused) => assert!(matches!(refused, Refused::Full(_)), "{refused}"),
                }
            }
            assert_eq!(whole(&store).await, acknowledged);
            limit_files_to(None);
            for attempt in 0.. {
                match put(&store, acknowledged).await {
                    Ok(()) => break,
                    Err(refused) => assert!(attempt < 100, "{refused}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            acknowledged += 1;
        }
        store.close().await;
        let store = Arc::new(SledStore::open(&folder, options).unwrap());
        assert_eq!(whole(&store).await, acknowledged);
    });
}

#[test]
fn a_full_disk_loses_nothing_and_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    // The shell ignores the signal that the limit sends, so that writing fails instead.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact the_process_whose_disk_is_full --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
}
