//! Delays, and deleting a record.

use serde_json::json;

use super::super::*;
use super::support::*;

#[test]
fn a_delay_waits_for_its_time_and_goes_on() {
    let graph = steps(json!([
        {"id": "wait", "type": "delay", "for": "{{ trigger.minutes }}m"},
        set("after", json!({"until": "{{ wait.until }}", "now": "{{ now() }}"}))
    ]));
    let mut run = Driven::start(&graph, json!({"minutes": 2}));
    assert_eq!((run.status("wait"), run.state.status), (Some(StepStatus::Waiting), RunStatus::Waiting));
    run.crash();
    let (timer, due) = run.timers().remove(0);
    assert_eq!(
        (timer.path.as_str(), timer.kind, timer.attempt, due),
        ("wait", TimerKind::Delay, 0, time(120))
    );
    // A timer of another kind, or for another attempt, is not its own.
    for other in [Timer { kind: TimerKind::Retry, ..timer.clone() }, Timer { attempt: 1, ..timer.clone() }] {
        assert!(run.event(Event::TimerFired { timer: other, at: due }).is_empty());
        assert_eq!(run.status("wait"), Some(StepStatus::Waiting));
    }
    // It may be late: then the run's clock is, and what was waited for is not.
    run.event(Event::TimerFired { timer: timer.clone(), at: time(125) });
    let until = time(120).to_string();
    assert_eq!(run.result(), json!({"until": until, "now": time(125).to_string()}));
    assert!(run.event(Event::TimerFired { timer, at: time(130) }).is_empty());
}

#[test]
fn a_delay_up_to_a_time_takes_times_and_dates() {
    for (until, wanted) in [
        ("2099-01-02T03:04:05Z", "2099-01-02T03:04:05Z"),
        ("2099-01-02T03:04:05+02:00", "2099-01-02T01:04:05Z"),
        ("2099-01-02", "2099-01-02T00:00:00Z"),
    ] {
        assert_eq!(time_of(until).unwrap().to_string(), wanted);
    }
    let day = time(24 * 3600).to_string();
    let graph = steps(json!([{"id": "wait", "type": "delay", "until": "{{ trigger.at }}"}]));
    let mut run = Driven::start(&graph, json!({"at": day}));
    assert_eq!(run.timers()[0].1, time(24 * 3600));
    run.fire();
    assert_eq!(run.result(), json!({"until": day}));
}

#[test]
fn a_time_that_has_passed_is_not_waited_for() {
    let graph = steps(json!([
        {"id": "past", "type": "delay", "until": "2020-01-01"},
        {"id": "none", "type": "delay", "for": "0s"}
    ]));
    let run = Driven::start(&graph, json!({}));
    assert!(run.timers().is_empty());
    assert_eq!(run.result(), json!({"until": time(0).to_string()}));
}

#[test]
fn a_delay_that_cannot_be_read_or_is_too_long_fails_its_step() {
    for (delay, message) in [
        (json!({"for": "{{ trigger.x }}"}), "for is a duration like `30s`, `1h30m` or `7d`, not \"soon\""),
        (json!({"until": "{{ trigger.x }}"}), "until is a time with its offset"),
        (json!({"for": "367d"}), "for: a delay is at most 366d long"),
        (json!({"until": "2200-01-01"}), "until: a delay is at most 366d long"),
        (json!({"for": "{{ trigger.y }}s"}), "no `y`"),
    ] {
        let graph = steps(json!([merged(json!({"id": "wait", "type": "delay"}), delay)]));
        let run = Driven::start(&graph, json!({"x": "soon"}));
        let failed = run.finished().unwrap().error.clone().unwrap();
        assert!(failed.failure.message.contains(message), "{}", failed.failure.message);
        assert!(failed.failure.is_deterministic());
    }
    let graph = steps(json!([{"id": "wait", "type": "delay", "for": "soon", "on_error": "continue"}]));
    assert_eq!(Driven::start(&graph, json!({})).state.status, RunStatus::Completed);
}

#[test]
fn delays_beside_each_other_end_in_their_own_time() {
    let graph = steps(json!([{"id": "both", "type": "parallel", "steps": [
        {"id": "long", "type": "delay", "for": "2m"},
        {"id": "short", "type": "delay", "for": "1m"},
        code("then", json!({"needs": ["short"]}))
    ]}]));
    let mut run = Driven::start(&graph, json!({}));
    assert_eq!(run.timers().len(), 2);
    let (short, due) = run.timers().into_iter().find(|(timer, _)| timer.path.id() == "short").unwrap();
    run.event(Event::TimerFired { timer: short, at: due });
    run.ok("both.then", json!(1));
    assert_eq!(run.state.status, RunStatus::Waiting);
    run.fire();
    assert_eq!(run.result()["long"], json!({"until": time(120).to_string()}));
}

#[test]
fn a_run_that_waits_can_be_cancelled() {
    let graph = steps(json!([{"id": "wait", "type": "delay", "for": "1h"}]));
    let mut run = Driven::start(&graph, json!({}));
    let (timer, due) = run.timers().remove(0);
    run.event(Event::CancelRequested { at: time(3) });
    assert_eq!((run.state.status, run.status("wait")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    assert!(run.timers().is_empty());
    assert!(run.event(Event::TimerFired { timer, at: due }).is_empty());
}

#[test]
fn a_record_is_deleted_by_id() {
    let graph = steps(json!([
        {"id": "gone", "type": "delete_record", "object": "task", "record_id": "{{ trigger.id }}", "if_version": "{{ trigger.version }}"}
    ]));
    let run = Driven::start(&graph, json!({"id": "t1", "version": 4}));
    let execute = run.call("gone");
    assert!(!execute.outside);
    let Call::Delete(call) = execute.call else { panic!() };
    assert_eq!((call.object.as_str(), call.record_id.as_str(), call.if_version), ("task", "t1", Some(4)));
}
