//! The flow `two-way-sync` with another system on loopback, which has versions, pages, tombstones and webhooks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::peer::{Came, Mood, Peer, Place, Shared, file, peer};
use crate::support::signed;

const KEY: &[u8] = b"the other system's secret";

/// The other system: contacts in `made["contacts"]`, `c0` first.
fn crm(peer: &mut Peer, came: &Came) -> (u16, Value) {
    let contacts = peer.made.entry("contacts".into()).or_default();
    let fields = ["email", "first_name", "last_name", "title", "city", "origin"];
    let path: Vec<&str> = came.path.trim_start_matches("/v1/").split('/').collect();
    match (came.method.as_str(), path.as_slice()) {
        ("GET", ["contacts"]) => {
            let from = came.query.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
            let page: Vec<&Value> =
                contacts.iter().skip(from).take(2).filter(|contact| contact["deleted"] != true).collect();
            let next = if from + 2 < contacts.len() { json!((from + 2).to_string()) } else { Value::Null };
            (200, json!({ "contacts": page, "next_cursor": next }))
        }
        ("POST", ["contacts"]) => {
            let same = |one: &&Value| one["email"] == came.body["email"] && one["deleted"] != json!(true);
            if let Some(same) = contacts.iter().find(same) {
                return (409, json!({ "error": "the address is known", "id": same["id"] }));
            }
            let mut contact = json!({ "id": format!("c{}", contacts.len()), "version": 1 });
            for field in fields {
                contact[field] = came.body[field].clone();
            }
            contacts.push(contact.clone());
            (201, contact)
        }
        (method, ["contacts", id]) => {
            let contact = contacts.iter_mut().find(|contact| contact["id"] == *id).unwrap();
            if contact["deleted"] == true {
                return (410, json!({ "error": "it was deleted" }));
            }
            if method == "PUT" {
                if came.if_match != format!("\"{}\"", contact["version"]) {
                    return (412, json!({ "error": "it has another version" }));
                }
                for field in fields {
                    contact[field] = came.body[field].clone();
                }
                contact["version"] = json!(contact["version"].as_u64().unwrap() + 1);
            }
            (200, contact.clone())
        }
        _ => (404, json!({ "error": "nothing is here" })),
    }
}

struct Sides {
    place: Place,
    crm: Shared,
}

impl Sides {
    async fn new() -> Self {
        let (crm, base) = peer(crm).await;
        let place = Place::new();
        let schema = json!({ "schema": file("two-way-sync/schema.yaml") });
        place.server.post("/api/v1/schema/apply?wait=30s", &schema).await.expect(200);
        place.server.put("/api/v1/actions/merge-contact", guests::example("merge-contact")).await.expect(201);
        let secret = json!({ "value": STANDARD.encode(KEY) }).to_string();
        place.server.put("/api/v1/secrets/CRM_WEBHOOK_SECRET", secret).await.expect(201);
        place.server.put("/api/v1/secrets/CRM_KEY", "{\"value\": \"a key of the test\"}").await.expect(201);
        let connection = file("two-way-sync/connections/crm.yaml");
        assert!(connection.contains("https://crm.example.com"));
        let connection = connection.replace("https://crm.example.com", &base);
        place.server.put("/api/v1/connections/crm", connection).await.expect(201);
        for flow in ["sync-contact", "two-way-sync", "two-way-sync-inwards", "two-way-sync-nightly"] {
            place.server.activate(flow, &file(&format!("two-way-sync/{flow}.yaml"))).await;
        }
        Self { place, crm }
    }

    fn contact(&self, n: usize) -> Value {
        self.crm.lock().unwrap().made["contacts"][n].clone()
    }

    /// Somebody there writes; the contact as it is then.
    fn write(&self, n: usize, change: Value) -> Value {
        let mut crm = self.crm.lock().unwrap();
        let contact = &mut crm.made.get_mut("contacts").unwrap()[n];
        for (field, value) in change.as_object().unwrap() {
            contact[field] = value.clone();
        }
        contact["origin"] = json!("crm");
        contact["version"] = json!(contact["version"].as_u64().unwrap() + 1);
        contact.clone()
    }

