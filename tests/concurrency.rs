//! Runs that count together (`concurrency`), and workflows that take turns at the slots, through HTTP and across a kill.

use serde_json::{Value, json};
use std::collections::BTreeSet;

use crate::support::{Server, guests};

/// What a run waits for is given by the test, so that nothing hangs on how fast the machine is.
fn flow(name: &str, concurrency: &str, respond: &str) -> String {
    format!(
        r#"
name: {name}
trigger: {{ type: webhook, path: {name}, respond: {respond}, respond_within: 1s }}
concurrency: {concurrency}
steps:
  - {{ id: begin, type: create_record, object: note, record: {{ title: "begin {{{{ trigger.body.n }}}}" }} }}
  - {{ id: hold, type: wait_for_input, if: "{{{{ trigger.body.holds | default(true) }}}}" }}
  - {{ id: end, type: create_record, object: note, record: {{ title: "end {{{{ trigger.body.n }}}}" }} }}
"#
    )
}

async fn send(server: &Server, name: &str, body: Value) -> String {
    let accepted = server.post(&format!("/hooks/default/{name}"), &body).await.expect(202);
    accepted["run_id"].as_str().unwrap().to_owned()
}

async fn run(server: &Server, run: &str) -> Value {
    server.get(&format!("/api/v1/runs/{run}")).await.expect(200)
}

/// Waits until the run waits for its input, and gives it.
async fn let_go(server: &Server, run: &str) {
    reaches(server, run, "waiting").await;
    server.post(&format!("/api/v1/runs/{run}/input"), &json!({ "data": {} })).await.expect(200);
}

