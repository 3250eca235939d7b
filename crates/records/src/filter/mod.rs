//! The one filter language of the product: record filters, workflow `when`, trigger `when`, list filters.
//!
//! ```json
//! {"all": [
//!   {"field": "emails.primaryEmail", "is": "ann@example.com"},
//!   {"any": [{"field": "city", "starts_with": "Par"}, {"field": "city", "is_empty": true}]},
//!   {"not": {"field": "createdAt", "within": {"last": "7d"}}},
//!   {"value": "{{ known.total }}", "greater_than": 0, "less_than": 10}
//! ]}
//! ```
//!
//! - An array is an implicit `all`. Several operands in one condition must all hold.
//! - Three steps: [`Filter::parse`] checks the shape and reports every problem; templates inside values are rendered
//!   with [`Filter::try_map_values`]; [`Filter::evaluate`] answers. Values stay plain JSON throughout.
//! - **Nothing fails open**: an operand without a value, an unknown field, two things that cannot be compared, a text
//!   operand that would match everything (`contains: ""`): each is an error that says where and what would be right.
//! - An empty subject (null) fits `is_empty: true` and the negative operands (`is_not`, `not_in`, `not_contains`),
//!   and no other.
//! - `is`, `in` and friends compare text exactly; `contains`, `starts_with` and `ends_with` ignore case; `less_than` and
//!   friends order text ignoring case first. Numbers compare by value, whatever their JSON spelling. A date against a
//!   date-time compares calendar days in UTC. Anything else of two kinds is incomparable, an error.

mod asked;
mod bind;
mod compare;
mod evaluate;
mod operand;
mod parse;
mod relative;
mod several;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub(crate) use asked::Asked;
pub use compare::{is_empty, order_numbers};
pub use operand::Operand;
pub(crate) use operand::{quoted, shown};
pub use relative::When;
pub(crate) use relative::{LAST, Named, period_days};

/// A condition, or a group of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Condition(Condition),
}

/// One subject and what must hold of it: every one of `tests`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub subject: Subject,
    pub tests: Vec<Test>,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A path that whoever evaluates the filter resolves, such as a record's `emails.primaryEmail`.
    Field(String),
    /// A value that stands in the filter itself, usually from a template.
    Value(Value),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub operand: Operand,
    pub value: Value,
}

/// Which subjects a place allows: record filters know fields, a workflow's `when` knows values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub field: bool,
    pub value: bool,
}

impl Allowed {
    pub const FIELDS: Allowed = Allowed { field: true, value: false };
    pub const VALUES: Allowed = Allowed { field: false, value: true };
    pub const BOTH: Allowed = Allowed { field: true, value: true };
}

/// What is wrong in a filter, where (`all[1].greater_than`), and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}{message}{}", at(path), hinted(hint))]
pub struct FilterProblem {
    pub path: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An evaluation that cannot be answered; the same three parts as a problem found by parsing.
pub type FilterError = FilterProblem;

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

fn hinted(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
}

impl FilterProblem {
    pub(crate) fn new(path: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        FilterProblem { path: path.to_owned(), message: message.into(), hint }
    }
}

/// `path` extended by a key: `all[0]` and `is` make `all[0].is`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Where a value stands in a filter, such as `all[0].is`. It is spelled when somebody asks: mostly nobody does.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    around: Option<&'p Place<'p>>,
    key: &'p str,
    index: Option<usize>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(around) = self.around {
            write!(f, "{around}.")?;
        }
        f.write_str(self.key)?;
        match self.index {
            Some(index) => write!(f, "[{index}]"),
            None => Ok(()),
        }
    }
}

impl Filter {
    /// A single condition on a field, for callers that build filters in code.
    pub fn field(name: impl Into<String>, operand: Operand, value: impl Into<Value>) -> Filter {
        Filter::Condition(Condition {
            subject: Subject::Field(name.into()),
            tests: vec![Test { operand, value: value.into() }],
        })
    }

    /// Calls `visit` with every condition and its path in the filter.
    pub fn visit_conditions<'a>(&'a self, visit: &mut dyn FnMut(&str, &'a Condition)) {
        self.visit_at("", visit);
    }

    fn visit_at<'a>(&'a self, path: &str, visit: &mut dyn FnMut(&str, &'a Condition)) {
        match self {
            Filter::All(filters) => {
                for (i, filter) in filters.iter().enumerate() {
                    filter.visit_at(&join(path, &format!("all[{i}]")), visit);
                }
            }
            Filter::Any(filters) => {
                for (i, filter) in filters.iter().enumerate() {
                    filter.visit_at(&join(path, &format!("any[{i}]")), visit);
                }
            }
            Filter::Not(filter) => filter.visit_at(&join(path, "not"), visit),
            Filter::Condition(condition) => visit(path, condition),
        }
    }

    /// The filter with every value (operand values, and subjects given as values) replaced by what `map` makes of it:
    /// the way to render templates. `map` is told the value's place in the filter.
    pub fn try_map_values<E>(
        &self,
        map: &mut dyn FnMut(&Place<'_>, &Value) -> Result<Value, E>,
    ) -> Result<Filter, E> {
        self.map_at(None, map)
    }

    fn map_at<E>(
        &self,
        around: Option<&Place<'_>>,
        map: &mut dyn FnMut(&Place<'_>, &Value) -> Result<Value, E>,
    ) -> Result<Filter, E> {
        let at = |key, index| Place { around, key, index };
        let mut group = |key, filters: &[Filter]| {
            (filters.iter().enumerate())
                .map(|(i, filter)| filter.map_at(Some(&at(key, Some(i))), map))
                .collect::<Result<Vec<_>, E>>()
        };
        Ok(match self {
            Filter::All(filters) => Filter::All(group("all", filters)?),
            Filter::Any(filters) => Filter::Any(group("any", filters)?),
            Filter::Not(filter) => Filter::Not(Box::new(filter.map_at(Some(&at("not", None)), map)?)),
            Filter::Condition(condition) => {
                let subject = match &condition.subject {
                    Subject::Value(value) => Subject::Value(map(&at("value", None), value)?),
                    field => field.clone(),
                };
                let tests = (condition.tests.iter())
                    .map(|Test { operand, value }| {
                        let value = map(&at(operand.name(), None), value)?;
                        Ok(Test { operand: *operand, value })
                    })
                    .collect::<Result<Vec<_>, E>>()?;
                Filter::Condition(Condition { subject, tests })
            }
        })
    }

    /// The filter as the JSON it is written in.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self {
            Filter::All(filters) => {
                object.insert("all".into(), filters.iter().map(Filter::to_json).collect());
            }
            Filter::Any(filters) => {
                object.insert("any".into(), filters.iter().map(Filter::to_json).collect());
            }
            Filter::Not(filter) => {
                object.insert("not".into(), filter.to_json());
            }
            Filter::Condition(condition) => {
                match &condition.subject {
                    Subject::Field(name) => object.insert("field".into(), name.clone().into()),
                    Subject::Value(value) => object.insert("value".into(), value.clone()),
                };
                for test in &condition.tests {
                    object.insert(test.operand.name().into(), test.value.clone());
                }
            }
        }
        Value::Object(object)
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        Filter::parse(&json, Allowed::BOTH).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            serde::de::Error::custom(problems.join("; "))
        })
    }
}