    /// What the other system tells of a contact.
    async fn tell(&self, contact: &Value) {
        let now = self.place.server.post("/api/v1/dev/clock", &json!({ "advance": "1ms" })).await.expect(200);
        let now: jiff::Timestamp = now["now"].as_str().unwrap().parse().unwrap();
        // Each message has an id of its own, as if the other system did not know that it repeats itself.
        static MESSAGES: AtomicUsize = AtomicUsize::new(0);
        let id = format!("m-{}", MESSAGES.fetch_add(1, Ordering::Relaxed));
        let body = contact.to_string();
        signed::post(&self.place.server, "two-way-sync", KEY, now.as_second(), &id, &body).await.expect(202);
    }

    async fn person(&self, id: &str) -> Value {
        self.place.record("person", id).await
    }

    async fn people(&self) -> usize {
        self.place.server.records("person").await.len()
    }

    /// How many requests have come that change something.
    fn writes(&self) -> usize {
        self.crm.lock().unwrap().came.iter().filter(|came| came.method != "GET").count()
    }

    /// Person and contact say the same.
    async fn same(&self, id: &str, n: usize) {
        let (person, contact) = (self.person(id).await, self.contact(n));
        let here = [
            &person["emails"]["primaryEmail"],
            &person["name"]["firstName"],
            &person["jobTitle"],
            &person["city"],
        ];
        let there = [&contact["email"], &contact["first_name"], &contact["title"], &contact["city"]];
        assert_eq!(here, there, "{person:#}\n{contact:#}");
        let told = (&person["syncStatus"], &person["syncId"], &person["syncVersion"]);
        assert_eq!(told, (&json!("SYNCED"), &contact["id"], &contact["version"]), "{person:#}");
        assert!(person["syncedAt"].is_string());
    }
}

fn somebody(name: &str) -> Value {
    json!({ "emails": { "primaryEmail": format!("{name}@example.com") }, "name": { "firstName": name } })
}

#[tokio::test]
async fn changes_go_both_ways_once_whatever_is_busy_broken_cut_or_killed_and_echoes_go_nowhere() {
    let mut sides = Sides::new().await;
    use Mood::{Broken, Busy, Cut, Well};
    sides.crm.lock().unwrap().moods = vec![Cut, Busy, Broken, Cut, Well, Cut];
    let mut ids = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        ids.push(sides.place.create("person", somebody(name)).await);
    }
    // Edited while it is on its way for the first time, and the server is killed.
    sides.place.change("person", &ids[0], json!({ "city": "London" })).await;
    while sides.crm.lock().unwrap().came.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sides.place.crash();
    sides.place.quiet("two-way-sync", 4).await;
    let at = |n: usize| {
        let email = sides.contact(n)["email"].as_str().unwrap().to_owned();
        ["ada", "bob", "cyd"].iter().position(|name| email.starts_with(name)).unwrap()
    };
    assert_eq!(sides.crm.lock().unwrap().made["contacts"].len(), 3);
    for n in 0..3 {
        sides.same(&ids[at(n)], n).await;
    }
    assert_eq!(sides.people().await, 3);

    // The echoes of all that, and then what somebody there writes: twice, and an older version after it.
    let before = sides.writes();
    for n in 0..3 {
        sides.tell(&sides.contact(n)).await;
    }
    let older = sides.write(1, json!({ "title": "Builder" }));
    let newer = sides.write(1, json!({ "city": "Rome" }));
    for told in [&newer, &newer, &older] {
        sides.tell(told).await;
    }
    sides.place.quiet("two-way-sync-inwards", 6).await;
    sides.same(&ids[at(1)], 1).await;
    assert_eq!(sides.person(&ids[at(1)]).await["jobTitle"], "Builder");
    assert_eq!(sides.writes(), before, "what came from there is not sent back");
    let runs = sides.place.server.get("/api/v1/runs?workflow=two-way-sync&limit=500").await.expect(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 4, "what the synchronisation wrote started nothing");

    // A new one from there, told twice at once.
    sides.crm.lock().unwrap().made.get_mut("contacts").unwrap().push(
        json!({ "id": "c3", "version": 1, "origin": "crm", "email": "Dee@example.com", "first_name": "dee" }),
    );
    let new = sides.contact(3);
    tokio::join!(sides.tell(&new), sides.tell(&new));
    sides.place.quiet("two-way-sync-inwards", 8).await;
    assert_eq!(sides.people().await, 4);
    assert!(sides.place.server.records("task").await.is_empty());
}

