//! Actions, workflows, keys and the feed: what a workspace has to run, and who may.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use futures::StreamExt;
use serde_json::json;
use std::time::Duration;
use stepwell_engine::{
    DEFAULT_WORKSPACE, EngineError, ErrorKind, FeedBody, HookReply, RunStatus, Scope, TextFormat,
    VersionStatus, Workspace,
};
use support::{Module, WEB_FORM, activate, all_records, in_world, lead, name_of, post};

#[test]
fn a_workspace_that_is_made_twice_at_once_is_one() {
    in_world(async |world| {
        let (engine, _) = world.set_up(&[], &[]).await;
        let make = || engine.create_workspace("sales");
        let (one, two, three) = tokio::join!(make(), make(), make());
        let (one, _, three) = (one.unwrap(), two.unwrap(), three.unwrap());
        // What one handle changes the other sees.
        activate(&one, WEB_FORM_LIKE).await;
        assert_eq!(three.hooks().await.unwrap().len(), 1);
        assert_eq!(engine.workspace("sales").await.unwrap().hooks().await.unwrap().len(), 1);
    });
}

const WEB_FORM_LIKE: &str = "
name: plain
trigger: { type: webhook, path: plain }
steps:
  - { id: seen, type: set, values: { n: '1' } }
";
const NORMALIZE: Module = Module::new("normalize-lead", "1.2.0", "normalize");
const WAIT: Duration = Duration::from_secs(600);

#[test]
fn a_version_of_an_action_never_changes_unless_in_dev() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[NORMALIZE], &[]).await;
        let actions = workspace.actions();
        let again = actions.put(NORMALIZE.name, NORMALIZE.bytes(), false).await.unwrap();
        assert!(!again.created, "the same bytes are there already");
        let other = Module { salt: 1, ..NORMALIZE };
        let error = actions.put(other.name, other.bytes(), false).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::Conflict, "version_exists"));
        assert!(actions.put(other.name, other.bytes(), true).await.unwrap().created);
        let error = actions.put("score", NORMALIZE.bytes(), false).await.unwrap_err();
        assert_eq!(error.code, "wrong_name");
        let error = actions.put("No Name", NORMALIZE.bytes(), false).await.unwrap_err();
        assert_eq!(error.code, "invalid_name");
        let error = actions.put("score", "not a module".into(), false).await.unwrap_err();
        assert_eq!(error.code, "module_refused");
    });
}

#[test]
fn references_float_within_what_they_say() {
    in_world(async |world| {
        let version = |version| Module { version: Some(version), ..NORMALIZE };
        let modules = [version("1.2.0"), version("1.10.0"), version("2.0.0"), version("2.1.0-beta")];
        let (_engine, workspace) = world.set_up(&modules, &[]).await;
        let found = async |reference| {
            workspace.actions().get(reference).await.map(|action| action.info.version.to_string()).ok()
        };
        assert_eq!(found("normalize-lead@1").await.as_deref(), Some("1.10.0"));
        assert_eq!(
            found("normalize-lead").await.as_deref(),
            Some("2.0.0"),
            "a pre-release is taken only by name"
        );
        assert_eq!(found("normalize-lead@2.1.0-beta").await.as_deref(), Some("2.1.0-beta"));
        assert_eq!(found("normalize-lead@3").await, None);
        let error = workspace.actions().get("normalise-lead").await.unwrap_err();
        assert!(error.message.contains("did you mean `normalize-lead`?"), "{error}");
        let (info, module) = workspace.actions().download("normalize-lead@1.2.0").await.unwrap();
        assert_eq!((info.version.to_string().as_str(), module), ("1.2.0", version("1.2.0").bytes()));
        let silent = |salt| Module { version: None, salt, name: "plain", function: "echo" };
        for (salt, expected) in [(0, "0.0.1"), (1, "0.0.2"), (0, "0.0.1")] {
            let put = workspace.actions().put("plain", silent(salt).bytes(), false).await;
            assert_eq!(put.unwrap().info.version.to_string(), expected);
        }
        let tested = workspace.actions().test("plain", json!({"a": 1}), Default::default()).await.unwrap();
        assert_eq!(tested.output, Some(json!({"a": 1})));
    });
}

