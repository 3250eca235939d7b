//! Conditions and record filters with templates inside, compiled once.

use jiff::Timestamp;
use serde_json::Value;
use stepwell_records::filter::{Allowed, Filter};

use crate::expr::{Document, ExprError, Mode, Scope, Template};

/// A filter whose values are templates.
#[derive(Debug)]
pub struct FilterPlan {
    filter: Filter,
    /// Of every value, in the order in which [`Filter::try_map_values`] comes by them.
    values: Vec<Document>,
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
            .map(|_| FilterPlan { filter, values })
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

impl Condition {
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
