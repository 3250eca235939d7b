//! What is found is held against asking every condition.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use super::Sieve;
use crate::expr::Values;
use crate::graph::Condition;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use stepwell_records::filter::Allowed;

fn condition(when: &Value) -> Condition {
    Condition::compile_for(when, Allowed::BOTH).unwrap_or_else(|error| panic!("{when}: {error}"))
}

fn scope(subject: &Value) -> Values {
    Values::new([("trigger", subject.clone())])
}

/// Of which of these subjects, by their numbers, a condition is asked.
fn asked(when: Value, subjects: &[Value]) -> Vec<usize> {
    let region = condition(&when).matters("trigger");
    let sieve = Sieve::of([((), &region)]);
    (0..subjects.len()).filter(|n| !sieve.sift(&subjects[*n]).is_empty()).collect()
}

#[test]
fn a_condition_is_asked_where_it_may_hold_or_fail() {
    let after = |a: Value| json!({ "before": null, "after": { "a": a } });
    let subjects = [
        json!({ "before": null, "after": null }),
        after(json!(null)),
        after(json!(3)),
        after(json!(7)),
        after(json!("apple")),
        after(json!("Berlin")),
        after(json!("2026-03-31")),
        after(json!(true)),
    ];
    let field = |test: Value| {
        let mut condition = json!({ "field": "after.a" });
        condition.as_object_mut().unwrap().extend(test.as_object().unwrap().clone());
        condition
    };
    for (when, wanted) in [
        // A filter passes over what is empty; another kind is an error.
        (field(json!({ "greater_than": 5 })), &[3, 4, 5, 6, 7][..]),
        (field(json!({ "greater_than": 2, "less_than": 5 })), &[2, 4, 5, 6, 7]),
        (field(json!({ "less_than": "b" })), &[2, 3, 4, 6, 7]),
        (field(json!({ "is": "Berlin" })), &[2, 3, 5, 7]),
        (field(json!({ "in": ["Berlin", 3] })), &[2, 5, 7]),
        (field(json!({ "starts_with": "b" })), &[2, 3, 5, 7]),
        (field(json!({ "after": "2026-01-01" })), &[2, 3, 4, 5, 6, 7]),
        (field(json!({ "after": "2026-04-01" })), &[2, 3, 4, 5, 7]),
        (field(json!({ "is_empty": true })), &[0, 1]),
        (json!({ "not": field(json!({ "is_empty": true })) }), &[2, 3, 4, 5, 6, 7]),
        (
            json!({ "any": [field(json!({ "is": "Berlin" })), field(json!({ "is": "apple" }))] }),
            &[2, 3, 4, 5, 7],
        ),
        (json!({ "value": "{{ trigger.after.a | default(9) }}", "less_than": 5 }), &[2, 4, 5, 6, 7]),
        // What might go wrong and comes first keeps its place.
        (json!([field(json!({ "contains": "x" })), field(json!({ "is": "Berlin" }))]), &[2, 3, 5, 7]),
        (json!([field(json!({ "is_empty": false })), { "field": "before.b", "is": 1 }]), &[]),
        (
            json!([{ "field": "before.a", "is_not": "Berlin" }, field(json!({ "is": "Berlin" }))]),
            &[2, 3, 5, 7],
        ),
        // An expression wants a value.
        (json!("{{ trigger.after.a > 5 }}"), &[0, 1, 3, 4, 5, 6, 7]),
        (json!("{{ trigger.after.a is number and trigger.after.a > 5 }}"), &[0, 3]),
        (
            json!(
                "{{ trigger.after.a is defined and trigger.after.a is number and 2 < trigger.after.a < 5 }}"
            ),
            &[2],
        ),
        (json!("{{ trigger.after.a != none and trigger.after.a == 'Berlin' }}"), &[0, 5]),
        (json!("{{ trigger.after.a | default(0) == 3 }}"), &[2]),
        (json!("{{ trigger.after.a in ['Berlin', 'apple'] }}"), &[0, 4, 5]),
        (json!("{{ trigger.after.a == 'Berlin' or trigger.after.a == 7 }}"), &[0, 3, 5]),
        (json!("{{ not trigger.after.a == 3 }}"), &[0, 1, 2, 3, 4, 5, 6, 7]),
        // By what is looked up and what is not.
        (json!("{{ trigger.after.a == 3 and trigger.after.a | string | length > 1 }}"), &[0, 2]),
        (
            json!("{{ trigger.after.a | string | length > 1 and trigger.after.a == 3 }}"),
            &[0, 1, 2, 3, 4, 5, 6, 7],
        ),
        (field(json!({ "within": { "last": "7d" } })), &[2, 3, 4, 5, 6, 7]),
        (field(json!({ "is": "{{ trigger.before }}" })), &[0, 1, 2, 3, 4, 5, 6, 7]),
        (json!([{ "value": 1, "is": 2 }, field(json!({ "is": 1 }))]), &[0, 1, 2, 3, 4, 5, 6, 7]),
    ] {
        assert_eq!(asked(when.clone(), &subjects), wanted, "{when}");
    }
}

