//! From a tree to a definition: goes through the document with the table of forms, tells every value that
//! does not fit, and keeps what does, so that the rest can still be checked for sense.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use stepwell_records::nearest;

use super::describe::either;
use super::form::{COMMON, Field, Form, Kind, Need, STEPS, Shape, TOP};
use super::path::{Path, Segment};
use super::source::Source;
use super::tree::{Data, Entry, Node, quoted};
use crate::model::Workflow;
use crate::problem::{Problem, Problems, told};

/// A definition as far as it could be read.
#[derive(Debug)]
pub struct Draft {
    pub workflow: Workflow,
    /// Paths of steps that could not be read; a step that gives anything stands in for each.
    pub broken: HashSet<String>,
    /// The trigger could not be read: it may give anything.
    pub broken_trigger: bool,
}

/// Reads a whole document. With problems, the draft is what could be kept.
pub fn read(source: &Source<'_>, tree: &Node) -> (Option<Draft>, Vec<Problem>) {
    let mut reader = Reader::new(source);
    let Data::Map(entries) = &tree.data else {
        let message =
            format!("a workflow is a map with `name`, `trigger` and `steps`, not {}", tree.describe());
        reader.tell(tree, "wrong_type", message);
        return (None, reader.problems.into_found());
    };
    let mut document = reader.fields(tree, entries, TOP.name, &[TOP.fields], &[]).0;
    if reader.problems.is_over() {
        // It has been left half read.
        return (None, reader.problems.into_found());
    }
    document.entry("name").or_insert_with(|| json!(""));
    document.entry("steps").or_insert_with(|| json!([]));
    let broken_trigger = !document.contains_key("trigger");
    document.entry("trigger").or_insert_with(|| json!({"type": "manual"}));
    let workflow = match serde_json::from_value(Value::Object(document)) {
        Ok(workflow) => workflow,
        Err(error) => {
            // The table and the types disagree: say what the types say rather than nothing.
            reader.tell(tree, "invalid_value", error.to_string());
            return (None, reader.problems.into_found());
        }
    };
    let draft = Draft { workflow, broken: reader.broken, broken_trigger };
    (Some(draft), reader.problems.into_found())
}

/// Reads a document of another kind, which has a table of its own. Nothing comes of one with problems.
pub fn read_as(source: &Source<'_>, tree: &Node, form: &'static Form) -> (Option<Value>, Vec<Problem>) {
    let mut reader = Reader::new(source);
    let value = match &tree.data {
        Data::Map(entries) => reader.form(tree, entries, form),
        _ => {
            let message = format!("{} is a map, not {}", form.name, tree.describe());
            reader.refuse(tree, "wrong_type", message)
        }
    };
    (value.filter(|_| reader.problems.is_empty()), told(reader.problems.into_found()))
}

pub(super) struct Reader<'n, 't> {
    pub(super) source: &'n Source<'t>,
    pub(super) problems: Problems,
    pub(super) path: Path<'n>,
    /// The ids of the steps around the place, innermost last.
    steps: Vec<&'n str>,
    broken: HashSet<String>,
}

impl<'n, 't> Reader<'n, 't> {
    fn new(source: &'n Source<'t>) -> Self {
        Reader {
            source,
            problems: Problems::default(),
            path: Path::default(),
            steps: Vec::new(),
            broken: HashSet::new(),
        }
    }

