//! Filters on numbers, and exact money.

use serde_json::Value;

use super::super::json::{as_integer, float as from_float, integer, is_true, kind};
use super::super::undefined::cut;
use super::Given;

type Made = Result<Value, String>;

/// A whole number: of a number (towards zero) or of a text that is one.
pub(super) fn int(input: &Value, _: &Given<'_>) -> Made {
    match input {
        Value::Number(n) => match as_integer(n) {
            Some(_) => Ok(input.clone()),
            None => truncated(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => {
            let text = text.trim();
            let whole = text.parse::<i128>().map(integer);
            whole.unwrap_or_else(|_| Err(format!("{:?} is not a whole number", cut(text))))
        }
        Value::Bool(b) => Ok(i64::from(*b).into()),
        other => Err(format!("{} is not a number", kind(other))),
    }
}

fn truncated(n: f64) -> Made {
    let n = n.trunc();
    // Past 2^63 a float names no single integer.
    if n.abs() < 9.2e18 { integer(n as i128) } else { Err("the number is too large".to_owned()) }
}

pub(super) fn float(input: &Value, _: &Given<'_>) -> Made {
    match input {
        Value::Number(n) => from_float(n.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => {
            let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
            from_float(number.ok_or_else(|| format!("{:?} is not a number", cut(text.trim())))?)
        }
        other => Err(format!("{} is not a number", kind(other))),
    }
}

/// `true`, `yes`, `on`, `1` and their opposites, in any case; of a number, whether it is not zero.
pub(super) fn bool(input: &Value, _: &Given<'_>) -> Made {
    match input {
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true.into()),
            "false" | "no" | "off" | "0" => Ok(false.into()),
            _ => Err(format!("{:?} is neither true nor false", cut(text))),
        },
        Value::Bool(_) | Value::Number(_) => Ok(is_true(input).into()),
        other => Err(format!("{} is neither true nor false", kind(other))),
    }
}

pub(super) fn abs(input: &Value, _: &Given<'_>) -> Made {
    match input {
        Value::Number(n) => match as_integer(n) {
            Some(n) => integer(n.abs()),
            None => from_float(n.as_f64().unwrap_or(f64::NAN).abs()),
        },
        other => Err(format!("{} is not a number", kind(other))),
    }
}

/// Half away from zero. Without digits the result is a whole number.
pub(super) fn round(input: &Value, given: &Given<'_>) -> Made {
    let Value::Number(n) = input else {
        return Err(format!("{} is not a number", kind(input)));
    };
    let digits = given.integer(0, "digits")?.unwrap_or(0);
    let digits = i32::try_from(digits).ok().filter(|d| (0..=15).contains(d)).ok_or("`digits` is 0 to 15")?;
    if as_integer(n).is_some() {
        return Ok(input.clone());
    }
    let n = n.as_f64().unwrap_or(f64::NAN);
    if digits == 0 {
        return truncated(n.round());
    }
    let factor = 10f64.powi(digits);
    from_float((n * factor).round() / factor)
}

/// An amount of money, `"1234.5"` or `12`, as micros (millionths): exact, never by way of a float.
pub(super) fn to_micros(input: &Value, _: &Given<'_>) -> Made {
    let text = match input {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(n) => n.to_string(),
        other => return Err(format!("{} is not an amount", kind(other))),
    };
    let wrong =
        || format!("{:?} is not an amount like `1234.56`, with 6 digits after the point at most", cut(&text));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits_only = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let amount: i128 = format!("{whole}{fraction:0<6}").parse().map_err(|_| wrong())?;
    integer(if negative { -amount } else { amount })
}

/// Micros as an amount: `1234560000` → `"1234.56"`. Digits that would be lost are an error.
pub(super) fn from_micros(input: &Value, given: &Given<'_>) -> Made {
    let micros = match input {
        Value::Number(n) => as_integer(n),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let micros = micros.ok_or_else(|| format!("micros are a whole number, not {}", kind(input)))?;
    let decimals = given.integer(0, "decimals")?.unwrap_or(2);
    let decimals = usize::try_from(decimals).ok().filter(|d| *d <= 6).ok_or("`decimals` is 0 to 6")?;
    let (whole, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let fraction = format!("{fraction:06}");
    let (kept, lost) = fraction.split_at(decimals);
    if lost.bytes().any(|b| b != b'0') {
        return Err(format!("{micros} micros need more than {decimals} decimals"));
    }
    let sign = if micros < 0 { "-" } else { "" };
    let point = if kept.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{kept}").into())
}
