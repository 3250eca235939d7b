//! Requests through a connection: they keep to its limits, wait without a slot, and none is lost.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::json;
use std::time::Duration;
use stepwell_engine::ports::HttpResponse;
use stepwell_engine::{ErrorKind, RunFilter, RunStatus, Workspace};
use support::{World, activate, in_world, post};

const ASK: &str = "
name: ask
trigger: { type: webhook, path: ask }
steps:
  - id: ask
    type: http_request
    connection: crm
    url: /people/{{ trigger.body.n }}
    retry: { attempts: 5, within: 10s }
";

const INSIDE: &str = "
name: inside
trigger: { type: webhook, path: inside, respond: result }
steps:
  - { id: a, type: set, values: { b: 1 } }
";

const CRM: &str = "https://crm.example.com/";

async fn connect(workspace: &Workspace, limits: &str) {
    let text = format!("base_url: {CRM}\n{limits}");
    workspace.connections().put("crm", &text).await.unwrap();
}

async fn ask(workspace: &Workspace, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(workspace.hook(post("ask", json!({ "n": n }))).await.unwrap().run_id);
    }
    ids
}

async fn with_status(workspace: &Workspace, status: RunStatus) -> usize {
    let filter = RunFilter { workflow: Some("ask".into()), status: Some(status) };
    let page = stepwell_engine::PageRequest { limit: Some(500), cursor: None };
    workspace.runs().list(filter, page).await.unwrap().items.len()
}

fn order(world: &World) -> Vec<usize> {
    let sent = world.http.sent.lock().unwrap();
    sent.iter().map(|request| request.url.rsplit('/').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn what_is_over_the_rate_waits_in_order_without_a_slot_and_none_is_lost() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 3;
        let (engine, workspace) = world.open().await;
        connect(&workspace, "rate: { requests: 10, per: 1s }\n").await;
        activate(&workspace, ASK).await;
        activate(&workspace, INSIDE).await;
        ask(&workspace, 300).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(with_status(&workspace, RunStatus::Waiting).await, 290);
        let stats = engine.stats();
        assert_eq!((stats.runs_running, stats.runs_queued, stats.calls_waiting), (0, 0, 290));
        assert_eq!(workspace.connections().get("crm").await.unwrap().waiting, 290);
        // Others are not in their line.
        let inside = workspace.hook(post("inside", json!({}))).await.unwrap();
        let run = workspace.runs().get(&inside.run_id).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);

        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(with_status(&workspace, RunStatus::Completed).await, 300);
        assert_eq!(order(&world), (0..300).collect::<Vec<_>>());
        assert_eq!(world.http.most_within(CRM, 1000), 10);
        // Waiting is no attempt.
        let runs = workspace.runs().list(RunFilter::default(), Default::default()).await.unwrap();
        let last = workspace.runs().get(&runs.items[1].id).await.unwrap();
        assert_eq!(last.steps[0].attempts.len(), 1, "{last:#?}");
        engine.close().await;
    });
}

#[test]
fn a_429_with_retry_after_holds_the_others_back_too() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        connect(&workspace, "concurrency: 1\n").await;
        activate(&workspace, ASK).await;
        let headers = vec![("retry-after".to_owned(), "7".to_owned())];
        world.http.answers.lock().unwrap().push(HttpResponse {
            status: 429,
            headers,
            body: bytes::Bytes::new(),
        });
        ask(&workspace, 5).await;
        tokio::time::sleep(Duration::from_millis(6_900)).await;
        assert_eq!(world.http.tried.lock().unwrap().len(), 1);
        let shown = workspace.connections().get("crm").await.unwrap();
        assert!(shown.held_until.is_some() && shown.waiting == 4, "{shown:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(with_status(&workspace, RunStatus::Completed).await, 5);
        let mut order = order(&world);
        assert_eq!(order.remove(0), 0);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4]);
        engine.close().await;
    });
}

