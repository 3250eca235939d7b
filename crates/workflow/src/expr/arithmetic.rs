//! Comparing and calculating with JSON values.

use serde_json::{Number, Value};

use super::ast::{Binary, Compare};
use super::budget::Budget;
use super::json::{as_integer, equal, float, integer, kind, order, text};

pub(super) fn compare(op: Compare, left: &Value, right: &Value, budget: &Budget) -> Result<bool, String> {
    match op {
        Compare::In => cost_of_search(right, left, budget)?,
        Compare::NotIn => cost_of_search(right, left, budget)?,
        _ => cost_of_comparison(left, right, budget)?,
    }
    Ok(match op {
        Compare::Eq => equal(left, right),
        Compare::Ne => !equal(left, right),
        Compare::Lt => order(left, right)?.is_lt(),
        Compare::Le => order(left, right)?.is_le(),
        Compare::Gt => order(left, right)?.is_gt(),
        Compare::Ge => order(left, right)?.is_ge(),
        Compare::In => contains(right, left)?,
        Compare::NotIn => !contains(right, left)?,
    })
}

/// Two values of one kind are compared part by part.
pub(super) fn cost_of_comparison(left: &Value, right: &Value, budget: &Budget) -> Result<(), String> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            budget.read_text(if left.len() < right.len() { left } else { right })
        }
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => budget.read(left, 1),
        _ => Ok(()),
    }
}

/// Every item of a list may have to be compared.
pub(super) fn cost_of_search(container: &Value, item: &Value, budget: &Budget) -> Result<(), String> {
    match (container, item) {
        (Value::Array(items), Value::Null | Value::Bool(_) | Value::Number(_)) => {
            budget.steps(items.len() as u64 / 8)
        }
        (Value::Array(_), _) => budget.read(container, 1),
        (Value::String(text), Value::String(part)) => {
            budget.steps(text.len() as u64 / 32)?;
            budget.read_text(part)
        }
        _ => Ok(()),
    }
}

/// Whether `item` is in a list, a text in a text, or a key in an object.
pub(super) fn contains(container: &Value, item: &Value) -> Result<bool, String> {
    match (container, item) {
        (Value::Array(items), item) => Ok(items.iter().any(|other| equal(other, item))),
        (Value::String(text), Value::String(part)) => Ok(text.contains(part.as_str())),
        (Value::Object(fields), Value::String(key)) => Ok(fields.contains_key(key)),
        (container, item) => Err(format!("{} cannot be looked for in {}", kind(item), kind(container))),
    }
}

pub(super) fn binary(op: Binary, left: &Value, right: &Value, budget: &Budget) -> Result<Value, String> {
    match (op, left, right) {
        (Binary::Concat, left, right) => joined(&text(left)?, &text(right)?, budget),
        (Binary::Add, Value::String(left), Value::String(right)) => joined(left, right, budget),
        (Binary::Add, Value::Array(left_items), Value::Array(right_items)) => {
            budget.made(left)?;
            budget.made(right)?;
            Ok(Value::Array(left_items.iter().chain(right_items).cloned().collect()))
        }
        (op, Value::Number(left), Value::Number(right)) => numbers(op, left, right),
        (_, left, right) => {
            let help = match (op, left, right) {
                (Binary::Add, Value::String(_), _) | (Binary::Add, _, Value::String(_)) => {
                    "; `~` joins texts with anything that has a text"
                }
                _ => "",
            };
            Err(format!("{} and {} cannot be calculated with{help}", kind(left), kind(right)))
        }
    }
}

fn joined(left: &str, right: &str, budget: &Budget) -> Result<Value, String> {
    budget.made_text(left)?;
    budget.made_text(right)?;
    Ok(Value::String(format!("{left}{right}")))
}

/// Exact for integers; a float only where one goes in, or `/` or a negative power makes one.
pub(super) fn numbers(op: Binary, left: &Number, right: &Number) -> Result<Value, String> {
    if let (Some(a), Some(b)) = (as_integer(left), as_integer(right)) {
        let exact = match op {
            Binary::Add => a.checked_add(b),
            Binary::Sub => a.checked_sub(b),
            Binary::Mul => a.checked_mul(b),
            Binary::FloorDiv | Binary::Rem | Binary::Div if b == 0 => {
                return Err("division by zero".to_owned());
            }
            Binary::FloorDiv => floor_div(a, b),
            Binary::Rem => floor_rem(a, b),
            Binary::Pow if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            Binary::Div | Binary::Pow | Binary::Concat => return floats(op, left, right),
        };
        return exact.ok_or_else(|| "the number is too large".to_owned()).and_then(integer);
    }
    floats(op, left, right)
}

fn floats(op: Binary, left: &Number, right: &Number) -> Result<Value, String> {
    let as_float = |n: &Number| n.as_f64().ok_or_else(|| "the number is too large".to_owned());
    let (a, b) = (as_float(left)?, as_float(right)?);
    if b == 0.0 && matches!(op, Binary::Div | Binary::FloorDiv | Binary::Rem) {
        return Err("division by zero".to_owned());
    }
    float(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::FloorDiv => float_div(a, b),
        Binary::Rem => float_rem(a, b),
        Binary::Pow => a.powf(b),
        Binary::Concat => return Err("texts are joined, not calculated with".to_owned()),
    })
}

/// Rounded down, as in Jinja.
fn floor_div(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    let exact = a.checked_rem(b)? == 0;
    if exact || (a < 0) == (b < 0) { Some(quotient) } else { quotient.checked_sub(1) }
}

/// What is left of [`floor_div`]: it has the sign of the divisor.
fn floor_rem(a: i128, b: i128) -> Option<i128> {
    let rest = a.checked_rem(b)?;
    if rest == 0 || (rest < 0) == (b < 0) { Some(rest) } else { rest.checked_add(b) }
}

/// The same of floats: from what is left, because the quotient alone may be rounded up to a whole number.
fn float_div(a: f64, b: f64) -> f64 {
    let rest = a % b;
    let whole = ((a - rest) / b).round();
    if rest == 0.0 || (rest < 0.0) == (b < 0.0) { whole } else { whole - 1.0 }
}

fn float_rem(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest == 0.0 {
        rest.copysign(b)
    } else if (rest < 0.0) == (b < 0.0) {
        rest
    } else {
        rest + b
    }
}
