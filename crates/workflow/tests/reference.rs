//! The published schema and the tables of the reference are what the code says.
//! `STEPWELL_WRITE_DOCS=1 cargo test -p stepwell-workflow --test reference` writes them.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use stepwell_workflow::connection::CONNECTION;
use stepwell_workflow::document::{COMMON, Field, Form, Need, STEPS, Shape, TOP, TRIGGERS};
use stepwell_workflow::problem::CODES;
use stepwell_workflow::schema::{connection_schema, json_schema};
use stepwell_workflow::schema_file::SCHEMA;

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name)
}

fn agrees(name: &str, wanted: &str) {
    let path = docs(name);
    if std::env::var_os("STEPWELL_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/reference/{name} is not what the code says; write it with\n  \
         STEPWELL_WRITE_DOCS=1 cargo test -p stepwell-workflow --test reference"
    );
}

#[test]
fn the_published_schema_is_the_one_that_is_made() {
    let mut text = serde_json::to_string_pretty(&json_schema()).unwrap();
    text.push('\n');
    agrees("workflow.schema.json", &text);
    let mut text = serde_json::to_string_pretty(&connection_schema()).unwrap();
    text.push('\n');
    agrees("connection.schema.json", &text);
}

#[test]
fn the_schema_of_connections_takes_what_is_taken() {
    let schema = connection_schema();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (text, fits) in [
        (
            "base_url: https://api.example.com\nauth: { bearer: '{{ secrets.K }}' }\nrate: { requests: 5 }\n",
            true,
        ),
        (
            "base_url: https://api.example.com\nauth: { api_key: { header: X-Key, value: '{{ secrets.K }}' } }\n",
            true,
        ),
        ("auth: { bearer: x }\n", false),
        ("base_url: https://api.example.com\nrate: 5\n", false),
    ] {
        assert_eq!(validator.is_valid(&as_json(text)), fits, "{text}");
        assert_eq!(stepwell_workflow::connection::read(text, "crm").0.is_some(), fits, "{text}");
    }
}

fn as_json(text: &str) -> Value {
    let source = stepwell_workflow::document::Source::new(text);
    stepwell_workflow::document::parse(&source).0.unwrap().to_json()
}

#[test]
fn the_schema_accepts_what_is_accepted_and_refuses_what_has_another_form() {
    let schema = json_schema();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in std::fs::read_dir(tests.join("good")).unwrap() {
        let path = entry.unwrap().path();
        let document = as_json(&std::fs::read_to_string(&path).unwrap());
        let problems: Vec<String> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
    for name in
        ["unknown_keys", "missing_keys", "types", "wrong_types", "ids", "steps_as_map", "webhook", "search"]
    {
        let document = as_json(&std::fs::read_to_string(tests.join(format!("bad/{name}.yaml"))).unwrap());
        assert!(!validator.is_valid(&document), "{name} was accepted");
    }
}

// The tables of the reference.

const BEGIN: &str = "<!-- made from the code: ";
const END: &str = "<!-- end -->";

#[test]
fn the_tables_of_the_reference_are_what_is_read() {
    assert!(tables_of("workflow.md") >= 5);
    assert_eq!(tables_of("connections.md"), 1);
}

/// How many tables of a page are made.
fn tables_of(page: &str) -> usize {
    let text = std::fs::read_to_string(docs(page)).expect(page);
    let mut out = String::new();
    let mut rest = text.as_str();
    let mut made = 0;
    while let Some(start) = rest.find(BEGIN) {
        let (before, after) = rest.split_at(start);
        let (marker, after) = after.split_at(after.find("-->").expect("the marker's end") + 3);
        let name = marker.trim_start_matches(BEGIN).trim_end_matches("-->").trim();
        let end = after.find(END).expect("the table's end");
        let _ = write!(out, "{before}{marker}\n{}{END}", table(name));
        rest = &after[end + END.len()..];
        made += 1;
    }
    out.push_str(rest);
    agrees(page, &out);
    made
}

fn table(name: &str) -> String {
    let mut out = String::new();
    match name {
        "top level" => rows(&mut out, TOP.fields),
        "every step" => rows(&mut out, COMMON),
        "triggers" => {
            for kind in TRIGGERS {
                let _ = write!(out, "### `{}`\n\n{} Gives {}.\n\n", kind.name, kind.about, kind.output);
                rows(&mut out, kind.fields);
            }
        }
        "steps" => {
            for kind in STEPS {
                let _ = write!(out, "### `{}`\n\n{} Output: {}.\n\n", kind.name, kind.about, kind.output);
                rows(&mut out, kind.fields);
            }
        }
        "connection" => rows(&mut out, CONNECTION.fields),
        "schema files" => rows(&mut out, SCHEMA.fields),
        "codes" => {
            out.push_str("| code | means |\n|---|---|\n");
            for (code, about) in CODES {
                let _ = writeln!(out, "| `{code}` | {about} |");
            }
            out.push('\n');
        }
        other => panic!("no table is called {other}"),
    }
    out
}

fn rows(out: &mut String, fields: &[Field]) {
    out.push_str("| key | takes | without it | |\n|---|---|---|---|\n");
    rows_under(out, "", fields);
    out.push('\n');
}

fn rows_under(out: &mut String, above: &str, fields: &[Field]) {
    for field in fields {
        let without = match field.need {
            Need::Required => "**required**".to_owned(),
            Need::Optional => "—".to_owned(),
            Need::Default(default) => default.to_owned(),
        };
        let inner = forms(&field.shape);
        let takes = if inner.is_empty() { field.shape.describe() } else { short(&field.shape) };
        let _ = writeln!(
            out,
            "| `{above}{}` | {} | {without} | {} |",
            field.key,
            takes.replace('|', "\\|"),
            field.about.replace('|', "\\|")
        );
        for (form, list) in inner {
            let dots = if list { "[]." } else { "." };
            rows_under(out, &format!("{above}{}{dots}", field.key), form.fields);
        }
    }
}

/// The maps that a shape holds; `true` when in a list.
fn forms(shape: &Shape) -> Vec<(&'static Form, bool)> {
    match shape {
        Shape::Form(form) | Shape::OneKey(form) => vec![(*form, false)],
        Shape::Either(shapes) => shapes.iter().flat_map(forms).collect(),
        Shape::List(item) => forms(item).into_iter().map(|(form, _)| (form, true)).collect(),
        _ => vec![],
    }
}

fn short(shape: &Shape) -> String {
    match shape {
        Shape::Form(_) => "a map".into(),
        Shape::OneKey(_) => "a map with one key".into(),
        Shape::Either(shapes) => shapes.iter().map(short).collect::<Vec<_>>().join(" or "),
        Shape::List(item) => format!("a list, each item {}", short(item)),
        other => other.describe(),
    }
}