#[test]
fn a_run_keeps_the_versions_it_began_with() {
    in_world(async |world| {
        let slow = Module::new("slow", "1.0.0", "slow");
        let text = r#"
name: two
trigger: { type: webhook, path: two }
steps:
  - { id: slow, type: code, action: slow, input: { ms: 60000 } }
  - { id: normalize, type: code, action: normalize-lead@1, input: { email: a@b.c } }
"#;
        let (_engine, workspace) = world.set_up(&[NORMALIZE, slow], &[text]).await;
        let answer = workspace.hook(post("two", json!({}))).await.unwrap();
        let newer = Module { version: Some("1.3.0"), function: "fail", ..NORMALIZE };
        workspace.actions().put(newer.name, newer.bytes(), false).await.unwrap();
        let changed = text.replace("a@b.c", "nobody");
        activate(&workspace, &changed).await;
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(
            (run.summary.version, run.actions["normalize-lead@1"].as_str()),
            (1, "normalize-lead@1.2.0")
        );
        let next = workspace.hook(post("two", json!({}))).await.unwrap();
        let run = workspace.runs().wait(&next.run_id, WAIT).await.unwrap();
        assert_eq!((run.summary.version, run.summary.status), (2, RunStatus::Failed));
        // Once the action is mended, the failed run goes on with it.
        let mended = Module { version: Some("1.4.0"), ..NORMALIZE };
        workspace.actions().put(mended.name, mended.bytes(), false).await.unwrap();
        activate(&workspace, text).await;
        workspace.runs().retry(&next.run_id, true).await.unwrap();
        let run = workspace.runs().wait(&next.run_id, WAIT).await.unwrap();
        assert_eq!((run.summary.version, run.summary.status), (3, RunStatus::Completed), "{run:#?}");
        assert_eq!(run.actions["normalize-lead@1"], "normalize-lead@1.4.0");
    });
}

#[test]
fn a_draft_with_problems_is_saved_and_not_activated() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[NORMALIZE], &[]).await;
        let workflows = workspace.workflows();
        let wrong =
            WEB_FORM.replace("normalize.email", "normalise.email").replace("object: task", "object: taks");
        let saved = workflows.put_draft("web-form", &wrong, TextFormat::Yaml).await.unwrap();
        assert!(saved.problems.len() >= 2, "{:#?}", saved.problems);
        assert!(saved.problems.iter().all(|problem| problem.line.is_some()));
        let error = workflows.activate("web-form", None).await.unwrap_err();
        assert_eq!((error.code.as_ref(), error.problems.len()), ("invalid_workflow", saved.problems.len()));
        let unreadable =
            workflows.put_draft("web-form", "- just\n- a list", TextFormat::Yaml).await.unwrap_err();
        assert_eq!(unreadable.code, "invalid_workflow");
        let right = workflows.put_draft("web-form", WEB_FORM, TextFormat::Yaml).await.unwrap();
        assert_eq!((right.version, right.problems.len()), (1, 0), "a draft is written over");
        workflows.activate("web-form", None).await.unwrap();
        let same = workflows.put_draft("web-form", WEB_FORM, TextFormat::Yaml).await.unwrap();
        assert_eq!((same.version, same.changed), (1, false));
        let other = WEB_FORM.replace("name: web-form", "name: other");
        let saved = workflows.put_draft("other", &other, TextFormat::Yaml).await.unwrap();
        assert!(saved.problems.is_empty());
        let error = workflows.activate("other", None).await.unwrap_err();
        assert_eq!(error.code, "hook_taken");
        let misnamed = workflows.check("third", &other, TextFormat::Yaml).await.unwrap();
        assert_eq!(misnamed[0].code, "wrong_name");
        workflows.deactivate("web-form").await.unwrap();
        let error = workspace.hook(post("web-form", lead(1, "a@b.c"))).await.unwrap_err();
        assert_eq!(error.code, "unknown_hook");
        let detail = workflows.get("web-form", None).await.unwrap();
        assert_eq!(detail.versions, [(1, VersionStatus::Archived)]);
        let graph = workflows.graph("web-form", None).await.unwrap();
        assert_eq!(graph["nodes"][4]["inside"], "person");
    });
}

