//! A shape in words, for messages and the reference.

use super::form::Shape;
use super::tree::{Data, Node};
use crate::model::{ByteSize, Millis};

impl Shape {
    /// "a whole number from 1 to 100".
    pub fn describe(&self) -> String {
        match self {
            Shape::Prose | Shape::Text => "a text".into(),
            Shape::Template => "a text, with templates if you like".into(),
            Shape::Value => "any value".into(),
            Shape::Values => "a map of values".into(),
            Shape::ValuesOrTemplate => "a map of values, or a template that gives one".into(),
            Shape::Templates => "a map of texts".into(),
            Shape::Whole { min, max } => format!("a whole number {}", range(*min, *max)),
            Shape::Decimal { min, max } => format!("a number from {min} to {max}"),
            Shape::WholeOrTemplate { min, max } => {
                format!("a whole number {}, or a template that gives one", range(*min, *max))
            }
            Shape::Duration { max_ms } => format!("a duration, at most {}", Millis(*max_ms)),
            Shape::Size { max } => format!("a size, at most {}", ByteSize(*max)),
            Shape::Boolean => "true or false".into(),
            Shape::Choice(names) => either(&names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>()),
            Shape::Name => "a name of lower case letters, digits and `-`".into(),
            Shape::Id => "an id of lower case letters, digits and `_`".into(),
            Shape::Action => "an action, as `name`, `name@1` or `name@1.2.0`".into(),
            Shape::HookPath => "a path below `/hooks/{workspace}/`, such as `web-form`".into(),
            Shape::Condition => {
                "a condition: `{ value: \"{{ … }}\", greater_than: 0 }`, or a text that is one `{{ … }}`"
                    .into()
            }
            Shape::EventCondition => {
                "a filter: `{ field: after.…, is: … }`, or a text that is one `{{ … }}`".into()
            }
            Shape::RecordFilter => "a filter: `{ field: …, is: … }`".into(),
            Shape::ErrorFilter => "a filter: `{ field: code, is: … }`".into(),
            Shape::JsonSchema => "a JSON Schema".into(),
            Shape::Status => "an HTTP status: `404`, `2xx` or `200-204`".into(),
            Shape::Steps => "a list of steps".into(),
            Shape::List(item) => format!("a list, each item {}", item.describe()),
            Shape::OneOrMany(item) => format!("{}, or a list of them", item.describe()),
            Shape::Form(form) => format!("a map with {}", keys(form.fields)),
            Shape::OneKey(form) => format!("a map with one of {}", keys(form.fields)),
            Shape::Either(shapes) => either(&shapes.iter().map(Shape::describe).collect::<Vec<_>>()),
            Shape::Kinds { .. } => "a map with `type`".into(),
        }
    }

    /// Whether this kind of value is worth a closer look.
    pub(super) fn takes(&self, node: &Node) -> bool {
        match (self, &node.data) {
            (Shape::Value, _) | (_, Data::Broken) => true,
            (
                Shape::Values
                | Shape::ValuesOrTemplate
                | Shape::Templates
                | Shape::Form(_)
                | Shape::OneKey(_)
                | Shape::Kinds { .. },
                Data::Map(_),
            ) => true,
            (
                Shape::Condition | Shape::EventCondition | Shape::RecordFilter | Shape::ErrorFilter,
                Data::Map(_) | Data::List(_),
            ) => true,
            (Shape::Condition | Shape::EventCondition, Data::Text(_)) => true,
            (Shape::JsonSchema, Data::Map(_) | Data::Bool(_)) => true,
            (Shape::Steps | Shape::List(_), Data::List(_)) => true,
            (Shape::OneOrMany(_), Data::List(_)) => true,
            (Shape::OneOrMany(item), _) => item.takes(node),
            (Shape::Either(shapes), _) => shapes.iter().any(|shape| shape.takes(node)),
            (Shape::Whole { .. } | Shape::Decimal { .. }, Data::Number(_)) => true,
            (Shape::Boolean, Data::Bool(_)) => true,
            (Shape::WholeOrTemplate { .. }, Data::Number(_) | Data::Text(_)) => true,
            (Shape::ValuesOrTemplate, Data::Text(_)) => true,
            (Shape::Size { .. } | Shape::Status, Data::Number(_) | Data::Text(_)) => true,
            (
                Shape::Prose
                | Shape::Text
                | Shape::Template
                | Shape::Duration { .. }
                | Shape::Choice(_)
                | Shape::Name
                | Shape::Id
                | Shape::Action
                | Shape::HookPath,
                Data::Text(_),
            ) => true,
            _ => false,
        }
    }
}

fn range(min: u64, max: u64) -> String {
    if max >= i64::MAX as u64 { format!("from {min}") } else { format!("from {min} to {max}") }
}

fn keys(fields: &[super::form::Field]) -> String {
    let names: Vec<_> = fields.iter().map(|field| format!("`{}`", field.key)).collect();
    names.join(", ")
}

/// "a, b or c".
pub(crate) fn either(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
