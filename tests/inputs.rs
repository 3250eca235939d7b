//! Links that people answer by: the page, the form, JSON, the CLI; once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Finished, Server, stepwell};

const ORDER: &str = r#"
name: order
trigger: { type: manual }
steps:
  - { id: ask, type: send_email, to: boss@example.com, subject: "Order {{ trigger.input.n }}", text: "{{ run.input_links.approval }}" }
  - id: approval
    type: wait_for_input
    title: "Order <{{ trigger.input.n }}>"
    message: "Ship it & be done?"
    schema:
      type: object
      required: [decision]
      properties: { decision: { enum: [approve, reject] }, amount: { type: integer }, note: { type: string }, sure: { type: boolean } }
output: "{{ approval }}"
"#;

/// A run that waits, and its link.
async fn asked(server: &Server) -> (String, String) {
    let started = server.post("/api/v1/workflows/order/run", &json!({ "n": 7 })).await.expect(202);
    let run = started["run_id"].as_str().unwrap().to_owned();
    loop {
        let seen = server.get(&format!("/api/v1/runs/{run}?wait=50ms")).await.expect(200);
        if seen["status"] == "waiting" {
            break;
        }
    }
    let mails = server.get("/api/v1/mailbox").await.expect(200);
    let link = mails["mailbox"][0]["mail"]["text"].as_str().unwrap().trim().to_owned();
    let path = link.strip_prefix(&server.base).unwrap_or_else(|| panic!("{link} is elsewhere")).to_owned();
    (run, path)
}

#[tokio::test]
async fn the_page_behind_a_link_shows_a_form_that_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    server.activate("order", ORDER).await;
    let (run, link) = asked(&server).await;
    // A link in an e-mail is followed from another site, and looked at more than once.
    for _ in 0..2 {
        let page =
            server.send(server.request(Method::GET, &link).header("sec-fetch-site", "cross-site")).await;
        assert_eq!(page.status.as_u16(), 200);
        assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert_eq!(page.headers["cache-control"], "no-store");
        for part in
            ["Order &lt;7&gt;", "Ship it &amp; be done?", "<option value=\"approve\">", "type=\"number\""]
        {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
    }
    let send = async |server: &Server, form: &str| {
        let request = server
            .request(Method::POST, &link)
            .header("content-type", "Application/x-www-form-urlencoded; charset=utf-8");
        server.send(request.body(form.to_owned())).await
    };
    let wrong = send(&server, "decision=maybe&amount=3").await;
    assert_eq!(wrong.status.as_u16(), 422);
    assert!(wrong.text().contains("decision: ") && wrong.text().contains("value=\"3\""), "{}", wrong.text());
    for form in
        ["decision=approve&decision=reject", "decision=approve&sure=0", "decision=approve&amont=3", ""]
    {
        let wrong = send(&server, form).await;
        assert_eq!(wrong.status.as_u16(), 422, "{form}: {}", wrong.text());
    }
    server.kill();
    // The address is another one now; the link's token is as good.
    let server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    let taken = send(&server, "decision=approve&amount=3&note=&sure=no").await;
    assert_eq!(taken.status.as_u16(), 200, "{}", taken.text());
    let ended = server.ended(&run).await;
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("completed"), &json!({"decision": "approve", "amount": 3, "sure": false}))
    );
    let again = send(&server, "decision=reject").await;
    assert_eq!(again.status.as_u16(), 410);
    assert!(again.text().contains("Already answered"), "{}", again.text());
    let page = server.get(&link).await;
    assert_eq!(page.status.as_u16(), 410);
    let cut = server.get(&link[..link.len() - 3]).await;
    assert_eq!(cut.status.as_u16(), 404);
}

