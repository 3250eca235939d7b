//! The part of reading that looks at single values: numbers, durations, ids, filters, schemas.

use serde_json::{Value, json};
use stepwell_records::filter::{Allowed, Filter};
use stepwell_records::nearest;

use super::describe::either;
use super::form::Shape;
use super::path::Path;
use super::read::Reader;
use super::tree::{Data, Node, quoted};
use crate::json_schema::{self, Unfit};
use crate::model::{ActionRef, ByteSize, Millis, StatusRange};
use crate::problem::Problem;

/// The longest id or name.
pub const MAX_ID: usize = 64;

/// Ids that no step may have: they mean something else inside `{{ … }}`.
pub const RESERVED: &[&str] = &[
    "trigger",
    "item",
    "index",
    "state",
    "settings",
    "secrets",
    "run",
    "workflow",
    "steps",
    "error",
    "true",
    "false",
    "none",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "endfor",
    "loop",
    "self",
    "now",
    "range",
    "dict",
    "namespace",
];

impl<'n> Reader<'n, '_> {
    /// Values without parts of their own.
    pub(super) fn scalar(&mut self, node: &'n Node, shape: &Shape) -> Option<Value> {
        match (&node.data, shape) {
            (Data::Number(number), Shape::Whole { min, max } | Shape::WholeOrTemplate { min, max }) => {
                match number.as_u64().filter(|n| (*min..=*max).contains(n)) {
                    Some(n) => Some(json!(n)),
                    None => self.out_of_range(node, shape),
                }
            }
            (Data::Number(number), Shape::Decimal { min, max }) => {
                let fits = number.as_f64().is_some_and(|n| (*min..=*max).contains(&n));
                if fits { Some(node.to_json()) } else { self.out_of_range(node, shape) }
            }
            (Data::Number(number), Shape::Size { max }) => match number.as_u64().filter(|n| n <= max) {
                Some(n) => Some(json!(n)),
                None => self.out_of_range(node, shape),
            },
            (Data::Bool(yes), Shape::Boolean) => Some(json!(yes)),
            (Data::Number(_), Shape::Status) => self.status(node),
            (Data::Text(text), _) => self.text(node, text, shape),
            _ => None,
        }
    }

    fn out_of_range(&mut self, node: &Node, shape: &Shape) -> Option<Value> {
        let message = format!("{} takes {}, not {}", self.label(), shape.describe(), node.describe());
        self.refuse(node, "invalid_value", message)
    }

    fn text(&mut self, node: &'n Node, text: &str, shape: &Shape) -> Option<Value> {
        if matches!(shape, Shape::Prose | Shape::Template) {
            return Some(json!(text));
        }
        if matches!(shape, Shape::WholeOrTemplate { .. } | Shape::ValuesOrTemplate) {
            return self.one_template(node, text, shape);
        }
        if text.contains("{{") {
            let message =
                format!("{} cannot be a template: it must be known before a run starts", self.label());
            return self.refuse(node, "template_not_allowed", message);
        }
        match shape {
            Shape::Text if text.trim().is_empty() => {
                let message = format!("{} is empty", self.label());
                self.refuse(node, "invalid_value", message)
            }
            Shape::Text => Some(json!(text)),
            Shape::Duration { max_ms } => self.duration(node, text, *max_ms),
            Shape::Size { max } => self.size(node, text, *max),
            Shape::Choice(names) => self.choice(node, text, names),
            Shape::Name => self.name(node, text),
            Shape::Id => self.id(node, text),
            Shape::Action => self.action(node, text),
            Shape::HookPath => self.hook_path(node, text),
            Shape::Status => self.status(node),
            _ => None,
        }
    }

    /// A template in place of a number or a map.
    fn one_template(&mut self, node: &Node, text: &str, shape: &Shape) -> Option<Value> {
        if is_one_expression(text) {
            return Some(json!(text));
        }
        let message = format!("{} takes {}, not {}", self.label(), shape.describe(), node.describe());
        let hint = match (shape, text.trim().replace('_', "").parse::<u64>()) {
            (Shape::WholeOrTemplate { .. }, Ok(number)) => {
                Some(format!("write the number without quotes: {number}"))
            }
            (Shape::ValuesOrTemplate, _) if text.contains("{{") => {
                Some("a template that is all of the text keeps the type of its value".to_owned())
            }
            _ => None,
        };
        self.tell(node, "wrong_type", message).hint = hint;
        None
    }

    fn duration(&mut self, node: &Node, text: &str, max_ms: u64) -> Option<Value> {
        let message = match text.parse::<Millis>() {
            Ok(ms) if ms.0 <= max_ms => return Some(json!(ms)),
            Ok(ms) => format!("{} is at most {}, not {ms}", self.label(), Millis(max_ms)),
            Err(error) => format!("{} is {}: {error}", self.label(), quoted(text)),
        };
        self.refuse(node, "invalid_value", message)
    }

    fn size(&mut self, node: &Node, text: &str, max: u64) -> Option<Value> {
        let message = match text.parse::<ByteSize>() {
            Ok(size) if size.0 <= max => return Some(json!(size)),
            Ok(size) => format!("{} is at most {}, not {size}", self.label(), ByteSize(max)),
            Err(error) => format!("{} is {}: {error}", self.label(), quoted(text)),
        };
        self.refuse(node, "invalid_value", message)
    }

    fn status(&mut self, node: &Node) -> Option<Value> {
        let value = node.to_json();
        if let Some(range) = StatusRange::parse(&value) {
            return Some(json!(range));
        }
        let message =
            format!("{} is {}; a status is `404`, `2xx` or `200-204`", self.label(), node.describe());
        self.refuse(node, "invalid_value", message)
    }

    fn choice(&mut self, node: &Node, text: &str, names: &[&str]) -> Option<Value> {
        if names.contains(&text) {
            return Some(json!(text));
        }
        let listed = either(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>());
        let message = format!("{} takes {listed}, not {}", self.label(), quoted(text));
        let hint = nearest(text, names.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        self.tell(node, "invalid_value", message).hint = hint;
        None
    }

    fn name(&mut self, node: &Node, text: &str) -> Option<Value> {
        if is_name(text, b'-') {
            return Some(json!(text));
        }
        let message = format!(
            "{} is {}; a name is lower case letters, digits and `-`, starts with a letter, and has at most {MAX_ID} characters",
            self.label(),
            quoted(text)
        );
        let hint = mended(text, '-').map(|name| format!("write `{name}`"));
        self.tell(node, "invalid_value", message).hint = hint;
        None
    }

    fn id(&mut self, node: &Node, text: &str) -> Option<Value> {
        if !is_name(text, b'_') {
            let message = format!(
                "{} is no id; an id is lower case letters, digits and `_`, starts with a letter, and has at most {MAX_ID} characters",
                quoted(text)
            );
            let hint = mended(text, '_').map(|id| format!("write `{id}`"));
            self.tell(node, "invalid_id", message).hint = hint;
            return None;
        }
        if RESERVED.contains(&text) {
            let message = format!("`{text}` cannot be an id: it means something else in templates");
            let hint = format!("write `{text}_step`, or what the step gives");
            self.tell(node, "reserved_id", message).set_hint(hint);
            return None;
        }
        Some(json!(text))
    }

    fn action(&mut self, node: &Node, text: &str) -> Option<Value> {
        match text.parse::<ActionRef>() {
            Ok(_) => Some(json!(text)),
            Err(error) => {
                let message = format!("{} is {}: {error}", self.label(), quoted(text));
                self.refuse(node, "invalid_value", message)
            }
        }
    }

    fn hook_path(&mut self, node: &Node, text: &str) -> Option<Value> {
        let segment = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
        };
        if text.len() <= 200 && text.split('/').all(segment) {
            return Some(json!(text));
        }
        let message = format!(
            "{} is {}; a path is segments of letters, digits, `.`, `_`, `~` and `-` with `/` between them",
            self.label(),
            quoted(text)
        );
        let trimmed = text.trim_matches('/').trim_start_matches("hooks/");
        let hint = (trimmed != text && trimmed.split('/').all(segment)).then(|| format!("write `{trimmed}`"));
        self.tell(node, "invalid_value", message).hint = hint;
        None
    }

    pub(super) fn filter(&mut self, node: &'n Node, shape: &Shape) -> Option<Value> {
        if node.is_broken() {
            return None;
        }
        let json = node.to_json();
        if let (Shape::Condition | Shape::EventCondition, Value::String(text)) = (shape, &json) {
            return self.condition_text(node, text);
        }
        let allowed = match shape {
            Shape::Condition => Allowed::VALUES,
            Shape::ErrorFilter | Shape::EventCondition => Allowed::BOTH,
            _ => Allowed::FIELDS,
        };
        let problems = match Filter::parse(&json, allowed) {
            Ok(_) => return Some(json),
            Err(problems) => problems,
        };
        for problem in problems {
            let mut inner = Path::default();
            inner.extend(&problem.path);
            let (place, entry) = node.find(&inner);
            // An operand is best pointed at by its name; anything else by the value itself.
            let (from, to) = match entry {
                Some(entry) if !matches!(place.data, Data::Map(_) | Data::List(_)) => {
                    (entry.from, entry.value.to)
                }
                _ => (place.from, place.to),
            };
            let told = Problem::at(self.source, from, to, "invalid_filter", problem.message)
                .maybe_hint(problem.hint);
            let told = self.push(told);
            if !problem.path.is_empty() {
                let glue = if problem.path.starts_with('[') { "" } else { "." };
                told.path = format!("{}{glue}{}", told.path, problem.path);
            }
        }
        None
    }

    fn condition_text(&mut self, node: &Node, text: &str) -> Option<Value> {
        if is_one_expression(text) {
            return Some(json!(text));
        }
        let message = format!(
            "{} is {}; as a text, a condition is one expression in `{{{{ … }}}}`",
            self.label(),
            quoted(text)
        );
        let hint = if text.contains("{{") {
            "put all of it into one pair of braces, such as \"{{ known.total > 0 }}\"".to_owned()
        } else if matches!(text.trim(), "yes" | "no" | "on" | "off" | "") {
            "a condition that is always the same can go".to_owned()
        } else {
            format!("write \"{{{{ {} }}}}\"", text.trim())
        };
        self.tell(node, "invalid_filter", message).set_hint(hint);
        None
    }

    pub(super) fn json_schema(&mut self, node: &'n Node) -> Option<Value> {
        if node.is_broken() {
            return None;
        }
        let schema = node.to_json();
        if let Some(reference) = foreign_reference(node) {
            let message = format!("{} would be read from elsewhere", reference.describe());
            self.tell(reference, "invalid_schema", message)
                .set_hint("put the schema under `$defs` and refer to it with `#/$defs/NAME`");
            return None;
        }
        let told = jsonschema::meta::validate(&schema).map_err(|error| Unfit {
            message: error.to_string(),
            pointer: error.instance_path().to_string(),
            hint: None,
        });
        let told = told.and_then(|()| json_schema::compile(&schema).map(drop));
        let Err(Unfit { message, pointer, hint }) = told else { return Some(schema) };
        let message = match hint {
            None => format!("{} is no JSON Schema: {message}", self.label()),
            Some(_) => format!("{}: {message}", self.label()),
        };
        let mut inner = Path::default();
        let parts: Vec<String> =
            pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        for part in &parts {
            match part.parse() {
                Ok(index) => inner.index(index),
                Err(_) => inner.key(part),
            }
        }
        let (place, _) = node.find(&inner);
        let mut problem = Problem::at(self.source, place.from, place.to, "invalid_schema", message);
        problem.hint = hint;
        let told = self.push(problem);
        if !parts.is_empty() {
            told.path = format!("{}.{inner}", told.path);
        }
        None
    }
}

