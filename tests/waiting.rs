//! Runs that wait for a time say until when, and why: in the API, and on the command line.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Finished, Server, stepwell};

fn cli(server: &Server, arguments: &[&str]) -> Finished {
    Finished::from(stepwell().args(arguments).env("STEPWELL_SERVER", &server.base).output().unwrap())
}

/// Where nobody listens.
fn nobody() -> String {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", taken.local_addr().unwrap())
}

/// The run once it waits for a time.
async fn waiting(server: &Server, run: &str) -> Value {
    loop {
        let run = server.get(&format!("/api/v1/runs/{run}?wait=1ms")).await.expect(200);
        match run["status"].as_str() {
            Some("queued" | "running") => tokio::task::yield_now().await,
            Some("waiting") => return run,
            other => panic!("{other:?}: {run:#}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waits_for_its_next_attempt_says_why_and_until_when() {
    let server = Server::dev();
    let flow = format!(
        "name: knock\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: file, type: http_request, method: GET, url: '{}', \
         retry: {{ attempts: 20, backoff: {{ initial: 1h, max: 1h }} }} }}\n",
        nobody()
    );
    server.activate("knock", &flow).await;
    let started = server.post("/api/v1/workflows/knock/run", &json!({})).await.expect(202);
    let id = started["run_id"].as_str().unwrap();
    let run = waiting(&server, id).await;
    let (wakes, step) = (&run["wakes"], &run["steps"][0]);
    assert_eq!((&wakes["what"], &wakes["step"]), (&"attempt".into(), &"file".into()), "{run:#}");
    assert_eq!(wakes["error"]["message"], step["error"]["message"], "{run:#}");
    assert_eq!((&step["status"], &step["wakes"]["at"]), (&"waiting".into(), &wakes["at"]), "{run:#}");
    assert_eq!((&step["wakes"]["attempt"], &step["wakes"]["attempts"]), (&2.into(), &20.into()), "{run:#}");
    let at: jiff::Timestamp = wakes["at"].as_str().unwrap().parse().unwrap();
    let failed: jiff::Timestamp = step["attempts"][0]["ended_at"].as_str().unwrap().parse().unwrap();
    assert!(at.duration_since(failed).as_mins() >= 20, "{run:#}");

    let second = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let listed = cli(&server, &["run", "list"]).stdout;
    assert!(listed.contains("again at") && listed.contains(&second), "{listed}");
    let shown = cli(&server, &["run", "show", id]).stdout;
    assert!(shown.contains(&format!("waiting for attempt 2 of 20 at {second}")), "{shown}");
    let started = cli(&server, &["workflow", "run", "knock", "--wait", "1ms"]).stdout;
    assert!(started.contains("stepwell run watch"), "{started}");

    // Whoever follows it is told at once.
    let mut watch = stepwell()
        .args(["run", "watch", id])
        .env("STEPWELL_SERVER", &server.base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let (line, why) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
    assert!(line.contains("file") && line.contains("attempt 2 of 20 at"), "{line}");
    assert!(why.contains(step["error"]["code"].as_str().unwrap()), "{why}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_and_a_wait_for_a_person_say_until_when() {
    let mut server = Server::dev();
    let flow = "name: later\ntrigger: { type: manual }\nsteps:\n  - { id: it, type: parallel, steps: [ \
                { id: rest, type: delay, for: 3d }, { id: ask, type: wait_for_input, timeout: 5d }] }\n";
    server.activate("later", flow).await;
    let started = server.post("/api/v1/workflows/later/run", &json!({})).await.expect(202);
    let id = started["run_id"].as_str().unwrap().to_owned();
    let run = waiting(&server, &id).await;
    let step = |run: &Value, id: &str| {
        run["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()["wakes"].clone()
    };
    // The first of the two is the run's.
    assert_eq!(
        (&run["wakes"]["what"], &run["wakes"]["step"]),
        (&"delay".into(), &step(&run, "rest")["step"])
    );
    assert_eq!(run["wakes"]["at"], step(&run, "rest")["at"], "{run:#}");
    assert_eq!(step(&run, "ask")["what"], "timeout", "{run:#}");
    let listed = cli(&server, &["run", "list"]).stdout;
    assert!(listed.contains("until 2"), "{listed}");
    let shown = cli(&server, &["run", "show", &id]).stdout;
    assert!(shown.contains("waiting until 2") && shown.contains("at the latest"), "{shown}");
    // And after a restart.
    server.stop();
    let server = Server::on(&server.data(), &["--dev"], &[]).unwrap();
    assert_eq!(server.get(&format!("/api/v1/runs/{id}")).await.expect(200)["wakes"], run["wakes"]);
    let ended = server.post(&format!("/api/v1/runs/{id}/cancel"), &json!({})).await.expect(200);
    assert_eq!(ended["id"], id.as_str());
    let ended = server.ended(&id).await;
    assert!(
        ended["wakes"].is_null() && ended["steps"].as_array().unwrap().iter().all(|s| s["wakes"].is_null())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_numbered_through_every_retry_of_a_run() {
    let server = Server::dev();
    let flow = format!(
        "name: twice\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: file, type: http_request, method: GET, url: '{}', retry: {{ attempts: 1 }} }}\n",
        nobody()
    );
    server.activate("twice", &flow).await;
    let failed = cli(&server, &["workflow", "run", "twice"]);
    assert_eq!(failed.code, Some(1));
    let runs = server.get("/api/v1/runs").await.expect(200);
    let id = runs["runs"][0]["id"].as_str().unwrap();
    server.post(&format!("/api/v1/runs/{id}/retry"), &json!({})).await.expect(200);
    let run = server.ended(id).await;
    let numbers: Vec<&Value> =
        run["steps"][0]["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["number"]).collect();
    assert_eq!(numbers, [1, 2], "{run:#}");
    let shown = cli(&server, &["run", "show", id]).stdout;
    assert!(shown.contains("attempt 1 failed") && shown.contains("attempt 2 failed"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_what_started_it() {
    let server = Server::dev();
    let steps = "steps:\n  - { id: a, type: set, values: { x: 1 } }\n";
    let flows = [
        ("by-hook", "{ type: webhook, path: by-hook }"),
        ("by-time", "{ type: schedule, cron: '0 0 1 1 *' }"),
        ("by-change", "{ type: record_event, object: note, on: [created] }"),
        ("by-hand", "{ type: manual }"),
    ];
    for (name, trigger) in flows {
        server.activate(name, &format!("name: {name}\ntrigger: {trigger}\n{steps}")).await;
    }
    let parent = "name: parent\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: run_workflow, workflow: by-hand }\n";
    server.activate("parent", parent).await;
    let newest = async || {
        let runs = server.get("/api/v1/runs?limit=1").await.expect(200);
        let id = runs["runs"][0]["id"].as_str().unwrap().to_owned();
        cli(&server, &["run", "show", &id]).stdout
    };
    for name in ["by-hook", "by-time", "by-hand"] {
        let ran = cli(&server, &["workflow", "run", name]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let shown = newest().await;
        assert!(shown.contains(&format!("{name} v1, started by hand")), "{shown}");
        // The run's id is told beside its output.
        let id = ran.stderr.trim().strip_prefix("run ").unwrap();
        assert!(shown.contains(id), "{} {shown}", ran.stderr);
    }
    server.post("/hooks/default/by-hook?wait=10s", &json!({})).await;
    let shown = newest().await;
    assert!(shown.contains("started by a webhook"), "{shown}");
    let ran = cli(&server, &["workflow", "run", "parent"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let runs = server.get("/api/v1/runs?workflow=by-hand&limit=1").await.expect(200);
    let shown = cli(&server, &["run", "show", runs["runs"][0]["id"].as_str().unwrap()]).stdout;
    assert!(shown.contains("started by another run"), "{shown}");
    let note = server.post("/api/v1/records/note", &json!({ "title": "n" })).await.expect(201);
    let of_change = async || {
        let runs = server.get("/api/v1/runs?workflow=by-change&limit=1").await.expect(200);
        runs["runs"][0]["id"].as_str().map(str::to_owned)
    };
    let id = loop {
        match of_change().await {
            Some(id) => break id,
            None => tokio::task::yield_now().await,
        }
    };
    let shown = cli(&server, &["run", "show", &id]).stdout;
    let said = format!("started by note {}, which was created", note["id"].as_str().unwrap());
    assert!(shown.contains(&said), "{shown}");
}
