//! A document as values that know where they stand.

use serde_json::{Map, Number, Value};

use super::path::{Path, Segment};
use super::source::Source;

/// How a text was written; it decides how an offset in the value becomes a place in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    /// `|` or `>`.
    Block,
}

/// A value and its bytes in the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub data: Data,
    pub from: usize,
    pub to: usize,
    pub style: Style,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Could not be read; the problem has been told.
    Broken,
}

/// A key and its value; keys are unique in a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub from: usize,
    pub to: usize,
    pub value: Node,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// What a person calls this kind of value.
    pub fn describe(&self) -> String {
        match &self.data {
            Data::Null => "nothing (null)".into(),
            Data::Bool(value) => format!("`{value}`"),
            Data::Number(number) => format!("the number {number}"),
            Data::Text(text) => format!("the text {}", quoted(text)),
            Data::List(_) => "a list".into(),
            Data::Map(_) => "a map".into(),
            Data::Broken => "something unreadable".into(),
        }
    }

    /// As plain JSON; what is broken becomes null.
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null | Data::Broken => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => items.iter().map(Node::to_json).collect(),
            Data::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Whether some part could not be read.
    pub fn is_broken(&self) -> bool {
        match &self.data {
            Data::Broken => true,
            Data::List(items) => items.iter().any(Node::is_broken),
            Data::Map(entries) => entries.iter().any(|entry| entry.value.is_broken()),
            _ => false,
        }
    }

    /// The value at a path, or the last one on the way to it; with the key it stands under.
    pub fn find(&self, path: &Path<'_>) -> (&Node, Option<&Entry>) {
        let mut node = self;
        let mut entry = None;
        for segment in &path.0 {
            match (segment, &node.data) {
                (Segment::Key(key), Data::Map(_)) => match node.get(key) {
                    Some(found) => {
                        entry = Some(found);
                        node = &found.value;
                    }
                    None => break,
                },
                (Segment::Index(index), Data::List(items)) => match items.get(*index) {
                    Some(item) => {
                        entry = None;
                        node = item;
                    }
                    None => break,
                },
                // One value where a list could be: the path's index is the value itself.
                (Segment::Index(0), _) => {}
                _ => break,
            }
        }
        (node, entry)
    }

    /// The place in the source of the byte `offset` of this node's text.
    pub fn place_inside(&self, source: &Source<'_>, offset: usize) -> usize {
        let Data::Text(text) = &self.data else {
            return self.from;
        };
        let written = source.slice(self.from, self.to);
        if let Some(start) = written.find(text.as_str()) {
            return self.from + start + offset;
        }
        // Escapes, folding or indentation: find the lines of the value one after the other as they were written.
        let mut searched = 0;
        let mut passed = 0;
        for line in text.split_inclusive('\n') {
            let content = line.trim();
            let lead = line.len() - line.trim_start().len();
            let found = written.get(searched..).and_then(|rest| rest.find(content)).map(|at| searched + at);
            if offset < passed + line.len() || passed + line.len() == text.len() {
                return match found {
                    Some(at) => self.from + at + (offset - passed).saturating_sub(lead),
                    None => self.from,
                };
            }
            if let Some(at) = found {
                searched = at + content.len();
            }
            passed += line.len();
        }
        self.from
    }
}

/// A text as messages show it: quoted, and cut when long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
