//! What a workflow keeps between its runs: what a run reads, and what it writes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::support::*;

fn read(values: Value) -> Event {
    Event::StateRead { values: values.into() }
}

/// What the step in hand would write.
fn written(run: &Driven<'_>) -> Value {
    match &run.open()[0].call {
        Call::SetState(call) => call.values.clone().into(),
        other => panic!("{other:?}"),
    }
}

fn counts() -> Value {
    json!([
        {"id": "next", "type": "set_state", "values": {"n": "{{ state.n | default(0) + 1 }}"}},
        {"id": "after", "type": "set", "values": {"n": "{{ state.n }}", "ticket": "{{ next.n }}"}}
    ])
}

#[test]
fn a_run_reads_what_was_kept_and_what_it_writes() {
    let graph = steps(counts());
    let mut run = Driven::start(&graph, json!({}));
    assert_eq!(written(&run), json!({"n": 1}));
    // Read again before it is written: the call is made anew.
    run.event(read(json!({"n": 7, "other": true})));
    let Some(Ok(now)) = call_now(&graph, &mut run.state, &"next".into()) else { panic!("no call") };
    let Call::SetState(call) = now.call else { panic!("{now:?}") };
    assert_eq!(Value::from(call.values), json!({"n": 8}));
    run.crash();
    run.ok("next", json!({"n": 8}));
    assert_eq!(run.result(), json!({"n": 8, "ticket": 8}));
    let kept = run.state.kept.as_ref().and_then(|kept| kept.value()).unwrap();
    assert_eq!(**kept, json!({"n": 8, "other": true}));
}

#[test]
fn null_takes_a_name_away_and_what_is_not_kept_is_told() {
    let graph = steps(json!([
        {"id": "forget", "type": "set_state", "values": {"mark": null}},
        {"id": "is", "type": "set", "values": {"there": "{{ state.mark is defined }}", "all": "{{ state }}"}},
        {"id": "use", "type": "set", "values": {"mark": "{{ state.mark }}"}}
    ]));
    let mut state = State::new();
    apply(&graph, &mut state, &read(json!({"mark": 3, "page": 1})));
    assert!(state.start.is_none(), "it is read before the run begins");
    let mut run = Driven::start(&graph, json!({}));
    run.event(read(json!({"mark": 3, "page": 1})));
    run.ok("forget", json!({"mark": null}));
    let is = run.state.step(&"is".into()).unwrap().output.clone().unwrap();
    let Output::Own(is) = is else { panic!("{is:?}") };
    assert_eq!(**is.value().unwrap(), json!({"there": false, "all": {"page": 1}}));
    assert_eq!(run.error(), ("use".into(), "template_error".into()));
    let message = &run.state.error.as_ref().unwrap().failure.message;
    assert!(message.contains("`state` has page; no `mark`"), "{message}");
}

#[test]
fn a_step_that_fails_or_is_given_an_output_by_hand_keeps_nothing() {
    let graph = steps(json!([
        {"id": "next", "type": "set_state", "values": {"n": 1}, "on_error": "pause"},
        {"id": "after", "type": "set", "values": {"all": "{{ state }}"}}
    ]));
    let mut run = Driven::start(&graph, json!({}));
    run.fail("next", "state_too_large");
    let how = Resume::Output(json!({"n": 5}).into());
    run.event(Event::Resumed { path: "next".into(), how, at: time(1) });
    assert_eq!(run.result(), json!({"all": {}}));
}

#[test]
fn what_is_read_before_a_retry_is_what_it_counts_on() {
    let graph = steps(json!([http("ask", json!({})), counts()[0]]));
    let mut run = Driven::start(&graph, json!({}));
    run.event(read(json!({"n": 5})));
    run.fail("ask", "refused");
    assert_eq!(run.state.status, RunStatus::Failed);
    assert!(run.event(read(json!({"n": 15}))).is_empty());
    assert_eq!(run.state.status, RunStatus::Failed);
    run.event(Event::RetryRequested { at: time(9) });
    run.ok("ask", json!({}));
    assert_eq!(written(&run), json!({"n": 16}));
}

proptest! {
    /// Whatever is read in between: a journal gives its state again, and a step writes what it was made with last.
    #[test]
    fn a_journal_with_state_gives_its_run_again(reads in proptest::collection::vec(0u64..100, 0..6), at in 0usize..6) {
        let graph = steps(counts());
        let mut run = Driven::start(&graph, json!({}));
        let mut last = None;
        for n in &reads {
            run.event(read(json!({"n": n})));
            last = Some(*n);
        }
        if at < reads.len() {
            run.crash();
        }
        let Some(Ok(now)) = call_now(&graph, &mut run.state, &"next".into()) else { panic!("no call") };
        let Call::SetState(call) = now.call else { panic!("no state is set") };
        let wanted = last.unwrap_or(0) + 1;
        prop_assert_eq!(&call.values["n"], &json!(wanted));
        run.ok("next", call.values.into());
        prop_assert_eq!(run.result(), json!({"n": wanted, "ticket": wanted}));
        let mut replayed = State::new();
        for event in &run.journal {
            apply(&graph, &mut replayed, event);
        }
        prop_assert_eq!(&replayed, &run.state);
    }
}
