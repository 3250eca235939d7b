//! A test as its author wrote it: read, held against the table, and its templates filled in when their time comes.

use std::path::{Path as FilePath, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use stepwell_workflow::document::{Data, Entry, Node, Path, Source, parse, read_as};
use stepwell_workflow::expr::{Mode, Template, Values};
use stepwell_workflow::problem::{Problem, render_all};

use super::form::TEST;
use super::outside::Canned;
use crate::error::HarnessError;

/// When a test begins that does not say: a Monday.
const START: Timestamp = Timestamp::constant(1_767_603_600, 0);

/// One test.
#[derive(Debug)]
pub(super) struct Test {
    /// The workflows that are active; all when empty.
    pub workflows: Vec<String>,
    pub at: Timestamp,
    pub settings: Map<String, Value>,
    /// By workflow.
    pub state: Map<String, Value>,
    pub secrets: Map<String, Value>,
    /// By object, in the order in which they were written.
    pub records: Vec<(String, Value)>,
    http: Vec<(Value, Place)>,
    pub steps: Vec<Step>,
}

/// What happens.
#[derive(Debug)]
pub(super) struct Step {
    /// One of the keys of the table of steps.
    pub kind: String,
    value: Value,
    pub place: Place,
    /// Of its members.
    places: Vec<(String, Place)>,
}

/// A file and a line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: PathBuf,
    line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    workflow: Vec<String>,
    at: Option<String>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    state: Map<String, Value>,
    #[serde(default)]
    secrets: Map<String, Value>,
    #[serde(default)]
    records: Map<String, Value>,
    #[serde(default)]
    http: Vec<Value>,
    trigger: Option<Value>,
    expect: Option<Value>,
    steps: Option<Vec<Map<String, Value>>>,
}

/// A document being read.
struct Reading<'r> {
    file: &'r FilePath,
    source: &'r Source<'r>,
    tree: &'r Node,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn node<'n>(&'n self, path: &'n str) -> (usize, usize) {
        let mut way = Path::default();
        way.extend(path);
        let (node, entry) = self.tree.find(&way);
        entry.map_or((node.from, node.to), |entry| (entry.from, entry.to))
    }

    fn place(&self, path: &str) -> Place {
        let (line, _) = self.source.line_and_column(self.node(path).0);
        Place { file: self.file.to_owned(), line }
    }

    fn tell(&mut self, path: &str, message: impl Into<String>) {
        let (from, to) = self.node(path);
        let told = Problem::at(self.source, from, to, "invalid_value", message);
        self.problems.push(Problem { path: path.to_owned(), ..told });
    }

    fn at(&mut self, at: Option<&str>) -> Timestamp {
        /// Far enough from the ends of what can be told that ten years and a delay fit.
        const LATEST: Timestamp = Timestamp::constant(221_845_392_000, 0);
        let Some(text) = at else { return START };
        match text.parse() {
            Ok(at) if (Timestamp::UNIX_EPOCH..LATEST).contains(&at) => at,
            _ => {
                self.tell(
                    "at",
                    format!("`{text}` is no time between 1970 and 9000 such as 2026-03-02T09:00:00Z"),
                );
                START
            }
        }
    }

    fn values(&mut self, written: &Written) {
        for (name, value) in &written.secrets {
            if !value.is_string() {
                self.tell(&format!("secrets.{name}"), "a secret is a text; quote it");
            }
        }
        for (workflow, kept) in written.state.iter().filter(|(_, kept)| !kept.is_object()) {
            let message = format!("what a workflow keeps is a map of names and values, not {kept}");
            self.tell(&format!("state.{workflow}"), message);
        }
        for (object, records) in &written.records {
            let all_maps = |list: &Vec<Value>| list.iter().all(Value::is_object);
            if !records.as_array().is_some_and(all_maps) {
                self.tell(&format!("records.{object}"), "records are a list of maps of their fields");
            }
        }
        for (index, canned) in written.http.iter().enumerate() {
            if canned.get("answer").is_some() && canned.get("error").is_some() {
                self.tell(&format!("http[{index}].error"), "`answer` and `error` are two ends; keep one");
            }
        }
    }

    fn trigger(&mut self, path: &str, trigger: &Value) {
        let ways = ["input", "body", "text"].into_iter().filter(|key| trigger.get(key).is_some());
        let ways: Vec<&str> = ways.collect();
        if let [_, second, ..] = ways.as_slice() {
            self.tell(&format!("{path}.{second}"), "`input`, `body` and `text` are three ways; keep one");
        }
    }

    /// `records` is those that were there before.
    fn name(&mut self, path: &str, write: &Value) {
        if write.get("as").and_then(Value::as_str) == Some("records") {
            self.tell(&format!("{path}.as"), "`records` is what was there before; use another name");
        }
    }

    fn expectation(&mut self, path: &str, expect: &Value) {
        if expect.as_object().is_some_and(Map::is_empty) {
            self.tell(path, "this expects nothing");
        }
        for (object, wanted) in expect.get("records").and_then(Value::as_object).into_iter().flatten() {
            let all_maps = |list: &Vec<Value>| list.iter().all(Value::is_object);
            if wanted.as_u64().is_none() && !wanted.as_array().is_some_and(all_maps) {
                let message =
                    "what is expected of records is how many there are, or a list of maps of fields";
                self.tell(&format!("{path}.records.{object}"), message);
            }
        }
    }

    fn step(&mut self, path: &str, kind: &str, value: Value) -> Step {
        match kind {
            "trigger" => self.trigger(path, &value),
            "expect" => self.expectation(path, &value),
            "create_record" | "update_record" => self.name(path, &value),
            _ => {}
        }
        let mut places = Vec::new();
        for (key, member) in value.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            places.push((key.clone(), self.place(&path)));
            for object in member
                .as_object()
                .filter(|_| key == "records" || key == "state")
                .into_iter()
                .flat_map(Map::keys)
            {
                places.push((format!("{key}.{object}"), self.place(&format!("{path}.{object}"))));
            }
        }
        Step { kind: kind.to_owned(), value, place: self.place(path), places }
    }

    fn steps(&mut self, written: &mut Written) -> Vec<Step> {
        let short = [("trigger", written.trigger.take()), ("expect", written.expect.take())];
        let mut steps = Vec::new();
        match written.steps.take() {
            Some(list) => {
                for (key, value) in &short {
                    if value.is_some() {
                        self.tell(key, format!("`{key}` is one of the `steps` where there are some"));
                    }
                }
                for (index, step) in list.into_iter().enumerate() {
                    for (kind, value) in step {
                        steps.push(self.step(&format!("steps[{index}].{kind}"), &kind, value));
                    }
                }
            }
            None => {
                for (key, value) in short {
                    steps.extend(value.map(|value| self.step(key, key, value)));
                }
            }
        }
        if !steps.iter().any(|step| step.kind == "expect") {
            self.tell("", "a test expects something: add `expect`");
        }
        steps
    }
}

