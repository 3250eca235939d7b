//! The main job: a posted web form becomes records, through an uploaded module.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Server, guests};

fn form(name: &str) -> Value {
    let path = guests::root().join("examples/workflows/web-form/samples").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn prepared() -> Server {
    let server = Server::dev();
    server.put("/api/v1/actions/normalize-lead", guests::example("normalize-lead")).await.expect(201);
    let text =
        std::fs::read_to_string(guests::root().join("examples/workflows/web-form/web-form.yaml")).unwrap();
    server.activate("web-form", &text).await;
    server
}

async fn post(server: &Server, form: &Value) -> Value {
    let accepted = server.post("/hooks/default/web-form", form).await.expect(202);
    server.ended(accepted["run_id"].as_str().unwrap()).await
}

#[tokio::test]
async fn forms_become_people_companies_tasks_and_mail() {
    let server = prepared().await;
    let first = post(&server, &form("1-new-person.json")).await;
    assert_eq!(first["status"], "completed", "{first:#}");
    let second = post(&server, &form("2-same-company.json")).await;
    assert_eq!(second["status"], "completed", "{second:#}");
    let third = post(&server, &form("3-same-person.json")).await;
    assert_eq!(third["status"], "completed", "{third:#}");
    let fourth = post(&server, &form("4-malformed-address.json")).await;
    assert_eq!(
        (&fourth["status"], &fourth["error"]["code"]),
        (&json!("failed"), &json!("invalid_email")),
        "{fourth:#}"
    );
    let fifth =
        server.send(server.request(reqwest::Method::POST, "/hooks/default/web-form").body("no JSON")).await;
    assert_eq!(fifth.status.as_u16(), 400);

    let companies = server.records("company").await;
    assert_eq!(companies.len(), 1, "{companies:#?}");
    assert_eq!(companies[0]["name"], "Analytical Engines");
    let people = server.records("person").await;
    assert_eq!(people.len(), 2, "{people:#?}");
    let ada =
        people.iter().find(|p| p["emails"]["primaryEmail"] == "ada@analytical-engines.example").unwrap();
    assert_eq!(ada["jobTitle"], "Head of Analysis");
    assert!(people.iter().all(|p| p["companyId"] == companies[0]["id"]));
    let tasks = server.records("task").await;
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().all(|t| t["assignee"] == "sales@example.com" && t["status"] == "TODO"));
    let mails = server.get("/api/v1/mailbox").await.expect(200);
    assert_eq!(mails["mailbox"].as_array().unwrap().len(), 3, "{mails:#}");
}

