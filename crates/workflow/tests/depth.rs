//! What nests deep, from the document to the run: refused with its place, and never the end of the stack.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use serde_json::{Value, json};
use stepwell_workflow::check::{Checked, NoCatalog, check};
use stepwell_workflow::expr::MAX_NESTING;
use stepwell_workflow::graph::Graph;
use stepwell_workflow::machine::{Command, Event, RunStatus, Start, State, step};

/// Less than any thread of the product has; a debug build needs the most of it.
fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(384 << 10).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap()
    })
}

fn document(steps: Value) -> String {
    json!({"name": "deep", "trigger": {"type": "manual"}, "steps": steps}).to_string()
}

/// Runs a checked document up to where it waits or ends.
fn run(checked: Checked) -> (State, Vec<Command>) {
    let problems = checked.problems;
    let graph = Graph::compile(&checked.workflow.unwrap_or_else(|| panic!("{problems:?}"))).unwrap();
    let start = Start { trigger: json!({"input": {"a": "x", "n": 1}}).into(), ..Start::default() };
    step(&graph, &State::new(), &Event::Started(Box::new(start)))
}

#[test]
fn a_long_expression_is_told_with_its_place() {
    let long = format!("{{{{ trigger.input.a{} }}}}", " | string".repeat(85));
    let text = format!(
        "name: long\ntrigger: {{ type: manual }}\nsteps:\n  - id: a\n    type: set\n    values:\n      b: \"{long}\"\n"
    );
    let checked = on_a_small_stack(|| check(&text, &NoCatalog));
    let problem = &checked.problems[0];
    assert_eq!(
        (problem.code.as_str(), problem.line, problem.path.as_str()),
        ("template_syntax", 7, "steps[0].values.b")
    );
    let at = text.lines().nth(6).unwrap().find(" | string").unwrap() + 2;
    // Two of the levels are the attributes of the path.
    assert_eq!(problem.column, at + (MAX_NESTING - 2) * " | string".len());
    assert!(problem.message.contains("nests too deep: at most 50"), "{problem:?}");
    for long in [
        "1 + ".repeat(102) + "1",
        "a".to_owned() + &".b".repeat(2500),
        "not ".repeat(3000) + "true",
        "[".repeat(3000),
    ] {
        let text =
            document(json!([{"id": "a", "type": "set", "values": {"b": format!("{{{{ {long} }}}}")}}]));
        let checked = on_a_small_stack(|| check(&text, &NoCatalog));
        assert!(checked.problems[0].message.contains("nests too deep"), "{:?}", checked.problems);
    }
}

#[test]
fn the_longest_expressions_run() {
    let filters = format!("{{{{ trigger.input.a{} }}}}", " | string".repeat(MAX_NESTING - 2));
    let sum = format!("{{{{ {}1 }}}}", "1 + ".repeat(MAX_NESTING));
    let lists = format!("{{{{ {}1{} }}}}", "[".repeat(16), "]".repeat(16));
    let condition = format!("{{{{ {}true }}}}", "not ".repeat(MAX_NESTING));
    let text = document(json!([
        {"id": "a", "type": "set", "values": {"filters": filters, "sum": sum, "lists": lists}, "if": condition},
        {"id": "b", "type": "branch", "branches": [{"when": condition, "do": [
            {"id": "c", "type": "http_request", "url": format!("https://x.org/{filters}")}
        ]}]}
    ]));
    let (state, commands) = on_a_small_stack(|| run(check(&text, &NoCatalog)));
    assert_eq!(state.status, RunStatus::Running);
    let Command::Execute(execute) = &commands[0] else { panic!("{commands:?}") };
    assert_eq!(execute.path.as_str(), "b.c");
}

#[test]
fn a_run_keeps_no_value_deeper_than_64_levels() {
    let mut steps = vec![json!({"id": "s0", "type": "set", "values": {"v": "{{ trigger.input }}"}})];
    for n in 1..40 {
        let before = n - 1;
        steps.push(json!({"id": format!("s{n}"), "type": "set", "values": {"v": format!("{{{{ s{before} }}}}"), "w": [1]}}));
    }
    // Two levels a step: the object, and the list inside an object.
    for n in 40..70 {
        let before = n - 1;
        steps.push(
            json!({"id": format!("s{n}"), "type": "set", "values": {"v": [format!("{{{{ s{before} }}}}")]}}),
        );
    }
    let text = document(json!(steps));
    let (state, commands) = on_a_small_stack(|| run(check(&text, &NoCatalog)));
    assert_eq!(state.status, RunStatus::Failed);
    let Some(Command::Finished(finished)) = commands.last() else { panic!("{commands:?}") };
    let error = finished.error.as_ref().unwrap();
    assert_eq!(error.failure.code, "template_limit");
    assert!(error.failure.message.starts_with("values.v[0].v[0]"), "{}", error.failure.message);
    assert!(error.failure.message.contains("nested deeper than 64 levels"), "{}", error.failure.message);
    let written = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&written).unwrap(), state, "what is stored can be read again");
}

#[test]
fn a_document_nests_at_most_64_deep() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
    for (levels, fits) in [(40, true), (59, true), (64, false), (120, false), (500, false)] {
        for text in [
            document(json!([{"id": "a", "type": "set", "values": {"v": nested(levels)}}])),
            format!(
                "name: deep\ntrigger: {{ type: manual, input_schema: {{ default: {} }} }}\nsteps: [{{ id: a, type: stop }}]\n",
                nested(levels)
            ),
        ] {
            let checked = on_a_small_stack(|| check(&text, &NoCatalog));
            let deep = checked.problems.iter().any(|problem| problem.code == "too_deep");
            assert_eq!(deep, !fits, "{levels}: {:?}", checked.problems);
        }
    }
}