/// Reads a test; `shown` is what messages call its file.
pub(super) fn read(path: &FilePath, shown: &FilePath) -> Result<Test, HarnessError> {
    let text = std::fs::read_to_string(path).map_err(HarnessError::io(shown))?;
    read_text(&text, shown)
}

pub(super) fn read_text(text: &str, file: &FilePath) -> Result<Test, HarnessError> {
    let refused = |problems: &[Problem]| {
        HarnessError::Test(render_all(problems, &file.display().to_string(), text).trim_end().to_owned())
    };
    let source = Source::new(text);
    let (tree, problems) = parse(&source);
    let tree = match tree {
        Some(tree) if problems.is_empty() => tree,
        _ => return Err(refused(&problems)),
    };
    let (value, problems) = read_as(&source, &tree, &TEST);
    let Some(value) = value else { return Err(refused(&problems)) };
    let mut written: Written =
        serde_json::from_value(value).map_err(|error| HarnessError::file(file, error))?;
    let mut reading = Reading { file, source: &source, tree: &tree, problems: Vec::new() };
    let at = reading.at(written.at.as_deref());
    reading.values(&written);
    let steps = reading.steps(&mut written);
    let place = |(index, canned)| (canned, reading.place(&format!("http[{index}]")));
    let http = std::mem::take(&mut written.http).into_iter().enumerate().map(place).collect();
    if !reading.problems.is_empty() {
        return Err(refused(&reading.problems));
    }
    let Written { workflow, settings, state, secrets, mut records, .. } = written;
    let order = match tree.get("records").map(|entry| &entry.value.data) {
        Some(Data::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    let one = |entry: &Entry| Some((entry.key.clone(), records.remove(&entry.key)?));
    let records = order.iter().filter_map(one).collect();
    Ok(Test { workflows: workflow, at, settings, state, secrets, records, http, steps })
}

impl Test {
    /// The canned answers, once it is known what their templates see.
    pub fn canned(&self, scope: &Values) -> Result<Vec<Canned>, String> {
        let mut all = Vec::new();
        for (value, place) in &self.http {
            let mut canned: Canned =
                typed(fill(value, scope)?).map_err(|error| format!("{place}: {error}"))?;
            canned.place = place.to_string();
            all.push(canned);
        }
        Ok(all)
    }
}

impl Step {
    /// What it says, with its templates filled in.
    pub fn filled<T: serde::de::DeserializeOwned>(&self, scope: &Values) -> Result<T, String> {
        fill(&self.value, scope).and_then(typed).map_err(|error| format!("{}: {error}", self.place))
    }

    /// Where a member stands.
    pub fn place_of(&self, member: &str) -> &Place {
        let found = self.places.iter().find(|(key, _)| key == member);
        found.map_or(&self.place, |(_, place)| place)
    }
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// A value with its templates filled in.
pub(super) fn fill(value: &Value, scope: &Values) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) if text.contains("{{") => {
            let rendered = Template::compile(text, Mode::Value).and_then(|template| template.render(scope));
            rendered
                .map_err(|error| match error.hint {
                    Some(hint) => format!("{} ({hint})", error.message),
                    None => error.message,
                })?
                .value
        }
        Value::Array(items) => items.iter().map(|item| fill(item, scope)).collect::<Result<_, _>>()?,
        Value::Object(members) => {
            let filled = members.iter().map(|(key, value)| Ok((key.clone(), fill(value, scope)?)));
            Value::Object(filled.collect::<Result<Map<_, _>, String>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(text: &str) -> String {
        read_text(text, FilePath::new("tests/a.yaml")).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_in_the_table_is_told_with_its_line() {
        insta::assert_snapshot!(refusal("trigger: { body: {} }\nexpect:\n  status: complete\n  outptu: 1\n"), @r#"
        error[invalid_value]: `status` takes `queued`, `running`, `waiting`, `paused`, `completed`, `failed` or `cancelled`, not "complete"
         --> tests/a.yaml:3:11
          |
        3 |   status: complete
          |           ^^^^^^^^
          = hint: did you mean `completed`?

        error[unknown_key]: an expectation has no key `outptu`
         --> tests/a.yaml:4:3
          |
        4 |   outptu: 1
          |   ^^^^^^
          = hint: did you mean `output`?

        tests/a.yaml: 2 problems
        "#);
    }

    #[test]
    fn what_contradicts_itself_is_told_with_its_line() {
        insta::assert_snapshot!(refusal(
            "at: tomorrow\nsecrets: { key: 1 }\nrecords: { person: 3 }\nhttp:\n  - { answer: {}, error: timeout }\ntrigger: { body: 1, text: x }\nsteps:\n  - advance: 1h\n  - expect: { records: { person: many } }\n"
        ), @r#"
        error[invalid_value]: `tomorrow` is no time between 1970 and 9000 such as 2026-03-02T09:00:00Z
         --> tests/a.yaml:1:1
          |
        1 | at: tomorrow
          | ^^

        error[invalid_value]: a secret is a text; quote it
         --> tests/a.yaml:2:12
          |
        2 | secrets: { key: 1 }
          |            ^^^

        error[invalid_value]: records are a list of maps of their fields
         --> tests/a.yaml:3:12
          |
        3 | records: { person: 3 }
          |            ^^^^^^

        error[invalid_value]: `answer` and `error` are two ends; keep one
         --> tests/a.yaml:5:19
          |
        5 |   - { answer: {}, error: timeout }
          |                   ^^^^^

        error[invalid_value]: `trigger` is one of the `steps` where there are some
         --> tests/a.yaml:6:1
          |
        6 | trigger: { body: 1, text: x }
          | ^^^^^^^

        error[invalid_value]: what is expected of records is how many there are, or a list of maps of fields
         --> tests/a.yaml:9:26
          |
        9 |   - expect: { records: { person: many } }
          |                          ^^^^^^

        tests/a.yaml: 6 problems
        "#);
        insta::assert_snapshot!(refusal("trigger: { body: {} }\n"), @r#"
        error[invalid_value]: a test expects something: add `expect`
         --> tests/a.yaml:1:1
          |
        1 | trigger: { body: {} }
          | ^^^^^^^^^^^^^^^^^^^^^

        tests/a.yaml: 1 problem
        "#);
    }

    #[test]
    fn a_record_has_a_name_of_its_own() {
        let write = |name: &str| {
            format!(
                "steps:\n  - create_record: {{ object: person, record: {{}}, as: {name} }}\n  - expect: {{ runs: 0 }}\n"
            )
        };
        assert!(read_text(&write("ada"), FilePath::new("tests/a.yaml")).is_ok());
        insta::assert_snapshot!(refusal(&write("records")), @r#"
        error[invalid_value]: `records` is what was there before; use another name
         --> tests/a.yaml:2:50
          |
        2 |   - create_record: { object: person, record: {}, as: records }
          |                                                  ^^

        tests/a.yaml: 1 problem
        "#);
        assert!(refusal(&write("item")).starts_with("error[reserved_id]: `item` cannot be an id"));
    }

    #[test]
    fn templates_see_the_records_that_were_there() {
        let scope = Values::new([("records", json!({ "company": [{ "id": "c1" }] }))]);
        let filled = fill(&json!({ "a": ["{{ records.company[0].id }}"], "n": 1 }), &scope).unwrap();
        assert_eq!(filled, json!({ "a": ["c1"], "n": 1 }));
        let error = fill(&json!("{{ records.company[1].id }}"), &scope).unwrap_err();
        insta::assert_snapshot!(error, @"`records.company` has 1 item; no [1]");
    }

    #[test]
    fn it_begins_on_a_monday() {
        assert_eq!(START.to_string(), "2026-01-05T09:00:00Z");
    }
}
