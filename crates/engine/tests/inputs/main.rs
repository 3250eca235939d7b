//! Runs that wait for a person: by a link or by the API, once, whoever races and whatever crashes.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod links;
#[path = "../support/mod.rs"]
mod support;
mod waits;

use serde_json::{Value, json};
use std::time::Duration;
use stepwell_engine::{ErrorKind, GiveInput, Payload, RunDetail, RunStatus, TextFormat, Workspace};
use support::{Module, World, all_records, in_world, process};

const WAIT: Duration = Duration::from_secs(3600);

/// The link is sent before the step that it is for.
const ORDER: &str = r#"
name: order
trigger: { type: manual }
steps:
  - { id: ask, type: send_email, to: boss@example.com, subject: "Order {{ trigger.input.n }}", text: "{{ run.input_links.approval }}" }
  - id: approval
    type: wait_for_input
    title: "Order {{ trigger.input.n }}"
    schema: { type: object, required: [ok], properties: { ok: { type: boolean } }, additionalProperties: false }
    timeout: 1d
    on_timeout: { do: [{ id: no_answer, type: set, values: { ok: false } }] }
  - { id: done, type: create_record, object: task, record: { title: "Approved {{ approval.ok }}" } }
output: "{{ approval.ok }}"
"#;

async fn start(workspace: &Workspace, name: &str) -> RunDetail {
    let id = workspace.workflows().run(name, json!({ "n": 7 }), None).await.unwrap().run_id;
    waits(workspace, &id).await
}

/// The run once it waits, or has ended.
async fn waits(workspace: &Workspace, id: &str) -> RunDetail {
    loop {
        let run = workspace.runs().wait(id, Duration::from_millis(10)).await.unwrap();
        if run.summary.status == RunStatus::Waiting || run.summary.status.ended() {
            return run;
        }
    }
}

/// The token of the link in the newest e-mail.
async fn token(workspace: &Workspace) -> String {
    let mail = workspace.mailbox(Default::default()).await.unwrap().items.remove(0).mail;
    let link = mail.text.unwrap();
    link.trim().strip_prefix("https://flows.example.com/inputs/default/").unwrap().to_owned()
}

fn data(ok: bool) -> GiveInput {
    GiveInput { step: None, data: json!({ "ok": ok }) }
}

fn world(mut world: World) -> World {
    world.config.public_url = "https://flows.example.com/".into();
    world
}

#[test]
fn a_link_that_was_sent_before_gives_the_input_once_and_across_a_restart() {
    let mut world = world(World::new(1));
    let (id, token) = &process(&mut world, async |engine, workspace| {
        support::activate(&workspace, ORDER).await;
        let run = start(&workspace, "order").await;
        assert_eq!(engine.stats().runs_running, 0, "a run that waits for a person holds no slot");
        engine.close().await;
        (run.summary.id, token(&workspace).await)
    });
    process(&mut world, async |engine, workspace| {
        let runs = workspace.runs();
        let form = runs.input_form(token).await.unwrap();
        assert_eq!((form.title.as_str(), form.step.as_str()), ("Order 7", "approval"));
        assert!(form.until.is_some() && form.schema.is_some());
        // What breaks the schema is told, and the run goes on waiting.
        let refused = runs.give_input_by_link(token, json!({ "ok": "yes" })).await.unwrap_err();
        assert_eq!((&*refused.code, refused.problems[0].path.as_deref()), ("input_schema", Some("/ok")));
        runs.give_input_by_link(token, json!({ "ok": true })).await.unwrap();
        let again = runs.give_input_by_link(token, json!({ "ok": false })).await.unwrap_err();
        assert_eq!((&*again.code, again.kind), ("input_given", ErrorKind::Gone));
        let run = runs.wait(id, WAIT).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!(true))), "{run:#?}");
        assert_eq!(run.steps[1].output, Some(Payload::Value(json!({ "ok": true }))));
        assert_eq!(runs.input_form(token).await.unwrap_err().code, "input_given");
        engine.close().await;
    });
}

#[test]
fn a_link_that_nobody_signed_is_good_for_nothing() {
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[ORDER]).await;
        start(&workspace, "order").await;
        let first = token(&workspace).await;
        start(&workspace, "order").await;
        let second = token(&workspace).await;
        let (signed, signature) = first.rsplit_once('.').unwrap();
        let (_, other) = second.rsplit_once('.').unwrap();
        let missing = format!("{}.{}", "0".repeat(32), first.split_once('.').unwrap().1);
        for wrong in [
            format!("{signed}.{other}"),
            format!("{signed}."),
            signed.to_owned(),
            signature.to_owned(),
            missing,
            String::new(),
        ] {
            for error in [
                workspace.runs().input_form(&wrong).await.unwrap_err(),
                workspace.runs().give_input_by_link(&wrong, json!({ "ok": true })).await.unwrap_err(),
            ] {
                assert_eq!((&*error.code, error.kind), ("unknown_link", ErrorKind::NotFound), "{wrong}");
            }
        }
        engine.close().await;
    });
}

#[test]
fn a_wait_for_a_run_ends_when_it_asks_somebody() {
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[ORDER]).await;
        let before = tokio::time::Instant::now();
        let started = workspace.workflows().run("order", json!({ "n": 7 }), Some(WAIT)).await.unwrap();
        assert_eq!(started.status, RunStatus::Waiting);
        let run = workspace.runs().wait_for_turn(&started.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Waiting);
        assert!(before.elapsed() < Duration::from_secs(60));
        workspace.runs().give_input(&started.run_id, data(true)).await.unwrap();
        let run = workspace.runs().wait_for_turn(&started.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        engine.close().await;
    });
}

