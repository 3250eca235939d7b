//! Reading whole documents: what YAML and JSON make of them, and what is told.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::problem::render_all;

fn tree(text: &str) -> Result<Value, String> {
    let source = Source::new(text);
    let (tree, problems) = parse(&source);
    match tree {
        Some(tree) if problems.is_empty() => Ok(tree.to_json()),
        _ => Err(render_all(&problems, "t", text)),
    }
}

fn first_code(text: &str) -> (String, usize, usize) {
    let (_, problems) = parse(&Source::new(text));
    let problem = problems.first().expect("a problem");
    (problem.code.clone(), problem.line, problem.column)
}

#[test]
fn yaml_is_read_by_version_1_2() {
    let text =
        "a: no\nb: [yes, on, ~, 0x10, 1e2]\n'c': 'x'\nd: &d { e: 1 }\nf: *d\ng: |\n  one\n  two\n404: true\n";
    assert_eq!(
        tree(text),
        Ok(json!({"a": "no", "b": ["yes", "on", null, 16, 100.0], "c": "x", "d": {"e": 1}, "f": {"e": 1},
                  "g": "one\ntwo\n", "404": true}))
    );
}

#[test]
fn traps_of_yaml_are_told_with_their_place() {
    for (text, code, line, column) in [
        ("", "empty", 1, 1),
        ("# nothing\n", "empty", 1, 1),
        ("a: 1\nb: 2\na: 3\n", "duplicate_key", 3, 1),
        ("a: 1\n---\nb: 2\n", "several_documents", 2, 1),
        ("a:\n\tb: 1\n", "syntax", 2, 1),
        ("a: {{ b.c }}\n", "unquoted_template", 1, 4),
        ("a: {{ b.c[0] | default('x') }}\n", "unquoted_template", 1, 4),
        ("a:\n  - {{ b }}\n", "unquoted_template", 2, 5),
        ("a: &x { b: 1 }\nc:\n  <<: *x\n", "merge_key", 3, 3),
        ("a: 007\n", "number", 1, 4),
        ("a: !!str 5\n", "tag", 1, 4),
        ("? [a]\n: b\n", "complex_key", 1, 3),
        ("a: *nothing\n", "syntax", 1, 4),
        ("a: 'never closed\n", "syntax", 1, 4),
        ("a: x: y\n", "syntax", 1, 5),
        ("a: [1, 2\nb: 3\n", "syntax", 2, 1),
    ] {
        let (found, at_line, at_column) = first_code(text);
        assert_eq!((found.as_str(), at_line), (code, line), "{text:?}: {}", tree(text).unwrap_err());
        if code != "syntax" {
            assert_eq!(at_column, column, "{text:?}");
        }
    }
}

#[test]
fn all_duplicate_keys_are_told_at_once() {
    let text = "a: 1\na: 2\nb: { c: 1, c: 2 }\na: 3\n";
    let (_, problems) = parse(&Source::new(text));
    assert_eq!(problems.len(), 3);
}

#[test]
fn bombs_end_early() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (this, last) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        bomb.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 10].join(", ")));
    }
    assert_eq!(first_code(&bomb).0, "alias_limit");
    assert_eq!(first_code("a: &a [*a]\n").0, "alias_limit");
    assert_eq!(first_code(&"[".repeat(100_000)).0, "syntax");
    assert_eq!(first_code(&format!("a: {}{}", "[".repeat(100), "]".repeat(100))).0, "too_deep");
    assert_eq!(first_code(&format!("{}{}", "[".repeat(100), "]".repeat(100))).0, "too_deep");
    assert_eq!(first_code(&format!("a: {}{}", "[".repeat(5_000), "]".repeat(5_000))).0, "too_deep");
    assert_eq!(first_code(&"- ".repeat(5_000)).0, "too_deep");
    assert_eq!(first_code(&"x".repeat(MAX_BYTES + 1)).0, "too_large");
    assert_eq!(first_code(&"- a\n".repeat(MAX_VALUES + 1)).0, "too_large");
}

