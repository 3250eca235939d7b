//! Rendered values in which secrets are still references.
//!
//! A secret never enters a value: where it belongs the text has a mark for people (`{{ secrets.NAME }}`), and
//! beside the text stands the list of places where one belongs. Only those places are ever filled in, so data
//! that happens to look like the mark stays data; and what is stored or shown is the value with its marks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A secret that belongs into a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretAt {
    pub name: String,
    /// Byte offset of the mark in the text.
    pub at: usize,
}

/// A rendered text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Text {
    pub text: String,
    /// In the order of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretAt>,
}

/// A rendered JSON value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Filled {
    pub value: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretsIn>,
}

/// The secrets of one text inside a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsIn {
    /// JSON Pointer of the text.
    pub pointer: String,
    pub secrets: Vec<SecretAt>,
}

/// A value cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevealError {
    #[error("there is no secret `{0}`")]
    Unknown(String),
    #[error("the place of secret `{0}` is not in the value")]
    Misplaced(String),
}

/// What people see where a secret belongs.
pub(crate) fn mark(name: &str) -> String {
    format!("{{{{ secrets.{name} }}}}")
}

fn reveal(
    text: &str,
    secrets: &[SecretAt],
    secret: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, RevealError> {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for place in secrets {
        let mark = mark(&place.name);
        let misplaced = || RevealError::Misplaced(place.name.clone());
        let before = text.get(done..place.at).ok_or_else(misplaced)?;
        if !text[place.at..].starts_with(&mark) {
            return Err(misplaced());
        }
        out.push_str(before);
        out.push_str(&secret(&place.name).ok_or_else(|| RevealError::Unknown(place.name.clone()))?);
        done = place.at + mark.len();
    }
    out.push_str(&text[done..]);
    Ok(out)
}

impl Text {
    /// The text with its secrets filled in. Only for sending: never store or log it.
    pub fn reveal(&self, mut secret: impl FnMut(&str) -> Option<String>) -> Result<String, RevealError> {
        reveal(&self.text, &self.secrets, &mut secret)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text { text, secrets: Vec::new() }
    }
}

impl Filled {
    /// The value with its secrets filled in. Only for sending: never store or log it.
    pub fn reveal(&self, mut secret: impl FnMut(&str) -> Option<String>) -> Result<Value, RevealError> {
        let mut value = self.value.clone();
        for within in &self.secrets {
            let place = value.pointer_mut(&within.pointer);
            let Some(Value::String(text)) = place else {
                let name = within.secrets.first().map_or("", |s| &s.name);
                return Err(RevealError::Misplaced(name.to_owned()));
            };
            *text = reveal(text, &within.secrets, &mut secret)?;
        }
        Ok(value)
    }

    /// Whether sending it needs a secret.
    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }
}

impl From<Value> for Filled {
    fn from(value: Value) -> Filled {
        Filled { value, secrets: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn known(name: &str) -> Option<String> {
        (name == "KEY").then(|| "s3cret".to_owned())
    }

    #[test]
    fn only_noted_places_are_filled_in() {
        let text = Text {
            text: "{{ secrets.KEY }} Bearer {{ secrets.KEY }}".into(),
            secrets: vec![SecretAt { name: "KEY".into(), at: 25 }],
        };
        assert_eq!(text.reveal(known).unwrap(), "{{ secrets.KEY }} Bearer s3cret");
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error() {
        let at = |name: &str, at| Text {
            text: "é {{ secrets.KEY }}".into(),
            secrets: vec![SecretAt { name: name.into(), at }],
        };
        assert_eq!(at("KEY", 3).reveal(known).unwrap(), "é s3cret");
        for wrong in [0, 1, 2, 4, 99] {
            assert_eq!(at("KEY", wrong).reveal(known), Err(RevealError::Misplaced("KEY".into())), "{wrong}");
        }
        let unknown = Text { text: mark("OTHER"), secrets: vec![SecretAt { name: "OTHER".into(), at: 0 }] };
        assert_eq!(unknown.reveal(known), Err(RevealError::Unknown("OTHER".into())));
    }

    #[test]
    fn secrets_inside_a_value_are_found_by_pointer() {
        let filled = Filled {
            value: json!({"a/b": ["x", mark("KEY")]}),
            secrets: vec![SecretsIn {
                pointer: "/a~1b/1".into(),
                secrets: vec![SecretAt { name: "KEY".into(), at: 0 }],
            }],
        };
        assert_eq!(filled.reveal(known).unwrap(), json!({"a/b": ["x", "s3cret"]}));
        let misplaced = Filled { value: json!(1), ..filled };
        assert!(misplaced.reveal(known).is_err());
    }
}
