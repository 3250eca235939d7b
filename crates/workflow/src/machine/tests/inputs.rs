//! Steps that wait for a person.

use serde_json::{Value, json};

use super::super::*;
use super::support::*;
use crate::graph::Graph;

fn begun(path: &str) -> Event {
    Event::AttemptStarted { path: path.into(), attempt: 1, run: None, at: time(1) }
}

fn given(path: &str, data: Value) -> Event {
    Event::InputGiven { path: path.into(), data: data.into(), at: time(60) }
}

fn approval(more: Value) -> Graph {
    let wait = merged(
        json!({"id": "wait", "type": "wait_for_input", "timeout": "10m", "message": "{{ trigger.n }}?"}),
        more,
    );
    let after = json!({"id": "after", "type": "set", "values": {"got": "{{ wait.ok | default('nothing') }}", "status": "{{ steps.wait.status }}"}});
    steps(json!([wait, after]))
}

#[test]
fn what_a_person_gives_is_the_output() {
    let graph = approval(json!({"schema": {"type": "object"}, "title": "T"}));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    let Call::Input(call) = run.call("wait").call else { panic!("no wait") };
    assert_eq!(
        *call,
        InputCall {
            title: Some("T".into()),
            message: Some("3?".into()),
            schema: Some(json!({"type": "object"}))
        }
    );
    assert!(run.event(given("wait", json!({"ok": 1}))).is_empty(), "it has not begun to wait");
    run.event(begun("wait"));
    assert_eq!((run.status("wait"), run.state.status), (Some(StepStatus::Waiting), RunStatus::Waiting));
    assert!(needs_a_person(&graph, &run.state));
    run.crash();
    // Counted from when it began to wait.
    assert_eq!(run.timers()[0].1, time(601));
    run.event(given("wait", json!({"ok": 1})));
    assert_eq!(run.result(), json!({"got": 1, "status": "completed"}));
    assert!(run.event(given("wait", json!({"ok": 2}))).is_empty(), "once");
}

#[test]
fn a_run_needs_a_person_when_nothing_else_of_it_may_move() {
    let beside = |more: Value| {
        let wait = json!({"id": "wait", "type": "wait_for_input"});
        steps(json!([{"id": "both", "type": "parallel", "steps": [wait, more]}]))
    };
    let graph = beside(json!({"id": "pause", "type": "delay", "for": "1m"}));
    let mut run = Driven::start(&graph, json!({}));
    assert!(!needs_a_person(&graph, &run.state), "it has not asked yet");
    run.event(begun("both.wait"));
    assert!(!needs_a_person(&graph, &run.state), "the delay ends by itself");
    let (timer, due) = run.timers().remove(1);
    assert_eq!(timer.path.as_str(), "both.pause");
    run.event(Event::TimerFired { timer, at: due });
    assert!(needs_a_person(&graph, &run.state));
    run.event(given("both.wait", json!(1)));
    assert!(!needs_a_person(&graph, &run.state));

    let graph = beside(json!({"id": "call", "type": "code", "action": "a", "on_error": "pause"}));
    let mut run = Driven::start(&graph, json!({}));
    run.event(begun("both.wait"));
    assert!(!needs_a_person(&graph, &run.state), "the call is under way");
    run.fail("both.call", "no");
    assert!(needs_a_person(&graph, &run.state));
    run.event(given("both.wait", json!(1)));
    assert!(needs_a_person(&graph, &run.state), "it is paused still");
}

#[test]
fn in_vain_it_does_what_on_timeout_says_and_else_on_error() {
    let wait = |more: Value| {
        let graph = Box::leak(Box::new(approval(more)));
        let mut run = Driven::start(graph, json!({"n": 3}));
        run.event(begun("wait"));
        run.fire();
        run
    };
    let run = wait(json!({}));
    assert_eq!(run.error(), ("wait".into(), "timeout".into()));
    assert_eq!(run.state.error.unwrap().failure.message, "nobody gave the input within 10m");
    assert_eq!(
        wait(json!({"on_timeout": "continue"})).result(),
        json!({"got": "nothing", "status": "failed"})
    );
    assert_eq!(wait(json!({"on_error": "continue"})).result(), json!({"got": "nothing", "status": "failed"}));
    assert_eq!(wait(json!({"on_timeout": "fail", "on_error": "continue"})).error().1, "timeout");
    let instead = json!({"do": [set("no", json!({"ok": "{{ error.code }}"}))]});
    let run = wait(json!({"on_timeout": instead, "on_error": "continue"}));
    assert_eq!(run.result(), json!({"got": "timeout", "status": "completed"}));
    // A message that cannot be made is no time-out.
    let instead = json!({"do": [set("no", json!({"ok": "late"}))]});
    let graph =
        approval(json!({"message": "{{ trigger.m }}", "on_timeout": instead, "on_error": "continue"}));
    let run = Driven::start(&graph, json!({"n": 3}));
    assert_eq!(run.result(), json!({"got": "nothing", "status": "failed"}));
}

