//! Answers a filter. Every operand is checked before anything is compared, so a bad one is an error on every path.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use super::compare::{equal, is_empty, order};
use super::operand::shown;
use super::relative::{When, parse_period};
use crate::problems::clipped;

use super::{Condition, Filter, FilterError, Operand, Subject, Test, join};

/// What a path means to whoever evaluates; `None` where there is no such thing, null where it is empty.
type Resolve<'r, 'v> = &'r dyn Fn(&str) -> Option<Cow<'v, Value>>;

impl Filter {
    /// Whether the filter holds. `resolve` gives a field's value: `Some(null)` for an empty one, `None` for one that
    /// does not exist, which is an error.
    pub fn evaluate(
        &self,
        resolve: &dyn Fn(&str) -> Option<Value>,
        now: Timestamp,
    ) -> Result<bool, FilterError> {
        self.check_operands()?;
        self.holds(&|name| resolve(name).map(Cow::Owned), now)
    }

    /// Whether the filter holds of a JSON object whose fields it names by path (`emails.primaryEmail`). Absent and
    /// null are the same, as they are in a stored record.
    pub fn evaluate_on(&self, object: &Value, now: Timestamp) -> Result<bool, FilterError> {
        self.check_operands()?;
        self.holds_on(object, now)
    }

    /// As [`evaluate_on`](Self::evaluate_on), for callers that have checked the operands once and ask often.
    pub fn holds_on(&self, object: &Value, now: Timestamp) -> Result<bool, FilterError> {
        self.holds(&|name| Some(Cow::Borrowed(lookup(object, name))), now)
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

    /// Evaluation proper, for callers that have checked the operands once and ask of many records.
    pub(crate) fn holds(&self, resolve: Resolve<'_, '_>, now: Timestamp) -> Result<bool, FilterError> {
        // Paths are built on the way out of an error only: most evaluations need none.
        match self {
            Filter::All(filters) => {
                for (i, filter) in filters.iter().enumerate() {
                    if !filter.holds(resolve, now).map_err(|e| under(&format!("all[{i}]"), e))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Any(filters) => {
                for (i, filter) in filters.iter().enumerate() {
                    if filter.holds(resolve, now).map_err(|e| under(&format!("any[{i}]"), e))? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::Not(filter) => {
                filter.holds(resolve, now).map(|holds| !holds).map_err(|e| under("not", e))
            }
            Filter::Condition(condition) => condition.holds(resolve, now),
        }
    }
}

fn under(key: &str, mut error: FilterError) -> FilterError {
    error.path = if error.path.is_empty() { key.to_owned() } else { join(key, &error.path) };
    error
}

fn lookup<'v>(object: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(object, |value, part| value.get(part).unwrap_or(&Value::Null))
}

impl Condition {
    fn holds(&self, resolve: Resolve<'_, '_>, now: Timestamp) -> Result<bool, FilterError> {
        let subject = match &self.subject {
            Subject::Value(value) => Cow::Borrowed(value),
            Subject::Field(name) => resolve(name).ok_or_else(|| {
                FilterError::new("field", format!("there is no `{}` here", clipped(name)), None)
            })?,
        };
        for test in &self.tests {
            let holds = test.holds(&subject, now).map_err(|message| {
                let message = match &self.subject {
                    Subject::Field(name) => format!("`{name}`: {message}"),
                    Subject::Value(_) => message,
                };
                FilterError::new(test.operand.name(), message, None)
            })?;
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Test {
    fn holds(&self, subject: &Value, now: Timestamp) -> Result<bool, String> {
        let value = &self.value;
        if value.is_null() {
            return Err(format!("`{}` has no value", self.operand.name()));
        }
        if subject.is_null() && self.operand != Operand::IsEmpty {
            let negative = matches!(self.operand, Operand::IsNot | Operand::NotIn | Operand::NotContains);
            return Ok(negative);
        }
        match self.operand {
            Operand::Is => self.equal(subject),
            Operand::IsNot => self.equal(subject).map(|equal| !equal),
            Operand::In => self.among(subject),
            Operand::NotIn => self.among(subject).map(|among| !among),
            Operand::Contains => self.contains(subject),
            Operand::NotContains => self.contains(subject).map(|contains| !contains),
            Operand::ContainsAny | Operand::ContainsAll => self.contains_several(subject),
            Operand::StartsWith | Operand::EndsWith => {
                let (Value::String(text), Value::String(part)) = (subject, value) else {
                    return Err(self.incomparable(subject));
                };
                let (text, part) = (text.to_lowercase(), part.to_lowercase());
                Ok(match self.operand {
                    Operand::StartsWith => text.starts_with(&part),
                    _ => text.ends_with(&part),
                })
            }
            Operand::LessThan => self.order(subject).map(|order| order.is_lt()),
            Operand::LessOrEqual => self.order(subject).map(|order| order.is_le()),
            Operand::GreaterThan => self.order(subject).map(|order| order.is_gt()),
            Operand::GreaterOrEqual => self.order(subject).map(|order| order.is_ge()),
            Operand::Before => self.time(subject, now).map(|order| order.is_lt()),
            Operand::OnOrBefore => self.time(subject, now).map(|order| order.is_le()),
            Operand::After => self.time(subject, now).map(|order| order.is_gt()),
            Operand::OnOrAfter => self.time(subject, now).map(|order| order.is_ge()),
            Operand::On => {
                let (subject, value) = self.times(subject, now)?;
                Ok(subject.day() == value.day())
            }
            Operand::Within => {
                let period = parse_period(value).map_err(|(message, _)| message)?;
                period.holds(when(subject)?, now)
            }
            Operand::IsEmpty => match value {
                Value::Bool(wanted) => Ok(is_empty(subject) == *wanted),
                _ => Err("`is_empty` takes true or false".into()),
            },
        }
    }

    fn incomparable(&self, subject: &Value) -> String {
        format!("`{}` cannot compare {} with {}", self.operand.name(), shown(subject), shown(&self.value))
    }

    fn equal(&self, subject: &Value) -> Result<bool, String> {
        equal(subject, &self.value).ok_or_else(|| self.incomparable(subject))
    }

    fn order(&self, subject: &Value) -> Result<std::cmp::Ordering, String> {
        order(subject, &self.value).ok_or_else(|| self.incomparable(subject))
    }

    fn items(&self) -> Result<&[Value], String> {
        match &self.value {
            Value::Array(items) => Ok(items),
            _ => Err(format!("`{}` takes a list of values", self.operand.name())),
        }
    }

    fn among(&self, subject: &Value) -> Result<bool, String> {
        any_equal(subject, self.items()?).ok_or_else(|| self.incomparable(subject))
    }

    fn contains(&self, subject: &Value) -> Result<bool, String> {
        match (subject, &self.value) {
            (Value::String(text), Value::String(part)) => {
                Ok(text.to_lowercase().contains(&part.to_lowercase()))
            }
            (Value::Array(items), value) => any_equal(value, items).ok_or_else(|| self.incomparable(subject)),
            (Value::String(_), _) => Err(self.incomparable(subject)),
            _ => Err(format!(
                "`{}` looks into a text or a list, not into {}",
                self.operand.name(),
                shown(subject)
            )),
        }
    }

    fn contains_several(&self, subject: &Value) -> Result<bool, String> {
        let Value::Array(held) = subject else {
            return Err(format!("`{}` looks into a list, not into {}", self.operand.name(), shown(subject)));
        };
        let mut found = (self.items()?.iter())
            .map(|item| any_equal(item, held).ok_or_else(|| self.incomparable(subject)));
        match self.operand {
            Operand::ContainsAll => found.try_fold(true, |all, one| Ok(all & one?)),
            _ => found.try_fold(false, |any, one| Ok(any | one?)),
        }
    }

    fn times(&self, subject: &Value, now: Timestamp) -> Result<(When, When), String> {
        let Value::String(text) = &self.value else {
            return Err(self.incomparable(subject));
        };
        Ok((when(subject)?, When::parse_or_named(text)?.at(now)))
    }

    fn time(&self, subject: &Value, now: Timestamp) -> Result<std::cmp::Ordering, String> {
        let (subject, value) = self.times(subject, now)?;
        Ok(subject.order(value))
    }
}

fn when(subject: &Value) -> Result<When, String> {
    match subject {
        Value::String(text) => When::parse(text),
        other => Err(format!("{} is no date and no date-time", shown(other))),
    }
}

/// Whether `value` equals one of `items`; `None` when there are items and none is of its kind.
fn any_equal(value: &Value, items: &[Value]) -> Option<bool> {
    let mut comparable = items.is_empty();
    for item in items {
        match equal(value, item) {
            Some(true) => return Some(true),
            Some(false) => comparable = true,
            None => {}
        }
    }
    comparable.then_some(false)
}
