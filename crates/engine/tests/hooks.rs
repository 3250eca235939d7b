//! Webhooks that strangers try: what is signed is what counts, and nobody's body is read before he may send it.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use stepwell_engine::{ErrorKind, HookReply, HookRequest, Workspace};
use support::{activate, in_world, post, with_key as keyed};
use tokio::time::Instant;

const SIGNED: &str = "
name: signed
trigger: { type: webhook, path: signed, auth: { hmac: { scheme: standard_webhooks, secret: '{{ secrets.KEY }}' } } }
steps: [{ id: a, type: set, values: { id: \"{{ trigger.headers['webhook-id'] }}\" } }]
";

async fn with_key(workspace: &Workspace) {
    workspace.secrets().put("KEY", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0").await.unwrap();
}

/// Whoever has heard a request sends it again under other names, behind the one that is signed: it starts no second run.
#[test]
fn a_header_that_comes_twice_makes_no_request_another() {
    let own = SIGNED
        .replace("path: signed,", "path: signed, idempotency_key: \"{{ trigger.headers['webhook-id'] }}\",");
    for text in [SIGNED, &own] {
        in_world(|world| async move {
            let (engine, workspace) = world.open().await;
            with_key(&workspace).await;
            activate(&workspace, text).await;
            let request = workspace.hook_signed(post("signed", json!({ "n": 1 }))).unwrap();
            let first = workspace.hook(request.clone()).await.unwrap();
            assert!(first.first);
            for other in ["webhook-id", "Webhook-Id", "idempotency-key"] {
                let mut again = request.clone();
                again.headers.push((other.into(), "x1".into()));
                match workspace.hook(again).await {
                    Ok(again) => assert_eq!((again.first, &again.run_id), (false, &first.run_id), "{other}"),
                    Err(refused) => {
                        assert_eq!(refused.code, "invalid_header");
                        assert!(text == SIGNED && other != "idempotency-key", "{other}");
                    }
                }
            }
            let mut other = post("signed", json!({ "n": 1 }));
            other.headers.push(("webhook-id".into(), "another".into()));
            let other = workspace.hook_signed(other).unwrap();
            assert!(workspace.hook(other).await.unwrap().first, "another one is no repeat");
            engine.close().await;
        });
    }
}

#[test]
fn a_challenge_is_looked_for_in_short_bodies_alone() {
    let signed = SIGNED
        .replace("path: signed,", "path: signed, handshake: { challenge: '{{ trigger.body.challenge }}' },");
    let with_api_key = "
name: keyed
trigger: { type: webhook, path: keyed, auth: api_key, handshake: { challenge: '{{ trigger.body.challenge }}' } }
steps: [{ id: a, type: set, values: { b: 1 } }]
";
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        with_key(&workspace).await;
        activate(&workspace, &signed).await;
        activate(&workspace, with_api_key).await;
        let sent = |path: &str, zeros: usize| -> HookRequest {
            let zeros: Vec<Value> = vec![json!(0); zeros];
            let mut request = post(path, json!({ "challenge": "abc", "zeros": zeros }));
            request.headers.push(("content-length".into(), request.body.len().to_string()));
            request
        };
        for (path, code) in [("signed", "bad_signature"), ("keyed", "unauthorized")] {
            workspace.hook_admits(&sent(path, 1)).unwrap();
            let short = workspace.hook(sent(path, 1)).await.unwrap();
            assert!(matches!(short.reply, HookReply::Handshake { .. }), "{path}: {short:?}");
            assert_eq!(workspace.hook(sent(path, 100_000)).await.unwrap_err().code, code);
        }
        // A key is asked for before the body is taken in.
        assert_eq!(workspace.hook_admits(&sent("keyed", 100_000)).unwrap_err().code, "unauthorized");
        engine.close().await;
    });
}

/// What is kept of refused requests is shown to whoever may read: no secret of the workflow is in it.
#[test]
fn a_refused_delivery_shows_no_secret_of_a_connection() {
    const CALLS: &str = "
name: calls
trigger: { type: webhook, path: calls, body_schema: { type: object, required: [n] } }
steps: [{ id: ask, type: http_request, connection: crm, url: /people }]
";
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        workspace.secrets().put("CRM", "sk-very-secret-key").await.unwrap();
        let connection = "base_url: https://crm.example.com/\nauth: { bearer: '{{ secrets.CRM }}' }\n";
        workspace.connections().put("crm", connection).await.unwrap();
        activate(&workspace, CALLS).await;
        let mut request = post("calls", json!({ "note": "Bearer sk-very-secret-key" }));
        request.headers.push(("x-echo".into(), "sk-very-secret-key".into()));
        assert_eq!(workspace.hook(request).await.unwrap_err().code, "body_schema");
        let mut request = post("calls", json!({}));
        request.headers.push(("idempotency-key".into(), "x".repeat(600)));
        let listed = workspace.deliveries().list("calls", Default::default()).await.unwrap();
        let detail = workspace.deliveries().get("calls", &listed.deliveries[0].id).await.unwrap();
        let shown = serde_json::to_string(&detail).unwrap();
        assert!(shown.contains("Bearer ***") && !shown.contains("sk-very"), "{shown}");
        engine.close().await;
    });
}

