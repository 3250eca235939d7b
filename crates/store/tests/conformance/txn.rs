//! Transactions, one or two at a time: what they see, what they rest on, and going back.
use stepwell_store::{Refused, Want};

use crate::Case;

async fn rows_are_read_in_order_from_both_ends(case: Case) {
    case.put(&[("b", "2"), ("a", "1"), ("d", "4"), ("c", "3")]).await;
    let mut tx = case.begin();
    let all = tx.range(case.range("a", "z"), usize::MAX, false).await.unwrap();
    assert_eq!(case.plain(&all).iter().map(|(key, _)| key.as_str()).collect::<String>(), "abcd");
    let last = tx.range(case.range("a", "d"), 2, true).await.unwrap();
    assert_eq!(case.plain(&last), [("c".into(), "3".into()), ("b".into(), "2".into())]);
    assert_eq!(tx.get(&case.key("d")).await.unwrap().unwrap(), "4");
    assert_eq!(tx.get(&case.key("nope")).await.unwrap(), None);
    let many = tx.get_many(&[case.key("d"), case.key("nope"), case.key("a"), case.key("d")]).await.unwrap();
    assert_eq!(many, [Some("4".into()), None, Some("1".into()), Some("4".into())]);
    let (start, end) = (case.key("c"), case.key("a"));
    assert!(tx.range(start..end, 9, false).await.unwrap().is_empty());
    let view =
        case.store.read(case.home(), vec![Want::Key(case.key("a")), Want::range(case.range("b", "d"), 1)]);
    let view = view.await.unwrap();
    assert_eq!(view.rows.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

async fn workspaces_do_not_see_each_other(case: Case) {
    case.put(&[("a", "1")]).await;
    let other = case.fresh();
    other.put(&[("b", "2")]).await;
    let mut tx = case.begin();
    let all = tx.range(case.key("").prefix(), usize::MAX, false).await.unwrap();
    assert_eq!(case.plain(&all), [("a".into(), "1".into())]);
}

async fn a_write_of_what_was_read_conflicts_and_writes_nothing(case: Case) {
    case.put(&[("a", "1")]).await;
    let mut late = case.begin();
    late.get(&case.key("a")).await.unwrap();
    late.put(case.key("b"), "late");
    case.put(&[("a", "2")]).await;
    assert_eq!(late.commit().await, Err(Refused::Conflict { key: case.key("a") }));
    assert_eq!(case.begin().get(&case.key("b")).await.unwrap(), None);
    // What it read first stays what it sees, though the commit is lost.
    let mut tx = case.begin();
    assert_eq!(tx.get(&case.key("a")).await.unwrap().unwrap(), "2");
    case.put(&[("a", "3")]).await;
    assert_eq!(tx.get(&case.key("a")).await.unwrap().unwrap(), "2");
}

async fn a_deletion_conflicts_like_a_write(case: Case) {
    case.put(&[("a", "1")]).await;
    let mut tx = case.begin();
    tx.get(&case.key("a")).await.unwrap();
    tx.put(case.key("b"), "x");
    let mut delete = case.begin();
    delete.delete(case.key("a"));
    delete.commit().await.unwrap();
    assert_eq!(tx.commit().await, Err(Refused::Conflict { key: case.key("a") }));
}

async fn two_that_find_the_same_range_empty_cannot_both_fill_it(case: Case) {
    let (mut one, mut two) = (case.begin(), case.begin());
    for tx in [&mut one, &mut two] {
        assert!(tx.range(case.range("p", "q"), 10, false).await.unwrap().is_empty());
    }
    one.put(case.key("p1"), "one");
    two.put(case.key("p2"), "two");
    one.commit().await.unwrap();
    assert_eq!(two.commit().await, Err(Refused::Conflict { key: case.key("p1") }));
}

async fn a_limited_read_rests_as_far_as_its_last_row(case: Case) {
    case.put(&[("b", "2"), ("d", "4"), ("f", "6"), ("h", "8")]).await;
    // (backwards, limit, a key that may be written, a key that may not)
    for (backwards, limit, free, rested) in [
        (false, 2, "e", "c"),
        (false, 2, "f", "d"),
        (true, 2, "e", "g"),
        (true, 2, "d", "f"),
        (false, 9, "z", "i"),
    ] {
        for (key, conflicts) in [(free, false), (rested, true)] {
            let mut tx = case.begin();
            tx.range(case.range("a", "k"), limit, backwards).await.unwrap();
            tx.put(case.key("y"), "x");
            case.put(&[(key, "new")]).await;
            let context = format!("backwards {backwards}, limit {limit}, key {key}");
            assert_eq!(tx.commit().await.is_err(), conflicts, "{context}");
            let mut restore = case.begin();
            restore.delete(case.key(key));
            restore.commit().await.unwrap();
            case.put(&[("b", "2"), ("d", "4"), ("f", "6"), ("h", "8")]).await;
        }
    }
}

async fn what_is_read_without_tracking_is_not_rested_on_unless_said_so(case: Case) {
    case.put(&[("a", "1")]).await;
    let mut tx = case.begin();
    tx.put(case.key("own"), "mine");
    let wants = vec![Want::Key(case.key("own")), Want::range(case.range("a", "p"), 10)];
    let view = tx.read(wants.clone()).await.unwrap();
    assert_eq!(case.plain(&view.rows[0]), [("own".into(), "mine".into())]);
    assert_eq!(case.plain(&view.rows[1]), [("a".into(), "1".into()), ("own".into(), "mine".into())]);
    case.put(&[("a", "2")]).await;
    tx.commit().await.unwrap();

    let mut tx = case.begin();
    let at = tx.read(wants).await.unwrap().at;
    tx.rest_on(case.range("a", "b"), at);
    tx.put(case.key("own"), "again");
    case.put(&[("a", "3")]).await;
    assert_eq!(tx.commit().await, Err(Refused::Conflict { key: case.key("a") }));
}

async fn blind_writes_do_not_conflict(case: Case) {
    let (mut one, mut two) = (case.begin(), case.begin());
    one.put(case.key("a"), "one");
    two.put(case.key("a"), "two");
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    assert_eq!(case.begin().get(&case.key("a")).await.unwrap().unwrap(), "two");
}

async fn a_read_only_transaction_says_whether_all_was_true_at_one_moment(case: Case) {
    case.put(&[("a", "1"), ("b", "1")]).await;
    let mut tx = case.begin();
    tx.get(&case.key("a")).await.unwrap();
    assert!(tx.is_read_only() && tx.validate().await.is_ok());
    case.put(&[("a", "2"), ("b", "2")]).await;
    assert_eq!(tx.get(&case.key("b")).await.unwrap().unwrap(), "2");
    assert!(tx.validate().await.unwrap_err().is_conflict());
    assert!(tx.commit().await.unwrap_err().is_conflict());
}

async fn own_writes_and_deletions_are_seen_and_limits_still_met(case: Case) {
    case.put(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]).await;
    let mut tx = case.begin();
    tx.delete(case.key("a"));
    tx.delete(case.key("d"));
    tx.put(case.key("bb"), "own");
    tx.put(case.key("c"), "changed");
    let names = |rows: &[_]| case.plain(rows).into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" ");
    for (limit, backwards, expected) in [
        (9, false, "b bb c e"),
        (3, false, "b bb c"),
        (1, false, "b"),
        (9, true, "e c bb b"),
        (2, true, "e c"),
        (0, false, ""),
    ] {
        let rows = tx.range(case.range("a", "z"), limit, backwards).await.unwrap();
        assert_eq!(names(&rows), expected, "limit {limit}, backwards {backwards}");
    }
    assert_eq!(tx.get(&case.key("c")).await.unwrap().unwrap(), "changed");
    assert_eq!(tx.get(&case.key("a")).await.unwrap(), None);
    tx.commit().await.unwrap();
    let rows = case.begin().range(case.range("a", "z"), 9, false).await.unwrap();
    assert_eq!(names(&rows), "b bb c e");
}