    /// The value as JSON for the definition; nothing when it does not fit, which has been told then.
    fn value(&mut self, node: &'n Node, shape: &'static Shape) -> Option<Value> {
        // With so many problems nothing comes of the document.
        if node.data == Data::Broken || self.problems.is_over() {
            return None;
        }
        if !shape.takes(node) {
            return self.wrong_type(node, shape);
        }
        match (shape, &node.data) {
            (Shape::Value, _) => (!node.is_broken()).then(|| node.to_json()),
            (Shape::Values | Shape::ValuesOrTemplate, Data::Map(_)) => {
                (!node.is_broken()).then(|| node.to_json())
            }
            (Shape::Templates, Data::Map(entries)) => self.map_of(entries, &Shape::Template),
            (Shape::Steps, Data::List(items)) => self.step_list(items),
            (Shape::List(item) | Shape::OneOrMany(item), Data::List(items)) if items.is_empty() => {
                let message =
                    format!("{} is empty; it takes at least one item: {}", self.label(), item.describe());
                self.refuse(node, "invalid_value", message)
            }
            (Shape::List(item) | Shape::OneOrMany(item), Data::List(items)) => self.list_of(items, item),
            (Shape::OneOrMany(item), _) => self.value(node, item).map(|value| json!([value])),
            (Shape::Form(form), Data::Map(entries)) => self.form(node, entries, form),
            (Shape::OneKey(form), Data::Map(entries)) => self.one_key(node, entries, form),
            (Shape::Either(shapes), _) => {
                let shape = shapes.iter().find(|shape| shape.takes(node))?;
                self.value(node, shape)
            }
            (Shape::Kinds { name, kinds }, Data::Map(entries)) => {
                let (kind, mut fields, complete) = self.kind(node, entries, name, kinds, &[])?;
                fields.insert("type".into(), kind.name.into());
                complete.then_some(Value::Object(fields))
            }
            (Shape::Condition | Shape::EventCondition | Shape::RecordFilter | Shape::ErrorFilter, _) => {
                self.filter(node, shape)
            }
            (Shape::JsonSchema, _) => self.json_schema(node),
            _ => self.scalar(node, shape),
        }
    }

    fn wrong_type(&mut self, node: &'n Node, shape: &Shape) -> Option<Value> {
        let message = format!("{} takes {}, not {}", self.label(), shape.describe(), node.describe());
        let hint = match (&node.data, shape) {
            (Data::Map(_), Shape::Steps) => Some("start each step with `- `".to_owned()),
            (Data::Number(_) | Data::Bool(_), Shape::Prose | Shape::Text | Shape::Template | Shape::Name) => {
                let written = self.source.slice(node.from, node.to).trim();
                Some(format!("quote it: \"{written}\""))
            }
            (Data::Number(number), Shape::Duration { .. }) => {
                Some(format!("give it a unit: `{number}s` or `{number}ms`"))
            }
            (Data::Bool(_), Shape::Condition | Shape::EventCondition) => {
                Some("a condition that is always the same can go".to_owned())
            }
            _ => None,
        };
        self.tell(node, "wrong_type", message).hint = hint;
        None
    }

    fn list_of(&mut self, items: &'n [Node], shape: &'static Shape) -> Option<Value> {
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.index(index);
            values.push(self.value(item, shape));
            self.path.pop();
        }
        values.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn map_of(&mut self, entries: &'n [Entry], shape: &'static Shape) -> Option<Value> {
        let mut fits = true;
        let mut values = Map::new();
        for entry in entries {
            self.path.key(&entry.key);
            match self.value(&entry.value, shape) {
                Some(value) => {
                    values.insert(entry.key.clone(), value);
                }
                None => fits = false,
            }
            self.path.pop();
        }
        fits.then_some(Value::Object(values))
    }

    fn form(&mut self, node: &'n Node, entries: &'n [Entry], form: &'static Form) -> Option<Value> {
        let (values, complete) = self.fields(node, entries, form.name, &[form.fields], &[]);
        complete.then_some(Value::Object(values))
    }

    fn one_key(&mut self, node: &'n Node, entries: &'n [Entry], form: &'static Form) -> Option<Value> {
        let (values, _) = self.fields(node, entries, form.name, &[form.fields], &["one"]);
        let known =
            entries.iter().filter(|entry| form.fields.iter().any(|field| field.key == entry.key)).count();
        if known == 1 {
            return (values.len() == 1).then_some(Value::Object(values));
        }
        if known == 0 && !entries.is_empty() {
            // Each of them has been told as unknown.
            return None;
        }
        let names: Vec<_> = form.fields.iter().map(|field| format!("`{}`", field.key)).collect();
        let message = format!("{} takes exactly one of {}", self.label(), either(&names));
        self.refuse(node, "invalid_value", message)
    }

