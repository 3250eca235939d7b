//! The sentences for values that are not there.

use std::borrow::Cow;

use serde_json::Value;
use stepwell_records::nearest;

use super::ast::Segment;
use super::json::kind;

/// How many names a message lists.
const SHOWN: usize = 12;

/// How many names are looked at for the one that was meant, and how long they may be.
const COMPARED: usize = 200;
const LONGEST: usize = 60;

/// `normalize has email, firstName; no `emial``: `path` cannot be followed past segment `at` from `value`.
pub(super) fn explain(root: &str, value: &Value, path: &[Segment], at: usize) -> String {
    let before = &path[..at.min(path.len())];
    let holder = super::follow::walk(value, before).unwrap_or(value);
    let name = shown_path(root, before);
    let name = if name.is_empty() { "it".to_owned() } else { format!("`{name}`") };
    let Some(wanted) = path.get(at) else { return format!("{name} is not there") };
    match (holder, wanted) {
        (Value::Object(fields), Segment::Key(key)) if fields.is_empty() => {
            format!("{name} is an empty object; no `{}`", cut(key))
        }
        (Value::Object(fields), Segment::Key(key)) => {
            let near = near(key, fields.keys().map(String::as_str));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            format!("{name} has {}; no `{}`{near}", list(fields.keys().map(String::as_str)), cut(key))
        }
        (Value::Array(items), Segment::Index(index)) => match items.len() {
            0 => format!("{name} is an empty list; no [{index}]"),
            1 => format!("{name} has 1 item; no [{index}]"),
            n => format!("{name} has {n} items; no [{index}]"),
        },
        (Value::Array(_), Segment::Key(key)) => {
            format!("{name} is a list; no `{}` (an item is `[0]`, or `| first`)", cut(key))
        }
        (holder, wanted) => format!("{name} is {}; it has no {}", kind(holder), shown(wanted)),
    }
}

/// A root name that there is not.
pub(super) fn unknown(name: &str, names: &[String]) -> String {
    let near = near(name, names.iter().map(String::as_str));
    let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
    match names.is_empty() {
        true => format!("there is no `{name}` here"),
        false => format!("there is no `{name}` here, but {}{near}", list(names.iter().map(String::as_str))),
    }
}

fn list<'n>(mut names: impl Iterator<Item = &'n str>) -> String {
    let shown: Vec<Cow<'_, str>> = names.by_ref().take(SHOWN).map(cut).collect();
    let mut text = shown.join(", ");
    match names.count() {
        0 => {}
        more => text.push_str(&format!(" and {more} more")),
    }
    text
}

/// The name that was meant, among those that somebody could have meant: data may have any number of any length.
fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let names = names.filter(|name| name.len() <= LONGEST).take(COMPARED);
    if name.len() <= LONGEST { nearest(name, names) } else { None }
}

/// A name as a message has it.
pub(super) fn cut(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

fn shown(segment: &Segment) -> String {
    match segment {
        Segment::Key(key) => format!("`{}`", cut(key)),
        Segment::Index(index) => format!("[{index}]"),
    }
}

/// A path as people write it.
pub(super) fn shown_path(root: &str, segments: &[Segment]) -> String {
    let mut path = root.to_owned();
    for segment in segments {
        match segment {
            Segment::Key(key) if path.is_empty() => path.push_str(key),
            Segment::Key(key) => {
                path.push('.');
                path.push_str(key);
            }
            Segment::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}