async fn reaches(server: &Server, id: &str, status: &str) {
    for _ in 0..3_000 {
        if run(server, id).await["status"] == status {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it does not come to `{status}`: {:#}", run(server, id).await);
}

#[tokio::test]
async fn runs_of_a_key_are_in_order_also_across_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    server.activate("sync", &flow("sync", "{ key: '{{ trigger.body.who }}' }", "accepted")).await;
    let mut runs = Vec::new();
    for n in 0..5 {
        runs.push(send(&server, "sync", json!({ "n": n, "who": "ada" })).await);
    }
    let other = send(&server, "sync", json!({ "n": "x", "who": "byron", "holds": false })).await;
    assert_eq!(server.ended(&other).await["status"], "completed");
    reaches(&server, &runs[0], "waiting").await;
    let waits = run(&server, &runs[1]).await;
    assert_eq!(waits["status"], "queued");
    assert_eq!(waits["waits_for"], json!({ "what": "concurrency", "key": "ada", "runs": [runs[0]] }));
    let listed = server.get("/api/v1/runs?status=queued").await.expect(200);
    assert_eq!(listed["runs"].as_array().unwrap().len(), 4, "{listed:#}");
    assert_eq!(listed["runs"][0]["waits_for"]["key"], "ada");
    // One that waits is cancelled without waiting for its turn.
    server.post(&format!("/api/v1/runs/{}/cancel", runs[2]), &json!({})).await.expect(200);
    assert_eq!(server.ended(&runs[2]).await["status"], "cancelled");
    let_go(&server, &runs[0]).await;
    reaches(&server, &runs[1], "waiting").await;

    server.kill();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    assert_eq!(run(&server, &runs[1]).await["status"], "waiting");
    for queued in &runs[3..] {
        assert_eq!(run(&server, queued).await["waits_for"]["runs"], json!([runs[1]]));
    }
    for held in [1, 3, 4] {
        reaches(&server, &runs[held], "waiting").await;
        for later in runs[3..].iter().filter(|later| **later > runs[held]) {
            assert_eq!(run(&server, later).await["status"], "queued", "it is not its turn");
        }
        let_go(&server, &runs[held]).await;
        assert_eq!(server.ended(&runs[held]).await["status"], "completed");
    }
    let titles =
        server.records("note").await.into_iter().map(|note| note["title"].as_str().unwrap().to_owned());
    let wanted = [0, 1, 3, 4].iter().flat_map(|n| [format!("begin {n}"), format!("end {n}")]);
    let wanted = wanted.chain(["begin x".to_owned(), "end x".to_owned()]);
    assert_eq!(titles.collect::<BTreeSet<_>>(), wanted.collect::<BTreeSet<_>>());
    server.stop();
}

#[tokio::test]
async fn skip_and_replace_say_what_became_of_a_run() {
    let server = Server::dev();
    server.activate("skips", &flow("skips", "{ when_full: skip }", "accepted")).await;
    server.activate("answers", &flow("answers", "{ when_full: skip }", "result")).await;
    server.activate("newest", &flow("newest", "{ when_full: replace }", "accepted")).await;

    let first = send(&server, "skips", json!({ "n": 1 })).await;
    let second = send(&server, "skips", json!({ "n": 2 })).await;
    let skipped = run(&server, &second).await;
    assert_eq!(
        (&skipped["status"], &skipped["error"]["code"]),
        (&json!("cancelled"), &json!("concurrency_full"))
    );
    assert_eq!(skipped["input"]["body"]["n"], 2);
    let_go(&server, &first).await;
    assert_eq!(server.ended(&first).await["status"], "completed");

    // It holds its place when its sender has been told that it goes on.
    let held = send(&server, "answers", json!({ "n": 3 })).await;
    let answer = server.post("/hooks/default/answers", &json!({ "n": 4 })).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (409, "concurrency_full"));
    assert_ne!(answer.json()["run_id"], json!(held));
    let_go(&server, &held).await;

    let old = send(&server, "newest", json!({ "n": 5 })).await;
    reaches(&server, &old, "waiting").await;
    let new = send(&server, "newest", json!({ "n": 6 })).await;
    let replaced = server.ended(&old).await;
    assert_eq!(
        (&replaced["status"], &replaced["error"]["code"]),
        (&json!("cancelled"), &json!("concurrency_replaced"))
    );
    assert!(replaced["error"]["message"].as_str().unwrap().contains(&new), "{replaced:#}");
    let_go(&server, &new).await;
    assert_eq!(server.ended(&new).await["status"], "completed");
}

#[tokio::test]
async fn the_command_line_shows_who_waits_for_what() {
    let server = Server::dev();
    server.activate("sync", &flow("sync", "{ key: '{{ trigger.body.who }}' }", "accepted")).await;
    let first = send(&server, "sync", json!({ "n": 1, "who": "ada" })).await;
    let second = send(&server, "sync", json!({ "n": 2, "who": "ada" })).await;
    let cli = |arguments: &[&str]| {
        let mut command = crate::support::stepwell();
        command.args(arguments).env("STEPWELL_SERVER", &server.base);
        crate::support::Finished::from(command.output().unwrap()).stdout
    };
    let listed = cli(&["run", "list"]);
    assert!(listed.contains("waits for the key ada"), "{listed}");
    let shown = cli(&["run", "show", &second]);
    assert!(shown.contains("waits for") && shown.contains(&first), "{shown}");
}

fn began(run: &Value) -> jiff::Timestamp {
    run["started_at"].as_str().unwrap().parse().unwrap()
}

/// One slot, a hundred runs of one workflow in front of it, and one of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_workflow_does_not_keep_another_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &["--dev"], &[("STEPWELL_LIMITS__CONCURRENT_RUNS", "1")]).unwrap();
    server.put("/api/v1/actions/endless", guests::endless()).await.expect(201);
    let flow = |name: &str, limits: &str| {
        format!(
            "name: {name}\ntrigger: {{ type: webhook, path: {name} }}\nsteps:\n  - {{ id: it, type: code, action: endless, limits: {limits}, on_error: continue }}\n"
        )
    };
    // The first one holds the slot until the test lets it go; the others end by their fuel, at once.
    server.activate("first", &flow("first", "{ fuel: 10000000000, wall_ms: 30000 }")).await;
    server.activate("busy", &flow("busy", "{ fuel: 10000 }")).await;
    server.activate("other", &flow("other", "{ fuel: 10000 }")).await;
    let first = send(&server, "first", json!({})).await;
    let mut busy = Vec::new();
    for n in 0..100 {
        busy.push(send(&server, "busy", json!({ "n": n })).await);
    }
    let other = send(&server, "other", json!({})).await;
    server.post(&format!("/api/v1/runs/{first}/cancel"), &json!({})).await.expect(200);
    let other = server.ended(&other).await;
    let mut before = 0;
    for run in &busy {
        let run = server.ended(run).await;
        before += usize::from(began(&run) < began(&other));
    }
    assert!(before <= 3, "{before} runs of the busy workflow came first");
}
