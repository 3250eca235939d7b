//! Steps, branches, parallels and results, rule by rule.

use serde_json::{Value, json};

use super::super::*;
use super::support::*;

/// The web form of the design, whole.
fn web_form() -> Value {
    json!({
        "name": "web-form",
        "trigger": {"type": "webhook", "path": "web-form", "method": "POST", "respond": "result"},
        "steps": [
            {"id": "normalize", "type": "code", "action": "normalize-lead@1", "input": "{{ trigger.body }}",
             "limits": {"fuel": 50000000, "memory_bytes": "32MiB", "wall_ms": 500}},
            {"id": "known", "type": "search_records", "object": "person",
             "filter": {"field": "emails.primaryEmail", "is": "{{ normalize.email }}"}},
            {"id": "person", "type": "branch",
             "branches": [{"when": {"value": "{{ known.total }}", "greater_than": 0},
                "do": [{"id": "touch", "type": "update_record", "object": "person",
                        "record_id": "{{ known.records[0].id }}", "record": {"jobTitle": "{{ normalize.jobTitle }}"}}]}],
             "else": [{"id": "create", "type": "upsert_record", "object": "person", "match": ["emails.primaryEmail"],
                       "record": {"name": {"firstName": "{{ normalize.firstName }}"}, "emails": {"primaryEmail": "{{ normalize.email }}"}}}]},
            {"id": "follow_up", "type": "create_record", "object": "task",
             "record": {"title": "Call {{ normalize.firstName }}", "personId": "{{ person.record.id }}"}},
            {"id": "tell", "type": "send_email", "to": "{{ settings.sales }}", "subject": "New: {{ normalize.firstName }}",
             "html": "<p>{{ normalize.note }}</p>"}
        ],
        "output": {"person": "{{ person.record.id }}", "created": "{{ steps.create.status == \"completed\" }}"}
    })
}

fn normalized() -> Value {
    json!({"email": "ann@example.com", "firstName": "Ann", "jobTitle": "CTO", "note": "<b>hi</b>"})
}

#[test]
fn the_web_form_creates_a_new_person() {
    let graph = graph(web_form());
    let mut run = Driven::start(&graph, json!({"body": {"email": "ANN@example.com"}}));
    let Call::Code(call) = run.call("normalize").call else { panic!() };
    assert_eq!(call.action, "normalize-lead@1.2.0");
    assert_eq!(call.input.value, json!({"email": "ANN@example.com"}));
    assert_eq!(call.limits.fuel, Some(50_000_000));
    run.ok("normalize", normalized());
    let Call::Search(search) = run.call("known").call else { panic!() };
    assert_eq!(
        search.filter.unwrap().to_json(),
        json!({"field": "emails.primaryEmail", "is": "ann@example.com"})
    );
    run.ok("known", json!({"records": [], "total": 0}));
    let Call::Upsert(upsert) = run.call("person.create").call else { panic!() };
    assert_eq!(upsert.match_on, ["emails.primaryEmail"]);
    assert_eq!(upsert.record["name"], json!({"firstName": "Ann"}));
    run.ok("person.create", json!({"record": {"id": "p9"}, "outcome": "created"}));
    let Call::Create(task) = run.call("follow_up").call else { panic!() };
    assert_eq!(Value::Object(task.record), json!({"title": "Call Ann", "personId": "p9"}));
    run.ok("follow_up", json!({}));
    let tell = run.call("tell");
    assert!(tell.outside);
    let Call::Email(mail) = tell.call else { panic!() };
    assert_eq!((mail.to[0].as_str(), mail.subject.as_str()), ("sales@example.com", "New: Ann"));
    assert_eq!(mail.html.unwrap(), "<p>&lt;b&gt;hi&lt;/b&gt;</p>");
    let last = run.ok("tell", json!({"message_id": "m"}));
    assert_eq!(run.result(), json!({"person": "p9", "created": true}));
    let Command::Respond(answer) = &last[0] else { panic!("{last:?}") };
    assert_eq!((answer.status, answer.body.clone()), (200, Some(run.result())));
    assert_eq!(run.status("person.touch"), None);
}

