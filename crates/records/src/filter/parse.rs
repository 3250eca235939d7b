//! From JSON to a [`Filter`], reporting every problem at once.

use serde_json::{Map, Value};

use super::operand::shown;
use super::{Allowed, Condition, Filter, FilterProblem, Operand, Subject, Test, join};
use crate::problems::{Problems, clipped, listing};
use crate::value::{MAX_DEPTH, is_deeper};

/// Conditions in one filter.
const MAX_CONDITIONS: usize = 1_000;

impl Filter {
    /// Reads a filter from JSON. A text with `{{` in it is a template whose value is not known yet: it passes as an
    /// operand's value here, and what it renders to is checked when the filter is evaluated.
    pub fn parse(json: &Value, allowed: Allowed) -> Result<Filter, Vec<FilterProblem>> {
        let mut parser = Parser { allowed, problems: Problems::default(), conditions: 0 };
        let filter = parser.filter(json, "", 1);
        match filter {
            Some(filter) if parser.problems.is_empty() => Ok(filter),
            _ => Err(parser.problems.into_list()),
        }
    }
}

struct Parser {
    allowed: Allowed,
    problems: Problems<FilterProblem>,
    conditions: usize,
}

impl Parser {
    /// `None` only after a problem was noted. `level` is how deep in the whole document's lists and objects this one
    /// lies: what is stored must be readable again, and evaluation recurses.
    fn filter(&mut self, json: &Value, path: &str, level: usize) -> Option<Filter> {
        if level > MAX_DEPTH {
            return self.too_deep(path);
        }
        let object = match json {
            Value::Array(_) => {
                return self.group(json, path, "all", level).map(Filter::All);
            }
            Value::Object(object) => object,
            other => {
                let message = format!("a filter is an object or a list, not {}", shown(other));
                return self.problem(path, message, Some(self.example()));
            }
        };
        let groups: Vec<&String> =
            object.keys().filter(|key| matches!(key.as_str(), "all" | "any" | "not")).collect();
        if groups.is_empty() {
            return self.condition(object, path, level);
        }
        if object.len() > 1 {
            let keys = listing(object.keys().map(|key| format!("`{}`", clipped(key))));
            return self.problem(
                path,
                format!("{keys} stand side by side"),
                Some("put them in a list, which means that all must hold".into()),
            );
        }
        let key = groups[0].as_str();
        let inner = &object[key];
        match key {
            "all" => self.group(inner, &join(path, key), key, level + 1).map(Filter::All),
            "any" => self.group(inner, &join(path, key), key, level + 1).map(Filter::Any),
            _ => {
                let inner = self.filter(inner, &join(path, key), level + 1)?;
                Some(Filter::Not(Box::new(inner)))
            }
        }
    }

    fn group(&mut self, json: &Value, path: &str, key: &str, level: usize) -> Option<Vec<Filter>> {
        let Value::Array(items) = json else {
            let message = format!("`{key}` takes a list of conditions, not {}", shown(json));
            return self.problem(path, message, None);
        };
        if items.is_empty() {
            let effect = if key == "any" { "nothing" } else { "everything" };
            let message = format!("an empty `{key}` would match {effect}");
            return self.problem(path, message, Some("leave the filter out, or add a condition".into()));
        }
        let filters: Vec<_> = (items.iter().enumerate())
            .map(|(i, item)| self.filter(item, &format!("{path}[{i}]"), level + 1))
            .collect();
        filters.into_iter().collect()
    }

