//! JSON values in expressions: what they are called, when they are true, equal, or in order, and as text.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};
use stepwell_records::filter::order_numbers;

/// The kind of a value, as messages say it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A literal of a template as JSON; `None` for a number that JSON cannot hold here.
pub(super) fn constant(value: &minijinja::Value) -> Option<Value> {
    use minijinja::value::ValueKind;
    Some(match value.kind() {
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number if value.is_integer() => {
            let signed = i64::try_from(value.clone()).map(Number::from);
            Value::Number(signed.or_else(|_| u64::try_from(value.clone()).map(Number::from)).ok()?)
        }
        ValueKind::Number => Value::Number(Number::from_f64(f64::try_from(value.clone()).ok()?)?),
        ValueKind::String => Value::String(value.as_str()?.to_owned()),
        _ => return None,
    })
}

/// What `if` makes of a value: null, false, zero and whatever is empty are not true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// Equality by value: `1` and `1.0` are equal, `1` and `"1"` are not.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order_numbers(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The order of two numbers or two texts; anything else has none.
pub(super) fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(order_numbers(a, b)),
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (a, b) => {
            let help = match (a, b) {
                (Value::String(_), Value::Number(_)) | (Value::Number(_), Value::String(_)) => {
                    "; make a number of the text with `| int` or `| float`"
                }
                _ => "",
            };
            Err(format!("{} and {} have no order{help}", kind(a), kind(b)))
        }
    }
}

/// A value as part of a text. Null, lists and objects have no text of their own.
pub(super) fn text(value: &Value) -> Result<Cow<'_, str>, String> {
    match value {
        Value::String(s) => Ok(Cow::Borrowed(s)),
        Value::Bool(b) => Ok(Cow::Borrowed(if *b { "true" } else { "false" })),
        Value::Number(n) => Ok(Cow::Owned(n.to_string())),
        Value::Null => Err("null has no text; say what stands for it with `| default(\"…\")`".to_owned()),
        Value::Array(_) => Err("a list has no text; use `| join(\", \")`, or `| tojson` for JSON".to_owned()),
        Value::Object(_) => {
            Err("an object has no text; name one of its fields, or use `| tojson`".to_owned())
        }
    }
}

/// An exact integer as a JSON number.
pub(super) fn integer(n: i128) -> Result<Value, String> {
    let signed = i64::try_from(n).map(Number::from);
    signed
        .or_else(|_| u64::try_from(n).map(Number::from))
        .map(Value::Number)
        .map_err(|_| "the number is too large".to_owned())
}

/// A float as a JSON number.
pub(super) fn float(n: f64) -> Result<Value, String> {
    Number::from_f64(n).map(Value::Number).ok_or_else(|| "the result is not a finite number".to_owned())
}

/// The integer that a number is, exactly.
pub(super) fn as_integer(n: &Number) -> Option<i128> {
    n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from))
}
