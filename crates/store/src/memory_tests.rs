//! Faults and crashes of the store in memory do what the simulation counts on.
use super::*;
use crate::keys::{KeyBuilder, Space};
use crate::txn::Txn;
use crate::types::WorkspaceId;

const WS: WorkspaceId = WorkspaceId(1);

fn key(n: u8) -> Key {
    KeyBuilder::new(Space::Records, WS).u8(n).build()
}

async fn put(store: &MemoryStore, n: u8) -> Result<Stamp, Refused> {
    let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
    tx.put(key(n), "x");
    tx.append(Log(WS), "event");
    tx.commit().await
}

fn stored(store: &MemoryStore) -> Vec<u8> {
    let rows = store.dump().into_iter();
    rows.filter(|(key, _)| key[0] == Space::Records as u8).map(|(key, _)| key[7]).collect()
}

#[tokio::test]
async fn a_refused_commit_writes_nothing_and_the_store_goes_on() {
    let store = MemoryStore::new();
    store.fail_commit(2, Fault::Refuse(Refused::Unavailable("for the test".into())));
    put(&store, 1).await.unwrap();
    assert_eq!(put(&store, 2).await, Err(Refused::Unavailable("for the test".into())));
    put(&store, 3).await.unwrap();
    assert_eq!(stored(&store), [1, 3]);
    assert_eq!(store.log_head(Log(WS)).await, Ok(3));
}

#[tokio::test]
async fn a_crash_before_or_after_a_commit_kills_every_handle_until_it_is_opened_again() {
    for (fault, expected) in [(Fault::CrashBefore, vec![1]), (Fault::CrashAfter, vec![1, 2])] {
        let store = MemoryStore::new();
        let other = store.clone();
        put(&store, 1).await.unwrap();
        let mut under_way = Txn::begin(Arc::new(other.clone()), WS.shard());
        under_way.put(key(9), "never committed");
        store.fail_commit(1, fault);
        assert!(matches!(put(&store, 2).await, Err(Refused::Unavailable(_))));
        assert!(
            store.crashed()
                && matches!(other.read(WS.shard(), Vec::new()).await, Err(Refused::Unavailable(_)))
        );
        let opened = store.reopen();
        assert_eq!(stored(&opened), expected);
        assert_eq!(opened.log_head(Log(WS)).await, Ok(expected.len() as u64 + 1));
        // The old process stays dead, though the store lives again.
        assert!(matches!(under_way.commit().await, Err(Refused::Unavailable(_))));
        assert!(store.crashed() && !opened.crashed());
        put(&opened, 3).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_read_before_a_crash_or_long_ago_cannot_be_rested_on() {
    let store = MemoryStore::new();
    put(&store, 1).await.unwrap();
    let at = store.read(WS.shard(), Vec::new()).await.unwrap().at;
    for store in [store.reopen(), {
        let again = store.reopen();
        again.forget_recent();
        again
    }] {
        let mut tx = Txn::begin(Arc::new(store), WS.shard());
        tx.rest_on(key(1).only(), at);
        tx.put(key(2), "x");
        assert!(tx.commit().await.is_err());
    }
    let store = store.reopen();
    let mut tx = Txn::begin(Arc::new(store.clone()), WS.shard());
    tx.get(&key(1)).await.unwrap();
    tx.put(key(2), "x");
    put(&store, 3).await.unwrap();
    store.forget_recent();
    assert!(tx.commit().await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn the_same_steps_give_the_same_store() {
    let run = async || {
        let store = MemoryStore::new().with_yields();
        let tasks = (0..10).map(|n| put(&store, n));
        futures::future::join_all(tasks).await;
        store.dump()
    };
    assert_eq!(run().await, run().await);
}
