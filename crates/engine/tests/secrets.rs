//! Secrets and settings: what goes out has them, what is kept has not, and the wrong key opens nothing.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stepwell_engine::ports::{Clock, HttpResponse};
use stepwell_engine::{Engine, ErrorKind, HookRequest, PageRequest, RunStatus, TextFormat, Workspace};
use support::{Module, SimClock, World, activate, in_world, post};

const VALUE: &str = "s3cr3t/value+1";

const CALLS: &str = r#"
name: calls
trigger: { type: webhook, path: calls, respond: result }
steps:
  - id: ask
    type: http_request
    method: POST
    url: "https://api.example.com/{{ secrets.CRM_KEY }}/people"
    headers: { x-api-key: "{{ secrets.CRM_KEY }}" }
    query: { token: "{{ secrets.CRM_KEY }}" }
    body: { json: { auth: "Bearer {{ secrets.CRM_KEY }}", said: "{{ trigger.body.said }}" } }
  - id: code
    type: code
    action: echo@1
    input: { key: "{{ secrets.CRM_KEY }}", answer: "{{ ask.body }}" }
output: { answer: "{{ ask.body }}", code: "{{ code }}", header: "{{ ask.headers['x-echo'] }}" }
"#;

/// Everything that the store and the blobs hold, as bytes.
fn stored(world: &World) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in world.store.dump() {
        all.extend_from_slice(&key);
        all.extend_from_slice(&value);
    }
    all
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse {
        status,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("x-echo".into(), format!("<{VALUE}>")),
        ],
        body: body.to_string().into(),
    }
}

async fn with_secret(world: &World) -> (Engine, Workspace) {
    let (engine, ws) = world.set_up(&[Module::new("echo", "1.0.0", "echo")], &[]).await;
    assert!(ws.secrets().put("CRM_KEY", VALUE).await.unwrap().created);
    (engine, ws)
}

async fn run(ws: &Workspace, path: &str, body: Value) -> stepwell_engine::RunDetail {
    let answer = ws.hook(post(path, body)).await.unwrap();
    ws.runs().get(&answer.run_id).await.unwrap()
}

#[test]
fn a_secret_goes_out_and_nothing_that_is_kept_has_it() {
    in_world(|world| async move {
        let (_engine, ws) = with_secret(&world).await;
        activate(&ws, CALLS).await;
        let echo = json!({ "got": VALUE, "in": [format!("Bearer {VALUE}"), STANDARD.encode(format!("me:{VALUE}"))] });
        world.http.answers.lock().unwrap().push(answer(200, &echo));
        let run = run(&ws, "calls", json!({ "said": format!("the key is {VALUE}") })).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");

        let sent = world.http.sent.lock().unwrap()[0].clone();
        assert_eq!(sent.url, "https://api.example.com/s3cr3t%2Fvalue%2B1/people?token=s3cr3t%2Fvalue%2B1");
        assert!(sent.headers.contains(&("x-api-key".into(), VALUE.into())), "{:?}", sent.headers);
        assert_eq!(sent.secret_headers, ["x-api-key"]);
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(body, json!({ "auth": format!("Bearer {VALUE}"), "said": "the key is ***" }));
        assert_eq!(world.code.calls_of("echo")[0]["key"], VALUE, "the sandbox has the value");

        let shown = serde_json::to_value(&run).unwrap();
        let output = &shown["output"];
        assert_eq!(output["code"]["key"], "***", "{output:#}");
        assert_eq!(output["answer"]["in"][0], "Bearer ***");
        assert_eq!(output["header"], "<***>");
        let text = shown.to_string();
        assert!(text.contains("{{ secrets.CRM_KEY }}"), "what went out is shown with its references: {text}");
        let kept = stored(&world);
        for form in
            [VALUE, "s3cr3t%2Fvalue%2B1", &STANDARD.encode(VALUE), &STANDARD.encode(format!("me:{VALUE}"))]
        {
            assert!(!text.contains(form), "{form} is shown");
            assert!(!holds(&kept, form), "{form} is stored");
        }
    });
}

