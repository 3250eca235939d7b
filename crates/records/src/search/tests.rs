//! How searches behave: which index they go by, what they cost, pages, totals; and that an index changes no answer.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use insta::assert_snapshot;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Outcome;
use crate::filter::{Allowed, order_numbers};
use crate::schema::NewObject;
use crate::testing::{Bench, START, WS, id, map};

fn now() -> Timestamp {
    Timestamp::from_millisecond(START + 3_600_000).unwrap()
}

fn query(filter: Value) -> Query {
    Query { filter: Some(Filter::parse(&filter, Allowed::FIELDS).unwrap()), ..Query::default() }
}

const LOOKS_AT_50: Limits = Limits { examined: 50, compared: MAX_COMPARED };

async fn search(bench: &Bench, object: &str, query: &Query) -> Result<Page, RecordsError> {
    bench.run(async |records| records.search(object, query, now()).await).await
}

fn names(page: &Page) -> Vec<&str> {
    page.records.iter().map(|record| record["city"].as_str().unwrap_or("-")).collect()
}

async fn people(cities: &[&str]) -> Bench {
    let bench = Bench::new();
    for (i, city) in cities.iter().enumerate() {
        let email = json!({"primaryEmail": format!("p{i}@example.com")});
        bench.create("person", json!({"city": city, "emails": email})).await.unwrap();
    }
    bench
}