    fn condition(&mut self, object: &Map<String, Value>, path: &str, level: usize) -> Option<Filter> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            // Said once: what stands behind is not looked at.
            return match self.conditions == MAX_CONDITIONS + 1 {
                true => self.problem(path, format!("more than {MAX_CONDITIONS} conditions"), None),
                false => None,
            };
        }
        let before = self.problems.len();
        let subject = self.subject(object, path, level);
        let mut tests = Vec::new();
        for (key, value) in object {
            if key == "field" || key == "value" {
                continue;
            }
            let Some(operand) = Operand::parse(key) else {
                if subject.is_some() {
                    self.problems.push_with(|| {
                        let message = format!("`{}` is no operand", clipped(key));
                        FilterProblem::new(&join(path, key), message, Some(Operand::suggestion(key)))
                    });
                }
                continue;
            };
            if is_deeper(value, MAX_DEPTH - level) {
                let _: Option<()> = self.too_deep(&join(path, key));
                continue;
            }
            if !holds_template(value)
                && let Err((message, hint)) = operand.check(value)
            {
                let _: Option<()> = self.problem(&join(path, key), message, hint);
            }
            tests.push(Test { operand, value: value.clone() });
        }
        let subject = subject?;
        if self.problems.len() > before {
            return None;
        }
        if tests.is_empty() {
            return self.problem(
                path,
                "the condition asks nothing: it has no operand, such as `is`",
                Some(self.example()),
            );
        }
        Some(Filter::Condition(Condition { subject, tests }))
    }

    fn subject(&mut self, object: &Map<String, Value>, path: &str, level: usize) -> Option<Subject> {
        match (object.get("field"), object.get("value")) {
            (Some(_), Some(_)) => {
                self.problem(path, "a condition looks at a `field` or at a `value`, not at both", None)
            }
            (Some(_), None) if !self.allowed.field => self.problem(
                &join(path, "field"),
                "there is no record here whose `field` could be looked at",
                Some("write `value:` with a template".into()),
            ),
            (Some(Value::String(name)), None) if !name.trim().is_empty() => {
                Some(Subject::Field(name.clone()))
            }
            (Some(other), None) => {
                let message = format!("`field` takes a field's name, not {}", shown(other));
                self.problem(&join(path, "field"), message, None)
            }
            (None, Some(_)) if !self.allowed.value => self.problem(
                &join(path, "value"),
                "a record filter looks at fields",
                Some("write `field:` with the name of one".into()),
            ),
            (None, Some(value)) if is_deeper(value, MAX_DEPTH - level) => self.too_deep(&join(path, "value")),
            (None, Some(value)) => Some(Subject::Value(value.clone())),
            (None, None) => {
                // `{"city": "Paris"}` is what people try first: show them their own condition, rightly written.
                let keys: Vec<_> = object.iter().filter(|(key, _)| Operand::parse(key).is_none()).collect();
                let hint = match keys.as_slice() {
                    [(name, value)] if self.allowed.field => {
                        // A value that is no short one would only hide the rest.
                        let is_short = match value {
                            Value::String(text) => text.chars().count() <= 60,
                            value => !value.is_null() && !value.is_array() && !value.is_object(),
                        };
                        let value = if is_short { (*value).clone() } else { Value::from("…") };
                        format!("did you mean {}?", serde_json::json!({"field": clipped(name), "is": value}))
                    }
                    _ => self.example(),
                };
                let wanted = match self.allowed {
                    Allowed { field: true, value: true } => "`field` or `value`",
                    Allowed { field: true, .. } => "`field`",
                    _ => "`value`",
                };
                self.problem(
                    path,
                    format!("the condition does not say what it looks at: {wanted} is missing"),
                    Some(hint),
                )
            }
        }
    }

    fn example(&self) -> String {
        if self.allowed.field {
            r#"for example {"field": "city", "is": "Paris"}"#.into()
        } else {
            r#"for example {"value": "{{ step.total }}", "greater_than": 0}"#.into()
        }
    }

    fn too_deep<T>(&mut self, path: &str) -> Option<T> {
        let hint = Some("a flatter filter says the same".to_owned());
        self.problem(path, format!("the filter is nested deeper than {MAX_DEPTH} levels here"), hint)
    }

    fn problem<T>(&mut self, path: &str, message: impl Into<String>, hint: Option<String>) -> Option<T> {
        self.problems.push(FilterProblem::new(path, message, hint));
        None
    }
}

/// Whether a text anywhere in `value` is a template.
pub(super) fn holds_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(holds_template),
        Value::Object(object) => object.values().any(holds_template),
        _ => false,
    }
}
