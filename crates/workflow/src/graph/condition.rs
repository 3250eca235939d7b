//! Conditions and record filters with templates inside, compiled once.

use jiff::Timestamp;
use serde_json::Value;
use stepwell_records::filter::{Allowed, Filter, Operand, Subject};

use crate::expr::{Document, ExprError, Mode, Scope, Template};

/// A filter whose values are templates.
#[derive(Debug)]
pub struct FilterPlan {
    filter: Filter,
    /// Of every value, in the order in which [`Filter::try_map_values`] comes by them.
    values: Vec<Document>,
    first_text: Option<(String, String)>,
}

/// What a step's `if`, an arm's `when` or a `filter` asks.
#[derive(Debug)]
pub enum Condition {
    Filter(FilterPlan),
    /// One expression that gives true or false.
    Expression(Template),
}

/// Why a condition was not decided.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Undecided {
    #[error(transparent)]
    Template(#[from] ExprError),
    #[error("{0}")]
    Filter(String),
}

impl FilterPlan {
    pub fn compile(json: &Value, allowed: Allowed) -> Result<FilterPlan, String> {
        let filter = Filter::parse(json, allowed)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let mut values = Vec::new();
        filter
            .try_map_values(&mut |path, value| {
                values.push(Document::compile(value, Mode::Value).map_err(|e| e.under(path).to_string())?);
                Ok(Value::Null)
            })
            .map(|_| FilterPlan { first_text: first_text(&filter, &values), filter, values })
    }

    /// The filter with every value filled in.
    pub fn render(&self, scope: &dyn Scope) -> Result<Filter, Undecided> {
        let mut values = self.values.iter();
        let filled = self.filter.try_map_values(&mut |path, value| match values.next() {
            Some(document) => document.render_value(scope).map_err(|e| e.under(path)),
            None => Ok(value.clone()),
        })?;
        filled.check_operands().map_err(|error| Undecided::Filter(error.to_string()))?;
        Ok(filled)
    }

    /// Whether it holds of `subject`, whose parts its fields name.
    pub fn holds_of(&self, subject: &Value, scope: &dyn Scope, now: Timestamp) -> Result<bool, Undecided> {
        let decided = self.render(scope)?.evaluate_on(subject, now);
        decided.map_err(|error| Undecided::Filter(error.to_string()))
    }
}

/// See [`Condition::first_text`].
fn first_text(filter: &Filter, values: &[Document]) -> Option<(String, String)> {
    let mut values = values.iter();
    let filled = filter.try_map_values(&mut |_, _| values.next().and_then(Document::as_literal).ok_or(()));
    let filled = filled.ok().filter(|filled| filled.check_operands().is_ok())?;
    let mut first = &filled;
    while let Filter::All(filters) = first {
        first = filters.first()?;
    }
    let Filter::Condition(condition) = first else { return None };
    let test = condition.tests.first().filter(|test| test.operand == Operand::Is)?;
    match (&condition.subject, &test.value) {
        (Subject::Field(part), Value::String(text)) => Some((part.clone(), text.clone())),
        _ => None,
    }
}

impl Condition {
    /// A part of the subject of [`Condition::holds_of`], and the text that it must be: where that is asked first, and
    /// nothing that could go wrong comes before it. So whoever asks a thousand conditions of one subject need not ask
    /// those that want another text there, or a text where there is nothing.
    pub fn first_text(&self) -> Option<(&str, &str)> {
        match self {
            Condition::Filter(plan) => plan.first_text.as_ref().map(|(part, text)| (&**part, &**text)),
            Condition::Expression(_) => None,
        }
    }

    pub fn compile(condition: &Value) -> Result<Condition, String> {
        Self::compile_for(condition, Allowed::VALUES)
    }

    /// One that may name parts of a subject as fields, to be asked by [`Condition::holds_of`].
    pub fn compile_for(condition: &Value, allowed: Allowed) -> Result<Condition, String> {
        match condition {
            Value::String(text) => {
                let template = Template::compile(text, Mode::Value).map_err(|error| error.to_string())?;
                if template.references().is_empty() && template.literal().is_some() {
                    return Err("a condition is a filter, or one expression: `\"{{ … }}\"`".to_owned());
                }
                Ok(Condition::Expression(template))
            }
            other => FilterPlan::compile(other, allowed).map(Condition::Filter),
        }
    }

    /// Whether it holds of `subject`, whose parts its fields name.
    pub fn holds_of(&self, subject: &Value, scope: &dyn Scope) -> Result<bool, Undecided> {
        match self {
            Condition::Filter(plan) => plan.holds_of(subject, scope, scope.now()),
            Condition::Expression(_) => self.holds(scope),
        }
    }

    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, Undecided> {
        match self {
            Condition::Filter(plan) => {
                let decided = plan.render(scope)?.evaluate(&|_| None, scope.now());
                decided.map_err(|error| Undecided::Filter(error.to_string()))
            }
            Condition::Expression(template) => match template.render(scope)?.value {
                Value::Bool(holds) => Ok(holds),
                other => Err(Undecided::Filter(format!(
                    "the condition gives {}, which is neither true nor false; compare it with something",
                    shortened(&other)
                ))),
            },
        }
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_that_is_asked_first_is_known() {
        let first = |when: Value| {
            let condition = Condition::compile_for(&when, Allowed::BOTH).unwrap();
            condition.first_text().map(|(part, text)| format!("{part}={text}"))
        };
        let won = || json!({ "field": "after.stage", "is": "WON" });
        let open = || json!({ "field": "before.stage", "is_not": "WON" });
        assert_eq!(first(won()), Some("after.stage=WON".into()));
        assert_eq!(first(json!([won(), open()])), Some("after.stage=WON".into()));
        assert_eq!(first(json!({ "all": [{ "all": [won()] }, open()] })), Some("after.stage=WON".into()));
        // Another is asked first, and might go wrong.
        assert_eq!(first(json!([open(), won()])), None);
        // A template is filled in before anything is asked.
        assert_eq!(first(json!([won(), { "value": "{{ trigger.x }}", "is": 1 }])), None);
        assert_eq!(first(json!({ "field": "after.stage", "is": "{{ trigger.x }}" })), None);
        assert_eq!(first(json!({ "any": [won(), open()] })), None);
        assert_eq!(first(json!({ "not": won() })), None);
        assert_eq!(first(json!({ "field": "after.score", "is": 1 })), None);
        assert_eq!(first(json!("{{ trigger.after.stage == 'WON' }}")), None);
    }
}