#[test]
fn a_hold_is_known_after_a_restart_ends_after_a_day_and_goes_with_a_change() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        connect(&workspace, "concurrency: 1\n").await;
        activate(&workspace, &ASK.replace("within: 10s", "within: 30d")).await;
        // Milliseconds since 1970 in place of seconds from now.
        world.http.answers.lock().unwrap().push(HttpResponse {
            status: 503,
            headers: vec![("retry-after".to_owned(), "1764234000000".to_owned())],
            body: bytes::Bytes::new(),
        });
        ask(&workspace, 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let held = workspace.connections().get("crm").await.unwrap().held_until;
        assert!(held.is_some());
        engine.close().await;

        let (engine, workspace) = world.open().await;
        tokio::time::sleep(Duration::from_secs(23 * 3600)).await;
        assert_eq!(workspace.connections().get("crm").await.unwrap().held_until, held);
        assert_eq!(world.http.tried.lock().unwrap().len(), 1, "a day is not over");
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!(world.http.tried.lock().unwrap().len(), 3);

        world.http.answers.lock().unwrap().push(HttpResponse {
            status: 429,
            headers: vec![("retry-after".to_owned(), "3600".to_owned())],
            body: bytes::Bytes::new(),
        });
        ask(&workspace, 2).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.http.tried.lock().unwrap().len(), 4);
        connect(&workspace, "concurrency: 2\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.http.tried.lock().unwrap().len(), 5, "the changed connection is asked at once");
        engine.close().await;
    });
}

#[test]
fn an_attempt_that_fails_is_tried_again_however_long_it_had_waited_before_it() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        connect(&workspace, "rate: { requests: 1, per: 1m }\n").await;
        activate(&workspace, &ASK.replace("within: 10s", "within: 2m")).await;
        let ids = ask(&workspace, 4).await;
        tokio::time::sleep(Duration::from_secs(185)).await;
        // The last one has waited for three minutes when it fails.
        world.http.behave(100, 0);
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.http.behave(0, 0);
        tokio::time::sleep(Duration::from_secs(120)).await;
        for id in ids {
            let run = workspace.runs().get(&id).await.unwrap();
            assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        }
        assert_eq!(world.http.most_within(CRM, 60_000), 1);
        engine.close().await;
    });
}

#[test]
fn what_waits_and_what_was_sent_are_known_after_a_restart() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        connect(&workspace, "rate: { requests: 2, per: 1h }\n").await;
        activate(&workspace, ASK).await;
        let ids = ask(&workspace, 6).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.http.tried.lock().unwrap().len(), 2);
        engine.close().await;

        let (engine, workspace) = world.open().await;
        tokio::time::sleep(Duration::from_secs(3500)).await;
        assert_eq!(world.http.tried.lock().unwrap().len(), 2, "an hour is not over");
        // One that is cancelled leaves the line.
        workspace.runs().cancel(&ids[2]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!(order(&world), [0, 1, 3, 4, 5]);
        assert_eq!(world.http.most_within(CRM, 3_600_000), 2);
        assert_eq!(with_status(&workspace, RunStatus::Completed).await, 5);
        engine.close().await;
    });
}

#[test]
fn a_connection_is_checked_and_what_uses_it_holds_it() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        let saved =
            workspace.workflows().put_draft("ask", ASK, stepwell_engine::TextFormat::Yaml).await.unwrap();
        assert_eq!(saved.problems.len(), 1, "{:#?}", saved.problems);
        assert_eq!(saved.problems[0].code, "unknown_connection");
        let refused = workspace.connections().put("crm", "base_url: crm\nrate: 3\n").await.unwrap_err();
        assert_eq!((refused.kind, refused.code.as_ref()), (ErrorKind::Invalid, "invalid_connection"));

        connect(&workspace, "auth: { bearer: '{{ secrets.CRM }}' }\n").await;
        let problems =
            workspace.workflows().check("ask", ASK, stepwell_engine::TextFormat::Yaml).await.unwrap();
        assert_eq!(problems[0].code, "unknown_reference");
        assert!(problems[0].message.contains("the connection `crm` sends `secrets.CRM`"), "{problems:?}");
        workspace.secrets().put("CRM", "abcdefgh").await.unwrap();
        activate(&workspace, ASK).await;
        assert_eq!(workspace.connections().delete("crm").await.unwrap_err().code, "connection_in_use");
        assert_eq!(workspace.secrets().delete("CRM").await.unwrap_err().code, "secret_in_use");
        ask(&workspace, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sent = world.http.sent.lock().unwrap().clone();
        let auth = sent[0].headers.iter().find(|(name, _)| name == "authorization");
        assert_eq!(auth.map(|(_, value)| value.as_str()), Some("Bearer abcdefgh"));
        workspace.workflows().deactivate("ask").await.unwrap();
        workspace.connections().delete("crm").await.unwrap();
        assert_eq!(workspace.connections().get("crm").await.unwrap_err().code, "unknown_connection");
        engine.close().await;
    });
}
