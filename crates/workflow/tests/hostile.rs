//! Documents that are made to keep a check busy: short ones that describe what is far larger than themselves. Each ends,
//! with what is right to say of it.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use stepwell_workflow::check::{
    ActionInfo, ActionLookup, Catalog, NoCatalog, StandardObjects, WorkflowLookup, check,
};
use stepwell_workflow::model::{ActionRef, Workflow};
use stepwell_workflow::problem::{MAX_PROBLEMS, Problem};

fn set(id: &str, values: Value) -> Value {
    json!({"id": id, "type": "set", "values": values})
}

fn document(steps: Vec<Value>) -> String {
    json!({"name": "hostile", "trigger": {"type": "manual"}, "steps": steps}).to_string()
}

/// On the stack that the threads of the product have.
fn problems(steps: Vec<Value>) -> Vec<Problem> {
    let text = document(steps);
    let check = move || check(&text, &NoCatalog).problems;
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap()
}

fn codes(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.code.as_str()).collect()
}

#[test]
fn types_that_steps_build_of_each_other_nest_so_deep_at_most() {
    let wraps: [fn(Value) -> Value; 2] = [|value| json!({"a": value}), |value| json!([value])];
    for wrap in wraps {
        let mut steps = vec![set("s0", json!({"v": 1}))];
        for n in 1..400 {
            let before = json!(format!("{{{{ s{}.v }}}}", n - 1));
            let deep = (0..50).fold(before, |value, _| wrap(value));
            steps.push(set(&format!("s{n}"), json!({"v": deep})));
        }
        assert_eq!(codes(&problems(steps)), [""; 0]);
    }
}

#[test]
fn what_nests_as_deep_as_a_value_of_a_run_may_is_known_to_its_end() {
    let mut steps = vec![set("s0", json!({"right": 1}))];
    let mut path = "s30".to_owned();
    for n in 1..=30 {
        steps.push(set(&format!("s{n}"), json!({"v": format!("{{{{ s{} }}}}", n - 1)})));
        path.push_str(".v");
    }
    steps.push(set("good", json!({"v": format!("{{{{ {path}.right }}}}")})));
    steps.push(set("bad", json!({"v": format!("{{{{ {path}.wrong }}}}")})));
    let found = problems(steps);
    assert_eq!(codes(&found), ["unknown_path"]);
    assert!(found[0].message.contains("`s0` gives right"), "{}", found[0].message);
}

/// `{id}N.v` holds `{id}N-1.v` twice, so that all of it has 2^N parts.
fn doubled(id: &str, count: usize, first: Value) -> Vec<Value> {
    let mut steps = vec![set(&format!("{id}0"), json!({"v": first}))];
    for n in 1..=count {
        let before = format!("{{{{ {id}{}.v }}}}", n - 1);
        steps.push(set(&format!("{id}{n}"), json!({"v": {"x": before, "y": before}})));
    }
    steps
}

#[test]
fn types_that_share_their_parts_are_compared_without_going_through_them() {
    for (first, second, same) in [(json!(1), json!(2), true), (json!(1), json!("a"), false)] {
        let mut steps = doubled("s", 60, first);
        steps.extend(doubled("t", 60, second));
        steps.push(set("both", json!({"l": ["{{ s60.v }}", "{{ t60.v }}"]})));
        // Of a list of one type the items are known.
        steps.push(set("end", json!({"v": "{{ both.l[0].wrong }}"})));
        assert_eq!(codes(&problems(steps)).len(), usize::from(same));
    }
}

/// A branch whose arms both give the values.
fn branch(n: usize, arms: usize, output: Value) -> Value {
    let arm = |k: usize| {
        json!({
            "when": {"value": "{{ trigger.type }}", "is": format!("x{k}")},
            "do": [set(&format!("b{n}a{k}"), json!({"k": k}))],
            "output": output
        })
    };
    json!({
        "id": format!("b{n}"),
        "type": "branch",
        "branches": (1..arms).map(arm).collect::<Vec<_>>(),
        "else": {"do": [set(&format!("b{n}e"), json!({"k": 0}))], "output": output}
    })
}

#[test]
fn a_chain_of_branches_has_the_alternatives_of_one() {
    let mut steps = vec![branch(0, 2, json!({"v": 1}))];
    for n in 1..80 {
        steps.push(branch(n, 2, json!(format!("{{{{ b{} }}}}", n - 1))));
    }
    steps.push(set("good", json!({"v": "{{ b79.v }}"})));
    steps.push(set("bad", json!({"v": "{{ b79.wrong }}"})));
    assert_eq!(codes(&problems(steps)), ["unknown_path"]);
}

