//! Answers a filter. Every operand is checked before anything is compared, so a bad one is an error on every path.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::Value;

use super::asked::Asked;
use super::compare::{equal, is_empty, order_folded, order_numbers};
use super::operand::shown;
use super::relative::{When, parse_period};
use super::several::Several;
use super::{Filter, FilterError, Operand, Test, join};
use crate::size::about_json_bytes;

impl Filter {
    /// Whether the filter holds. `resolve` gives a field's value: `Some(null)` for an empty one, `None` for one that
    /// does not exist, which is an error.
    pub fn evaluate(
        &self,
        resolve: &dyn Fn(&str) -> Option<Value>,
        now: Timestamp,
    ) -> Result<bool, FilterError> {
        self.check_operands()?;
        Asked::of(self).holds(&|name| resolve(name).map(Cow::Owned), now)
    }

    /// Whether the filter holds of a JSON object whose fields it names by path (`emails.primaryEmail`). Absent and
    /// null are the same, as they are in a stored record.
    pub fn evaluate_on(&self, object: &Value, now: Timestamp) -> Result<bool, FilterError> {
        self.check_operands()?;
        self.holds_on(object, now)
    }

    /// As [`evaluate_on`](Self::evaluate_on), for callers that have checked the operands once and ask often.
    pub fn holds_on(&self, object: &Value, now: Timestamp) -> Result<bool, FilterError> {
        Asked::of(self).holds(&|name| Some(Cow::Borrowed(lookup(object, name))), now)
    }

    /// The first operand whose value cannot be asked with, such as one that came out empty.
    pub fn check_operands(&self) -> Result<(), FilterError> {
        let mut problem = None;
        self.visit_conditions(&mut |path, condition| {
            for test in &condition.tests {
                if let Err((message, hint)) = test.operand.check(&test.value) {
                    let path = join(path, test.operand.name());
                    problem.get_or_insert_with(|| FilterError::new(&path, message, hint));
                }
            }
        });
        problem.map_or(Ok(()), Err)
    }
}

fn lookup<'v>(object: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(object, |value, part| value.get(part).unwrap_or(&Value::Null))
}

/// What a test costs besides the bytes that it looks at.
const ONE: usize = 16;
/// What reading a date costs.
const DATE: usize = 128;

/// What looking up an item among many costs.
const ITEM: usize = 32;
/// So many comparisons are made rather than looking up.
const FEW: usize = 64;

/// What a condition looks at, with what is worked out of it once for all tests.
pub(super) struct Looked<'v> {
    value: Cow<'v, Value>,
    folded: OnceCell<String>,
}

impl<'v> Looked<'v> {
    pub fn at(value: Cow<'v, Value>) -> Self {
        Looked { value, folded: OnceCell::new() }
    }

    /// Its text in lower case.
    fn folded(&self, text: &str, spent: &Spent) -> &str {
        self.folded.get_or_init(|| {
            spent.add(text.len());
            text.to_lowercase()
        })
    }
}

/// Work that was done: about as many as bytes were looked at.
#[derive(Debug, Default)]
pub(crate) struct Spent(Cell<usize>);

impl Spent {
    fn add(&self, work: usize) {
        self.0.set(self.0.get().saturating_add(work));
    }

    pub fn get(&self) -> usize {
        self.0.get()
    }
}

/// A test, with what is worked out of its value once for all subjects.
pub(super) struct Ready<'f> {
    test: &'f Test,
    folded: OnceLock<String>,
    several: OnceLock<Several<'f>>,
}

impl<'f> Ready<'f> {
    pub fn new(test: &'f Test) -> Self {
        Ready { test, folded: OnceLock::new(), several: OnceLock::new() }
    }

    pub fn operand(&self) -> Operand {
        self.test.operand
    }

