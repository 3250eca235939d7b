//! What is asked, and what becomes of the answer.

use super::{WAIT, data, start, support, token, world};
use serde_json::{Value, json};
use stepwell_engine::{ItemFilter, PageRequest, Payload, RunStatus, StepStatus};
use stepwell_store::keys::Space;
use support::{all_records, in_world};

/// What the workflow keeps may change while the run waits: the question stays.
#[test]
fn a_question_stays_as_it_was_asked() {
    const ASKS: &str = r#"
name: asks
trigger: { type: manual }
steps:
  - { id: batch, type: set_state, values: { batch: B7 } }
  - id: both
    type: parallel
    steps:
      - { id: ask, type: send_email, to: boss@example.com, subject: "!", text: "{{ run.input_links.approval }}" }
      - { id: approval, type: wait_for_input, title: "Batch {{ state.batch }}", message: "Release {{ state.batch }}?" }
      - { id: clear, type: set_state, values: { batch: null } }
      - { id: later, type: delay, for: 1h }
output: "{{ both.approval }}"
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[ASKS]).await;
        let id = start(&workspace, "asks").await.summary.id;
        let token = token(&workspace).await;
        let runs = workspace.runs();
        let form = runs.input_form(&token).await.unwrap();
        assert_eq!((form.title.as_str(), form.message.as_deref()), ("Batch B7", Some("Release B7?")));
        runs.give_input(&id, data(true)).await.unwrap();
        let run = runs.wait(&id, 2 * WAIT).await.unwrap();
        assert_eq!(run.output, Some(Payload::Value(json!({ "ok": true }))), "{run:#?}");
        engine.close().await;
    });
}

#[test]
fn what_people_gave_to_items_is_shown_with_them() {
    const EACH: &str = r#"
name: each
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ range(2) }}"
    concurrency: 2
    do:
      - { id: give, type: wait_for_input, timeout: 1h, on_timeout: continue }
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[EACH]).await;
        let id = start(&workspace, "each").await.summary.id;
        let runs = workspace.runs();
        let given = stepwell_engine::GiveInput { step: Some("rows[0].give".into()), data: json!({ "n": 1 }) };
        runs.give_input(&id, given).await.unwrap();
        let run = runs.wait(&id, 2 * WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let items = runs.items(&id, ItemFilter::default(), PageRequest::default()).await.unwrap().items;
        let [given, late] = items.as_slice() else { panic!("{items:#?}") };
        let n = Some(Payload::Value(json!({ "n": 1 })));
        assert_eq!((&given.output, &given.steps[0].output), (&n, &n));
        assert_eq!(
            (given.steps[0].status, late.steps[0].status),
            (StepStatus::Completed, StepStatus::Failed)
        );
        let error = late.steps[0].error.as_ref().unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("timeout", "nobody gave the input within 1h")
        );
        engine.close().await;
    });
}

/// Whatever way a secret comes in, it is not shown.
#[test]
fn a_secret_of_a_connection_is_not_kept_with_what_is_given() {
    const BILLS: &str = r#"
name: bills
trigger: { type: manual }
steps:
  - { id: why, type: wait_for_input }
  - { id: bill, type: http_request, connection: billing, url: /bills }
output: "{{ why }}"
"#;
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.open().await;
        workspace.secrets().put("BILLING", "sk-very-secret-key").await.unwrap();
        let connection =
            "base_url: https://billing.example.com/\nauth: { bearer: '{{ secrets.BILLING }}' }\n";
        workspace.connections().put("billing", connection).await.unwrap();
        support::activate(&workspace, BILLS).await;
        let id = start(&workspace, "bills").await.summary.id;
        let note = json!({ "note": "it said: Bearer sk-very-secret-key" });
        let given = stepwell_engine::GiveInput { step: None, data: note };
        workspace.runs().give_input(&id, given).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        let shown = serde_json::to_value(&run).unwrap();
        assert_eq!(shown["output"], json!({ "note": "it said: Bearer ***" }), "{shown:#}");
        assert!(!contains(&shown, "sk-very"));
        assert!(world.store.dump().iter().all(|(_, row)| !contains_bytes(row, b"sk-very")));
        engine.close().await;
    });
}

