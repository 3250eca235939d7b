//! Schedules through HTTP and the CLI: time is moved, the server dies, and each time has its run once.

use serde_json::{Value, json};

use crate::support::{self, Server};

const HOURLY: &str = "
name: hourly
trigger: { type: schedule, every: 1h, missed: run_all, overlap: wait }
steps:
  - { id: note, type: create_record, object: note, record: { title: '{{ trigger.scheduled_at }}' } }
";

const NIGHTLY: &str = "
name: nightly
trigger: { type: schedule, cron: '30 2 * * *', time_zone: Europe/Berlin }
steps:
  - { id: seen, type: set, values: { at: '{{ trigger.scheduled_at }}' } }
";

async fn advance(server: &Server, by: &str) {
    server.post("/api/v1/dev/clock", &json!({ "advance": by })).await.expect(200);
}

async fn notes(server: &Server, count: usize) -> Vec<jiff::Timestamp> {
    loop {
        let notes = server.records("note").await;
        if notes.len() >= count {
            return notes.iter().map(|note| note["title"].as_str().unwrap().parse().unwrap()).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_hour_has_its_run_though_the_server_dies() {
    let mut first = Server::dev();
    let data = first.data();
    first.activate("hourly", HOURLY).await;
    advance(&first, "90m").await;
    notes(&first, 1).await;
    first.kill();
    // Its clock is the real one again, before the time of the run that there was.
    let second = Server::on(&data, &["--dev"], &[]).unwrap();
    advance(&second, "270m").await;
    let times = notes(&second, 4).await;
    assert!(times.windows(2).all(|two| two[1].duration_since(two[0]).as_secs() == 3600), "{times:?}");
    let listed = second.get("/api/v1/schedules").await.expect(200);
    assert_eq!(listed["next_cursor"], Value::Null);
    let schedule = &listed["schedules"][0];
    assert_eq!((&schedule["workflow"], &schedule["every"]), (&json!("hourly"), &json!("1h")));
    assert_eq!(schedule["last_scheduled_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(), times[3]);
    assert_eq!(schedule["next"].as_array().unwrap().len(), 5);
    assert_eq!(schedule["skipped"], 0);
}

#[tokio::test]
async fn the_next_times_are_listed() {
    let server = Server::dev();
    let listed = support::run(&["schedule", "list", "--server", &server.base]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    server.activate("nightly", NIGHTLY).await;
    let listed = support::run(&["schedule", "list", "--server", &server.base]);
    assert!(listed.stdout.contains("30 2 * * * Europe/Berlin"), "{}", listed.stdout);
    let json = support::run(&["schedule", "list", "--server", &server.base, "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let next: Vec<jiff::Timestamp> = json["schedules"][0]["next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| at.as_str().unwrap().parse().unwrap())
        .collect();
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    for at in next {
        let wall = at.to_zoned_datetime(zone.clone());
        // 3:00 on the night when the clock leaps over it.
        assert!([(2, 30), (3, 0)].contains(&(wall.hour(), wall.minute())), "{wall}");
    }
    let wrong = NIGHTLY.replace("Berlin", "Berlinn");
    let draft = server.put("/api/v1/workflows/nightly", wrong).await.expect(201);
    assert!(draft["problems"][0]["message"].as_str().unwrap().contains("is no time zone"), "{draft}");
}
