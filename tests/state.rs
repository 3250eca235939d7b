//! What a workflow keeps between its runs, through HTTP and the CLI, and across a kill.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Finished, Server, guests, stepwell};

const COUNTER: &str = r#"
name: counter
trigger: { type: webhook, path: count, respond: result }
steps:
  - { id: next, type: set_state, values: { n: "{{ state.n | default(0) + 1 }}" } }
output: "{{ next.n }}"
"#;

const STATE: &str = "/api/v1/workflows/counter/state";

fn cli(server: &Server, arguments: &[&str]) -> Finished {
    let mut command = stepwell();
    Finished::from(
        command.args(["--server", &server.base, "workflow", "state"]).args(arguments).output().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_counted_once_a_run_and_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    server.activate("counter", COUNTER).await;
    let post = async |server: &Server| {
        server.post("/hooks/default/count", &json!({})).await.expect(200).as_u64().unwrap()
    };
    let mut given = join_all((0..60).map(|_| post(&server))).await;
    given.sort_unstable();
    assert_eq!(given, (1..=60).collect::<Vec<_>>());
    server.kill();
    let server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    assert_eq!(post(&server).await, 61);
    let kept = server.get(STATE).await.expect(200);
    assert_eq!(
        (&kept["state"][0]["name"], &kept["state"][0]["value"]),
        (&json!("n"), &json!(61)),
        "{kept:#}"
    );
    assert!(kept["state"][0]["run"].is_string());
}

#[tokio::test]
async fn people_see_and_change_what_is_kept() {
    let server = Server::dev();
    server.activate("counter", COUNTER).await;
    let put = async |key: &str, value: Value| {
        server.put(&format!("{STATE}/{key}"), json!({ "value": value }).to_string()).await
    };
    assert_eq!(put("n", json!(41)).await.expect(201)["value"], 41);
    assert_eq!(server.post("/hooks/default/count", &json!({})).await.expect(200), json!(42));
    for (key, value, status, code) in [
        ("N", json!(1), 422, "invalid_name"),
        ("n", Value::Null, 422, "invalid_state"),
        ("n", json!("x".repeat(70_000)), 413, "state_too_large"),
    ] {
        let refused = put(key, value).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code));
    }
    assert_eq!(server.get("/api/v1/workflows/countr/state").await.code(), "unknown_workflow");
    assert_eq!(server.get(&format!("{STATE}/m")).await.code(), "unknown_state");

    let set = cli(&server, &["counter", "set", "list", r#"["a", "b"]"#]);
    assert_eq!(
        (set.code, set.stdout.as_str()),
        (Some(0), "state.list of counter is set\n"),
        "{}",
        set.stderr
    );
    let shown = cli(&server, &["counter"]);
    assert!(shown.stdout.contains("[\"a\",\"b\"]") && shown.stdout.contains("by hand"), "{}", shown.stdout);
    let json: Value = serde_json::from_str(&cli(&server, &["counter", "--json"]).stdout).unwrap();
    let names: Vec<&Value> = json["state"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["list", "n"]);
    assert_eq!(cli(&server, &["counter", "delete", "n"]).code, Some(0));
    let gone = cli(&server, &["counter", "delete", "n"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("`counter` keeps no `n`"), "{}", gone.stderr);
    assert_eq!(server.post("/hooks/default/count", &json!({})).await.expect(200), json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_that_come_together_go_to_the_reps_in_turn() {
    let server = Server::dev();
    server.put("/api/v1/actions/normalize-lead", guests::example("normalize-lead")).await.expect(201);
    let reps = json!({ "value": ["ann@x.example", "bob@x.example", "eve@x.example"] }).to_string();
    server.put("/api/v1/settings/sales_reps", reps).await.expect(201);
    let text =
        std::fs::read_to_string(guests::root().join("examples/workflows/web-form/web-form.yaml")).unwrap();
    server.activate("web-form", &text).await;
    let runs = join_all((0..12).map(async |n| {
        let form = json!({ "email": format!("p{n}@firm.example"), "message": "<script>alert(1)</script>" });
        let accepted = server.post("/hooks/default/web-form", &form).await.expect(202);
        server.ended(accepted["run_id"].as_str().unwrap()).await
    }))
    .await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    let tasks = server.records("task").await;
    for rep in ["ann@x.example", "bob@x.example", "eve@x.example"] {
        assert_eq!(tasks.iter().filter(|task| task["assignee"] == rep).count(), 4, "{rep}: {tasks:#?}");
    }
    let mails = server.get("/api/v1/mailbox").await.expect(200);
    for entry in mails["mailbox"].as_array().unwrap() {
        let html = entry["mail"]["html"].as_str().unwrap();
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
    }
}
