//! Tests of workflows as their authors write them: what passes, and what is told when something does not.

#![allow(clippy::unwrap_used)] // a test that cannot go on stops

use std::path::Path;

use stepwell_harness::{FlowReport, FlowTestOptions, HarnessError, test_workflows};

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

async fn tried(files: &[(&str, &str)]) -> Result<FlowReport, HarnessError> {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("flow");
    write(&folder, files);
    test_workflows(&folder, &FlowTestOptions::default()).await
}

/// The report's text, with the folder's name as it is anywhere, and without ids.
async fn report(files: &[(&str, &str)]) -> String {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("flow");
    write(&folder, files);
    let report = test_workflows(&folder, &FlowTestOptions::default()).await.unwrap();
    let text = report.text().replace(&format!("{}/", parent.path().display()), "");
    let is_id = |part: &&str| part.len() >= 32 && part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    text.split('"').map(|part| if is_id(&part) { "ID" } else { part }).collect::<Vec<_>>().join("\"")
}

const SYNC: &str = r#"
name: sync
trigger:
  type: webhook
  path: sync
  respond: result
  body_schema: { type: object, required: [email] }
steps:
  - id: push
    type: http_request
    method: POST
    url: "https://api.example.com/v1/{{ settings.list }}?source=form"
    headers: { Authorization: "Bearer {{ secrets.api_key }}" }
    body: { json: { email: "{{ trigger.body.email }}" } }
    retry: { attempts: 3, backoff: { initial: 10s, factor: 2 } }
  - { id: wait, type: delay, for: 2h }
  - { id: note, type: create_record, object: note, record: { title: "Synced {{ push.body.id }}" } }
  - { id: tell, type: send_email, to: [sales@example.com], subject: "Lead {{ push.body.id }}", text: "It is {{ now() }}" }
output: { id: "{{ push.body.id }}" }
"#;

/// A schedule every second, for ten years: that is told, and not tried to the end.
#[tokio::test]
async fn time_that_brings_runs_without_end_is_an_error() {
    let busy = "name: busy\ntrigger: { type: schedule, every: 1s }\nsteps: [{ id: a, type: set, values: { x: 1 } }]\n";
    let test = "workflow: busy\nsteps:\n  - advance: 3650d\n  - expect: { runs: 1 }\n";
    let report = tried(&[("busy.yaml", busy), ("tests/long.yaml", test)]).await.unwrap();
    assert_eq!(report.failed(), 1, "{}", report.text());
    assert!(report.text().contains("more than 10000 runs have come to their end"), "{}", report.text());
}

const ASKS: &str = r#"
name: asks
trigger: { type: manual }
steps:
  - { id: mail, type: send_email, to: boss@example.com, subject: May we?, text: "{{ run.input_links.ask }}" }
  - { id: ask, type: wait_for_input, timeout: 2d, schema: { type: object, required: [ok] }, on_timeout: continue }
output: { said: "{{ ask.ok | default('nothing') }}" }
"#;

#[tokio::test]
async fn a_test_gives_the_input_that_a_run_waits_for() {
    let given = "steps:\n  - trigger: {}\n  - expect: { status: waiting, mail: [{ contains: /inputs/default/ }] }\n  - input: { data: { ok: true } }\n  - expect: { status: completed, output: { said: true } }\n";
    let late = "steps:\n  - trigger: {}\n  - advance: 3d\n  - expect: { status: completed, output: { said: nothing } }\n";
    let wrong = "steps:\n  - trigger: {}\n  - input: { data: {} }\n  - expect: { status: waiting }\n";
    let report = tried(&[
        ("asks.yaml", ASKS),
        ("tests/given.yaml", given),
        ("tests/late.yaml", late),
        ("tests/wrong.yaml", wrong),
    ])
    .await
    .unwrap();
    assert_eq!(report.failed(), 1, "{}", report.text());
    assert!(report.text().contains("the input does not fit the schema of `ask`"), "{}", report.text());
}

/// What is said of a run before it fails says nothing of its failure.
#[tokio::test]
async fn a_failure_after_the_last_look_at_how_runs_end_is_told() {
    let flow = "name: late
trigger: { type: manual }
steps:
  - { id: ask, type: wait_for_input, schema: { type: object } }
  - { id: s, type: stop, status: failed, message: no }
";
    let tried = async |after: &str| {
        let test = format!(
            "steps:\n  - trigger: {{}}\n  - expect: {{ status: waiting }}\n  - input: {{ data: {{}} }}\n{after}"
        );
        tried(&[("late.yaml", flow), ("tests/t.yaml", &test)]).await.unwrap().passed()
    };
    assert!(!tried("").await);
    assert!(!tried("  - expect: { http: 0 }\n").await);
    assert!(tried("  - expect: { status: failed }\n").await);
    assert!(tried("  - expect: { runs: 1 }\n").await);
}