#[tokio::test]
async fn what_both_have_edited_ends_the_same_on_both_sides_with_one_task() {
    let sides = Sides::new().await;
    let id = sides.place.create("person", somebody("ada")).await;
    sides.place.quiet("two-way-sync", 1).await;
    sides.same(&id, 0).await;
    sides.crm.lock().unwrap().moods = vec![Mood::Busy, Mood::Cut, Mood::Broken];
    let there = sides.write(0, json!({ "city": "Paris", "title": "Countess" }));
    // Found from both sides at once.
    let here = json!({ "city": "Rome", "name": { "firstName": "Augusta" } });
    tokio::join!(sides.place.change("person", &id, here), sides.tell(&there));
    sides.place.quiet("two-way-sync", 2).await;
    sides.same(&id, 0).await;
    let person = sides.person(&id).await;
    assert_eq!(
        (&person["city"], &person["jobTitle"], &person["name"]["firstName"]),
        (&json!("Paris"), &json!("Countess"), &json!("Augusta"))
    );
    let tasks = sides.place.server.records("task").await;
    let told: Vec<&Value> = tasks.iter().map(|task| &task["body"]).collect();
    assert_eq!(told, ["city: Rome here, Paris there; what was there is taken"]);
    assert_eq!(tasks[0]["personId"], json!(id));

    // Many edits on both sides, told late and out of order.
    let mut told = Vec::new();
    for n in 0..4 {
        sides.place.change("person", &id, json!({ "jobTitle": format!("Title {n}") })).await;
        told.push(sides.write(0, json!({ "city": format!("City {n}") })));
    }
    for contact in told.iter().rev() {
        sides.tell(contact).await;
    }
    sides.place.quiet("two-way-sync", 6).await;
    sides.same(&id, 0).await;
    assert_eq!(
        (&sides.contact(0)["city"], &sides.contact(0)["title"]),
        (&json!("City 3"), &json!("Title 3"))
    );
}

#[tokio::test]
async fn what_was_deleted_on_a_side_comes_back_on_neither() {
    let sides = Sides::new().await;
    let ada = sides.place.create("person", somebody("ada")).await;
    sides.place.quiet("two-way-sync", 1).await;
    let bob = sides.place.create("person", somebody("bob")).await;
    sides.place.quiet("two-way-sync", 2).await;
    let before = sides.writes();
    let late = sides.write(0, json!({ "city": "Paris" }));
    let gone = sides.write(0, json!({ "deleted": true }));
    sides.tell(&gone).await;
    sides.tell(&late).await;
    sides.place.quiet("two-way-sync-inwards", 2).await;
    sides.place.change("person", &ada, json!({ "city": "Rome" })).await;
    sides.place.quiet("two-way-sync", 3).await;
    let person = sides.person(&ada).await;
    assert_eq!((&person["syncStatus"], &person["city"]), (&json!("GONE"), &json!("Rome")));
    // One that nobody here has been told of is found by the next change.
    sides.write(1, json!({ "deleted": true }));
    sides.place.change("person", &bob, json!({ "city": "Oslo" })).await;
    sides.place.quiet("two-way-sync", 4).await;
    assert_eq!(sides.person(&bob).await["syncStatus"], "GONE");
    assert_eq!(sides.writes(), before, "nothing was created again there");

    // The other way: a person is deleted here, and a change there makes no new one.
    let cyd = sides.place.create("person", somebody("cyd")).await;
    sides.place.quiet("two-way-sync", 5).await;
    let told = sides.contact(2);
    let path = format!("/api/v1/records/person/{cyd}");
    sides.place.server.send(sides.place.server.request(reqwest::Method::DELETE, &path)).await;
    sides.place.quiet("two-way-sync", 6).await;
    let mut again = told.clone();
    again["origin"] = json!("crm");
    sides.tell(&again).await;
    sides.place.quiet("two-way-sync-inwards", 3).await;
    assert_eq!(sides.people().await, 2);
}

