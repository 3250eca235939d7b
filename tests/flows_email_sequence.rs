//! The flow `email-sequence` against a platform on loopback that sends sequences.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Came, Mood, Peer, Place, Shared, peer};

/// A platform: whom it has, by sequence.
fn platform(peer: &mut Peer, came: &Came) -> (u16, Value) {
    let made = peer.made.entry(format!("{} {}", came.method, came.path)).or_default();
    made.push(came.body.clone());
    (201, json!({ "id": made.len() }))
}

const WELCOME: &str = "POST /v1/sequences/welcome/enrolments";

async fn enrolling() -> (Place, Shared) {
    let (there, base) = peer(platform).await;
    let place = Place::new();
    place.schema("email-sequence").await;
    place.action("pick-sequence").await;
    place.with("email-sequence", "sequences", "https://sequences.example.com", &base, "SEQUENCES_KEY").await;
    (place, there)
}

impl Place {
    async fn ada(&self) -> String {
        self.create("person", json!({ "emails": { "primaryEmail": "ada@engines.example" } })).await
    }

    /// Moves time a little until the platform has enrolled so many by a request, without coming near to a follow-up.
    async fn enrolled(&self, there: &Shared, what: &str, count: usize) {
        for _ in 0..2000 {
            let people = self.server.records("person").await;
            let marked = people.iter().filter(|person| !person["emailSequence"].is_null()).count();
            if marked >= count && there.lock().unwrap().made[what].len() >= count {
                return;
            }
            // Not while a request is under way.
            let runs = self.server.get("/api/v1/runs?workflow=email-sequence&limit=500").await.expect(200);
            if runs["runs"].as_array().unwrap().iter().all(|run| run["status"] != "running") {
                self.server.post("/api/v1/dev/clock", &json!({ "advance": "5s" })).await.expect(200);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        panic!("the platform has not enrolled {count}");
    }

    async fn later(&self, days: u32) {
        let advance = json!({ "advance": format!("{days}d") });
        self.server.post("/api/v1/dev/clock", &advance).await.expect(200);
    }
}

#[tokio::test]
async fn each_new_person_is_enrolled_once_through_busy_broken_cut_and_killed() {
    const PEOPLE: usize = 20;
    let (mut place, there) = enrolling().await;
    use Mood::{Broken, Busy, Cut, Well};
    there.lock().unwrap().moods = vec![Well, Busy, Cut, Broken, Cut, Well, Cut, Broken, Busy, Cut];
    for n in 0..PEOPLE {
        let address = format!("p{n}@engines.example");
        place.create("person", json!({ "emails": { "primaryEmail": address } })).await;
    }
    place
        .create("person", json!({ "emails": { "primaryEmail": "no@engines.example" }, "unsubscribed": true }))
        .await;
    place.create("person", json!({ "name": { "firstName": "Nobody" } })).await;
    while there.lock().unwrap().came.len() < 6 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.crash();
    place.enrolled(&there, WELCOME, PEOPLE).await;
    let people = place.server.records("person").await;
    // The same person once more, by hand, while the first run waits for its follow-up.
    let again = people.iter().find(|person| !person["emailSequence"].is_null()).unwrap();
    let again = place.by_hand("email-sequence", json!({ "record_id": again["id"] })).await;
    assert_eq!(place.server.ended(&again).await["status"], "completed");
    assert_eq!(place.server.records("task").await.len(), 0, "it is not time yet");

    place.later(3).await;
    let runs = place.over("email-sequence", PEOPLE + 1).await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    let tasks = place.server.records("task").await;
    let mut whose: Vec<&str> = tasks.iter().map(|task| task["personId"].as_str().unwrap()).collect();
    whose.sort_unstable();
    whose.dedup();
    assert_eq!((tasks.len(), whose.len()), (PEOPLE, PEOPLE), "one task each");

    {
        let seen = there.lock().unwrap();
        assert_eq!(seen.made[WELCOME].len(), PEOPLE, "{:#?}", seen.came);
        let mut addresses: Vec<&str> =
            seen.made[WELCOME].iter().map(|one| one["email"].as_str().unwrap()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), PEOPLE);
        for came in &seen.came {
            let key = format!("enrol-{}-welcome", came.body["external_id"].as_str().unwrap());
            assert_eq!((came.key.as_str(), came.auth.as_str()), (key.as_str(), "Bearer a key of the test"));
        }
    }
    let enrolments = place.server.records("enrolment").await;
    assert_eq!(enrolments.len(), PEOPLE);
    assert!(enrolments.iter().all(|one| one["status"] == "ENROLLED" && one["externalId"].is_string()));
}

#[tokio::test]
async fn who_unsubscribes_is_deleted_or_stopped_until_the_follow_up_gets_none() {
    let (place, there) = enrolling().await;
    let gone = place.ada().await;
    let mut others = Vec::new();
    for name in ["unsubscribes", "stopped", "stays"] {
        let person = json!({ "emails": { "primaryEmail": format!("{name}@engines.example") } });
        others.push(place.create("person", person).await);
    }
    place.enrolled(&there, WELCOME, 4).await;
    place.later(2).await;
    place.change("person", &others[0], json!({ "unsubscribed": true })).await;
    let enrolments = place.server.records("enrolment").await;
    let stopped = enrolments.iter().find(|one| one["personId"] == json!(others[1])).unwrap();
    place.change("enrolment", stopped["id"].as_str().unwrap(), json!({ "status": "STOPPED" })).await;
    let path = format!("/api/v1/records/person/{gone}");
    let answer = place.server.send(place.server.request(reqwest::Method::DELETE, &path)).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let came = there.lock().unwrap().came.len();
    place.later(1).await;
    let runs = place.over("email-sequence", 4).await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    let tasks = place.server.records("task").await;
    assert_eq!(
        tasks.iter().map(|task| &task["personId"]).collect::<Vec<_>>(),
        [&json!(others[2])],
        "{tasks:#?}"
    );
    assert_eq!(there.lock().unwrap().came.len(), came, "nothing was sent");
}

#[tokio::test]
async fn who_unsubscribes_while_the_platform_is_away_is_taken_out_again() {
    let (place, there) = enrolling().await;
    there.lock().unwrap().moods = vec![Mood::Broken, Mood::Cut];
    let ada = place.ada().await;
    while there.lock().unwrap().came.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.change("person", &ada, json!({ "unsubscribed": true })).await;
    let runs = place.over("email-sequence", 1).await;
    assert_eq!((&runs[0]["status"], place.server.records("task").await.len()), (&json!("completed"), 0));
    assert_eq!(place.record("person", &ada).await["emailSequence"], Value::Null);
    assert_eq!(place.server.records("enrolment").await[0]["status"], "STOPPED");
    let seen = there.lock().unwrap();
    assert_eq!(seen.made["DELETE /v1/sequences/welcome/enrolments/1"].len(), 1, "{:#?}", seen.came);
}

#[tokio::test]
async fn a_refused_address_is_asked_for_once_and_a_retry_by_hand_goes_on_from_there() {
    let (place, there) = enrolling().await;
    there.lock().unwrap().moods = vec![Mood::Refuses];
    place.ada().await;
    let runs = place.over("email-sequence", 1).await;
    let id = runs[0]["id"].as_str().unwrap();
    assert_eq!((&runs[0]["status"], there.lock().unwrap().came.len()), (&json!("failed"), 1));
    let run = place.server.ended(id).await;
    assert!(
        run["error"]["message"].as_str().unwrap().ends_with("answered 422: {\"error\":\"no such thing\"}")
    );
    assert_eq!(place.server.records("enrolment").await[0]["status"], "PENDING");
    place.server.post(&format!("/api/v1/runs/{id}/retry"), &json!({})).await.expect(200);
    place.enrolled(&there, WELCOME, 1).await;
    assert_eq!(place.server.records("enrolment").await[0]["status"], "ENROLLED");
}
