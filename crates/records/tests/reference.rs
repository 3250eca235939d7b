//! The reference of objects and filters is what the code says.
//! `STEPWELL_WRITE_DOCS=1 cargo test -p stepwell-records --test reference` writes what is made from it.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use stepwell_records::filter::{Filter, Operand};
use stepwell_records::schema::{Field, FieldId, FieldType, Kind, Object, Path, standard};

const BEGIN: &str = "<!-- made from the code: ";
const END: &str = "<!-- end -->";

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name)
}

/// Every made part of a page is what `table` makes of its name.
fn agrees(page: &str, parts: usize) {
    let text = std::fs::read_to_string(docs(page)).unwrap();
    let mut out = String::new();
    let mut rest = text.as_str();
    let mut made = 0;
    while let Some(start) = rest.find(BEGIN) {
        let (before, after) = rest.split_at(start);
        let (marker, after) = after.split_at(after.find("-->").unwrap() + 3);
        let name = marker.trim_start_matches(BEGIN).trim_end_matches("-->").trim();
        let end = after.find(END).unwrap();
        let _ = write!(out, "{before}{marker}\n{}{END}", table(name));
        rest = &after[end + END.len()..];
        made += 1;
    }
    out.push_str(rest);
    assert_eq!(made, parts, "made parts of {page}");
    if std::env::var_os("STEPWELL_WRITE_DOCS").is_some() {
        return std::fs::write(docs(page), out).unwrap();
    }
    assert!(
        out == text,
        "docs/reference/{page} is not what the code says; write it with\n  \
         STEPWELL_WRITE_DOCS=1 cargo test -p stepwell-records --test reference"
    );
}

fn table(name: &str) -> String {
    match name {
        "standard objects" => standard().objects().map(|object| object_table(object)).collect(),
        "field types" => types_table(),
        "operators by kind" => operators_by_kind(),
        other => panic!("no table is called {other}"),
    }
}

#[test]
fn the_objects_are_those_of_the_reference() {
    agrees("objects.md", 2);
}

