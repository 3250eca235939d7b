//! The data folder of the store on disk: one process at a time, formats, damage, room, and the rules for sled.
#![allow(clippy::unwrap_used)] // all of this is test code, its helpers too
mod noise;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, OpenError, Refused, SledOptions, SledStore, Store, Txn, Want, WorkspaceId};

use noise::noise;

const WS: WorkspaceId = WorkspaceId(1);

fn options() -> SledOptions {
    SledOptions { cache_bytes: 16 << 20, disk_floor: 0, ..SledOptions::default() }
}

fn open(folder: &Path) -> SledStore {
    SledStore::open(folder, options()).unwrap()
}

fn refusal(folder: &Path) -> String {
    SledStore::open(folder, options()).map(|_| "opened").unwrap_err().to_string()
}

fn key(n: u32) -> Key {
    KeyBuilder::new(Space::Records, WS).u32(n).build()
}

async fn put(store: &SledStore, n: u32, value: &[u8]) -> Result<(), Refused> {
    let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
    tx.put(key(n), value.to_vec());
    tx.commit().await.map(|_| ())
}

async fn get(store: &SledStore, n: u32) -> Option<Vec<u8>> {
    let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
    tx.get(&key(n)).await.unwrap().map(|value| value.to_vec())
}

#[tokio::test]
async fn what_was_stored_is_there_after_closing_and_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/demand");
    let store = open(&path);
    for n in 0..300 {
        put(&store, n, &vec![n as u8; n as usize * 40]).await.unwrap();
    }
    let mut late = Txn::begin(Arc::new(store.clone()), WS.shard());
    late.get(&key(1)).await.unwrap();
    late.put(key(2), "late");
    store.close().await;
    assert!(matches!(late.commit().await, Err(Refused::Unavailable(_))), "a closed store refuses");
    assert!(matches!(store.read(WS.shard(), Vec::new()).await, Err(Refused::Unavailable(_))));
    let store = open(&path);
    for n in 0..300 {
        assert_eq!(get(&store, n).await.unwrap(), vec![n as u8; n as usize * 40]);
    }
}

#[tokio::test]
async fn the_last_handle_closes_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..5 {
        let store = open(folder.path());
        put(&store.clone(), n, b"x").await.unwrap();
    }
    assert_eq!(get(&open(folder.path()), 4).await.unwrap(), b"x");
}

#[test]
fn a_folder_in_use_is_refused_and_its_holder_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let store = open(&path);
    let expected = format!(
        "the data folder {} is in use by this process already; one folder serves one process at a time",
        path.display()
    );
    assert_eq!(refusal(&path), expected);
    drop(store);
    // Another process that holds it is named by its number.
    let mut holder = std::process::Command::new("flock")
        .arg(path.join("lock"))
        .args(["sh", "-c", "echo $PPID > \"$0\"; echo held; read _"])
        .arg(path.join("lock"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut held)
        .unwrap();
    assert!(refusal(&path).contains(&format!("is in use by process {};", holder.id())), "{}", refusal(&path));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    open(&path);
}

#[test]
fn an_unknown_format_and_a_strange_folder_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    drop(open(path));
    fs::write(path.join("format"), "stepwell data format 3\n").unwrap();
    let message = refusal(path);
    assert!(message.contains("has the format \"stepwell data format 3\\n\""), "{message}");
    assert!(message.contains("use the version of Stepwell that wrote it"), "{message}");
    fs::remove_file(path.join("format")).unwrap();
    assert!(refusal(path).contains("holds data but no format stamp"));
    assert!(!path.join("format").exists());
}

#[tokio::test]
async fn a_folder_from_before_the_write_ahead_log_is_opened_and_stamped_anew() {
    let folder = tempfile::tempdir().unwrap();
    let stamp = folder.path().join("format");
    let store = open(folder.path());
    put(&store, 1, b"old").await.unwrap();
    store.close().await;
    fs::write(&stamp, "stepwell data format 1\n").unwrap();
    for name in ["wal.0", "wal.1"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let store = open(folder.path());
    assert_eq!(fs::read_to_string(&stamp).unwrap(), "stepwell data format 2\n");
    assert_eq!(get(&store, 1).await.unwrap(), b"old");
    put(&store, 2, b"new").await.unwrap();
    store.close().await;
    assert_eq!(get(&open(folder.path()), 2).await.unwrap(), b"new");
}

#[tokio::test]
async fn lost_rows_are_missed_and_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    drop(open(&path));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for lost in ["rows/db", "rows"] {
        let (lost, kept) = (path.join(lost), folder.path().join("kept"));
        fs::rename(&lost, &kept).unwrap();
        let message = refusal(&path);
        assert!(message.contains(&format!("{} is missing", lost.display())), "{message}");
        assert!(message.contains("restore it from a backup"), "{message}");
        assert!(!lost.exists());
        fs::rename(&kept, &lost).unwrap();
        drop(open(&path));
    }
    // A folder whose making was cut short holds nothing yet, at any of its steps.
    for made in [&["format"][..], &["format", "rows"], &["format", "rows", "rows/conf"]] {
        let path = tempfile::tempdir().unwrap();
        for name in made {
            if *name == "rows/conf" {
                fs::write(path.path().join(name), "half of").unwrap();
                continue;
            }
            match fs::read(folder.path().join("data").join(name)) {
                Ok(stamp) => fs::write(path.path().join(name), stamp).unwrap(),
                Err(_) => fs::create_dir(path.path().join(name)).unwrap(),
            }
        }
        put(&open(path.path()), 1, b"x").await.unwrap();
    }
}