#[test]
fn of_many_at_once_one_is_taken() {
    in_world(|w| async move {
        let mut world = world(w);
        world.store = world.store.with_yields();
        let (engine, workspace) = world.set_up(&[], &[ORDER]).await;
        let run = start(&workspace, "order").await;
        let token = token(&workspace).await;
        let runs = workspace.runs();
        let given = (0..20).map(|n| {
            let (runs, token, id) = (runs.clone(), token.clone(), run.summary.id.clone());
            async move {
                match n % 2 {
                    0 => runs.give_input_by_link(&token, json!({ "ok": n % 4 == 0 })).await.map(|_| ()),
                    _ => runs.give_input(&id, data(n % 4 == 1)).await.map(|_| ()),
                }
            }
        });
        let given = futures::future::join_all(given).await;
        assert_eq!(given.iter().filter(|given| given.is_ok()).count(), 1, "{given:#?}");
        let refused: Vec<_> =
            given.into_iter().filter_map(Result::err).map(|error| error.code.to_string()).collect();
        assert!(
            refused.iter().all(|code| code == "input_given" || code == "input_not_awaited"),
            "{refused:?}"
        );
        let run = runs.wait(&run.summary.id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        assert_eq!(all_records(&workspace, "task").await.len(), 1);
        engine.close().await;
    });
}

#[test]
fn past_its_time_the_link_is_over_and_the_run_goes_on_without() {
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[ORDER]).await;
        let run = start(&workspace, "order").await;
        let token = token(&workspace).await;
        let run = workspace.runs().wait(&run.summary.id, 48 * WAIT).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!(false))), "{run:#?}");
        let late = workspace.runs().give_input_by_link(&token, json!({ "ok": true })).await.unwrap_err();
        assert_eq!((&*late.code, late.kind), ("input_expired", ErrorKind::Gone));
        // Cancelled before it was given.
        let run = start(&workspace, "order").await;
        let token = self::token(&workspace).await;
        workspace.runs().cancel(&run.summary.id).await.unwrap();
        let late = workspace.runs().give_input_by_link(&token, json!({ "ok": true })).await.unwrap_err();
        assert_eq!(late.code, "input_expired");
        workspace.runs().wait(&run.summary.id, WAIT).await.unwrap();
        let late = workspace.runs().give_input(&run.summary.id, data(true)).await.unwrap_err();
        assert_eq!(late.code, "input_not_awaited");
        engine.close().await;
    });
}

#[test]
fn a_retry_waits_again_for_the_same_link() {
    let text =
        ORDER.replace("    on_timeout: { do: [{ id: no_answer, type: set, values: { ok: false } }] }\n", "");
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        let run = start(&workspace, "order").await;
        let token = token(&workspace).await;
        let run = workspace.runs().wait(&run.summary.id, 48 * WAIT).await.unwrap();
        assert_eq!(run.summary.error.as_ref().unwrap().code, "timeout");
        workspace.runs().retry(&run.summary.id, false).await.unwrap();
        while workspace.runs().input_form(&token).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        workspace.runs().give_input_by_link(&token, json!({ "ok": true })).await.unwrap();
        let run = workspace.runs().wait(&run.summary.id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        engine.close().await;
    });
}

#[test]
fn each_item_has_its_own_and_the_others_go_on_beside() {
    const EACH: &str = r#"
name: each
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ range(10) }}"
    concurrency: 10
    do:
      - { id: say, type: send_email, to: a@example.com, subject: "{{ index }}!", text: "{{ run.input_links.give }}" }
      - { id: give, type: wait_for_input }
      - { id: slow, type: code, action: slow, input: { ms: "{{ index }}" } }
    output: "{{ give.n }}"
output: "{{ rows.results }}"
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[Module::new("slow", "1.0.0", "slow")], &[EACH]).await;
        let run = start(&workspace, "each").await;
        let several = workspace.runs().give_input(&run.summary.id, data(true)).await.unwrap_err();
        assert!(several.message.contains("`rows[0].give`, `rows[1].give`"), "{several}");
        let mails = workspace.mailbox(Default::default()).await.unwrap().items;
        let given = mails.into_iter().map(|entry| {
            let runs = workspace.runs();
            async move {
                let token = entry.mail.text.unwrap().trim().rsplit_once('/').unwrap().1.to_owned();
                let n: u64 = entry.mail.subject.trim_end_matches('!').parse().unwrap();
                runs.give_input_by_link(&token, json!({ "n": n })).await.unwrap();
            }
        });
        futures::future::join_all(given).await;
        let run = workspace.runs().wait(&run.summary.id, WAIT).await.unwrap();
        let all: Value = (0..10).collect();
        assert_eq!(run.output, Some(Payload::Value(all)), "{:#?}", run.summary);
        engine.close().await;
    });
}

#[test]
fn a_test_of_a_draft_waits_for_nobody() {
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let tried = workspace
            .workflows()
            .test("order", Some((ORDER, TextFormat::Yaml)), json!({ "n": 3 }))
            .await
            .unwrap();
        assert_eq!((tried.status, tried.mails.len()), (RunStatus::Waiting, 1));
        engine.close().await;
    });
}
