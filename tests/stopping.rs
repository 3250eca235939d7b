//! Stopping, readiness, and the clock of a `--dev` server.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;

use crate::support::Server;

/// An open event stream, and what of it has come.
async fn stream(server: &Server, query: &str) -> reqwest::Response {
    let answer =
        server.request(reqwest::Method::GET, &format!("/api/v1/events{query}")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer
}

#[tokio::test]
async fn event_streams_and_waits_do_not_hold_up_a_stop() {
    let mut server = Server::dev();
    // Takes calls and never answers them.
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    let waits = format!(
        "name: waits\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: call, type: http_request, url: 'http://{address}/' }}\n"
    );
    server.activate("waits", &waits).await;
    let run = server.post("/api/v1/workflows/waits/run", &json!({})).await.expect(202);
    let mut events = stream(&server, "").await.bytes_stream();
    events.next().await.unwrap().unwrap();
    let wait = format!("/api/v1/runs/{}?wait=60s", run["run_id"].as_str().unwrap());
    let waiting = tokio::spawn(server.request(reqwest::Method::GET, &wait).send());
    // A connection that says nothing.
    let idle = tokio::net::TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
    // The call is out, and the wait has come, before the stop.
    let _held = peer.accept().await.unwrap();
    server.get("/healthz").await.expect(200);
    let asked = Instant::now();
    let stopped = tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    assert!(stopped.success());
    // The call that is out is given 5 s; requests would be given 10 s before it.
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    while let Some(Ok(_)) = events.next().await {}
    if let Ok(answer) = waiting.await.unwrap() {
        assert_ne!(answer.json::<serde_json::Value>().await.unwrap()["status"], "completed");
    }
    drop(idle);
}

#[tokio::test]
async fn who_waits_for_a_webhook_s_result_at_a_stop_is_told_that_the_run_goes_on() {
    let mut server = Server::dev();
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    let slow = format!(
        "name: slow\ntrigger: {{ type: webhook, path: slow, respond: result }}\nsteps:\n  - {{ id: call, type: http_request, url: 'http://{address}/' }}\n"
    );
    server.activate("slow", &slow).await;
    let url = format!("{}/hooks/default/slow", server.base);
    let waiting = tokio::spawn(reqwest::Client::new().post(url).json(&json!({})).send());
    let _held = peer.accept().await.unwrap();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    let answer = waiting.await.unwrap().expect("an answer, not a connection that is cut");
    assert_eq!(answer.status().as_u16(), 202);
    let told: serde_json::Value = answer.json().await.unwrap();
    assert!(told["run_id"].is_string(), "{told}");
    assert!(stopping.await.unwrap().success());
}

#[tokio::test]
async fn an_event_stream_can_begin_now() {
    let server = Server::dev();
    server.post("/api/v1/records/note", &json!({ "title": "before" })).await.expect(201);
    let mut events = stream(&server, "?after=now").await.bytes_stream();
    server.post("/api/v1/records/note", &json!({ "title": "after" })).await.expect(201);
    let mut text = String::new();
    while !text.contains("\n\n") || !text.contains("data:") {
        text.push_str(&String::from_utf8_lossy(&events.next().await.unwrap().unwrap()));
    }
    assert!(text.contains("after") && !text.contains("before"), "{text}");
    let document = server.get("/api/openapi.json").await.expect(200);
    let parameters = document["paths"]["/api/v1/events"]["get"]["parameters"].to_string();
    assert!(parameters.contains("Last-Event-ID"), "{parameters}");
}

#[tokio::test]
async fn a_server_that_takes_requests_says_that_it_is_ready() {
    let server = Server::start(&[]);
    let answer = reqwest::Client::new().get(format!("{}/readyz", server.base)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test]
async fn the_clock_is_not_moved_out_of_range() {
    let server = Server::dev();
    for advance in ["4200000000m", "99999999999999m", "18446744073709551615ms", "x"] {
        let answer = server.post("/api/v1/dev/clock", &json!({ "advance": advance })).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "invalid_body"), "{advance}");
    }
    // To the year 8900 or so.
    server.post("/api/v1/dev/clock", &json!({ "advance": "3615000000m" })).await.expect(200);
    let note = server.post("/api/v1/records/note", &json!({ "title": "late" })).await.expect(201);
    assert!(
        note["createdAt"].as_str().unwrap().starts_with("88")
            || note["createdAt"].as_str().unwrap().starts_with("89"),
        "{note:#}"
    );
    let answer = server.post("/api/v1/dev/clock", &json!({ "advance": "100000000m" })).await;
    assert_eq!(answer.code(), "invalid_body");
}