#[tokio::test]
async fn rows_that_end_before_what_was_there_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows");
    let store = open(folder.path());
    put(&store, 1, b"early").await.unwrap();
    store.close().await;
    let early = fs::read(rows.join("db")).unwrap();
    let store = open(folder.path());
    for n in 2..40 {
        put(&store, n, &noise(n.into(), 3000)).await.unwrap();
    }
    store.close().await;
    let whole = fs::read(rows.join("db")).unwrap();
    // A backup half restored, a disk that lost something: an older file, and a newer one cut.
    for db in [&early[..], &whole[..whole.len() / 2]] {
        fs::write(rows.join("db"), db).unwrap();
        for snapshot in fs::read_dir(&rows).unwrap().flatten() {
            if snapshot.file_name().to_string_lossy().starts_with("snap.") {
                fs::remove_file(snapshot.path()).unwrap();
            }
        }
        let message = refusal(folder.path());
        assert!(message.contains("what came after is lost"), "{message}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    // Nobody, not even root, makes files there.
    let error = SledStore::open("/sys/stepwell-test", options()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().starts_with("the data folder /sys/stepwell-test cannot be written to:"));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(refusal(file.path()).contains(&file.path().display().to_string()));
}

#[tokio::test]
async fn below_the_floor_only_deleting_is_possible() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, b"kept").await.unwrap();
    store.close().await;
    let store = SledStore::open(folder.path(), SledOptions { disk_floor: u64::MAX, ..options() }).unwrap();
    let refused = put(&store, 2, b"no").await.unwrap_err();
    assert!(matches!(&refused, Refused::Full(text) if text.contains("are to be kept free")), "{refused}");
    assert_eq!(get(&store, 1).await.unwrap(), b"kept", "reading works");
    let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
    tx.delete(key(1));
    tx.commit().await.unwrap();
    assert_eq!(get(&store, 1).await, None);
}

#[tokio::test]
async fn rule_1_what_sled_writes_is_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let marked = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        ioctl_getflags(&file).is_ok_and(|flags| flags.contains(IFlags::SYNC))
    };
    // Where the file system can.
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    let can = ioctl_setflags(fs::File::open(&other).unwrap(), IFlags::SYNC).is_ok() && marked(&other);
    let path = folder.path().join("data");
    let store = open(&path);
    put(&store, 1, b"x").await.unwrap();
    store.close().await;
    for file in ["rows", "rows/db", "rows/conf"] {
        assert_eq!(marked(&path.join(file)), can, "{file}");
    }
    // A folder that was copied, or is from before the mark.
    for file in ["rows", "rows/db"].into_iter().filter(|_| can) {
        ioctl_setflags(fs::File::open(path.join(file)).unwrap(), IFlags::empty()).unwrap();
    }
    drop(open(&path));
    assert_eq!((marked(&path.join("rows")), marked(&path.join("rows/db"))), (can, can));
}

#[tokio::test]
async fn rule_1_and_6_conf_is_saved_and_a_torn_one_restored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, b"kept").await.unwrap();
    store.close().await;
    let conf = folder.path().join("rows/conf");
    let whole = fs::read(&conf).unwrap();
    assert_eq!(fs::read(folder.path().join("rows.conf")).unwrap(), whole);
    for torn in [&whole[..0], &whole[..9], b"rubbish that is long enough"] {
        fs::write(&conf, torn).unwrap();
        assert_eq!(get(&open(folder.path()), 1).await.unwrap(), b"kept");
        assert_eq!(fs::read(&conf).unwrap(), whole);
    }
}

#[tokio::test]
async fn rule_6_unfinished_and_broken_snapshots_do_not_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, b"kept").await.unwrap();
    store.close().await;
    let rows = folder.path().join("rows");
    let unfinished = rows.join("snap.00000000000FFFFF.generating");
    fs::write(&unfinished, "half a snapsh").unwrap();
    assert_eq!(get(&open(folder.path()), 1).await.unwrap(), b"kept");
    assert!(!unfinished.exists());
    // One that was finished and then damaged is put aside with the whole folder.
    for entry in fs::read_dir(&rows).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
    fs::write(rows.join("snap.00000000000FFFFF"), vec![7; 500]).unwrap();
    assert_eq!(get(&open(folder.path()), 1).await.unwrap(), b"kept");
}