#[test]
fn of_a_thousand_thresholds_those_are_found_that_are_passed() {
    let regions: Vec<_> = (0..1000)
        .map(|n| {
            condition(&json!({ "field": "after.a", "greater_or_equal": n * 10, "less_than": n * 10 + 30 }))
        })
        .map(|condition| condition.matters("trigger"))
        .collect();
    let sieve = Sieve::of(regions.iter().enumerate());
    for (a, wanted) in
        [(-1, vec![]), (0, vec![0]), (25, vec![0, 1, 2]), (5_005, vec![498, 499, 500]), (20_000, vec![])]
    {
        assert_eq!(sieve.sift(&json!({ "after": { "a": a } })), wanted, "{a}");
    }
    assert_eq!(sieve.sift(&json!({ "after": { "a": null } })), [0usize; 0]);
    assert_eq!(sieve.sift(&json!({ "after": { "a": "x" } })).len(), 1000, "to ask fails");
}

fn scalar() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(-1),
        json!(0),
        json!(0.5),
        json!(1),
        json!(2.0),
        json!(1e30),
        json!(""),
        json!(" "),
        json!("a"),
        json!("A"),
        json!("b"),
        json!("Bb"),
        json!("now"),
        json!("2026-03-31"),
        json!("2026-03-31T23:30:00-02:00"),
    ])
}

fn value() -> impl Strategy<Value = Value> {
    let d = prop_oneof![Just(json!({})), scalar().prop_map(|d| json!({ "d": d }))];
    prop_oneof![6 => scalar(), 1 => proptest::collection::vec(scalar(), 0..3).prop_map(Value::from), 1 => d]
}

fn subject() -> impl Strategy<Value = Value> {
    let part = || proptest::option::of(value());
    let record = || {
        let record = (part(), part()).prop_map(|(a, b)| {
            let parts = [("a", a), ("b", b)];
            parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        });
        prop_oneof![1 => Just(Value::Null), 4 => record.prop_map(Value::Object)]
    };
    (record(), record()).prop_map(|(before, after)| json!({ "before": before, "after": after }))
}

const PARTS: [&str; 5] = ["after.a", "before.a", "after.b", "after.b.d", "after"];