/// Long messages are cut, and a cut leaves no part of a secret in front of it.
#[test]
fn a_long_message_of_a_refusal_is_cut_after_secrets_are_taken_out() {
    const STRICT: &str = "
name: strict
trigger: { type: webhook, path: strict, body_schema: { type: object, additionalProperties: { type: number } } }
steps: [{ id: ask, type: http_request, url: 'https://example.com/', headers: { x-key: '{{ secrets.KEY }}' } }]
";
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        workspace.secrets().put("KEY", &format!("sk-very-{}", "s".repeat(60))).await.unwrap();
        activate(&workspace, STRICT).await;
        for long in (700..1_000).step_by(20) {
            let names = [format!("a{}", "a".repeat(long)), format!("sk-very-{}", "s".repeat(60))];
            let body: serde_json::Map<_, _> = names.into_iter().map(|name| (name, json!("x"))).collect();
            assert_eq!(workspace.hook(post("strict", body.into())).await.unwrap_err().code, "body_schema");
        }
        let listed = workspace.deliveries().list("strict", Default::default()).await.unwrap();
        let mut cut = 0;
        for delivery in listed.deliveries {
            let message = delivery.message.unwrap();
            assert!(message.len() < 1_010 && !message.contains("sk-v"), "{message}");
            cut += u32::from(message.ends_with('…'));
        }
        assert!(cut > 5, "{cut} were cut");
        engine.close().await;
    });
}

#[test]
fn what_was_refused_is_listed_across_a_graceful_stop_whatever_it_was_refused_for() {
    in_world(|mut world| async move {
        let (engine, workspace) = world.open().await;
        with_key(&workspace).await;
        activate(&workspace, SIGNED).await;
        for n in 0..150 {
            let request = post("signed", json!({ "n": n }));
            assert_eq!(workspace.hook(request).await.unwrap_err().code, "bad_signature");
        }
        // Of a method that it does not take, which is found out before the body is there.
        let get = HookRequest { method: "GET".into(), ..post("signed", json!({})) };
        assert_eq!(workspace.hook_admits(&get).unwrap_err().code, "method_not_allowed");
        engine.close().await;
        world.store = world.store.reopen();
        let (engine, workspace) = world.open().await;
        let page = stepwell_engine::PageRequest { limit: Some(500), cursor: None };
        let listed = workspace.deliveries().list("signed", page).await.unwrap().deliveries;
        assert_eq!((listed.len(), listed[0].code.as_deref()), (151, Some("method_not_allowed")));
        engine.close().await;
    });
}

/// Some megabytes of small lists and objects take gigabytes once they are read: such are refused, and not read.
#[test]
fn a_body_that_would_take_far_more_memory_than_its_bytes_is_refused() {
    let open = "
name: open
trigger: { type: webhook, path: open, respond: result, idempotency_key: '{{ trigger.body[0].id }}' }
steps:
  - { id: a, type: set, values: { first: '{{ trigger.body[0].id }}', last: '{{ trigger.body[1000].first_name }}' } }
";
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        activate(&workspace, open).await;
        let of = |one: &str, bytes: usize| HookRequest {
            body: format!("[{}]", vec![one; bytes / (one.len() + 1)].join(",")).into(),
            ..post("open", json!(null))
        };
        let error = workspace.hook(of(r#"{"":0}"#, 6 << 20)).await.unwrap_err();
        assert_eq!((error.kind, &*error.code), (ErrorKind::TooLarge, "body_too_large"));
        let [problem] = error.problems.as_slice() else { panic!("{error}") };
        assert_eq!(problem.limit, Some(16 * ((6 << 20) / 7 * 7 + 1)));
        assert!(problem.used > problem.limit, "{error}");
        let contact = json!({
            "id": "con_1001", "email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace",
            "company": "Analytical Engines Ltd", "phone": "+44 20 7946 0000", "city": "London", "country": "GB",
            "created_at": "2026-01-01T10:00:00Z", "score": 42, "active": true, "tags": ["a", "b"],
        });
        let contacts = of(&contact.to_string(), 6 << 20);
        let answer = workspace.hook(contacts.clone()).await.unwrap();
        let HookReply::Result { output, .. } = &answer.reply else { panic!("{answer:?}") };
        assert_eq!(output, &json!({ "first": "con_1001", "last": "Ada" }));
        let again = workspace.hook(contacts).await.unwrap();
        assert_eq!((again.first, again.run_id), (false, answer.run_id));
        engine.close().await;
    });
}

const RESTS: &str = "
name: rests
trigger: { type: webhook, path: rests, respond: result, respond_within: 20s }
steps: [{ id: rest, type: delay, for: 10s }]
";
const QUICK: &str = "
name: quick
trigger: { type: webhook, path: quick, respond: result }
steps: [{ id: a, type: set, values: { b: 1 } }]
";

