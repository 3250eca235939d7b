//! Iterators by example.

use serde_json::{Value, json};

use super::super::*;
use super::support::*;

/// The items in the order in which they ended, with how.
fn ended(run: &Driven<'_>) -> Vec<(String, StepStatus)> {
    let done = run.asked.iter().filter_map(|command| match command {
        Command::Item(done) => Some((done.path.to_string(), done.status)),
        _ => None,
    });
    done.collect()
}

#[test]
fn items_come_one_after_the_other_and_leave_nothing_behind() {
    let body = json!([
        set("named", json!({"name": "{{ item.name }} {{ index }}"})),
        code("make", json!({"input": "{{ named }}"}))
    ]);
    let graph =
        steps(json!([each("all", json!("{{ trigger.rows }}"), body, json!({"output": "{{ make.id }}"}))]));
    let mut run = Driven::start(&graph, json!({"rows": [{"name": "a"}, {"name": "b"}]}));
    run.turns();
    assert_eq!(run.open_paths(), ["all[0].make"]);
    let first = run.call("all[0].make");
    let Call::Code(call) = &first.call else { panic!() };
    assert_eq!(call.input.value, json!({"name": "a 0"}));
    run.ok("all[0].make", json!({"id": 10}));
    run.turns();
    assert_eq!(run.status("all[0].make"), None, "an item that is over leaves the state");
    let second = run.call("all[1].make");
    assert!(first.key != second.key && first.seed != second.seed);
    run.ok("all[1].make", json!({"id": 11}));
    let expected =
        json!({"count": 2, "succeeded": 2, "failed": 0, "skipped": 0, "results": [10, 11], "failures": []});
    assert_eq!(run.result(), expected);
    assert_eq!(run.state.steps.len(), 1);
}

#[test]
fn totals_count_every_item_and_not_only_those_whose_results_are_kept() {
    let body = json!([
        {"id": "seen", "type": "filter", "when": "{{ item != 3 }}"},
        set("made", json!({"price": "{{ item / 2 }}", "bad": "{{ 'x' if item == 5 else 1 }}"}))
    ]);
    let totals = json!({"items": "{{ item }}", "prices": "{{ made.price }}", "even": "{{ item % 2 == 0 }}", "fives": "{{ made.bad }}"});
    let more = json!({"totals": totals, "tolerate": {"failures": 1}});
    let graph = steps(json!([each("all", json!("{{ range(trigger.n) }}"), body, more)]));
    let mut run = Driven::start(&graph, json!({"n": 3_000}));
    run.turns();
    let result = run.result();
    assert_eq!((result["succeeded"].as_u64(), result["skipped"].as_u64()), (Some(2_998), Some(1)));
    assert_eq!(result["results"].as_array().unwrap().len(), 1_000);
    let sum = (0..3_000).sum::<u64>() - 8;
    assert_eq!(result["totals"]["items"], json!(sum), "neither what was left out nor what failed");
    assert_eq!(result["totals"]["prices"].as_f64(), Some(sum as f64 / 2.0));
    assert_eq!((&result["totals"]["even"], &result["totals"]["fives"]), (&json!(1_500), &json!(2_998)));
    let failure = &result["failures"][0]["error"];
    assert_eq!(failure["message"], "totals.fives is a number, or true or false, not \"x\"");
    // Nothing of them is left in the state.
    let items = run.state.step(&"all".into()).unwrap().items.as_ref().unwrap();
    assert!(items.totals.is_empty());
    let run = Driven::start(&graph, json!({"n": 0}));
    assert_eq!(run.result()["totals"], json!({"items": 0, "prices": 0, "even": 0, "fives": 0}));
}

