//! What searches cost: the rows that they read, held against what they return and not against what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::json;
use stepwell_store::{
    Key, Log, MemoryStore, Refused, Shard, Stamp, Store, Turn, Tx, Txn, View as Rows, Want,
};
use tokio::sync::{broadcast, watch};

use super::*;
use crate::filter::Allowed;
use crate::testing::{Bench, START, WS};

/// Counts the rows that are read.
struct Counting {
    store: MemoryStore,
    rows: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn read(&self, home: Shard, wants: Vec<Want>) -> Result<Rows, Refused> {
        let view = self.store.read(home, wants).await?;
        self.rows.fetch_add(view.rows.iter().map(Vec::len).sum(), Ordering::Relaxed);
        Ok(view)
    }

    async fn commit(&self, tx: Tx) -> Result<Stamp, Refused> {
        self.store.commit(tx).await
    }

    async fn log_head(&self, log: Log) -> Result<u64, Refused> {
        self.store.log_head(log).await
    }

    async fn turn(&self, home: Shard, keys: Vec<Key>) -> Result<Turn, Refused> {
        self.store.turn(home, keys).await
    }

    fn owned(&self) -> watch::Receiver<Vec<Shard>> {
        self.store.owned()
    }

    fn hints(&self) -> broadcast::Receiver<Shard> {
        self.store.hints()
    }
}

/// The rows read by each search, and by its second page where it has one, among so many records.
async fn costs(stored: usize, searches: &[Query]) -> Vec<(usize, Option<usize>)> {
    let counting = Arc::new(Counting { store: MemoryStore::new(), rows: AtomicUsize::new(0) });
    let bench = Bench::on(counting.clone());
    let object = json!({"name": "thing", "plural": "things", "fields": [
        {"name": "code", "type": "text", "unique": true},
        {"name": "group", "type": "text", "indexed": true},
        {"name": "number", "type": "number", "indexed": true},
    ]});
    let object = serde_json::from_value(object).unwrap();
    bench.run(async |records| records.create_object(&object).await).await.unwrap();
    for chunk in 0..stored / 50 {
        bench
            .run(async |records| {
                for n in chunk * 50..(chunk + 1) * 50 {
                    // Five records are of each group, however many there are.
                    let record =
                        json!({"code": format!("c{n}"), "group": format!("g{}", n / 5), "number": n});
                    let record = crate::testing::map(record);
                    records.create(&bench.context(), "thing", &record).await?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    let mut costs = Vec::new();
    let now = Timestamp::from_millisecond(START).unwrap();
    for query in searches {
        let run = async |query: &Query| {
            let mut txn: Txn = bench.begin();
            let records = Records::open(&mut txn, WS).await.unwrap();
            let before = counting.rows.load(Ordering::Relaxed);
            let page = records.search("thing", query, now).await.unwrap();
            (counting.rows.load(Ordering::Relaxed) - before, page)
        };
        let (first, page) = run(query).await;
        let second = match page.next_cursor {
            Some(cursor) => Some(run(&Query { cursor: Some(cursor), ..query.clone() }).await.0),
            None => None,
        };
        costs.push((first, second));
    }
    costs
}

#[tokio::test]
async fn a_search_by_an_index_costs_the_same_however_much_is_stored() {
    let filter = |json| Some(Filter::parse(&json, Allowed::FIELDS).unwrap());
    let exact = [
        Query { filter: filter(json!({"field": "code", "is": "c42"})), ..Query::default() },
        Query { filter: filter(json!({"field": "code", "in": ["c1", "c42", "none"]})), ..Query::default() },
        Query { filter: filter(json!({"field": "group", "is": "g7"})), ..Query::default() },
        Query {
            filter: filter(
                json!([{"field": "group", "in": ["g7", "g8"]}, {"field": "code", "is_not": "c42"}]),
            ),
            ..Query::default()
        },
        Query {
            filter: filter(json!({"field": "number", "less_than": 10})),
            sort: vec!["-number".into()],
            ..Query::default()
        },
        Query {
            filter: filter(
                json!([{"field": "number", "greater_than": 20}, {"field": "number", "less_than": 31}]),
            ),
            limit: Some(3),
            ..Query::default()
        },
    ];
    let small = costs(100, &exact).await;
    assert_eq!(costs(10_000, &exact).await, small);
    // An entry and its record for each row that is found, and one read beyond a page.
    assert!(small.iter().all(|(first, _)| *first <= 2 * 12), "{small:?}");

    // A page of everything reads the page; the first one also counts, to a bound.
    let all = [
        Query { limit: Some(10), ..Query::default() },
        Query { limit: Some(10), sort: vec!["group".into()], ..Query::default() },
        Query { limit: Some(10), sort: vec!["-number".into()], ..Query::default() },
    ];
    for (first, second) in costs(10_000, &all).await {
        assert!(first <= 1_000 + 256 + 2 * 11, "{first}");
        assert!(second.unwrap() <= 2 * 11, "{second:?}");
    }
}
