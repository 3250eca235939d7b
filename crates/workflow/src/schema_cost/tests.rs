//! Schemas that are refused, schemas that are not, and how long what is not refused takes.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn refused(schema: &Value) -> String {
    match cost(schema) {
        Ok(cost) => panic!("{schema} costs {cost:?}"),
        Err(error) => error.message,
    }
}

fn nested(key: &str, levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!({ key: value }))
}

/// Schemas that take for ever, or the stack, with a small body.
fn hostile() -> Vec<(&'static str, Value)> {
    let twice = |word: &str| {
        let one = json!({"properties": {"a": {"$ref": "#"}}});
        json!({ word: [one, one] })
    };
    let doubling: Map<String, Value> = (0..40)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"anyOf": [next, next]}))
        })
        .chain([("d40".to_owned(), json!({"type": "string"}))])
        .collect();
    let by_parts: Map<String, Value> = (0..40)
        .map(|n| {
            let next = json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", n + 1)}}});
            (format!("d{n}"), json!({"allOf": [next, next]}))
        })
        .chain([("d40".to_owned(), json!({"type": "string"}))])
        .collect();
    let chain: Map<String, Value> = (0..1500)
        .map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)})))
        .chain([("d1500".to_owned(), json!({"type": "string"}))])
        .collect();
    let deep: Map<String, Value> = (0..1500)
        .map(|n| (format!("d{n}"), json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", n + 1)}}})))
        .chain([("d1500".to_owned(), json!({"type": "string"}))])
        .collect();
    vec![
        ("anyOf", twice("anyOf")),
        ("oneOf", twice("oneOf")),
        ("allOf", twice("allOf")),
        ("itself", json!({"$ref": "#"})),
        ("itself in anyOf", json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]})),
        (
            "each other",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}),
        ),
        ("an anchor", json!({"$anchor": "top", "allOf": [{"$ref": "#top"}]})),
        ("an encoded pointer", json!({"$ref": "#/%24defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})),
        (
            "if and then",
            json!({"if": {"properties": {"a": {"$ref": "#"}}}, "then": {"properties": {"a": {"$ref": "#"}}}}),
        ),
        (
            "a name and all names",
            json!({"allOf": [{"additionalProperties": {"$ref": "#"}}], "properties": {"a": {"$ref": "#"}}}),
        ),
        ("patterns", json!({"patternProperties": {"a": {"$ref": "#"}, ".": {"$ref": "#"}}})),
        ("items", json!({"items": {"$ref": "#"}, "contains": {"$ref": "#"}})),
        (
            "unevaluated",
            json!({"unevaluatedProperties": false, "allOf": [{"properties": {"a": {"$ref": "#"}}}]}),
        ),
        ("references that double", json!({"$ref": "#/$defs/d0", "$defs": doubling})),
        ("parts that double", json!({"$ref": "#/$defs/d0", "$defs": by_parts})),
        ("a long chain", json!({"$ref": "#/$defs/d0", "$defs": chain})),
        ("a deep chain", json!({"$ref": "#/$defs/d0", "$defs": deep})),
        ("a dynamic reference", json!({"$dynamicAnchor": "n", "properties": {"a": {"$dynamicRef": "#n"}}})),
        ("an identity", json!({"$defs": {"a": {"$id": "x", "$ref": "#"}}, "$ref": "#/$defs/a"})),
        ("a long enum", json!({"items": {"enum": (0..5000).collect::<Vec<_>>()}})),
        (
            "many schemas",
            json!({"properties": (0..3000).map(|n| (format!("p{n}"), json!({}))).collect::<Map<_, _>>()}),
        ),
    ]
}

#[test]
fn hostile_schemas_are_refused_at_once() {
    let start = Instant::now();
    for (what, schema) in hostile() {
        let message = refused(&schema);
        assert!(message.starts_with("the schema"), "{what}: {message}");
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn the_place_and_the_reason_are_told() {
    let schema = json!({"properties": {"tree": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": {"anyOf": [
        {"properties": {"left": {"$ref": "#/$defs/tree"}}}, {"properties": {"left": {"$ref": "#/$defs/tree"}}}]}}});
    let error = cost(&schema).unwrap_err();
    assert_eq!(error.pointer, "/$defs/tree");
    insta::assert_snapshot!(error, @"the schema at `/$defs/tree` refers to itself in several ways for the same part of the value, so the work doubles with every level");
}

/// What people write.
fn usual() -> Vec<Value> {
    vec![
        json!(true),
        json!({"type": "object", "required": ["email"], "properties": {"email": {"type": "string"}}}),
        // A tree, and trees with several branches.
        json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}),
        json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}),
        // Any JSON.
        json!({"anyOf": [{"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": {"$ref": "#"}}, {"type": "object", "additionalProperties": {"$ref": "#"}}]}),
        // A filter language.
        json!({"$ref": "#/$defs/filter", "$defs": {
            "filter": {"anyOf": [
                {"properties": {"all": {"$ref": "#/$defs/filters"}}, "required": ["all"], "additionalProperties": false},
                {"properties": {"any": {"$ref": "#/$defs/filters"}}, "required": ["any"], "additionalProperties": false},
                {"properties": {"not": {"$ref": "#/$defs/filter"}}, "required": ["not"], "additionalProperties": false},
                {"$ref": "#/$defs/condition"}]},
            "filters": {"type": "array", "items": {"$ref": "#/$defs/filter"}},
            "condition": {"type": "object", "properties": {"field": {"type": "string"}}}}}),
        // One part used in many places.
        json!({"properties": {"billing": {"$ref": "#/$defs/address"}, "shipping": {"$ref": "#/$defs/address"},
            "others": {"type": "array", "items": {"$ref": "#/$defs/address"}}},
            "$defs": {"address": {"properties": {"city": {"type": "string"}, "country": {"enum": ["CH", "DE"]}}}}}),
        json!({"prefixItems": [{"$ref": "#"}, {"$ref": "#"}], "items": {"type": "string"}}),
        json!({"$ref": "#/$defs/nothing"}),
    ]
}

