//! The flow `newsletter` against a mailing platform on loopback that counts how often each address is added.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::peer::{Came, Mood, Peer, Place, Shared, file, peer};

/// The platform: it refuses each fiftieth address, and adds the others as often as it is asked to.
fn add(peer: &mut Peer, came: &Came) -> (u16, Value) {
    assert_eq!((came.method.as_str(), came.path.as_str()), ("POST", "/v1/campaigns/Spring%20news/members"));
    let members = came.body["members"].as_array().unwrap();
    assert!(members.len() <= 200, "{} in one request", members.len());
    let (refused, added): (Vec<_>, Vec<_>) = members.iter().partition(|member| {
        let email = member["email"].as_str().unwrap();
        email.trim_start_matches('p').split('@').next().unwrap().parse::<usize>().unwrap().is_multiple_of(50)
    });
    peer.made.entry("added".into()).or_default().extend(added.iter().map(|member| member["email"].clone()));
    let refused: Vec<Value> = refused
        .iter()
        .map(|member| json!({ "email": member["email"], "reason": "bounced before" }))
        .collect();
    (200, json!({ "refused": refused }))
}

async fn newsletter() -> (Place, Shared) {
    let (platform, base) = peer(add).await;
    let place = Place::new();
    let schema = json!({ "schema": file("newsletter/schema.yaml") });
    place.server.post("/api/v1/schema/apply?wait=30s", &schema).await.expect(200);
    let action = guests::example("format-addresses");
    place.server.put("/api/v1/actions/format-addresses", action).await.expect(201);
    place.with("newsletter", "mailing", "https://mailing.example.com", &base, "MAILING_KEY").await;
    (place, platform)
}

async fn people(place: &Place, numbers: std::ops::Range<usize>) {
    let person = |n: usize| json!({ "emails": { "primaryEmail": format!("p{n}@example.com") }, "newsletter": n % 10 != 9 });
    let bulk = json!({ "action": "create", "records": numbers.map(person).collect::<Vec<_>>() });
    place.server.post("/api/v1/records/person/bulk", &bulk).await.expect(200);
}

async fn press(place: &Place) -> String {
    let input = json!({ "campaign": "Spring news" });
    let started = place.server.post("/api/v1/workflows/newsletter/run", &input).await.expect(202);
    started["run_id"].as_str().unwrap().to_owned()
}

async fn came(platform: &Shared, count: usize) {
    while platform.lock().unwrap().came.len() < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everybody who is to be in the campaign is, once.
async fn once(place: &Place, platform: &Shared, people: usize) {
    let wanted = |n: &usize| n % 10 != 9 && !n.is_multiple_of(50);
    let mut added = BTreeMap::<String, usize>::new();
    for email in platform.lock().unwrap().made.get("added").into_iter().flatten() {
        *added.entry(email.as_str().unwrap().to_owned()).or_default() += 1;
    }
    let expected = (0..people).filter(wanted).map(|n| (format!("p{n}@example.com"), 1)).collect();
    assert_eq!(added, expected);
    let campaigns = place.server.records("campaign").await;
    assert_eq!(campaigns.len(), 1);
    let refused = (0..people).filter(|n| n.is_multiple_of(50)).count();
    let told = (&campaigns[0]["status"], &campaigns[0]["added"], &campaigns[0]["refused"]);
    assert_eq!(told, (&json!("DONE"), &json!(added.len()), &json!(refused)));
    for (status, count) in [("ADDED", added.len()), ("REFUSED", refused), ("PENDING", 0)] {
        let path = format!(
            "/api/v1/records/campaign_member?limit=1&filter={{\"field\":\"status\",\"is\":\"{status}\"}}"
        );
        assert_eq!(place.server.get(&path).await.expect(200)["total"], json!(count), "{status}");
    }
}

/// What the mails of so many presses say that was added and refused, together.
fn told(place: &Place, presses: usize) -> (usize, usize) {
    let (mut added, mut refused) = (0, 0);
    for _ in 0..presses {
        let mail = place.smtp.next_mail();
        assert_eq!(mail["to"], json!(["marketing@example.com"]));
        let text = mail["data"].as_str().unwrap();
        let number = |before: &str| {
            let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in {text}"));
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<usize>().unwrap()
        };
        added += number("Added now: ");
        refused += text.matches("@example.com: bounced before").count();
    }
    (added, refused)
}

#[tokio::test]
async fn everybody_of_the_view_is_added_once_whatever_is_cut_killed_or_pressed_again() {
    let (mut place, platform) = newsletter().await;
    people(&place, 0..280).await;
    use Mood::{Broken, Busy, Cut, Well};
    platform.lock().unwrap().moods = vec![Busy, Cut, Broken, Well, Cut, Cut, Busy];
    press(&place).await;
    came(&platform, 1).await;
    place.crash();
    // Pressed again, twice at once, while the first press is on its way.
    tokio::join!(press(&place), press(&place));
    let runs = place.over("newsletter", 3).await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    once(&place, &platform, 280).await;
    assert_eq!(told(&place, 3), (246, 6));

    // Who came since is added by the next press, and nobody else.
    let before = platform.lock().unwrap().came.len();
    people(&place, 280..320).await;
    press(&place).await;
    place.over("newsletter", 4).await;
    once(&place, &platform, 320).await;
    assert_eq!(told(&place, 1), (35, 1));
    assert_eq!(platform.lock().unwrap().came.len(), before + 1);
    press(&place).await;
    place.over("newsletter", 5).await;
    assert_eq!((told(&place, 1), platform.lock().unwrap().came.len()), ((0, 0), before + 1));
}

#[tokio::test]
async fn a_press_finds_what_a_cancelled_one_has_left_whether_the_platform_has_taken_it_or_not() {
    let (place, platform) = newsletter().await;
    people(&place, 0..250).await;
    // The first batch is stored there, but its answer never comes; then the run is cancelled.
    platform.lock().unwrap().moods = vec![Mood::Cut, Mood::Broken, Mood::Broken, Mood::Broken, Mood::Broken];
    let run = press(&place).await;
    came(&platform, 1).await;
    place.server.post(&format!("/api/v1/runs/{run}/cancel"), &json!({})).await.expect(200);
    assert_eq!(place.server.ended(&run).await["status"], "cancelled");
    platform.lock().unwrap().moods.clear();
    press(&place).await;
    let runs = place.over("newsletter", 2).await;
    assert_eq!(runs[0]["status"], "completed", "{:#}", runs[0]);
    once(&place, &platform, 250).await;
    assert_eq!(told(&place, 1), (220, 5));
}
