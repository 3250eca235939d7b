//! What both places for blobs promise, and what files promise beyond it.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::*;

async fn both_keep_what_is_put(blobs: &dyn Blobs) {
    for size in [0, 1, 4095, 4096, 32 * 1024 + 1, 3 << 20] {
        let bytes: Bytes = (0..size).map(|n| (n * 7 % 251) as u8).collect::<Vec<u8>>().into();
        let id = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(blobs.put(bytes.clone()).await.unwrap(), id);
        assert_eq!(blobs.size(id).await.unwrap(), Some(size as u64));
        assert_eq!(blobs.get(id).await.unwrap().unwrap(), bytes);
    }
    let absent = BlobId::of(b"never put");
    assert_eq!((blobs.get(absent).await, blobs.size(absent).await), (Ok(None), Ok(None)));
    let refused = blobs.put(vec![0; MAX_BLOB_BYTES + 1].into()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "too big for one transaction: a blob of 67108865 bytes, at most 67108864"
    );
}

#[tokio::test]
async fn blobs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    both_keep_what_is_put(&MemoryBlobs::new()).await;
    both_keep_what_is_put(&FileBlobs::open(folder.path().join("blobs")).unwrap()).await;
}

async fn old_unnamed_ones_go(blobs: &dyn Blobs, make_old: impl Fn(BlobId)) {
    let named = blobs.put("named".into()).await.unwrap();
    let unnamed = blobs.put("unnamed".into()).await.unwrap();
    let put_again = blobs.put("put again".into()).await.unwrap();
    [named, unnamed, put_again].into_iter().for_each(&make_old);
    blobs.put("put again".into()).await.unwrap();
    let new = blobs.put("new".into()).await.unwrap();
    let is_named: Box<IsNamed<'_>> = Box::new(move |id| Box::pin(async move { Ok(id == named) }));
    let swept = blobs.sweep(UNNAMED_AGE, &is_named).await.unwrap();
    assert_eq!(swept, Swept { blobs: 1, bytes: 7, kept: 3 });
    assert_eq!(blobs.get(unnamed).await.unwrap(), None);
    for id in [named, put_again, new] {
        assert!(blobs.get(id).await.unwrap().is_some());
    }
}

/// Puts the bytes again between the sweep's question and its deed.
async fn one_put_during_the_sweep_stays(blobs: &(impl Blobs + Clone), make_old: impl Fn(BlobId)) {
    let id = blobs.put("raced".into()).await.unwrap();
    make_old(id);
    let asked = AtomicBool::new(false);
    let is_named: Box<IsNamed<'_>> = Box::new(|_| {
        asked.store(true, Ordering::Relaxed);
        Box::pin(async { blobs.put("raced".into()).await.map(|_| false) })
    });
    blobs.sweep(UNNAMED_AGE, &is_named).await.unwrap();
    assert!(asked.load(Ordering::Relaxed) && blobs.get(id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_sweep_removes_what_is_old_and_unnamed_only() {
    let memory = MemoryBlobs::new();
    let age = |_| memory.advance(Duration::from_secs(3601));
    old_unnamed_ones_go(&memory, age).await;
    one_put_during_the_sweep_stays(&memory, age).await;

    let folder = tempfile::tempdir().unwrap();
    let files = FileBlobs::open(folder.path()).unwrap();
    let age = |id| {
        let file = std::fs::File::options().append(true).open(files.file_of(id)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3700)).unwrap();
    };
    old_unnamed_ones_go(&files, age).await;
    one_put_during_the_sweep_stays(&files, age).await;
}

#[tokio::test]
async fn a_damaged_file_is_named_and_putting_the_bytes_again_mends_a_cut_one() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path()).unwrap();
    let id = blobs.put("whole".into()).await.unwrap();
    std::fs::write(blobs.file_of(id), "whol").unwrap();
    let refused = blobs.get(id).await.unwrap_err();
    assert!(matches!(&refused, Refused::Damaged(text) if text.contains(&id.to_string())), "{refused}");
    blobs.put("whole".into()).await.unwrap();
    assert_eq!(blobs.get(id).await.unwrap().unwrap(), "whole");
}

#[tokio::test]
async fn what_was_left_unfinished_is_removed_at_the_start_and_strangers_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("unfinished-7"), "x").unwrap();
    std::fs::create_dir(folder.path().join("ab")).unwrap();
    std::fs::write(folder.path().join("ab/README"), "x").unwrap();
    let blobs = FileBlobs::open(folder.path()).unwrap();
    assert!(!folder.path().join("unfinished-7").exists());
    let is_named: Box<IsNamed<'_>> = Box::new(|_| Box::pin(async { Ok(false) }));
    blobs.sweep(Duration::ZERO, &is_named).await.unwrap();
    assert!(folder.path().join("ab/README").exists());
}

#[tokio::test]
async fn below_the_floor_new_blobs_are_refused_and_known_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path()).unwrap();
    let known = blobs.put("known".into()).await.unwrap();
    blobs.keep_free(u64::MAX / 2);
    let refused = blobs.put("new".into()).await.unwrap_err();
    assert!(matches!(&refused, Refused::Full(text) if text.contains("are to be kept free")), "{refused}");
    assert_eq!(blobs.put("known".into()).await, Ok(known));
    assert_eq!(blobs.get(known).await.unwrap().unwrap(), "known");
    blobs.keep_free(0);
    blobs.put("new".into()).await.unwrap();
}

#[test]
fn a_name_is_read_back_and_a_wrong_one_refused() {
    let id = BlobId::of(b"x");
    assert_eq!(id.to_string().parse(), Ok(id));
    for wrong in ["", "ab", &"AB".repeat(32), &"zz".repeat(32), &"ab".repeat(33)] {
        assert!(wrong.parse::<BlobId>().is_err(), "{wrong}");
    }
    assert_eq!(
        "ab".parse::<BlobId>().unwrap_err().to_string(),
        "a blob is named by 64 lower-case hexadecimal digits, not by \"ab\""
    );
}
