//! Whether two JSON values are the same, and where they differ.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// Lines around a difference that are shown with it.
const CONTEXT: usize = 3;
/// More than a person reads; a difference in something huge is cut here.
const LINES: usize = 200;

/// Equal values; a number is its amount, however it is written (`1` and `1.0`).
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A line diff of both as indented text: ` ` same, `-` expected, `+` got.
pub(crate) fn diff(expected: &Value, got: &Value) -> String {
    let (expected, got) = (pretty(expected), pretty(got));
    let diff = TextDiff::from_lines(&expected, &got);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        if !lines.is_empty() {
            lines.push("…".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("… {more} more lines"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_by_amount() {
        assert!(same(&json!({"a": [1, 2.5]}), &json!({"a": [1.0, 2.5]})));
        assert!(!same(&json!(1), &json!(2)));
        assert!(!same(&json!(u64::MAX), &json!(u64::MAX - 1)));
        assert!(!same(&json!({"a": null}), &json!({})));
        assert!(!same(&json!([1, 2]), &json!([1])));
        assert!(!same(&json!("1"), &json!(1)));
    }

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let expected = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": {"f": "old"}});
        let got = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": {"f": "new", "g": true}});
        insta::assert_snapshot!(diff(&expected, &got), @r#"
            "c": 3,
            "d": 4,
            "e": {
        -     "f": "old"
        +     "f": "new",
        +     "g": true
            }
          }
        "#);
    }

    #[test]
    fn a_huge_difference_is_cut() {
        let many: Vec<u32> = (0..1000).collect();
        let text = diff(&json!([]), &json!(many));
        assert!(text.ends_with("more lines"), "{text}");
        assert_eq!(text.lines().count(), LINES + 1);
    }
}