/// Each of the arms of `bN` gives `{v: bN-1}`, and all of them are different.
fn arms_in_arms(depth: usize, arms: usize) -> Vec<Value> {
    let mut steps = vec![set("b0", json!({"v": 1}))];
    for n in 1..=depth {
        let before = format!("{{{{ b{} }}}}", n - 1);
        let arm = |k: usize| set(&format!("b{n}a{k}"), json!({"v": before, format!("k{k}"): k}));
        let when = |k: usize| json!({"when": {"value": "{{ trigger.type }}", "is": format!("x{k}")}, "do": [arm(k)]});
        steps.push(json!({
            "id": format!("b{n}"),
            "type": "branch",
            "branches": (1..arms).map(when).collect::<Vec<_>>(),
            "else": [arm(0)]
        }));
    }
    steps
}

#[test]
fn a_path_through_arms_in_arms_ends() {
    for (depth, arms) in [(25, 4), (20, 40)] {
        let mut steps = arms_in_arms(depth, arms);
        let path = ".v".repeat(depth + 1);
        for n in 0..50 {
            steps.push(set(&format!("use{n}"), json!({"v": format!("{{{{ b{depth}{path} }}}}")})));
        }
        assert_eq!(codes(&problems(steps)), [""; 0]);
    }
    // Of few the path is known to its end.
    let mut steps = arms_in_arms(5, 3);
    steps.push(set("good", json!({"v": "{{ b5.v.v.v.v.v.v }}"})));
    steps.push(set("bad", json!({"v": "{{ b5.v.v.v.v.v.wrong }}"})));
    assert_eq!(codes(&problems(steps)), ["unknown_path"]);
}

#[test]
fn a_branch_of_many_arms_may_give_anything() {
    for (arms, known) in [(40, true), (100, false)] {
        let mut steps = arms_in_arms(1, arms);
        steps.push(set("bad", json!({"v": "{{ b1.wrong }}"})));
        assert_eq!(codes(&problems(steps)).len(), usize::from(known), "{arms}");
    }
}

/// Workflows by name, and an action whose input nests.
#[derive(Default)]
struct Store(BTreeMap<String, Arc<Workflow>>);

impl Store {
    fn add(&mut self, name: &str, trigger: Value, steps: Vec<Value>) {
        let text = json!({"name": name, "trigger": trigger, "steps": steps}).to_string();
        let checked = check(&text, &StandardObjects);
        let workflow = checked.workflow.unwrap_or_else(|| panic!("{:?}", checked.problems));
        self.0.insert(name.to_owned(), Arc::new(workflow));
    }
}

impl Catalog for Store {
    fn action(&self, _: &ActionRef) -> ActionLookup {
        let text = json!({"type": "string"});
        let schema = (0..10).fold(text, |inner, _| json!({"type": "object", "properties": {"v": inner}}));
        ActionLookup::Found(Arc::new(ActionInfo {
            name: "nests".into(),
            version: "1.0.0".parse().unwrap(),
            input_schema: Some(schema),
            output_schema: None,
        }))
    }

    fn workflow(&self, name: &str) -> WorkflowLookup {
        match self.0.get(name) {
            Some(workflow) => WorkflowLookup::Found(workflow.clone()),
            None => WorkflowLookup::Unknown(Vec::new()),
        }
    }

    fn listening(&self) -> Vec<Arc<Workflow>> {
        self.0.values().cloned().collect()
    }
}

#[test]
fn arms_in_arms_are_held_against_a_schema_in_time() {
    // Nothing fits before the innermost, where every arm gives a number.
    let mut steps = arms_in_arms(9, 40);
    steps.push(json!({"id": "end", "type": "code", "action": "nests", "input": "{{ b9 }}"}));
    let checked = check(&document(steps), &Store::default());
    assert_eq!(codes(&checked.problems), [""; 0]);
    let mut steps = arms_in_arms(9, 2);
    steps.push(json!({"id": "end", "type": "code", "action": "nests", "input": "{{ b9 }}"}));
    assert_eq!(codes(&check(&document(steps), &Store::default()).problems), ["invalid_input"]);
}

fn run(id: usize, workflow: &str) -> Value {
    json!({"id": format!("r{id}"), "type": "run_workflow", "workflow": workflow, "wait": false})
}

