//! The filter language as its users meet it: what parses, what holds, and what every mistake says.

use insta::assert_snapshot;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-05-20T12:00:00Z".parse().unwrap()
}

fn person() -> Value {
    json!({
        "name": {"firstName": "Ann", "lastName": "Ärmel"},
        "emails": {"primaryEmail": "ann@example.com", "additionalEmails": ["a@example.org"]},
        "city": "Paris", "score": 7, "active": true, "tags": ["VIP", "BETA"],
        "born": "1990-02-03", "seenAt": "2026-05-19T08:00:00Z", "nothing": null, "blank": "  ",
    })
}

fn parse(json: Value) -> Filter {
    Filter::parse(&json, Allowed::BOTH).unwrap()
}

fn holds(json: Value) -> bool {
    parse(json).evaluate_on(&person(), now()).unwrap()
}

fn problems(json: Value) -> String {
    let problems = Filter::parse(&json, Allowed::BOTH).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn failure(json: Value) -> String {
    parse(json).evaluate_on(&person(), now()).unwrap_err().to_string()
}

#[test]
fn groups_combine_conditions() {
    assert!(holds(json!([{"field": "city", "is": "Paris"}, {"field": "score", "is": 7}])));
    assert!(!holds(json!([{"field": "city", "is": "Paris"}, {"field": "score", "is": 8}])));
    assert!(holds(json!({"any": [{"field": "city", "is": "Rome"}, {"field": "score", "is": 7}]})));
    assert!(holds(json!({"not": [{"field": "city", "is": "Paris"}, {"field": "score", "is": 8}]})));
    assert!(holds(json!({"field": "score", "greater_than": 6, "less_or_equal": 7})));
    assert!(!holds(json!({"field": "score", "greater_than": 6, "less_than": 7})));
    assert!(holds(json!({"value": 3, "less_than": 4.5})));
}

#[test]
fn operands_of_text() {
    assert!(holds(json!({"field": "name.lastName", "starts_with": "är"})));
    assert!(holds(json!({"field": "emails.primaryEmail", "ends_with": "@EXAMPLE.com"})));
    assert!(holds(json!({"field": "city", "contains": "ARI", "not_contains": "rome"})));
    assert!(!holds(json!({"field": "city", "is": "paris"})), "`is` is exact");
    assert!(holds(json!({"field": "city", "in": ["Rome", "Paris"], "not_in": []})));
    assert!(!holds(json!({"field": "city", "in": []})));
    assert!(holds(json!({"field": "city", "greater_than": "london", "less_than": "ROME"})));
}

#[test]
fn operands_of_numbers_lists_and_booleans() {
    assert!(holds(json!({"field": "score", "is": 7.0, "is_not": 8, "in": [1, 7]})));
    assert!(holds(json!({"field": "active", "is": true})));
    assert!(holds(json!({"field": "tags", "contains": "VIP", "not_contains": "GONE"})));
    assert!(holds(json!({"field": "tags", "contains_any": ["GONE", "BETA"]})));
    assert!(!holds(json!({"field": "tags", "contains_all": ["GONE", "BETA"]})));
    assert!(!holds(json!({"field": "tags", "contains_any": []})));
    assert!(holds(json!({"field": "tags", "is": ["VIP", "BETA"]})));
}

#[test]
fn operands_of_time() {
    assert!(holds(json!({"field": "born", "before": "1990-02-04", "on_or_after": "1990-02-03"})));
    assert!(holds(json!({"field": "seenAt", "before": "now", "after": "2026-05-19T07:59:59Z"})));
    assert!(holds(json!({"field": "seenAt", "on": "2026-05-19", "before": "today"})));
    assert!(!holds(json!({"field": "seenAt", "after": "2026-05-19"})), "a day is compared with days");
    assert!(holds(json!({"field": "seenAt", "within": {"last": "2d"}})));
    assert!(holds(json!({"field": "seenAt", "within": {"last": "1 day 4 hours"}})));
    assert!(!holds(json!({"field": "seenAt", "within": {"last": "27h"}})));
    assert!(!holds(json!({"field": "seenAt", "within": {"next": "2 weeks"}})));
    assert!(holds(json!({"field": "seenAt", "within": {"this": "week"}})));
    assert!(!holds(json!({"field": "born", "within": {"this": "month"}})));
    assert!(holds(json!({"value": "2026-05-18", "within": {"this": "week"}})), "weeks begin on Monday");
    assert!(!holds(json!({"value": "2026-05-17", "within": {"this": "week"}})));
}

#[test]
fn an_empty_subject_fits_only_what_asks_for_absence() {
    assert!(holds(json!({"field": "nothing", "is_empty": true})));
    assert!(holds(json!({"field": "blank", "is_empty": true})));
    assert!(holds(json!({"field": "city", "is_empty": false})));
    assert!(holds(json!({"field": "nothing", "is_not": "x", "not_in": ["x"], "not_contains": "x"})));
    for operand in ["is", "contains", "starts_with", "less_than", "greater_or_equal"] {
        assert!(!holds(json!({"field": "nothing", operand: "x"})), "{operand}");
    }
    assert!(!holds(json!({"field": "nothing", "before": "now"})));
    assert!(!holds(json!({"field": "nothing", "within": {"last": "7d"}})));
}

#[test]
fn every_problem_is_reported_at_once() {
    assert_snapshot!(problems(json!({"all": [
        {"field": "city", "equals": "Paris"},
        {"field": "city", "starts_wiht": "P"},
        {"field": "score", "gt": 3},
        {"city": "Paris"},
        {"field": "city"},
        {"field": "city", "is": null},
        {"field": "city", "contains": ""},
        {"field": "city", "in": "Paris"},
        {"field": "city", "in": ["Paris", null]},
        {"field": "tags", "contains_all": []},
        {"field": "city", "value": 3, "is": 3},
        {"field": 7, "is": 3},
        {"field": "born", "before": "yesterday-ish", "after": "2026-05-19T08:00:00", "within": "7d"},
        {"field": "born", "within": {"last": "soon"}},
        {"field": "born", "within": {"past": "7d"}},
        {"field": "city", "is_empty": "yes"},
        {"any": []},
        {"all": "x"},
        {"any": [{"field": "a", "is": 1}], "all": [{"field": "a", "is": 1}]},
        "city",
    ]})), @r#"
    all[0].equals: `equals` is no operand (write `is`)
    all[1].starts_wiht: `starts_wiht` is no operand (did you mean `starts_with`?)
    all[2].gt: `gt` is no operand (write `greater_than`)
    all[3]: the condition does not say what it looks at: `field` or `value` is missing (did you mean {"field":"city","is":"Paris"}?)
    all[4]: the condition asks nothing: it has no operand, such as `is` (for example {"field": "city", "is": "Paris"})
    all[5].is: `is` has no value: null matches nothing (to ask for an empty one, write `is_empty: true`)
    all[6].contains: `contains` of an empty text would match everything
    all[7].in: `in` takes a list of values, not the text "Paris"
    all[8].in: `in` has null among its values
    all[9].contains_all: `contains_all` of no values would match everything
    all[10]: a condition looks at a `field` or at a `value`, not at both
    all[11].field: `field` takes a field's name, not the number 7
    all[12].after: `after`: "2026-05-19T08:00:00" has no time zone; write it like "2026-03-31T09:30:00Z" or "…+02:00"
    all[12].before: `before`: "yesterday-ish" is neither a date like "2026-03-31" nor a date-time like "2026-03-31T09:30:00Z"
    all[12].within: `within` takes a period, not the text "7d" (for example {"last": "7d"}, {"next": "2 weeks"} or {"this": "month"})
    all[13].within: "soon" is not a length of time, such as "36h", "7d", "2 weeks" or "3 months" (for example {"last": "7d"}, {"next": "2 weeks"} or {"this": "month"})
    all[14].within: `within` has no `past`: it takes `last`, `next` or `this` (for example {"last": "7d"}, {"next": "2 weeks"} or {"this": "month"})
    all[15].is_empty: `is_empty` takes true or false, not the text "yes"
    all[16].any: an empty `any` would match nothing (leave the filter out, or add a condition)
    all[17].all: `all` takes a list of conditions, not the text "x"
    all[18]: `all`, `any` stand side by side (put them in a list, which means that all must hold)
    all[19]: a filter is an object or a list, not the text "city" (for example {"field": "city", "is": "Paris"})
    "#);
}

#[test]
fn the_place_decides_which_subjects_there_are() {
    let filter = json!([{"field": "city", "is": "x"}, {"value": 1, "is": 1}]);
    let messages = |allowed| {
        let problems = Filter::parse(&filter, allowed).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(messages(Allowed::FIELDS), @"[1].value: a record filter looks at fields (write `field:` with the name of one)");
    assert_snapshot!(messages(Allowed::VALUES), @"[0].field: there is no record here whose `field` could be looked at (write `value:` with a template)");
}

#[test]
fn depth_and_number_of_conditions_are_bounded() {
    let mut deep = json!({"field": "city", "is": "x"});
    for _ in 0..63 {
        deep = json!({"not": deep});
    }
    assert!(Filter::parse(&deep, Allowed::FIELDS).is_ok());
    deep = json!({"not": deep});
    assert!(
        problems(deep)
            .ends_with("…: the filter is nested deeper than 64 levels here (a flatter filter says the same)")
    );
    let groups = |times: usize| {
        (0..times).fold(json!({"field": "city", "is": "x"}), |inner, _| json!({"any": [inner]}))
    };
    let text = serde_json::to_string(&Filter::parse(&groups(31), Allowed::FIELDS).unwrap()).unwrap();
    assert!(serde_json::from_str::<Filter>(&text).is_ok());
    assert!(Filter::parse(&groups(32), Allowed::FIELDS).is_err());
    let value = (0..64).fold(json!(1), |inner, _| json!([inner]));
    assert_snapshot!(problems(json!([{"field": "raw", "is": value}, {"value": value, "is": 1}])), @"
    [0].is: the filter is nested deeper than 64 levels here (a flatter filter says the same)
    [1].value: the filter is nested deeper than 64 levels here (a flatter filter says the same)
    ");
    let many = vec![json!({"field": "city", "is": "x"}); 1_001];
    assert_snapshot!(problems(json!({"any": many})), @"any[1000]: more than 1000 conditions");
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let failures = [
        json!({"field": "city", "greater_than": 3}),
        json!({"field": "city", "is": true}),
        json!({"any": [{"field": "score", "is": 0}, {"not": {"field": "score", "in": ["a", "b"]}}]}),
        json!({"field": "score", "contains": 7}),
        json!({"field": "tags", "contains": 7}),
        json!({"field": "city", "contains_any": ["Paris"]}),
        json!({"field": "city", "before": "now"}),
        json!({"value": {"a": 1}, "less_than": 3}),
    ];
    let messages: Vec<_> = failures.into_iter().map(failure).collect();
    assert_snapshot!(messages.join("\n"), @r#"
    greater_than: `city`: `greater_than` cannot compare the text "Paris" with the number 3
    is: `city`: `is` cannot compare the text "Paris" with true
    any[1].not.in: `score`: `in` cannot compare the number 7 with the list ["a","b"]
    contains: `score`: `contains` looks into a text or a list, not into the number 7
    contains: `tags`: `contains` cannot compare the list ["VIP","BETA"] with the number 7
    contains_any: `city`: `contains_any` looks into a list, not into the text "Paris"
    before: `city`: "Paris" is neither a date like "2026-03-31" nor a date-time like "2026-03-31T09:30:00Z"
    less_than: `less_than` cannot compare the object {"a":1} with the number 3
    "#);
}

#[test]
fn an_unknown_field_is_an_error_and_never_a_match() {
    let resolve = |name: &str| (name == "city").then(|| json!("Paris"));
    let filter = parse(json!({"not": {"field": "ctiy", "is": "Rome"}}));
    let error = filter.evaluate(&resolve, now()).unwrap_err();
    assert_snapshot!(error, @"not.field: there is no `ctiy` here");
}

#[test]
fn a_template_waits_for_its_value_and_a_missing_one_is_an_error() {
    let filter = parse(json!([
        {"field": "city", "in": "{{ cities }}", "is_empty": "{{ flag }}"},
        {"field": "born", "before": "{{ day }}", "within": {"last": "{{ n }}d"}},
        {"value": "{{ total }}", "greater_than": "{{ least }}"},
    ]));
    let mut paths = Vec::new();
    let rendered = filter.try_map_values::<()>(&mut |path, value| {
        paths.push(path.to_string());
        Ok(match value.as_str() {
            Some("{{ cities }}") => json!(["Paris"]),
            Some("{{ flag }}") => json!(false),
            Some("{{ day }}") => json!("2000-01-01"),
            Some("{{ total }}") => json!(2),
            Some("{{ least }}") => Value::Null,
            _ => json!({"last": "100 years"}),
        })
    });
    assert_eq!(
        paths,
        [
            "all[0].in",
            "all[0].is_empty",
            "all[1].before",
            "all[1].within",
            "all[2].value",
            "all[2].greater_than"
        ]
    );
    let error = rendered.unwrap().evaluate_on(&person(), now()).unwrap_err();
    assert_snapshot!(error, @"all[2].greater_than: `greater_than` has no value: null matches nothing (to ask for an empty one, write `is_empty: true`)");
    let error = filter.evaluate_on(&person(), now()).unwrap_err();
    assert_snapshot!(error, @r#"all[0].in: `in` takes a list of values, not the text "{{ cities }}""#);
}

#[test]
fn a_bad_operand_is_found_even_where_evaluation_would_not_reach() {
    let filter = Filter::Any(vec![
        Filter::field("city", Operand::Is, "Paris"),
        Filter::field("city", Operand::Is, Value::Null),
    ]);
    let error = filter.evaluate_on(&person(), now()).unwrap_err();
    assert_eq!(error.path, "any[1].is");
}

#[test]
fn numbers_of_every_spelling_order_by_value() {
    let ascending = [
        json!(-1e300),
        json!(i64::MIN),
        json!(-2.5),
        json!(-2),
        json!(-0.5),
        json!(0),
        json!(0.5),
        json!(9007199254740993_i64),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e30),
        json!(1e300),
    ];
    let number = |value: &Value| value.as_number().unwrap().clone();
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(order_numbers(&number(a), &number(b)), i.cmp(&j), "{a} {b}");
        }
    }
    assert!(order_numbers(&number(&json!(-0.0)), &number(&json!(0))).is_eq());
    assert!(order_numbers(&number(&json!(1e3)), &number(&json!(1000))).is_eq());
}

/// A naive reading of the same language over small integers that may be absent: what the evaluator must agree with.
fn model(filter: &Filter, fields: &[Option<i64>; 3]) -> bool {
    match filter {
        Filter::All(filters) => filters.iter().all(|filter| model(filter, fields)),
        Filter::Any(filters) => filters.iter().any(|filter| model(filter, fields)),
        Filter::Not(filter) => !model(filter, fields),
        Filter::Condition(Condition { subject, tests }) => {
            let Subject::Field(name) = subject else { unreachable!() };
            let held = fields[name.parse::<usize>().unwrap()];
            tests.iter().all(|Test { operand, value }| {
                let numbers: Vec<i64> = match value {
                    Value::Array(items) => items.iter().filter_map(Value::as_i64).collect(),
                    one => one.as_i64().into_iter().collect(),
                };
                match operand {
                    Operand::IsEmpty => held.is_none() == value.as_bool().unwrap(),
                    Operand::Is | Operand::In => held.is_some_and(|held| numbers.contains(&held)),
                    Operand::IsNot | Operand::NotIn => !held.is_some_and(|held| numbers.contains(&held)),
                    Operand::LessThan => held.is_some_and(|held| held < numbers[0]),
                    Operand::GreaterOrEqual => held.is_some_and(|held| held >= numbers[0]),
                    other => unreachable!("{other:?}"),
                }
            })
        }
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    let one = (-3_i64..3).prop_map(Value::from);
    let several = proptest::collection::vec(-3_i64..3, 0..4).prop_map(Value::from);
    let test = prop_oneof![
        (
            prop::sample::select(vec![
                Operand::Is,
                Operand::IsNot,
                Operand::LessThan,
                Operand::GreaterOrEqual
            ]),
            one
        ),
        (prop::sample::select(vec![Operand::In, Operand::NotIn]), several),
        (Just(Operand::IsEmpty), any::<bool>().prop_map(Value::from)),
    ]
    .prop_map(|(operand, value)| Test { operand, value });
    let condition = (0..3_usize, proptest::collection::vec(test, 1..3)).prop_map(|(field, mut tests)| {
        // One key of a JSON object holds one value.
        tests.sort_by_key(|test| test.operand.name());
        tests.dedup_by_key(|test| test.operand);
        Filter::Condition(Condition { subject: Subject::Field(field.to_string()), tests })
    });
    condition.prop_recursive(4, 24, 4, |inner| {
        let several = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several.clone().prop_map(Filter::All),
            several.prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn evaluation_agrees_with_a_naive_model(filter in filters(), fields in any::<[Option<i8>; 3]>()) {
        let fields = fields.map(|field| field.map(|n| i64::from(n % 4)));
        let resolve = |name: &str| Some(json!(fields[name.parse::<usize>().unwrap()]));
        prop_assert_eq!(filter.evaluate(&resolve, now()), Ok(model(&filter, &fields)));
    }

    #[test]
    fn a_filter_survives_json(filter in filters()) {
        let json = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), filter);
    }
}

#[test]
fn what_would_be_held_against_every_record_has_a_bound() {
    let long = "x".repeat(1_000_000);
    let many: Vec<usize> = (0..10_000).collect();
    let filter = json!([
        {"field": "city", "in": many},
        {"field": "city", "contains": &long},
        {"field": "city", "greater_than": &long},
    ]);
    assert_snapshot!(problems(filter), @"
    [0].in: `in` takes at most 1000 values, not 10000 (ask in several searches)
    [1].contains: `contains` takes a text of at most 4096 bytes, not of 1000000
    [2].greater_than: `greater_than` takes a text of at most 4096 bytes, not of 1000000
    ");
    assert!(problems(json!([{&long: "x"}, {"field": "city", &long: 1}])).len() < 1_000);
    // A whole text may be as long as a field's.
    assert!(Filter::parse(&json!({"field": "city", "is": &long}), Allowed::FIELDS).is_ok());
}

#[test]
fn ten_thousand_conditions_and_operands_are_told_apart_quickly() {
    let started = std::time::Instant::now();
    let operands: Map<String, Value> = (0..100_000).map(|n| (format!("operand{n}"), json!(1))).collect();
    let mut condition = operands.clone();
    condition.insert("field".into(), json!("city"));
    let filters = vec![json!({"field": "city", "contains": ""}); 10_000];
    for filter in [json!(condition), json!(operands), json!(filters), json!({"all": [], "any": operands})] {
        let found = Filter::parse(&filter, Allowed::FIELDS).unwrap_err();
        assert!(found.len() <= 101 && found.iter().all(|problem| problem.to_string().len() < 1_500));
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// What asking costs, about in bytes that are looked at.
fn cost(json: Value, object: &Value) -> usize {
    let filter = parse(json);
    let asked = Asked::of(&filter);
    let mut asking = asked.begin();
    let resolve = |name: &str| object.get(name).map(std::borrow::Cow::Borrowed);
    while asking.go_on(&resolve, now(), 1_000).unwrap().is_none() {}
    asking.spent()
}

#[test]
fn a_text_is_brought_to_lower_case_once_for_all_conditions() {
    let long = json!({ "text": "Long ".repeat(2_000) });
    let beginnings = |count: usize| -> Value {
        json!({ "any": (0..count).map(|n| json!({"field": "text", "starts_with": format!("x{n}")})).collect::<Vec<_>>() })
    };
    let (one, many) = (cost(beginnings(1), &long), cost(beginnings(100), &long));
    assert!((10_000..10_100).contains(&one), "{one}");
    assert!(many < one + 100 * 40, "{many}");
    let parts = json!([{"field": "text", "contains": "long", "not_contains": "short"}]);
    assert!((30_000..30_200).contains(&cost(parts, &long)));
    assert!(cost(json!({"field": "text", "is": "Long"}), &long) < 100);
    assert!(cost(json!({"field": "text", "is_empty": false}), &long) < 100);
    let list = json!({ "list": vec![7; 1_000] });
    assert!(cost(json!({"field": "list", "contains": 8}), &list) >= 1_000);
}

/// Groups within groups, and what they say of an object, put together by hand.
#[test]
fn groups_within_groups_stop_where_they_are_decided() {
    fn by_hand(filter: &Filter, object: &Value) -> bool {
        match filter {
            Filter::All(filters) => filters.iter().all(|filter| by_hand(filter, object)),
            Filter::Any(filters) => filters.iter().any(|filter| by_hand(filter, object)),
            Filter::Not(filter) => !by_hand(filter, object),
            condition => condition.evaluate_on(object, now()).unwrap(),
        }
    }
    let leaf = (0..3_i64, any::<bool>()).prop_map(|(n, wide)| match wide {
        true => Filter::field("n", Operand::GreaterThan, n),
        false => Filter::field("n", Operand::Is, n),
    });
    let filters = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    });
    proptest!(ProptestConfig::with_cases(500), |(filter in filters, n in 0..4_i64)| {
        let object = json!({ "n": n });
        prop_assert_eq!(filter.evaluate_on(&object, now()).unwrap(), by_hand(&filter, &object));
    });
}

/// Whether a list holds some or all of several values, by holding each against each.
fn each_against_each(held: &[Value], items: &[Value], all: bool) -> Option<bool> {
    let one = |item: &Value| {
        let equal = held.iter().map(|held| compare::equal(item, held)).collect::<Vec<_>>();
        let comparable = held.is_empty() || equal.iter().any(Option::is_some);
        comparable.then(|| equal.contains(&Some(true)))
    };
    let found = items.iter().map(one).collect::<Option<Vec<_>>>()?;
    Some(if all { found.iter().all(|one| *one) } else { found.contains(&true) })
}

fn items() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        (-3_i64..4).prop_map(Value::from),
        (-3..4).prop_map(|n| json!(f64::from(n) / 2.0)),
        prop::sample::select(vec![json!(u64::MAX), json!(-0.0), json!(1e30), json!(1e30 as u64), json!(0.1)]),
    ];
    let plain = prop_oneof![
        4 => numbers,
        2 => "[abA]{0,2}".prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    plain.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[ab]", inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn several_values_are_found_as_if_each_were_held_against_each() {
    let lists = |most: usize| prop::collection::vec(items(), 0..most);
    proptest!(ProptestConfig::with_cases(4_000), |(held in lists(40), items in lists(6), one_kind in any::<bool>())| {
        // Most lists hold values of one kind.
        let keep = |values: Vec<Value>| -> Vec<Value> {
            values.into_iter().filter(|value| !one_kind || value.is_number()).collect()
        };
        let (held, items) = (keep(held), keep(items));
        for all in [false, true] {
            let expected = each_against_each(&held, &items, all);
            let found = several::Several::of(&items).found_in(&held);
            prop_assert_eq!(found.map(|found| if all { found.all } else { found.some }), expected);
            // As it is asked, by one way or by the other.
            let operand = if all { Operand::ContainsAll } else { Operand::ContainsAny };
            let filter = Filter::field("held", operand, items.clone());
            if filter.check_operands().is_ok() {
                let asked = filter.evaluate_on(&json!({ "held": held }), now());
                prop_assert_eq!(asked.ok(), expected);
            }
        }
    });
}

#[test]
fn several_values_are_looked_up_in_a_long_list() {
    let long = json!({ "list": (0..100_000).collect::<Vec<_>>() });
    let items: Vec<Value> = (0..1_000).map(|n| json!(200_000 + n)).collect();
    for operand in ["contains_any", "contains_all"] {
        let asked = cost(json!({"field": "list", operand: items}), &long);
        assert!(asked < 100 * 101_000, "{asked}");
    }
}