#[tokio::test]
async fn who_is_deleted_here_while_they_are_sent_does_not_come_back_at_night() {
    let sides = Sides::new().await;
    let ada = sides.place.create("person", somebody("ada")).await;
    sides.place.quiet("two-way-sync", 1).await;
    // One is being changed there, and one is being made.
    sides.crm.lock().unwrap().moods = vec![Mood::Well, Mood::Held];
    sides.place.change("person", &ada, json!({ "city": "Rome" })).await;
    while sides.writes() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sides.crm.lock().unwrap().moods = vec![Mood::Held];
    let bob = sides.place.create("person", somebody("bob")).await;
    while sides.writes() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for id in [&ada, &bob] {
        let path = format!("/api/v1/records/person/{id}");
        sides.place.server.send(sides.place.server.request(reqwest::Method::DELETE, &path)).await;
    }
    let held = sides.crm.lock().unwrap().held.clone();
    held.notify_one();
    held.notify_one();
    sides.place.quiet("two-way-sync", 5).await;
    assert_eq!(sides.crm.lock().unwrap().made["contacts"].len(), 2);
    sides.place.server.post("/api/v1/dev/clock", &json!({ "advance": "1440m" })).await.expect(200);
    sides.place.quiet("two-way-sync-nightly", 1).await;
    assert_eq!(sides.people().await, 0, "{:#?}", sides.place.server.records("person").await);
}

#[tokio::test]
async fn at_night_both_sides_are_brought_together_page_by_page() {
    let sides = Sides::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(sides.place.create("person", somebody(&format!("p{n}"))).await);
        sides.place.quiet("two-way-sync", n + 1).await;
    }
    // None of this is told: changes there, one that is deleted, a new one; and here while nothing was sent.
    sides.write(0, json!({ "city": "Paris" }));
    sides.write(1, json!({ "title": "Head", "deleted": true }));
    sides.crm.lock().unwrap().made.get_mut("contacts").unwrap().push(
        json!({ "id": "c5", "version": 7, "origin": "crm", "email": "new@example.com", "first_name": "New" }),
    );
    let off = sides.place.server.post("/api/v1/workflows/two-way-sync/deactivate", &Value::Null).await;
    off.expect(200);
    sides.place.change("person", &ids[2], json!({ "city": "Rome" })).await;
    let late = sides.place.create("person", somebody("late")).await;
    sides.crm.lock().unwrap().moods =
        vec![Mood::Busy, Mood::Well, Mood::Broken, Mood::Cut, Mood::Well, Mood::Cut];
    sides.place.server.post("/api/v1/dev/clock", &json!({ "advance": "1440m" })).await.expect(200);
    sides.place.quiet("two-way-sync-nightly", 1).await;
    for n in [0, 2, 3, 4] {
        sides.same(&ids[n], n).await;
    }
    sides.same(&late, 6).await;
    assert_eq!(sides.person(&ids[1]).await["syncStatus"], "GONE");
    assert_eq!(sides.people().await, 7);
    assert_eq!(sides.crm.lock().unwrap().made["contacts"].len(), 7);
    let (writes, came) = (sides.writes(), sides.crm.lock().unwrap().came.len());
    sides.place.server.post("/api/v1/dev/clock", &json!({ "advance": "1440m" })).await.expect(200);
    sides.place.quiet("two-way-sync-nightly", 2).await;
    let again = sides.crm.lock().unwrap().came.len();
    assert_eq!((sides.writes(), again), (writes, came + 4), "the pages, and nothing else");
}
