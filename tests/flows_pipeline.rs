//! The flow `data-pipeline`: files posted and fetched, killed in the middle, sent again, and refused as a whole.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::peer::{Came, Mood, Peer, Place, file, peer};

/// Counts what is written to people.
const LISTENER: &str = "
name: listener
trigger: { type: record_event, object: person, on: [created, updated, deleted] }
steps: [{ id: seen, type: set, values: { id: '{{ trigger.record_id }}' } }]
output: '{{ seen.id }}'
";

async fn importing() -> Place {
    let place = Place::new();
    for action in ["validate-rows", "transform-rows", "apply-rules"] {
        let path = format!("/api/v1/actions/{action}");
        place.server.put(&path, guests::example(action)).await.expect(201);
    }
    place.server.activate("data-pipeline", &file("data-pipeline/data-pipeline.yaml")).await;
    place
}

async fn post(place: &Place, query: &str, kind: &str, file: String) -> String {
    let path = format!("/hooks/default/data-pipeline{query}");
    let request = place.server.request(reqwest::Method::POST, &path).header("content-type", kind).body(file);
    let accepted = place.server.send(request).await.expect(202);
    accepted["run_id"].as_str().unwrap().to_owned()
}

/// How many records there are; counted up to 1,000.
async fn total(place: &Place, object: &str) -> u64 {
    let page = place.server.get(&format!("/api/v1/records/{object}?limit=1")).await.expect(200);
    page["total"].as_u64().unwrap()
}

