//! What a run does, from the webhook to its history, over the in-memory store.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::time::Duration;
use stepwell_engine::{ErrorKind, HookReply, RunStatus, StepStatus};
use support::{Module, WEB_FORM, all_records, in_world, lead, post, value, with_key};

const NORMALIZE: Module = Module::new("normalize-lead", "1.2.0", "normalize");
const WAIT: Duration = Duration::from_secs(600);

#[test]
fn a_form_becomes_records_and_the_history_tells_how() {
    in_world(async |world| {
        let (engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let before = engine.stats();
        let answer = workspace.hook(post("web-form", lead(1, "Ada@Example.com"))).await.unwrap();
        assert_eq!((answer.first, answer.reply), (true, HookReply::Accepted));
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let steps: Vec<_> = run.steps.iter().map(|step| (step.path.as_str(), step.status)).collect();
        let done = StepStatus::Completed;
        assert_eq!(
            steps,
            [
                ("normalize", done),
                ("company", done),
                ("known", done),
                ("person", done),
                ("person.create", done),
                ("follow_up", done),
                ("tell", done)
            ]
        );
        let normalize = &run.steps[0];
        assert_eq!(value(&normalize.input)["email"], "Ada@Example.com");
        assert_eq!(value(&normalize.output)["email"], "ada@example.com");
        assert_eq!(normalize.action.as_deref(), Some("normalize-lead@1.2.0"));
        assert_eq!(normalize.usage.as_ref().unwrap().fuel, Some(1000));
        assert_eq!(normalize.logs.len(), 1);
        assert_eq!(run.actions["normalize-lead@1"], "normalize-lead@1.2.0");
        assert_eq!(value(&run.output)["n"], 1);
        assert_eq!(value(&run.steps[3].output)["outcome"], "created");

        let people = all_records(&workspace, "person").await;
        assert_eq!(people.len(), 1);
        assert_eq!(people[0]["emails"]["primaryEmail"], "ada@example.com");
        let mailbox = workspace.mailbox(Default::default()).await.unwrap();
        assert_eq!(mailbox.items.len(), 1);
        assert_eq!(mailbox.items[0].mail.subject, "Lead 1");
        assert_eq!(mailbox.items[0].run_id.as_ref(), Some(&answer.run_id));

        // Where nothing leaves the process the whole run is one commit, of few keys.
        let after = engine.stats();
        assert_eq!(after.commits - before.commits, 1);
        let keys = after.keys_written - before.keys_written;
        assert!(keys <= 18, "a web-form run writes {keys} keys");
        engine.close().await;
    });
}

#[test]
fn a_run_that_sends_its_mail_writes_few_keys_too() {
    in_world(async |mut world| {
        world.sends_mail = true;
        let (engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let before = engine.stats();
        let answer = workspace.hook(post("web-form", lead(1, "ada@example.com"))).await.unwrap();
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        let tell = run.steps.last().unwrap();
        assert_eq!(tell.attempts.len(), 1);
        assert!(tell.attempts[0].key.is_some() && tell.attempts[0].request.is_some());
        let after = engine.stats();
        assert_eq!(after.commits - before.commits, 2);
        let keys = after.keys_written - before.keys_written;
        assert!(keys <= 18, "a web-form run that sends its mail writes {keys} keys");
    });
}

#[test]
fn two_posts_of_the_same_new_person_at_the_same_instant_make_one() {
    in_world(async |mut world| {
        world.store = world.store.with_yields();
        let (engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let posts = (0..8).map(|n| {
            let workspace = workspace.clone();
            tokio::spawn(async move {
                workspace.hook(post("web-form", lead(n, "ada@example.com"))).await.unwrap()
            })
        });
        for post in futures::future::join_all(posts).await {
            let run = workspace.runs().wait(&post.unwrap().run_id, WAIT).await.unwrap();
            assert_eq!(run.summary.status, RunStatus::Completed);
        }
        assert_eq!(all_records(&workspace, "person").await.len(), 1);
        assert_eq!(all_records(&workspace, "company").await.len(), 1);
        assert_eq!(all_records(&workspace, "task").await.len(), 8);
        assert!(engine.stats().burst_conflicts > 0, "the posts did not meet");
        // A burst that ran again took the outcomes of its code: each module was called once a run.
        assert_eq!(world.code.calls_of("normalize").len(), 8);
    });
}

#[test]
fn what_is_wrong_with_a_request_is_said_before_anything_is_stored() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let error = workspace.hook(post("web-from", json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::NotFound, "unknown_hook"));
        // Similar paths are only for who may know them.
        assert!(!error.message.contains("web-form"), "{error}");
        assert_eq!(workspace.hook_near("web-from").as_deref(), Some("web-form"));
        let mut wrong = post("web-form", json!({}));
        wrong.method = "PUT".into();
        let error = workspace.hook(wrong).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::MethodNotAllowed);
        let error = workspace.hook(post("web-form", json!({"email": 5}))).await.unwrap_err();
        assert_eq!(error.code, "body_schema");
        assert_eq!(error.problems.len(), 2, "{error}");
        let mut broken = post("web-form", json!({}));
        broken.body = "{\"email\":\n oops".into();
        let error = workspace.hook(broken).await.unwrap_err();
        assert_eq!((error.code.as_ref(), error.problems[0].line), ("invalid_json", Some(2)));
        let mut large = post("web-form", json!({}));
        large.body = vec![b' '; 9 << 20].into();
        assert_eq!(workspace.hook(large).await.unwrap_err().kind, ErrorKind::TooLarge);
        assert!(
            workspace.runs().list(Default::default(), Default::default()).await.unwrap().items.is_empty()
        );
    });
}