#[test]
fn the_operators_are_those_of_the_reference() {
    agrees("filters.md", 1);
    let text = std::fs::read_to_string(docs("filters.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Operators\n")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let described: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    let known: BTreeSet<&str> = Operand::ALL.iter().map(|operand| operand.name()).collect();
    assert_eq!(described, known);
}

fn object_table(object: &Object) -> String {
    let mut out = format!("### `{}` (`{}`)\n\n", object.name, object.plural);
    out.push_str("| field | type | |\n|---|---|---|\n");
    for field in &object.fields {
        let mut notes = Vec::new();
        if field.required {
            notes.push("required".to_owned());
        }
        if let Some(options) = field.kind.options() {
            notes.push(format!(
                "one of {}",
                options.iter().map(|o| format!("`{o}`")).collect::<Vec<_>>().join(", ")
            ));
        }
        if let FieldType::Relation { object } = &field.kind {
            let to = standard();
            notes.push(format!("the `id` of a `{}`", to.object_by_id(*object).unwrap().name));
        }
        if let FieldType::Links { domain: true } = &field.kind {
            notes.push("the primary link is kept as a bare domain".to_owned());
        }
        if let Some(default) = &field.default {
            notes.push(format!(
                "`{}` unless given",
                default.as_str().map_or_else(|| default.to_string(), str::to_owned)
            ));
        }
        let _ = writeln!(out, "| `{}` | {} | {} |", field.name, field.kind.name(), notes.join("; "));
    }
    let name = |path: &Path| {
        let field = object.field_by_id(path.field).unwrap();
        match &path.part {
            Some(part) => format!("`{}.{part}`", field.name),
            None => format!("`{}`", field.name),
        }
    };
    let unique: Vec<String> =
        object.unique.iter().map(|u| u.paths.iter().map(name).collect::<Vec<_>>().join(" with ")).collect();
    let indexes: Vec<String> = object.indexes.iter().map(|index| name(&index.path)).collect();
    let said = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let _ = writeln!(out, "\nUnique: {}. Indexed: {}.\n", said(&unique), said(&indexes));
    out
}

/// One field of every type.
fn every_type() -> Vec<FieldType> {
    let options = || vec!["NEW".to_owned(), "DONE".to_owned()];
    vec![
        FieldType::Text,
        FieldType::Number,
        FieldType::Boolean,
        FieldType::Date,
        FieldType::DateTime,
        FieldType::Select { options: options() },
        FieldType::MultiSelect { options: options() },
        FieldType::Currency,
        FieldType::Emails,
        FieldType::Phones,
        FieldType::Links { domain: false },
        FieldType::Address,
        FieldType::FullName,
        FieldType::Rating,
        FieldType::Relation { object: stepwell_records::schema::PERSON },
        FieldType::Array,
        FieldType::RawJson,
        FieldType::Uuid,
    ]
}

fn types_table() -> String {
    let mut out = String::from("| type | holds |\n|---|---|\n");
    for kind in every_type() {
        let holds = match kind.parts() {
            [] => kind.kind().described().to_owned(),
            parts => {
                let parts = parts.iter().map(|(part, kind)| format!("`{part}`: {}", kind.described()));
                format!("an object: {}", parts.collect::<Vec<_>>().join("; "))
            }
        };
        let _ = writeln!(out, "| {} | {holds} |", kind.name());
    }
    out
}

/// An object with a field of every type, called as the type is.
fn sample() -> Object {
    let mut object = Object::clone(standard().object("note").unwrap());
    object.fields = every_type()
        .into_iter()
        .enumerate()
        .map(|(index, kind)| Field {
            id: FieldId(index as u32 + 1),
            name: kind.name().to_owned(),
            label: kind.name().to_owned(),
            kind,
            required: false,
            default: None,
        })
        .collect();
    object
}

fn can_be_asked(object: &Object, path: &str, operand: Operand) -> bool {
    // Any value will do: an operator that does not suit is told before its value is looked at.
    let value: Value = match operand {
        Operand::In | Operand::NotIn | Operand::ContainsAny | Operand::ContainsAll => json!(["{{ x }}"]),
        Operand::IsEmpty => json!(true),
        Operand::Within => json!({ "last": "1d" }),
        _ => json!("{{ x }}"),
    };
    let problems = Filter::field(path, operand, value).check_fields(object);
    !problems.iter().any(|problem| problem.message.contains("cannot be asked of"))
}

fn operators_by_kind() -> String {
    let object = sample();
    let mut rows: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    let mut add = |what: String, path: &str| {
        let operands: Vec<&str> = Operand::ALL
            .iter()
            .filter(|operand| can_be_asked(&object, path, **operand))
            .map(|operand| operand.name())
            .collect();
        match rows.iter_mut().find(|(_, known)| *known == operands) {
            Some((names, _)) if names.contains(&what) => {}
            Some((names, _)) => names.push(what),
            None => rows.push((vec![what], operands)),
        }
    };
    for field in &object.fields {
        let whole = match field.kind.kind() {
            Kind::Composite => "a whole object, such as `emails`".to_owned(),
            _ => field.kind.name().to_owned(),
        };
        add(whole, &field.name);
        for (part, _) in field.kind.parts() {
            add(format!("`{part}`"), &format!("{}.{part}", field.name));
        }
    }
    for (what, path) in
        [("`id`", "id"), ("`createdAt`, `updatedAt`, `deletedAt`", "createdAt"), ("`version`", "version")]
    {
        add(what.to_owned(), path);
    }
    let mut out = String::from("| fields of the kind, and parts | operators |\n|---|---|\n");
    for (names, operands) in rows {
        let list = match operands.len() == Operand::ALL.len() {
            true => "all".to_owned(),
            false => operands.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        let _ = writeln!(out, "| {} | {list} |", names.join(", "));
    }
    out
}
