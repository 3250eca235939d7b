//! `stepwell record import`: a file of records, written in calls of as many as one takes.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};
use stepwell_engine::BulkResult;

use super::Bad;
use crate::client::Client;
use crate::output;

/// Records of one call, and about how many bytes of them.
const AT_ONCE: usize = 500;
const AT_ONCE_BYTES: usize = 1 << 20;
/// Records that could not be written and are told one by one.
const TOLD: usize = 20;

/// What is to be done with them.
pub struct How {
    pub action: String,
    pub match_on: Vec<String>,
    pub create_only: Vec<String>,
    pub no_events: bool,
}

/// A record and its line in the file.
type Numbered = (usize, Value);

pub async fn import(
    client: &Client,
    object: &str,
    file: &PathBuf,
    how: &How,
    json: bool,
) -> anyhow::Result<()> {
    let is_csv = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let mut total =
        json!({ "created": 0, "updated": 0, "unchanged": 0, "deleted": 0, "restored": 0, "failed": 0 });
    let mut failures = Vec::new();
    let mut batch: Vec<Numbered> = Vec::new();
    let mut bytes = 0;
    let records: Box<dyn Iterator<Item = anyhow::Result<Numbered>>> = if is_csv {
        let fields: Value = client.json(client.get(&["objects", object])).await?;
        Box::new(csv_records(input, fields, file)?)
    } else {
        Box::new(json_lines(BufReader::new(input)))
    };
    for record in records {
        let record = record.with_context(|| format!("{}", file.display()))?;
        bytes += record.1.to_string().len();
        batch.push(record);
        if batch.len() == AT_ONCE || bytes >= AT_ONCE_BYTES {
            send(client, object, how, std::mem::take(&mut batch), &mut total, &mut failures).await?;
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        send(client, object, how, batch, &mut total, &mut failures).await?;
    }
    if json {
        output::json(&json!({ "total": total, "failures": failures }))?;
    } else {
        for failure in failures.iter().take(TOLD) {
            let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
            output::complain(format!("line {}: {}", failure["line"], text("message")));
        }
        if failures.len() > TOLD {
            output::complain(format!("and {} more", output::number((failures.len() - TOLD) as u64)));
        }
        let counts = total.as_object().into_iter().flatten().filter(|(_, count)| **count != json!(0));
        let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        output::line(if counts.is_empty() {
            "the file has no records".to_owned()
        } else {
            counts.join(", ")
        });
    }
    match failures.len() {
        0 => Ok(()),
        n => Err(Bad(format!("{n} records were not written")).into()),
    }
}

async fn send(
    client: &Client,
    object: &str,
    how: &How,
    batch: Vec<Numbered>,
    total: &mut Value,
    failures: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let (lines, records): (Vec<usize>, Vec<Value>) = batch.into_iter().unzip();
    let body = json!({
        "action": how.action, "records": records, "match": how.match_on, "create_only": how.create_only,
        "events": if how.no_events { "none" } else { "emit" },
    });
    let done: BulkResult = client.json(client.post(&["records", object, "bulk"]).json(&body)).await?;
    for (what, count) in [
        ("created", done.created),
        ("updated", done.updated),
        ("unchanged", done.unchanged),
        ("deleted", done.deleted),
        ("restored", done.restored),
        ("failed", done.failed),
    ] {
        total[what] = json!(total[what].as_u64().unwrap_or(0) + count as u64);
    }
    failures.extend(done.results.into_iter().filter_map(|row| {
        let error = row.error?;
        let line = lines.get(row.index)?;
        Some(json!({ "line": line, "code": error.code, "message": error.message }))
    }));
    Ok(())
}

fn json_lines(input: impl BufRead) -> impl Iterator<Item = anyhow::Result<Numbered>> {
    let lines =
        input.lines().enumerate().filter(|(_, line)| !line.as_ref().is_ok_and(|line| line.trim().is_empty()));
    lines.map(|(index, line)| {
        let number = index + 1;
        let record = serde_json::from_str(&line?)
            .map_err(|error| anyhow::anyhow!("line {number} is not JSON: {error}"))?;
        Ok((number, record))
    })
}

/// Records of a CSV file: a column a field, or a part of one such as `name.firstName`. What is empty is left out.
fn csv_records(
    input: impl Read,
    object: Value,
    file: &Path,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Numbered>>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(input);
    let heads: Vec<String> =
        reader.headers().with_context(|| format!("{}", file.display()))?.iter().map(str::to_owned).collect();
    let kinds: Vec<String> = heads.iter().map(|head| kind_of(&object, head)).collect();
    Ok(reader.into_records().map(move |row| {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line) as usize;
        let mut record = Map::new();
        for ((head, kind), cell) in heads.iter().zip(&kinds).zip(row.iter()) {
            if !cell.is_empty() {
                put(&mut record, head, value(kind, cell));
            }
        }
        Ok((line, Value::Object(record)))
    }))
}