/// Its steps end in one turn, and each of them looks whether it is over.
#[test]
fn an_item_that_ends_with_a_parallel_is_over_once() {
    let both = json!({"id": "both", "type": "parallel", "steps": [set("a", json!({"n": 1})), set("b", json!({"n": 2}))]});
    let graph = steps(json!([each("all", json!([1, 2]), json!([both]), json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    let result = run.result();
    assert_eq!((&result["count"], &result["succeeded"]), (&json!(2), &json!(2)));
    assert_eq!(result["results"], json!([{"a": {"n": 1}, "b": {"n": 2}}, {"a": {"n": 1}, "b": {"n": 2}}]));
    let both = [("all[0]".to_owned(), StepStatus::Completed), ("all[1]".to_owned(), StepStatus::Completed)];
    assert_eq!(ended(&run), both);
    assert_eq!(run.state.step(&"all".into()).unwrap().items.as_ref().unwrap().succeeded, 2);
}

#[test]
fn an_empty_list_has_no_items_and_what_is_no_list_is_an_error() {
    let graph =
        steps(json!([each("all", json!("{{ trigger.rows }}"), json!([code("make", json!({}))]), json!({}))]));
    let run = Driven::start(&graph, json!({"rows": []}));
    assert_eq!(run.result()["count"], 0);
    let run = Driven::start(&graph, json!({"rows": {"a": 1}}));
    assert_eq!(run.error(), ("all".to_owned(), code::INVALID_STEP.to_owned()));
    let failure = &run.finished().unwrap().error.as_ref().unwrap().failure;
    assert_eq!(failure.message, "over is a list, not {\"a\":1}");
}

#[test]
fn several_are_under_way_at_once_and_batches_are_lists() {
    let more = json!({"concurrency": 2, "batch": 2, "output": "{{ item }}"});
    let graph = steps(json!([each(
        "all",
        json!([1, 2, 3, 4, 5]),
        json!([code("make", json!({"input": "{{ item }}"}))]),
        more
    )]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    assert_eq!(run.open_paths(), ["all[0].make", "all[1].make"]);
    run.ok("all[1].make", json!(1));
    run.turns();
    assert_eq!(run.open_paths(), ["all[0].make", "all[2].make"]);
    let Call::Code(call) = &run.call("all[2].make").call else { panic!() };
    assert_eq!(call.input.value, json!([5]));
    run.ok("all[2].make", json!(1));
    run.ok("all[0].make", json!(1));
    assert_eq!(run.result()["results"], json!([[1, 2], [3, 4], [5]]), "in the order of the items");
}

#[test]
fn a_filter_ends_its_item_and_a_stop_the_run() {
    let body = json!([
        {"id": "odd", "type": "filter", "when": "{{ item % 2 == 1 }}"},
        {"id": "last", "type": "stop", "if": "{{ item == 5 }}", "output": "{{ index }}"},
        code("make", json!({})),
    ]);
    let graph =
        steps(json!([each("all", json!([1, 2, 4, 5, 7]), body, json!({})), code("after", json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.ok("all[0].make", json!("x"));
    run.turns();
    assert_eq!(run.result(), json!(3));
    let skipped = [("all[1]".to_owned(), StepStatus::Skipped), ("all[2]".to_owned(), StepStatus::Skipped)];
    assert_eq!(ended(&run)[1..3], skipped);
}

#[test]
fn failures_are_tolerated_up_to_a_number_and_a_share() {
    let over = json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let ends = |tolerate: Value, failing: &[u64]| {
        let graph = steps(json!([each(
            "all",
            over.clone(),
            json!([code("make", json!({}))]),
            json!({"tolerate": tolerate})
        )]));
        let mut run = Driven::start(&graph, json!({}));
        let mut n = 0;
        while run.finished().is_none() {
            run.turns();
            if failing.contains(&n) {
                run.fail(&format!("all[{n}].make"), "bad_row");
            } else {
                run.ok(&format!("all[{n}].make"), json!(n));
            }
            n += 1;
        }
        (n, run.state.clone(), run.finished().cloned().unwrap())
    };
    let (_, _, done) = ends(json!({"failures": 2}), &[3, 5]);
    let output = done.output.value().unwrap();
    assert_eq!((&output["failed"], &output["succeeded"]), (&json!(2), &json!(8)));
    assert_eq!(output["failures"][1]["index"], 5);
    assert_eq!(output["failures"][1]["item"], 5);
    assert_eq!(output["failures"][1]["error"]["code"], "bad_row");
    assert_eq!(output["results"], json!([0, 1, 2, 4, 6, 7, 8, 9]));
    let (n, _, done) = ends(json!({"failures": 5, "percent": 19.9}), &[3, 5]);
    assert_eq!((n, done.error.unwrap().step), (6, Some("all[5].make".into())), "a tenth of ten items is one");
    let (n, state, done) = ends(json!({}), &[0]);
    assert_eq!((n, done.status), (1, RunStatus::Failed));
    assert_eq!(state.step(&"all".into()).unwrap().error.as_ref().unwrap().code, "bad_row");
}

#[test]
fn what_is_under_way_finishes_when_an_item_was_one_too_many() {
    let more = json!({"concurrency": 3});
    let graph = steps(json!([each("all", json!([0, 1, 2, 3, 4]), json!([code("make", json!({}))]), more)]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.fail("all[1].make", "refused");
    run.turns();
    assert_eq!(run.open_paths(), ["all[0].make", "all[2].make"], "nothing new begins");
    run.ok("all[0].make", json!(0));
    run.ok("all[2].make", json!(2));
    assert_eq!(run.error(), ("all[1].make".to_owned(), "refused".to_owned()));
    // A retry goes on with that one and with those that have not begun.
    run.event(Event::RetryRequested { at: time(5) });
    run.turns();
    assert_eq!(run.open_paths(), ["all[1].make", "all[3].make", "all[4].make"]);
    assert_eq!(run.call("all[1].make").generation, 1);
    for n in [4, 1, 3] {
        run.ok(&format!("all[{n}].make"), json!(n));
    }
    assert_eq!(run.result()["results"], json!([0, 1, 2, 3, 4]));
}

#[test]
fn a_failed_stop_lets_the_others_go_on_after_a_retry() {
    let body = json!([
        code("look", json!({})),
        {"id": "bad", "type": "stop", "status": "failed", "if": "{{ look.bad }}"},
        code("make", json!({})),
    ]);
    let graph = steps(json!([each("all", json!([0, 1]), body, json!({"concurrency": 2}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.ok("all[0].look", json!({"bad": false}));
    run.ok("all[1].look", json!({"bad": true}));
    assert_eq!(run.error(), ("all[1].bad".to_owned(), code::STOPPED.to_owned()));
    assert_eq!(run.status("all[0].make"), Some(StepStatus::Cancelled));
    run.state.steps.get_mut(&StepPath::new("all[1].look")).unwrap().output = None;
    run.asked.clear();
    let asked = apply(&graph, &mut run.state, &Event::RetryRequested { at: time(5) });
    let paths: Vec<String> = asked
        .iter()
        .filter_map(|command| match command {
            Command::Execute(execute) => Some(execute.path.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, ["all[0].make"], "the other one's `stop` cannot be decided now and fails");
}

#[test]
fn over_a_search_the_ids_are_listed_first_and_each_is_asked_for_at_its_turn() {
    let search = json!({"object": "person", "filter": {"field": "city", "is": "{{ trigger.city }}"}, "sort": ["-createdAt"]});
    let each = json!({"id": "all", "type": "iterator", "search": search, "batch": 2, "do": [code("make", json!({"input": "{{ item }}"}))]});
    let graph = steps(json!([each]));
    let mut run = Driven::start(&graph, json!({"city": "Paris"}));
    let mut asked = Vec::new();
    while run.finished().is_none() {
        let execute = run.open().remove(0);
        let answer = match turn(&execute.call, 7, |n| n == 2 || n == 3 || n == 4) {
            Some(answer) => {
                asked.push(execute.path.to_string());
                answer
            }
            None => {
                let Call::Code(call) = &execute.call else { panic!() };
                call.input.value.clone()
            }
        };
        if let Call::Item(ItemCall { records: Some(records) }) = &execute.call {
            assert_eq!(
                serde_json::to_value(&records.filter).unwrap(),
                json!({"field": "city", "is": "Paris"})
            );
        }
        run.event(Event::StepDone {
            path: execute.path,
            attempt: execute.attempt,
            result: Ok(answer.into()),
            at: time(1),
        });
    }
    assert_eq!(asked, ["all", "all", "all", "all[0]", "all[1]", "all[2]", "all[3]"]);
    let output = run.result();
    assert_eq!(output["results"], json!([[{"n": 0}, {"n": 1}], [{"n": 5}], [{"n": 6}]]));
    assert_eq!((&output["count"], &output["skipped"]), (&json!(4), &json!(1)));
}

#[test]
fn iterators_stand_in_iterators() {
    let inner = each(
        "inner",
        json!("{{ item.rows }}"),
        json!([code("make", json!({"input": ["{{ item }}", "{{ outer_item.n }}"]}))]),
        json!({}),
    );
    let body = json!([set("outer_item", json!({"n": "{{ index }}"})), inner]);
    let graph = steps(json!([each(
        "outer",
        json!([{"rows": [1, 2]}, {"rows": []}, {"rows": [3]}]),
        body,
        json!({"output": "{{ inner.succeeded }}"})
    )]));
    let mut run = Driven::start(&graph, json!({}));
    for (path, input) in [
        ("outer[0].inner[0].make", json!([1, 0])),
        ("outer[0].inner[1].make", json!([2, 0])),
        ("outer[2].inner[0].make", json!([3, 2])),
    ] {
        run.turns();
        let Call::Code(call) = &run.call(path).call else { panic!() };
        assert_eq!(call.input.value, input);
        run.ok(path, json!(null));
    }
    assert_eq!(run.result()["results"], json!([2, 0, 1]));
}

#[test]
fn what_fails_inside_can_be_dealt_with_inside_and_outside() {
    let body = json!([code(
        "make",
        json!({"on_error": {"do": [set("sorry", json!({"why": "{{ error.code }}", "of": "{{ item }}"}))]}})
    )]);
    let graph = steps(json!([each("all", json!(["x"]), body, json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.fail("all[0].make", "bad");
    assert_eq!(run.result()["results"], json!([{"why": "bad", "of": "x"}]));

    let handled = json!({"on_error": {"do": [code("report", json!({"input": "{{ error.code }}"}))]}});
    let graph = steps(json!([each("all", json!(["x"]), json!([code("make", json!({}))]), handled)]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.fail("all[0].make", "bad");
    run.ok("all.report", json!("told"));
    assert_eq!(run.result(), json!("told"));
}

#[test]
fn the_state_does_not_grow_with_the_items() {
    let body = json!([code("make", json!({})), {"id": "big", "type": "set", "values": {"text": "{{ trigger.text }}"}}]);
    let search = json!({"object": "person"});
    let graph =
        steps(json!([{"id": "all", "type": "iterator", "search": search, "concurrency": 4, "do": body}]));
    let mut run = Driven::start(&graph, json!({"text": "x".repeat(500)}));
    let (mut largest, mut n) = (0, 0);
    while run.finished().is_none() {
        let execute = run.open().remove(0);
        let answer = turn(&execute.call, 2_000, |n| n % 7 == 0).unwrap_or(json!(1));
        let event = Event::StepDone {
            path: execute.path,
            attempt: execute.attempt,
            result: Ok(answer.into()),
            at: time(1),
        };
        apply(&graph, &mut run.state, &event).into_iter().for_each(|command| {
            if let Command::Finished(_) = command {
                run.asked.push(command);
            }
        });
        n += 1;
        if n % 20 > 0 {
            continue;
        }
        // As it is written: whole pages of results become blobs.
        let mut written = run.state.clone();
        for payload in written.payloads_mut() {
            let size = payload.value().map_or(0, |value| value.to_string().len());
            if size > 4096 {
                payload.store_as(BlobRef { sha256: "0".repeat(64), size: size as u64 });
            }
        }
        largest = largest.max(serde_json::to_vec(&written).unwrap().len());
    }
    assert!(largest < 40_000, "{largest}");
    let output = run.result();
    assert_eq!((&output["count"], &output["skipped"]), (&json!(2_000), &json!(286)));
    assert_eq!(output["results"].as_array().unwrap().len(), 1_000);
}

#[test]
fn the_turns_of_items_move_the_clock() {
    let body = json!([code("make", json!({})), {"id": "pause", "type": "delay", "for": "10m"}]);
    let graph = steps(json!([each("all", json!([1, 2]), body, json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.answer_at("all[0]", Ok(json!(null)), time(5_000));
    assert_eq!(run.state.clock, time(5_000));
    run.answer_at("all[0].make", Ok(json!(1)), time(5_003));
    assert_eq!(run.timers()[0].1, time(5_600), "results of code do not, since they may be computed again");
}

#[test]
fn a_retry_tolerates_what_the_version_it_goes_on_with_does() {
    let tolerant = |failures: u64| {
        let more = json!({"tolerate": {"failures": failures}});
        steps(json!([each("all", json!([0, 1]), json!([code("make", json!({}))]), more)]))
    };
    let (before, after) = (tolerant(0), tolerant(1));
    let mut run = Driven::start(&before, json!({}));
    run.turns();
    run.fail("all[0].make", "bad");
    assert_eq!(run.error().1, "bad");
    run.graph = &after;
    run.event(Event::RetryRequested { at: time(5) });
    run.fail("all[0].make", "bad");
    run.turns();
    run.ok("all[1].make", json!(1));
    assert_eq!((run.result()["failed"].clone(), run.result()["succeeded"].clone()), (json!(1), json!(1)));
}

#[test]
fn items_that_the_end_of_the_run_cuts_off_are_told() {
    let stop = |status: &str| {
        let body = json!([
            {"id": "bad", "type": "stop", "status": status, "if": "{{ item == 1 }}"},
            code("make", json!({})),
        ]);
        steps(json!([each("all", json!([0, 1, 2]), body, json!({"concurrency": 3}))]))
    };
    let of = |run: &Driven<'_>| {
        let mut ended = ended(run);
        ended.sort_by(|a, b| a.0.cmp(&b.0));
        ended
    };
    let items = |statuses: [StepStatus; 3]| -> Vec<(String, StepStatus)> {
        statuses.into_iter().enumerate().map(|(n, status)| (format!("all[{n}]"), status)).collect()
    };
    use StepStatus::{Cancelled, Completed, Failed};
    let turn_all = |run: &mut Driven<'_>| {
        for item in ["all[0]", "all[2]", "all[1]"] {
            run.answer(item, Ok(Value::Null));
        }
    };
    let graph = stop("completed");
    let mut run = Driven::start(&graph, json!({}));
    turn_all(&mut run);
    assert_eq!(of(&run), items([Cancelled, Completed, Cancelled]));
    let graph = stop("failed");
    let mut run = Driven::start(&graph, json!({}));
    turn_all(&mut run);
    assert_eq!(of(&run), items([Cancelled, Failed, Cancelled]));
    let graph = steps(json!([each(
        "all",
        json!([0, 1, 2]),
        json!([code("make", json!({}))]),
        json!({"concurrency": 3})
    )]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    run.ok("all[0].make", json!(1));
    run.event(Event::CancelRequested { at: time(3) });
    assert_eq!(of(&run), items([Completed, Cancelled, Cancelled]));
}

#[test]
fn a_failure_that_is_dealt_with_tells_of_all_items_and_leaves_none() {
    let body = json!([code("make", json!({"input": "{{ item }}"}))]);
    let handler = json!([set(
        "told",
        json!({"items": "{{ error.details.items }}", "index": "{{ error.details.index }}"})
    )]);
    for on_error in [json!("continue"), json!({"do": handler})] {
        let more = json!({"tolerate": {"failures": 1}, "on_error": on_error});
        let graph =
            steps(json!([each("all", json!([7, 8, 9]), body.clone(), more), code("after", json!({}))]));
        let mut run = Driven::start(&graph, json!({}));
        for n in 0..3 {
            run.turns();
            match n {
                0 => run.ok("all[0].make", json!("good")),
                n => run.fail(&format!("all[{n}].make"), "bad_row"),
            };
        }
        let step = run.state.step(&"all".into()).unwrap();
        let details = step.error.as_ref().unwrap().details.as_ref().unwrap();
        let counts = ["count", "succeeded", "failed", "skipped"].map(|name| details["items"][name].as_u64());
        assert_eq!(counts, [Some(3), Some(1), Some(2), Some(0)]);
        assert_eq!((&details["index"], &details["items"]["failures"][0]["item"]), (&json!(2), &json!(8)));
        let items = step.items.as_ref().unwrap();
        assert_eq!((items.failed, items.broken.len(), &items.list), (2, 0, &None));
        assert!(run.state.steps.keys().all(|path| path.innermost_item().is_none()), "{:?}", run.state.steps);
        assert_eq!(run.open_paths(), ["after"]);
        if on_error != json!("continue") {
            let told = run.state.step(&"all.told".into()).unwrap();
            let Some(Output::Own(told)) = &told.output else { panic!() };
            assert_eq!(told.value().unwrap()["items"]["failed"], 2);
        }
    }
}

/// What a version says that was checked before there was a bound.
#[test]
fn iterators_inside_one_another_have_a_bound_together() {
    let many: Vec<u64> = (0..60).collect();
    let inner = each("inner", json!(many), json!([code("make", json!({}))]), json!({"concurrency": 60}));
    let graph = steps(json!([each("outer", json!(many), json!([inner]), json!({"concurrency": 60}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.turns();
    let items = run.state.steps.values().filter_map(|step| step.items.as_ref());
    let open: usize = items.map(|items| items.open.len()).sum();
    // One of each inner one at least, so that all go on.
    assert!((120..=160).contains(&open), "{open}");
    let calls = run.open_paths();
    assert!((0..60).all(|n| calls.contains(&format!("outer[{n}].inner[0].make"))), "{calls:?}");
}

#[test]
fn an_item_of_a_list_can_be_left_out_at_its_turn() {
    let graph = steps(json!([each("all", json!([1, 2]), json!([code("make", json!({}))]), json!({}))]));
    let mut run = Driven::start(&graph, json!({}));
    run.ok("all[0]", LEFT_OUT);
    run.turns();
    run.ok("all[1].make", json!("x"));
    let output = run.result();
    assert_eq!((&output["skipped"], &output["succeeded"]), (&json!(1), &json!(1)));
}