fn filter() -> impl Strategy<Value = Value> {
    let read = select(PARTS.to_vec()).prop_flat_map(|part| {
        let path = format!("trigger.{part}");
        let reads = [
            json!({ "field": part }),
            json!({ "field": part }),
            json!({ "value": format!("{{{{ {path} }}}}") }),
            json!({ "value": format!("{{{{ {path} | default(1) }}}}") }),
            json!({ "value": format!("{{{{ {path} | default('b') }}}}") }),
            json!({ "value": 1 }),
        ];
        select(reads.to_vec())
    });
    let operand = select(stepwell_records::filter::Operand::ALL.to_vec());
    let with = prop_oneof![
        4 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => select(vec![json!({ "last": "7d" }), json!("{{ trigger.after.a }}")]),
    ];
    let test = (operand, with).prop_map(|(operand, with)| (operand.name(), with));
    let one = (read, proptest::collection::vec(test, 1..3)).prop_map(|(mut condition, tests)| {
        for (name, with) in tests {
            condition[name] = with;
        }
        condition
    });
    one.prop_recursive(3, 8, 3, |inner| {
        let several = proptest::collection::vec(inner.clone(), 1..4);
        let groups =
            (several, select(vec!["all", "any"])).prop_map(|(several, name)| json!({ name: several }));
        prop_oneof![3 => groups, 1 => inner.prop_map(|inner| json!({ "not": inner }))]
    })
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

fn expression() -> impl Strategy<Value = Value> {
    let read = select(PARTS.to_vec()).prop_flat_map(|part| {
        let path = format!("trigger.{part}");
        select(vec![
            path.clone(),
            path.clone(),
            format!("({path} | default(1))"),
            format!("({path} | default('b'))"),
            format!("({path} | default(none))"),
            format!("({path} | default(false, true))"),
            format!("({path} | string)"),
        ])
    });
    let op = select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let test = select(vec![
        "none",
        "true",
        "false",
        "boolean",
        "number",
        "string",
        "sequence",
        "iterable",
        "mapping",
        "empty",
        "defined",
        "undefined",
    ]);
    let list = proptest::collection::vec(scalar(), 0..3);
    let one = (read.clone(), read, op.clone(), op, test, scalar(), scalar(), list, 0..10u8).prop_map(
        |(read, other, op, second, test, with, more, list, form)| {
            let (with, more) = (literal(&with), literal(&more));
            let list = list.iter().map(literal).collect::<Vec<_>>().join(", ");
            match form {
                0..3 => format!("{read} {op} {with}"),
                3 => format!("{with} {op} {read}"),
                4 => format!("{with} {op} {read} {second} {more}"),
                5 => format!("{read} in [{list}]"),
                6 => format!("{read} not in [{list}]"),
                7 => format!("{read} is {test}"),
                8 => read,
                _ => format!("{read} {op} {other}"),
            }
        },
    );
    let all = one.prop_recursive(3, 8, 2, |inner| {
        let two = (inner.clone(), inner.clone(), select(vec!["and", "or"]));
        let two = two.prop_map(|(left, right, op)| format!("({left}) {op} ({right})"));
        prop_oneof![3 => two, 1 => inner.prop_map(|inner| format!("not ({inner})"))]
    });
    all.prop_map(|text| json!(format!("{{{{ {text} }}}}")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// None that would hold or fail is ever left out, and looking up finds what going through all would.
    #[test]
    fn whoever_is_not_found_does_not_hold(
        conditions in proptest::collection::vec(prop_oneof![filter(), expression()], 1..12),
        subjects in proptest::collection::vec(subject(), 1..8),
    ) {
        let compiled = |when: &Value| Some((when.clone(), Condition::compile_for(when, Allowed::BOTH).ok()?));
        let conditions: Vec<_> = conditions.iter().filter_map(compiled).collect();
        let regions: Vec<_> = conditions.iter().map(|(_, condition)| condition.matters("trigger")).collect();
        let sieve = Sieve::of(regions.iter().enumerate());
        for subject in &subjects {
            let found = sieve.sift(subject);
            let within: Vec<usize> = (0..regions.len()).filter(|n| regions[*n].contains(subject)).collect();
            prop_assert_eq!(&found, &within);
            for (n, (when, condition)) in conditions.iter().enumerate() {
                let decided = condition.holds_of(subject, &scope(subject));
                prop_assert!(
                    decided == Ok(false) || found.contains(&n),
                    "{} of {}: {:?}, and it is not asked", when, subject, decided
                );
            }
        }
    }
}
