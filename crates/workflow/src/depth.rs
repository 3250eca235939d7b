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

/// The place where a value goes below [`MAX_DEPTH`], when it does: `a.b[0]…`, cut to what people read.
pub fn place_too_deep(value: &Value) -> Option<String> {
    if !too_deep(value) {
        return None;
    }
    let mut path = String::new();
    let (mut here, mut levels) = (value, MAX_DEPTH);
    for _ in 0..SHOWN {
        levels -= 1;
        let deep = |inner: &&Value| deeper_than(inner, levels);
        let (part, next) = match here {
            Value::Array(list) => match list.iter().position(|inner| deep(&inner)) {
                Some(index) => (format!("[{index}]"), &list[index]),
                None => break,
            },
            Value::Object(map) => match map.iter().find(|(_, inner)| deep(inner)) {
                Some((key, inner)) => (key.chars().take(40).collect(), inner),
                None => break,
            },
            _ => break,
        };
        if !path.is_empty() && !part.starts_with('[') {
            path.push('.');
        }
        path.push_str(&part);
        here = next;
    }
    path.push('…');
    Some(path)
}

/// Levels of a path that a message shows.
const SHOWN: usize = 4;

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

    #[test]
    fn the_place_is_told() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(place_too_deep(&json!({"a": nested(MAX_DEPTH - 1)})), None);
        let deep = json!({"a": [1], "b": {"c": [nested(2), nested(MAX_DEPTH)]}});
        assert_eq!(place_too_deep(&deep).unwrap(), "b.c[1][0]…");
    }

    #[test]
    fn a_value_of_any_depth_is_looked_at() {
        let mut value = json!(0);
        for _ in 0..100_000 {
            value = Value::Array(vec![value]);
        }
        assert!(too_deep(&value));
        // Dropping it would recurse, level by level.
        while let Some(inner) = value.as_array_mut().and_then(Vec::pop) {
            value = inner;
        }
    }
}