fn mail(place: &Place) -> String {
    let mail = place.smtp.next_mail();
    assert_eq!(mail["to"], json!(["data@example.com"]));
    mail["data"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_large_file_is_imported_once_through_a_kill_and_changes_nothing_the_second_time() {
    const ROWS: usize = 900;
    let mut place = importing().await;
    place.server.activate("listener", LISTENER).await;
    let known = json!({ "emails": { "primaryEmail": "p7@example.com" }, "jobTitle": "Written by hand", "city": "Oslo" });
    let known = place.create("person", known).await;
    let mut csv = "\u{feff}E-Mail;Name;City\r\n".to_owned();
    for n in 0..ROWS {
        let address =
            if n % 100 == 50 { format!("p{n} at example.com") } else { format!("P{n}@example.com") };
        csv += &format!("{address};\"Person, Number {n}\";Town {n}\r\n");
        if n % 100 == 7 {
            csv += &format!("p{n}@example.com;\"Person, Number {n}\";Town {n}\r\n");
        }
    }
    let run = post(&place, "?file=large.csv", "text/csv", csv.clone()).await;
    while total(&place, "person").await < 150 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    place.crash();
    place.ended("data-pipeline", 1).await;
    let ended = place.server.ended(&run).await;
    let output = json!({ "written": true, "rows": 909, "created": 890, "updated": 1, "unchanged": 0, "repeated": 9,
        "bad": 9, "not_taken_back": 0 });
    assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &output), "{:#}", ended["error"]);
    assert_eq!(total(&place, "person").await, 891);
    let person = place.record("person", &known).await;
    assert_eq!((&person["jobTitle"], &person["city"]), (&json!("Written by hand"), &json!("Town 7")));
    assert_eq!(person["name"], json!({ "firstName": "Number 7", "lastName": "Person" }));
    let told = mail(&place);
    assert!(told.contains("Subject: Import of large.csv: 890 new, 1 changed, 9 bad"), "{told}");
    assert!(
        told.contains("- line 53 (p50 at example.com): `p50 at example.com` is no e-mail address"),
        "{told}"
    );

    let written = person["version"].clone();
    let run = post(&place, "?file=large.csv", "text/csv", csv).await;
    place.ended("data-pipeline", 2).await;
    let again = place.server.ended(&run).await;
    assert_eq!(
        (&again["output"]["created"], &again["output"]["updated"], &again["output"]["unchanged"]),
        (&json!(0), &json!(0), &json!(891)),
        "{again:#}"
    );
    assert!(mail(&place).contains("Subject: Import of large.csv: nothing changed, 9 bad"));
    assert_eq!(place.record("person", &known).await["version"], written);
    // Runs of events begin in the order of what was written: that of a new person is next to those of the first import.
    let last = place.create("person", json!({ "city": "Bern" })).await;
    let events = 1 + 890 + 1 + 1;
    let mut runs = Vec::new();
    for _ in 0..600 {
        runs = listened(&place).await;
        if runs.len() >= events {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let newest = place.server.ended(runs[0].as_str().unwrap()).await;
    assert_eq!((runs.len(), &newest["output"]), (events, &json!(last)));
}

/// The runs of the listener, the newest first.
async fn listened(place: &Place) -> Vec<Value> {
    let (mut runs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = place.server.get(&format!("/api/v1/runs?workflow=listener&limit=500{cursor}")).await;
        let page = page.expect(200);
        runs.extend(page["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return runs,
        }
    }
}

#[tokio::test]
async fn a_file_of_bad_rows_is_told_however_long_it_is() {
    let place = importing().await;
    let mut csv = "email,name\n".to_owned();
    for n in 0..49_999 {
        csv += &format!("nobody {n},Somebody\n");
    }
    csv += "ada@engines.example,Ada\n";
    let run = post(&place, "?file=bad.csv", "text/csv", csv).await;
    place.ended("data-pipeline", 1).await;
    let ended = place.server.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{:#}", ended["error"]);
    assert_eq!((&ended["output"]["bad"], &ended["output"]["created"]), (&json!(49_999), &json!(1)));
    let told = mail(&place);
    assert!(told.contains("Subject: Import of bad.csv: 1 new, 0 changed, 49999 bad"), "{told}");
    assert!(told.contains("- line 201 (nobody 199): `nobody 199` is no e-mail address"), "{told}");
    assert!(!told.contains("nobody 200"), "{told}");
}

#[tokio::test]
async fn all_or_nothing_writes_nothing_for_one_bad_row_and_takes_back_what_the_store_refuses() {
    let place = importing().await;
    let schema = "objects: [{ name: person, unique: [[phones.primaryPhoneNumber]] }]";
    place.server.post("/api/v1/schema/apply?wait=30s", &json!({ "schema": schema })).await.expect(200);
    let known = json!({ "emails": { "primaryEmail": "ada@example.com" }, "city": "Paris" });
    let known = place.create("person", known).await;
    place.create("person", json!({ "phones": { "primaryPhoneNumber": "+4912345" } })).await;
    let rows = |phone: &str| {
        json!({ "mode": "all_or_nothing", "rows": [
            { "email": "ada@example.com", "name": "Ada Lovelace", "city": "London" },
            { "email": "new@example.com", "name": "Grace Hopper" },
            { "email": "third@example.com", "name": "Cyd", "phone": phone },
        ] })
        .to_string()
    };
    let run = post(&place, "", "application/json", rows("call me")).await;
    let run = place.server.ended(&run).await;
    assert_eq!((&run["output"]["written"], &run["output"]["bad"]), (&json!(false), &json!(1)), "{run:#}");
    assert_eq!(total(&place, "person").await, 2);
    let told = mail(&place);
    assert!(told.contains("- line 3 (third@example.com): `call me` is no phone number"), "{told}");

    // Nothing is wrong with the file, but its third row breaks a rule of this workspace's own.
    let run = post(&place, "", "application/json", rows("+49 123 45")).await;
    let run = place.server.ended(&run).await;
    assert_eq!((&run["output"]["written"], &run["output"]["bad"]), (&json!(false), &json!(1)), "{run:#}");
    assert_eq!(total(&place, "person").await, 2);
    let person = place.record("person", &known).await;
    assert_eq!(
        (&person["city"], person["name"]["firstName"].as_str()),
        (&json!("Paris"), None),
        "{person:#}"
    );
    let told = mail(&place);
    assert!(told.contains("Subject: Import of the file: nothing was written, 1 bad"), "{told}");

    let run = post(&place, "", "application/json", rows("+49 123 46")).await;
    let run = place.server.ended(&run).await;
    assert_eq!((&run["output"]["created"], &run["output"]["updated"]), (&json!(2), &json!(1)), "{run:#}");
    assert_eq!(place.record("person", &known).await["city"], "London");
    assert!(mail(&place).contains("Subject: Import of the file: 2 new, 1 changed"));

    // One row more than it takes.
    let many: Vec<Value> =
        (0..501).map(|n| json!({ "email": format!("n{n}@example.com"), "name": "N" })).collect();
    let run = post(&place, "?mode=all_or_nothing", "application/json", json!(many).to_string()).await;
    let run = place.server.ended(&run).await;
    assert_eq!(run["output"]["written"], json!(false), "{run:#}");
    assert!(mail(&place).contains("All or nothing takes 500 rows at most"));
    let run = post(&place, "", "application/json", json!(vec![json!({}); 50_001]).to_string()).await;
    assert_eq!(place.server.ended(&run).await["error"]["code"], "too_many_rows");
    assert!(mail(&place).contains("50001 rows in one file, at most 50000 are taken"));
    assert_eq!(total(&place, "person").await, 4);
}

#[tokio::test]
async fn nothing_is_nothing_and_every_refusal_counts_however_much_there_is_to_say_of_people() {
    let place = importing().await;
    let schema =
        "objects: [{ name: person, fields: [{ name: notes, type: raw_json }], unique: [[jobTitle]] }]";
    place.server.post("/api/v1/schema/apply?wait=30s", &json!({ "schema": schema })).await.expect(200);
    place.create("person", json!({ "jobTitle": "Boss" })).await;
    let address = |n: usize| format!("p{n}@example.com");
    for from in [0, 50, 100, 150, 200, 250] {
        let person = |n| json!({ "emails": { "primaryEmail": address(n) }, "city": "Before", "notes": "n".repeat(5_000) });
        let people: Vec<Value> = (from..from + 50).map(person).collect();
        let people = json!({ "action": "create", "records": people });
        place.server.post("/api/v1/records/person/bulk", &people).await.expect(200);
    }
    let mut rows: Vec<Value> =
        (0..300).map(|n| json!({ "email": address(n), "name": "P", "city": "After" })).collect();
    rows.push(json!({ "email": "new@example.com", "name": "New", "title": "Boss" }));
    let all = json!({ "mode": "all_or_nothing", "rows": rows }).to_string();
    let run = post(&place, "", "application/json", all.clone()).await;
    place.ended("data-pipeline", 1).await;
    let ended = place.server.ended(&run).await;
    let written = |run: &Value| (run["output"]["written"].clone(), run["output"]["bad"].clone());
    assert_eq!(written(&ended), (json!(false), json!(1)), "{:#}", ended["error"]);
    let after =
        "/api/v1/records/person?limit=1&filter=%7B%22field%22%3A%22city%22%2C%22is%22%3A%22After%22%7D";
    assert_eq!(place.server.get(after).await.expect(200)["total"], 0);
    assert!(mail(&place).contains("- line 301 (new@example.com)"));

    // What is too long to be put back is seen before anything is written.
    let long = json!({ "emails": { "primaryEmail": "long@example.com" }, "city": "x".repeat(2_000) });
    place.create("person", long).await;
    rows.truncate(2);
    rows.push(json!({ "email": "long@example.com", "name": "Long" }));
    let all = json!({ "mode": "all_or_nothing", "rows": rows }).to_string();
    let run = post(&place, "", "application/json", all).await;
    place.ended("data-pipeline", 2).await;
    assert_eq!(written(&place.server.ended(&run).await), (json!(false), json!(0)));
    assert_eq!(place.server.get(after).await.expect(200)["total"], 0);
    assert!(mail(&place).contains("what is stored of 1 people is too long"));

    let row = |n: usize| {
        json!({ "email": format!("q{n}@example.com"), "first_name": "f".repeat(190), "last_name": "l".repeat(190),
            "city": "c".repeat(190), "title": "Boss" })
    };
    let refused = Value::from((0..1_000).map(row).collect::<Vec<_>>()).to_string();
    let run = post(&place, "", "application/json", refused).await;
    place.ended("data-pipeline", 3).await;
    assert_eq!(written(&place.server.ended(&run).await), (json!(true), json!(1_000)));
    let told = mail(&place);
    assert!(told.contains("- line 200 (q199@example.com)") && told.contains("--status failed"), "{told}");
}

#[tokio::test]
async fn two_posts_of_one_new_file_at_once_make_its_people_once() {
    let place = importing().await;
    let rows: Vec<Value> =
        (0..60).map(|n| json!({ "email": format!("n{n}@example.com"), "name": format!("N {n}") })).collect();
    let rows = json!(rows).to_string();
    let posts = (0..4).map(|_| post(&place, "", "application/json", rows.clone()));
    let (mut created, mut bad) = (0, 0);
    for run in futures::future::join_all(posts).await {
        let run = place.server.ended(&run).await;
        created += run["output"]["created"].as_u64().unwrap();
        bad += run["output"]["bad"].as_u64().unwrap();
    }
    assert_eq!((created, bad, total(&place, "person").await), (60, 0, 60));
}

/// The place of the nightly file, which has one row more every day.
fn exports(peer: &mut Peer, came: &Came) -> (u16, Value) {
    assert_eq!((came.path.as_str(), came.auth.as_str()), ("/contacts.csv", "Bearer a key of the test"));
    let days = peer.made.entry("days".into()).or_default();
    days.push(Value::Null);
    let row = |n: usize| json!({ "email": format!("day{n}@example.com"), "name": format!("Day {n}") });
    (200, (0..days.len().min(2)).map(row).collect())
}

#[tokio::test]
async fn a_nightly_file_is_fetched_however_busy_broken_or_cut_its_place_is() {
    let (exports, base) = peer(exports).await;
    let place = importing().await;
    place.server.put("/api/v1/secrets/EXPORTS_KEY", "{\"value\": \"a key of the test\"}").await.expect(201);
    let connection = file("data-pipeline/connections/exports.yaml");
    assert!(connection.contains("https://exports.example.com"));
    let connection = connection.replace("https://exports.example.com", &base);
    place.server.put("/api/v1/connections/exports", connection).await.expect(201);
    place.server.activate("data-pipeline-nightly", &file("data-pipeline/data-pipeline-nightly.yaml")).await;
    exports.lock().unwrap().moods = vec![Mood::Busy, Mood::Broken, Mood::Broken];
    for (night, told) in [(1, "1 new, 0 changed"), (2, "1 new, 0 changed"), (3, "nothing changed")] {
        place.server.post("/api/v1/dev/clock", &json!({ "advance": "1440m" })).await.expect(200);
        let runs = place.over("data-pipeline-nightly", night).await;
        assert_eq!(runs[0]["status"], "completed", "{runs:#?}");
        assert!(mail(&place).contains(&format!("Subject: Import of the file: {told}")));
    }
    assert_eq!(total(&place, "person").await, 2);
    assert_eq!(exports.lock().unwrap().came.len(), 6);
}
