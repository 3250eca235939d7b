//! What a template can see: values by root name.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::budget::Budget;

/// Where templates get their values.
pub trait Scope {
    /// The value of a root name such as `trigger` or a step's id.
    fn get(&self, root: &str) -> Found;

    /// The names there are; for messages only.
    fn names(&self) -> Vec<String>;

    /// What `now()` gives: the run's clock, never the real one.
    fn now(&self) -> Timestamp;

    /// What all templates over this scope may use up together; each rendering has its own when there is none.
    fn budget(&self) -> Option<&Budget> {
        None
    }
}

/// What a root name stands for.
#[derive(Debug, Clone)]
pub enum Found {
    Value(Arc<Value>),
    /// A step without output: every attribute of it is undefined, and used bare it is an error that says why
    /// (`was skipped`).
    Nothing(String),
    /// No such name.
    Unknown,
}

/// A scope of plain values.
#[derive(Debug, Clone, Default)]
pub struct Values {
    pub values: BTreeMap<String, Arc<Value>>,
    pub now: Timestamp,
}

impl Values {
    pub fn new(values: impl IntoIterator<Item = (&'static str, Value)>) -> Values {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), Arc::new(value))).collect();
        Values { values, now: Timestamp::UNIX_EPOCH }
    }
}

impl Scope for Values {
    fn get(&self, root: &str) -> Found {
        self.values.get(root).map_or(Found::Unknown, |value| Found::Value(value.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
