//! How deep a value may nest.

use serde_json::Value;

/// Lists and objects inside each other in one value. JSON is read back to 127 levels, and a value lies under some of a
/// record's, an event's and an answer's own.
pub const MAX_DEPTH: usize = 64;

/// Whether `value` nests deeper than `levels`. It looks no deeper than that.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |item: &Value| levels == 0 || is_deeper(item, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(inner),
        Value::Object(object) => levels == 0 || object.values().any(inner),
        _ => false,
    }
}