    pub fn holds(&self, looked: &Looked<'_>, now: Timestamp, spent: &Spent) -> Result<bool, String> {
        let Test { operand, value } = self.test;
        let subject = &*looked.value;
        spent.add(ONE);
        if value.is_null() {
            return Err(format!("`{}` has no value", operand.name()));
        }
        if subject.is_null() && *operand != Operand::IsEmpty {
            let negative = matches!(operand, Operand::IsNot | Operand::NotIn | Operand::NotContains);
            return Ok(negative);
        }
        match operand {
            Operand::Is => self.equal(subject, spent),
            Operand::IsNot => self.equal(subject, spent).map(|equal| !equal),
            Operand::In => self.among(subject, spent),
            Operand::NotIn => self.among(subject, spent).map(|among| !among),
            Operand::Contains => self.contains(looked, spent),
            Operand::NotContains => self.contains(looked, spent).map(|contains| !contains),
            Operand::ContainsAny | Operand::ContainsAll => self.contains_several(subject, spent),
            Operand::StartsWith | Operand::EndsWith => {
                let (Value::String(text), Value::String(part)) = (subject, value) else {
                    return Err(self.incomparable(subject));
                };
                let (text, part) = (looked.folded(text, spent), self.folded(part));
                spent.add(part.len());
                Ok(match operand {
                    Operand::StartsWith => text.starts_with(part),
                    _ => text.ends_with(part),
                })
            }
            Operand::LessThan => self.order(looked, spent).map(Ordering::is_lt),
            Operand::LessOrEqual => self.order(looked, spent).map(Ordering::is_le),
            Operand::GreaterThan => self.order(looked, spent).map(Ordering::is_gt),
            Operand::GreaterOrEqual => self.order(looked, spent).map(Ordering::is_ge),
            Operand::Before => self.time(subject, now, spent).map(Ordering::is_lt),
            Operand::OnOrBefore => self.time(subject, now, spent).map(Ordering::is_le),
            Operand::After => self.time(subject, now, spent).map(Ordering::is_gt),
            Operand::OnOrAfter => self.time(subject, now, spent).map(Ordering::is_ge),
            Operand::On => {
                let (subject, value) = self.times(subject, now, spent)?;
                Ok(subject.day() == value.day())
            }
            Operand::Within => {
                let period = parse_period(value).map_err(|(message, _)| message)?;
                period.holds(when(subject, spent)?, now)
            }
            Operand::IsEmpty => match value {
                Value::Bool(wanted) => Ok(holds_nothing(subject, spent) == *wanted),
                _ => Err("`is_empty` takes true or false".into()),
            },
        }
    }

    /// The value's text in lower case.
    fn folded(&self, text: &str) -> &str {
        self.folded.get_or_init(|| text.to_lowercase())
    }

    fn incomparable(&self, subject: &Value) -> String {
        let Test { operand, value } = self.test;
        format!("`{}` cannot compare {} with {}", operand.name(), shown(subject), shown(value))
    }

    fn equal(&self, subject: &Value, spent: &Spent) -> Result<bool, String> {
        spent.add(cost_of_equal(subject, &self.test.value));
        equal(subject, &self.test.value).ok_or_else(|| self.incomparable(subject))
    }

    fn order(&self, looked: &Looked<'_>, spent: &Spent) -> Result<Ordering, String> {
        match (&*looked.value, &self.test.value) {
            (Value::Number(a), Value::Number(b)) => Ok(order_numbers(a, b)),
            (Value::String(a), Value::String(b)) => {
                let (folded, with) = (looked.folded(a, spent), self.folded(b));
                spent.add(2 * folded.len().min(with.len()));
                Ok(order_folded((folded, a), (with, b)))
            }
            (subject, _) => Err(self.incomparable(subject)),
        }
    }

