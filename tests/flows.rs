//! The flows of `examples/workflows`, each with its own actions, through HTTP.

use serde_json::{Value, json};

use crate::support::{self, Server, guests};

fn workflow(name: &str) -> String {
    let path = guests::root().join("examples/workflows").join(name).join(format!("{name}.yaml"));
    std::fs::read_to_string(path).unwrap()
}

async fn later(server: &Server, seconds: u64) {
    server.post("/api/v1/dev/clock", &json!({ "advance": format!("{seconds}s") })).await.expect(200);
}

/// When so many runs of it are over: all of them, the newest first.
async fn runs(server: &Server, workflow: &str, count: usize) -> Vec<Value> {
    for _ in 0..3000 {
        let page = server.get(&format!("/api/v1/runs?workflow={workflow}&limit=200")).await.expect(200);
        let runs = page["runs"].as_array().unwrap();
        if runs.iter().filter(|run| !run["ended_at"].is_null()).count() >= count {
            return runs.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{workflow} has not had {count} runs within a minute");
}

async fn lead_scoring() -> Server {
    let server = Server::dev();
    let schema = guests::root().join("examples/workflows/lead-scoring-internal/schema.yaml");
    let schema = json!({ "schema": std::fs::read_to_string(schema).unwrap() });
    server.post("/api/v1/schema/apply?wait=30s", &schema).await.expect(200);
    server.put("/api/v1/actions/score-lead", guests::example("score-lead")).await.expect(201);
    server.activate("lead-scoring-internal", &workflow("lead-scoring-internal")).await;
    server
}

async fn mails(server: &Server) -> Vec<Value> {
    server.get("/api/v1/mailbox").await.expect(200)["mailbox"].as_array().unwrap().clone()
}

#[tokio::test]
async fn lead_scoring_scores_whoever_changes_and_tells_sales_once_a_crossing() {
    let server = lead_scoring().await;
    let company = json!({"name": "Acme", "employees": 420, "industry": "Logistics", "accountOwner": "rep@example.com",
        "domainName": {"primaryLinkUrl": "acme.example"}});
    let company = server.post("/api/v1/records/company", &company).await.expect(201)["id"].clone();
    let person =
        json!({"emails": {"primaryEmail": "ada@acme.example"}, "companyId": company, "jobTitle": "Clerk"});
    let id = server.post("/api/v1/records/person", &person).await.expect(201)["id"].clone();
    let id = id.as_str().unwrap();
    let path = format!("/api/v1/records/person/{id}");
    let edit = async |change: Value| {
        server.send(server.request(reqwest::Method::PATCH, &path).json(&change)).await.expect(200)
    };
    // Edits in quick succession are one run, over what they came to.
    edit(json!({"jobTitle": "Senior clerk"})).await;
    edit(json!({"behaviour": {"pageViews": 1}})).await;
    later(&server, 6).await;
    let scored = runs(&server, "lead-scoring-internal", 1).await;
    assert_eq!((scored.len(), &scored[0]["status"]), (1, &json!("completed")), "{scored:#?}");
    let first = server.get(&path).await.expect(200)["leadScore"].as_f64().unwrap();
    assert!(first > 0.0 && first < 60.0, "{first}");
    assert_eq!(mails(&server).await.len(), 0);

    // It crosses the threshold: one mail. Further edits above it: none.
    let hot = json!({"pricingViews": 3, "emailClicks": 2, "pageViews": 14, "demoRequested": true});
    edit(json!({"jobTitle": "VP Operations", "behaviour": hot})).await;
    later(&server, 6).await;
    runs(&server, "lead-scoring-internal", 2).await;
    edit(json!({"jobTitle": "VP of Operations"})).await;
    later(&server, 6).await;
    let scored = runs(&server, "lead-scoring-internal", 3).await;
    let mail = mails(&server).await;
    assert_eq!(mail.len(), 1, "{mail:#?}");
    let mail = &mail[0]["mail"];
    assert_eq!(mail["to"], json!(["rep@example.com"]));
    assert!(mail["subject"].as_str().unwrap().starts_with("Worth a call: ada@acme.example, score "));
    // Storing the score started no run, nor does a change of what no score is made of.
    edit(json!({"city": "Paris"})).await;
    later(&server, 6).await;
    assert_eq!(scored.len(), 3);
    assert_eq!(runs(&server, "lead-scoring-internal", 3).await.len(), 3);
}

#[tokio::test]
async fn lead_scoring_of_a_person_that_the_module_cannot_take_fails_alone() {
    let server = lead_scoring().await;
    for n in 0..20 {
        let behaviour = if n == 7 { json!({"pageViews": -1}) } else { json!({"pageViews": n}) };
        let person = json!({"emails": {"primaryEmail": format!("p{n}@example.com")}, "behaviour": behaviour});
        server.post("/api/v1/records/person", &person).await.expect(201);
    }
    later(&server, 6).await;
    let runs = runs(&server, "lead-scoring-internal", 20).await;
    let failed: Vec<&Value> = runs.iter().filter(|run| run["status"] == "failed").collect();
    assert_eq!((runs.len(), failed.len()), (20, 1), "{failed:#?}");
    assert_eq!(failed[0]["error"]["code"], "invalid_input");
    let scores = server.records("person").await;
    assert_eq!(scores.iter().filter(|person| person["leadScore"].is_number()).count(), 19);
}

#[tokio::test]
async fn a_bulk_run_over_a_thousand_people_is_one_run_that_leaves_room_for_others() {
    let server = Server::dev();
    server.activate("bulk", &workflow("bulk")).await;
    let other = "
name: other
trigger: { type: manual }
steps: [{ id: done, type: set, values: { ok: true } }]
";
    server.activate("other", other).await;
    let mut people = Vec::new();
    for n in 0..1_000 {
        let person = json!({"city": "Rome", "emails": {"primaryEmail": format!("p{n}@example.com")}});
        people.push(server.post("/api/v1/records/person", &person).await.expect(201)["id"].clone());
    }
    // One of them has such a task already, and one is gone by the time it is its turn.
    let title = json!({"title": "Call about the renewal", "personId": people[17]});
    server.post("/api/v1/records/task", &title).await.expect(201);
    let gone = format!("/api/v1/records/person/{}", people[980].as_str().unwrap());
    let selected = json!({"record_ids": people, "input": {"title": "Call about the renewal"}});
    let run = server.post("/api/v1/workflows/bulk/run", &selected).await.expect(202)["run_id"].clone();
    let run = run.as_str().unwrap();
    server.send(server.request(reqwest::Method::DELETE, &gone)).await;
    // Others are not kept waiting by it.
    let quick = server.post("/api/v1/workflows/other/run?wait=30s", &json!({})).await.expect(200);
    assert_eq!(quick["status"], "completed", "{quick}");
    let done = server.ended(run).await;
    assert_eq!(done["status"], "completed", "{done:#}");
    let output = &done["output"];
    assert_eq!(
        (&output["selected"], &output["failed"], &output["had_one"]),
        (&json!(1000), &json!(0), &json!(1))
    );
    // The one that was deleted has a task only if its batch was quicker than the deletion.
    let made = output["made"].as_u64().unwrap();
    assert!((998..=999).contains(&made), "{output}");
    let counted = server.get("/api/v1/records/task?limit=1").await.expect(200);
    assert_eq!(counted["total"], json!(made + 1), "{counted}");
    // A second press makes none.
    let again =
        json!({"filter": {"field": "city", "is": "Rome"}, "input": {"title": "Call about the renewal"}});
    let again = server.post("/api/v1/workflows/bulk/run", &again).await.expect(202);
    let again = server.ended(again["run_id"].as_str().unwrap()).await;
    assert_eq!((&again["status"], &again["output"]["made"]), (&json!("completed"), &json!(0)), "{again:#}");
    assert_eq!(server.get("/api/v1/records/task?limit=1").await.expect(200)["total"], json!(made + 1));
}

#[tokio::test]
async fn a_bulk_of_single_runs_keeps_within_the_slots_and_fails_for_no_limit() {
    let server = Server::dev();
    let folder = guests::root().join("examples/workflows/bulk-each");
    for name in ["call-person", "bulk-each"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        server.activate(name, &text).await;
    }
    for n in 0..300 {
        let person = json!({"city": "Rome", "emails": {"primaryEmail": format!("p{n}@example.com")}});
        server.post("/api/v1/records/person", &person).await.expect(201);
    }
    let all = json!({"filter": {"field": "city", "is": "Rome"}, "input": {"title": "Say hello"}});
    let run = server.post("/api/v1/workflows/bulk-each/run", &all).await.expect(202);
    let done = server.ended(run["run_id"].as_str().unwrap()).await;
    let output = json!({"selected": 300, "done": 300, "failed": 0});
    assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &output), "{done:#}");
    let page = server.get("/api/v1/runs?workflow=call-person&status=completed&limit=500").await.expect(200);
    assert_eq!(page["runs"].as_array().unwrap().len(), 300);
    assert_eq!(server.get("/api/v1/records/task?limit=1").await.expect(200)["total"], 300);
}