    /// The known keys of a map, and whether all that must be there is. `quiet` non-empty: do not tell missing ones.
    fn fields(
        &mut self,
        node: &'n Node,
        entries: &'n [Entry],
        name: &str,
        tables: &[&'static [Field]],
        quiet: &[&str],
    ) -> (Map<String, Value>, bool) {
        let mut values = Map::new();
        let mut complete = true;
        for entry in entries {
            if self.problems.is_over() {
                break;
            }
            if tables.len() > 1 && entry.key == "type" {
                continue;
            }
            let field = tables.iter().flat_map(|table| table.iter()).find(|field| field.key == entry.key);
            let Some(field) = field else {
                self.unknown_key(entry, name, tables);
                continue;
            };
            self.path.key(&entry.key);
            match self.value(&entry.value, &field.shape) {
                Some(value) => {
                    values.insert(entry.key.clone(), value);
                }
                None if field.need == Need::Required => match stand_in(&field.shape, &entry.value) {
                    Some(value) => {
                        values.insert(entry.key.clone(), value);
                    }
                    None => complete = false,
                },
                None => {}
            }
            self.path.pop();
        }
        let required =
            tables.iter().flat_map(|table| table.iter()).filter(|field| field.need == Need::Required);
        for field in required {
            if quiet.is_empty() && !entries.iter().any(|entry| entry.key == field.key) {
                match stand_in(&field.shape, node) {
                    Some(value) => {
                        values.insert(field.key.to_owned(), value);
                    }
                    None => complete = false,
                }
                let top = self.path.0.is_empty() && name == TOP.name;
                let what = if top { "the workflow".to_owned() } else { name.to_owned() };
                let message = format!("{what} has no `{}`", field.key);
                let hint = format!("`{}:` takes {}", field.key, field.shape.describe());
                let (from, to) = self.opening(node);
                let problem = Problem::at(self.source, from, to, "missing_key", message).hint(hint);
                self.push(problem);
            }
        }
        (values, complete)
    }

    fn unknown_key(&mut self, entry: &'n Entry, name: &str, tables: &[&'static [Field]]) {
        let known: Vec<&str> = tables.iter().flat_map(|table| table.iter()).map(|field| field.key).collect();
        let elsewhere = || {
            let owners: Vec<_> = STEPS
                .iter()
                .filter(|kind| kind.fields.iter().any(|field| field.key == entry.key))
                .map(|kind| format!("`{}`", kind.name))
                .collect();
            (tables.len() > 1 && !owners.is_empty())
                .then(|| format!("`{}` belongs to {}", entry.key, either(&owners)))
        };
        let hint = synonym(&entry.key, &known)
            .or_else(|| nearest(&entry.key, known.iter().copied()))
            .map(|right| format!("did you mean `{right}`?"))
            .or_else(elsewhere)
            .unwrap_or_else(|| format!("{name} has {}", known.join(", ")));
        self.path.key(&entry.key);
        let message = format!("{name} has no key `{}`", entry.key);
        let problem = Problem::at(self.source, entry.from, entry.to, "unknown_key", message).hint(hint);
        self.push(problem);
        self.path.pop();
    }

