//! What strangers send: patterns and texts that would take minutes or gigabytes are refused, and honest ones are not.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Map, json};

use super::*;

fn schema(schema: &Value) -> Schema {
    compile(schema).unwrap()
}

fn text(pattern: &str) -> Schema {
    schema(&json!({"type": "string", "pattern": pattern}))
}

fn codes(schema: &Schema, value: &Value) -> Vec<(String, String)> {
    schema.misfits(value, 50).into_iter().map(|misfit| (misfit.code, misfit.path)).collect()
}

fn refused(schema: &Schema, value: &Value) -> Misfit {
    let found = schema.misfits(value, 50);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, "too_large", "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_pattern_that_looks_around_takes_short_texts_only() {
    let rule = r"(?=.*\d)(?=.*[a-z]).{8,}";
    for pattern in [rule, r"(?<=a)[ab]*c", r"(a+)\1+b"] {
        let told = refused(&text(pattern), &json!("a".repeat(64 << 10)));
        assert!(told.message.contains("65536") && told.message.contains("2048"), "{}", told.message);
        assert_eq!(codes(&text(pattern), &json!("-")), [("pattern".to_owned(), String::new())]);
    }
    // Nor does a pattern that does not match fit where it must not.
    let not = schema(&json!({"properties": {"a": {"not": {"pattern": rule}}}}));
    assert_eq!(refused(&not, &json!({"a": "a".repeat(1 << 20)})).path, "/a");
    // A text that no pattern is for may be as long as it likes.
    let beside = schema(&json!({"properties": {"a": {"pattern": rule}}}));
    assert_eq!(codes(&beside, &json!({"a": "correct horse 1", "b": "a".repeat(10 << 20)})), []);
}

#[test]
fn all_that_patterns_read_in_one_body_has_a_limit() {
    let long = json!("a".repeat(400 << 10));
    let told = refused(&text("a[ab]{3000}[c-z]"), &long);
    assert!(told.message.contains("400000000"), "{}", told.message);
    let many = schema(&json!({"items": {"pattern": r"(?=.*\d)(?=.*[a-z]).{8,}"}}));
    let told = refused(&many, &json!(vec!["a".repeat(2000); 1000]));
    assert!(told.path.starts_with('/'), "{}", told.path);
    let named = schema(&json!({"patternProperties": {"^a[ab]{3000}[c-z]": {"type": "string"}}}));
    refused(&named, &json!({"a".repeat(400 << 10): "x"}));
    let names = schema(&json!({"propertyNames": {"pattern": r"(?<=a)[ab]*c"}}));
    refused(&names, &json!({"a".repeat(200 << 10): "x"}));
    let around = schema(&json!({"patternProperties": {r"(?<=a)[ab]*c": {"type": "string"}}}));
    refused(&around, &json!({"a".repeat(200 << 10): "x"}));
    // Formats read the whole of a text, each time.
    let formats = schema(&json!({"allOf": vec![json!({"format": "email"}); 300]}));
    refused(&formats, &json!("a".repeat(8 << 20)));
}

#[test]
fn what_cannot_be_told_in_time_is_no_match_and_no_mismatch() {
    let undecided = schema(&json!({"items": {"not": {"pattern": r"^(?:(a|b|ab)(?=.))*\1c$"}}}));
    let told = refused(&undecided, &json!(["ok", "ab".repeat(60)]));
    assert!(told.message.contains("not found out") || told.message.contains("steps"), "{}", told.message);
    assert_eq!(told.path, "/1");
    // The next value has an account of its own.
    assert_eq!(codes(&undecided, &json!(["ok"])), []);
}

#[test]
fn what_is_admitted_ends_soon() {
    for pattern in [
        r"(?=.*\d)(?=.*[a-z]).{8,}",
        "(?<=a.*b.*)c",
        "[ab]*[ab]{900}c",
        "(?=[ab]*[ab]{400}c)",
        "(?=(?:(?=.*)a)*)b",
        r"(a|b|ab)*\1(?=c)",
    ] {
        let schema = schema(&json!({"items": {"pattern": pattern}}));
        for length in [30, 250, 2_000, 20_000] {
            // As many texts as are admitted, and those that are refused after them.
            for number in [1, 10, 100, 1_000, 10_000].into_iter().filter(|number| number * length <= 8 << 20)
            {
                let start = Instant::now();
                let _ = schema.misfits(&json!(vec!["ab".repeat(length / 2); number]), 50);
                assert!(start.elapsed() < Duration::from_secs(20), "{pattern}, {number} of {length}");
            }
        }
    }
}