#[tokio::test]
async fn every_step_s_input_output_logs_fuel_memory_and_time_are_kept() {
    let server = prepared().await;
    let run = post(&server, &form("1-new-person.json")).await;
    let steps = run["steps"].as_array().unwrap();
    let normalize = steps.iter().find(|s| s["id"] == "normalize").unwrap();
    assert_eq!(normalize["type"], "code");
    assert_eq!(normalize["input"]["email"], " Ada@Analytical-Engines.example ");
    assert_eq!(normalize["output"]["email"], "ada@analytical-engines.example");
    assert!(normalize["usage"]["fuel"].as_u64().unwrap() > 1_000);
    assert!(normalize["usage"]["peak_memory_bytes"].as_u64().unwrap() >= 65_536);
    assert!(normalize["action"].as_str().unwrap().starts_with("normalize-lead@"));
    // The module's own line, as it wrote it, with its fields.
    let line = &normalize["logs"][0];
    assert_eq!(
        (&line["level"], &line["message"]),
        (&json!("debug"), &json!("address read")),
        "{normalize:#}"
    );
    assert_eq!(line["fields"], json!({ "domain": "analytical-engines.example", "free_mail": false }));
    let usage = &normalize["usage"];
    assert!(usage["wall_us"].as_u64().unwrap() > 0 && usage["log_bytes"].as_u64().unwrap() > 0, "{usage:#}");
    assert_eq!(usage["virtual_ms"], 0, "it did not sleep");
    assert_eq!(normalize["semantics"], stepwell_sandbox::config::semantics());
    // The parts of a run know less than a millisecond of their times.
    let at = |of: &Value, name: &str| {
        of[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    for step in steps.iter().filter(|s| s["status"] == "completed") {
        // They lie within the run's.
        let times =
            [at(&run, "started_at"), at(step, "started_at"), at(step, "ended_at"), at(&run, "ended_at")];
        assert!(times.is_sorted(), "{times:?}: {step:#}");
    }
    let id = run["id"].as_str().unwrap();
    let shown = crate::support::run(&["run", "show", id, "--server", &server.base]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let of_step = shown.stdout.split("\n\n").find(|part| part.starts_with("✓ normalize ")).unwrap();
    assert!(
        of_step.contains("log       debug address read {\"domain\":\"analytical-engines.example\""),
        "{of_step}"
    );
    let (first, fuel) = (of_step.lines().next().unwrap(), usage["fuel"].as_u64().unwrap());
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let shown_fuel = first.split("  ").find_map(|part| part.trim().strip_suffix(" fuel")).map(digits);
    assert_eq!(shown_fuel, Some(fuel.to_string()), "{first}");
    assert!(first.contains(" ms  ") || first.contains(" µs  "), "how long it took: {first}");
    let ran: BTreeSet<&str> =
        steps.iter().filter(|s| s["status"] == "completed").map(|s| s["id"].as_str().unwrap()).collect();
    for id in ["normalize", "company", "known", "person", "create", "follow_up", "tell_sales"] {
        assert!(ran.contains(id), "{id}: {run:#}");
    }
    assert_eq!(run["output"]["personId"], server.records("person").await[0]["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_posts_of_one_new_person_at_the_same_instant_make_one_person_and_one_company() {
    let server = prepared().await;
    for round in 0..10 {
        let form = json!({
            "email": format!("new-{round}@firm-{round}.example"), "name": "New Person", "company": format!("Firm {round}")
        });
        let runs = join_all((0..16).map(|_| post(&server, &form))).await;
        let mut ids = BTreeSet::new();
        for run in runs {
            assert_eq!(run["status"], "completed", "{run:#}");
            ids.insert(run["output"]["personId"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 1, "round {round}");
    }
    assert_eq!(server.records("person").await.len(), 10);
    assert_eq!(server.records("company").await.len(), 10);
    assert_eq!(server.records("task").await.len(), 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_posts_that_come_together_none_takes_away_what_another_one_said() {
    let server = prepared().await;
    for round in 0..10 {
        let email = format!("new-{round}@firm-{round}.example");
        let full =
            json!({ "email": email, "name": "Rita Full", "phone": "+49 30 901820", "jobTitle": "CTO" });
        let bare = json!({ "email": email });
        let forms = (0..8).map(|n| if n == 0 { &full } else { &bare });
        for run in join_all(forms.map(|form| post(&server, form))).await {
            assert_eq!(run["status"], "completed", "{run:#}");
        }
    }
    let people = server.records("person").await;
    assert_eq!(people.len(), 10);
    for person in people {
        assert_eq!(person["name"], json!({ "firstName": "Rita", "lastName": "Full" }), "{person:#}");
        assert_eq!(person["phones"]["primaryPhoneNumber"], "+4930901820", "{person:#}");
        assert_eq!(person["jobTitle"], "CTO", "{person:#}");
    }
}

#[tokio::test]
async fn a_trigger_can_answer_with_the_result_and_a_repeated_key_gets_the_first_answer() {
    let server = prepared().await;
    let text =
        std::fs::read_to_string(guests::root().join("examples/workflows/web-form/web-form.yaml")).unwrap();
    let text = text
        .replace("respond: accepted", "respond: result")
        .replace("name: web-form", "name: now")
        .replace("path: web-form", "path: now");
    server.activate("now", &text).await;
    let send = |form: Value| {
        server.send(
            server
                .request(reqwest::Method::POST, "/hooks/default/now")
                .header("idempotency-key", "form-1")
                .json(&form),
        )
    };
    let first = send(form("1-new-person.json")).await;
    assert!(first.headers.get("idempotent-replayed").is_none());
    let output = first.expect(200);
    assert!(output["personId"].is_string(), "{output:#}");
    let again = send(form("1-new-person.json")).await;
    assert_eq!(again.headers.get("idempotent-replayed").map(|v| v.to_str().unwrap()), Some("true"));
    assert_eq!(again.expect(200), output);
    assert_eq!(server.records("task").await.len(), 1);
    let failed = server.post("/hooks/default/now", &form("4-malformed-address.json")).await;
    assert_eq!((failed.status.as_u16(), failed.code().as_str()), (500, "run_failed"));
    assert!(failed.json()["run_id"].is_string());
}