#[test]
fn an_idempotency_key_starts_one_run() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let request = || with_key(post("web-form", lead(1, "ada@example.com")), "k-1");
        let first = workspace.hook(request()).await.unwrap();
        let again = workspace.hook(request()).await.unwrap();
        assert_eq!((first.first, again.first), (true, false));
        assert_eq!(first.run_id, again.run_id);
        let other = with_key(post("web-form", lead(2, "ada@example.com")), "k-1");
        let error = workspace.hook(other).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::Conflict, "idempotency_key_reused"));
        assert_eq!(
            workspace.runs().list(Default::default(), Default::default()).await.unwrap().items.len(),
            1
        );
    });
}

const ANSWERING: &str = r#"
name: answering
trigger: { type: webhook, path: answering, respond: result, respond_within: 10s }
steps:
  - { id: slow, type: code, action: slow, input: { ms: "{{ trigger.body.ms }}" } }
  - { id: check, type: code, action: normalize-lead, input: { email: "{{ trigger.body.email }}" } }
output: "{{ check.email }}"
"#;

const SLOW: Module = Module::new("slow", "1.0.0", "slow");

#[test]
fn a_caller_may_wait_for_the_result() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[NORMALIZE, SLOW], &[ANSWERING]).await;
        let body = |ms, email| json!({ "ms": ms, "email": email });
        let answer = workspace.hook(post("answering", body(2000, "A@b.c"))).await.unwrap();
        let result = HookReply::Result { status: RunStatus::Completed, output: json!("a@b.c") };
        assert_eq!(answer.reply, result);
        // One that takes too long is answered with its id, and goes on.
        let late = workspace.hook(post("answering", body(60_000, "A@b.c"))).await.unwrap();
        assert_eq!(late.reply, HookReply::Accepted);
        let run = workspace.runs().wait(&late.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        // A failed run says why, also to a repeat.
        let failing = || with_key(post("answering", body(0, "nobody")), "failing");
        let failed = workspace.hook(failing()).await.unwrap();
        let HookReply::Failed(why) = &failed.reply else { panic!("{failed:?}") };
        assert_eq!((why.code.as_str(), why.step.as_deref()), ("bad_email", Some("check")));
        let again = workspace.hook(failing()).await.unwrap();
        assert_eq!((again.first, &again.run_id, &again.reply), (false, &failed.run_id, &failed.reply));
        // A repeat gets the first answer, without a second run.
        let keyed = || with_key(post("answering", body(100, "A@b.c")), "k");
        let first = workspace.hook(keyed()).await.unwrap();
        let again = workspace.hook(keyed()).await.unwrap();
        assert_eq!((again.reply, again.run_id), (result, first.run_id));
    });
}

#[test]
fn a_run_has_lasted_as_long_as_its_steps_did() {
    in_world(async |world| {
        let text = r#"
name: slow
trigger: { type: manual }
steps:
  - { id: slow, type: code, action: slow, input: { ms: 20 } }
"#;
        let (engine, workspace) = world.set_up(&[SLOW], &[text]).await;
        let started = workspace.workflows().run("slow", json!({}), Some(WAIT)).await.unwrap();
        let run = workspace.runs().get(&started.run_id).await.unwrap().summary;
        let lasted = run.ended_at.unwrap().duration_since(run.started_at.unwrap());
        assert_eq!(lasted.as_millis(), 20, "{run:#?}");
        engine.close().await;
    });
}

#[test]
fn a_long_code_step_does_not_hold_the_answer() {
    in_world(async |world| {
        let text = ANSWERING.replace("respond: result, respond_within: 10s", "respond: accepted");
        let (engine, workspace) = world.set_up(&[NORMALIZE, SLOW], &[&text]).await;
        let asked = tokio::time::Instant::now();
        let body = json!({ "ms": 5000, "email": "a@b.c" });
        let answer = workspace.hook(post("answering", body)).await.unwrap();
        assert!(asked.elapsed() <= Duration::from_millis(60), "{:?}", asked.elapsed());
        let now = workspace.runs().get(&answer.run_id).await.unwrap();
        assert_eq!(now.summary.status, RunStatus::Running);
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed);
        assert_eq!(world.code.calls_of("slow").len(), 1, "the call went on outside the transaction");
        engine.close().await;
    });
}

