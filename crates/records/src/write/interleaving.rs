//! Transactions that overlap in every way: what is committed is always consistent, and a unique value has one owner.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use stepwell_store::{Key, Store, Txn, Want, transact};

use super::*;
use crate::row;
use crate::testing::{Bench, WS, map};

/// One write of one transaction; numbers choose among few e-mails and the records made so far.
#[derive(Clone, Debug)]
enum Op {
    Create(u8),
    Update(usize, u8),
    Upsert(u8),
    Delete(usize),
    Restore(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..4_u8).prop_map(Op::Create),
        (0..8_usize, 0..4_u8).prop_map(|(id, mail)| Op::Update(id, mail)),
        (0..4_u8).prop_map(Op::Upsert),
        (0..8_usize).prop_map(Op::Delete),
        (0..8_usize).prop_map(Op::Restore),
    ]
}

fn person(mail: u8) -> Map<String, Value> {
    // One of the values is none at all.
    let mail = (mail > 0).then(|| format!("m{mail}@example.com"));
    map(json!({"emails": {"primaryEmail": mail}}))
}

async fn run(bench: &Bench, txn: &mut Txn, op: &Op, made: &mut Vec<String>) {
    let context = bench.context();
    let mut records = Records::open(txn, WS).await.unwrap();
    let on = ["emails.primaryEmail".to_owned()];
    let upsert = Upsert { match_on: &on, ..Upsert::default() };
    let id =
        |n: &usize| made.get(n % made.len().max(1)).cloned().unwrap_or_else(|| context.new_id.to_string());
    let done = match op {
        Op::Create(mail) => records.create(&context, "person", &person(*mail)).await,
        Op::Update(n, mail) => records.update(&context, "person", &id(n), &person(*mail), None).await,
        Op::Upsert(mail) => records.upsert(&context, "person", &person(*mail), upsert).await,
        Op::Delete(n) => records.delete(&context, "person", &id(n), None).await,
        Op::Restore(n) => records.restore(&context, "person", &id(n), None).await,
    };
    match done {
        Ok(written) => made.push(crate::testing::id(&written)),
        Err(error) => {
            let expected = ["unique_conflict", "record_not_found", "invalid_match", "damaged"];
            assert!(expected.contains(&error.code()), "{error}");
        }
    }
}

async fn rows(store: &dyn Store, keys: std::ops::Range<Key>) -> BTreeMap<Key, Vec<u8>> {
    let view = store.read(WS.shard(), vec![Want::range(keys, usize::MAX)]).await.unwrap();
    view.rows.into_iter().flatten().map(|(key, value)| (key, value.to_vec())).collect()
}

/// The unique keys are exactly those of the live records.
async fn check(bench: &Bench) {
    let schema = crate::Schema::standard();
    let object = schema.object("person").unwrap();
    let mut expected = BTreeMap::new();
    for (key, bytes) in rows(&*bench.store, row::range(WS, object.id, Life::Live)).await {
        let row = Row::decode(row::id_in(&key).unwrap(), &bytes).unwrap();
        assert_eq!(row.deleted, None);
        if let Some(key) = index::unique_key(WS, object, &object.unique[0], &row) {
            let twin = expected.insert(key, row.id.as_bytes().to_vec());
            assert_eq!(twin, None, "two records have one e-mail");
        }
    }
    let kept = rows(&*bench.store, index::set_key(WS, object.id, object.unique[0].id).prefix()).await;
    assert_eq!(kept, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_unique_value_has_one_owner_whatever_overlaps(
        rounds in prop::collection::vec(prop::collection::vec((ops(), any::<prop::sample::Index>()), 1..5), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let mut made = Vec::new();
            for round in &rounds {
                // All of a round read before any of it commits, and they commit in some order.
                let mut open: Vec<(Txn, usize)> = Vec::new();
                for (op, order) in round {
                    let mut txn = bench.begin();
                    run(&bench, &mut txn, op, &mut made).await;
                    open.push((txn, order.index(100)));
                }
                open.sort_by_key(|(_, order)| *order);
                for (txn, _) in open {
                    let _ = txn.commit().await;
                }
                check(&bench).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_forms_of_one_new_person_make_one_person() {
    let bench = Bench::new();
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move {
                let context = bench.context();
                let on = ["emails.primaryEmail".to_owned()];
                transact(&bench.store, WS.shard(), |mut txn| {
                    let (on, context) = (&on, &context);
                    Box::pin(async move {
                        let mut records = Records::open(&mut txn, WS).await?;
                        let upsert = Upsert { match_on: on, ..Upsert::default() };
                        let written = records.upsert(context, "person", &person(1), upsert).await?;
                        let all = records.search("person", &crate::Query::default(), context.now).await?;
                        // Looked at after the commit: an attempt that loses may have read what two moments hold.
                        Ok::<_, RecordsError>((written.outcome, all.total))
                    })
                })
                .await
                .unwrap()
            })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        let (outcome, total) = task.await.unwrap();
        assert_eq!(total, 1, "each sees the one person, also who made it");
        created += usize::from(outcome == Outcome::Created);
    }
    assert_eq!(created, 1);
    check(&bench).await;
}
