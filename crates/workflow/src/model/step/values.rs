//! Values by name, and the steps that name and keep them: `set` and `set_state`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Template;

/// Values by name; strings inside may be templates.
pub type Fields = Map<String, Value>;

/// Values by name, each written down, or one template that gives them all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    Each(Fields),
    Whole(Template),
}

impl Given {
    /// The values, where they are written down.
    pub fn each(&self) -> Option<&Fields> {
        match self {
            Given::Each(fields) => Some(fields),
            Given::Whole(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.each().is_some_and(Fields::is_empty)
    }

    pub fn to_value(&self) -> Value {
        match self {
            Given::Each(fields) => Value::Object(fields.clone()),
            Given::Whole(template) => Value::String(template.clone()),
        }
    }
}

impl Default for Given {
    fn default() -> Self {
        Given::Each(Fields::new())
    }
}

/// Output: the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Set {
    pub values: Given,
}

/// Keeps values for later runs of the workflow, which read them as `state.NAME`; null takes one away. Output: the
/// values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetState {
    pub values: Given,
}

impl SetState {
    /// How many names a workflow keeps.
    pub const MAX_NAMES: usize = 100;
    /// The largest value, as JSON.
    pub const MAX_VALUE: usize = 64 << 10;
    /// Of all together: a run that reads one is given all.
    pub const MAX_TOGETHER: usize = 256 << 10;

    /// Whether a value can be kept under this name.
    pub fn is_name(name: &str) -> bool {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(known)
    }
}