const CALLING: &str = r#"
name: calling
trigger: { type: manual }
steps:
  - id: call
    type: http_request
    method: POST
    url: "https://api.example.com/things/{{ trigger.input.n }}"
    body: { json: { n: "{{ trigger.input.n }}" } }
    retry: { attempts: 6, backoff: { initial: 1s, factor: 2 } }
  - { id: got, type: set, values: { ok: "{{ call.body.ok }}", status: "{{ call.status }}" } }
"#;

#[test]
fn a_retried_call_sends_the_same_bytes_and_keeps_every_attempt() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[], &[CALLING]).await;
        let busy = |status| stepwell_engine::ports::HttpResponse {
            status,
            headers: vec![("retry-after".into(), "7".into())],
            body: Default::default(),
        };
        world.http.answers.lock().unwrap().extend([busy(503), busy(429)]);
        let began = tokio::time::Instant::now();
        let done = workspace.workflows().run("calling", json!({"n": 5}), Some(WAIT)).await.unwrap();
        assert_eq!(done.status, RunStatus::Completed, "{done:?}");
        assert_eq!(done.output, Some(json!({"ok": true, "status": 200})));
        assert!(
            began.elapsed() >= Duration::from_secs(14),
            "Retry-After was not honoured: {:?}",
            began.elapsed()
        );
        let sent = world.http.sent.lock().unwrap().clone();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|request| *request == sent[0]));
        assert!(sent[0].headers.iter().any(|(name, _)| name == "idempotency-key"));
        let run = workspace.runs().get(&done.run_id).await.unwrap();
        let attempts = &run.steps[0].attempts;
        assert_eq!(attempts.len(), 3, "{attempts:#?}");
        assert_eq!(attempts[0].error.as_ref().unwrap().code, "http_status");
        assert!(attempts.iter().all(|attempt| attempt.key == attempts[0].key && attempt.key.is_some()));
    });
}

