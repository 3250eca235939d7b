//! The flow `lead-scoring-external` against a scoring service on loopback, which is slow, busy, broken and away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Came, Mood, Peer, Place, Shared, peer};

const FLOW: &str = "lead-scoring-external";

/// A service that gives each job title `scores N` so many points, and knows nobody else.
fn scoring(peer: &mut Peer, came: &Came) -> (u16, Value) {
    peer.made.entry("asked".into()).or_default().push(came.body["job_title"].clone());
    let score =
        came.body["job_title"].as_str().and_then(|title| title.strip_prefix("scores ")?.parse::<u32>().ok());
    match score {
        Some(score) => (200, json!({ "score": score, "factors": [{ "name": "a title", "weight": 1 }] })),
        None => (404, json!({ "error": "nobody of that kind" })),
    }
}

async fn scored() -> (Place, Shared) {
    let (there, base) = peer(scoring).await;
    let place = Place::new();
    place.schema(FLOW).await;
    place.action("read-score").await;
    place.with(FLOW, "scoring", "https://scoring.example.com", &base, "SCORING_KEY").await;
    (place, there)
}

impl Place {
    async fn titled(&self, person: &str, score: impl std::fmt::Display) {
        self.change("person", person, json!({ "jobTitle": format!("scores {score}") })).await;
    }

    /// What has been edited settles, and its run starts.
    async fn settles(&self) {
        self.server.post("/api/v1/dev/clock", &json!({ "advance": "6s" })).await.expect(200);
    }
}

async fn asked(there: &Shared, count: usize) {
    while there.lock().unwrap().came.len() < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn of_quick_edits_the_last_counts_and_a_crossing_is_told_once() {
    let (mut place, there) = scored().await;
    let ada = place.create("person", json!({ "emails": { "primaryEmail": "ada@engines.example" } })).await;
    for score in 1..=30 {
        place.titled(&ada, score).await;
    }
    place.settles().await;
    place.over(FLOW, 1).await;
    assert_eq!(place.record("person", &ada).await["externalScore"], 30);
    assert_eq!(there.lock().unwrap().made["asked"], [json!("scores 30")]);

    // It crosses the threshold while the service is busy, broken and cuts, and the server is killed.
    use Mood::{Broken, Busy, Cut};
    there.lock().unwrap().moods = vec![Busy, Cut, Broken, Cut];
    place.titled(&ada, 80).await;
    place.settles().await;
    asked(&there, 2).await;
    place.crash();
    place.over(FLOW, 2).await;
    assert_eq!(place.record("person", &ada).await["externalScore"], 80);
    assert_eq!(there.lock().unwrap().made["asked"].len(), 2, "one question, whatever became of its answers");
    let (mut count, mut tasks) = (2, 1);
    for (score, more) in [(95, 0), (70, 0), (69, 0), (71, 1), (0, 0)] {
        place.titled(&ada, score).await;
        place.settles().await;
        (count, tasks) = (count + 1, tasks + more);
        place.over(FLOW, count).await;
        assert_eq!(place.record("person", &ada).await["externalScore"], score);
        assert_eq!(place.server.records("task").await.len(), tasks, "{score}");
    }
    // Of whom the service knows nothing the score stays; storing it started nothing.
    place.change("person", &ada, json!({ "jobTitle": "Countess" })).await;
    place.settles().await;
    let runs = place.over(FLOW, count + 1).await;
    assert!(runs.len() == count + 1 && runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    assert_eq!(place.record("person", &ada).await["externalScore"], 0);
    let titles: Vec<Value> =
        place.server.records("task").await.iter().map(|task| task["title"].clone()).collect();
    assert!(titles.contains(&json!("Call ada@engines.example: score 71")), "{titles:?}");
}

#[tokio::test]
async fn a_slow_old_answer_is_dropped() {
    let (place, there) = scored().await;
    there.lock().unwrap().moods = vec![Mood::Held];
    let ada = place.create("person", json!({ "jobTitle": "scores 99" })).await;
    place.settles().await;
    asked(&there, 1).await;
    // While the service thinks of it the person becomes another.
    place.titled(&ada, 10).await;
    place.settles().await;
    there.lock().unwrap().held.notify_one();
    let runs = place.over(FLOW, 2).await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    let ada = place.record("person", &ada).await;
    assert_eq!((&ada["externalScore"], &ada["scoreCrossings"]), (&json!(10), &json!(0)));
    assert_eq!(place.server.records("task").await.len(), 0, "99 was never its score");
}

#[tokio::test]
async fn while_the_service_is_away_runs_wait_and_each_person_ends_with_the_last_edit() {
    const PEOPLE: usize = 12;
    let (mut place, there) = scored().await;
    there.lock().unwrap().moods = vec![Mood::Broken; 40];
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(place.create("person", json!({ "jobTitle": format!("scores {n}") })).await);
    }
    for edit in 1..=3 {
        place.settles().await;
        asked(&there, edit).await;
        for (n, person) in people.iter().enumerate() {
            place.titled(person, 20 * edit + n).await;
        }
    }
    place.settles().await;
    place.crash();
    let runs = place.over(FLOW, 4 * PEOPLE).await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "none fails for it: {runs:#?}");
    for (n, person) in people.iter().enumerate() {
        assert_eq!(place.record("person", person).await["externalScore"], 60 + n, "{n}");
    }
    // What came of one person came in the order of the edits.
    for person in &people {
        let came = there.lock().unwrap().came.clone();
        let of_person = came.iter().filter(|came| came.body["external_id"] == json!(person));
        let scores: Vec<u32> = of_person
            .map(|came| {
                came.body["job_title"].as_str().unwrap().strip_prefix("scores ").unwrap().parse().unwrap()
            })
            .collect();
        assert!(scores.is_sorted() && !scores.is_empty(), "{scores:?}");
    }
    let crossed = (0..PEOPLE).filter(|n| 60 + n >= 70).count();
    assert_eq!(place.server.records("task").await.len(), crossed);
}