#[test]
fn honest_patterns_and_bodies_fit() {
    // Look-aheads at the start are read in one pass each, so they take long texts too.
    let rule = text(r"^(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{8,}$");
    assert_eq!(codes(&rule, &json!("Correct horse battery staple 1")), []);
    assert_eq!(codes(&rule, &json!("Aa1".repeat(20_000))), []);
    assert_eq!(codes(&rule, &json!("horse")), [("pattern".to_owned(), String::new())]);
    let rows = schema(&json!({"items": {"properties": {
        "email": {"pattern": r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"},
        "phone": {"pattern": r"^\+?[0-9 ()-]{6,20}$"},
        "password": {"pattern": r"(?=.*\d)(?=.*[a-z]).{8,}"},
        "slug": {"pattern": "^(?!-)(?:(?!--)[a-z0-9-])+$"},
        "name": {"pattern": r"^\p{L}[\p{L} '-]{0,5}"},
    }}}));
    let row = json!({"email": "ada.lovelace@example.com", "phone": "+41 44 668 18 00", "password": "correct horse 1",
        "slug": "a-slug-of-some-length", "name": "Ada"});
    assert_eq!(codes(&rows, &json!(vec![row; 1_000])), []);
    let mails = schema(&json!({"items": {"pattern": r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"}}));
    assert_eq!(codes(&mails, &json!(vec!["ada.lovelace@example.com"; 100_000])), []);
    let named = schema(
        &json!({"patternProperties": {"^x-": {"type": "string"}, "^(?!y-)": {}}, "additionalProperties": false}),
    );
    let fields: Map<String, Value> = (0..2_000).map(|n| (format!("x-{n}"), json!("v"))).collect();
    assert_eq!(codes(&named, &Value::Object(fields)), []);
    assert_eq!(codes(&named, &json!({"y-1": 1})), [("additionalProperties".to_owned(), String::new())]);
    let open = schema(
        &json!({"type": "object", "properties": {"text": {"type": "string", "maxLength": 20_000_000}}}),
    );
    assert_eq!(codes(&open, &json!({"text": "a".repeat(10 << 20)})), []);
}

#[test]
fn what_takes_long_is_known_before() {
    let mails = schema(&json!({"items": {"pattern": r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"}}));
    assert!(mails.is_quick(&json!(["ada.lovelace@example.com"])));
    assert!(!mails.is_quick(&json!(vec!["ada.lovelace@example.com"; 1_900])));
    let open = schema(&json!({"type": "object", "properties": {"text": {"type": "string"}}}));
    assert!(open.is_quick(&json!({"text": "a"})));
    assert!(!open.is_quick(&json!({"text": "a".repeat(1 << 20)})) && !open.is_quick(&json!(vec![1; 3_000])));
    let around = text(r"(?=.*\d)(?=.*[a-z]).{8,}");
    assert!(around.is_quick(&json!("correct horse 1")) && !around.is_quick(&json!("a".repeat(1_500))));
    assert!(!text("a[ab]{3000}[c-z]").is_quick(&json!("a".repeat(1_500))));
}

#[test]
fn a_pattern_means_what_it_does_to_ecma() {
    for (pattern, fits, not) in [
        (r"^\d+$", "12", "١٢"),
        (r"^.{2,3}$", "äö", "äöüß"),
        (r"\cA", "\u{1}", "cA"),
        (r"^[\w-]+$", "a-b_c", "ä"),
        (r"^(a|b)\1$", "aa", "ab"),
        (r"^(?=a|b)(?!ab).*$", "ba", "ab"),
        (r"\bcat\b", "a cat", "concat"),
    ] {
        assert_eq!(codes(&text(pattern), &json!(fits)), [], "{pattern}");
        assert_eq!(codes(&text(pattern), &json!(not)), [("pattern".to_owned(), String::new())], "{pattern}");
    }
    let told = text("^a+$").misfits(&json!("b"), 50);
    assert_eq!(told[0].message, r#""b" does not match "^a+$""#);
    let error = compile(&json!({"properties": {"a": {"pattern": "("}}})).unwrap_err();
    assert_eq!(
        (error.pointer.as_str(), error.message.contains("regex")),
        ("/properties/a/pattern", true),
        "{error}"
    );
}

#[test]
fn patterns_that_take_much_memory_or_no_end_are_refused_at_check() {
    let place = |schema: &Value| {
        let error = compile(schema).unwrap_err();
        assert!(error.hint.is_some(), "{error:?}");
        (error.pointer, error.message)
    };
    let (pointer, message) = place(&json!({"items": {"pattern": r"\p{L}{200}0"}}));
    assert_eq!(pointer, "/items/pattern");
    assert!(message.contains("262144 bytes"), "{message}");
    let (pointer, message) = place(&json!({"patternProperties": {r"\p{L}{200}0": {}}}));
    assert_eq!(pointer, r"/patternProperties/\p{L}{200}0");
    assert!(message.contains("262144 bytes"), "{message}");
    // Each of them is small enough.
    let all: Vec<_> = (0..400).map(|n| json!({"pattern": format!(r"\p{{L}}{{3}}{n}")})).collect();
    let (pointer, message) = place(&json!({"prefixItems": all}));
    assert!(pointer.starts_with("/prefixItems/") && message.contains("1048576"), "{pointer} {message}");
    let mut inner = String::new();
    for n in 0..400 {
        let _ = write!(inner, r"(?!\p{{L}}{{3}}{n})");
    }
    place(&json!({"pattern": format!("a{inner}")}));
    // One pattern in many places is one.
    let same: Vec<_> = (0..1000).map(|_| json!({"pattern": r"^\p{L}{1,5}0"})).collect();
    assert!(compile(&json!({"prefixItems": same})).is_ok());
    let (_, message) = place(&json!({"pattern": "(?:(?=(?:(?=(?:a(?=a)){1000})a?){1000})a?){1000}"}));
    assert!(message.contains("400000000 steps"), "{message}");
}

#[test]
fn equal_items_are_found_however_many_collide() {
    let unique = schema(&json!({"type": "array", "uniqueItems": true}));
    let tree = |n: u32| {
        let bit = |bit: u32| if n >> bit & 1 == 1 { json!([[]]) } else { json!([]) };
        Value::Array((0..16).map(bit).collect())
    };
    let trees: Vec<Value> = (0..60_000).map(tree).collect();
    assert_eq!(codes(&unique, &json!(trees)), []);
    let large: Vec<u64> = (0..60_000).map(|n| (1 << 63) + n / 2).collect();
    let told = unique.misfits(&json!(large), 50);
    assert_eq!(
        (told[0].code.as_str(), told[0].message.as_str()),
        ("uniqueItems", "two of the items are equal")
    );
    for equal in [
        json!([1, 1.0]),
        json!([0, -0.0]),
        json!([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]),
        json!(["x", "y", "x"]),
        json!([null, false, null]),
        json!([1e25, 10_000_000_000_000_000_905_969_664_f64]),
    ] {
        assert_eq!(codes(&unique, &equal), [("uniqueItems".to_owned(), String::new())], "{equal}");
    }
    for different in [
        json!([1, "1", true, [1], {"1": 1}, null, "n", "t", [], {}, [[]], 1.5]),
        json!(["a,b", "a", "b"]),
        json!([["a,", "b"], ["a", ",b"]]),
        json!([9_007_199_254_740_993_u64, 9_007_199_254_740_992_u64]),
        json!([{"a": "1:b"}, {"a1:": "b"}]),
    ] {
        assert_eq!(codes(&unique, &different), [], "{different}");
    }
    assert_eq!(codes(&schema(&json!({"uniqueItems": false})), &json!([1, 1])), []);
}

#[test]
fn what_does_not_fit_is_not_copied_for_each_time_that_it_does_not() {
    let many =
        schema(&json!({"allOf": (0..600).map(|n| json!({"pattern": format!("^x{n}")})).collect::<Vec<_>>()}));
    let told = many.misfits(&json!("a".repeat(40 << 10)), 50);
    assert!(!told.is_empty() && told.len() < 50, "{}", told.len());
    assert!(told.iter().all(|misfit| misfit.code == "pattern" && misfit.message.len() < 1_000));
}
