//! `stepwell record import`: a file of records, written in calls of as many as one takes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};
use stepwell_engine::{BulkResult, BulkRow};
use stepwell_records::json_bytes;
use stepwell_workflow::distinct;

use super::Bad;
use crate::client::{Client, ClientError};
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

/// A record and its line in the file; or why the line is none.
type Numbered = (usize, Result<Value, String>);
/// A failure to read the file at all is the outer one.
type Read = anyhow::Result<Numbered>;

/// What has come of the file so far.
#[derive(Default)]
struct Come {
    total: BTreeMap<&'static str, u64>,
    failures: Vec<Value>,
    /// The last line of which the server has said what came of it.
    done: usize,
    /// The last line that was sent.
    sent: usize,
}

pub async fn import(
    client: &Client,
    object: &str,
    file: &PathBuf,
    how: &How,
    json: bool,
) -> anyhow::Result<()> {
    let is_csv = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let input: Box<dyn io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let records: Box<dyn Iterator<Item = Read>> = if is_csv {
        let fields: Value = client.json(client.get(&["objects", object])).await?;
        Box::new(csv_records(input, fields, file)?)
    } else {
        Box::new(json_lines(BufReader::new(input)))
    };
    let mut come = Come::default();
    for what in ["created", "updated", "unchanged", "deleted", "restored", "failed", "unknown"] {
        come.total.insert(what, 0);
    }
    let sent = send_all(client, object, how, records, &mut come).await;
    let ended = sent.with_context(|| format!("{}", file.display()));
    let Come { total, failures, done, sent } = come;
    if json {
        let mut told = json!({ "total": total, "failures": failures });
        if ended.is_err() {
            told["stopped"] = json!({ "done_to_line": done, "sent_to_line": sent });
        }
        output::json(&told)?;
    } else {
        for failure in failures.iter().take(TOLD) {
            let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
            output::complain(format!("line {}: {}", failure["line"], text("message")));
        }
        if failures.len() > TOLD {
            output::complain(format!("and {} more", output::number((failures.len() - TOLD) as u64)));
        }
        let counts = total.iter().filter(|(_, count)| **count != 0);
        let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        match (counts.is_empty(), ended.is_ok()) {
            (false, _) => output::line(counts.join(", ")),
            (true, true) => output::line("the file has no records"),
            (true, false) => {}
        }
        if ended.is_err() && sent > done {
            output::complain(match done {
                0 => format!("what came of the lines up to {sent} is not known"),
                _ => format!(
                    "all up to line {done} is done; what came of the lines after it, up to {sent}, is not known"
                ),
            });
            output::complain(match how.action.as_str() {
                "create" => {
                    "look which of them are there before they are sent again: `create` would make them twice; an `upsert` \
                     would not"
                }
                _ => "send them again: what is done already stays as it is",
            });
        } else if ended.is_err() {
            output::complain(match done {
                0 => "nothing was written".to_owned(),
                _ => format!("all up to line {done} is done, and nothing after it"),
            });
        }
    }
    ended?;
    match failures.len() {
        0 => Ok(()),
        1 => Err(Bad("1 record was not written".to_owned()).into()),
        n => Err(Bad(format!("{n} records were not written")).into()),
    }
}

async fn send_all(
    client: &Client,
    object: &str,
    how: &How,
    records: impl Iterator<Item = Read>,
    come: &mut Come,
) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    let (mut bytes, mut last) = (0, 0);
    for record in records {
        let (line, record) = record?;
        last = line;
        match record {
            Ok(record) => {
                let length = json_bytes(&record);
                // A large one goes alone, and what it is refused for is told of it alone.
                if !batch.is_empty() && bytes + length > AT_ONCE_BYTES {
                    send(client, object, how, std::mem::take(&mut batch), come).await?;
                    bytes = 0;
                }
                bytes += length;
                batch.push((line, record));
            }
            Err(message) => {
                *come.total.entry("failed").or_default() += 1;
                come.failures.push(json!({ "line": line, "code": "unreadable", "message": message }));
            }
        }
        if batch.len() == AT_ONCE || bytes >= AT_ONCE_BYTES {
            send(client, object, how, std::mem::take(&mut batch), come).await?;
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        send(client, object, how, batch, come).await?;
    }
    come.done = last;
    Ok(())
}

