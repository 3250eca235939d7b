//! Values that a run keeps: whole inside the state, or by reference when they are large.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A JSON value of a run. A large one may be *stored* as a reference to a blob; in memory the value is
/// filled in before the machine runs ([`Payload::fill`]), so the machine itself never loads anything.
#[derive(Debug, Clone)]
pub struct Payload {
    value: Option<Arc<Value>>,
    /// Few values have one, and many are kept in each step: it stands apart.
    reference: Option<Box<BlobRef>>,
}

/// Where a large value is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// Of the value's bytes, in hex; the blob's name.
    pub sha256: String,
    pub size: u64,
}

/// How a payload is written: `{"value": …}` or `{"blob": …}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Value(Value),
    Blob(BlobRef),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum StoredRef<'a> {
    Value(&'a Value),
    Blob(&'a BlobRef),
}

impl Payload {
    pub fn new(value: Value) -> Payload {
        Payload { value: Some(Arc::new(value)), reference: None }
    }

    /// The value, unless it is stored elsewhere and was not filled in yet.
    pub fn value(&self) -> Option<&Arc<Value>> {
        self.value.as_ref()
    }

    /// The reference it is written as, when it is.
    pub fn reference(&self) -> Option<&BlobRef> {
        self.reference.as_deref()
    }

    /// From now on it is written as this reference; the value stays usable in memory.
    pub fn store_as(&mut self, reference: BlobRef) {
        self.reference = Some(Box::new(reference));
    }

    /// Puts in the value that the reference stands for.
    pub fn fill(&mut self, value: Arc<Value>) {
        self.value = Some(value);
    }

    /// The reference of a value that has to be filled in first.
    pub fn missing(&self) -> Option<&BlobRef> {
        match self.value {
            Some(_) => None,
            None => self.reference.as_deref(),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        match (&self.value, &other.value) {
            (Some(a), Some(b)) => a == b,
            _ => self.reference == other.reference,
        }
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::new(Value::Null)
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Payload {
        Payload::new(value)
    }
}

impl From<Arc<Value>> for Payload {
    fn from(value: Arc<Value>) -> Payload {
        Payload { value: Some(value), reference: None }
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (&self.reference, &self.value) {
            (Some(blob), _) => StoredRef::Blob(blob).serialize(to),
            (None, Some(value)) => StoredRef::Value(value).serialize(to),
            (None, None) => Err(serde::ser::Error::custom("a payload with neither value nor reference")),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Value(value) => Payload::new(value),
            Stored::Blob(reference) => Payload { value: None, reference: Some(Box::new(reference)) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_written_whole_or_by_reference() {
        let mut payload = Payload::new(json!({"a": 1}));
        assert_eq!(serde_json::to_value(&payload).unwrap(), json!({"value": {"a": 1}}));
        payload.store_as(BlobRef { sha256: "ab".into(), size: 7 });
        let written = serde_json::to_value(&payload).unwrap();
        assert_eq!(written, json!({"blob": {"sha256": "ab", "size": 7}}));
        let mut read: Payload = serde_json::from_value(written).unwrap();
        assert_eq!(read.missing().unwrap().size, 7);
        read.fill(Arc::new(json!({"a": 1})));
        assert_eq!(read, payload);
        assert!(read.missing().is_none());
    }
}
