//! Files as tables: CSV with a line of names, or a list of JSON objects.

use serde_json::Value;
use stepwell_action::Failure;

use crate::columns::{Cells, Column, named};

pub struct Table {
    pub rows: Vec<Found>,
    pub ignored: Vec<String>,
}

/// A row, or its address and what is wrong with it.
pub struct Found {
    pub line: u64,
    pub cells: Result<Cells, (Option<String>, String)>,
}

pub fn csv(text: &str) -> Result<Table, Failure> {
    // Spreadsheets write a mark in front, and in some countries semicolons.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let head = text.lines().next().unwrap_or_default();
    let count = |sign: char| head.matches(sign).count();
    let delimiter =
        [b',', b';', b'\t'].into_iter().max_by_key(|sign| (count(char::from(*sign)), *sign == b','));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(b','))
        .flexible(true)
        .from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| Failure::new("unreadable", format!("the file is no CSV: {error}"));
    let names: Vec<String> =
        reader.headers().map_err(unreadable)?.iter().map(|name| name.trim().to_owned()).collect();
    let (columns, ignored) = columns(&names)?;
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    while reader.read_record(&mut record).map_err(unreadable)? {
        let begins = record.position().map_or(0, csv::Position::byte);
        let line = lines.of(usize::try_from(begins).unwrap_or(usize::MAX));
        // A line with nothing in it, as spreadsheets leave them at the end.
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let mut cells = Cells::default();
        for (column, text) in columns.iter().zip(record.iter()) {
            if let Some(column) = column {
                cells.set(*column, text);
            }
        }
        let fits = record.len() == names.len();
        let why = || format!("{} cells where the first line has {}", record.len(), names.len());
        let cells = if fits { Ok(cells) } else { Err((cells.email, why())) };
        rows.push(Found { line, cells });
    }
    Ok(Table { rows, ignored })
}

/// Counts lines as an editor does. (The reader's own count leaves out empty lines and half of a line's end.)
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line that a record is in which begins at, or after the line's end at, this byte; they come in order.
    fn of(&mut self, begins: usize) -> u64 {
        while let Some(byte) = self.text.get(self.at) {
            if self.at >= begins && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

/// What each column means, and those that mean nothing.
fn columns(names: &[String]) -> Result<(Vec<Option<Column>>, Vec<String>), Failure> {
    let columns: Vec<Option<Column>> = names.iter().map(|name| named(name)).collect();
    let known: Vec<Column> = columns.iter().copied().flatten().collect();
    if !known.contains(&Column::Email) {
        let message = format!("the first line names no column `email`: {}", names.join(", "));
        return Err(Failure::new("no_email_column", message));
    }
    if let Some(twice) = known.iter().enumerate().find(|(at, column)| known[..*at].contains(column)) {
        return Err(Failure::new("column_twice", format!("two columns say {:?}", twice.1)));
    }
    let ignored = names.iter().zip(&columns).filter(|(_, column)| column.is_none());
    let ignored = ignored.map(|(name, _)| name.clone()).collect();
    Ok((columns, ignored))
}

pub fn json(list: Vec<Value>) -> Result<Table, Failure> {
    let mut ignored = Vec::new();
    let mut rows = Vec::with_capacity(list.len());
    for (line, row) in (1..).zip(list) {
        let Value::Object(row) = row else {
            rows.push(Found { line, cells: Err((None, "the row is no object".into())) });
            continue;
        };
        let (mut cells, mut wrong) = (Cells::default(), None);
        for (name, value) in row {
            let Some(column) = named(&name) else {
                if !ignored.contains(&name) && ignored.len() < 100 {
                    ignored.push(name);
                }
                continue;
            };
            match value {
                Value::Null => {}
                Value::String(text) => cells.set(column, &text),
                Value::Number(number) => cells.set(column, &number.to_string()),
                _ => wrong = Some(format!("{name} is neither a text nor a number")),
            }
        }
        let cells = match wrong {
            None => Ok(cells),
            Some(why) => Err((cells.email, why)),
        };
        rows.push(Found { line, cells });
    }
    Ok(Table { rows, ignored })
}