async fn send(
    client: &Client,
    object: &str,
    how: &How,
    batch: Vec<(usize, Value)>,
    come: &mut Come,
) -> anyhow::Result<()> {
    let (lines, records): (Vec<usize>, Vec<Value>) = batch.into_iter().unzip();
    come.sent = lines.last().copied().unwrap_or(come.sent);
    let body = json!({
        "action": how.action, "records": records, "match": how.match_on, "create_only": how.create_only,
        "events": if how.no_events { "none" } else { "emit" },
    });
    let asked = client.json(client.post(&["records", object, "bulk"]).json(&body)).await;
    if let Err(ClientError::Refused(problem)) = &asked
        && (problem.status < 500 || matches!(problem.code.as_str(), "store_unavailable" | "storage_full"))
    {
        // Nothing of it was written.
        come.sent = come.done;
    }
    let done: BulkResult = asked.with_context(|| match lines.as_slice() {
        [first, .., last] => format!("lines {first} to {last}"),
        lines => format!("line {}", lines.first().copied().unwrap_or_default()),
    })?;
    take_in(done, &lines, come)
}

/// Notes what came of the records of some lines; an error when that is not known of all of them.
fn take_in(done: BulkResult, lines: &[usize], come: &mut Come) -> anyhow::Result<()> {
    for (what, count) in [
        ("created", done.created),
        ("updated", done.updated),
        ("unchanged", done.unchanged),
        ("deleted", done.deleted),
        ("restored", done.restored),
        ("failed", done.failed),
        ("unknown", done.unknown),
    ] {
        *come.total.entry(what).or_default() += count as u64;
    }
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    let unknown = |row: &BulkRow| row.outcome == "unknown";
    // From there on nothing is settled; what is known not to be written is not told line by line.
    let open = |row: &BulkRow| unknown(row) || row.outcome == "not_written";
    let first = done.results.iter().position(open);
    let ended = match first {
        Some(first) => {
            come.done = first.checked_sub(1).map_or(come.done, line);
            come.sent = done.results.iter().rposition(unknown).map_or(come.done, line);
            let why = done.results[first].error.as_ref().map_or("", |error| &error.message);
            Err(anyhow::anyhow!("line {}: {why}", line(first)))
        }
        None => {
            come.done = come.sent;
            Ok(())
        }
    };
    come.failures.extend(done.results.into_iter().filter(|row| row.outcome == "failed").filter_map(|row| {
        let error = row.error?;
        Some(json!({ "line": lines.get(row.index)?, "code": error.code, "message": error.message }))
    }));
    ended
}

/// A line of more than this is no record of a file: the server takes no more in one call.
const LONGEST_LINE: u64 = 8 << 20;

/// The lines of a file of JSON that are not empty, one record each.
fn json_lines(mut input: impl BufRead) -> impl Iterator<Item = Read> {
    let mut number = 0;
    std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            match std::io::Read::take(&mut input, LONGEST_LINE + 1).read_until(b'\n', &mut line) {
                Err(error) => return Some(Err(error.into())),
                Ok(0) => return None,
                Ok(_) => number += 1,
            }
            if line.len() as u64 > LONGEST_LINE {
                let most = output::size(LONGEST_LINE);
                return Some(Err(anyhow::anyhow!(
                    "line {number} has more than {most}; each line is one record, as JSON"
                )));
            }
            let line = match number {
                1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line),
                _ => &line,
            };
            if !line.trim_ascii().is_empty() {
                return Some(Ok((number, json_record(line))));
            }
        }
    })
}