#[test]
fn a_failed_run_is_retried_from_the_step_that_failed() {
    in_world(async |world| {
        let moody = Module::new("moody", "1.0.0", "moody");
        let text = r#"
name: moody
trigger: { type: manual }
steps:
  - { id: first, type: create_record, object: task, record: { title: "once" } }
  - { id: second, type: code, action: moody, input: { fails: 1 } }
"#;
        let (_engine, workspace) = world.set_up(&[moody], &[text]).await;
        let failed = workspace.workflows().run("moody", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!(failed.status, RunStatus::Failed);
        assert_eq!(failed.error.as_ref().unwrap().step.as_deref(), Some("second"));
        let again = workspace.runs().retry(&failed.run_id, false).await.unwrap();
        assert!(!again.status.ended());
        let run = workspace.runs().wait(&failed.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        assert_eq!(all_records(&workspace, "task").await.len(), 1, "the first step ran once");
        let error = workspace.runs().retry(&failed.run_id, false).await.unwrap_err();
        assert_eq!(error.code, "run_not_failed");
    });
}

#[test]
fn a_cancelled_run_stops_at_once_and_what_waited_goes_on() {
    in_world(async |mut world| {
        world.config.concurrent_runs = 1;
        let text = ANSWERING.replace("respond: result, respond_within: 10s", "respond: accepted");
        let (engine, workspace) = world.set_up(&[NORMALIZE, SLOW], &[&text]).await;
        let body = |ms: u64| json!({ "ms": ms, "email": "a@b.c" });
        let mut runs = Vec::new();
        for ms in [3_600_000, 1, 1, 1] {
            runs.push(workspace.hook(post("answering", body(ms))).await.unwrap().run_id);
        }
        assert_eq!((engine.stats().runs_running, engine.stats().runs_queued), (1, 3));
        let queued = workspace.runs().get(&runs[1]).await.unwrap();
        assert_eq!(queued.summary.status, RunStatus::Queued);
        // One that waits in the queue is cancelled without waiting for its turn.
        workspace.runs().cancel(&runs[2]).await.unwrap();
        let run = workspace.runs().wait(&runs[2], Duration::from_secs(5)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Cancelled);
        workspace.runs().cancel(&runs[0]).await.unwrap();
        let run = workspace.runs().wait(&runs[0], Duration::from_secs(5)).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Cancelled);
        for id in [&runs[1], &runs[3]] {
            let run = workspace.runs().wait(id, WAIT).await.unwrap();
            assert_eq!(run.summary.status, RunStatus::Completed);
        }
        assert_eq!(workspace.runs().cancel(&runs[0]).await.unwrap_err().code, "run_ended");
        assert_eq!((engine.stats().runs_running, engine.stats().runs_queued), (0, 0));
    });
}

#[test]
fn runs_begin_in_the_order_in_which_they_came() {
    in_world(async |mut world| {
        world.config.concurrent_runs = 1;
        let text = ANSWERING.replace("respond: result, respond_within: 10s", "respond: accepted");
        let (_engine, workspace) = world.set_up(&[NORMALIZE, SLOW], &[&text]).await;
        let mut last = String::new();
        for n in 0..20 {
            let body = json!({ "ms": 100 + n, "email": "a@b.c" });
            last = workspace.hook(post("answering", body)).await.unwrap().run_id;
        }
        workspace.runs().wait(&last, WAIT).await.unwrap();
        let order: Vec<u64> =
            world.code.calls_of("slow").iter().map(|input| input["ms"].as_u64().unwrap()).collect();
        assert_eq!(order, (100..120).collect::<Vec<_>>());
    });
}

#[test]
fn large_values_are_kept_beside_the_rows() {
    in_world(async |world| {
        let big = Module::new("big", "1.0.0", "big");
        let text = r#"
name: big
trigger: { type: manual }
steps:
  - { id: make, type: code, action: big, input: { bytes: 200000 } }
  - { id: call, type: http_request, url: "https://example.com/" }
  - { id: size, type: set, values: { n: "{{ make.text | length }}" } }
"#;
        let (_engine, workspace) = world.set_up(&[big], &[text]).await;
        let done = workspace.workflows().run("big", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!(done.output, Some(json!({"n": 200000})), "{done:?}");
        let run = workspace.runs().get(&done.run_id).await.unwrap();
        assert_eq!(value(&run.steps[0].output)["text"].as_str().unwrap().len(), 200_000);
        let largest = world.store.dump().iter().map(|(_, value)| value.len()).max().unwrap();
        assert!(largest < 40_000, "a row of {largest} bytes");
    });
}

#[test]
fn a_failure_is_kept_no_larger_than_people_read() {
    in_world(async |world| {
        let huge = Module::new("huge", "1.0.0", "huge_error");
        let text = "name: huge\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: code, action: huge }\n";
        let (_engine, workspace) = world.set_up(&[huge], &[text]).await;
        let done = workspace.workflows().run("huge", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!((done.status, done.error.as_ref().unwrap().code.as_str()), (RunStatus::Failed, "huge"));
        let run = workspace.runs().get(&done.run_id).await.unwrap();
        let error = run.steps[0].error.as_ref().unwrap();
        assert!(
            error.message.len() < 10_000 && error.details.as_ref().unwrap()["cut_from_bytes"] == 1_048_587
        );
    });
}

#[test]
fn records_written_by_hand_and_by_runs_share_their_rules() {
    in_world(async |world| {
        let (_engine, workspace) = world.set_up(&[NORMALIZE], &[WEB_FORM]).await;
        let fields = |value: Value| value.as_object().unwrap().clone();
        let person = json!({ "emails": { "primaryEmail": "ada@example.com" } });
        let written = workspace.records().create("person", fields(person.clone())).await.unwrap();
        assert_eq!(written.outcome, "created");
        let error = workspace.records().create("person", fields(person)).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::Conflict, "unique_conflict"));
        let error = workspace.records().create("person", fields(json!({ "emial": 1 }))).await.unwrap_err();
        assert_eq!((error.kind, error.problems.len()), (ErrorKind::Invalid, 1));
        let error = workspace.records().list("persn", Default::default()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        let id = written.record["id"].as_str().unwrap();
        let stale = workspace.records().update("person", id, fields(json!({ "city": "x" })), Some(7)).await;
        assert_eq!(stale.unwrap_err().code, "stale");
        let answer = workspace.hook(post("web-form", lead(1, "ada@example.com"))).await.unwrap();
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert!(run.steps.iter().any(|step| step.path == "person.touch"), "{run:#?}");
        let object = json!({ "name": "pet", "fields": [{ "name": "kind", "type": "text" }] });
        assert_eq!(workspace.objects().create(object).await.unwrap()["name"], "pet");
        let field = json!({ "name": "age", "type": "number" });
        workspace.objects().add_field("pet", field).await.unwrap();
        let pet =
            workspace.records().create("pet", fields(json!({ "kind": "cat", "age": 3 }))).await.unwrap();
        let deleted =
            workspace.records().delete("pet", pet.record["id"].as_str().unwrap(), None).await.unwrap();
        assert_eq!(deleted.outcome, "deleted");
        assert!(all_records(&workspace, "pet").await.is_empty());
    });
}
