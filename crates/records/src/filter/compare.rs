//! How two values compare: numbers by value, text ignoring case first, nothing across kinds.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Orders numbers by their exact value, whatever their JSON spelling (`1` and `1.0` are equal).
pub fn order_numbers(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => order_mixed(a, float(b)),
        (None, Some(b)) => order_mixed(b, float(a)).reverse(),
        (None, None) => float(a).total_cmp(&float(b)),
    }
}

/// The exact value of a number: those of equal numbers are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exact {
    Integer(i128),
    /// The bits of a double that is no integer, or a very large one.
    Double(u64),
}

pub(super) fn exact(number: &Number) -> Exact {
    integer(number).map_or_else(|| Exact::Double(float(number).to_bits()), Exact::Integer)
}

fn integer(number: &Number) -> Option<i128> {
    match (number.as_i64(), number.as_u64()) {
        (Some(i), _) => Some(i.into()),
        (_, Some(u)) => Some(u.into()),
        _ => {
            // A float without a fraction is the integer that it names, so that `-0.0`, `0` and `1e3`, `1000` are equal.
            let float = float(number);
            (float.fract() == 0.0 && float.abs() < 1e30).then_some(float as i128)
        }
    }
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(0.0)
}

/// An integer against a float that has a fraction or is beyond every integer that JSON can hold here.
fn order_mixed(integer: i128, float: f64) -> Ordering {
    if float.abs() >= 1e30 {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    // The float has a fraction, so its floor fits, and equality is impossible.
    if integer <= float.floor() as i128 { Ordering::Less } else { Ordering::Greater }
}

/// The order of two texts, each given in lower case and as it is: ignoring case first, then exactly, so that it is total
/// and agrees with equality.
pub(super) fn order_folded(a: (&str, &str), b: (&str, &str)) -> Ordering {
    a.cmp(&b)
}

/// Equality of two values of one kind; `None` when their kinds differ.
pub(super) fn equal(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Some(order_numbers(a, b) == Ordering::Equal),
        (Value::String(a), Value::String(b)) => Some(a == b),
        (Value::Bool(a), Value::Bool(b)) => Some(a == b),
        (Value::Array(a), Value::Array(b)) => Some(same_items(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            Some(a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b))))
        }
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        _ => equal(a, b).unwrap_or(false),
    }
}

fn same_items(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// No value, or one that holds nothing: null, a blank text, an empty list, an object all of whose parts are empty.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