fn contains(value: &Value, text: &str) -> bool {
    value.to_string().contains(text)
}

fn contains_bytes(row: &[u8], text: &[u8]) -> bool {
    row.windows(text.len()).any(|part| part == text)
}

/// Refusals fail the run: whatever else it was doing is over, though `on_failure` waits for somebody.
const REFUSES: &str = r#"
name: refuses
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ range(2) }}"
    concurrency: 2
    do:
      - { id: ok, type: wait_for_input }
      - { id: no, type: stop, status: failed, if: "{{ not ok.yes }}" }
      - { id: ship, type: create_record, object: task, record: { title: "Row {{ index }}" } }
"#;

fn answer(n: u64, yes: bool) -> stepwell_engine::GiveInput {
    stepwell_engine::GiveInput { step: Some(format!("rows[{n}].ok")), data: json!({ "yes": yes }) }
}

#[test]
fn what_a_stop_has_failed_takes_no_more_answers_while_on_failure_waits() {
    let text = format!("{REFUSES}on_failure:\n  - {{ id: sorry, type: wait_for_input }}\n");
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[&text]).await;
        let id = start(&workspace, "refuses").await.summary.id;
        let runs = workspace.runs();
        runs.give_input(&id, answer(0, false)).await.unwrap();
        let sorry = || stepwell_engine::GiveInput { step: Some("on_failure.sorry".into()), data: json!({}) };
        while runs.get(&id).await.unwrap().steps.iter().all(|step| step.path != "on_failure.sorry") {
            runs.wait(&id, WAIT / 3600).await.unwrap();
        }
        let late = runs.give_input(&id, answer(1, true)).await.unwrap_err();
        assert_eq!(late.code, "input_expired");
        assert_eq!(world.rows(Space::Timers).len(), 1, "that of `sorry` alone");
        runs.give_input(&id, sorry()).await.unwrap();
        let run = runs.wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.error.as_ref().unwrap().step.as_deref(), Some("rows[0].no"));
        assert!(all_records(&workspace, "task").await.is_empty());
        engine.close().await;
    });
}

/// Neither does what was about to be done in the same commit.
#[test]
fn what_a_stop_has_failed_writes_no_more() {
    const STOPS: &str = r#"
name: stops
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: "{{ range(2) }}"
    concurrency: 2
    do:
      - { id: no, type: stop, status: failed, if: "{{ index == 1 }}" }
      - { id: ship, type: create_record, object: task, record: { title: "Row {{ index }}" } }
on_failure:
  - { id: tell, type: create_record, object: note, record: { title: "Failed" } }
"#;
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[STOPS]).await;
        let id = start(&workspace, "stops").await.summary.id;
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.error.as_ref().unwrap().code, "stopped");
        assert_eq!(all_records(&workspace, "note").await.len(), 1);
        assert!(all_records(&workspace, "task").await.is_empty());
        engine.close().await;
    });
}

/// Somebody was told that the answer was taken: it is kept, though the run came to its end by another one.
#[test]
fn an_answer_that_the_run_did_not_come_to_hear_is_shown() {
    in_world(|w| async move {
        let world = world(w);
        let (engine, workspace) = world.set_up(&[], &[REFUSES]).await;
        let id = start(&workspace, "refuses").await.summary.id;
        let runs = workspace.runs();
        let both = [(0, false), (1, true)].map(|(n, yes)| runs.give_input(&id, answer(n, yes)));
        for taken in futures::future::join_all(both).await {
            taken.unwrap();
        }
        assert_eq!(runs.wait(&id, WAIT).await.unwrap().summary.status, RunStatus::Failed);
        let items = runs.items(&id, ItemFilter::default(), PageRequest::default()).await.unwrap().items;
        let late = &items.iter().find(|item| item.index == 1).unwrap().steps[0];
        assert_eq!((late.status, &late.output), (StepStatus::Cancelled, &None), "{late:#?}");
        assert_eq!(late.attempts[0].answer, Some(Payload::Value(json!({ "yes": true }))));
        assert_eq!(late.attempts[0].outcome, stepwell_engine::AttemptOutcome::Interrupted);
        engine.close().await;
    });
}