/// Some programs write it at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn json_record(line: &[u8]) -> Result<Value, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let hint = "each line is one record, whole";
    match distinct::from_slice(line.as_bytes()) {
        Ok(record @ Value::Object(_)) => Ok(record),
        Ok(_) => Err(format!("it is no record: an object of its fields; {hint}")),
        Err(error) if error.is_data() => Err(error.to_string()),
        Err(error) if error.is_eof() => Err(format!("it is not JSON: {error}; {hint}")),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// Records of a CSV file: a column a field, or a part of one such as `name.firstName`. What is empty is left out.
fn csv_records(
    input: impl io::Read,
    object: Value,
    file: &Path,
) -> anyhow::Result<impl Iterator<Item = Read>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(input);
    let heads: Vec<String> =
        reader.headers().with_context(|| format!("{}", file.display()))?.iter().map(str::to_owned).collect();
    check_heads(&heads).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
    let kinds: Vec<String> = heads.iter().map(|head| kind_of(&object, head)).collect();
    Ok(reader.into_records().map(move |row| {
        let row = match row {
            Err(error) if !error.is_io_error() => {
                let line = error.position().map_or(0, csv::Position::line) as usize;
                return Ok((line, Err(unreadable(&error))));
            }
            row => row?,
        };
        let line = row.position().map_or(0, csv::Position::line) as usize;
        let mut record = Map::new();
        for ((head, kind), cell) in heads.iter().zip(&kinds).zip(row.iter()) {
            if !cell.is_empty() {
                put(&mut record, head, value(kind, cell));
            }
        }
        Ok((line, Ok(Value::Object(record))))
    }))
}

