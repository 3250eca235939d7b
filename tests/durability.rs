//! What was acknowledged survives: kills under load, restarts, a graceful stop.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, client, guests};

/// A form of which a note is kept.
pub const FLOW: &str = "
name: keep
trigger: { type: webhook, path: keep }
steps:
  - { id: said, type: code, action: says }
  - id: note
    type: create_record
    object: note
    record: { title: '{{ trigger.body.n }}', body: '{{ said.word }}' }
";

async fn prepared(server: &Server) {
    server.put("/api/v1/actions/says", guests::prints("{\"word\": \"kept\"}")).await.expect(201);
    server.activate("keep", FLOW).await;
}

/// Every acknowledged form has one run that ends well, and one note.
async fn all_there(server: &Server, acknowledged: &[(String, String)]) {
    for (n, run) in acknowledged {
        let run = server.ended(run).await;
        assert_eq!(run["status"], "completed", "form {n}: {run:#}");
        assert_eq!(run["input"]["body"]["n"], json!(n));
        let filter = json!({ "field": "title", "is": n }).to_string();
        let found = server
            .send(server.request(reqwest::Method::GET, "/api/v1/records/note").query(&[("filter", filter)]))
            .await
            .expect(200);
        assert_eq!(found["total"], 1, "form {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_form_is_lost_when_the_process_is_killed_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let acknowledged: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    for round in 0..4 {
        let mut server = Server::on(&data, &["--dev"], &[]).unwrap();
        if round == 0 {
            prepared(&server).await;
        }
        let url = format!("{}/hooks/default/keep", server.base);
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let (url, acknowledged) = (url.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    let client = client();
                    for n in 0.. {
                        let n = format!("{round}-{sender}-{n}");
                        let Ok(answer) = client.post(&url).json(&json!({ "n": n })).send().await else {
                            return;
                        };
                        if answer.status().as_u16() != 202 {
                            continue;
                        }
                        let Ok(body) = answer.json::<Value>().await else { return };
                        let run = body["run_id"].as_str().unwrap().to_owned();
                        acknowledged.lock().unwrap().push((n, run));
                    }
                })
            })
            .collect();
        // Killed at another number of forms each round, never at rest.
        let enough = acknowledged.lock().unwrap().len() + 20 + round * 17;
        while acknowledged.lock().unwrap().len() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill();
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let server = Server::on(&data, &["--dev"], &[]).unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    all_there(&server, &acknowledged).await;
}

#[tokio::test]
async fn a_graceful_stop_ends_with_status_0_and_the_next_start_knows_everything() {
    let mut server = Server::dev();
    prepared(&server).await;
    let mut acknowledged = Vec::new();
    for n in 0..5 {
        let body = server.post("/hooks/default/keep", &json!({ "n": n.to_string() })).await.expect(202);
        acknowledged.push((n.to_string(), body["run_id"].as_str().unwrap().to_owned()));
    }
    assert!(server.stop().success());
    let data = server.data();
    let again = Server::on(&data, &["--dev"], &[]).unwrap();
    all_there(&again, &acknowledged).await;
    let body = again.post("/hooks/default/keep", &json!({ "n": "after" })).await.expect(202);
    all_there(&again, &[("after".into(), body["run_id"].as_str().unwrap().into())]).await;
}