/// However large records are, a page has so many bytes, or one record, and the pages come to all of them.
#[tokio::test]
async fn a_page_ends_where_it_would_be_too_large() {
    let long: Vec<String> = (0..7).map(|n| n.to_string().repeat([100, 2_000][n % 2])).collect();
    let bench = people(&long.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut query = Query { max_bytes: Some(1_000), ..Query::default() };
    let (mut pages, mut all) = (Vec::new(), 0);
    loop {
        let page = search(&bench, "person", &query).await.unwrap();
        assert_eq!(page.total, 7);
        pages.push(page.records.len());
        all += page.records.len();
        let Some(next) = page.next_cursor else { break };
        query.cursor = Some(next);
    }
    assert_eq!((pages.iter().max(), all), (Some(&1), 7), "{pages:?}");
    let query = Query { max_bytes: Some(5_000), ..Query::default() };
    assert_eq!(search(&bench, "person", &query).await.unwrap().records.len(), 5);
}

#[tokio::test]
async fn records_come_in_the_order_of_creation_page_by_page() {
    let bench = people(&["a", "b", "c", "d", "e"]).await;
    let mut query = Query { limit: Some(2), ..Query::default() };
    let first = search(&bench, "person", &query).await.unwrap();
    assert_eq!((names(&first), first.total, first.total_is_exact), (vec!["a", "b"], 5, true));
    assert_eq!(first.index.as_deref(), Some("createdAt"));
    // What is inserted behind the reader shifts no page.
    bench.create("person", json!({"city": "f"})).await.unwrap();
    query.cursor = first.next_cursor;
    let second = search(&bench, "person", &query).await.unwrap();
    assert_eq!((names(&second), second.total), (vec!["c", "d"], 5));
    query.cursor = second.next_cursor;
    let third = search(&bench, "person", &query).await.unwrap();
    assert_eq!((names(&third), &third.next_cursor), (vec!["e", "f"], &None));
    let newest = Query { sort: vec!["-createdAt".into()], limit: Some(3), ..Query::default() };
    let page = search(&bench, "person", &newest).await.unwrap();
    assert_eq!(names(&page), ["f", "e", "d"]);
    let newest = Query { cursor: page.next_cursor, ..newest };
    assert_eq!(names(&search(&bench, "person", &newest).await.unwrap()), ["c", "b", "a"]);
}

#[tokio::test]
async fn a_search_says_what_it_went_by() {
    let bench = people(&["Paris", "Rome"]).await;
    let index = async |filter: Value| {
        let page = search(&bench, "person", &query(filter)).await.unwrap();
        format!("{} by {}", page.total, page.index.as_deref().unwrap_or("-"))
    };
    let all =
        bench.run(async |records| records.search("person", &Query::default(), now()).await).await.unwrap();
    let first = all.records[0]["id"].clone();
    assert_eq!(
        index(json!({"field": "emails.primaryEmail", "is": "P1@Example.com"})).await,
        "1 by emails.primaryEmail"
    );
    assert_eq!(
        index(json!({"field": "emails.primaryEmail", "in": ["p1@example.com", "x@y.zz"]})).await,
        "1 by emails.primaryEmail"
    );
    assert_eq!(
        index(json!({"field": "emails.primaryEmail", "starts_with": "P"})).await,
        "2 by emails.primaryEmail"
    );
    assert_eq!(index(json!({"field": "id", "is": first})).await, "1 by id");
    assert_eq!(index(json!({"field": "companyId", "is": first})).await, "0 by companyId");
    assert_eq!(index(json!({"field": "createdAt", "within": {"last": "2h"}})).await, "2 by createdAt");
    assert_eq!(index(json!({"field": "createdAt", "before": "2020-01-01"})).await, "0 by createdAt");
    assert_eq!(index(json!({"field": "city", "is": "Rome"})).await, "1 by -");
    assert_eq!(
        index(json!({"any": [{"field": "emails.primaryEmail", "is": "p1@example.com"}]})).await,
        "1 by -"
    );
    assert_eq!(
        index(json!([{"field": "emails.primaryEmail", "is": "p1@example.com"}, {"field": "city", "is": "Paris"}])).await,
        "0 by emails.primaryEmail"
    );
}

#[tokio::test]
async fn a_search_sees_the_transactions_own_writes_and_the_commit_does_not_rest_on_it() {
    let bench = people(&["Paris"]).await;
    let (context, other) = (bench.context(), bench.context());
    let mut txn = bench.begin();
    let mut records = Records::open(&mut txn, WS).await.unwrap();
    let new = map(json!({"city": "Oslo", "emails": {"primaryEmail": "new@example.com"}}));
    records.create(&context, "person", &new).await.unwrap();
    let by_email = query(json!({"field": "emails.primaryEmail", "is": "new@example.com"}));
    assert_eq!(names(&records.search("person", &by_email, now()).await.unwrap()), ["Oslo"]);
    let all = records.search("person", &Query::default(), now()).await.unwrap();
    assert_eq!(names(&all), ["Paris", "Oslo"]);
    // Somebody else changes what was seen; nothing was decided by it.
    let changes = map(json!({"city": "Rome"}));
    let seen = all.records[0]["id"].as_str().unwrap();
    bench.run(async |records| records.update(&other, "person", seen, &changes, None).await).await.unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn deleted_records_are_found_only_when_asked_for() {
    let bench = people(&["Paris", "Rome"]).await;
    let all = search(&bench, "person", &Query::default()).await.unwrap();
    bench.delete("person", all.records[0]["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(names(&search(&bench, "person", &Query::default()).await.unwrap()), ["Rome"]);
    let by_email = query(json!({"field": "emails.primaryEmail", "is": "p0@example.com"}));
    assert_eq!(search(&bench, "person", &by_email).await.unwrap().total, 0);
    let deleted = Query { deleted: true, ..Query::default() };
    assert_eq!(names(&search(&bench, "person", &deleted).await.unwrap()), ["Paris"]);
}

#[tokio::test]
async fn only_the_fields_asked_for_come_back() {
    let bench = people(&["Paris"]).await;
    let query = Query { fields: vec!["city".into(), "name.firstName".into()], ..Query::default() };
    let page = search(&bench, "person", &query).await.unwrap();
    let keys: Vec<&String> = page.records[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["city", "id", "name"]);
}

#[tokio::test]
async fn a_wrong_search_says_what_would_be_right() {
    let bench = people(&["a", "b"]).await;
    let cursor =
        search(&bench, "person", &Query { limit: Some(1), ..Query::default() }).await.unwrap().next_cursor;
    let other = Query { sort: vec!["-createdAt".into()], cursor, ..Query::default() };
    let queries = [
        query(json!([
            {"field": "ctiy", "is": "Paris"}, {"field": "emails", "contains": "x"}, {"field": "primaryEmail", "is": "x"},
            {"field": "companyId", "is": "acme"}, {"field": "companyId", "starts_with": "0"},
            {"field": "city", "is": 7}, {"field": "createdAt", "is_not": "2026-01-01"},
            {"field": "emails.additionalEmails", "is": "a@b.de"}, {"field": "city", "before": "now"},
        ])),
        Query { sort: vec!["name".into()], ..Query::default() },
        Query { sort: vec!["-ctiy".into()], ..Query::default() },
        Query { sort: vec!["emails.additionalEmails".into()], ..Query::default() },
        Query { limit: Some(0), ..Query::default() },
        Query { limit: Some(5_000), ..Query::default() },
        Query { cursor: Some("garbage!".into()), ..Query::default() },
        other,
        Query { fields: vec!["citi".into()], ..Query::default() },
        Query { view: Some("mine".into()), ..Query::default() },
    ];
    let mut messages = Vec::new();
    for query in &queries {
        let error = search(&bench, "person", query).await.unwrap_err();
        messages.push(format!("{}: {error}", error.code()));
    }
    let opportunity = query(json!([
        {"field": "stage", "is": "WON"}, {"field": "closeDate", "greater_than": 3}, {"field": "amount.amountMicros", "is": "5"},
    ]));
    messages.push(search(&bench, "opportunity", &opportunity).await.unwrap_err().to_string());
    assert_snapshot!(messages.join("\n"), @r#"
    invalid_filter: the filter on person is wrong: all[0].field: person has no field `ctiy` (did you mean `city`?); all[1].contains: `emails` has parts, so `contains` cannot be asked of the whole (ask one of emails.primaryEmail, emails.additionalEmails); all[2].field: person has no field `primaryEmail` (did you mean `emails.primaryEmail`?); all[3].is: `companyId`: the text "acme" is not an id (write the `id` of a record, such as {{ step.record.id }}); all[4].starts_with: `companyId` is an id like "0198c0de-7e57-7abc-8def-0123456789ab": `starts_with` cannot be asked of it (ask with is, is_not, in, not_in, is_empty); all[5].is: `city` is a text, so it cannot be compared with the number 7; all[6].is_not: `createdAt` is a date-time, and a whole day is not one (ask with `on`, or with {"not": {… "on": …}}); all[7].is: `emails.additionalEmails` is a list of e-mail addresses, so it cannot be compared with the text "a@b.de"; all[8].before: `city` is a text: `before` cannot be asked of it (ask with is, is_not, in, not_in, contains, not_contains, starts_with, ends_with, less_than, less_or_equal, greater_than, greater_or_equal, is_empty)
    invalid_query: the search on person is wrong: sort: `name` has no order to sort by (sort by one of name.firstName, name.lastName)
    invalid_query: the search on person is wrong: sort: person has no field `ctiy` (did you mean `city`?)
    invalid_query: the search on person is wrong: sort: `emails.additionalEmails` has no order to sort by
    invalid_query: the search on person is wrong: limit: 0 records cannot be asked for at once (ask for 1 to 500)
    invalid_query: the search on person is wrong: limit: 5000 records cannot be asked for at once (ask for 1 to 500)
    invalid_query: the search on person is wrong: cursor: this is no cursor (take `next_cursor` of the page before, with the same filter and sort)
    invalid_query: the search on person is wrong: cursor: this cursor belongs to another search (take `next_cursor` of the page before, with the same filter and sort)
    invalid_query: the search on person is wrong: fields: person has no field `citi` (did you mean `city`?)
    unknown_view: there is no view `mine` of person (no view is saved yet)
    the filter on opportunity is wrong: all[0].is: `stage`: "WON" is no option of `stage` (options are NEW, SCREENING, MEETING, PROPOSAL, CLOSED_WON, CLOSED_LOST); all[2].is: `amount.amountMicros` is a whole number, so it cannot be compared with the text "5"
    "#);
}

#[tokio::test]
async fn a_view_is_a_filter_with_a_name() {
    let bench = people(&["Paris", "Rome", "Parma"]).await;
    let filter = json!({"field": "city", "starts_with": "Pa"});
    bench
        .run(async |records| records.save_view("person", "from Pa", Some(&filter), &[]).await)
        .await
        .unwrap();
    let mut viewed = Query { view: Some("from Pa".into()), ..Query::default() };
    assert_eq!(names(&search(&bench, "person", &viewed).await.unwrap()), ["Paris", "Parma"]);
    viewed.filter = query(json!({"field": "city", "ends_with": "ma"})).filter;
    assert_eq!(names(&search(&bench, "people", &viewed).await.unwrap()), ["Parma"]);
    viewed.view = Some("from pa".into());
    assert_snapshot!(search(&bench, "person", &viewed).await.unwrap_err(), @"there is no view `from pa` of person (did you mean `from Pa`?)");
    let wrong = json!([{"field": "ctiy", "is": "x"}, {"field": "city", "equals": "x"}]);
    let refused = bench
        .run(async |records| records.save_view("person", "", Some(&wrong), &["-ctiy".into()]).await)
        .await;
    assert_snapshot!(refused.unwrap_err(), @r#"this view cannot be stored: name: "" cannot name a view (a name has 1 to 100 bytes, no line breaks, and no blanks around it); filter.[1].equals: `equals` is no operand (write `is`); sort: person has no field `ctiy` (did you mean `city`?)"#);
    for dots in [".", ".."] {
        let refused = bench.run(async |records| records.save_view("person", dots, None, &[]).await).await;
        assert!(refused.is_err_and(|why| why.to_string().contains("another place")), "{dots}");
    }
    let listed = bench.run(async |records| records.views("person").await).await.unwrap();
    assert_eq!((listed.len(), &listed[0].filter.as_ref().unwrap().to_json()), (1, &filter));
    assert!(bench.run(async |records| records.delete_view("person", "from Pa").await).await.unwrap());
    assert!(!bench.run(async |records| records.delete_view("person", "from Pa").await).await.unwrap());
}

#[tokio::test]
async fn a_total_is_counted_to_a_thousand() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let mut contexts = (0..1_200).map(|_| bench.context());
    for n in 0..1_200 {
        if n % 300 == 299 {
            std::mem::replace(&mut txn, bench.begin()).commit().await.unwrap();
        }
        let mut records = Records::open(&mut txn, WS).await.unwrap();
        let company = map(json!({"name": format!("c{n:04}"), "employees": n}));
        records.create(&contexts.next().unwrap(), "company", &company).await.unwrap();
    }
    txn.commit().await.unwrap();
    let page = search(&bench, "company", &Query::default()).await.unwrap();
    assert_eq!((page.total, page.total_is_exact), (1_000, false));
    let rest = Query { cursor: page.next_cursor, ..Query::default() };
    let page = search(&bench, "company", &rest).await.unwrap();
    assert_eq!((page.total, page.total_is_exact, &page.records[0]["name"]), (1_000, false, &json!("c0050")));
    let some = query(json!({"field": "employees", "less_than": 900}));
    let page = search(&bench, "company", &some).await.unwrap();
    assert_eq!((page.total, page.total_is_exact), (900, true));
}

#[tokio::test]
async fn a_search_that_would_look_at_everything_says_what_to_index() {
    let bench = Bench::new();
    for n in 0..300 {
        bench.create("company", json!({"name": format!("c{n}"), "employees": n})).await.unwrap();
    }
    let within = async |query: &Query| {
        bench
            .run(async |records| records.search_within("company", query, now(), LOOKS_AT_50, false).await)
            .await
    };
    let by_name = Query { sort: vec!["name".into()], ..Query::default() };
    let messages = [
        within(&by_name).await.unwrap_err(),
        within(&query(json!({"field": "employees", "greater_than": 1_000}))).await.unwrap_err(),
        within(&query(json!({"field": "name", "ends_with": "x"}))).await.unwrap_err(),
    ];
    assert_snapshot!(messages.map(|error| error.to_string()).join("\n"), @r#"
    the search on company looked at 50 records without an answer; add an index on `name` of company, or narrow the filter
    the search on company looked at 50 records without an answer; add an index on `employees` of company, or narrow the filter
    the search on company looked at 50 records without an answer; narrow the filter by a field that is unique or indexed, or by `createdAt`
    "#);
    // What finds its page before it has looked at too much is answered.
    let early = Query { limit: Some(5), ..query(json!({"field": "employees", "greater_or_equal": 40})) };
    assert_eq!(within(&early).await.unwrap().records.len(), 5);
    assert_eq!(within(&Query::default()).await.unwrap().total, 300);
}

#[tokio::test]
async fn a_listing_looks_at_however_many_there_are_a_part_at_a_time() {
    let bench = Bench::new();
    for n in 0..700 {
        bench.create("company", json!({"name": format!("c{n}"), "employees": n})).await.unwrap();
    }
    let of_filter = async |filter| {
        let (mut names, mut query, mut pages) = (Vec::new(), query(filter), 0);
        loop {
            let page = bench
                .run(async |records| records.search_within("company", &query, now(), LOOKS_AT_50, true).await)
                .await
                .unwrap();
            names.extend(page.records.iter().map(|record| record["name"].as_str().unwrap().to_owned()));
            pages += 1;
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                return (names, pages);
            }
        }
    };
    let rare = json!({"field": "employees", "in": [3, 650, 651]});
    let (names, pages) = of_filter(rare).await;
    assert_eq!(names, ["c3", "c650", "c651"]);
    assert!(pages > 2);
    assert_eq!(of_filter(json!({"field": "employees", "greater_or_equal": 0})).await.0.len(), 700);
    assert!(of_filter(json!({"field": "name", "ends_with": "x"})).await.0.is_empty());
    // In an order of fields all come at once.
    let sorted = Query { sort: vec!["-employees".into()], limit: Some(10), ..Query::default() };
    let page = bench.run(async |records| records.list("company", &sorted, now()).await).await.unwrap();
    assert_eq!((page.records.len(), page.next_cursor), (700, None));
    assert_eq!(page.records[1]["employees"], 698);
}

/// The same object twice, with and without indexes.
async fn twins(bench: &Bench) {
    let fields = json!([
        {"name": "text", "type": "text"}, {"name": "number", "type": "number"}, {"name": "day", "type": "date"},
        {"name": "at", "type": "date_time"}, {"name": "flag", "type": "boolean"}, {"name": "mail", "type": "emails"},
        {"name": "code", "type": "text"},
    ]);
    for (name, unique, indexes) in [
        ("plain", json!([]), json!([])),
        (
            "indexed",
            json!([["mail.primaryEmail"], ["code", "flag"]]),
            json!(["text", "number", "day", "at", "flag"]),
        ),
    ] {
        let object = json!({"name": name, "fields": fields, "unique": unique, "indexes": indexes});
        let object: NewObject = serde_json::from_value(object).unwrap();
        bench.run(async |records| records.create_object(&object).await).await.unwrap();
    }
}

const DAYS: [&str; 3] = ["2026-05-27", "2026-05-28", "2026-05-29"];

fn records() -> impl Strategy<Value = Value> {
    let maybe = |values: Vec<Value>| prop::sample::select([values, vec![Value::Null]].concat());
    (
        maybe(vec![json!("a"), json!("B"), json!("b"), json!("ab"), json!(""), json!("Ä")]),
        maybe(vec![json!(-1.5), json!(0), json!(1), json!(2.0), json!(u64::MAX)]),
        maybe(DAYS.map(Value::from).to_vec()),
        maybe(vec![
            json!("2026-05-27T23:59:59.999Z"),
            json!("2026-05-28T00:00:00Z"),
            json!("2026-05-28T20:00:00.001+02:00"),
        ]),
        maybe(vec![json!(true), json!(false)]),
        maybe((0..6).map(|n| json!(format!("m{n}@x.org"))).collect()),
        maybe(vec![json!("a"), json!("b")]),
    )
        .prop_map(|(text, number, day, at, flag, mail, code)| {
            json!({"text": text, "number": number, "day": day, "at": at, "flag": flag,
                   "mail": {"primaryEmail": mail}, "code": code})
        })
}

fn conditions() -> impl Strategy<Value = Value> {
    let texts = || prop::sample::select(vec!["a", "b", "B", "ab", "Ä", "x"]);
    let times = || {
        prop::sample::select(vec![
            "2026-05-28",
            "2026-05-27T23:59:59.999Z",
            "now",
            "today",
            "2026-05-28T18:00:00.001Z",
        ])
    };
    let numbers = || prop::sample::select(vec![json!(-1.5), json!(0), json!(1.0), json!(2), json!(u64::MAX)]);
    let order =
        || prop::sample::select(vec!["less_than", "less_or_equal", "greater_than", "greater_or_equal", "is"]);
    let timing = || prop::sample::select(vec!["before", "after", "on", "on_or_before", "on_or_after"]);
    let field = |names: &'static [&'static str]| prop::sample::select(names);
    prop_oneof![
        (field(&["text", "code"]), order(), texts()).prop_map(|(f, o, v)| json!({"field": f, o: v})),
        (texts(), texts()).prop_map(|(a, b)| json!({"field": "text", "in": [a, b]})),
        texts().prop_map(|v| json!({"field": "text", "starts_with": v})),
        (order(), numbers()).prop_map(|(o, v)| json!({"field": "number", o: v})),
        (numbers(), numbers()).prop_map(|(a, b)| json!({"field": "number", "greater_or_equal": a, "less_than": b})),
        (field(&["day", "at", "createdAt"]), timing(), times()).prop_map(|(f, o, v)| json!({"field": f, o: v})),
        field(&["day", "at", "createdAt"]).prop_map(|f| json!({"field": f, "within": {"last": "1d"}})),
        field(&["day", "at"]).prop_map(|f| json!({"field": f, "within": {"this": "week"}})),
        (field(&["text", "number", "day", "at", "flag", "mail.primaryEmail"]), any::<bool>())
            .prop_map(|(f, empty)| json!({"field": f, "is_empty": empty})),
        any::<bool>().prop_map(|flag| json!({"field": "flag", "is": flag})),
        (texts(), any::<bool>())
            .prop_map(|(code, flag)| json!([{"field": "code", "is": code}, {"field": "flag", "is": flag}])),
        (0..7).prop_map(|n| json!({"field": "mail.primaryEmail", "is": format!("M{n}@x.org")})),
        (0..7, 0..7).prop_map(|(a, b)| json!({"field": "mail.primaryEmail", "in": [format!("m{a}@x.org"), format!("m{b}@X.org")]})),
        (0..7).prop_map(|n| json!({"field": "mail.primaryEmail", "starts_with": format!("m{n}")})),
    ]
}

fn filters() -> impl Strategy<Value = Option<Value>> {
    let group = || prop::collection::vec(conditions(), 1..3);
    prop::option::weighted(
        0.8,
        prop_oneof![
            3 => conditions(),
            3 => group().prop_map(Value::from),
            1 => group().prop_map(|any| json!({"any": any})),
            1 => conditions().prop_map(|not| json!({"not": not})),
        ],
    )
}

fn sorts() -> impl Strategy<Value = Vec<String>> {
    let by = (
        prop::sample::select(vec!["text", "number", "day", "at", "createdAt", "mail.primaryEmail"]),
        any::<bool>(),
    )
        .prop_map(|(name, down)| if down { format!("-{name}") } else { name.to_owned() });
    prop::collection::vec(by, 0..3)
}

/// What sorting means, written once more and without bytes: empty last, text without case, ids at the end.
fn naive_order(sort: &[String], a: &Value, b: &Value) -> Ordering {
    let mut id_down = sort.first().is_some_and(|by| by.starts_with('-'));
    for by in sort {
        let (name, down) = by.strip_prefix('-').map_or((by.as_str(), false), |name| (name, true));
        if name == "createdAt" {
            id_down = down;
            break;
        }
        let value = |record: &Value| name.split('.').fold(record.clone(), |value, part| value[part].clone());
        let order = match (value(a), value(b)) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => return Ordering::Greater,
            (_, Value::Null) => return Ordering::Less,
            (Value::Number(a), Value::Number(b)) => order_numbers(&a, &b),
            (Value::String(a), Value::String(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
            other => panic!("{other:?}"),
        };
        if order.is_ne() {
            return if down { order.reverse() } else { order };
        }
    }
    let order = a["id"].as_str().cmp(&b["id"].as_str());
    if id_down { order.reverse() } else { order }
}

async fn all_pages(bench: &Bench, object: &str, query: &Query) -> (Vec<Value>, u64) {
    let (mut found, mut query) = (Vec::new(), query.clone());
    loop {
        let page = search(bench, object, &query).await.unwrap();
        assert!(page.records.len() <= query.limit.unwrap());
        assert!(page.total_is_exact);
        found.extend(page.records);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return (found, page.total),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_index_changes_no_answer(
        data in prop::collection::vec(records(), 1..25),
        deleted in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        searches in prop::collection::vec((filters(), sorts(), 1..6_usize), 20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            twins(&bench).await;
            for object in ["plain", "indexed"] {
                let mut ids = Vec::new();
                for record in &data {
                    // A value that is taken is refused in one of the twins, and then not wanted in the other.
                    match bench.create(object, record.clone()).await {
                        Ok(written) => ids.push(id(&written)),
                        Err(error) => assert_eq!(error.code(), "unique_conflict"),
                    }
                }
                for index in &deleted {
                    bench.delete(object, &ids[index.index(ids.len())]).await.unwrap();
                }
                let everything = Query { limit: Some(MAX_LIMIT), ..Query::default() };
                let everything = search(&bench, object, &everything).await.unwrap().records;
                for (filter, sort, limit) in &searches {
                    let filter = filter.as_ref().map(|json| Filter::parse(json, Allowed::FIELDS).unwrap());
                    let query = Query { filter: filter.clone(), sort: sort.clone(), limit: Some(*limit), ..Query::default() };
                    let (found, total) = all_pages(&bench, object, &query).await;
                    let wanted = |record: &&Value| filter.as_ref().is_none_or(|filter| naive_match(filter, record));
                    let mut expected: Vec<Value> = everything.iter().filter(wanted).cloned().collect();
                    expected.sort_by(|a, b| naive_order(sort, a, b));
                    let short = |records: &[Value]| records.iter().map(|record| record["id"].clone()).collect::<Vec<_>>();
                    assert_eq!(short(&found), short(&expected), "{query:?}");
                    assert_eq!(total as usize, expected.len());
                }
            }
        });
    }
}

/// The filter over the flat record, with the one thing that types add: an e-mail is compared in lower case.
fn naive_match(filter: &Filter, record: &Value) -> bool {
    let lower = |_: &crate::filter::Place<'_>, value: &Value| -> Result<Value, ()> {
        let lower = |value: &Value| match value.as_str() {
            Some(text) if text.contains('@') => Value::from(text.to_lowercase()),
            _ => value.clone(),
        };
        Ok(match value {
            Value::Array(values) => values.iter().map(lower).collect(),
            value => lower(value),
        })
    };
    filter.try_map_values(&mut { lower }).unwrap().evaluate_on(record, now()).unwrap()
}

#[tokio::test]
async fn an_index_follows_its_records() {
    let bench = Bench::new();
    twins(&bench).await;
    let thing = id(&bench.create("indexed", json!({"text": "old", "number": 1})).await.unwrap());
    let total = async |filter: Value| search(&bench, "indexed", &query(filter)).await.unwrap().total;
    let changed = bench.update("indexed", &thing, json!({"text": "new", "number": null})).await.unwrap();
    assert_eq!(changed.outcome, Outcome::Updated);
    assert_eq!(total(json!({"field": "text", "is": "old"})).await, 0);
    assert_eq!(total(json!({"field": "text", "is": "new"})).await, 1);
    assert_eq!(total(json!({"field": "number", "is": 1})).await, 0);
    assert_eq!(total(json!({"field": "number", "is_empty": true})).await, 1);
    bench.delete("indexed", &thing).await.unwrap();
    assert_eq!(total(json!({"field": "text", "is": "new"})).await, 0);
    let context = bench.context();
    bench.run(async |records| records.restore(&context, "indexed", &thing, None).await).await.unwrap();
    assert_eq!(total(json!({"field": "text", "is": "new"})).await, 1);
}

/// So many conditions that each go through the whole city.
fn many_conditions(count: usize) -> Query {
    let any: Vec<Value> =
        (0..count).map(|n| json!({"field": "city", "contains": format!("zq{n}")})).collect();
    query(json!({ "any": any }))
}

#[tokio::test]
async fn a_filter_that_compares_too_much_gives_up_and_says_how_much() {
    let bench = people(&["Long ".repeat(400).as_str(); 20]).await;
    let within = async |count: usize, listing: bool, cursor: Option<String>| {
        let query = Query { cursor, ..many_conditions(count) };
        let limits = Limits { examined: MAX_EXAMINED, compared: 100_000 };
        bench.run(async |records| records.search_within("person", &query, now(), limits, listing).await).await
    };
    assert_eq!(within(1, false, None).await.unwrap().total, 0);
    let error = within(20, false, None).await.unwrap_err();
    assert_eq!(error.code(), "search_too_broad");
    assert_snapshot!(error, @"the filter on person has compared 100000 bytes, the most of one search, without an answer; ask fewer conditions of long values, or narrow the filter by a field that is unique or indexed, or by `createdAt`");
    // So does one that puts what it finds in order.
    let sorted = Query { sort: vec!["city".into()], ..many_conditions(20) };
    let limits = Limits { examined: MAX_EXAMINED, compared: 100_000 };
    let sorted =
        bench.run(async |records| records.search_within("person", &sorted, now(), limits, false).await).await;
    assert_eq!(sorted.unwrap_err().code(), "search_too_broad");
    // A listing goes on where it stopped.
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = within(20, true, cursor).await.unwrap();
        assert!(page.records.is_empty());
        pages += 1;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert!((5..20).contains(&pages), "{pages}");
}

/// On one thread, so that another task has its turn only where the search gives it.
#[tokio::test]
async fn a_search_that_compares_much_lets_others_go_on() {
    let bench = people(&["Long ".repeat(40_000).as_str(); 4]).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let others = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    });
    // 4 texts of 200 KB, 50 tests each, come to 40 MB.
    assert_eq!(search(&bench, "person", &many_conditions(50)).await.unwrap().total, 0);
    others.abort();
    assert!(turns.load(Relaxed) >= 20, "{turns:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is let go of meanwhile: a page is the first of all that is found, as many as have so many bytes.
    #[test]
    fn a_page_is_as_large_as_it_may_be(
        lengths in prop::collection::vec(0..40_usize, 1..40),
        (limit, most) in (1..8_usize, 1..200_usize),
        down in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            for name in ["plain", "indexed"] {
                let fields = json!([{"name": "text", "type": "text"}]);
                let indexes = if name == "indexed" { json!(["text"]) } else { json!([]) };
                let object = json!({"name": name, "fields": fields, "indexes": indexes});
                let object: NewObject = serde_json::from_value(object).unwrap();
                bench.run(async |records| records.create_object(&object).await).await.unwrap();
                for (n, length) in lengths.iter().enumerate() {
                    let text = format!("{}{n}", "abc".chars().nth(n % 3).unwrap()).repeat(length / 2 + 1);
                    bench.create(name, json!({ "text": text })).await.unwrap();
                }
                let sort = if down { "-text" } else { "text" };
                for sort in [vec![], vec![sort.to_owned()]] {
                    let everything = Query { sort: sort.clone(), limit: Some(MAX_LIMIT), ..Query::default() };
                    let everything = search(&bench, name, &everything).await.unwrap().records;
                    let mut query = Query { sort, limit: Some(limit), max_bytes: Some(most), ..Query::default() };
                    let mut rest = &everything[..];
                    loop {
                        let page = search(&bench, name, &query).await.unwrap();
                        let mut bytes = 0;
                        let fit = rest.iter().take_while(|record| {
                            bytes += crate::size::about_json_bytes(&record["text"]);
                            bytes <= most
                        });
                        let fit = fit.count().max(1).min(limit).min(rest.len());
                        assert_eq!(page.records, rest[..fit]);
                        assert_eq!((page.total as usize, page.total_is_exact), (everything.len(), true));
                        rest = &rest[fit..];
                        assert_eq!(page.next_cursor.is_some(), !rest.is_empty());
                        query.cursor = page.next_cursor;
                        if query.cursor.is_none() {
                            break;
                        }
                    }
                }
            }
        });
    }
}
