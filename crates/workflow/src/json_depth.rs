//! How deep a JSON value is. Whatever is stored as JSON is read back by serde_json, which reads 127 levels and not one
//! more, so what a run keeps stays well below that.

use serde_json::Value;

/// Lists and objects inside each other, in every value that a document or a run holds. A value without parts has none.
pub const MAX_DEPTH: usize = 64;

/// How many lists and objects stand inside each other. Needs no stack: the value may be of any depth.
pub fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 0)];
    while let Some((value, outside)) = open.pop() {
        match value {
            Value::Array(items) => {
                deepest = deepest.max(outside + 1);
                open.extend(items.iter().filter(|item| has_parts(item)).map(|item| (item, outside + 1)));
            }
            Value::Object(fields) => {
                deepest = deepest.max(outside + 1);
                open.extend(
                    fields.values().filter(|value| has_parts(value)).map(|value| (value, outside + 1)),
                );
            }
            _ => {}
        }
    }
    deepest
}

/// The place where a value goes below [`MAX_DEPTH`], when it does: `a.b[0]…`, cut to what people read.
pub fn too_deep(value: &Value) -> Option<String> {
    if depth(value) <= MAX_DEPTH {
        return None;
    }
    // Down the first of the deepest ways.
    let mut path = String::new();
    let mut here = value;
    for _ in 0..SHOWN {
        let wanted = depth(here) - 1;
        let mut inside: Box<dyn Iterator<Item = (String, &Value)>> = match here {
            Value::Array(items) => {
                Box::new(items.iter().enumerate().map(|(i, item)| (format!("[{i}]"), item)))
            }
            Value::Object(fields) => Box::new(fields.iter().map(|(key, value)| (key.clone(), value))),
            _ => break,
        };
        let Some((part, next)) = inside.find(|(_, value)| depth(value) == wanted) else { break };
        if !path.is_empty() && !part.starts_with('[') {
            path.push('.');
        }
        path.extend(part.chars().take(40));
        here = next;
    }
    path.push('…');
    Some(path)
}

/// Levels of a path that a message shows.
const SHOWN: usize = 4;

fn has_parts(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_are_lists_and_objects() {
        assert_eq!([json!(1), json!([]), json!({"a": [1]})].map(|value| depth(&value)), [0, 1, 2]);
        assert_eq!(depth(&json!([[], [[1], {"a": {}}], 2])), 4);
    }

    #[test]
    fn a_value_of_any_depth_is_measured() {
        let mut value = json!(0);
        for level in 0..10_000 {
            value = match level % 2 {
                0 => Value::Array(vec![value]),
                _ => Value::Object([("a".to_owned(), value)].into_iter().collect()),
            };
        }
        assert_eq!(depth(&value), 10_000);
        assert_eq!(too_deep(&value).unwrap(), "a[0].a[0]…");
        // Dropping it would recurse, level by level.
        while let Some(inside) = match &mut value {
            Value::Array(items) => items.pop(),
            Value::Object(fields) => fields.remove("a"),
            _ => None,
        } {
            value = inside;
        }
    }

    #[test]
    fn sixty_four_levels_are_well() {
        let nested = |levels| (0..levels).fold(json!(0), |value, _| json!([value]));
        assert_eq!(too_deep(&nested(MAX_DEPTH)), None);
        assert_eq!(too_deep(&nested(MAX_DEPTH + 1)).unwrap(), "[0][0][0][0]…");
    }
}
