//! Retries, handlers, cancelling and taking up again, rule by rule.

use serde_json::{Value, json};

use super::super::*;
use super::support::*;

#[test]
fn a_failed_attempt_is_made_again_after_a_growing_wait() {
    let graph = steps(json!([http(
        "get",
        json!({"retry": {"attempts": 3, "backoff": {"initial": "1s", "factor": 10.0, "max": "1m"}}})
    )]));
    let mut run = Driven::start(&graph, json!({}));
    run.answer_at("get", Err(failure("http_error", true)), time(10));
    assert_eq!(run.state.status, RunStatus::Waiting);
    let (timer, due) = run.timers().remove(0);
    assert!(due >= later(time(10), 800) && due <= later(time(10), 1200), "{due}");
    assert!(run.event(Event::TimerFired { timer: Timer { attempt: 7, ..timer }, at: due }).is_empty());
    run.fire();
    assert_eq!((run.call("get").attempt, run.state.clock), (2, due));
    run.answer_at("get", Err(failure("http_error", true)), time(20));
    let (_, due) = run.timers().remove(0);
    assert!(due >= later(time(20), 8_000) && due <= later(time(20), 12_000), "{due}");
    run.fire();
    run.answer_at("get", Err(failure("http_error", true)), time(40));
    assert_eq!(run.error(), ("get".to_owned(), "http_error".to_owned()));
    assert_eq!(run.state.step(&"get".into()).unwrap().attempt, 3);
}

#[test]
fn retry_after_is_honoured_and_within_is_kept() {
    let graph = steps(json!([http(
        "get",
        json!({"retry": {"attempts": 9, "within": "60s", "backoff": {"initial": "1s"}}})
    )]));
    let asked = |ms| Err(Failure { retry_after_ms: Some(ms), ..failure("http_status", true) });
    let mut run = Driven::start(&graph, json!({}));
    run.answer_at("get", asked(30_000), time(5));
    assert_eq!(run.timers()[0].1, time(35));
    run.fire();
    run.answer_at("get", asked(30_000), time(36));
    assert_eq!(run.error().1, "http_status");
}

#[test]
fn what_is_deterministic_is_not_retried() {
    let graph = steps(json!([code("act", json!({"retry": {"attempts": 5}}))]));
    let attempts = |failure: Failure| {
        let mut run = Driven::start(&graph, json!({}));
        run.answer("act", Err(failure));
        run.timers().len()
    };
    let from = |source, code: &str, retryable| Failure { source, ..failure(code, retryable) };
    assert_eq!(attempts(from(Source::Sandbox, "fuel_exhausted", true)), 0);
    assert_eq!(attempts(from(Source::Sandbox, "trap", false)), 0);
    assert_eq!(attempts(from(Source::Sandbox, "deadline", true)), 1);
    assert_eq!(attempts(from(Source::Action, "bad", false)), 0);
    assert_eq!(attempts(from(Source::Action, "busy", true)), 1);
    assert_eq!(attempts(failure("invalid_record", false)), 0);
}

#[test]
fn retry_on_chooses_which_failures_are_made_again() {
    let on = json!({"any": [{"field": "status", "in": [202, 409]}, {"field": "code", "is": "timeout"}]});
    let graph = steps(json!([http("get", json!({"retry": {"attempts": 2, "on": on}}))]));
    let waits = |code: &str, status: u16, retryable| {
        let mut run = Driven::start(&graph, json!({}));
        run.answer(
            "get",
            Err(Failure { details: Some(json!({"status": status})), ..failure(code, retryable) }),
        );
        run.timers().len()
    };
    assert_eq!(waits("http_status", 409, false), 1);
    assert_eq!(waits("timeout", 0, true), 1);
    assert_eq!(waits("http_status", 503, true), 0);
    assert_eq!(waits("http_status", 422, false), 0);
}

