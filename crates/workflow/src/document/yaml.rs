//! From text to a tree: YAML 1.2, or JSON when the first character is `{` or `[`.
//!
//! Built on the parser below serde-saphyr rather than on its serde side, because a tree with places lets all
//! problems be told at once and still point at the right character.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::scalar;
use super::source::Source;
use super::tree::{Data, Entry, Node, Style};
pub use crate::depth::MAX_DEPTH;
use crate::problem::Problem;

/// A larger document is not read. Its text and the steps made of it, which are stored together, have room for no more
/// either: a value of the store's has 512 KiB, and the rest is for what stands around them.
pub const MAX_BYTES: usize = 500 << 10;
/// Values in a document, what aliases repeat included.
pub const MAX_VALUES: usize = 100_000;
/// More problems than this help nobody: reading ends.
pub const MAX_PROBLEMS: usize = 100;
/// A template that is longer is not written out once more to say that it needs quotes.
const SHOWN: usize = 200;

/// Reads a text into a tree. Without a tree there is at least one problem.
pub fn parse(source: &Source<'_>) -> (Option<Node>, Vec<Problem>) {
    let text = source.text();
    if text.len() > MAX_BYTES {
        let message = format!("the document has {} bytes; at most {MAX_BYTES} are read", text.len());
        return (None, vec![Problem::at(source, 0, 0, "too_large", message)]);
    }
    let content = text.trim_start_matches('\u{feff}').trim_start();
    if content.starts_with(['{', '['])
        && !content.starts_with("{{")
        && let Some(problem) = json_error(source)
    {
        return (None, vec![problem]);
    }
    let options = granit_parser::options! {
        emit_comments: false,
        // JSON has no limit on keys; the document's size bounds this already.
        simple_key_max_lookahead: MAX_BYTES,
        flow_nesting_limit: MAX_DEPTH * 2,
        block_nesting_limit: MAX_DEPTH * 2,
    };
    let mut builder = Builder {
        source,
        parser: Parser::new_from_str_with_options(text, options),
        problems: Vec::new(),
        anchors: HashMap::new(),
        built: Size::default(),
        kept: Size::default(),
    };
    let tree = builder.document().unwrap_or_default();
    // One place can be wrong in two ways, so it may be one more.
    builder.problems.truncate(MAX_PROBLEMS);
    (tree, builder.problems)
}

/// What strict JSON says against the text; the YAML parser would let comments and trailing commas pass.
fn json_error(source: &Source<'_>) -> Option<Problem> {
    let text = source.text().trim_start_matches('\u{feff}');
    let skipped = source.text().len() - text.len();
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let mut at = source.offset(error.line(), error.column());
    if error.line() == 1 {
        at += skipped;
    }
    let full = error.to_string();
    let what = full.split(" at line ").next().unwrap_or(&full);
    let (code, message) = if what.contains("recursion limit") {
        ("too_deep", too_deep())
    } else {
        ("syntax", format!("this is no JSON: {what}"))
    };
    let problem = Problem::at(source, at, at + 1, code, message);
    Some(if code == "syntax" {
        problem
            .hint("a document that starts with `{` is read as JSON; YAML starts with a key, such as `name:`")
    } else {
        problem
    })
}

fn too_deep() -> String {
    format!("lists and maps are nested more than {MAX_DEPTH} deep")
}

/// Reading cannot go on; why is among the problems.
struct Stop;

/// How much something is once all of it is in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: usize,
    /// Of texts, numbers and keys.
    bytes: usize,
}

impl Size {
    fn value(bytes: usize) -> Size {
        Size { values: 1, bytes }
    }

