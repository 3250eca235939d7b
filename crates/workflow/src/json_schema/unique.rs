//! `uniqueItems`: items are equal when their canonical texts are. The validator's own check hashes an empty list to
//! nothing and large numbers to their nearest float, so items made to collide are compared each with each.

use std::collections::HashSet;

use jsonschema::{Keyword, ValidationError};
use serde_json::{Number, Value};

use super::account;

pub(super) struct UniqueItems(pub bool);

impl UniqueItems {
    fn told(&self, value: &Value) -> (bool, usize) {
        let Value::Array(items) = value else { return (true, 0) };
        if !self.0 {
            return (true, 0);
        }
        let (mut seen, mut bytes) = (HashSet::with_capacity(items.len()), 0);
        for item in items {
            let mut text = String::new();
            canonical(item, &mut text);
            bytes += text.len() + 1;
            // To write two bytes and hash them takes about as long as a step.
            if !account::charge(text.len() as u64 / 2 + 8, value) || !seen.insert(text) {
                return (false, bytes);
            }
        }
        (true, bytes)
    }
}

impl<'i> Keyword<'i> for UniqueItems {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        match self.told(value) {
            (false, _) if account::quote(super::unique::length(value)) => {
                Err(ValidationError::custom("two of the items are equal"))
            }
            _ => Ok(()),
        }
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        self.told(value).0
    }
}

/// About how large a copy is.
fn length(value: &Value) -> usize {
    let mut bytes = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        bytes += 32;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                bytes += fields.keys().map(|name| name.len() + 32).sum::<usize>();
                open.extend(fields.values());
            }
            _ => {}
        }
    }
    bytes
}

/// Writes the text that is the same for equal values: `1` and `1.0` are, and so are objects whatever their order.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, field) in fields {
                quoted(name, text);
                canonical(field, text);
            }
            text.push('}');
        }
        Value::String(one) => quoted(one, text),
        Value::Number(number) => text.push_str(&digits(number)),
        Value::Bool(one) => text.push(if *one { 't' } else { 'f' }),
        Value::Null => text.push('n'),
    }
}

/// With its length before it, a text needs no end.
fn quoted(one: &str, text: &mut String) {
    text.push_str(&format!("\"{}:", one.len()));
    text.push_str(one);
}

fn digits(number: &Number) -> String {
    // Beyond, no integer is written any other way.
    const WHOLE: f64 = 1e30;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < WHOLE => {
            // Below that limit a whole float is an integer exactly.
            #[expect(clippy::cast_possible_truncation, reason = "the limit is far below that of i128")]
            let whole = float as i128;
            whole.to_string()
        }
        _ => number.to_string(),
    }
}
