//! `stepwell record`: reading the built-in store.

use serde_json::Value;

use super::json_argument;
use crate::args::{Global, Record};
use crate::client::Client;
use crate::output;

pub async fn main(command: Record, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Record::List { object, filter, sort, limit, cursor } => {
            let mut request = client.get(&["records", &object]).query(&[("limit", limit.to_string())]);
            if let Some(filter) = filter {
                let filter = json_argument("filter", &filter)?;
                request = request.query(&[("filter", filter.to_string())]);
            }
            for (name, value) in [("sort", sort), ("cursor", cursor)] {
                if let Some(value) = value {
                    request = request.query(&[(name, value)]);
                }
            }
            let page: Value = client.json(request).await?;
            if global.json {
                return output::json(&page);
            }
            show_page(&page);
            Ok(())
        }
        Record::Import { object, file, action, match_on, create_only, no_events } => {
            let how = super::import::How { action, match_on, create_only, no_events };
            super::import::import(&client, &object, &file, &how, global.json).await
        }
        Record::Get { object, id } => {
            let record: Value = client.json(client.get(&["records", &object, &id])).await?;
            output::json(&record)
        }
        Record::Restore { object, id } => {
            let request = client.post(&["records", &object, &id, "restore"]);
            let record: Value = client.json(request).await?;
            output::json(&record)
        }
    }
}

/// The fields that hold something, as columns in the order the records have them.
fn show_page(page: &Value) {
    let empty = Vec::new();
    let records = page["records"].as_array().unwrap_or(&empty);
    let mut columns: Vec<String> = vec!["id".into()];
    for record in records {
        for (name, value) in record.as_object().into_iter().flatten() {
            let shown = !matches!(name.as_str(), "id" | "updatedAt" | "version" | "deletedAt");
            if shown && !is_blank(value) && !columns.contains(name) {
                columns.push(name.clone());
            }
        }
    }
    let rows = records
        .iter()
        .map(|record| columns.iter().map(|c| output::cut(&flat(&record[c.as_str()]), 40)).collect())
        .collect();
    output::columns(&columns, rows);
    if let Some(cursor) = page["next_cursor"].as_str() {
        let total = page["total"].as_u64().map(output::number).unwrap_or_default();
        let at_least = if page["total_is_exact"] == false { "at least " } else { "" };
        output::line(format!("\n{} of {at_least}{total}; more: --cursor {cursor}", records.len()));
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.iter().all(is_blank),
        Value::Object(o) => o.values().all(is_blank),
        _ => false,
    }
}

/// A composite field as its parts that hold something: `Ada Lovelace`, `ada@example.com`.
pub fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.replace('\n', " "),
        Value::Array(items) => {
            items.iter().map(flat).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => {
            fields.values().map(flat).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
