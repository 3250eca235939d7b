//! How large values are as JSON: counted, or estimated where a count would cost too much.

use std::io;

use serde::Serialize;
use serde_json::Value;

/// The bytes that it has as JSON without blanks; the text itself is not made.
pub fn json_bytes(value: &(impl Serialize + ?Sized)) -> usize {
    let mut counter = Counter(0);
    // Counting cannot fail. What is no JSON, a map with keys that are no text, has no size.
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => 0,
    }
}

/// About as many bytes as a value has as JSON: numbers are not spelled, and nothing is escaped.
pub(crate) fn about_json_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 10,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => 2 + items.iter().map(about_json_bytes).sum::<usize>(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| name.len() + 4 + about_json_bytes(value));
            2 + members.sum::<usize>()
        }
    }
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::json_bytes;

    #[test]
    fn what_is_counted_is_what_is_written() {
        let values = [
            json!(null),
            json!({}),
            json!([1, -2.5e300, "a\n\u{1}\"é"]),
            json!({ "a b": [true, { "": 0 }] }),
        ];
        for value in values {
            assert_eq!(json_bytes(&value), value.to_string().len(), "{value}");
        }
        assert_eq!(json_bytes("text"), 6);
    }
}