#[tokio::test]
async fn two_presses_at_once_make_one_task_for_everybody() {
    let server = Server::dev();
    server.activate("bulk", &workflow("bulk")).await;
    let folder = guests::root().join("examples/workflows/bulk-each");
    for name in ["call-person", "bulk-each"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        server.activate(name, &text).await;
    }
    let people: Vec<Value> = (0..300).map(|_| json!({"city": "Rome"})).collect();
    let people = json!({"action": "create", "records": people});
    server.post("/api/v1/records/person/bulk", &people).await.expect(200);
    for (name, tasks) in [("bulk", 300), ("bulk-each", 600)] {
        let path = format!("/api/v1/workflows/{name}/run");
        let all =
            json!({"filter": {"field": "city", "is": "Rome"}, "input": {"title": format!("Say {name}")}});
        let press = async || server.post(&path, &all).await.expect(202)["run_id"].clone();
        for run in <[Value; 3]>::from(tokio::join!(press(), press(), press())) {
            let done = server.ended(run.as_str().unwrap()).await;
            assert_eq!(done["status"], "completed", "{done:#}");
        }
        assert_eq!(server.get("/api/v1/records/task?limit=1").await.expect(200)["total"], tasks, "{name}");
    }
}

#[tokio::test]
async fn flows_with_a_schema_and_a_connection_are_applied_in_one_go() {
    let server = Server::dev();
    for (flow, actions, secrets) in [
        ("enrichment", &["map-enrichment"][..], &["ENRICHMENT_KEY"][..]),
        ("invoice", &["format-invoice"], &["BILLING_KEY"]),
        ("product-sync", &["reshape-usage"], &["WAREHOUSE_KEY"]),
        ("email-sequence", &["pick-sequence"], &["SEQUENCES_KEY"]),
        ("lead-scoring-external", &["read-score"], &["SCORING_KEY"]),
        ("lead-scoring-internal", &["score-lead"], &[]),
        ("data-pipeline", &["validate-rows", "transform-rows", "apply-rules"], &["EXPORTS_KEY"]),
        ("newsletter", &["format-addresses"], &["MAILING_KEY"]),
        // Its workflows run each other.
        ("two-way-sync", &["merge-contact"], &["CRM_KEY", "CRM_WEBHOOK_SECRET"]),
    ] {
        for action in actions {
            server.put(&format!("/api/v1/actions/{action}"), guests::example(action)).await.expect(201);
        }
        for secret in secrets {
            // Base64, as what webhooks are signed with has to be.
            let value = "{\"value\": \"YSBsb25nIHNlY3JldA==\"}";
            server.put(&format!("/api/v1/secrets/{secret}"), value).await.expect(201);
        }
        let folder = guests::root().join("examples/workflows").join(flow);
        let applied = support::run(&[
            "workflow",
            "apply",
            folder.to_str().unwrap(),
            "--activate",
            "--server",
            &server.base,
        ]);
        assert_eq!(applied.code, Some(0), "{flow}: {}{}", applied.stdout, applied.stderr);
        assert!(applied.stdout.contains(&format!("{flow} is active")), "{}", applied.stdout);
    }
}
