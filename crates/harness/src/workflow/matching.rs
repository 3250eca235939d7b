//! Whether what came has at least what was expected, and how the two are shown beside each other.

use serde_json::{Map, Value};

use crate::compare::{diff, same};
use crate::report::Problem;

/// Whether every member that is named is there and the same; lists have the same length. What is expected to be
/// null may be missing.
pub(super) fn within(expected: &Value, came: &Value) -> bool {
    match (expected, came) {
        (Value::Object(expected), Value::Object(came)) => {
            expected.iter().all(|(key, value)| within(value, came.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(expected), Value::Array(came)) => {
            expected.len() == came.len() && expected.iter().zip(came).all(|(a, b)| within(a, b))
        }
        (expected, came) => same(expected, came),
    }
}

/// What came, without the members that nobody named.
pub(super) fn named(expected: &Value, came: &Value) -> Value {
    match (expected, came) {
        (Value::Object(expected), Value::Object(came)) => {
            let member = |(key, value): (&String, &Value)| match came.get(key) {
                Some(came) => Some((key.clone(), named(value, came))),
                None if value.is_null() => Some((key.clone(), Value::Null)),
                None => None,
            };
            Value::Object(expected.iter().filter_map(member).collect::<Map<_, _>>())
        }
        (Value::Array(expected), Value::Array(came)) => {
            let rest = came.iter().skip(expected.len()).cloned();
            Value::Array(expected.iter().zip(came).map(|(a, b)| named(a, b)).chain(rest).collect())
        }
        (_, came) => came.clone(),
    }
}

/// A problem, unless at least what is expected came.
pub(super) fn judge(what: &str, expected: &Value, came: &Value) -> Option<Problem> {
    (!within(expected, came)).then(|| {
        Problem::new(format!("{what} is not what is expected (- expected, + came):"))
            .below(diff(expected, &named(expected, came)))
    })
}

/// A problem, unless each thing that is expected came, and nothing else; in any order.
pub(super) fn judge_all(
    what: &str,
    expected: &[Value],
    came: &[Value],
    fits: impl Fn(&Value, &Value) -> bool,
    shown: impl Fn(&Value, &Value) -> Value,
) -> Option<Problem> {
    let pairs = pairs(expected.len(), came.len(), |e, c| fits(&expected[e], &came[c]));
    if expected.len() == came.len() && pairs.iter().all(Option::is_some) {
        return None;
    }
    let mut left: Vec<usize> = (0..came.len()).filter(|c| !pairs.contains(&Some(*c))).collect();
    left.reverse();
    let mut beside = Vec::with_capacity(came.len());
    for (index, pair) in pairs.iter().enumerate() {
        match pair {
            // What fits is shown as it was written.
            Some(_) => beside.push(expected[index].clone()),
            None => beside.extend(left.pop().map(|c| shown(&expected[index], &came[c]))),
        }
    }
    beside.extend(left.into_iter().rev().map(|c| came[c].clone()));
    let counts = match (expected.len(), came.len()) {
        (e, c) if e == c => String::new(),
        (e, c) => format!(": {e} expected, {c} came"),
    };
    let summary = format!("{what} are not what is expected{counts} (- expected, + came):");
    Some(Problem::new(summary).below(diff(&Value::from(expected), &Value::Array(beside))))
}

/// For each expected thing one that came and fits it, none twice, and as many as can be.
fn pairs(expected: usize, came: usize, fits: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    /// Finds one for `e`, and another for whoever had it.
    fn find(
        e: usize,
        fits: &impl Fn(usize, usize) -> bool,
        owners: &mut [Option<usize>],
        asked: &mut [bool],
    ) -> bool {
        for c in 0..owners.len() {
            if asked[c] || !fits(e, c) {
                continue;
            }
            asked[c] = true;
            let free = match owners[c] {
                None => true,
                Some(owner) => find(owner, fits, owners, asked),
            };
            if free {
                owners[c] = Some(e);
                return true;
            }
        }
        false
    }
    let mut owners = vec![None; came];
    for e in 0..expected {
        find(e, &fits, &mut owners, &mut vec![false; came]);
    }
    let mut pairs = vec![None; expected];
    for (c, owner) in owners.iter().enumerate() {
        if let Some(owner) = owner {
            pairs[*owner] = Some(c);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_that_nobody_named_are_free_and_lists_are_whole() {
        let came = json!({"a": 1, "b": {"c": [1, {"d": 2, "e": 3}]}});
        assert!(within(&json!({"b": {"c": [1.0, {"e": 3}]}}), &came));
        assert!(within(&json!({"z": null}), &came));
        assert!(!within(&json!({"a": null}), &came));
        assert!(!within(&json!({"b": {"c": [1]}}), &came));
        assert!(!within(&json!({"z": 1}), &came));
    }

    #[test]
    fn a_general_expectation_leaves_the_fitting_thing_to_a_special_one() {
        let expected = [json!({}), json!({"a": 1})];
        let came = [json!({"a": 1}), json!({"a": 2})];
        assert!(judge_all("records", &expected, &came, within, named).is_none());
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_shown() {
        let expected = [json!({"name": "Ada"}), json!({"name": "Bob"})];
        let came = [json!({"name": "Bob", "id": 1}), json!({"name": "Eve", "id": 2}), json!({"name": "Zoe"})];
        let problem = judge_all("records", &expected, &came, within, named).unwrap();
        insta::assert_snapshot!(format!("{}\n{}", problem.summary, problem.below), @r#"
        records are not what is expected: 2 expected, 3 came (- expected, + came):
          [
            {
        -     "name": "Ada"
        +     "name": "Eve"
            },
            {
              "name": "Bob"
        +   },
        +   {
        +     "name": "Zoe"
            }
          ]
        "#);
    }
}