    fn add(&mut self, more: Size) {
        self.values = self.values.saturating_add(more.values);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// What stands in the way of building so much.
    fn too_much(self) -> Option<String> {
        if self.values > MAX_VALUES {
            Some(format!("over {MAX_VALUES} values"))
        } else if self.bytes > MAX_BYTES {
            Some(format!("over {MAX_BYTES} bytes of text"))
        } else {
            None
        }
    }
}

struct Builder<'s, 't> {
    source: &'s Source<'t>,
    parser: Parser<'t, StrInput<'t>>,
    problems: Vec<Problem>,
    /// What an anchor names, and how much that is.
    anchors: HashMap<usize, (Node, Size)>,
    /// Of the tree so far, what aliases repeat included.
    built: Size,
    /// Of the copies that are kept for aliases: anchors inside each other keep the same values again and again.
    kept: Size,
}

impl<'s, 't> Builder<'s, 't> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut tree = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(..) if tree.is_none() => {
                    let Some((event, span)) = self.next()? else { break };
                    tree = Some(self.node(event, span, 0)?);
                }
                Event::DocumentStart(..) => {
                    let (from, to) = self.bytes(&span);
                    self.tell(from, to.max(from + 3), "several_documents", "a second document starts here")
                        .set_hint("a file holds one workflow; put the other into a file of its own");
                    return Ok(tree);
                }
                _ => {}
            }
        }
        let empty = tree.as_ref().is_none_or(|node: &Node| node.data == Data::Null);
        if empty && self.problems.is_empty() {
            self.tell(0, 0, "empty", "the document is empty")
                .set_hint("a workflow has `name`, `trigger` and `steps`");
            return Ok(None);
        }
        Ok(tree)
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                self.scan_error(&error);
                Err(Stop)
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Stop> {
        let (from, to) = self.bytes(&span);
        let own = match &event {
            Event::Scalar(text, ..) => text.len(),
            _ => 0,
        };
        self.count(Size::value(own), from)?;
        if depth > MAX_DEPTH {
            self.tell(from, from + 1, "too_deep", too_deep());
            return Err(Stop);
        }
        let before = self.built;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                (self.scalar(&text, style, from, to), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                (self.list(from, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                (self.map(from, depth)?, anchor)
            }
            Event::Alias(id) => {
                // An anchor that is still open (a value inside itself) is not known yet.
                let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
                    self.tell(from, to, "alias_limit", "an alias to the value it stands in never ends");
                    return Err(Stop);
                };
                // Counted before it is copied: this is what bounds documents of a few lines with billions of values, or
                // with one long text many times over.
                self.repeat(size, from)?;
                return match self.anchors.get(&id) {
                    Some((node, _)) => Ok(node.clone()),
                    None => Err(Stop),
                };
            }
            _ => {
                self.tell(from, to, "syntax", "a value is missing here");
                return Err(Stop);
            }
        };
        if anchor > 0 {
            let size = Size {
                values: self.built.values - before.values + 1,
                bytes: self.built.bytes - before.bytes + own,
            };
            self.keep(anchor, &node, size)?;
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, from: usize, to: usize) -> Node {
        let (data, style) = match style {
            ScalarStyle::Plain => match scalar::resolve(text) {
                Ok(data) => (data, Style::Plain),
                Err((message, hint)) => {
                    self.tell(from, to, "number", message).set_hint(hint);
                    (Data::Broken, Style::Plain)
                }
            },
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                (Data::Text(text.to_owned()), Style::Quoted)
            }
            ScalarStyle::Literal | ScalarStyle::Folded => (Data::Text(text.to_owned()), Style::Block),
        };
        Node { data, from, to, style }
    }

    fn list(&mut self, from: usize, depth: usize) -> Result<Node, Stop> {
        let mut items = Vec::new();
        let mut end = from;
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                end = self.bytes(&span).1;
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Ok(Node { to: end.max(from + 1), data: Data::List(items), from, style: Style::Plain })
    }

    fn map(&mut self, from: usize, depth: usize) -> Result<Node, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        // Where each key stands first.
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut broken = false;
        let mut end = from;
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                end = self.bytes(&span).1;
                break;
            }
            let (key_from, key_to) = self.bytes(&span);
            let key = match event {
                Event::Scalar(text, style, anchor, tag) => {
                    self.count(Size::value(text.len()), key_from)?;
                    self.refuse_tag(tag.is_some(), &span);
                    if anchor > 0 {
                        let node = self.scalar(&text, style, key_from, key_to);
                        self.keep(anchor, &node, Size::value(text.len()))?;
                    }
                    if style == ScalarStyle::Plain && text == "<<" {
                        self.tell(key_from, key_to, "merge_key", "`<<` is not part of YAML 1.2").set_hint(
                            "write the keys out, or use an alias for a whole value: `retry: *often`",
                        );
                        broken = true;
                        None
                    } else {
                        Some(text.into_owned())
                    }
                }
                other => {
                    // The problem is told once, for the outermost map, when the whole of it is known.
                    self.node(other, span, depth + 1)?;
                    if !self.source.slice(from, from + 2).starts_with("{{") {
                        self.tell(
                            key_from,
                            key_from + 1,
                            "complex_key",
                            "a key must be text, not a list, a map or an alias",
                        );
                    }
                    broken = true;
                    None
                }
            };
            let Some((event, span)) = self.next()? else { break };
            let value = self.node(event, span, depth + 1)?;
            let Some(key) = key else { continue };
            match seen.entry(key.clone()) {
                Place::Vacant(place) => {
                    place.insert(key_from);
                    entries.push(Entry { key, from: key_from, to: key_to, value });
                }
                Place::Occupied(first) => {
                    let (line, _) = self.source.line_and_column(*first.get());
                    let message = format!("`{key}` is already given in line {line}");
                    self.tell(key_from, key_to, "duplicate_key", message).set_hint("keep one of them");
                }
            }
        }
        let mut node = Node { to: end.max(from + 1), data: Data::Map(entries), from, style: Style::Plain };
        if self.source.slice(from, from + 2) == "{{" {
            self.unquoted_template(from);
            node.data = Data::Broken;
        } else if broken && matches!(&node.data, Data::Map(entries) if entries.is_empty()) {
            node.data = Data::Broken;
        }
        Ok(node)
    }

    /// `key: {{ x }}`: YAML reads a map whose key is a map, and never anything useful.
    fn unquoted_template(&mut self, from: usize) {
        let (line, _) = self.source.line_and_column(from);
        let rest = self.source.slice(from, self.source.line_end(line));
        let end = rest.rfind("}}").map_or(rest.len(), |at| at + 2);
        let template = &rest[..end];
        let hint = if template.len() > SHOWN {
            "put the whole value into quotes".to_owned()
        } else if template.contains('"') {
            format!("write '{template}'")
        } else {
            format!("write \"{template}\"")
        };
        self.tell(
            from,
            from + end,
            "unquoted_template",
            "a template must stand in quotes, or YAML reads it as a map",
        )
        .set_hint(hint);
    }

    /// Adds a value to what was built; ends the reading when that is too much, or enough is wrong already.
    fn count(&mut self, more: Size, at: usize) -> Result<(), Stop> {
        self.built.add(more);
        if let Some(what) = self.built.too_much() {
            self.tell(at, at + 1, "too_large", format!("the document has {what}"));
            return Err(Stop);
        }
        if self.problems.len() >= MAX_PROBLEMS { Err(Stop) } else { Ok(()) }
    }

    /// Adds what an alias repeats.
    fn repeat(&mut self, more: Size, at: usize) -> Result<(), Stop> {
        self.built.add(more);
        let Some(what) = self.built.too_much() else { return Ok(()) };
        let message = format!("aliases repeat so much that the document has {what}");
        self.tell(at, at + 1, "alias_limit", message);
        Err(Stop)
    }

    /// Keeps what an anchor names.
    fn keep(&mut self, anchor: usize, node: &Node, size: Size) -> Result<(), Stop> {
        self.kept.add(size);
        if let Some(what) = self.kept.too_much() {
            let message = format!("anchors stand inside each other so much that they name {what}");
            self.tell(node.from, node.from + 1, "alias_limit", message);
            return Err(Stop);
        }
        self.anchors.insert(anchor, (node.clone(), size));
        Ok(())
    }

    fn refuse_tag(&mut self, has_tag: bool, span: &Span) {
        if !has_tag {
            return;
        }
        let (from, to) = match span.tag_span() {
            Some(tag) => self.bytes(&tag),
            None => self.bytes(span),
        };
        let written = self.source.slice(from, to).to_owned();
        self.tell(from, to, "tag", format!("tags such as `{written}` are not used here"))
            .set_hint("quote a value to make it text");
    }

    fn scan_error(&mut self, error: &ScanError) {
        let at = error
            .marker()
            .byte_offset()
            .unwrap_or_else(|| self.source.offset(error.marker().line(), error.marker().col() + 1));
        let (line, _) = self.source.line_and_column(at);
        let line_start = self.source.offset(line, 1);
        let before = self.source.slice(line_start, self.source.line_end(line));
        if let Some(start) = unquoted_start(before) {
            self.unquoted_template(line_start + start);
            return;
        }
        let tab = before.find('\t').filter(|at| before[..*at].trim().is_empty());
        if let Some(tab) = tab {
            let at = line_start + tab;
            self.tell(at, at + 1, "syntax", "a tab: YAML is indented with spaces only")
                .set_hint("replace the tab by spaces");
            return;
        }
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            self.tell(at, at + 1, "too_deep", too_deep());
            return;
        }
        let (message, hint) = explain(error.kind());
        let problem = self.tell(at, at + 1, "syntax", format!("this is no YAML: {message}"));
        problem.hint = hint.map(str::to_owned);
    }

    fn bytes(&self, span: &Span) -> (usize, usize) {
        let byte = |marker: &granit_parser::Marker| {
            marker.byte_offset().unwrap_or_else(|| self.source.offset(marker.line(), marker.col() + 1))
        };
        (byte(&span.start), byte(&span.end))
    }

    fn tell(
        &mut self,
        from: usize,
        to: usize,
        code: &'static str,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.problems.push(Problem::at(self.source, from, to, code, message));
        // Just pushed.
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }
}

