//! Paused runs through HTTP and the CLI.

use serde_json::{Value, json};

use crate::support::{Server, guests};

const FLOW: &str = r#"
name: careful
trigger: { type: manual }
steps:
  - { id: lead, type: code, action: normalize-lead, input: "{{ trigger.input }}", on_error: pause }
output: "{{ lead.email | default('none') }}"
"#;

async fn paused(server: &Server) -> String {
    let started =
        server.post("/api/v1/workflows/careful/run", &json!({"name": "A B", "email": "nobody"})).await;
    let id = started.expect(202)["run_id"].as_str().unwrap().to_owned();
    loop {
        let run = server.get(&format!("/api/v1/runs/{id}?wait=50ms")).await.expect(200);
        if run["status"] == "paused" {
            assert_eq!(run["steps"][0]["status"], "paused");
            assert_eq!(run["steps"][0]["error"]["code"], "invalid_email");
            return id;
        }
    }
}

#[tokio::test]
async fn a_person_says_how_a_paused_run_goes_on() {
    let server = Server::dev();
    server.put("/api/v1/actions/normalize-lead", guests::example("normalize-lead")).await.expect(201);
    server.activate("careful", FLOW).await;
    let id = paused(&server).await;
    let path = format!("/api/v1/runs/{id}/resume");
    for (body, status, code) in [
        (json!({"action": "output"}), 400, "invalid_resume"),
        (json!({"action": "skip", "output": 1}), 400, "invalid_resume"),
        (json!({"action": "skip", "actions": {"normalize-lead": "latest"}}), 400, "invalid_resume"),
        (json!({"action": "skip", "step": "other"}), 409, "step_not_paused"),
        (json!({"action": "retry", "actions": {"other": "latest"}}), 422, "unknown_action"),
    ] {
        let refused = server.post(&path, &body).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{body}");
    }
    let given = json!({"action": "output", "output": {"email": "by@hand.example"}});
    server.post(&path, &given).await.expect(200);
    let run = server.ended(&id).await;
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!("by@hand.example")));
    assert_eq!(server.post(&path, &given).await.code(), "run_not_paused");

    let id = paused(&server).await;
    let arguments = ["--server", &server.base, "run", "resume", &id, "--skip", "--json"];
    let out = crate::support::stepwell().args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let summary: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(summary["id"], id.as_str());
    let run = server.ended(&id).await;
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!("none")));
}

#[tokio::test]
async fn without_a_word_the_failed_step_is_tried_again_and_a_newer_version_may_be_named() {
    let server = Server::dev();
    server.put("/api/v1/actions/normalize-lead", guests::example("normalize-lead")).await.expect(201);
    server.activate("careful", FLOW).await;
    let id = paused(&server).await;
    let path = format!("/api/v1/runs/{id}/resume");
    for (attempts, body) in [(2, ""), (3, "{}")] {
        let asked = server.request(reqwest::Method::POST, &path).body(body);
        server.send(asked).await.expect(200);
        // It comes to the same, and the wait ends when it has.
        let run = server.get(&format!("/api/v1/runs/{id}?wait=60s")).await.expect(200);
        assert_eq!(run["status"], "paused", "{run:#}");
        assert_eq!(run["steps"][0]["attempts"].as_array().unwrap().len(), attempts);
    }
    server.activate("careful", &FLOW.replace("default('none')", "default('nobody')")).await;
    let arguments = ["--server", &server.base, "run", "resume", &id, "--skip", "--newest"];
    let out = crate::support::stepwell().args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let run = server.ended(&id).await;
    assert_eq!((&run["output"], &run["version"]), (&json!("nobody"), &json!(2)), "{run:#}");
}

#[tokio::test]
async fn who_runs_a_workflow_is_told_what_to_do_when_it_needs_a_person() {
    let server = Server::dev();
    server.put("/api/v1/actions/normalize-lead", guests::example("normalize-lead")).await.expect(201);
    server.activate("careful", FLOW).await;
    let asks = "name: asks\ntrigger: { type: manual }\nsteps: [{ id: ask, type: wait_for_input, title: Ship it? }]\n";
    server.activate("asks", asks).await;
    let run = |name: &str, input: &str| {
        // Nobody sits out the time.
        let arguments = ["--server", &server.base, "workflow", "run", name, "--wait", "5m", "--input", input]
            .map(str::to_owned);
        let out = crate::support::stepwell().args(arguments).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let told = run("careful", r#"{"name": "A", "email": "nobody"}"#);
    let id = told.split(' ').next().unwrap();
    for part in ["is paused", "(invalid_email)", &format!("stepwell run resume {id} --skip")] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = run("asks", "{}");
    let id = told.split(' ').next().unwrap();
    for part in ["is waiting", "Ship it?", &format!("stepwell run input {id} --data JSON")] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