#[test]
fn failures_and_logs_are_redacted_before_they_are_cut() {
    in_world(|world| async move {
        let (_engine, ws) = with_secret(&world).await;
        activate(&ws, CALLS).await;
        // The value stands where a body that is too long to be shown is cut.
        let long = format!("{}{VALUE}{}", "x".repeat(2040), "y".repeat(2000));
        world.http.answers.lock().unwrap().push(answer(401, &json!(long)));
        let error = ws.hook(post("calls", json!({ "said": "" }))).await.unwrap();
        let run = ws.runs().get(&error.run_id).await.unwrap();
        let text = serde_json::to_string(&run).unwrap();
        assert!(text.contains("xxx***"), "{text}");
        assert!(!text.contains(&VALUE[..8]), "{text}");
        assert!(!holds(&stored(&world), &VALUE[..8]));
    });
}

#[test]
fn a_secret_that_is_not_there_is_told_when_a_workflow_is_saved_and_activated_and_when_it_runs() {
    in_world(|world| async move {
        let (_engine, ws) = world.set_up(&[Module::new("echo", "1.0.0", "echo")], &[]).await;
        let saved = ws.workflows().put_draft("calls", CALLS, TextFormat::Yaml).await.unwrap();
        let told = &saved.problems[0];
        assert_eq!(told.code, "unknown_reference", "{told:?}");
        assert_eq!(told.hint.as_deref(), Some("add it to the workspace: stepwell secret set CRM_KEY"));
        let refused = ws.workflows().activate("calls", None).await.unwrap_err();
        assert_eq!(refused.code, "invalid_workflow");

        ws.secrets().put("CRM_KEY", VALUE).await.unwrap();
        ws.workflows().activate("calls", None).await.unwrap();
        let refused = ws.secrets().delete("CRM_KEY").await.unwrap_err();
        assert_eq!((refused.kind, refused.code.as_ref()), (ErrorKind::Conflict, "secret_in_use"));
        assert!(refused.problems[0].message.contains("`calls`"), "{refused}");

        // A run under way may outlive both.
        world.http.behave(0, 20);
        let started = ws.hook(HookRequest { ..post("calls", json!({ "said": "" })) });
        let (_, started) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                ws.workflows().deactivate("calls").await.unwrap();
                ws.secrets().delete("CRM_KEY").await.unwrap();
            },
            started
        );
        let run = ws.runs().wait(&started.unwrap().run_id, std::time::Duration::from_secs(9)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Failed, "{run:#?}");
        let error = run.summary.error.unwrap();
        assert_eq!((error.code.as_str(), error.retryable), ("unknown_secret", false), "{error:?}");
        assert_eq!(ws.secrets().delete("CRM_KEY").await.unwrap_err().code, "unknown_secret");
    });
}

#[test]
fn a_secret_is_listed_without_its_value_and_survives_a_restart() {
    in_world(|world| async move {
        let (engine, ws) = with_secret(&world).await;
        let other = engine.create_workspace("other").await.unwrap();
        let page = ws.secrets().list(PageRequest::default()).await.unwrap();
        let shown = serde_json::to_string(&page).unwrap();
        assert!(shown.contains("CRM_KEY") && !shown.contains(VALUE), "{shown}");
        assert!(other.secrets().list(PageRequest::default()).await.unwrap().items.is_empty());
        assert!(!ws.secrets().put("CRM_KEY", "another value").await.unwrap().created);
        ws.secrets().put("CRM_KEY", VALUE).await.unwrap();
        engine.close().await;
        let (_engine, ws) = world.open().await;
        activate(&ws, CALLS).await;
        run(&ws, "calls", json!({ "said": "" })).await;
        let sent = world.http.sent.lock().unwrap()[0].clone();
        assert!(sent.headers.contains(&("x-api-key".into(), VALUE.into())));
    });
}

