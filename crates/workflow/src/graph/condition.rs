//! Conditions and record filters with templates inside, compiled once.

use jiff::Timestamp;
use serde_json::Value;
use stepwell_records::filter::{Allowed, Filter, Subject};

use crate::expr::{Document, ExprError, Mode, Scope, Template};
use crate::sieve::{Outcomes, Read, Region, Verdict, of_filter};

/// A filter whose values are templates.
#[derive(Debug)]
pub struct FilterPlan {
    filter: Filter,
    /// Of every value, in the order in which [`Filter::try_map_values`] comes by them.
    values: Vec<Document>,
    /// The filter as it is asked, where no value has to be filled in.
    filled: Option<Filter>,
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
            .try_map_values(&mut |place, value| {
                let document = Document::compile(value, Mode::Value);
                values.push(document.map_err(|e| e.under(&place.to_string()).to_string())?);
                Ok(Value::Null)
            })
            .map(|_| FilterPlan { filled: filled(&filter, &values), filter, values })
    }

    /// The filter with every value filled in.
    pub fn render(&self, scope: &dyn Scope) -> Result<Filter, Undecided> {
        let mut values = self.values.iter();
        let filled = self.filter.try_map_values(&mut |place, value| match values.next() {
            Some(document) => document.render_value(scope).map_err(|e| e.under(&place.to_string())),
            None => Ok(value.clone()),
        })?;
        filled.check_operands().map_err(|error| Undecided::Filter(error.to_string()))?;
        Ok(filled)
    }

    /// Whether it holds of `subject`, whose parts its fields name.
    pub fn holds_of(&self, subject: &Value, scope: &dyn Scope, now: Timestamp) -> Result<bool, Undecided> {
        let decided = match &self.filled {
            Some(filter) => filter.holds_on(subject, now),
            None => self.render(scope)?.holds_on(subject, now),
        };
        decided.map_err(|error| Undecided::Filter(error.to_string()))
    }

    fn outcomes(&self, root: &str) -> Outcomes {
        // Every value is filled in before anything is asked.
        let templates = self.values.iter().filter_map(Document::as_template);
        let reads: Option<Vec<Read>> = templates.map(|template| template.reads(root)).collect();
        let mut values = self.values.iter();
        let asked = self.filter.try_map_values(&mut |_, _| {
            let value = values.next().ok_or(())?;
            if value.as_template().is_some() { Ok(Value::Null) } else { value.as_literal().ok_or(()) }
        });
        let (Some(reads), Ok(asked)) = (reads, asked) else { return Outcomes::UNKNOWN };
        let mut subjects = 0;
        asked.visit_conditions(&mut |_, condition| {
            subjects += usize::from(matches!(condition.subject, Subject::Value(_)))
        });
        // Templates stand for subjects only: an operand that is one has null in its place here.
        if asked.check_operands().is_err() || subjects != reads.len() {
            return Outcomes::UNKNOWN;
        }
        let unfilled = reads.iter().fold(Region::NONE, |unfilled, read| unfilled.or(read.may_fail()));
        of_filter(&asked, &mut reads.into_iter()).with(Verdict::Error, &unfilled)
    }
}

/// The filter with its values, where they are no templates and it can be asked with them.
fn filled(filter: &Filter, values: &[Document]) -> Option<Filter> {
    let mut values = values.iter();
    let filled = filter.try_map_values(&mut |_, _| values.next().and_then(Document::as_literal).ok_or(()));
    filled.ok().filter(|filled| filled.check_operands().is_ok())
}

impl Condition {
    /// Of which subjects it matters to ask [`Condition::holds_of`]: of all others it does not hold, and can be
    /// answered. Its templates see the subject as `root`.
    pub fn matters(&self, root: &str) -> Region {
        match self {
            Condition::Filter(plan) => plan.outcomes(root),
            Condition::Expression(template) => template.outcomes(root),
        }
        .matters()
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
