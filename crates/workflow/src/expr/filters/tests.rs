//! Tests: `value is name(…)`. `defined` and `undefined` are part of the language itself.

use serde_json::Value;

use super::super::arithmetic::contains;
use super::super::json::{as_integer, equal, kind, order};
use super::{Arguments, Given, NONE, Test, args};

const OTHER: Arguments = args(&["other"], 1);

fn other<'g>(given: &'g Given<'_>) -> Result<&'g Value, String> {
    given.get(0, "other").ok_or_else(|| "needs something to compare with".to_owned())
}

fn whole(value: &Value) -> Result<i128, String> {
    let number = value.as_number().and_then(as_integer);
    number.ok_or_else(|| format!("{} is not a whole number", kind(value)))
}

fn pair<'v>(value: &'v Value, given: &'v Given<'_>) -> Result<(&'v str, &'v str), String> {
    match (value, other(given)?) {
        (Value::String(text), Value::String(part)) => Ok((text, part)),
        (text, part) => Err(format!("needs two texts, not {} and {}", kind(text), kind(part))),
    }
}

pub(super) static TESTS: &[Test] = &[
    Test { name: "none", arguments: NONE, run: |v, _| Ok(v.is_null()) },
    Test { name: "true", arguments: NONE, run: |v, _| Ok(*v == Value::Bool(true)) },
    Test { name: "false", arguments: NONE, run: |v, _| Ok(*v == Value::Bool(false)) },
    Test { name: "boolean", arguments: NONE, run: |v, _| Ok(v.is_boolean()) },
    Test { name: "number", arguments: NONE, run: |v, _| Ok(v.is_number()) },
    Test {
        name: "integer",
        arguments: NONE,
        run: |v, _| Ok(v.as_number().is_some_and(|n| as_integer(n).is_some())),
    },
    Test { name: "float", arguments: NONE, run: |v, _| Ok(v.is_f64()) },
    Test { name: "string", arguments: NONE, run: |v, _| Ok(v.is_string()) },
    Test { name: "sequence", arguments: NONE, run: |v, _| Ok(v.is_array()) },
    Test { name: "iterable", arguments: NONE, run: |v, _| Ok(v.is_array() || v.is_object()) },
    Test { name: "mapping", arguments: NONE, run: |v, _| Ok(v.is_object()) },
    Test { name: "empty", arguments: NONE, run: |v, _| Ok(stepwell_records::filter::is_empty(v)) },
    Test { name: "even", arguments: NONE, run: |v, _| Ok(whole(v)? % 2 == 0) },
    Test { name: "odd", arguments: NONE, run: |v, _| Ok(whole(v)? % 2 != 0) },
    Test {
        name: "divisibleby",
        arguments: OTHER,
        run: |v, given| {
            let by = whole(other(given)?)?;
            whole(v)?.checked_rem(by).map(|rest| rest == 0).ok_or_else(|| "division by zero".to_owned())
        },
    },
    Test {
        name: "startingwith",
        arguments: OTHER,
        run: |v, given| pair(v, given).map(|(t, p)| t.starts_with(p)),
    },
    Test {
        name: "endingwith",
        arguments: OTHER,
        run: |v, given| pair(v, given).map(|(t, p)| t.ends_with(p)),
    },
    Test { name: "in", arguments: OTHER, run: |v, given| contains(other(given)?, v) },
    Test { name: "eq", arguments: OTHER, run: |v, given| Ok(equal(v, other(given)?)) },
    Test { name: "ne", arguments: OTHER, run: |v, given| Ok(!equal(v, other(given)?)) },
    Test { name: "lt", arguments: OTHER, run: |v, given| Ok(order(v, other(given)?)?.is_lt()) },
    Test { name: "le", arguments: OTHER, run: |v, given| Ok(order(v, other(given)?)?.is_le()) },
    Test { name: "gt", arguments: OTHER, run: |v, given| Ok(order(v, other(given)?)?.is_gt()) },
    Test { name: "ge", arguments: OTHER, run: |v, given| Ok(order(v, other(given)?)?.is_ge()) },
];