#[test]
fn continue_reads_like_a_skipped_step() {
    let graph = steps(json!([
        http("get", json!({"on_error": "continue"})),
        set(
            "after",
            json!({"got": "{{ get.body | default(\"none\") }}", "why": "{{ steps.get.error.code }}", "status": "{{ steps.get.status }}"})
        ),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.fail("get", "http_status");
    assert_eq!(run.result(), json!({"got": "none", "why": "http_status", "status": "failed"}));
}

#[test]
fn a_handler_sees_the_error_and_gives_the_output() {
    let graph = steps(json!([
        http(
            "get",
            json!({"on_error": {"do": [
                set("note", json!({"was": "{{ error.code }}", "status": "{{ error.status }}"})),
                code("mend", json!({"input": "{{ note }}"})),
            ]}})
        ),
        set("after", json!({"got": "{{ get }}"})),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.answer(
        "get",
        Err(Failure { details: Some(json!({"status": 404})), ..failure("http_status", false) }),
    );
    let Call::Code(call) = run.call("get.mend").call else { panic!() };
    assert_eq!(call.input.value, json!({"was": "http_status", "status": 404}));
    run.ok("get.mend", json!("mended"));
    assert_eq!(run.result(), json!({"got": "mended"}));
    let step = run.state.step(&"get".into()).unwrap();
    assert_eq!((step.status, step.handled, step.error.is_some()), (StepStatus::Completed, true, true));

    let mut run = Driven::start(&graph, json!({}));
    run.answer(
        "get",
        Err(Failure { details: Some(json!({"status": 404})), ..failure("http_status", false) }),
    );
    run.fail("get.mend", "worse");
    assert_eq!(run.error(), ("get.mend".to_owned(), "worse".to_owned()));
}

#[test]
fn an_error_inside_a_branch_or_a_parallel_is_the_outer_steps_to_handle() {
    for inner in [
        json!({"type": "branch", "branches": [], "else": [code("act", json!({}))]}),
        json!({"type": "parallel", "steps": [code("act", json!({}))]}),
    ] {
        let outer = merged(inner, json!({"id": "outer", "on_error": "continue"}));
        let graph = steps(json!([outer, set("after", json!({"code": "{{ steps.outer.error.code }}"}))]));
        let mut run = Driven::start(&graph, json!({}));
        run.fail("outer.act", "broken");
        assert_eq!(run.result(), json!({"code": "broken"}));
    }
}

fn with_on_failure() -> crate::graph::Graph {
    graph(json!({
        "name": "f", "trigger": {"type": "manual"},
        "steps": [code("a", json!({})), code("b", json!({}))],
        "on_failure": [code("tell", json!({"input": {"code": "{{ error.code }}", "of": "{{ error.step }}", "a": "{{ steps.a.status }}", "b": "{{ steps.b.status }}"}}))],
    }))
}

#[test]
fn on_failure_runs_when_the_run_has_failed() {
    let graph = with_on_failure();
    let mut run = Driven::start(&graph, json!({}));
    run.ok("a", json!({}));
    run.fail("b", "broken");
    assert_eq!(run.state.status, RunStatus::Running);
    let Call::Code(call) = run.call("on_failure.tell").call else { panic!() };
    assert_eq!(call.input.value, json!({"code": "broken", "of": "b", "a": "completed", "b": "failed"}));
    run.fail("on_failure.tell", "worse");
    assert_eq!(run.error(), ("b".to_owned(), "broken".to_owned()));
}

#[test]
fn cancelling_ends_everything_and_says_what_is_not_known() {
    let graph = steps(
        json!([{"id": "both", "type": "parallel", "steps": [http("sent", json!({})), code("act", json!({}))]}]),
    );
    let mut run = Driven::start(&graph, json!({}));
    run.event(Event::AttemptStarted { path: "both.sent".into(), attempt: 1, run: None, at: time(1) });
    assert!(run.state.step(&"both.sent".into()).unwrap().sent);
    let commands = run.event(Event::CancelRequested { at: time(2) });
    assert!(matches!(&commands[..], [Command::Finished(f)] if f.status == RunStatus::Cancelled));
    let sent = run.state.step(&"both.sent".into()).unwrap();
    assert_eq!(
        (sent.status, sent.error.as_ref().unwrap().code.as_str()),
        (StepStatus::Cancelled, "interrupted")
    );
    assert_eq!(run.state.step(&"both.act".into()).unwrap().error, None);
    let before = run.state.clone();
    for late in [
        Event::StepDone { path: "both.sent".into(), attempt: 1, result: Ok(json!({}).into()), at: time(3) },
        Event::CancelRequested { at: time(4) },
        Event::RetryRequested { at: time(4) },
        started(json!({})),
    ] {
        assert!(run.event(late).is_empty());
    }
    assert_eq!(run.state, before);
}

#[test]
fn events_that_do_not_fit_change_nothing() {
    let graph = steps(json!([code("a", json!({})), code("b", json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.ok("a", json!({"n": 1}));
    let before = run.state.clone();
    for stray in [
        Event::StepDone { path: "a".into(), attempt: 1, result: Ok(json!({"n": 2}).into()), at: time(9) },
        Event::StepDone { path: "b".into(), attempt: 2, result: Ok(json!({}).into()), at: time(9) },
        Event::StepDone { path: "nothing".into(), attempt: 1, result: Ok(json!({}).into()), at: time(9) },
        Event::AttemptStarted { path: "b".into(), attempt: 1, run: None, at: time(9) },
        Event::Resumed { path: "b".into(), how: Resume::Skip, at: time(9) },
        Event::RetryRequested { at: time(9) },
        started(json!({"other": true})),
    ] {
        assert!(run.event(stray).is_empty());
        assert_eq!(run.state, before);
    }
    let mut unborn = Driven::new(&graph);
    assert!(unborn.event(Event::RetryRequested { at: time(1) }).is_empty());
}

#[test]
fn a_run_cancelled_before_it_began_never_begins() {
    let graph = steps(json!([code("a", json!({}))]));
    let mut run = Driven::new(&graph);
    assert_eq!(run.event(Event::CancelRequested { at: time(0) }).len(), 1);
    assert!(run.event(started(json!({}))).is_empty());
    assert_eq!(run.state.status, RunStatus::Cancelled);
}

#[test]
fn a_failed_run_goes_on_from_the_step_that_failed() {
    let graph = with_on_failure();
    let mut run = Driven::start(&graph, json!({}));
    run.ok("a", json!({}));
    let first = run.call("b");
    run.fail("b", "refused");
    run.ok("on_failure.tell", json!({}));
    assert_eq!(run.state.status, RunStatus::Failed);
    run.event(Event::RetryRequested { at: time(100) });
    assert_eq!((run.state.status, run.open_paths()), (RunStatus::Running, vec!["b".to_owned()]));
    let again = run.call("b");
    assert_eq!((again.attempt, again.generation, again.started_at), (1, 1, time(100)));
    assert_ne!(again.key, first.key);
    run.fail("b", "refused");
    run.ok("on_failure.tell", json!({}));
    run.event(Event::RetryRequested { at: time(200) });
    run.ok("b", json!("done"));
    assert_eq!(run.result(), json!("done"));
    assert_eq!(run.state.error, None);
}

#[test]
fn a_retry_keeps_the_key_when_the_last_answer_was_not_definite() {
    let graph = steps(json!([http("get", json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    let key = run.call("get").key;
    run.answer("get", Err(failure("timeout", true)));
    let commands = apply(&graph, &mut run.state, &Event::RetryRequested { at: time(9) });
    let [Command::Execute(again)] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!((&again.key, again.generation), (&key, 0));
}

#[test]
fn a_retry_inside_a_parallel_repeats_only_what_failed() {
    let graph = steps(json!([
        {"id": "both", "type": "parallel", "steps": [
            code("a", json!({})), code("b", json!({})), code("c", json!({"needs": ["a", "b"]})), code("d", json!({"needs": ["a"]})),
        ]},
        set("after", json!({"c": "{{ c }}"})),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.fail("both.b", "broken");
    run.ok("both.a", json!({}));
    assert_eq!(run.error().0, "both.b");
    run.event(Event::RetryRequested { at: time(9) });
    assert_eq!(run.open_paths(), ["both.b", "both.d"]);
    run.ok("both.b", json!({}));
    run.ok("both.d", json!({}));
    run.ok("both.c", json!("c"));
    assert_eq!(run.result(), json!({"c": "c"}));
}

#[test]
fn a_retry_after_a_failed_handler_repeats_the_handlers_step() {
    let graph = steps(json!([http(
        "get",
        json!({"on_error": {"do": [code("mend", json!({"input": "{{ error.code }}"}))]}})
    )]));
    let mut run = Driven::start(&graph, json!({}));
    run.fail("get", "gone");
    run.fail("get.mend", "worse");
    run.event(Event::RetryRequested { at: time(9) });
    assert_eq!(run.open_paths(), ["get.mend"]);
    let Call::Code(call) = run.call("get.mend").call else { panic!() };
    assert_eq!(call.input.value, json!("gone"), "it deals with the same failure as before");
    run.ok("get.mend", json!("fine"));
    assert_eq!(run.result(), json!("fine"));
}

#[test]
fn a_retry_leaves_alone_what_failed_before_the_handler_took_over() {
    let graph = steps(
        json!([{"id": "outer", "type": "branch", "branches": [], "else": [code("first", json!({})), code("second", json!({}))],
        "on_error": {"do": [code("undo", json!({})), code("tell", json!({}))]}}]),
    );
    let mut run = Driven::start(&graph, json!({}));
    run.fail("outer.first", "broken");
    run.ok("outer.undo", json!({}));
    run.fail("outer.tell", "worse");
    assert_eq!(run.error().0, "outer.tell");
    run.event(Event::RetryRequested { at: time(9) });
    assert_eq!(run.open_paths(), ["outer.tell"]);
    run.ok("outer.tell", json!("told"));
    assert_eq!(run.result(), json!("told"));
}

#[test]
fn a_retry_makes_an_output_again_that_could_not_be_made() {
    let graph = steps(
        json!([{"id": "pick", "type": "branch", "branches": [], "else": {"do": [code("act", json!({}))], "output": "{{ act.n }}"}}]),
    );
    let mut run = Driven::start(&graph, json!({}));
    run.ok("pick.act", json!({}));
    assert_eq!(run.error(), ("pick".to_owned(), "template_error".to_owned()));
    run.event(Event::RetryRequested { at: time(9) });
    assert_eq!(run.error(), ("pick".to_owned(), "template_error".to_owned()));
    assert_eq!(run.state.retries, 1);
}

#[test]
fn a_paused_step_is_resumed_in_three_ways() {
    let graph =
        steps(json!([code("a", json!({})), set("after", json!({"a": "{{ a | default(\"skipped\") }}"}))]));
    let paused = || {
        let mut run = Driven::start(&graph, json!({}));
        let step = run.state.steps.get_mut("a").unwrap();
        step.status = StepStatus::Paused;
        run
    };
    let resumed = |how| Event::Resumed { path: "a".into(), how, at: time(5) };
    let mut run = paused();
    run.event(resumed(Resume::Skip));
    assert_eq!(run.result(), json!({"a": "skipped"}));
    let mut run = paused();
    run.event(resumed(Resume::Output(json!(7).into())));
    assert_eq!(run.result(), json!({"a": 7}));
    let mut run = paused();
    let commands = apply(&graph, &mut run.state, &resumed(Resume::Retry));
    assert!(matches!(&commands[..], [Command::Execute(e)] if e.attempt == 1));
}

#[test]
fn a_failed_step_may_wait_for_a_person() {
    let graph = steps(json!([
        {"id": "both", "type": "parallel", "steps": [code("a", json!({"on_error": "pause"})), code("b", json!({}))]},
        set("after", json!({"a": "{{ a | default(\"skipped\") }}"})),
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.fail("both.a", "refused");
    assert_eq!((run.state.status, run.status("both.a")), (RunStatus::Running, Some(StepStatus::Paused)));
    run.ok("both.b", json!(1));
    assert_eq!(run.state.status, RunStatus::Paused);
    assert_eq!(run.state.step(&"both.a".into()).unwrap().error.as_ref().unwrap().code, "refused");
    run.event(Event::Resumed { path: "both.a".into(), how: Resume::Retry, at: time(5) });
    assert_eq!(run.call("both.a").generation, 1, "what was refused is asked under another key");
    run.fail("both.a", "refused");
    run.event(Event::Resumed { path: "both.a".into(), how: Resume::Output(json!(7).into()), at: time(6) });
    assert_eq!(run.result(), json!({"a": 7}));
}

#[test]
fn what_is_around_the_failure_may_wait_and_goes_on_from_what_failed() {
    let body = json!([code("a", json!({})), code("b", json!({}))]);
    let graph = steps(json!([
        each("all", json!([0, 1, 2]), body, json!({"on_error": "pause"})),
        code("after", json!({}))
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.ok("all[0].a", json!(1));
    run.fail("all[0].b", "refused");
    assert_eq!((run.state.status, run.status("all")), (RunStatus::Paused, Some(StepStatus::Paused)));
    assert_eq!(run.event(Event::RetryRequested { at: time(4) }), [], "it has not failed");
    run.event(Event::Resumed { path: "all".into(), how: Resume::Retry, at: time(5) });
    assert_eq!(run.open_paths(), ["all[0].b"]);
    run.fail("all[0].b", "refused");
    run.event(Event::Resumed { path: "all".into(), how: Resume::Skip, at: time(6) });
    assert_eq!(run.open_paths(), ["after"]);
    run.event(Event::CancelRequested { at: time(7) });
    assert_eq!(run.state.status, RunStatus::Cancelled);
}

#[test]
fn outputs_stored_elsewhere_are_filled_in_before_the_next_event() {
    let graph = steps(json!([code("a", json!({})), code("b", json!({"input": "{{ a.n }}"}))]));
    let mut run = Driven::start(&graph, json!({"large": true}));
    for payload in run.state.payloads_mut() {
        payload.store_as(BlobRef { sha256: "t".into(), size: 1 });
    }
    let values: Vec<_> = run.state.payloads_mut().map(|payload| payload.value().cloned()).collect();
    run.crash();
    assert_eq!(run.state.missing().len(), 2);
    for (payload, value) in run.state.payloads_mut().zip(values) {
        payload.fill(value.unwrap());
    }
    run.ok("a", json!({"n": 1}));
    let Call::Code(call) = run.call("b").call else { panic!() };
    assert_eq!(call.input.value, json!(1));
}

#[test]
fn events_and_states_read_what_they_wrote() {
    let graph = with_on_failure();
    let mut run = Driven::start(&graph, json!({"x": [1, null]}));
    run.ok("a", json!({"y": u64::MAX}));
    run.answer("b", Err(Failure { limit: Some(1), used: Some(2), ..failure("broken", true) }));
    let journal = serde_json::to_string(&run.journal).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Event>>(&journal).unwrap(), run.journal);
    let before = run.state.clone();
    run.crash();
    assert_eq!(run.state, before);
    let shown: Value = serde_json::from_str(&journal).unwrap();
    assert_eq!(
        shown[1],
        json!({"event": "step_done", "path": "a", "attempt": 1, "result": {"ok": {"value": {"y": u64::MAX}}}, "at": time(1).to_string()})
    );
}