/// A column that would be lost, or would push another one out.
fn check_heads(heads: &[String]) -> Result<(), String> {
    if let [only] = heads
        && let Some(between) = [';', '\t', '|'].into_iter().find(|c| only.contains(*c))
    {
        return Err(format!("its first line has {between:?} between the names; write commas"));
    }
    for (at, head) in heads.iter().enumerate() {
        if head.is_empty() {
            return Err(format!("column {} has no name", at + 1));
        }
        if heads[..at].contains(head) {
            return Err(format!("there are two columns `{head}`; name the field of each, or leave one out"));
        }
        let part_of_it =
            |other: &&String| other.strip_prefix(head.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if let Some(part) = heads.iter().find(part_of_it) {
            return Err(format!(
                "the column `{part}` is a part of the field that the column `{head}` is; keep one"
            ));
        }
    }
    Ok(())
}

fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} cells, and the first line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
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
                Ok(
                    json!({"name": {"firstName": "Ann"}, "score": 1.5, "tags": ["a", "b"], "hot": true, "zip": "01234",
                "amount": {"amountMicros": 100}})
                )
            )
        );
        assert_eq!(records[1], (3, Ok(json!({"name": {"firstName": "B,o\nb"}, "score": "x"}))));
    }

    #[test]
    fn columns_that_would_be_lost_are_refused() {
        let told = |heads: &str| {
            let heads: Vec<String> = heads.split(',').map(str::to_owned).collect();
            check_heads(&heads).err().unwrap_or_default()
        };
        assert_eq!(told("city,name.firstName,name.lastName,cityPart"), "");
        assert_eq!(
            told("city,zip,city"),
            "there are two columns `city`; name the field of each, or leave one out"
        );
        for mixed in ["city,city.x", "city.x,zip,city"] {
            assert!(told(mixed).starts_with("the column `city.x` is a part of"), "{mixed}: {}", told(mixed));
        }
        assert_eq!(told("city,,zip"), "column 2 has no name");
        assert_eq!(told("city;zip"), "its first line has ';' between the names; write commas");
    }

    /// What an import of lines 11 to 18 comes to, when the server answers so.
    fn taken_in(outcomes: &[&str]) -> (String, Come) {
        let row = |(index, outcome): (usize, &&str)| match *outcome {
            "created" => json!({ "index": index, "outcome": outcome }),
            _ => {
                json!({ "index": index, "outcome": outcome, "error": { "code": outcome, "message": "the store failed" } })
            }
        };
        let rows: Vec<Value> = outcomes.iter().enumerate().map(row).collect();
        let mut done = json!({ "results": rows });
        for what in
            ["created", "updated", "unchanged", "deleted", "restored", "failed", "not_written", "unknown"]
        {
            done[what] = outcomes.iter().filter(|outcome| **outcome == what).count().into();
        }
        let mut come = Come { sent: 18, done: 10, ..Come::default() };
        let told = take_in(
            serde_json::from_value(done).unwrap(),
            &[11, 12, 13, 15, 16, 17, 18][..outcomes.len()],
            &mut come,
        );
        assert_eq!(come.total["created"], 2);
        (told.err().map_or_else(String::new, |error| error.to_string()), come)
    }

    #[test]
    fn what_nobody_knows_is_told_apart_from_what_failed() {
        let outcomes = ["created", "failed", "created", "unknown", "failed", "unknown", "not_written"];
        let (error, come) = taken_in(&outcomes);
        assert_eq!(error, "line 15: the store failed");
        assert_eq!((come.done, come.sent), (13, 17), "what is not known lies between");
        let failed = |line: u64| json!({ "line": line, "code": "failed", "message": "the store failed" });
        assert_eq!(come.failures, [failed(12), failed(16)]);
        assert_eq!((come.total["failed"], come.total["unknown"]), (2, 2));
    }

    #[test]
    fn what_the_store_would_not_take_is_still_to_be_sent() {
        let outcomes =
            ["created", "failed", "created", "not_written", "not_written", "not_written", "not_written"];
        let (error, come) = taken_in(&outcomes);
        assert_eq!(error, "line 15: the store failed");
        assert_eq!((come.done, come.sent), (13, 13), "and it is known of all");
        assert_eq!(come.failures, [json!({ "line": 12, "code": "failed", "message": "the store failed" })]);
        let (error, come) = taken_in(&["created", "created"]);
        assert_eq!((error.as_str(), come.done), ("", 18));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_and_those_after_it_are_read() {
        let lines = b"\xef\xbb\xbf{\"a\": 1}\n\n{\"b\n\xff\n[2]";
        let lines: Vec<_> = json_lines(&lines[..]).map(Result::unwrap).collect();
        let told = |line: &Numbered| {
            (line.0, line.1.clone().map_err(|why| why.split(':').next().unwrap().to_owned()))
        };
        let lines: Vec<_> = lines.iter().map(told).collect();
        let not = |what: &str| Err(format!("it is not {what}"));
        assert_eq!(
            lines,
            [
                (1, Ok(json!({"a": 1}))),
                (3, not("JSON")),
                (4, not("UTF-8")),
                (5, Err("it is no record".to_owned()))
            ]
        );
        let twice = json_record(b"{\"a\": 1, \"a\": 2}").unwrap_err();
        assert!(twice.starts_with("the member \"a\" is there twice"), "{twice}");
        let pretty = json_record(b"{").unwrap_err();
        assert!(pretty.ends_with("each line is one record, whole"), "{pretty}");
        let endless = std::io::Cursor::new(vec![b'x'; LONGEST_LINE as usize + 2]);
        let told = json_lines(endless).next().unwrap().unwrap_err().to_string();
        assert!(told.starts_with("line 1 has more than 8.0 MiB"), "{told}");
        let text = b"zip,score\n1,2\n3\n4,\xff\n5,6\n";
        let rows = csv_records(&text[..], json!({"fields": []}), Path::new("a.csv")).unwrap();
        let rows: Vec<Numbered> = rows.map(Result::unwrap).collect();
        assert_eq!(rows[1], (3, Err("it has 1 cells, and the first line has 2".to_owned())));
        assert_eq!(rows[2], (4, Err("it is not UTF-8".to_owned())));
        assert_eq!(rows[3], (5, Ok(json!({"zip": "5", "score": "6"}))));
    }
}