#[test]
fn the_web_form_updates_a_known_person() {
    let graph = graph(web_form());
    let mut run = Driven::start(&graph, json!({"body": {}}));
    run.ok("normalize", normalized());
    run.ok("known", json!({"records": [{"id": "p1"}], "total": 1}));
    let Call::Update(update) = run.call("person.touch").call else { panic!() };
    assert_eq!((update.record_id.as_str(), Value::Object(update.record)), ("p1", json!({"jobTitle": "CTO"})));
    run.ok("person.touch", json!({"record": {"id": "p1"}}));
    run.ok("follow_up", json!({}));
    run.ok("tell", json!({}));
    assert_eq!(run.result(), json!({"person": "p1", "created": false}));
}

#[test]
fn a_template_that_misses_something_fails_its_step() {
    let graph = graph(web_form());
    let mut run = Driven::start(&graph, json!({"body": {}}));
    run.ok("normalize", json!({"mail": "x"}));
    assert_eq!(run.error(), ("known".to_owned(), "template_error".to_owned()));
    let error = &run.finished().unwrap().error.as_ref().unwrap().failure;
    insta::assert_snapshot!(error.message, @"filter.is: `normalize` has mail; no `email` (did you mean `mail`?) (in `normalize.email`)");
}

#[test]
fn a_step_whose_condition_is_false_is_skipped() {
    let graph = steps(json!([
        merged(set("a", json!({"x": 1})), json!({"if": "{{ trigger.go }}"})),
        set("b", json!({"a": "{{ a.x | default(\"none\") }}", "status": "{{ steps.a.status }}"})),
    ]));
    assert_eq!(
        Driven::start(&graph, json!({"go": false})).result(),
        json!({"a": "none", "status": "skipped"})
    );
    assert_eq!(Driven::start(&graph, json!({"go": true})).result(), json!({"a": 1, "status": "completed"}));
    assert_eq!(Driven::start(&graph, json!({"go": "yes"})).error().1, "condition_error");
}

#[test]
fn a_branch_gives_its_arms_output_or_its_last_steps() {
    let graph = steps(json!([
        {"id": "pick", "type": "branch", "branches": [
            {"when": {"value": "{{ trigger.n }}", "is": 1}, "do": [set("one", json!({"n": 1}))]},
            {"when": {"value": "{{ trigger.n }}", "is": 2}, "do": [set("two", json!({"n": 2}))], "output": {"twice": "{{ two.n * 2 }}"}},
            {"when": {"value": "{{ trigger.n }}", "is": 3}, "do": []}
        ]},
        set("after", json!({"got": "{{ pick | default(\"nothing\") }}"})),
    ]));
    let got = |n: u32| Driven::start(&graph, json!({"n": n})).result()["got"].clone();
    assert_eq!(got(1), json!({"n": 1}));
    assert_eq!(got(2), json!({"twice": 4}));
    assert_eq!(got(3), json!("nothing"));
    assert_eq!(got(4), json!("nothing"));
    assert_eq!(Driven::start(&graph, json!({"n": 4})).status("pick"), Some(StepStatus::Skipped));
    assert_eq!(Driven::start(&graph, json!({"n": "1"})).error().1, "condition_error");
}

