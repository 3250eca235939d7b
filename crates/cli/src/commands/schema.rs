//! `stepwell schema` and `stepwell object`: objects and fields, and the files that say which are needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepwell_engine::{SchemaApplied, SchemaChange, SchemaPlan};
use stepwell_workflow::schema_file;

use super::Bad;
use super::files;
use crate::args::{Global, Object, Schema};
use crate::client::{Client, ClientError};
use crate::output;

pub async fn main(command: Schema, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Schema::Plan { path } => {
            let plan = plan(&client, &read(&path)?, &BTreeMap::new()).await?;
            if global.json {
                return output::json(&plan);
            }
            show(&plan.changes);
            Ok(())
        }
        Schema::Apply { path, wait } => {
            let text = read(&path)?;
            if !global.json {
                show(&plan(&client, &text, &BTreeMap::new()).await?.changes);
            }
            let applied = apply(&client, &text, &BTreeMap::new(), &wait).await?;
            if global.json {
                output::json(&applied)?;
            }
            ended(&applied)
        }
    }
}

/// The text of a schema file, or of the one in a folder.
fn read(path: &Path) -> anyhow::Result<String> {
    let file = if path.is_dir() { path.join(schema_file::FILE) } else { path.to_owned() };
    files::text(&file)
}

/// The schema file of a folder, where it has one.
pub fn of_folder(path: &Path) -> Option<PathBuf> {
    Some(path.join(schema_file::FILE)).filter(|file| path.is_dir() && file.is_file())
}

pub async fn plan(
    client: &Client,
    text: &str,
    workflows: &BTreeMap<String, String>,
) -> Result<SchemaPlan, ClientError> {
    let body = json!({ "schema": text, "workflows": workflows });
    client.json(client.post(&["schema", "plan"]).json(&body)).await
}

pub async fn apply(
    client: &Client,
    text: &str,
    workflows: &BTreeMap<String, String>,
    wait: &str,
) -> anyhow::Result<SchemaApplied> {
    let body = json!({ "schema": text, "workflows": workflows });
    let request = client.post(&["schema", "apply"]).query(&[("wait", wait)]).json(&body);
    Ok(client.json(request).await?)
}

pub fn show(changes: &[SchemaChange]) {
    if changes.is_empty() {
        output::line("the schema is as wanted");
    }
    for change in changes {
        output::line(format!("- {}", change.about));
    }
}

/// Tells what is not done yet.
pub fn not_built(applied: &SchemaApplied) {
    if applied.building {
        output::complain("unique sets or indexes are still being built: stepwell object get NAME shows them");
    }
}

/// Tells what is not done yet, or cannot be.
fn ended(applied: &SchemaApplied) -> anyhow::Result<()> {
    not_built(applied);
    match applied.refused.as_slice() {
        [] => Ok(()),
        refused => Err(Bad(refused.join("\n")).into()),
    }
}

pub async fn object(command: Object, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Object::List => {
            // They are few, and come in one answer.
            let answer: Value = client.json(client.get(&["objects"])).await?;
            if global.json {
                return output::json(&answer);
            }
            let objects = answer["objects"].as_array().cloned().unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let row = |object: &Value| {
                let fields = object["fields"].as_array().map_or(0, Vec::len);
                let kind = if object["custom"] == true { "own" } else { "standard" };
                vec![text(&object["name"]), text(&object["plural"]), kind.to_owned(), fields.to_string()]
            };
            output::table(&["object", "plural", "kind", "fields"], objects.iter().map(row).collect());
        }
        Object::Get { name } => {
            let object: Value = client.json(client.get(&["objects", &name])).await?;
            if global.json {
                return output::json(&object);
            }
            shown(&object);
        }
    }
    Ok(())
}

fn shown(object: &Value) {
    let list = |key: &str| object[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = list("fields").into_iter().map(|field| {
        let mut about = Vec::new();
        if field["required"] == true {
            about.push("required".to_owned());
        }
        if let Some(other) = field["object"].as_str() {
            about.push(format!("of {other}"));
        }
        if let Some(options) = field["options"].as_array() {
            about.push(options.iter().map(&text).collect::<Vec<_>>().join(" | "));
        }
        if !field["default"].is_null() {
            about.push(format!("{} unless given", field["default"]));
        }
        vec![text(&field["name"]), text(&field["type"]), about.join(", ")]
    });
    output::table(&["field", "type", ""], rows.collect());
    for (key, member, what) in [("unique", "fields", "unique"), ("indexes", "field", "indexed")] {
        for item in list(key) {
            let names = match &item[member] {
                Value::Array(names) => names.iter().map(&text).collect::<Vec<_>>().join(", "),
                name => text(name),
            };
            let done = item["records_done"].as_u64();
            let done =
                done.map(|done| format!(", {} records done", output::number(done))).unwrap_or_default();
            let state = match (item["state"].as_str(), item["problem"].as_str()) {
                (Some("ready"), _) => String::new(),
                (Some(state), Some(problem)) => format!(" ({state}: {problem})"),
                (Some(state), None) => format!(" ({state}{done})"),
                (None, _) => String::new(),
            };
            output::line(format!("{what}: {names}{state}"));
        }
    }
}
