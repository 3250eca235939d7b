//! Requests that break a rule of the interface are refused, say why, and write nothing.
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::limits::{MAX_KEY_BYTES, MAX_TX_ROWS, MAX_VALUE_BYTES};
use stepwell_store::{Key, Log, Refused, Shard, Stamp, Tx, Value, Want, WorkspaceId};

use crate::Case;

fn tx(case: &Case, writes: Vec<(Key, Option<Value>)>) -> Tx {
    Tx { home: case.home(), rests_on: Vec::new(), writes, append: Vec::new() }
}

async fn refused(case: &Case, tx: Tx, expected: &str) {
    let refused = case.store.commit(tx).await.unwrap_err();
    assert!(refused.to_string().contains(expected), "`{refused}` should say `{expected}`");
    let rows = case.begin().range(case.key("").prefix(), 1, false).await.unwrap();
    assert!(rows.is_empty(), "nothing is written");
}

async fn bad_transactions_are_refused(case: Case) {
    let value = || Some(Value::from("x"));
    let (a, elsewhere) = (case.key("a"), WorkspaceId(case.workspace.0 + 1));
    let foreign = KeyBuilder::new(Space::Records, elsewhere).build();
    assert_ne!(foreign[1..3], a[1..3]);
    refused(&case, tx(&case, vec![(a.clone(), value()), (a.clone(), None)]), "is written twice").await;
    refused(
        &case,
        tx(&case, vec![(a.clone(), value()), (foreign.clone(), value())]),
        "does not live in shard",
    )
    .await;
    let log_row = KeyBuilder::new(Space::Log, case.workspace).u64(1).build();
    refused(&case, tx(&case, vec![(log_row, value())]), "use `append`").await;
    for odd in [&b""[..], b"\x11", b"\xff\0\0", b"\0\0\0"] {
        let refusal = case.store.commit(tx(&case, vec![(Key::from(odd), value())])).await.unwrap_err();
        assert!(matches!(refusal, Refused::Invalid(_)), "{refusal}");
    }
    let log = Tx { append: vec![(Log(elsewhere), "x".into())], ..tx(&case, vec![(a.clone(), value())]) };
    refused(&case, log, "does not live in shard").await;
    let shard = Tx { home: Shard(1024), ..tx(&case, Vec::new()) };
    refused(&case, shard, "shard 1024 does not exist").await;
    let stamp = Stamp { term: 0, seq: 0 };
    let range = Tx { rests_on: vec![(foreign.only(), stamp)], ..tx(&case, vec![(a, value())]) };
    refused(&case, range, "does not lie in one space").await;
}

async fn what_is_too_big_is_refused(case: Case) {
    let value = |bytes| Some(Value::from(vec![0; bytes]));
    let huge = vec![(case.key("a"), value(MAX_VALUE_BYTES + 1))];
    refused(&case, tx(&case, huge), "has 524289 bytes, at most 524288: keep it as a blob").await;
    let long = vec![(case.key(&"k".repeat(MAX_KEY_BYTES)), value(1))];
    refused(&case, tx(&case, long), "a key of 1031 bytes in space records, at most 1024").await;
    let many = (0..=MAX_TX_ROWS).map(|n| (case.key(&n.to_string()), value(1))).collect();
    refused(&case, tx(&case, many), "701 rows, at most 700").await;
    let heavy = (0..3).map(|n| (case.key(&n.to_string()), value(MAX_VALUE_BYTES))).collect();
    refused(&case, tx(&case, heavy), "bytes, at most 1048576").await;
    let most = (0..MAX_TX_ROWS).map(|n| (case.key(&n.to_string()), value(1))).collect();
    case.store.commit(tx(&case, most)).await.unwrap();
}

async fn bad_reads_are_refused(case: Case) {
    let foreign = KeyBuilder::new(Space::Records, WorkspaceId(case.workspace.0 + 1)).build();
    let two_spaces = case.key("a")..KeyBuilder::new(Space::Inbox, case.workspace).build();
    for want in [Want::Key(foreign), Want::range(two_spaces, 1)] {
        let refusal = case.store.read(case.home(), vec![want]).await.unwrap_err();
        assert!(matches!(refusal, Refused::Invalid(_)), "{refusal}");
    }
    let whole_shard = KeyBuilder::in_shard(Space::Timers, case.home()).prefix();
    case.store.read(case.home(), vec![Want::range(whole_shard, 1)]).await.unwrap();
}

crate::on_every_backend!(bad_transactions_are_refused, what_is_too_big_is_refused, bad_reads_are_refused);