    /// Which kind it is by `type`, the fields of it that fit, and whether none is missing.
    fn kind(
        &mut self,
        node: &'n Node,
        entries: &'n [Entry],
        name: &str,
        kinds: &'static [Kind],
        common: &'static [Field],
    ) -> Option<(&'static Kind, Map<String, Value>, bool)> {
        let names = || either(&kinds.iter().map(|kind| format!("`{}`", kind.name)).collect::<Vec<_>>());
        let Some(entry) = node.get("type") else {
            // A step that has what exactly one type must have is probably of that type.
            let has = |key: &str| node.get(key).is_some();
            let mut likely = kinds.iter().filter(|kind| {
                let mut required = kind.fields.iter().filter(|field| field.need == Need::Required).peekable();
                required.peek().is_some() && required.all(|field| has(field.key))
            });
            let hint = match (likely.next(), likely.next()) {
                (Some(kind), None) => format!("add `type: {}`", kind.name),
                _ => format!("`type:` is one of {}", names()),
            };
            let (from, to) = self.opening(node);
            let problem =
                Problem::at(self.source, from, to, "missing_key", format!("{name} has no `type`")).hint(hint);
            self.push(problem);
            return None;
        };
        self.path.key("type");
        let found = match &entry.value.data {
            Data::Text(text) => kinds.iter().find(|kind| kind.name == text).ok_or(text.as_str()),
            _ => Err(""),
        };
        let kind = match found {
            Ok(kind) => Some(kind),
            Err(text) => {
                let hint =
                    match kind_synonym(text).or_else(|| nearest(text, kinds.iter().map(|kind| kind.name))) {
                        Some(right) if kinds.iter().any(|kind| kind.name == right) => {
                            format!("did you mean `{right}`?")
                        }
                        _ => format!("the types are {}", names()),
                    };
                let found = match &entry.value.data {
                    Data::Text(text) => quoted(text),
                    _ => entry.value.describe(),
                };
                let message = format!("{found} is no type of {}", name.trim_start_matches("a "));
                self.tell(&entry.value, "unknown_type", message).hint = Some(hint);
                None
            }
        };
        self.path.pop();
        let kind = kind?;
        let owner = format!("{} of type `{}`", name, kind.name);
        let (values, complete) = self.fields(node, entries, &owner, &[kind.fields, common], &[]);
        Some((kind, values, complete))
    }

    fn step_list(&mut self, items: &'n [Node]) -> Option<Value> {
        let mut steps = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if self.problems.is_over() {
                break;
            }
            self.path.index(index);
            steps.push(self.step(item));
            self.path.pop();
        }
        Some(Value::Array(steps))
    }

    /// A step, or one that stands in for it when it cannot be read.
    fn step(&mut self, node: &'n Node) -> Value {
        let id = match node.get("id").map(|entry| &entry.value.data) {
            Some(Data::Text(id)) => id.as_str(),
            _ => "",
        };
        self.steps.push(id);
        let read = match &node.data {
            Data::Map(entries) => self.kind(node, entries, "a step", STEPS, COMMON),
            Data::Broken => None,
            _ => {
                let message = format!("a step is a map with `id` and `type`, not {}", node.describe());
                self.tell(node, "wrong_type", message);
                None
            }
        };
        self.steps.pop();
        match read {
            Some((kind, mut fields, true)) => {
                fields.insert("type".into(), kind.name.into());
                Value::Object(fields)
            }
            _ => {
                self.broken.insert(self.path.to_string());
                json!({"id": id, "type": "set", "values": {}})
            }
        }
    }

    /// What a message calls the value at the present path.
    pub(super) fn label(&self) -> String {
        let key = |segment: &Segment<'_>| match segment {
            Segment::Key(key) => Some(format!("`{key}`")),
            Segment::Index(_) => None,
        };
        match self.path.0.as_slice() {
            [] => "the document".into(),
            [.., last @ Segment::Key(_)] => key(last).unwrap_or_default(),
            [before @ .., Segment::Index(index)] => match before.iter().rev().find_map(key) {
                Some(list) => format!("item {} of {list}", index + 1),
                None => format!("item {}", index + 1),
            },
        }
    }

    /// Where a map begins, for what is missing in it: its first key, or its `id`.
    fn opening(&self, node: &Node) -> (usize, usize) {
        match &node.data {
            Data::Map(entries) if !entries.is_empty() => {
                let entry = node.get("id").unwrap_or(&entries[0]);
                (entry.from, entry.value.to.max(entry.to))
            }
            _ => (node.from, node.to),
        }
    }

    pub(super) fn refuse(
        &mut self,
        node: &Node,
        code: &'static str,
        message: impl Into<String>,
    ) -> Option<Value> {
        self.tell(node, code, message);
        None
    }

    pub(super) fn tell(
        &mut self,
        node: &Node,
        code: &'static str,
        message: impl Into<String>,
    ) -> &mut Problem {
        let problem = Problem::at(self.source, node.from, node.to, code, message);
        self.push(problem)
    }

    pub(super) fn push(&mut self, problem: Problem) -> &mut Problem {
        let step = self.steps.last().copied();
        self.problems.push(problem.path(&self.path).step(step))
    }
}