#[test]
fn names_and_values_have_rules() {
    in_world(|world| async move {
        let (_engine, ws) = world.set_up(&[], &[]).await;
        let long = "x".repeat(65);
        for name in ["", "1a", "a-b", "a.b", "ä", long.as_str()] {
            assert_eq!(ws.secrets().put(name, "value").await.unwrap_err().code, "invalid_name", "{name}");
            assert_eq!(ws.settings().put(name, json!(1)).await.unwrap_err().code, "invalid_name", "{name}");
        }
        assert_eq!(ws.settings().put("UPPER", json!(1)).await.unwrap_err().code, "invalid_name");
        assert_eq!(ws.secrets().put("A", "").await.unwrap_err().code, "invalid_secret");
        let large = "x".repeat((64 << 10) + 1);
        assert_eq!(ws.secrets().put("A", &large).await.unwrap_err().kind, ErrorKind::TooLarge);
        assert_eq!(ws.settings().put("a", json!(large)).await.unwrap_err().kind, ErrorKind::TooLarge);
        let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(ws.settings().put("a", deep).await.unwrap_err().code, "too_deep");
        for n in 0..4 {
            ws.settings().put(&format!("s{n}"), json!("x".repeat(60 << 10))).await.unwrap();
        }
        let refused = ws.settings().put("s4", json!("x".repeat(60 << 10))).await.unwrap_err();
        assert!(refused.message.contains("together"), "{refused}");
    });
}

#[test]
fn a_wrong_key_or_none_keeps_the_engine_from_opening_once_secrets_are_stored() {
    in_world(|mut world| async move {
        let (engine, _) = world.open().await;
        engine.close().await;
        world.secrets_key = [8; 32];
        let (engine, ws) = world.open().await;
        ws.secrets().put("CRM_KEY", VALUE).await.unwrap();
        engine.close().await;
        world.secrets_key = [9; 32];
        let refused = Engine::open(world.config.clone(), world.ports()).await.err().unwrap().to_string();
        assert!(refused.contains("not the one that the stored secrets are encrypted with"), "{refused}");
        world.secrets_key = [8; 32];
        world.open().await;
    });
}

const SIGNED: &str = r#"
name: signed
trigger:
  type: webhook
  path: signed
  auth: { hmac: { secret: ["{{ secrets.NEW_HOOK }}", "{{ secrets.OLD_HOOK }}"] } }
steps:
  - { id: task, type: create_record, object: task, record: { title: "{{ trigger.body.title }}" } }
"#;

