//! How deeply values may be nested. Whatever a run takes in is stored as JSON, and stored JSON is read back by a parser
//! that stops at 127 levels; so values are held to half of that where they come in, and the rest is room for the rows
//! around them.

use serde_json::Value;
use stepwell_records::is_deeper;

pub use stepwell_records::MAX_DEPTH;

/// Whether a value is nested deeper than [`MAX_DEPTH`].
pub fn too_deep(value: &Value) -> bool {
    is_deeper(value, MAX_DEPTH)
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
        let deep = |inner: &&Value| is_deeper(inner, levels);
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

/// Where a text of JSON goes below [`MAX_DEPTH`], by its bytes: its parser stops elsewhere. Says nothing of a text that
/// is no JSON.
pub fn text_too_deep(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for (offset, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(offset);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Line and column, from 1, of a byte of a text.
pub fn place_of(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = offset - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) + 1;
    (line, column)
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