#[test]
fn workflows_that_run_each_other_are_looked_through_once() {
    let mut store = Store::default();
    let note = json!({"id": "c", "type": "create_record", "object": "note", "record": {"title": "x"}});
    let task = json!({"id": "c", "type": "create_record", "object": "task", "record": {"title": "x"}});
    // Of each number there are two ways to the next.
    for (chain, last) in [("lw", &note), ("kw", &task)] {
        store.add(&format!("{chain}30"), json!({"type": "manual"}), vec![last.clone()]);
        for n in 0..30 {
            let next = format!("{chain}{}", n + 1);
            store.add(&format!("{chain}{n}"), json!({"type": "manual"}), vec![run(0, &next), run(1, &next)]);
        }
    }
    let on_note = json!({"type": "record_event", "object": "note", "on": ["created"]});
    let text = |first: &str| {
        json!({"name": "first", "trigger": on_note, "steps": [run(0, first), run(1, first)]}).to_string()
    };
    let found = check(&text("lw0"), &store).problems;
    assert_eq!(codes(&found), ["event_loop"]);
    assert!(found[0].message.contains("`first` runs `lw0` runs `lw1`"), "{}", found[0].message);
    assert_eq!(codes(&check(&text("kw0"), &store).problems), [""; 0]);
}

#[test]
fn a_long_chain_of_workflows_is_followed_as_far_as_runs_may_go() {
    let mut store = Store::default();
    let note = json!({"id": "c", "type": "create_record", "object": "note", "record": {"title": "x"}});
    store.add("lw3000", json!({"type": "manual"}), vec![note]);
    for n in 0..3000 {
        store.add(&format!("lw{n}"), json!({"type": "manual"}), vec![run(0, &format!("lw{}", n + 1))]);
    }
    let on_note = json!({"type": "record_event", "object": "note", "on": ["created"]});
    for (from, wanted) in [("lw0", vec![]), ("lw2990", vec!["event_loop"])] {
        let text = json!({"name": "first", "trigger": on_note, "steps": [run(0, from)]}).to_string();
        let found = std::thread::scope(|scope| {
            let check = || check(&text, &store).problems;
            std::thread::Builder::new()
                .stack_size(2 << 20)
                .spawn_scoped(scope, check)
                .unwrap()
                .join()
                .unwrap()
        });
        assert_eq!(codes(&found), wanted, "{from}");
    }
}

#[test]
fn after_a_hundred_problems_the_rest_is_not_looked_for() {
    // Each name is as long as names can be, and much like all of the others.
    let mut steps: Vec<Value> =
        (0..900).map(|n| set(&format!("a{n:03}{}", "b".repeat(60)), json!({"v": 1}))).collect();
    let wrong = |n: usize| format!("{{{{ c{n:04}{} }}}}", "d".repeat(59));
    steps.push(set(
        "end",
        json!((0..4_000).map(|n| (format!("v{n:04}"), wrong(n).into())).collect::<serde_json::Map<_, _>>()),
    ));
    let found = problems(steps);
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    let (last, told) = found.split_last().unwrap();
    assert!(told.iter().all(|problem| problem.code == "unknown_reference"), "{:?}", codes(told));
    assert_eq!(last.code, "more_problems");
    assert!(last.message.contains("100"), "{}", last.message);
    assert_eq!(last.path, "steps[900].values.v0100");
}

#[test]
fn keys_that_nothing_knows_are_told_up_to_a_hundred() {
    let mut step = set("a", json!({"v": 1}));
    for n in 0..20_000 {
        step[format!("k{n}")] = json!(1);
    }
    let found = problems(vec![step]);
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    assert_eq!((found[0].code.as_str(), found[100].code.as_str()), ("unknown_key", "more_problems"));
}

#[test]
fn a_wide_object_that_is_used_often_is_neither_copied_nor_searched_for_ever() {
    let wide: serde_json::Map<_, _> = (0..6_000).map(|n| (format!("k{n:04}"), json!(1))).collect();
    let uses: serde_json::Map<_, _> =
        (0..3_000).map(|n| (format!("u{n}"), json!(format!("{{{{ s.k{} }}}}", 5_000 + n % 1_000)))).collect();
    let whole: serde_json::Map<_, _> = (0..2_000).map(|n| (format!("w{n}"), json!("{{ s }}"))).collect();
    assert_eq!(
        codes(&problems(vec![set("s", wide.into()), set("t", uses.into()), set("w", whole.into())])),
        [""; 0]
    );
}
