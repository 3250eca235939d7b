//! The flow `enrichment` against an enrichment service on loopback, which measures what arrives.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Came, Mood, Peer, Place, file, peer};

/// An enrichment service: of each tenth person nothing is known, each seventh is looked up first.
fn enrich(peer: &mut Peer, came: &Came) -> (u16, Value) {
    let n: usize = came.query.trim_start_matches("email=p").split("%40").next().unwrap().parse().unwrap();
    let times = peer.made.entry(came.query.clone()).or_default();
    times.push(Value::Null);
    match (n % 10, n % 7, times.len()) {
        (3, ..) => (404, json!({})),
        (_, 0, 1) => (202, json!({})),
        _ => (
            200,
            json!({ "title": format!("Title {n}"), "seniority": "vp", "company": { "employees": n * 10 } }),
        ),
    }
}

#[tokio::test]
async fn an_import_keeps_to_the_rate_of_enrichment_through_a_crash_and_loses_none() {
    const PEOPLE: usize = 120;
    let (service, base) = peer(enrich).await;
    let mut place = Place::new();
    place.action("map-enrichment").await;
    place
        .server
        .put("/api/v1/secrets/ENRICHMENT_KEY", "{\"value\": \"a key of the test\"}")
        .await
        .expect(201);
    let connection = file("enrichment/connections/enrichment.yaml")
        .replace("https://enrichment.example.com", &base)
        .replace("requests: 10", "requests: 30");
    place.server.put("/api/v1/connections/enrichment", connection).await.expect(201);
    let flow = file("enrichment/enrichment.yaml").replace("settle: 30s", "settle: 1s");
    place.server.activate("enrichment", &flow.replace("initial: 5s", "initial: 300ms")).await;
    service.lock().unwrap().moods =
        vec![Mood::Broken, Mood::Busy, Mood::Cut, Mood::Well, Mood::Broken, Mood::Busy];
    for n in 0..PEOPLE {
        let person = json!({ "emails": { "primaryEmail": format!("p{n}@example.com") } });
        let id = place.create("person", person).await;
        if n == 5 {
            place.change("person", &id, json!({ "jobTitle": "Written by hand" })).await;
        }
    }
    while service.lock().unwrap().came.len() < 40 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.crash();
    let runs = place.ended("enrichment", PEOPLE).await;
    assert_eq!(runs.len(), PEOPLE, "what it wrote started nothing");
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    let people = place.server.records("person").await;
    let title = |n: usize| {
        let address = json!(format!("p{n}@example.com"));
        let person = people.iter().find(|person| person["emails"]["primaryEmail"] == address).unwrap();
        person["jobTitle"].clone()
    };
    for n in (0..PEOPLE).filter(|n| *n != 5) {
        let wanted = if n % 10 == 3 { Value::Null } else { json!(format!("Title {n}")) };
        assert_eq!(title(n), wanted, "p{n}");
    }
    assert_eq!(title(5), "Written by hand");
    let high = (20..PEOPLE).filter(|n| n % 10 != 3).count();
    assert_eq!(place.server.records("task").await.len(), high);
    let came = service.lock().unwrap().came.clone();
    let within = |from: &Came| {
        came.iter().filter(|one| one.at >= from.at && one.at - from.at < Duration::from_secs(1)).count()
    };
    assert!(came.iter().map(within).max().unwrap() <= 30);
}
