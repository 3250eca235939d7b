//! The operands: their names, and the shape of value that each takes.

use serde_json::Value;

use super::relative::{self, When};
use crate::nearest::nearest;

macro_rules! operands {
    ($($variant:ident $name:literal,)*) => {
        /// What is asked of a condition's subject.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operand { $($variant,)* }

        impl Operand {
            pub const ALL: &'static [Operand] = &[$(Operand::$variant,)*];

            /// The key it is written as.
            pub fn name(self) -> &'static str {
                match self { $(Operand::$variant => $name,)* }
            }
        }
    };
}

operands! {
    Is "is",
    IsNot "is_not",
    In "in",
    NotIn "not_in",
    Contains "contains",
    NotContains "not_contains",
    ContainsAny "contains_any",
    ContainsAll "contains_all",
    StartsWith "starts_with",
    EndsWith "ends_with",
    LessThan "less_than",
    LessOrEqual "less_or_equal",
    GreaterThan "greater_than",
    GreaterOrEqual "greater_or_equal",
    Before "before",
    After "after",
    On "on",
    OnOrBefore "on_or_before",
    OnOrAfter "on_or_after",
    Within "within",
    IsEmpty "is_empty",
}

/// Values in one list: each may be held against every record that is looked at.
const MAX_ITEMS: usize = 1_000;
/// The length of a text that is looked for or ordered by, for the same reason. Any text can be asked for as a whole.
const MAX_TEXT_BYTES: usize = 4_096;

/// A value of the wrong shape: what is wrong, and what would be right.
pub(super) type Misfit = (String, Option<String>);

impl Operand {
    pub fn parse(name: &str) -> Option<Operand> {
        Operand::ALL.iter().copied().find(|operand| operand.name() == name)
    }

    /// What somebody who wrote `name` probably meant.
    pub(super) fn suggestion(name: &str) -> String {
        let other_languages = match name {
            "=" | "==" | "eq" | "equals" | "equal" | "is_equal" | "is_true" | "is_false" => "`is`",
            "!=" | "<>" | "ne" | "neq" | "not" | "not_equals" | "isnt" => "`is_not`",
            "<" | "lt" => "`less_than`",
            "<=" | "lte" | "le" => "`less_or_equal`",
            ">" | "gt" => "`greater_than`",
            ">=" | "gte" | "ge" => "`greater_or_equal`",
            "like" | "ilike" | "includes" | "matches" | "regex" => "`contains`, `starts_with` or `ends_with`",
            "empty" | "is_null" | "null" => "`is_empty: true`",
            "exists" | "not_empty" | "is_not_empty" | "not_null" | "is_not_null" => "`is_empty: false`",
            _ => "",
        };
        if !other_languages.is_empty() {
            return format!("write {other_languages}");
        }
        match nearest(name, Operand::ALL.iter().map(|operand| operand.name())) {
            Some(known) => format!("did you mean `{known}`?"),
            None => {
                let names: Vec<_> = Operand::ALL.iter().map(|operand| operand.name()).collect();
                format!("operands are {}", names.join(", "))
            }
        }
    }

    /// Whether `value` is something this operand can be asked with.
    pub(super) fn check(self, value: &Value) -> Result<(), Misfit> {
        let name = self.name();
        let wrong = |expected: &str| Err((format!("`{name}` takes {expected}, not {}", shown(value)), None));
        if value.is_null() && self != Operand::IsEmpty {
            let message = format!("`{name}` has no value: null matches nothing");
            return Err((message, Some("to ask for an empty one, write `is_empty: true`".into())));
        }
        match self {
            Operand::Is | Operand::IsNot => Ok(()),
            Operand::In | Operand::NotIn | Operand::ContainsAny | Operand::ContainsAll => {
                let Value::Array(items) = value else {
                    return wrong("a list of values");
                };
                if items.iter().any(Value::is_null) {
                    return Err((format!("`{name}` has null among its values"), None));
                }
                if items.len() > MAX_ITEMS {
                    let message = format!("`{name}` takes at most {MAX_ITEMS} values, not {}", items.len());
                    return Err((message, Some("ask in several searches".into())));
                }
                if self == Operand::ContainsAll && items.is_empty() {
                    return Err(("`contains_all` of no values would match everything".into(), None));
                }
                Ok(())
            }
            Operand::Contains
            | Operand::NotContains
            | Operand::StartsWith
            | Operand::EndsWith
            | Operand::LessThan
            | Operand::LessOrEqual
            | Operand::GreaterThan
            | Operand::GreaterOrEqual
                if value.as_str().is_some_and(|text| text.len() > MAX_TEXT_BYTES) =>
            {
                let bytes = value.as_str().map_or(0, str::len);
                Err((
                    format!("`{name}` takes a text of at most {MAX_TEXT_BYTES} bytes, not of {bytes}"),
                    None,
                ))
            }
            Operand::Contains | Operand::NotContains => match value {
                Value::String(text) if text.is_empty() => Err(empty_text(name)),
                Value::Array(_) => Err((
                    format!("`{name}` takes one value, not a list"),
                    Some("write `contains_any` or `contains_all`".into()),
                )),
                Value::Object(_) => wrong("a text, a number or a boolean"),
                _ => Ok(()),
            },
            Operand::StartsWith | Operand::EndsWith => match value {
                Value::String(text) if text.is_empty() => Err(empty_text(name)),
                Value::String(_) => Ok(()),
                _ => wrong("a text"),
            },
            Operand::LessThan | Operand::LessOrEqual | Operand::GreaterThan | Operand::GreaterOrEqual => {
                match value {
                    Value::Number(_) | Value::String(_) => Ok(()),
                    _ => wrong("a number or a text"),
                }
            }
            Operand::Before | Operand::After | Operand::On | Operand::OnOrBefore | Operand::OnOrAfter => {
                match value {
                    Value::String(text) => match When::parse_or_named(text) {
                        Ok(_) => Ok(()),
                        Err(why) => Err((format!("`{name}`: {why}"), None)),
                    },
                    _ => wrong("a date or a date-time, such as \"2026-03-31\""),
                }
            }
            Operand::Within => relative::parse_period(value).map(|_| ()),
            Operand::IsEmpty if value.is_boolean() => Ok(()),
            Operand::IsEmpty => wrong("true or false"),
        }
    }
}

fn empty_text(name: &str) -> Misfit {
    (format!("`{name}` of an empty text would match everything"), None)
}

/// A value as messages show it: shortened, with its kind where that is the point.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => format!("the list {}", cut(&beginning(value))),
        Value::Object(_) => format!("the object {}", cut(&beginning(value))),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Number(number) => format!("the number {number}"),
        other => other.to_string(),
    }
}

/// The first bytes of a value's text. A large value is not written out for the sake of its beginning.
fn beginning(value: &Value) -> String {
    struct Head(Vec<u8>);
    impl std::io::Write for Head {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() > 4 * SHOWN {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.0.extend_from_slice(&bytes[..bytes.len().min(4 * SHOWN + 4)]);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut head = Head(Vec::new());
    // It ends early on purpose; what was written until then is what is wanted.
    let _ = serde_json::to_writer(&mut head, value);
    String::from_utf8_lossy(&head.0).trim_end_matches('\u{fffd}').to_owned()
}

/// Characters of a value that a message shows.
const SHOWN: usize = 40;

/// A text in quotes, cut after 40 characters.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_operand() {
        for operand in Operand::ALL {
            assert_eq!(Operand::parse(operand.name()), Some(*operand));
        }
        assert_eq!(Operand::parse("equals"), None);
    }
}
