//! A hundred modules that never end do not keep the server from answering, nor a short module from running.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, guests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_endless_modules_starve_nobody() {
    let server = Server::dev();
    server.put("/api/v1/actions/endless", guests::endless()).await.expect(201);
    server.put("/api/v1/actions/short", guests::prints("{\"ok\": true}")).await.expect(201);
    let flow = |name: &str, action: &str, respond: &str, limits: &str| {
        format!(
            "name: {name}\ntrigger: {{ type: webhook, path: {name}, respond: {respond} }}\nsteps:\n  - {{ id: it, type: code, action: {action}{limits} }}\n"
        )
    };
    // More fuel than twenty seconds can burn, so that the clock alone ends them.
    let limits = ", limits: { fuel: 10000000000, wall_ms: 20000 }";
    server.activate("endless", &flow("endless", "endless", "accepted", limits)).await;
    server.activate("short", &flow("short", "short", "result", "")).await;
    // One fewer than the workspace may run at once, so that the short ones find a place.
    let mut endless = Vec::new();
    for _ in 0..99 {
        endless.push(server.post("/hooks/default/endless", &json!({})).await.expect(202)["run_id"].clone());
    }
    let test =
        server.request(reqwest::Method::POST, "/api/v1/actions/endless/test?wall_ms=15000").json(&json!({}));
    let hundredth = tokio::spawn(async move { test.send().await.map(|answer| answer.status().as_u16()) });

    let started = Instant::now();
    for _ in 0..20 {
        server.get("/healthz").await.expect(200);
        let answer = server.post("/hooks/default/short", &json!({})).await.expect(200);
        assert_eq!(answer, json!({ "ok": true }));
    }
    // The endless ones take all of both processors for as long as this lasts; it ends long before they do.
    assert!(started.elapsed() < Duration::from_secs(14), "{:?}", started.elapsed());
    let run = endless[0].as_str().unwrap();
    let running = server.get(&format!("/api/v1/runs/{run}")).await.expect(200);
    assert!(matches!(running["status"].as_str(), Some("running" | "queued")), "{running:#}");
    // A cancel reaches a module that runs.
    for run in &endless {
        server.post(&format!("/api/v1/runs/{}/cancel", run.as_str().unwrap()), &json!({})).await.expect(200);
    }
    assert_eq!(server.ended(run).await["status"], "cancelled");
    hundredth.abort();
}
