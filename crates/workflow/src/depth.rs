//! How deeply values may be nested. Whatever a run takes in is stored as JSON, and stored JSON is read back by a parser
//! that stops at 127 levels; so values are held to half of that where they come in, and the rest is room for the rows
//! around them.

use serde_json::Value;

/// The most levels of lists and maps that a value may have, one inside the other.
pub const MAX_DEPTH: usize = 64;

/// Whether a value is nested deeper than [`MAX_DEPTH`].
pub fn too_deep(value: &Value) -> bool {
    deeper_than(value, MAX_DEPTH)
}

/// Whether a value has more than `levels` levels; looks no deeper than that, so its own stack is bounded.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let within = |inner: &Value| levels > 0 && !deeper_than(inner, levels - 1);
    match value {
        Value::Array(list) => levels == 0 || !list.iter().all(within),
        Value::Object(map) => levels == 0 || !map.values().all(within),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_are_counted() {
        let nested = |levels: usize| {
            (0..levels).fold(json!(1), |inner, n| match n % 2 {
                0 => json!([inner]),
                _ => json!({ "a": inner }),
            })
        };
        for levels in [0, 1, MAX_DEPTH] {
            assert!(!too_deep(&nested(levels)), "{levels}");
        }
        for levels in [MAX_DEPTH + 1, 200] {
            assert!(too_deep(&nested(levels)), "{levels}");
        }
        assert!(too_deep(&json!([1, nested(MAX_DEPTH)])));
    }
}
