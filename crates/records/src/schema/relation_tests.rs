//! Relations are indexed by themselves, whichever way they come.

use serde_json::json;

use super::tests::{apply, backfill};
use crate::testing::{Bench, id};
use crate::{Query, RecordsError};

/// What a search by a relation goes by.
async fn searched_by(bench: &Bench, object: &str, field: &str, of: &str) -> Option<String> {
    let filter = json!({"field": field, "is": of});
    let filter = crate::filter::Filter::parse(&filter, crate::filter::Allowed::FIELDS).unwrap();
    let query = Query { filter: Some(filter), ..Query::default() };
    let now = bench.context().now;
    let page = bench.run(async |records| records.search(object, &query, now).await).await.unwrap();
    assert_eq!(page.records.len(), 1);
    page.index
}

fn visit(fields: serde_json::Value) -> serde_json::Value {
    json!({"objects": [{"name": "visit", "fields": fields}]})
}

#[tokio::test]
async fn a_relation_is_indexed_by_itself() {
    let bench = Bench::new();
    let ann = id(&bench.create("person", json!({})).await.unwrap());
    let relation = json!({"name": "personId", "type": "relation", "object": "person"});
    let steps = apply(&bench, visit(json!([relation]))).await.unwrap();
    assert_eq!(steps, ["make the object visit", "add the field visit.personId (relation), indexed"]);
    bench.create("visit", json!({"personId": ann})).await.unwrap();
    assert_eq!(searched_by(&bench, "visit", "personId", &ann).await.as_deref(), Some("personId"));

    // One that is added to an object with records has no entries to be built.
    let host = json!({"name": "hostId", "type": "relation", "object": "person"});
    let new = serde_json::from_value(host.clone()).unwrap();
    bench.run(async |records| records.add_field("visit", &new).await).await.unwrap();
    bench.create("visit", json!({"hostId": ann})).await.unwrap();
    assert_eq!(searched_by(&bench, "visit", "hostId", &ann).await.as_deref(), Some("hostId"));
    assert_eq!(apply(&bench, visit(json!([relation, host]))).await.unwrap(), Vec::<String>::new());

    // It goes with its field, though nobody asked for it.
    let gone = json!({"objects": [{"name": "visit", "remove": {"fields": ["hostId"]}}]});
    assert_eq!(apply(&bench, gone).await.unwrap(), ["take the field visit.hostId away, with what is in it"]);
    backfill(&bench).await;
}

#[tokio::test]
async fn one_that_was_there_before_is_indexed_when_a_schema_is_applied() {
    let bench = Bench::new();
    let ann = id(&bench.create("person", json!({})).await.unwrap());
    let plain = json!({"name": "personId", "type": "relation", "object": "person", "indexed": false});
    let steps = apply(&bench, visit(json!([plain]))).await.unwrap();
    assert_eq!(steps, ["make the object visit", "add the field visit.personId (relation)"]);
    bench.create("visit", json!({"personId": ann})).await.unwrap();
    assert_eq!(apply(&bench, visit(json!([plain]))).await.unwrap(), Vec::<String>::new());
    assert_eq!(searched_by(&bench, "visit", "personId", &ann).await, None);

    let relation = json!({"name": "personId", "type": "relation", "object": "person"});
    let steps = apply(&bench, visit(json!([relation]))).await.unwrap();
    assert_eq!(steps, ["index visit.personId, in the background"]);
    assert_eq!(searched_by(&bench, "visit", "personId", &ann).await, None, "it is being built");
    backfill(&bench).await;
    assert_eq!(searched_by(&bench, "visit", "personId", &ann).await.as_deref(), Some("personId"));

    // What a file takes away it does not give again.
    let mut gone = visit(json!([relation]));
    gone["objects"][0]["remove"] = json!({"indexes": ["personId"]});
    assert_eq!(apply(&bench, gone).await.unwrap(), ["give up the index on visit.personId"]);
}

#[tokio::test]
async fn a_relation_needs_no_room_that_there_is_not() {
    let bench = Bench::new();
    let relation = |n: usize| json!({"name": format!("r{n}"), "type": "relation", "object": "person"});
    let many: Vec<_> = (0..20).map(relation).collect();
    let steps = apply(&bench, visit(json!(many))).await.unwrap();
    assert_eq!(steps.iter().filter(|step| step.ends_with(", indexed")).count(), 16);
    assert_eq!(apply(&bench, visit(json!(many))).await.unwrap(), Vec::<String>::new());
    // Who asks for one is told.
    let mut asked = relation(20);
    asked["indexed"] = json!(true);
    let refused = apply(&bench, visit(json!([asked]))).await.unwrap_err();
    assert!(matches!(refused, RecordsError::Schema { .. }), "{refused}");
    // What a unique set finds needs no index beside it.
    let own = json!({"objects": [{"name": "badge", "fields": [{"name": "personId", "type": "relation", "object": "person", "unique": true}]}]});
    let steps = apply(&bench, own).await.unwrap();
    assert_eq!(steps[1], "add the field badge.personId (relation), unique");
}
