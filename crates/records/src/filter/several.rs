//! Which of several values a list holds, without holding each against each: a list may have a hundred thousand.

use std::collections::HashMap;

use serde_json::Value;

use super::compare::{Exact, exact};

/// A value that equals another just when their spellings do; as a map has its keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Spelled<'v> {
    Null,
    Bool(bool),
    Number(Exact),
    Text(&'v str),
    List(Vec<Spelled<'v>>),
    /// In the order of the keys.
    Object(Vec<(&'v str, Spelled<'v>)>),
}

impl<'v> Spelled<'v> {
    fn of(value: &'v Value) -> Self {
        match value {
            Value::Null => Spelled::Null,
            Value::Bool(flag) => Spelled::Bool(*flag),
            Value::Number(number) => Spelled::Number(exact(number)),
            Value::String(text) => Spelled::Text(text),
            Value::Array(items) => Spelled::List(items.iter().map(Spelled::of).collect()),
            Value::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(key, value)| (key.as_str(), Spelled::of(value))).collect();
                members.sort_unstable_by_key(|(key, _)| *key);
                Spelled::Object(members)
            }
        }
    }
}

/// A bit for each kind of value; null is of no kind, and equals nothing.
fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 4,
        Value::Array(_) => 8,
        Value::Object(_) => 16,
    }
}

/// Values that are looked for in lists.
pub(super) struct Several<'v> {
    /// The different ones, numbered.
    numbers: HashMap<Spelled<'v>, usize>,
    kinds: u8,
    holds_null: bool,
}

/// How many of the different values a list holds, of how many.
pub(super) struct Found {
    pub some: bool,
    pub all: bool,
}

impl<'v> Several<'v> {
    pub fn of(values: &'v [Value]) -> Self {
        let mut numbers = HashMap::with_capacity(values.len());
        for value in values.iter().filter(|value| !value.is_null()) {
            let next = numbers.len();
            numbers.entry(Spelled::of(value)).or_insert(next);
        }
        let kinds = values.iter().fold(0, |kinds, value| kinds | kind(value));
        Several { numbers, kinds, holds_null: values.iter().any(Value::is_null) }
    }

    /// What of them `held` has; `None` if for one of them it has values, and none of its kind.
    pub fn found_in(&self, held: &[Value]) -> Option<Found> {
        let kinds = held.iter().fold(0, |kinds, value| kinds | kind(value));
        if !held.is_empty() && (self.holds_null || self.kinds & !kinds != 0) {
            return None;
        }
        let mut found = vec![false; self.numbers.len()];
        let mut missing = found.len();
        // Only what can equal one of them is spelled.
        for value in held.iter().filter(|value| self.kinds & kind(value) != 0) {
            if missing == 0 {
                break;
            }
            if let Some(number) = self.numbers.get(&Spelled::of(value))
                && !std::mem::replace(&mut found[*number], true)
            {
                missing -= 1;
            }
        }
        Some(Found { some: missing < found.len(), all: missing == 0 && !self.holds_null })
    }
}
