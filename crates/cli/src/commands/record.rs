//! `stepwell record`: reading and writing the built-in store.

use reqwest::Method;
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
                let filter = json_argument("--filter", &filter)?;
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
        Record::Create { object, fields } => {
            let fields = fields_of(&fields)?;
            let record: Value = client.json(client.post(&["records", &object]).json(&fields)).await?;
            if global.json {
                return output::json(&record);
            }
            // Alone, so that a shell can keep it.
            output::line(record["id"].as_str().unwrap_or_default());
            Ok(())
        }
        Record::Update { object, id, fields } => {
            let fields = fields_of(&fields)?;
            let request = client.request(Method::PATCH, &["records", &object, &id]).json(&fields);
            let record: Value = client.json(request).await?;
            output::json(&record)
        }
        Record::Delete { object, id } => {
            let request = client.request(Method::DELETE, &["records", &object, &id]);
            let record: Value = client.json(request).await?;
            if global.json {
                return output::json(&record);
            }
            output::line(format!("{id} is deleted; to bring it back: stepwell record restore {object} {id}"));
            Ok(())
        }
        Record::Restore { object, id } => {
            let request = client.post(&["records", &object, &id, "restore"]);
            let record: Value = client.json(request).await?;
            output::json(&record)
        }
    }
}

/// The fields of one record.
fn fields_of(text: &str) -> anyhow::Result<Value> {
    let fields = json_argument("FIELDS", text)?;
    if fields.is_array() {
        anyhow::bail!("a record is one JSON object; `stepwell record import` takes many, a line each");
    }
    Ok(fields)
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

/// `1234.50 EUR`
fn money(fields: &serde_json::Map<String, Value>) -> Option<String> {
    const MICROS: i128 = 1_000_000;
    let micros = i128::from(fields.get("amountMicros")?.as_i64()?);
    let code = fields.get("currencyCode").and_then(Value::as_str).unwrap_or_default();
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, rest) = (micros.abs() / MICROS, micros.abs() % MICROS);
    let rest = format!("{rest:06}");
    let rest = &rest[..rest.trim_end_matches('0').len().max(2)];
    Some(format!("{sign}{whole}.{rest} {code}").trim_end().to_owned())
}

/// Whether a name is a part of a composite field, and so says nothing that its value does not; other JSON stays JSON.
fn is_part(name: &str) -> bool {
    const BEGIN: [&str; 4] = ["primary", "additional", "secondary", "address"];
    const WHOLE: [&str; 4] = ["firstName", "lastName", "amountMicros", "currencyCode"];
    BEGIN.iter().any(|begin| name.starts_with(begin)) || WHOLE.contains(&name)
}

/// A composite field as its parts that hold something: `Ada Lovelace`, `ada@example.com`.
pub fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.replace('\n', " "),
        Value::Array(items) => {
            items.iter().map(flat).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => match money(fields) {
            Some(money) => money,
            None if fields.keys().all(|name| is_part(name)) => {
                fields.values().map(flat).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ")
            }
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn composite_fields_read_as_people_write_them() {
        for (value, shown) in [
            (json!({ "firstName": "Ada", "lastName": "Lovelace" }), "Ada Lovelace"),
            (json!({ "primaryEmail": "a@b.example", "additionalEmails": [] }), "a@b.example"),
            (json!({ "amountMicros": 1_234_500_000, "currencyCode": "EUR" }), "1234.50 EUR"),
            (json!({ "amountMicros": -1_250, "currencyCode": "USD" }), "-0.00125 USD"),
            (json!({ "views": 3, "demo": true }), "{\"demo\":true,\"views\":3}"),
        ] {
            let flat = flat(&value);
            let same = flat == shown || serde_json::from_str::<Value>(&flat).is_ok_and(|read| read == value);
            assert!(same, "{flat} is not {shown}");
        }
    }
}