    fn items(&self) -> Result<&'f [Value], String> {
        match &self.test.value {
            Value::Array(items) => Ok(items),
            _ => Err(format!("`{}` takes a list of values", self.test.operand.name())),
        }
    }

    fn among(&self, subject: &Value, spent: &Spent) -> Result<bool, String> {
        any_equal(subject, self.items()?, spent).ok_or_else(|| self.incomparable(subject))
    }

    fn contains(&self, looked: &Looked<'_>, spent: &Spent) -> Result<bool, String> {
        match (&*looked.value, &self.test.value) {
            (Value::String(text), Value::String(part)) => {
                let (text, part) = (looked.folded(text, spent), self.folded(part));
                spent.add(text.len() + part.len());
                Ok(text.contains(part))
            }
            (subject @ Value::Array(items), value) => {
                any_equal(value, items, spent).ok_or_else(|| self.incomparable(subject))
            }
            (subject @ Value::String(_), _) => Err(self.incomparable(subject)),
            (subject, _) => Err(format!(
                "`{}` looks into a text or a list, not into {}",
                self.test.operand.name(),
                shown(subject)
            )),
        }
    }

    fn contains_several(&self, subject: &Value, spent: &Spent) -> Result<bool, String> {
        let Value::Array(held) = subject else {
            return Err(format!(
                "`{}` looks into a list, not into {}",
                self.test.operand.name(),
                shown(subject)
            ));
        };
        let items = self.items()?;
        let all = self.test.operand == Operand::ContainsAll;
        if items.len().saturating_mul(held.len()) > FEW {
            let several = self.several.get_or_init(|| {
                spent.add(ITEM * items.len());
                Several::of(items)
            });
            spent.add(held.iter().map(cost_of_spelling).sum());
            let found = several.found_in(held).ok_or_else(|| self.incomparable(subject))?;
            return Ok(if all { found.all } else { found.some });
        }
        let mut found =
            items.iter().map(|item| any_equal(item, held, spent).ok_or_else(|| self.incomparable(subject)));
        match all {
            true => found.try_fold(true, |all, one| Ok(all & one?)),
            false => found.try_fold(false, |any, one| Ok(any | one?)),
        }
    }

    fn times(&self, subject: &Value, now: Timestamp, spent: &Spent) -> Result<(When, When), String> {
        let Value::String(text) = &self.test.value else {
            return Err(self.incomparable(subject));
        };
        Ok((when(subject, spent)?, When::parse_or_named(text)?.at(now)))
    }

    fn time(&self, subject: &Value, now: Timestamp, spent: &Spent) -> Result<Ordering, String> {
        let (subject, value) = self.times(subject, now, spent)?;
        Ok(subject.order(value))
    }
}

/// What comparing two values may cost: those of different lengths are told apart by them.
fn cost_of_equal(a: &Value, b: &Value) -> usize {
    match (a, b) {
        (Value::String(a), Value::String(b)) if a.len() == b.len() => a.len(),
        (Value::Array(items), Value::Array(b)) if items.len() == b.len() => about_json_bytes(a),
        (Value::Object(members), Value::Object(b)) if members.len() == b.len() => about_json_bytes(a),
        _ => 4,
    }
}

fn when(subject: &Value, spent: &Spent) -> Result<When, String> {
    match subject {
        Value::String(text) => {
            spent.add(DATE + text.len());
            When::parse(text)
        }
        other => Err(format!("{} is no date and no date-time", shown(other))),
    }
}

fn cost_of_spelling(value: &Value) -> usize {
    match value {
        Value::String(text) => ITEM + text.len(),
        Value::Array(_) | Value::Object(_) => ITEM + about_json_bytes(value),
        Value::Null | Value::Bool(_) | Value::Number(_) => ITEM,
    }
}

/// Whether `value` equals one of `items`; `None` when there are items and none is of its kind.
fn any_equal(value: &Value, items: &[Value], spent: &Spent) -> Option<bool> {
    let mut comparable = items.is_empty();
    for item in items {
        spent.add(cost_of_equal(value, item));
        match equal(value, item) {
            Some(true) => return Some(true),
            Some(false) => comparable = true,
            None => {}
        }
    }
    comparable.then_some(false)
}

/// As [`is_empty`](super::is_empty) of what is looked at, with what that costs.
fn holds_nothing(value: &Value, spent: &Spent) -> bool {
    match value {
        Value::String(text) => {
            let rest = text.trim_start();
            spent.add(text.len() - rest.len());
            rest.is_empty()
        }
        Value::Object(members) => members.values().all(|value| {
            spent.add(ONE);
            holds_nothing(value, spent)
        }),
        value => is_empty(value),
    }
}
