//! The flow `product-sync` against a warehouse on loopback, whose rows come in pages, twice, and in no order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Came, Mood, Peer, Place, Shared, peer};

/// Counts what an update of figures tells others.
const LISTENS: &str = "
name: listens
trigger: { type: record_event, object: company, on: updated }
steps: [{ id: heard, type: set, values: { fields: '{{ trigger.fields }}' } }]
";

/// A warehouse: the rows since a time, a page at a time.
fn warehouse(peer: &mut Peer, came: &Came) -> (u16, Value) {
    let asked: BTreeMap<String, String> =
        url::form_urlencoded::parse(came.query.as_bytes()).into_owned().collect();
    let since = asked.get("since").cloned().unwrap_or_default();
    let limit: usize = asked["limit"].parse().unwrap();
    let from: usize = asked.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let rows: Vec<Value> = peer.made.entry("rows".into()).or_default().clone();
    let rows: Vec<&Value> =
        rows.iter().filter(|row| row["updated_at"].as_str().is_none_or(|at| at >= since.as_str())).collect();
    let page: Vec<&Value> = rows.iter().skip(from).take(limit).copied().collect();
    let next = (from + limit < rows.len()).then(|| (from + limit).to_string());
    (200, json!({ "rows": page, "next_cursor": next }))
}

fn row(domain: &str, users: u64, at: &str) -> Value {
    json!({ "domain": domain, "active_users": users, "api_calls": users * 10, "updated_at": at })
}

async fn syncing() -> (Place, Shared) {
    let (there, base) = peer(warehouse).await;
    let place = Place::new();
    place.schema("product-sync").await;
    place.action("reshape-usage").await;
    place.with("product-sync", "warehouse", "https://warehouse.example.com", &base, "WAREHOUSE_KEY").await;
    (place, there)
}

impl Place {
    async fn mark(&self) -> Value {
        let kept = self.server.get("/api/v1/workflows/product-sync/state").await.expect(200);
        kept["state"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == "mark")
            .map_or(Value::Null, |mark| mark["value"].clone())
    }
}

#[tokio::test]
async fn a_night_of_pages_is_applied_once_through_busy_broken_cut_and_killed() {
    const COMPANIES: usize = 120;
    let (mut place, there) = syncing().await;
    for n in 0..COMPANIES {
        let domain = json!({ "primaryLinkUrl": format!("c{n}.example") });
        place.create("company", json!({ "domainName": domain, "activeUsers": 50 })).await;
    }
    place.server.activate("listens", LISTENS).await;
    let mut rows = Vec::new();
    for n in (0..COMPANIES as u64).rev() {
        let domain = format!("c{n}.example");
        // The newest comes first, then what it was before, many times over, and some that nobody can use.
        rows.push(row(&domain, n, &format!("2026-03-01T10:{:02}:{:02}Z", n / 60, n % 60)));
        rows.extend((0..20).map(|m| row(&domain, 700 + m, &format!("2026-03-01T09:00:{m:02}Z"))));
        if n % 40 == 0 {
            rows.push(json!({ "domain": domain, "active_users": -1, "updated_at": "2026-03-01T11:00:00Z" }));
        }
    }
    rows.push(row("nobody.example", 1, "2026-03-01T08:00:00Z"));
    rows.push(json!("no row at all"));
    let total = rows.len();
    there.lock().unwrap().made.insert("rows".into(), rows);
    use Mood::{Broken, Busy, Cut, Well};
    there.lock().unwrap().moods = vec![Well, Busy, Cut, Broken];

    // The night comes; the server dies while the second page does not want to come.
    place.server.post("/api/v1/dev/clock", &json!({ "advance": "1d" })).await.expect(200);
    while there.lock().unwrap().came.len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.crash();
    // Its clock is the real one again, a day before the time for which the next attempt is put down.
    place.server.post("/api/v1/dev/clock", &json!({ "advance": "1d" })).await.expect(200);
    let runs = place.over("product-sync", 1).await;
    let run = place.server.ended(runs[0]["id"].as_str().unwrap()).await;
    assert_eq!((runs.len(), &run["status"]), (1, &json!("completed")), "{run:#}");
    let output = &run["output"];
    assert_eq!(
        (&output["rows"], &output["companies"], &output["applied"], &output["left_out"], &output["failed"]),
        (&json!(total), &json!(COMPANIES + 1), &json!(COMPANIES), &json!(1), &json!(0)),
        "{output:#}"
    );
    assert_eq!(output["malformed"], 4, "{output:#}");
    assert_eq!(place.mark().await, "2026-03-01T10:01:59Z");
    // The first page was asked for once, and each attempt of the others by itself.
    let cursors: Vec<bool> =
        there.lock().unwrap().came.iter().map(|came| came.query.contains("cursor=")).collect();
    assert!(cursors.len() >= 6 && !cursors[0] && cursors[1..].iter().all(|cursor| *cursor), "{cursors:?}");

    let companies = place.server.records("company").await;
    for company in &companies {
        let domain = company["domainName"]["primaryLinkUrl"].as_str().unwrap();
        let n: u64 = domain[1..].split('.').next().unwrap().parse().unwrap();
        let figures = (&company["activeUsers"], &company["apiCalls"]);
        assert_eq!(figures, (&json!(n), &json!(n * 10)), "{domain}");
    }
    assert_eq!(place.server.records("task").await.len(), 10, "a task for each that fell under 10");
    let mail = place.smtp.next_mail();
    let data = mail["data"].as_str().unwrap();
    assert!(data.contains("product-sync: 4 malformed rows, 0 companies failed"), "{data}");
    assert!(data.contains("c40.example") && data.contains("it is no object"), "{data}");
    place.ended("listens", COMPANIES).await;

    // The same rows once more: nothing is written, and nobody is told.
    let again = place.by_hand("product-sync", json!({})).await;
    let again = place.server.ended(&again).await;
    assert_eq!((&again["status"], &again["output"]["failed"]), (&json!("completed"), &json!(0)), "{again:#}");
    assert_eq!(place.server.records("company").await, companies);
    there.lock().unwrap().made.insert("rows".into(), vec![row("c7.example", 8, "2026-03-02T00:00:00Z")]);
    let one = place.by_hand("product-sync", json!({})).await;
    assert_eq!(place.server.ended(&one).await["output"]["applied"], 1);
    let heard = place.ended("listens", COMPANIES + 1).await;
    assert_eq!(heard.len(), COMPANIES + 1, "only what changed is an event");
    assert_eq!(place.server.records("task").await.len(), 10);
}

