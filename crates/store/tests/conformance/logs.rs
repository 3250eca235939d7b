//! Logs: positions in commit order, pages without gaps, pruning.
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Log, LogError, Refused, first_position, prune_log, read_log};

use crate::Case;

async fn append(case: &Case, values: &[&str]) {
    let mut tx = case.begin();
    for value in values {
        tx.append(Log(case.workspace), value.to_string());
    }
    tx.commit().await.unwrap();
}

async fn positions_are_given_in_commit_order_and_pages_go_on(case: Case) {
    let log = Log(case.workspace);
    let store = &*case.store;
    let empty = read_log(store, log, 1, 10).await.unwrap();
    assert_eq!((empty.rows.len(), empty.next, empty.head), (0, 1, 1));
    append(&case, &["one"]).await;
    append(&case, &["two", "three"]).await;
    let page = read_log(store, log, 0, 2).await.unwrap();
    assert_eq!(page.rows, [(1, "one".into()), (2, "two".into())]);
    assert_eq!((page.next, page.head), (3, 4));
    let page = read_log(store, log, page.next, 2).await.unwrap();
    assert_eq!((page.rows, page.next), (vec![(3, "three".into())], 4));
    assert!(read_log(store, log, 4, 2).await.unwrap().rows.is_empty());
    assert_eq!(read_log(store, log, 5, 2).await, Err(LogError::Ahead { head: 4 }));
    assert_eq!(store.log_head(Log(case.fresh().workspace)).await, Ok(1), "each workspace has its own");
}

async fn pruned_rows_are_told_and_the_head_stays(case: Case) {
    let log = Log(case.workspace);
    let store = &*case.store;
    assert_eq!(prune_log(store, log, 100).await, Ok(0));
    for n in 0..10 {
        append(&case, &[&n.to_string()]).await;
    }
    assert_eq!(prune_log(store, log, 4).await, Ok(3));
    assert_eq!(read_log(store, log, 3, 10).await, Err(LogError::Pruned { first: 4 }));
    assert_eq!(read_log(store, log, 4, 2).await.unwrap().rows.len(), 2);
    assert_eq!(first_position(store, log).await, Ok(4));
    assert_eq!(prune_log(store, log, u64::MAX).await, Ok(6), "the last row tells the head and stays");
    assert_eq!(store.log_head(log).await, Ok(11));
    append(&case, &["next"]).await;
    assert_eq!(read_log(store, log, 10, 9).await.unwrap().rows.len(), 2);
    let mut tx = case.begin();
    tx.delete(KeyBuilder::new(Space::Log, case.workspace).u64(11).build());
    assert!(matches!(tx.commit().await, Err(Refused::Invalid(text)) if text.contains("last row")));
}

async fn a_follower_sees_every_row_once_and_in_order(case: Case) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let log = Log(case.workspace);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let case = Case { store: case.store.clone(), workspace: case.workspace };
            tokio::spawn(async move {
                for n in 0..EACH {
                    append(&case, &[&format!("{writer} {n}")]).await;
                }
            })
        })
        .collect();
    let mut hints = case.store.hints();
    let (mut next, mut seen) = (1, Vec::new());
    while seen.len() < WRITERS * EACH {
        let page = read_log(&*case.store, log, next, 7).await.unwrap();
        if page.rows.is_empty() {
            // Lost hints are made up for by looking now and then.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), hints.recv()).await;
        }
        for (position, value) in page.rows {
            assert_eq!(position, seen.len() as u64 + 1);
            seen.push(String::from_utf8(value.to_vec()).unwrap());
        }
        next = page.next;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..WRITERS {
        let own: Vec<_> = seen.iter().filter_map(|row| row.strip_prefix(&format!("{writer} "))).collect();
        assert!(
            own.iter().map(|n| n.parse::<usize>().unwrap()).eq(0..EACH),
            "a writer's rows keep their order"
        );
    }
}

crate::on_every_backend!(
    positions_are_given_in_commit_order_and_pages_go_on,
    pruned_rows_are_told_and_the_head_stays,
    a_follower_sees_every_row_once_and_in_order,
);