#[tokio::test]
async fn damage_that_cannot_be_mended_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..2000 {
        put(&store, n, &[7; 600]).await.unwrap();
    }
    store.close().await;
    // Another program's file, in the place of sled's configuration and its copy.
    for file in ["rows/conf", "rows.conf"] {
        fs::write(folder.path().join(file), "segment_size: 3\nuse_compression: true\nversion: 9.9\nCRCC")
            .unwrap();
    }
    let message = refusal(folder.path());
    assert!(
        message.contains("Restore a backup of the data folder; a copy of it as it was found"),
        "{message}"
    );
    assert!(folder.path().join("rows.as-found/db").exists());
}

#[tokio::test]
async fn a_flipped_bit_in_a_value_is_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = b"a value that can be found in the file of sled's";
    put(&store, 1, value).await.unwrap();
    store.close().await;
    let file = folder.path().join("rows/db");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<usize> =
        bytes.windows(value.len()).enumerate().filter(|(_, w)| w == value).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&file, bytes).unwrap();
    // Either sled notices, or the row's own checksum does, or sled drops the row that fails its checksum.
    if let Ok(store) = SledStore::open(folder.path(), options()) {
        let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
        match tx.get(&key(1)).await {
            Ok(seen) => assert_eq!(seen, None),
            Err(refused) => {
                assert!(matches!(refused, Refused::Damaged(_) | Refused::Unavailable(_)), "{refused}")
            }
        }
    }
}

/// Rule 5: sled puts leaves over 128 KiB into files that it never syncs. The largest keys and values that are
/// allowed, side by side, must not make one.
#[tokio::test]
async fn rule_5_sled_makes_no_files_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for round in 0..3u8 {
        for n in 0..40u32 {
            let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
            for part in 0..8 {
                let long = KeyBuilder::new(Space::Records, WS).fixed(&[9; 1009]).u32(n).u32(part).build();
                assert_eq!(long.len(), stepwell_store::limits::MAX_KEY_BYTES);
                tx.put(long, noise(round.into(), stepwell_store::limits::CHUNK_BYTES));
            }
            tx.put(key(n), noise(round.into(), 200_000));
            tx.commit().await.unwrap();
        }
    }
    store.close().await;
    let store = open(folder.path());
    assert_eq!(get(&store, 39).await.unwrap(), noise(2, 200_000));
    assert_eq!(fs::read_dir(folder.path().join("rows/blobs")).unwrap().count(), 0);
}

/// How a range of everything is read, wanted with room for far more: at once, or by a reader thread.
async fn read_at_once(store: &SledStore) -> (bool, usize) {
    let everything = KeyBuilder::new(Space::Records, WS).prefix();
    let want = Want::Range { keys: everything, limit: 1_000, backwards: false };
    let before = store.read_counts();
    let rows = store.read(WS.shard(), vec![want]).await.unwrap().rows.remove(0).len();
    (store.read_counts().at_once > before.at_once, rows)
}

#[tokio::test]
async fn a_range_with_few_rows_is_read_at_once_however_many_it_might_have_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..10 {
        put(&store, n, b"x").await.unwrap();
    }
    // The writer may be about to close its books; then a reader thread reads, as it should.
    let mut tries = 0;
    while read_at_once(&store).await != (true, 10) {
        tries += 1;
        assert!(tries < 1_000, "ten rows are never read at once");
    }
    for n in 10..100 {
        put(&store, n, b"x").await.unwrap();
    }
    assert_eq!(read_at_once(&store).await, (false, 100));
}

/// Rows that come in order lie in sled's file beside scattered ones, which stay for longer and would keep its segments.
#[tokio::test]
async fn rule_4_the_room_of_what_is_gone_is_used_again() {
    const ROUNDS: u32 = 3_000;
    const KEPT: u32 = 120;
    const EACH: u32 = 12;
    let size = async |clean_every: Duration| {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), SledOptions { clean_every, ..options() }).unwrap();
        let row = |n: u32| KeyBuilder::new(Space::Runs, WS).u32(n).build();
        let index = |n: u32| {
            KeyBuilder::new(Space::RecordIndexes, WS).u32(n.wrapping_mul(2_654_435_761) >> 4).u32(n).build()
        };
        for round in 0..ROUNDS {
            let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
            for n in round * EACH..(round + 1) * EACH {
                tx.put(row(n), noise(u64::from(n), 900));
                tx.put(index(n), "");
                if let Some(old) = n.checked_sub(KEPT * EACH) {
                    tx.delete(row(old));
                    if old % 4 > 0 {
                        tx.delete(index(old));
                    }
                }
            }
            tx.commit().await.unwrap();
            if round % 100 == 99 {
                // Cleaning takes its time, and nobody is told when it is done.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        store.close().await;
        fs::metadata(folder.path().join("rows/db")).unwrap().len() >> 20
    };
    let never = size(Duration::from_secs(3600)).await;
    let often = size(Duration::from_millis(1)).await;
    assert!(often < never * 3 / 4, "{often} MiB, and {never} without cleaning");
}
