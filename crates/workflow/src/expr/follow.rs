//! Paths through values.

use std::borrow::Cow;

use serde_json::Value;

use super::ast::Segment;

/// Follows a path; an error gives the number of the segment that is not there.
pub(super) fn walk<'v>(mut value: &'v Value, segments: &[Segment]) -> Result<&'v Value, usize> {
    for (at, segment) in segments.iter().enumerate() {
        value = step(value, segment).ok_or(at)?;
    }
    Ok(value)
}

/// As [`walk`]; the last segment may also be a character of a text.
pub(super) fn follow<'v>(value: &'v Value, segments: &[Segment]) -> Result<Cow<'v, Value>, usize> {
    walk(value, segments).map(Cow::Borrowed).or_else(|at| {
        let holder = walk(value, &segments[..at])?;
        match (holder, &segments[at..]) {
            (Value::String(text), [Segment::Index(index)]) => {
                let found = position(*index, text.chars().count()).and_then(|n| text.chars().nth(n));
                found.map(|c| Cow::Owned(Value::String(c.to_string()))).ok_or(at)
            }
            _ => Err(at),
        }
    })
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match (value, segment) {
        (Value::Object(fields), Segment::Key(key)) => fields.get(key),
        (Value::Array(items), Segment::Index(index)) => items.get(position(*index, items.len())?),
        _ => None,
    }
}

fn position(index: i64, len: usize) -> Option<usize> {
    let size = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { len.checked_sub(size) } else { Some(size) }
}