#[test]
fn a_test_stores_nothing_and_sends_nothing() {
    in_world(async |mut world| {
        world.sends_mail = true;
        let (_engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let before = world.store.dump();
        let text = format!("{WEB_FORM}\n").replace(
            "output: {",
            "  - { id: call, type: http_request, url: \"https://example.com/{{ normalize.n }}\" }\noutput: {",
        );
        let test =
            workspace.workflows().test("web-form", Some((&text, TextFormat::Yaml)), lead(7, "A@b.c")).await;
        let test = test.unwrap();
        assert_eq!(test.status, RunStatus::Completed, "{test:#?}");
        assert_eq!((test.mails.len(), test.requests.len()), (1, 1));
        assert_eq!(test.requests[0].url, "https://example.com/7");
        assert!(test.steps.iter().any(|step| step.path == "person.create"));
        assert!(world.store.dump() == before);
        assert!(world.http.sent.lock().unwrap().is_empty() && world.mail.sent.lock().unwrap().is_empty());
        let failed = workspace.workflows().test("web-form", None, lead(7, "nobody")).await.unwrap();
        assert_eq!((failed.status, failed.error.unwrap().code.as_str()), (RunStatus::Failed, "bad_email"));
    });
}

#[test]
fn keys_are_known_by_their_hash_and_revoked_at_once() {
    in_world(async |world| {
        let (engine, workspace) = world.open().await;
        let keys = engine.keys();
        // One that could not be handed out was never made.
        let lost = |_: &_| Err(EngineError::unavailable("no room for the file"));
        assert!(keys.create_first(lost).await.is_err());
        assert!(keys.list(None).await.unwrap().is_empty());
        let first = keys.create_first(|_| Ok::<_, EngineError>(())).await.unwrap().unwrap();
        assert!(keys.create_first(lost).await.unwrap().is_none());
        let hooks = keys.create(DEFAULT_WORKSPACE, "site", &[Scope::Hooks]).await.unwrap();
        let admin = keys.authenticate(&first.secret).await.unwrap();
        assert!(admin.may(Scope::Admin) && admin.may(Scope::Write));
        let caller = keys.authenticate(&hooks.secret).await.unwrap();
        assert!(caller.may(Scope::Hooks) && !caller.may(Scope::Read));
        let stored = world.store.dump();
        let anywhere = |secret: &str| {
            stored.iter().any(|(_, row)| row.windows(20).any(|w| w == &secret.as_bytes()[..20]))
        };
        assert!(!anywhere(&hooks.secret) && !anywhere(&first.secret), "a secret is stored");

        let text = "name: closed\ntrigger: { type: webhook, path: closed, auth: api_key }\nsteps:\n  - { id: a, type: set, values: { b: 1 } }\n";
        activate(&workspace, text).await;
        let error = workspace.hook(post("closed", json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        let mut request = post("closed", json!({}));
        request.caller = Some(caller);
        workspace.hook(request).await.unwrap();

        keys.revoke(&hooks.info.id).await.unwrap();
        assert_eq!(keys.authenticate(&hooks.secret).await.unwrap_err().kind, ErrorKind::Unauthorized);
        // After a restart too.
        engine.close().await;
        let (engine, _) = world.open().await;
        assert!(engine.keys().authenticate(&hooks.secret).await.is_err());
        assert!(engine.keys().authenticate(&first.secret).await.is_ok());
        assert_eq!(engine.keys().list(None).await.unwrap().len(), 2);
    });
}

async fn next(
    events: &mut (impl StreamExt<Item = Result<stepwell_engine::FeedEvent, stepwell_engine::EngineError>> + Unpin),
) -> stepwell_engine::FeedEvent {
    tokio::time::timeout(WAIT, events.next()).await.unwrap().unwrap().unwrap()
}

#[test]
fn those_who_listen_to_one_workspace_shut_no_other_out() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let other = engine.create_workspace("other").await.unwrap();
        let mut listening = Vec::new();
        let refused = loop {
            match workspace.events(Some("now")).await {
                Ok(events) => listening.push(events),
                Err(refused) => break refused,
            }
        };
        assert_eq!((listening.len(), refused.code.as_ref()), (64, "too_many_streams"));
        assert!(other.events(Some("now")).await.is_ok());
        listening.pop();
        assert!(workspace.events(Some("now")).await.is_ok());
        drop(listening);
        engine.close().await;
    });
}