#[test]
fn usual_schemas_are_not() {
    for schema in usual() {
        let told = cost(&schema);
        assert!(told.is_ok(), "{schema}: {told:?}");
    }
    let wide = json!({"properties": (0..400).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect::<Map<_, _>>(),
        "required": (0..400).map(|n| format!("p{n}")).collect::<Vec<_>>()});
    assert_eq!(cost(&wide).unwrap(), Cost { per_value: 801, per_text: 0, per_name: 0 });
}

#[test]
fn a_body_is_too_large_for_a_costly_schema() {
    let schema = json!({"items": {"enum": (0..1900).collect::<Vec<_>>()}});
    let cost = cost(&schema).unwrap();
    assert!(cost.allows(&json!(vec![0; 20_000])));
    assert!(!cost.allows(&json!(vec![0; 30_000])));
}

/// Schemas with references to themselves in any place.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"$ref": "#"})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!({"$ref": "#/$defs/b"})),
    ];
    let schema = leaf.prop_recursive(3, 12, 3, |inner| {
        let many = proptest::collection::vec(inner.clone(), 1..3);
        let words = ["anyOf", "allOf", "oneOf", "prefixItems"];
        prop_oneof![
            (proptest::sample::select(words.to_vec()), many).prop_map(|(word, list)| json!({ word: list })),
            (proptest::sample::select(vec!["a", "b"]), inner.clone())
                .prop_map(|(key, one)| json!({"properties": { key: one }})),
            (proptest::sample::select(vec!["items", "additionalProperties", "not", "contains"]), inner)
                .prop_map(|(word, one)| json!({ word: one })),
        ]
    });
    (schema.clone(), schema.clone(), schema)
        .prop_map(|(top, a, b)| json!({"allOf": [top], "$defs": {"a": a, "b": b}}))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is not refused is decided in time that grows with the body, on any stack that there is.
    #[test]
    fn what_is_accepted_ends(schema in any_schema()) {
        if cost(&schema).is_ok()
            && let Ok(validator) = jsonschema::validator_for(&schema)
        {
            for body in [nested("a", 60), nested("b", 60), (0..60).fold(json!("x"), |value, _| json!([value]))] {
                let start = Instant::now();
                let _ = validator.is_valid(&body);
                let _ = validator.iter_errors(&body).take(10).count();
                prop_assert!(start.elapsed() < Duration::from_secs(30), "{schema}");
            }
        }
    }
}