#[tokio::test]
async fn a_company_that_fails_holds_the_mark_until_it_is_mended() {
    let (place, there) = syncing().await;
    let company = |domain: &str| json!({ "domainName": { "primaryLinkUrl": domain } });
    let first = place.create("company", company("first.example")).await;
    let fails = place.create("company", company("fails.example")).await;
    let last = place.create("company", company("last.example")).await;
    // The task of whoever falls has no one to go to.
    place.setting("success_email", json!(7)).await;
    let rows = [("first", 40, "T12"), ("fails", 1, "T13"), ("last", 50, "T14")];
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|(name, users, hour)| {
            row(&format!("{name}.example"), users, &format!("2026-03-01{hour}:00:00Z"))
        })
        .collect();
    there.lock().unwrap().made.insert("rows".into(), rows);
    for mark in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"] {
        let run = place.by_hand("product-sync", json!({})).await;
        let run = place.server.ended(&run).await;
        assert_eq!((&run["status"], &run["output"]["failed"]), (&json!("completed"), &json!(1)), "{run:#}");
        assert_eq!(place.mark().await, mark);
        assert!(place.smtp.next_mail()["data"].as_str().unwrap().contains("fails.example:"));
    }
    assert_eq!(place.record("company", &fails).await["activeUsers"], Value::Null);
    let written = [place.record("company", &first).await, place.record("company", &last).await];
    assert_eq!(written.each_ref().map(|one| &one["version"]), [&json!(2), &json!(2)], "once for two nights");

    place.setting("success_email", json!("success@us.example")).await;
    let run = place.by_hand("product-sync", json!({})).await;
    let run = place.server.ended(&run).await;
    assert_eq!((&run["output"]["failed"], place.mark().await), (&json!(0), json!("2026-03-01T14:00:00Z")));
    assert_eq!(place.record("company", &fails).await["activeUsers"], 1);
    assert_eq!(place.server.records("task").await[0]["assignee"], "success@us.example");
    let asked: Vec<String> = there.lock().unwrap().came.iter().map(|came| came.query.clone()).collect();
    assert!(!asked[0].contains("since=") && asked[2].contains("since=2026-03-01T12"), "{asked:?}");
}

#[tokio::test]
async fn runs_beside_each_other_make_one_task_and_an_older_answer_overwrites_nothing() {
    let (place, there) = syncing().await;
    let domain = json!({ "primaryLinkUrl": "engines.example" });
    let company = place.create("company", json!({ "domainName": domain, "activeUsers": 90 })).await;
    there.lock().unwrap().made.insert("rows".into(), vec![row("engines.example", 3, "2026-03-02T00:00:00Z")]);
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(place.by_hand("product-sync", json!({})).await);
    }
    for run in &runs {
        assert_eq!(place.server.ended(run).await["output"]["failed"], 0);
    }
    let tasks = place.server.records("task").await;
    assert_eq!(tasks.len(), 1, "{tasks:#?}");
    // What is older comes late, from a warehouse that does not keep to the mark.
    let path = "/api/v1/workflows/product-sync/state/mark";
    place.server.put(path, "{\"value\": \"2026-02-01T00:00:00Z\"}").await.expect(200);
    there
        .lock()
        .unwrap()
        .made
        .insert("rows".into(), vec![row("engines.example", 90, "2026-03-01T00:00:00Z")]);
    let late = place.by_hand("product-sync", json!({})).await;
    assert_eq!(place.server.ended(&late).await["output"]["left_out"], 1);
    assert_eq!(place.record("company", &company).await["activeUsers"], 3);
    // The task is done, the company comes back and falls again: another one.
    place.change("task", tasks[0]["id"].as_str().unwrap(), json!({ "status": "DONE" })).await;
    for (users, day) in [(40, 3), (2, 4)] {
        let rows = vec![row("engines.example", users, &format!("2026-03-0{day}T00:00:00Z"))];
        there.lock().unwrap().made.insert("rows".into(), rows);
        let run = place.by_hand("product-sync", json!({})).await;
        assert_eq!(place.server.ended(&run).await["output"]["applied"], 1);
    }
    assert_eq!(place.server.records("task").await.len(), 2);
}