/// What takes the place of a value that is missing or wrong, so that the rest of a step can still be checked.
/// Only where it can lead to no further problem.
fn stand_in(shape: &Shape, node: &Node) -> Option<Value> {
    match shape {
        Shape::Condition => Some(json!("{{ true }}")),
        Shape::Steps => Some(json!([])),
        Shape::HookPath => Some(json!("x")),
        Shape::Id => Some(match &node.data {
            Data::Text(id) => json!(id),
            _ => json!(""),
        }),
        _ => None,
    }
}

/// Words of other tools for keys that exist here.
fn synonym(key: &str, known: &[&str]) -> Option<&'static str> {
    const PAIRS: &[(&str, &str)] = &[
        ("when", "if"),
        ("if", "when"),
        ("condition", "when"),
        ("condition", "if"),
        ("then", "do"),
        ("steps", "do"),
        ("cases", "branches"),
        ("conditions", "branches"),
        ("arms", "branches"),
        ("default", "else"),
        ("otherwise", "else"),
        ("depends_on", "needs"),
        ("after", "needs"),
        ("on", "trigger"),
        ("triggers", "trigger"),
        ("methods", "method"),
        ("schema", "body_schema"),
        ("fields", "record"),
        ("data", "record"),
        ("where", "filter"),
        ("order", "sort"),
        ("order_by", "sort"),
        ("recordId", "record_id"),
        ("id", "record_id"),
        ("with", "input"),
        ("args", "input"),
        ("uses", "action"),
        ("module", "action"),
        ("retries", "retry"),
        ("catch", "on_error"),
        ("error", "on_error"),
        ("memory", "memory_bytes"),
        ("timeout", "wall_ms"),
        ("max_attempts", "attempts"),
        ("params", "query"),
        ("body", "text"),
        ("secrets", "secret"),
        ("result", "output"),
        ("items", "over"),
        ("list", "over"),
        ("for_each", "over"),
        ("each", "over"),
        ("records", "search"),
        ("batch_size", "batch"),
        ("size", "batch"),
        ("max_failures", "failures"),
        ("reason", "message"),
    ];
    PAIRS.iter().find(|(wrong, right)| *wrong == key && known.contains(right)).map(|(_, right)| *right)
}

/// Words of other tools for types that exist here.
fn kind_synonym(text: &str) -> Option<&'static str> {
    Some(match text {
        "http" | "request" | "fetch" | "api" | "webhook_request" => "http_request",
        "email" | "mail" | "send_mail" => "send_email",
        "if" | "switch" | "condition" | "choice" => "branch",
        "search" | "find" | "find_records" | "query" | "search_record" => "search_records",
        "create" | "insert" => "create_record",
        "update" => "update_record",
        "delete" | "remove" | "remove_record" => "delete_record",
        "wait" | "sleep" | "pause" | "timer" => "delay",
        "approval" | "input" | "form" | "ask" | "wait_for_approval" | "human" => "wait_for_input",
        "upsert" => "upsert_record",
        "state" | "save_state" | "remember" | "keep" | "store" => "set_state",
        "action" | "function" | "script" | "wasm" => "code",
        "call" | "call_workflow" | "subworkflow" | "execute_workflow" | "start_workflow" => "run_workflow",
        "end" | "exit" | "fail" => "stop",
        "loop" | "for_each" | "foreach" | "each" | "map" | "iterate" => "iterator",
        "hook" | "http_hook" => "webhook",
        "button" => "manual",
        "cron" | "timer_trigger" | "interval" => "schedule",
        "record" | "database_event" | "record_trigger" | "on_record" => "record_event",
        _ => return None,
    })
}