/// Told at the alias that is too much, so no further one was filled in: all of them would be many GB.
#[test]
fn what_aliases_repeat_is_counted_in_bytes() {
    let long = "x".repeat(150_000);
    let map = format!("{{{long}: 1}}");
    for (named, what) in [(&long, "a text"), (&map, "a key"), (&format!("[&b {long}]"), "an anchor inside")] {
        let text = format!("t: &a {named}\nl:\n{}", "- *a\n".repeat(60_000));
        let source = Source::new(&text);
        let (tree, problems) = parse(&source);
        assert!(tree.is_none(), "{what}");
        let told: Vec<_> = problems.iter().map(|problem| (problem.code.as_str(), problem.line)).collect();
        assert_eq!(told, [("alias_limit", 5)], "{what}");
        assert!(problems[0].message.contains("over 512000 bytes of text"), "{}", problems[0].message);
    }
    let fits = format!("t: &a {}\nl: [*a, *a, *a]\n", "x".repeat(100_000));
    assert!(parse(&Source::new(&fits)).0.is_some());
}

/// What an anchor names is kept for its aliases: anchors inside each other would keep all of it once each.
#[test]
fn anchors_inside_each_other_are_counted() {
    let opened: String = (0..60).map(|n| format!("&a{n} [")).collect();
    let text = format!("a: {opened}{}{}", "x,".repeat(20_000), "]".repeat(60));
    let (code, ..) = first_code(&text);
    assert_eq!(code, "alias_limit");
    let fits = "a: &a [&b [&c {d: &e x}], *b, *c, *e]\nf: *a\n";
    assert!(parse(&Source::new(fits)).1.is_empty());
}

#[test]
fn reading_ends_when_so_much_is_wrong() {
    for wrong in ["a: 1, a: 1, ".repeat(10_000), "a: 007, ".repeat(10_000), "{{a}}, ".repeat(10_000)] {
        let text = format!("a: {{{wrong}}}");
        let (tree, problems) = parse(&Source::new(&text));
        assert!(tree.is_none());
        assert_eq!(problems.len(), MAX_PROBLEMS, "{:.20}", wrong);
        let told = serde_json::to_string(&problems).unwrap();
        assert!(told.len() < 100_000, "{} bytes are told of {:.20}", told.len(), wrong);
    }
}

#[test]
fn json_is_strict_and_has_places() {
    assert_eq!(
        tree("\u{feff} {\"a\": [1, {\"b\": \"\\u00e4\\/\\ud83d\\ude00\"}]}"),
        Ok(json!({"a": [1, {"b": "ä/😀"}]}))
    );
    for (text, line) in [
        ("{\"a\": 1,}", 1),
        ("{\n  \"a\": 1\n  \"b\": 2\n}", 3),
        ("{\n// no\n\"a\": 1}", 2),
        ("{a: 1}", 1),
        ("{\"a\": 1} x", 1),
    ] {
        let (code, at, _) = first_code(text);
        assert_eq!((code.as_str(), at), ("syntax", line), "{text}");
    }
    assert_eq!(first_code("{\n \"a\": 1,\n \"a\": 2}"), ("duplicate_key".to_owned(), 3, 2));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// JSON goes through the same reader as YAML: it must come out as serde_json reads it.
    #[test]
    fn json_reads_as_serde_json_reads_it(value in any_json(), pretty in any::<bool>()) {
        let value = json!({"top": value});
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(tree(&text), Ok(value));
    }

    /// Nothing that somebody types makes the reader panic.
    #[test]
    fn any_text_is_read_or_told(text in "[ \\n\\t:{}\\[\\]\"'a-c#&*!|>0-9.,-]{0,60}|\\PC{0,40}") {
        let source = Source::new(&text);
        let (tree, problems) = parse(&source);
        prop_assert!(tree.is_some() || !problems.is_empty());
        if let Some(tree) = tree {
            let (_, problems) = read(&source, &tree);
            for problem in &problems {
                let _ = problem.render("t", &text);
            }
        }
    }
}