#[test]
fn a_parallel_starts_each_step_when_what_it_needs_is_done() {
    let graph = steps(json!([
        {"id": "both", "type": "parallel", "steps": [
            code("c", json!({"needs": ["a", "b"], "input": {"sum": "{{ a.n + b.n }}"}})),
            code("a", json!({})), code("b", json!({})), code("d", json!({"needs": ["b"]})),
        ]},
        set("after", json!({"c": "{{ c }}", "all": "{{ both }}"})),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    assert_eq!(run.open_paths(), ["both.a", "both.b"]);
    run.ok("both.b", json!({"n": 2}));
    assert_eq!(run.open_paths(), ["both.a", "both.d"]);
    run.ok("both.a", json!({"n": 1}));
    assert_eq!(run.open_paths(), ["both.c", "both.d"]);
    let Call::Code(call) = run.call("both.c").call else { panic!() };
    assert_eq!(call.input.value, json!({"sum": 3}));
    run.ok("both.d", json!("d"));
    run.ok("both.c", json!("c"));
    assert_eq!(run.result(), json!({"c": "c", "all": {"a": {"n": 1}, "b": {"n": 2}, "c": "c", "d": "d"}}));
}

#[test]
fn when_a_parallel_step_fails_running_ones_finish_and_none_starts() {
    let graph = steps(json!([
        {"id": "both", "type": "parallel", "steps": [
            code("a", json!({})), code("b", json!({})), code("c", json!({"needs": ["a"]})),
        ]},
        set("after", json!({})),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    assert!(run.fail("both.b", "second").is_empty());
    assert!(run.ok("both.a", json!({})).iter().all(|command| !matches!(command, Command::Execute(_))));
    assert_eq!(run.error(), ("both.b".to_owned(), "second".to_owned()));
    assert_eq!((run.status("both.c"), run.status("after")), (None, None));

    let mut run = Driven::start(&graph, json!({}));
    run.fail("both.b", "second");
    run.fail("both.a", "first");
    assert_eq!(run.error(), ("both.a".to_owned(), "first".to_owned()));
}

#[test]
fn a_filter_ends_the_run_as_completed() {
    let graph = graph(json!({
        "name": "f", "trigger": {"type": "webhook", "path": "f", "respond": {"status": 201, "body": "{{ b.x }}"}},
        "steps": [{"id": "only", "type": "filter", "when": "{{ trigger.go }}"}, set("b", json!({"x": 1}))],
    }));
    let run = Driven::start(&graph, json!({"go": false}));
    assert_eq!(run.result(), json!(null));
    assert_eq!(run.state.ended_by, Some("only".into()));
    assert_eq!(run.status("b"), None);
    let Command::Respond(answer) = &run.asked[0] else { panic!() };
    assert_eq!((answer.status, &answer.body), (200, &Some(json!(null))));
    let run = Driven::start(&graph, json!({"go": true}));
    let Command::Respond(answer) = &run.asked[0] else { panic!() };
    assert_eq!((answer.status, &answer.body), (201, &Some(json!(1))));
}

#[test]
fn a_stop_ends_the_run_from_inside_a_branch() {
    let stop = |stop: Value| {
        let graph = steps(json!([
            {"id": "pick", "type": "branch", "branches": [], "else": [merged(json!({"id": "halt", "type": "stop"}), stop)]},
            set("after", json!({})),
        ]));
        let run = Driven::start(&graph, json!({"x": 5}));
        assert_eq!(run.status("after"), None);
        (run.state.status, run.status("pick"), run.finished().cloned().unwrap())
    };
    let (status, pick, finished) = stop(json!({"output": {"x": "{{ trigger.x }}"}}));
    assert_eq!((status, pick), (RunStatus::Completed, Some(StepStatus::Completed)));
    assert_eq!(**finished.output.value().unwrap(), json!({"x": 5}));
    let (status, pick, finished) = stop(json!({"status": "failed", "message": "no {{ trigger.x }}"}));
    assert_eq!((status, pick), (RunStatus::Failed, Some(StepStatus::Failed)));
    let error = finished.error.unwrap();
    assert_eq!((error.step.unwrap().as_str(), error.failure.message.as_str()), ("pick.halt", "no 5"));
}

#[test]
fn a_run_without_steps_completes_at_once() {
    assert_eq!(Driven::start(&steps(json!([])), json!({})).result(), json!(null));
}

#[test]
fn a_thousand_steps_need_no_stack() {
    let list: Vec<Value> = (0..1000).map(|i| set(&format!("s{i}"), json!({"n": i}))).collect();
    assert_eq!(Driven::start(&steps(json!(list)), json!({})).result(), json!({"n": 999}));
}

#[test]
fn secrets_stay_references_in_calls() {
    let graph = steps(json!([http(
        "get",
        json!({
            "method": "POST", "url": "https://x.org/{{ trigger.id }}?k={{ secrets.KEY }}",
            "headers": {"authorization": "Bearer {{ secrets.KEY }}"},
            "query": {"tag": ["a", "{{ trigger.id }}"]}, "body": {"json": {"key": "{{ secrets.KEY }}"}},
        })
    )]));
    let run = Driven::start(&graph, json!({"id": "ä/1"}));
    let execute = run.call("get");
    let written = serde_json::to_string(&execute).unwrap();
    assert_eq!(serde_json::from_str::<Execute>(&written).unwrap(), execute);
    let Call::Http(call) = execute.call else { panic!() };
    assert_eq!(call.url.text, "https://x.org/%C3%A4%2F1?k={{ secrets.KEY }}");
    assert_eq!(call.url.reveal(|_| Some("s".into())).unwrap(), "https://x.org/%C3%A4%2F1?k=s");
    assert_eq!(call.headers["authorization"].reveal(|_| Some("s".into())).unwrap(), "Bearer s");
    assert_eq!(call.query.len(), 2);
    let Some(HttpBody::Json(body)) = call.body else { panic!() };
    assert_eq!(body.reveal(|_| Some("s".into())).unwrap(), json!({"key": "s"}));
    assert_eq!(call.idempotency_key, execute.key);
}

#[test]
fn a_call_is_the_same_however_far_the_steps_beside_it_are() {
    let see = json!({"input": {"all": "{{ steps }}"}, "retry": {"attempts": 2}});
    let graph = steps(json!([
        code("before", json!({})),
        {"id": "both", "type": "parallel", "steps": [
            code("a", see), code("b", json!({})),
            {"id": "deep", "type": "branch", "branches": [], "else": [code("d", json!({"input": "{{ b | default(\"unknown\") }}"}))]},
            code("c", json!({"needs": ["b"], "input": "{{ b }}"})),
        ]},
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.ok("before", json!({"n": 1}));
    let (a, d) = (run.call("both.a"), run.call("both.deep.d"));
    run.ok("both.b", json!("b"));
    assert_eq!((run.call("both.a"), run.call("both.deep.d")), (a.clone(), d));
    run.answer("both.a", Err(failure("deadline", true)));
    run.fire();
    assert_eq!(run.call("both.a").call, a.call);
    let Call::Code(call) = a.call else { panic!() };
    let shown = &call.input.value["all"];
    assert_eq!(shown["before"], json!({"status": "completed", "error": null, "output": {"n": 1}}));
    assert_eq!((&shown["a"]["status"], &shown["b"]["status"]), (&json!("pending"), &json!("pending")));
    let Call::Code(call) = run.call("both.c").call else { panic!() };
    assert_eq!(call.input.value, json!("b"));
}

#[test]
fn now_is_the_clock_at_the_steps_start_in_every_attempt() {
    let graph = steps(json!([
        http("first", json!({})),
        http("second", json!({"headers": {"at": "{{ now() }}"}, "retry": {"attempts": 2}})),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.answer_at("first", Ok(json!({})), time(7));
    let before = run.call("second");
    assert_eq!(before.started_at, time(7));
    run.answer_at("second", Err(failure("http_error", true)), time(9));
    run.fire();
    let after = run.call("second");
    assert_eq!((after.attempt, after.started_at, &after.key), (2, time(7), &before.key));
    assert_eq!(after.call, before.call);
}

#[test]
fn every_attempt_of_code_has_a_seed_of_its_own() {
    let graph = steps(json!([code("act", json!({"retry": {"attempts": 2}})), http("get", json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    let before = run.call("act");
    run.answer("act", Err(failure("deadline", true)));
    run.fire();
    let after = run.call("act");
    assert_eq!((after.attempt, &after.key), (2, &before.key));
    assert!(before.seed != 0 && after.seed != 0 && before.seed != after.seed);
    run.ok("act", json!({}));
    assert_eq!(run.call("get").seed, 0, "nothing is random in any other call");
}
