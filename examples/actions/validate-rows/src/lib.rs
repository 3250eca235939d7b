//! Reads the rows of a file of contacts, CSV or JSON, and says of each bad row what is wrong with it. A file that cannot be
//! read at all is a failure.

mod columns;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_action::{Failure, action};

use columns::Cells;

/// What the rows come to has to fit the largest output.
const MAX_ROWS: usize = 50_000;

/// Longer cells are no names and cities.
const MAX_CELL: usize = 200;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct File {
    /// CSV as a text; or a list of rows, or `{rows, mode}`.
    pub file: Value,
    /// What holds where the file says no `mode`.
    pub mode: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    PerRow,
    AllOrNothing,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Read {
    pub mode: Mode,
    /// All rows, the bad ones too.
    pub count: usize,
    pub rows: Vec<Row>,
    pub bad: Vec<Bad>,
    /// Columns that mean nothing here.
    pub ignored: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    /// In a CSV file the line, in a list the number from 1 on.
    pub line: u64,
    #[serde(flatten)]
    pub cells: Cells,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Bad {
    pub line: u64,
    pub email: String,
    pub why: String,
}

#[action]
pub fn validate_rows(given: File) -> Result<Read, Failure> {
    let (list, said) = match given.file {
        Value::String(text) => (table::csv(&text)?, None),
        Value::Array(rows) => (table::json(rows)?, None),
        Value::Object(mut file) => {
            let Some(Value::Array(rows)) = file.remove("rows") else {
                let told = "there is no list `rows` in the file; CSV is posted with `Content-Type: text/csv`, or it is read as a form";
                return Err(Failure::new("no_rows", told));
            };
            (table::json(rows)?, file.remove("mode"))
        }
        _ => return Err(Failure::new("no_rows", "there is no file: send CSV as text/csv, or JSON")),
    };
    let mode = match said {
        None | Some(Value::Null) => mode(given.mode.as_deref().unwrap_or("per_row"))?,
        Some(Value::String(said)) => mode(&said)?,
        Some(_) => return Err(mode_unknown("what the file says")),
    };
    let table::Table { rows: found, ignored } = list;
    let count = found.len();
    if count > MAX_ROWS {
        let message = format!("{count} rows in one file, at most {MAX_ROWS} are taken: send it in parts");
        return Err(Failure::new("too_many_rows", message));
    }
    let (mut rows, mut bad) = (Vec::with_capacity(count), Vec::new());
    for table::Found { line, cells } in found {
        match cells.and_then(|cells| checked(&cells).map_or(Ok(cells.clone()), |why| Err((cells.email, why))))
        {
            Ok(cells) => rows.push(Row { line, cells }),
            Err((email, why)) => {
                let email = email.unwrap_or_default().chars().take(MAX_CELL).collect();
                bad.push(Bad { line, email, why });
            }
        }
    }
    log::info!(rows = count, bad = bad.len(); "read");
    Ok(Read { mode, count, rows, bad, ignored })
}

fn mode(text: &str) -> Result<Mode, Failure> {
    match text {
        "per_row" => Ok(Mode::PerRow),
        "all_or_nothing" => Ok(Mode::AllOrNothing),
        other => Err(mode_unknown(&format!("`{other}`"))),
    }
}

fn mode_unknown(what: &str) -> Failure {
    Failure::new("unknown_mode", format!("{what} is no mode: write `per_row` or `all_or_nothing`"))
}

/// What is wrong with a row.
fn checked(cells: &Cells) -> Option<String> {
    for (name, text) in cells.all() {
        if text.len() > MAX_CELL {
            return Some(format!("{name} is longer than {MAX_CELL} bytes"));
        }
        if text.contains(char::is_control) {
            return Some(format!("{name} has a line break or another control character"));
        }
    }
    let Some(email) = &cells.email else { return Some("email is empty".into()) };
    if !is_address(email) {
        return Some(format!("`{email}` is no e-mail address"));
    }
    if cells.name.is_none() && cells.first_name.is_none() && cells.last_name.is_none() {
        return Some("there is no name".into());
    }
    None
}

/// Whether it has the form that the store takes: `local@domain.tld`, without quotes, spaces and dots at an end.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let local_fits =
        local.len() <= 64 && local.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    let label = |part: &str| {
        let inner = |c: char| c.is_alphanumeric() || c == '-';
        !part.is_empty()
            && part.len() <= 63
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    local_fits && domain.contains('.') && domain.split('.').all(label)
}