async fn going_back_undoes_writes_and_keeps_what_was_read(case: Case) {
    case.put(&[("a", "1")]).await;
    let mut tx = case.begin();
    tx.put(case.key("keep"), "first");
    let empty = (tx.keys(), tx.bytes());
    let outer = tx.savepoint();
    tx.put(case.key("keep"), "second");
    tx.delete(case.key("a"));
    tx.append(stepwell_store::Log(case.workspace), "event");
    let inner = tx.savepoint();
    tx.put(case.key("more"), "x".repeat(10_000));
    tx.get(&case.key("rested")).await.unwrap();
    tx.rollback_to(inner);
    assert_eq!(tx.get(&case.key("more")).await.unwrap(), None);
    assert_eq!(tx.get(&case.key("keep")).await.unwrap().unwrap(), "second");
    tx.rollback_to(outer);
    assert_eq!((tx.keys(), tx.bytes()), empty, "counts go back too");
    assert_eq!(tx.get(&case.key("keep")).await.unwrap().unwrap(), "first");
    assert_eq!(tx.get(&case.key("a")).await.unwrap().unwrap(), "1");
    case.put(&[("rested", "by another")]).await;
    assert_eq!(tx.commit().await, Err(Refused::Conflict { key: case.key("rested") }));
    assert_eq!(case.store.log_head(stepwell_store::Log(case.workspace)).await, Ok(1));
}

async fn counts_are_what_a_commit_would_write(case: Case) {
    let mut tx = case.begin();
    tx.put(case.key("a"), "12345");
    assert_eq!((tx.keys(), tx.bytes()), (1, 8 + 5));
    tx.put(case.key("a"), "1");
    tx.delete(case.key("b"));
    assert_eq!((tx.keys(), tx.bytes()), (2, 8 + 1 + 8));
    tx.put(case.key("c"), vec![0; 10_000]);
    assert_eq!(tx.keys(), 2 + 5, "a large value is a head, its pieces, and how many these are");
    tx.append(stepwell_store::Log(case.workspace), "abc");
    assert_eq!(tx.keys(), 8);
    tx.commit().await.unwrap();
}

async fn news_are_hinted_at_and_all_shards_owned(case: Case) {
    let mut hints = case.store.hints();
    case.put(&[("a", "1")]).await;
    let hint = tokio::time::timeout(std::time::Duration::from_secs(10), hints.recv()).await.unwrap();
    assert_eq!(hint.unwrap(), case.home());
    assert_eq!(case.store.owned().borrow().len(), usize::from(stepwell_store::SHARDS));
}

crate::on_every_backend!(
    rows_are_read_in_order_from_both_ends,
    workspaces_do_not_see_each_other,
    a_write_of_what_was_read_conflicts_and_writes_nothing,
    a_deletion_conflicts_like_a_write,
    two_that_find_the_same_range_empty_cannot_both_fill_it,
    a_limited_read_rests_as_far_as_its_last_row,
    what_is_read_without_tracking_is_not_rested_on_unless_said_so,
    blind_writes_do_not_conflict,
    a_read_only_transaction_says_whether_all_was_true_at_one_moment,
    own_writes_and_deletions_are_seen_and_limits_still_met,
    going_back_undoes_writes_and_keeps_what_was_read,
    counts_are_what_a_commit_would_write,
    news_are_hinted_at_and_all_shards_owned,
);