/// Whether a text is one `{{ … }}` and nothing else, so that it keeps the type of what it gives.
pub(crate) fn is_one_expression(text: &str) -> bool {
    text.trim_matches(['\n', '\r'])
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
        .is_some_and(|inner| !inner.contains("}}") && !inner.contains("{{"))
}

/// The first `$ref` that does not point into the schema itself.
fn foreign_reference(schema: &Node) -> Option<&Node> {
    match &schema.data {
        Data::Map(entries) => entries.iter().find_map(|entry| match &entry.value.data {
            Data::Text(reference) if matches!(entry.key.as_str(), "$ref" | "$dynamicRef") => {
                (!reference.starts_with('#')).then_some(&entry.value)
            }
            _ => foreign_reference(&entry.value),
        }),
        Data::List(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}

fn is_name(text: &str, joint: u8) -> bool {
    text.len() <= MAX_ID
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == joint)
}

/// A name as near to the text as the rules allow: `findPerson` gives `find_person`.
fn mended(text: &str, joint: char) -> Option<String> {
    let mut name = String::new();
    let mut before_lower = false;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && before_lower {
                name.push(joint);
            }
            before_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with(joint) {
            name.push(joint);
            before_lower = false;
        }
    }
    let name = name.trim_matches(|c: char| c == joint || c.is_ascii_digit());
    let name: String = name.chars().take(MAX_ID).collect();
    (is_name(&name, joint as u8) && !RESERVED.contains(&name.as_str())).then_some(name)
}