fn signed(world: &World, secret: &[u8], body: &str) -> HookRequest {
    let time = SimClock::after(&world.time).now().as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("msg_1.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let mut request = post("signed", json!(null));
    request.body = body.to_owned().into();
    for (name, value) in
        [("webhook-id", "msg_1"), ("webhook-timestamp", &time), ("webhook-signature", &signature)]
    {
        request.headers.push((name.into(), value.into()));
    }
    request
}

#[test]
fn a_webhook_takes_what_one_of_its_secrets_has_signed() {
    in_world(|world| async move {
        let (_engine, ws) = world.set_up(&[], &[]).await;
        let key = |fill: u8| format!("whsec_{}", STANDARD.encode([fill; 24]));
        ws.secrets().put("OLD_HOOK", &key(1)).await.unwrap();
        ws.secrets().put("NEW_HOOK", "no base64!").await.unwrap();
        ws.workflows().put_draft("signed", SIGNED, TextFormat::Yaml).await.unwrap();
        let refused = ws.workflows().activate("signed", None).await.unwrap_err();
        assert_eq!(refused.problems[0].code, "invalid_secret", "{refused}");
        assert!(refused.problems[0].message.contains("`NEW_HOOK`"), "{refused}");
        ws.secrets().put("NEW_HOOK", &key(2)).await.unwrap();
        activate(&ws, SIGNED).await;

        let body = r#"{"title": "Call Ada"}"#;
        for fill in [1, 2] {
            ws.hook(signed(&world, &[fill; 24], body)).await.unwrap();
        }
        let refused = ws.hook(signed(&world, &[3; 24], body)).await.unwrap_err();
        assert_eq!((refused.kind, refused.code.as_ref()), (ErrorKind::Unauthorized, "bad_signature"));
        let mut changed = signed(&world, &[2; 24], body);
        changed.body = r#"{"title": "Call Eve"}"#.into();
        assert_eq!(ws.hook(changed).await.unwrap_err().code, "bad_signature");
        assert_eq!(ws.hook(post("signed", json!({}))).await.unwrap_err().code, "bad_signature");

        let refused = ws.secrets().put("NEW_HOOK", "no base64!").await.unwrap_err();
        assert_eq!(refused.code, "invalid_secret", "an active webhook is not left without a key");
        ws.secrets().put("NEW_HOOK", &key(3)).await.unwrap();
        ws.hook(signed(&world, &[3; 24], body)).await.unwrap();
        assert_eq!(ws.hook(signed(&world, &[2; 24], body)).await.unwrap_err().code, "bad_signature");
        assert_eq!(ws.secrets().delete("OLD_HOOK").await.unwrap_err().code, "secret_in_use");
    });
}

const SETTINGS: &str = r#"
name: settings
trigger: { type: webhook, path: settings, respond: result }
steps:
  - { id: pause, type: delay, for: 1h }
output: { threshold: "{{ settings.threshold }}", rest: "{{ settings.none | default('nothing') }}" }
"#;

#[test]
fn a_run_sees_the_settings_as_they_were_when_it_started() {
    in_world(|world| async move {
        let (engine, ws) = world.set_up(&[], &[]).await;
        let saved = ws.workflows().put_draft("settings", SETTINGS, TextFormat::Yaml).await.unwrap();
        assert_eq!(saved.problems.len(), 1, "a default needs no setting: {:?}", saved.problems);
        let hint = saved.problems[0].hint.as_deref();
        assert_eq!(hint, Some("add it to the workspace: stepwell setting set threshold VALUE"));
        assert!(ws.settings().put("threshold", json!({ "hot": 10 })).await.unwrap().created);
        activate(&ws, SETTINGS).await;
        let started = ws.workflows().run("settings", json!({}), None).await.unwrap();
        let now = ws.settings().put("threshold", json!(20)).await.unwrap();
        assert_eq!((now.created, now.info.value), (false, json!(20)));
        assert_eq!(ws.settings().delete("threshold").await.unwrap_err().code, "setting_in_use");
        engine.close().await;
        let (_engine, ws) = world.open().await;
        let run = ws.runs().wait(&started.run_id, std::time::Duration::from_secs(7200)).await.unwrap();
        let shown = serde_json::to_value(&run.output).unwrap();
        assert_eq!(shown, json!({ "threshold": { "hot": 10 }, "rest": "nothing" }), "{run:#?}");
        assert_eq!(ws.settings().get("threshold").await.unwrap().value, json!(20));
        ws.workflows().deactivate("settings").await.unwrap();
        ws.settings().delete("threshold").await.unwrap();
        assert_eq!(ws.settings().get("threshold").await.unwrap_err().code, "unknown_setting");
    });
}

#[test]
fn a_run_that_waits_for_its_turn_keeps_large_settings_too() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 1;
        let (engine, ws) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[]).await;
        let large = "x".repeat(60 << 10);
        for name in ["one", "two", "three"] {
            ws.settings().put(name, json!(large)).await.unwrap();
        }
        let text = r#"
name: large
trigger: { type: manual }
steps:
  - { id: pause, type: code, action: slow@1, input: { ms: 60000 }, limits: { wall_ms: 30000 } }
output: "{{ settings.three }}"
"#;
        activate(&ws, text).await;
        let first = ws.workflows().run("large", json!({}), None).await.unwrap();
        let second = ws.workflows().run("large", json!({}), None).await.unwrap();
        assert_eq!(second.status, RunStatus::Queued, "{first:?}");
        ws.settings().put("three", json!("changed")).await.unwrap();
        engine.close().await;
        let (_engine, ws) = world.open().await;
        for id in [first.run_id, second.run_id] {
            let run = ws.runs().wait(&id, std::time::Duration::from_secs(600)).await.unwrap();
            assert_eq!(run.summary.status, RunStatus::Completed, "{:?}", run.summary);
            assert_eq!(serde_json::to_value(&run.output).unwrap(), json!(large));
        }
    });
}

#[test]
fn a_test_of_a_workflow_shows_requests_without_the_values_of_secrets() {
    in_world(|world| async move {
        let (_engine, ws) = with_secret(&world).await;
        let tested = ws
            .workflows()
            .test("calls", Some((CALLS, TextFormat::Yaml)), json!({ "said": VALUE }))
            .await
            .unwrap();
        let text = serde_json::to_string(&tested).unwrap();
        assert!(!text.contains(VALUE) && text.contains("***"), "{text}");
        assert_eq!(tested.requests[0].url, "https://api.example.com/***/people?token=***");
        assert_eq!(world.code.calls_of("echo")[0]["key"], VALUE);
    });
}
