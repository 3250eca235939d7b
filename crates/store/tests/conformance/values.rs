//! Values of every size come back as they were, whatever was there before.
use stepwell_store::limits::{CHUNK_BYTES, MAX_VALUE_BYTES};
use stepwell_store::{Txn, Value, Want};

use crate::Case;
use crate::noise::noise;

/// One that can be packed, or, for every second salt, one that cannot. The first byte tells the salt.
fn value(size: usize, salt: usize) -> Value {
    if salt % 2 == 1 {
        let mut value = noise(salt as u64, size);
        if let Some(first) = value.first_mut() {
            *first = (salt % 251) as u8;
        }
        return value.into();
    }
    (0..size).map(|n| ((n * 31 + salt) % 251) as u8).collect::<Vec<_>>().into()
}

const SIZES: [usize; 9] =
    [0, 1, 600, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 1, 33_000, MAX_VALUE_BYTES];

async fn a_value_of_any_size_replaces_one_of_any_other(case: Case) {
    let key = case.key("k");
    for (n, &before) in SIZES.iter().enumerate() {
        for &after in &SIZES {
            for (size, salt) in [(before, n), (after, n + 1)] {
                let mut tx = case.begin();
                tx.put(key.clone(), value(size, salt));
                tx.commit().await.unwrap();
            }
            let rows = case.begin().range(case.key("").prefix(), 10, false).await.unwrap();
            assert_eq!(rows, [(key.clone(), value(after, n + 1))], "{before} then {after}");
        }
        let mut tx = case.begin();
        tx.delete(key.clone());
        tx.commit().await.unwrap();
        assert_eq!(case.begin().get(&key).await.unwrap(), None);
    }
}

async fn large_values_are_never_seen_torn(case: Case) {
    let key = case.key("k");
    let write = |tx: &mut Txn, n: usize| tx.put(key.clone(), value(n * 7919 % 40_000, n));
    let writer = {
        let (store, home, key) = (case.store.clone(), case.home(), key.clone());
        tokio::spawn(async move {
            for n in 0..150 {
                let mut tx = Txn::begin(store.clone(), home);
                tx.put(key.clone(), value(n * 7919 % 40_000, n));
                tx.commit().await.unwrap();
            }
        })
    };
    let mut expected = case.begin();
    write(&mut expected, 149);
    while !writer.is_finished() {
        // Asked for with many rows, so that it is handed to a reader thread, and alone.
        for wants in [vec![Want::Key(key.clone())], vec![Want::range(case.key("").prefix(), usize::MAX)]] {
            let view = case.store.read(case.home(), wants).await.unwrap();
            if let Some((_, seen)) = view.rows[0].first() {
                let salt = seen.first().map_or(0, |&first| usize::from(first));
                let whole = (0..150).any(|n| n % 251 == salt && value(n * 7919 % 40_000, n) == *seen);
                assert!(whole || seen.is_empty(), "{} bytes that nobody wrote", seen.len());
            }
        }
    }
    writer.await.unwrap();
    let last = case.begin().get(&key).await.unwrap();
    assert_eq!(last, expected.get(&key).await.unwrap());
}

async fn many_rows_come_in_one_read(case: Case) {
    for part in 0..4 {
        let mut tx = case.begin();
        for n in 0..500 {
            let n = part * 500 + n;
            tx.put(case.key(&format!("{n:05}")), value(n % 50, n));
        }
        tx.commit().await.unwrap();
    }
    for backwards in [false, true] {
        let rows = case.begin().range(case.key("").prefix(), usize::MAX, backwards).await.unwrap();
        assert_eq!(rows.len(), 2000);
        assert!(rows.is_sorted_by(|a, b| (a.0 < b.0) != backwards));
        let some = case.begin().range(case.key("").prefix(), 700, backwards).await.unwrap();
        assert_eq!(some, rows[..700]);
    }
}

crate::on_every_backend!(
    a_value_of_any_size_replaces_one_of_any_other,
    large_values_are_never_seen_torn,
    many_rows_come_in_one_read,
);