/// The type of a field, or of a part of one.
fn kind_of(object: &Value, head: &str) -> String {
    let (name, part) = head.split_once('.').map_or((head, None), |(name, part)| (name, Some(part)));
    let fields = object["fields"].as_array().into_iter().flatten();
    let kind =
        fields.into_iter().find(|field| field["name"] == name).and_then(|field| field["type"].as_str());
    match (kind, part) {
        (_, Some("amountMicros" | "addressLat" | "addressLng")) => "number".to_owned(),
        (_, Some("additionalEmails" | "additionalPhones")) => "array".to_owned(),
        (_, Some("secondaryLinks")) => "raw_json".to_owned(),
        (_, Some(_)) | (None, None) => "text".to_owned(),
        (Some(kind), None) => kind.to_owned(),
    }
}

/// A cell as the field holds it; what does not fit goes as text, for the server to say what would.
fn value(kind: &str, cell: &str) -> Value {
    let parsed = || serde_json::from_str::<Value>(cell.trim()).ok();
    match kind {
        "number" | "rating" => parsed().filter(Value::is_number).unwrap_or_else(|| cell.into()),
        "boolean" => parsed().filter(Value::is_boolean).unwrap_or_else(|| cell.into()),
        "multi_select" | "array" => cell.split(';').map(|item| Value::from(item.trim())).collect(),
        "raw_json" => parsed().unwrap_or_else(|| cell.into()),
        _ => cell.into(),
    }
}

fn put(record: &mut Map<String, Value>, head: &str, value: Value) {
    match head.split_once('.') {
        None => {
            record.insert(head.to_owned(), value);
        }
        Some((name, part)) => {
            let whole = record.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Some(whole) = whole.as_object_mut() {
                whole.insert(part.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_become_what_their_fields_hold() {
        let object = json!({"fields": [
            {"name": "name", "type": "full_name"}, {"name": "score", "type": "number"}, {"name": "tags", "type": "array"},
            {"name": "hot", "type": "boolean"}, {"name": "zip", "type": "text"}, {"name": "amount", "type": "currency"}]});
        let text = "name.firstName,score,tags,hot,zip,amount.amountMicros\nAnn,1.5,a; b,true,01234,100\n\"B,o\nb\",x,,,,\n";
        let records: Vec<Numbered> =
            csv_records(text.as_bytes(), object, Path::new("a.csv")).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            records[0],
            (
                2,
                json!({"name": {"firstName": "Ann"}, "score": 1.5, "tags": ["a", "b"], "hot": true, "zip": "01234",
                "amount": {"amountMicros": 100}})
            )
        );
        assert_eq!(records[1], (3, json!({"name": {"firstName": "B,o\nb"}, "score": "x"})));
        let lines = json_lines("{\"a\": 1}\n\n[2]\n{".as_bytes());
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines[1].as_ref().unwrap(), &(3, json!([2])));
        assert!(lines[2].as_ref().unwrap_err().to_string().starts_with("line 4 is not JSON"));
    }
}