#[test]
fn a_retry_waits_again_and_its_handler_that_failed_runs_again() {
    let instead = json!({"do": [code("tell", json!({}))]});
    let graph = approval(json!({"on_timeout": instead}));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(begun("wait"));
    run.fire();
    run.fail("wait.tell", "refused");
    assert_eq!(run.error(), ("wait.tell".into(), "refused".into()));
    run.event(Event::RetryRequested { at: time(700) });
    run.ok("wait.tell", json!({"ok": "told"}));
    assert_eq!(run.result(), json!({"got": "told", "status": "completed"}));

    let graph = approval(json!({}));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(begun("wait"));
    run.fire();
    run.event(Event::RetryRequested { at: time(700) });
    run.event(begun("wait"));
    run.event(given("wait", json!({"ok": true})));
    assert_eq!(run.result(), json!({"got": true, "status": "completed"}));
}

#[test]
fn links_are_there_before_the_step_and_each_item_has_its_own() {
    let graph = steps(json!([
        set("before", json!({"link": "{{ run.input_links.wait }}"})),
        {"id": "each", "type": "iterator", "over": [1, 2], "do": [
            set("say", json!({"link": "{{ run.input_links.ask }}"})),
            {"id": "ask", "type": "wait_for_input", "if": "{{ false }}"}], "output": "{{ say.link }}"},
        {"id": "wait", "type": "wait_for_input", "if": "{{ false }}"},
        set("all", json!({"before": "{{ before.link }}", "after": "{{ run.input_links.wait }}", "items": "{{ each.results }}"}))
    ]));
    let links = Links { base: "https://x.example/inputs/default".into(), key: "k".into() };
    let run = RunInfo { id: "01a0c450-6fdb-7000-bb32-43f2b2c8db34".into(), workflow: "w".into(), version: 1 };
    let start = Start { run, links: Some(links), at: time(0), ..Start::default() };
    let mut state = State::new();
    apply(&graph, &mut state, &Event::Started(Box::new(start)));
    for n in 0..2 {
        let path = StepPath::new("each").item(n);
        apply(
            &graph,
            &mut state,
            &Event::StepDone { path, attempt: 1, result: Ok(Value::Null.into()), at: time(1) },
        );
    }
    let all = ended(&graph, &state).unwrap().output;
    let all = all.value().unwrap();
    assert_eq!(all["before"], all["after"]);
    let tokens: Vec<LinkToken> = [&all["before"], &all["items"][0], &all["items"][1]]
        .map(|link| link.as_str().unwrap().strip_prefix("https://x.example/inputs/default/").unwrap())
        .map(|token| LinkToken::read(token).unwrap())
        .into();
    let paths: Vec<&str> = tokens.iter().map(|token| token.path.as_str()).collect();
    assert_eq!(paths, ["wait", "each[0].ask", "each[1].ask"]);
    assert!(tokens.iter().all(|token| token.is_signed_with("k")));
}

/// What was told before the failure was told anew is no answer to what is asked now.
#[test]
fn a_link_of_on_failure_stands_for_one_round() {
    let graph = graph(json!({"name": "test", "trigger": {"type": "manual"},
        "steps": [{"id": "no", "type": "stop", "status": "failed"}],
        "on_failure": [set("say", json!({"link": "{{ run.input_links.ask }}"})), {"id": "ask", "type": "wait_for_input"}]}));
    let Event::Started(mut start) = started(json!({})) else { panic!("no start") };
    start.links = Some(Links { base: "b".into(), key: "k".into() });
    let mut run = Driven::new(&graph);
    run.event(Event::Started(start));
    let mut tokens = Vec::new();
    for round in 0..3 {
        let said = run.state.step(&"on_failure.say".into()).unwrap().output.clone();
        let Some(Output::Own(said)) = said else { panic!("{said:?}") };
        let link = said.value().unwrap()["link"].as_str().unwrap().to_owned();
        let token = LinkToken::read(link.strip_prefix("b/").unwrap()).unwrap();
        assert!(token.is_signed_with("k"));
        assert_eq!((token.path.as_str(), token.round), ("on_failure.ask", round));
        assert_eq!(run.state.link_round(&token.path), round);
        tokens.push(token);
        run.event(begun("on_failure.ask"));
        run.event(given("on_failure.ask", json!({})));
        run.event(Event::RetryRequested { at: time(700) });
    }
    assert_eq!(run.state.link_round(&"ask".into()), 0);
}

/// What the workflow keeps changes between the question and the commit in which it is asked, and again after that.
#[test]
fn a_question_is_rendered_once() {
    let read = |values: Value| Event::StateRead { values: values.into() };
    let graph = approval(json!({"message": "{{ state.batch }}?"}));
    let mut run = Driven::new(&graph);
    run.event(read(json!({"batch": "B7"})));
    run.event(started(json!({"n": 3})));
    let message = |run: &Driven<'_>| match run.call("wait").call {
        Call::Input(call) => call.message,
        other => panic!("{other:?}"),
    };
    run.event(read(json!({})));
    run.crash();
    assert_eq!(message(&run).as_deref(), Some("B7?"));
    run.event(begun("wait"));
    run.event(read(json!({"batch": "B8"})));
    let step = run.state.step(&"wait".into()).unwrap();
    assert_eq!(step.asked.as_ref().unwrap().value().unwrap()["message"], "B7?");
    run.event(given("wait", json!({"ok": 1})));
    assert!(run.state.step(&"wait".into()).unwrap().asked.is_none(), "nobody is asked any more");
}
