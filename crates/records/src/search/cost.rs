//! What searches cost: the rows that they read, held against what they return and not against what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use stepwell_store::{MemoryStore, Txn, View as Rows, Want, Watch, Watched};

use super::*;
use crate::filter::Allowed;
use crate::testing::{Bench, START, WS};

/// Counts the rows that are read, their bytes, and the bytes of the largest read.
#[derive(Default)]
struct Counting {
    rows: AtomicUsize,
    bytes: AtomicUsize,
    largest: AtomicUsize,
}

impl Watch for Counting {
    fn after(&self, _wants: &[Want], view: &Rows) {
        self.rows.fetch_add(view.rows.iter().map(Vec::len).sum(), Ordering::Relaxed);
        let bytes = view.rows.iter().flatten().map(|(_, value)| value.len()).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.largest.fetch_max(bytes, Ordering::Relaxed);
    }
}

/// The rows read by each search, and by its second page where it has one, among so many records.
async fn costs(stored: usize, searches: &[Query]) -> Vec<(usize, Option<usize>)> {
    let counting = Arc::new(Watched::new(MemoryStore::new(), Counting::default()));
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
            let before = counting.watch.rows.load(Ordering::Relaxed);
            let page = records.search("thing", query, now).await.unwrap();
            (counting.watch.rows.load(Ordering::Relaxed) - before, page)
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

/// Records may be large: reads are of fewer of them then, and what lies behind a page's end is not read for it.
#[tokio::test]
async fn a_search_among_large_records_reads_them_few_at_a_time() {
    const LARGE: usize = 200_000;
    let counting = Arc::new(Watched::new(MemoryStore::new(), Counting::default()));
    let bench = Bench::on(counting.clone());
    for n in 0..100 {
        let city = format!("{n:03}{}", "x".repeat(LARGE));
        bench.create("person", json!({ "city": city })).await.unwrap();
    }
    let now = Timestamp::from_millisecond(START).unwrap();
    let cost = async |query: &Query| {
        counting.watch.bytes.store(0, Ordering::Relaxed);
        counting.watch.largest.store(0, Ordering::Relaxed);
        let mut txn: Txn = bench.begin();
        let records = Records::open(&mut txn, WS).await.unwrap();
        let page = records.search("person", query, now).await.unwrap();
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed) / LARGE;
        (of(&counting.watch.bytes), of(&counting.watch.largest), page)
    };
    for sort in [vec![], vec!["-updatedAt".to_owned()], vec!["city".to_owned()]] {
        let query = Query { sort, limit: Some(500), max_bytes: Some(3 * LARGE), ..Query::default() };
        let (_, largest, page) = cost(&query).await;
        assert!(largest <= 32, "{largest}");
        assert_eq!((page.records.len(), page.total), (2, 100));
        let next = Query { cursor: page.next_cursor, ..query };
        let (read, largest, page) = cost(&next).await;
        assert!(largest <= 32, "{largest}");
        assert!(read <= 32 || !next.sort.is_empty(), "{read}");
        assert_eq!((page.records.len(), page.total), (2, 100));
    }
}