const TIMED: &str = r#"
about: A busy peer is asked again, and what waits goes on when time has come.
at: 2026-03-02T09:00:00Z
settings: { list: leads }
secrets: { api_key: made-up }
http:
  - { method: POST, path: /v1/leads, answer: { status: 503 } }
  - { method: POST, path: /v1/leads, error: connection }
  - url: https://api.example.com/v1/leads
    query: { source: form }
    headers: { authorization: Bearer made-up }
    body: { email: ada@example.com }
    answer: { status: 201, body: { id: 17 } }
steps:
  - trigger: { body: { email: ada@example.com, other: 1 } }
  - expect: { status: waiting, http: 1, mail: 0 }
  - advance: 12s
  - expect: { status: waiting, http: 2 }
  - advance: 24s
  - expect: { http: 3, records: { note: 0 }, answer: { status: 202 } }
  - advance: 2h
  - expect:
      status: completed
      output: { id: 17 }
      records: { note: [{ title: Synced 17 }] }
      http:
        - { method: POST, url: "https://api.example.com/v1/leads?source=form", body: { email: ada@example.com }, count: 3 }
      mail: [{ to: [sales@example.com], subject: Lead 17, contains: "2026-03-02T11:00", lacks: [made-up] }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_moves_only_as_a_test_says() {
    insta::assert_snapshot!(report(&[("sync.yaml", SYNC), ("tests/timed.yaml", TIMED)]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_is_resumed_by_a_test() {
    let flow = "name: ask\ntrigger: { type: manual }\nsteps:\n  - { id: ask, type: http_request, method: GET, url: 'https://api.example.com/rate', on_error: pause }\noutput: { rate: '{{ ask.body.rate }}' }\n";
    let test = "http:\n  - { answer: { status: 404 } }\n  - { answer: { body: { rate: 2 } } }\nsteps:\n  - trigger: {}\n  - expect: { status: paused }\n  - resume: {}\n  - expect: { status: completed, output: { rate: 2 } }\n";
    let by_hand = "http: { answer: { status: 404 } }\nsteps:\n  - trigger: {}\n  - resume: { output: { body: { rate: 3 } } }\n  - expect: { status: completed, output: { rate: 3 } }\n";
    let text =
        report(&[("ask.yaml", flow), ("tests/again.yaml", test), ("tests/by-hand.yaml", by_hand)]).await;
    insta::assert_snapshot!(text);
}

const EVENTS: &[(&str, &str)] = &[
    (
        "greet.yaml",
        "name: greet\ntrigger: { type: record_event, object: person, on: created, settle: 30s }\nsteps:\n  - { id: task, type: create_record, object: task, record: { title: 'Greet {{ trigger.after.name.firstName }}', personId: '{{ trigger.record_id }}' } }\n",
    ),
    (
        "nightly.yaml",
        "name: nightly\ntrigger: { type: schedule, cron: '0 3 * * *' }\nsteps:\n  - { id: note, type: create_record, object: note, record: { title: 'Night of {{ trigger.scheduled_at }}' } }\n",
    ),
    (
        "add.json",
        "{\"name\": \"add\", \"trigger\": {\"type\": \"manual\"}, \"steps\": [{\"id\": \"sum\", \"type\": \"set\", \"values\": {\"n\": \"{{ trigger.input.a + trigger.input.b }}\"}}]}",
    ),
    ("other.yaml", "objects: []\n"),
    (
        "tests/event.yaml",
        "workflow: greet\nrecords: { person: [{ name: { firstName: Old }, emails: { primaryEmail: old@example.com } }] }\nsteps:\n  - create_record: { object: person, record: { name: { firstName: Ada }, emails: { primaryEmail: ada@example.com } } }\n  - advance: 20s\n  - expect: { runs: 0 }\n  - advance: 20s\n  - expect: { status: completed, records: { task: [{ title: Greet Ada }] }, runs: [{ workflow: greet, trigger: record_event, status: completed }] }\n  - update_record: { object: person, record_id: '{{ records.person[0].id }}', record: { jobTitle: Analyst } }\n  - delete_record: { object: person, record_id: '{{ records.person[0].id }}' }\n  - expect: { runs: 1, records: { person: [{ name: { firstName: Ada } }] } }\n",
    ),
    (
        "tests/named.yaml",
        "workflow: greet\nsteps:\n  - create_record: { object: person, as: ada, record: { name: { firstName: Ada } } }\n  - create_record: { object: person, as: bob, record: { name: { firstName: '{{ ada.name.firstName }} II' } } }\n  - update_record: { object: person, record_id: '{{ bob.id }}', record: { city: '{{ ada.createdAt }}' }, as: later }\n  - expect: { records: { person: [{ id: '{{ ada.id }}' }, { id: '{{ bob.id }}', city: '{{ later.city }}' }] } }\n  - advance: 1m\n  - expect: { records: { task: [{ title: Greet Ada, personId: '{{ ada.id }}' }, { title: Greet Ada II, personId: '{{ bob.id }}' }] } }\n  - delete_record: { object: person, record_id: '{{ ada.id }}' }\n  - expect: { records: { person: [{ city: '{{ ada.createdAt }}' }] } }\n",
    ),
    (
        "tests/three-nights.yaml",
        "workflow: nightly\nat: 2026-03-02T09:00:00Z\nsteps:\n  - advance: 3d\n  - expect: { runs: 3, records: { note: [{ title: 'Night of 2026-03-03T03:00:00Z' }, { title: 'Night of 2026-03-04T03:00:00Z' }, { title: 'Night of 2026-03-05T03:00:00Z' }] } }\n",
    ),
    (
        "tests/by-hand.yaml",
        "workflow: add\ntrigger: { input: { a: 1, b: 2 } }\nexpect: { output: { n: 3 } }\n",
    ),
    (
        "tests/all.yaml",
        "steps:\n  - trigger: { workflow: add, input: { a: 1, b: 2 } }\n  - expect: { output: { n: 3 } }\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_trigger_can_be_tested() {
    insta::assert_snapshot!(report(EVENTS).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_as_expected_is_shown_with_its_place() {
    let other = "settings: { list: leads }\nsecrets: { api_key: made-up }\nhttp:\n  - { method: GET, path: /v1/lists, times: any }\n  - { method: POST, path: /v1/leads, query: { source: web }, body: { email: bob@example.com } }\ntrigger: { body: { email: ada@example.com } }\nexpect: { status: waiting }\n";
    let wrong = "settings: { list: leads }\nsecrets: { api_key: made-up }\nhttp: { answer: { body: { id: 17 } } }\nsteps:\n  - trigger: { body: { email: ada@example.com } }\n  - advance: 3h\n  - expect:\n      status: failed\n      output: { id: 18 }\n      records: { note: [{ title: Synced 18 }, { title: More }] }\n      mail: [{ subject: Lead 17, contains: [nothing of that] }]\n      http: [{ method: GET, body: { email: bob@example.com } }]\n      runs: 2\n      refused: invalid_body\n";
    let failing = "settings: { list: leads }\nsecrets: { api_key: made-up }\nhttp: { answer: { status: 400, body: { message: no such list } } }\ntrigger: { body: { email: ada@example.com } }\nexpect: { mail: 0 }\n";
    let refused = "settings: { list: leads }\nsecrets: { api_key: made-up }\ntrigger: { body: {} }\nexpect: { mail: 0 }\n";
    let text = report(&[
        ("sync.yaml", SYNC),
        ("tests/1-unanswered.yaml", other),
        ("tests/2-wrong.yaml", wrong),
        ("tests/3-failed.yaml", failing),
        ("tests/4-refused.yaml", refused),
        ("tests/5-unknown-key.yaml", "trigger: { body: {} }\nexpect: { statuz: completed }\n"),
        ("tests/6-no-setting.yaml", "trigger: { body: {} }\nexpect: { mail: 0 }\n"),
        ("tests/7-other-workflow.yaml", "workflow: snyc\ntrigger: { body: {} }\nexpect: { mail: 0 }\n"),
    ])
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_tested_says_what_it_lacks() {
    let flow = "name: f\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: code, action: price-order@1, input: {} }\n";
    let test = ("tests/a.yaml", "trigger: { input: {} }\nexpect: { status: completed }\n");
    let missing = tried(&[("f.yaml", flow), test]).await.unwrap_err().to_string();
    assert!(missing.contains("f.yaml: the action `price-order` is not there: neither actions/price-order/action.toml nor actions/price-order.wasm"), "{missing}");
    let none = tried(&[("f.yaml", flow)]).await.unwrap_err().to_string();
    assert!(none.contains("make tests/NAME.yaml"), "{none}");
    let empty = tried(&[("other.yaml", "a: 1\n"), test]).await.unwrap_err().to_string();
    assert!(empty.contains("there is no workflow"), "{empty}");
    let bad =
        tried(&[("f.yaml", &flow.replace("type: code", "type: cdoe")), test]).await.unwrap_err().to_string();
    assert!(bad.contains("f.yaml:4") && bad.contains("did you mean"), "{bad}");
}
