//! Steps that run another workflow, and wait for its end.

use serde_json::{Value, json};

use super::super::*;
use super::support::*;

fn child(id: &str, more: Value) -> Value {
    merged(
        json!({"id": id, "type": "run_workflow", "workflow": "other", "input": {"n": "{{ trigger.n }}"}}),
        more,
    )
}

fn started(path: &str, attempt: u32, run: &str) -> Event {
    Event::AttemptStarted { path: path.into(), attempt, run: Some(run.into()), at: time(1) }
}

fn ended(path: &str, run: &str, result: Result<Value, Failure>) -> Event {
    Event::RunEnded { path: path.into(), run: run.into(), result: result.map(Payload::new), at: time(60) }
}

fn asked(commands: &[Command]) -> Vec<&str> {
    let runs = commands.iter().filter_map(|command| match command {
        Command::CancelRun { run } => Some(run.as_str()),
        _ => None,
    });
    runs.collect()
}

#[test]
fn a_run_waits_for_the_end_of_another() {
    let graph = steps(json!([
        child("sub", json!({})),
        set("after", json!({"got": "{{ sub.x }}", "now": "{{ now() }}"}))
    ]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    let Call::Run(call) = run.call("sub").call else { panic!("no run") };
    assert_eq!(
        (call.workflow.as_str(), &call.input, call.wait, call.run),
        ("other", &json!({"n": 3}), true, None)
    );
    run.event(started("sub", 1, "r1"));
    assert_eq!((run.status("sub"), run.state.status), (Some(StepStatus::Waiting), RunStatus::Waiting));
    assert!(run.open().is_empty() && run.timers().is_empty());
    run.crash();
    assert_eq!(
        run.state.awaited().map(|(path, run)| (path.as_str(), run)).collect::<Vec<_>>(),
        [("sub", "r1")]
    );
    // The end of another run is not its own.
    assert!(run.event(ended("sub", "r0", Ok(json!({"x": 0})))).is_empty());
    run.event(ended("sub", "r1", Ok(json!({"x": 1}))));
    assert_eq!(run.result(), json!({"got": 1, "now": time(60).to_string()}));
    assert!(run.event(ended("sub", "r1", Ok(json!({"x": 2})))).is_empty());
}

#[test]
fn one_that_is_not_waited_for_is_done_when_it_is_there() {
    let graph = steps(json!([child("sub", json!({"wait": false, "timeout": "1s"}))]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(started("sub", 1, "r1"));
    assert!(run.timers().is_empty());
    run.event(Event::StepDone {
        path: "sub".into(),
        attempt: 1,
        result: Ok(json!({"run_id": "r1"}).into()),
        at: time(1),
    });
    assert_eq!(run.result(), json!({"run_id": "r1"}));
}

#[test]
fn a_failure_is_the_step_s_and_another_attempt_goes_on_with_the_same_run() {
    let graph = steps(json!([child("sub", json!({"retry": {"attempts": 2}}))]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(started("sub", 1, "r1"));
    run.event(ended("sub", "r1", Err(failure("busy", true))));
    assert_eq!(run.timers()[0].0.kind, TimerKind::Retry);
    run.fire();
    let Call::Run(call) = run.call("sub").call else { panic!("no run") };
    assert_eq!(call.run.as_deref(), Some("r1"));
    run.event(started("sub", 2, "r1"));
    run.event(ended("sub", "r1", Err(failure("refused", false))));
    assert_eq!(run.error(), ("sub".into(), "refused".into()));
    // So does a person's retry.
    run.event(Event::RetryRequested { at: time(100) });
    let Call::Run(call) = run.call("sub").call else { panic!("no run") };
    assert_eq!(call.run.as_deref(), Some("r1"));
    run.event(started("sub", 1, "r1"));
    run.event(ended("sub", "r1", Ok(json!(7))));
    assert_eq!(run.result(), json!(7));
}

#[test]
fn past_its_time_it_is_cancelled_and_the_next_attempt_is_another_run() {
    let graph = steps(json!([child("sub", json!({"timeout": "10s", "retry": {"attempts": 2}}))]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(started("sub", 1, "r1"));
    run.crash();
    let (timer, due) = run.timers().remove(0);
    assert_eq!((timer.kind, due), (TimerKind::Timeout, time(11)));
    let commands = run.event(Event::TimerFired { timer, at: due });
    assert_eq!(asked(&commands), ["r1"]);
    assert!(run.event(ended("sub", "r1", Ok(json!(1)))).is_empty(), "nobody waits for it any more");
    run.fire();
    let Call::Run(call) = run.call("sub").call else { panic!("no run") };
    assert_eq!(call.run, None);
}

#[test]
fn a_timer_goes_with_what_it_was_set_for_and_one_that_is_left_does_nothing() {
    let graph = steps(json!([child("sub", json!({"timeout": "10s", "on_error": "pause"}))]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(started("sub", 1, "r1"));
    let (timer, due) = run.timers().remove(0);
    let commands = run.event(ended("sub", "r1", Err(failure("busy", true))));
    assert_eq!(commands, [Command::ClearTimer { timer: timer.clone(), due }]);
    // Its number is that of the first attempt again.
    run.event(Event::Resumed { path: "sub".into(), how: Resume::Retry, at: time(62) });
    run.event(started("sub", 1, "r1"));
    assert_eq!(run.timers(), [(timer.clone(), time(72))]);
    assert!(run.event(Event::TimerFired { timer: timer.clone(), at: due }).is_empty());
    assert_eq!(run.status("sub"), Some(StepStatus::Waiting));
    assert_eq!(asked(&run.event(Event::TimerFired { timer, at: time(72) })), ["r1"]);
}

#[test]
fn a_timeout_counts_from_when_the_run_is_there() {
    let graph = steps(json!([code("slow", json!({})), child("sub", json!({"timeout": "5s"}))]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    // Nobody tells the run what time it is when code is done.
    run.answer_at("slow", Ok(json!({})), time(8));
    run.event(Event::AttemptStarted { path: "sub".into(), attempt: 1, run: Some("r1".into()), at: time(8) });
    assert_eq!(run.timers()[0].1, time(13));
}

#[test]
fn what_is_waited_for_ends_with_the_run() {
    let both =
        json!([{"id": "both", "type": "parallel", "steps": [child("a", json!({})), child("b", json!({}))]}]);
    let graph = steps(both);
    let mut run = Driven::start(&graph, json!({"n": 3}));
    run.event(started("both.a", 1, "ra"));
    run.event(started("both.b", 1, "rb"));
    run.event(ended("both.a", "ra", Ok(json!(1))));
    let commands = run.event(Event::CancelRequested { at: time(70) });
    assert_eq!(asked(&commands), ["rb"]);
    assert_eq!(run.state.step(&"both.b".into()).unwrap().error, None, "it is known what becomes of it");

    let graph = steps(json!([{"id": "each", "type": "iterator", "over": [1, 2], "concurrency": 2, "do": [
        {"id": "end", "type": "stop", "if": "{{ item == 2 }}"}, child("sub", json!({}))]}]));
    let mut run = Driven::start(&graph, json!({"n": 3}));
    let turn = |n: u64| Event::StepDone {
        path: StepPath::new("each").item(n),
        attempt: 1,
        result: Ok(Value::Null.into()),
        at: time(1),
    };
    run.event(turn(0));
    run.event(started("each[0].sub", 1, "r0"));
    assert_eq!(asked(&run.event(turn(1))), ["r0"]);
    assert_eq!(run.state.status, RunStatus::Completed);
}

/// What a `stop` has failed is over but for `on_failure`, however long that takes.
#[test]
fn after_a_failed_stop_nothing_goes_on_beside_on_failure() {
    let body = json!([
        {"id": "ask", "type": "wait_for_input", "if": "{{ item == 0 }}"},
        {"id": "rest", "type": "delay", "for": "1h", "if": "{{ item == 1 }}"},
        code("look", json!({})),
        {"id": "bad", "type": "stop", "status": "failed", "if": "{{ look.bad }}"},
    ]);
    let graph = graph(json!({"name": "test", "trigger": {"type": "manual"},
        "steps": [each("all", json!([0, 1, 2, 3]), body, json!({"concurrency": 4}))],
        "on_failure": [code("tell", json!({}))]}));
    let given = |n: u64| Event::InputGiven { path: "all[0].ask".into(), data: json!(n).into(), at: time(70) };
    let begun = || Event::AttemptStarted { path: "all[0].ask".into(), attempt: 1, run: None, at: time(1) };
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.event(begun());
    let asked = run.ok("all[3].look", json!({"bad": true}));
    let told: Vec<String> = asked
        .iter()
        .map(|command| match command {
            Command::Abandon { path, .. } => format!("abandon {path}"),
            Command::ClearTimer { timer, .. } => format!("clear {}", timer.path),
            Command::Execute(execute) => format!("execute {}", execute.path),
            Command::Item(done) => format!("item {} {}", done.path, done.status.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "item all[3] failed",
            "item all[0] cancelled",
            "item all[1] cancelled",
            "item all[2] cancelled",
            "clear all[0].ask",
            "clear all[1].rest",
            "abandon all[2].look",
            "execute on_failure.tell"
        ]
    );
    assert_eq!(run.open_paths(), ["on_failure.tell"]);
    assert!(run.timers().is_empty() && run.event(given(1)).is_empty());
    assert_eq!(run.status("all[0].ask"), Some(StepStatus::Cancelled));
    run.crash();
    run.ok("on_failure.tell", json!(1));
    assert_eq!(run.error(), ("all[3].bad".to_owned(), code::STOPPED.to_owned()));
    // A retry takes all of it up again.
    run.state.steps.get_mut(&StepPath::new("all[3].look")).unwrap().output =
        Some(Output::Own(json!({"bad": false}).into()));
    run.event(Event::RetryRequested { at: time(80) });
    run.event(begun());
    run.event(given(2));
    let rest = run.timers().remove(0);
    run.event(Event::TimerFired { timer: rest.0, at: rest.1 });
    for n in 0..3 {
        run.ok(&format!("all[{n}].look"), json!({"bad": false}));
    }
    assert_eq!(run.result()["succeeded"], 4);
}