#[tokio::test]
async fn programs_and_the_command_line_give_it_as_json() {
    let server = Server::dev();
    server.activate("order", ORDER).await;
    let (run, link) = asked(&server).await;
    let form = server
        .send(server.request(Method::GET, &link).header("accept", "application/json"))
        .await
        .expect(200);
    assert_eq!((&form["step"], &form["run_id"]), (&json!("approval"), &json!(run)));
    let wrong = server.post(&link, &json!({ "decision": "maybe" })).await;
    assert_eq!((wrong.status.as_u16(), wrong.code().as_str()), (422, "input_schema"));
    let taken = server.post(&link, &json!({ "decision": "reject" })).await.expect(200);
    assert_eq!(taken, json!({ "run_id": run, "step": "approval" }), "who has a link is told no more");
    assert_eq!(server.ended(&run).await["output"]["decision"], "reject");
    let late = server.post(&link, &json!({ "decision": "approve" })).await;
    assert_eq!((late.status.as_u16(), late.code().as_str()), (410, "input_given"));

    let (run, _) = asked(&server).await;
    let path = format!("/api/v1/runs/{run}/input");
    let wrong = server.post(&path, &json!({ "data": { "decision": 1 }, "step": "approval" })).await;
    assert_eq!(wrong.code(), "input_schema");
    assert_eq!(server.post(&path, &json!({ "data": {}, "step": "ask" })).await.code(), "input_not_awaited");
    let arguments =
        ["--server", &server.base, "run", "input", &run, "--data", r#"{"decision": "approve"}"#, "--json"];
    let done = Finished::from(stepwell().args(arguments).output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(summary["id"], run.as_str());
    assert_eq!(server.ended(&run).await["output"]["decision"], "approve");
}

/// What may not answer by the API may not answer by a link that it reads.
#[tokio::test]
async fn a_key_that_may_only_read_is_shown_no_link() {
    let mut server = Server::start(&[]);
    let text = ORDER.replace("  - id: approval", "  - { id: keep, type: set_state, values: { link: \"{{ run.input_links.approval }}\" } }\n  - id: approval");
    server.activate("order", &text).await;
    let (run, link) = asked(&server).await;
    let whole = link.rsplit_once('.').unwrap().1.to_owned();
    let made = server.post("/api/v1/api-keys", &json!({ "name": "r", "scopes": ["read"] })).await.expect(201);
    let paths = [
        format!("/api/v1/runs/{run}"),
        "/api/v1/mailbox".into(),
        "/api/v1/workflows/order/state".into(),
        "/api/v1/workflows/order/state/link".into(),
    ];
    // Why a run failed, and what came in at a webhook, may quote anything.
    let loud = "name: loud
trigger: { type: webhook, path: loud, respond: result }
steps: [{ id: a, type: stop, status: failed, message: 'not {{ trigger.body.link }}' }]
";
    server.activate("loud", loud).await;
    server.post("/hooks/default/loud", &json!({ "link": link })).await;
    let deliveries = "/api/v1/webhooks/loud/deliveries";
    let id = server.get(deliveries).await.expect(200)["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let paths: Vec<String> = (paths.into_iter())
        .chain(["/api/v1/runs?workflow=loud".to_owned(), format!("{deliveries}/{id}")])
        .collect();
    for path in &paths {
        assert!(server.get(path).await.expect(200).to_string().contains(&whole), "{path}");
    }
    server.key = Some(made["secret"].as_str().unwrap().to_owned());
    for path in &paths {
        let shown = server.get(path).await.expect(200).to_string();
        assert!(shown.contains(".***") && !shown.contains(&whole), "{path}: {shown}");
    }
}

#[tokio::test]
async fn links_begin_with_the_address_that_people_reach_the_server_by() {
    let mut server = Server::start(&["--dev", "--public-url", "https://flows.example.com/"]);
    server.activate("order", ORDER).await;
    server.post("/api/v1/workflows/order/run", &json!({ "n": 7 })).await.expect(202);
    let link = loop {
        let mails = server.get("/api/v1/mailbox").await.expect(200);
        if let Some(link) = mails["mailbox"][0]["mail"]["text"].as_str() {
            break link.trim().to_owned();
        }
    };
    assert!(link.starts_with("https://flows.example.com/inputs/default/"), "{link}");
    server.kill();
    assert!(!server.log().contains("public_url"), "{}", server.log());
    // Where nobody has said it, the operator is told.
    let mut server = Server::start(&[]);
    server.activate("order", ORDER).await;
    server.kill();
    assert!(server.log().contains("public_url is not set"), "{}", server.log());
}