/// Where in a line a template starts that stands directly after `key:` or `-`.
fn unquoted_start(line: &str) -> Option<usize> {
    line.match_indices("{{").map(|(at, _)| at).find(|at| {
        let before = line[..*at].trim_end();
        before.ends_with(':') || before.ends_with('-') || before.ends_with(',') || before.ends_with('[')
    })
}

/// The parser's reasons in words for people who do not know YAML's grammar.
fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let hint = match kind {
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            Some("a text with `: ` inside must be quoted; a key needs the same indentation as its siblings")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey | ErrorKind::ExpectedBlockMappingKey => {
            Some("each line of a map is `key: value`, with the same indentation as its siblings")
        }
        ErrorKind::UnclosedQuotedScalar => Some("a quote that was opened is never closed"),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => {
            Some("check the brackets and commas; a text with `,`, `[`, `{` or `: ` inside must be quoted")
        }
        ErrorKind::UnexpectedCharacter { character: '@' | '`' | '%' } => {
            Some("a text that starts with this character must be quoted")
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            Some("in double quotes `\\` starts an escape; write `\\\\`, or use single quotes")
        }
        ErrorKind::UnknownAnchor => Some("an alias `*name` needs an anchor `&name` before it"),
        ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::InvalidIndentation => {
            Some("check the indentation: items of one list start in the same column")
        }
        _ => None,
    };
    (kind.to_string(), hint)
}