/// A request in a task of its own, and how long its caller waited for an answer.
fn asks(workspace: &Workspace, request: HookRequest) -> tokio::task::JoinHandle<(HookReply, Duration)> {
    let workspace = workspace.clone();
    tokio::spawn(async move {
        let asked = Instant::now();
        let answer = workspace.hook(request).await.unwrap();
        assert!(!answer.run_id.is_empty());
        (answer.reply, asked.elapsed())
    })
}

/// Each of them keeps a connection busy, and strangers would have all of them.
#[test]
fn so_many_callers_wait_for_results_and_further_ones_are_told_at_once_that_their_run_goes_on() {
    in_world(|mut world| async move {
        world.config.waiting_callers = 4;
        let (engine, workspace) = world.open().await;
        let other = engine.create_workspace("other").await.unwrap();
        for workspace in [&workspace, &other] {
            activate(workspace, RESTS).await;
            activate(workspace, QUICK).await;
        }
        let mut asked: Vec<_> =
            (0..4).map(|n| asks(&workspace, keyed(post("rests", json!({})), &n.to_string()))).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A repeat waits like the first of them.
        asked.push(asks(&workspace, keyed(post("rests", json!({})), "0")));
        // They are in one workspace; the other has its own.
        asked.push(asks(&other, post("rests", json!({}))));
        // Nobody waits for a run that has ended when it is on disk.
        let (reply, _) = asks(&workspace, post("quick", json!({}))).await.unwrap();
        assert!(matches!(reply, HookReply::Result { .. }), "{reply:?}");
        let mut waited = Vec::new();
        for asked in asked {
            let (reply, waited_for) = asked.await.unwrap();
            match reply {
                HookReply::Accepted => assert!(waited_for < Duration::from_secs(1), "{waited_for:?}"),
                HookReply::Result { .. } => assert!(waited_for > Duration::from_secs(8), "{waited_for:?}"),
                other => panic!("{other:?}"),
            }
            waited.push(waited_for > Duration::from_secs(1));
        }
        assert_eq!(waited, [true, true, false, false, false, true]);
        assert_eq!(engine.stats().hook_waits_refused, 3);
        // Those who have their answer, and those who have gone, leave their places.
        for _ in 0..2 {
            let request = post("rests", json!({}));
            let gone = request.gone.clone();
            let asked = asks(&workspace, request);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!asked.is_finished());
            gone.cancel();
            assert_eq!(asked.await.unwrap().0, HookReply::Accepted);
        }
        let (reply, _) = asks(&workspace, post("rests", json!({}))).await.unwrap();
        assert!(matches!(reply, HookReply::Result { .. }), "{reply:?}");
        engine.close().await;
    });
}

/// A body that says when nobody holds it any more.
struct Held(Vec<u8>, #[expect(dead_code, reason = "it counts who holds it")] Arc<()>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn a_body_is_let_go_when_its_run_is_on_disk_whoever_waits_for_its_end() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        activate(&workspace, RESTS).await;
        for key in ["first", "first", "form"] {
            let held = Arc::new(());
            let mut request = keyed(post("rests", json!({})), key);
            let body = match key {
                "form" => "--XX\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--\r\n",
                _ => "{}",
            };
            if key == "form" {
                request.headers[0].1 = "multipart/form-data; boundary=XX".into();
            }
            request.body = bytes::Bytes::from_owner(Held(body.into(), held.clone()));
            let asked = asks(&workspace, request);
            assert_eq!(Arc::strong_count(&held), 2);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!((asked.is_finished(), Arc::strong_count(&held)), (false, 1), "{key}");
        }
        engine.close().await;
    });
}

/// One request of a stranger is to keep no thread for minutes.
#[test]
fn a_body_that_a_pattern_would_be_long_about_is_refused() {
    let text = |pattern: &str| {
        format!(
            "
name: passwords
trigger:
  type: webhook
  path: passwords
  body_schema: {{ type: object, properties: {{ password: {{ type: string, pattern: '{pattern}' }} }} }}
steps: [{{ id: a, type: set, values: {{ b: 1 }} }}]
"
        )
    };
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        for pattern in [r"(?=.*\d)(?=.*[a-z]).{8,}", "(?<=a)[ab]*c", "a[ab]{3000}[c-z]"] {
            activate(&workspace, &text(pattern)).await;
            let long = post("passwords", json!({ "password": "a".repeat(250 << 10), "note": "n" }));
            let error = workspace.hook(long).await.unwrap_err();
            assert_eq!(error.code, "body_schema", "{error:?}");
            let told: Vec<_> =
                error.problems.iter().map(|one| (one.code.as_str(), one.path.as_deref())).collect();
            assert_eq!(told, [("too_large", Some("/password"))], "{pattern}");
        }
        activate(&workspace, &text(r"^(?=.*\d)(?=.*[a-z]).{8,}$")).await;
        let honest = post(
            "passwords",
            json!({ "password": "correct horse battery 1", "note": "n".repeat(250 << 10) }),
        );
        assert!(workspace.hook(honest).await.unwrap().first);
        engine.close().await;
    });
}