#[test]
fn the_feed_tells_everything_once_and_goes_on_where_it_was_left() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let mut events = workspace.events(None).await.unwrap();
        let answer = workspace.hook(post("web-form", lead(1, "ada@example.com"))).await.unwrap();
        let first = next(&mut events).await;
        let FeedBody::Run { run_id, status, steps, .. } = &first.body else { panic!("{first:?}") };
        assert_eq!((run_id, *status, steps.len()), (&answer.run_id, RunStatus::Completed, 6));
        let company = next(&mut events).await;
        let person = next(&mut events).await;
        let FeedBody::Record { event } = &person.body else { panic!("{person:?}") };
        assert_eq!((event["object"].as_str(), event["kind"].as_str()), (Some("person"), Some("created")));
        assert_eq!(event["origin"]["run"], answer.run_id.as_str());
        // A reader that had seen the company goes on with the person.
        let mut again = workspace.events(Some(&company.id)).await.unwrap();
        assert_eq!(next(&mut again).await, person);
        let _task = next(&mut events).await;
        let written =
            workspace.records().create("note", json!({"title": "x"}).as_object().unwrap().clone()).await;
        written.unwrap();
        let FeedBody::Record { event } = next(&mut events).await.body else { panic!("no record") };
        assert_eq!(event["origin"]["by"], "user");
        assert!(workspace.events(Some("nonsense")).await.is_err());
        engine.close().await;
        assert!(events.next().await.is_none(), "the feed ends with the engine");
    });
}

#[test]
fn watching_a_run_shows_each_step_once() {
    in_world(async |world| {
        let slow = Module::new("slow", "1.0.0", "slow");
        let text = r#"
name: slowly
trigger: { type: webhook, path: slowly, respond: { status: 201, headers: { x-n: "{{ trigger.body.n }}" }, body: "{{ b.ms }}" } }
steps:
  - { id: a, type: code, action: slow, input: { ms: 1000 } }
  - { id: b, type: code, action: slow, input: { ms: 2000 } }
"#;
        let (_engine, workspace) = world.set_up(&[slow], &[text]).await;
        let asked: Workspace = workspace.clone();
        let asking = tokio::spawn(async move { asked.hook(post("slowly", json!({ "n": 5 }))).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let runs = workspace.runs().list(Default::default(), Default::default()).await.unwrap();
        let mut updates = workspace.runs().watch(&runs.items[0].id).await.unwrap();
        let mut told = Vec::new();
        while let Some(update) = updates.next().await {
            told.extend(update.unwrap().steps.into_iter().map(|step| step.path));
        }
        assert_eq!(told, ["a", "b"]);
        let answer = asking.await.unwrap().unwrap();
        let headers = vec![("x-n".to_owned(), "5".to_owned())];
        assert_eq!(answer.reply, HookReply::Custom { status: 201, headers, body: Some(json!(2000)) });
        assert_eq!(name_of(text), "slowly");
        assert!(all_records(&workspace, "task").await.is_empty());
    });
}

#[test]
fn what_a_deleted_workflow_s_versions_were_is_not_had_by_the_next_of_its_name() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[], &[WEB_FORM_LIKE]).await;
        let workflows = workspace.workflows();
        let run = workspace.hook(post("plain", json!({}))).await.unwrap().run_id;
        workspace.runs().wait(&run, WAIT).await.unwrap();
        workflows.deactivate("plain").await.unwrap();
        workflows.delete("plain").await.unwrap();
        let text = WEB_FORM_LIKE.replace("path: plain", "path: other");
        let saved = workflows.put_draft("plain", &text, TextFormat::Yaml).await.unwrap();
        assert_eq!(saved.version, 2, "no number is given twice");
        let unknown = |error: EngineError| assert_eq!(error.code, "unknown_version");
        unknown(workflows.get("plain", Some(1)).await.unwrap_err());
        unknown(workflows.graph("plain", Some(1)).await.unwrap_err());
        unknown(workflows.activate("plain", Some(1)).await.unwrap_err());
        workflows.activate("plain", Some(2)).await.unwrap();
        assert_eq!(workflows.get("plain", Some(2)).await.unwrap().version, 2);
        assert_eq!(
            workspace.runs().get(&run).await.unwrap().summary.version,
            1,
            "its runs are shown with it"
        );
    });
}
