//! Webhooks that strangers try: what is signed is what counts, and nobody's body is read before he may send it.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use stepwell_engine::{HookReply, HookRequest, Workspace};
use support::{activate, in_world, post};

const SIGNED: &str = "
name: signed
trigger: { type: webhook, path: signed, auth: { hmac: { scheme: standard_webhooks, secret: '{{ secrets.KEY }}' } } }
steps: [{ id: a, type: set, values: { id: \"{{ trigger.headers['webhook-id'] }}\" } }]
";

async fn with_key(workspace: &Workspace) {
    workspace.secrets().put("KEY", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0").await.unwrap();
}

/// Whoever has heard a request sends it again under other names, behind the one that is signed.
#[test]
fn a_header_that_comes_twice_counts_once_for_all() {
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
                let again = workspace.hook(again).await.unwrap();
                assert_eq!((again.first, &again.run_id), (false, &first.run_id), "{other}");
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
