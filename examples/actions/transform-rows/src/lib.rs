//! Brings rows of contacts into the form that people are stored in: addresses in small letters, names in two parts, phone
//! numbers with their country's code. What cannot be brought into it is a bad row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::action;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Rows {
    pub rows: Vec<Row>,
    /// Bad rows that were found before; they stand in the output too.
    #[serde(default)]
    pub bad: Vec<Bad>,
    #[serde(default)]
    pub settings: Settings,
}

/// What a workspace can set: `settings: "{{ settings.data_pipeline }}"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// Of phone numbers that begin with a single 0, such as `+49`.
    pub calling_code: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Row {
    pub line: u64,
    pub email: String,
    pub name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub phone: Option<String>,
    pub city: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Transformed {
    pub rows: Vec<Contact>,
    pub bad: Vec<Bad>,
}

/// What a row says of a person; null where it says nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    pub line: u64,
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub phone: Option<String>,
    pub city: Option<String>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Bad {
    pub line: u64,
    pub email: String,
    pub why: String,
}

#[action]
pub fn transform_rows(given: Rows) -> Transformed {
    let (mut rows, mut bad) = (Vec::with_capacity(given.rows.len()), given.bad);
    for row in given.rows {
        let line = row.line;
        let email = row.email.to_lowercase();
        match row.phone.as_deref().map(|phone| number(phone, &given.settings)).transpose() {
            Err(why) => bad.push(Bad { line, email, why }),
            Ok(phone) => {
                let (first, last) = row.name.as_deref().map(parts).unwrap_or_default();
                rows.push(Contact {
                    line,
                    email,
                    first_name: row.first_name.map(|name| spaced(&name)).or(first),
                    last_name: row.last_name.map(|name| spaced(&name)).or(last),
                    job_title: row.job_title.map(|title| spaced(&title)),
                    phone,
                    city: row.city.map(|city| spaced(&city)),
                });
            }
        }
    }
    log::info!(rows = rows.len(), bad = bad.len(); "transformed");
    Transformed { rows, bad }
}

/// With single blanks.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `Ada Lovelace` and `Lovelace, Ada`.
fn parts(name: &str) -> (Option<String>, Option<String>) {
    let some = |text: String| if text.is_empty() { None } else { Some(text) };
    if let Some((last, first)) = name.split_once(',') {
        return (some(spaced(first)), some(spaced(last)));
    }
    let name = spaced(name);
    match name.rsplit_once(' ') {
        Some((first, last)) => (some(first.to_owned()), some(last.to_owned())),
        None => (some(name), None),
    }
}

/// Digits with `+` and the country's code in front.
fn number(text: &str, settings: &Settings) -> Result<String, String> {
    let wrong = || format!("`{text}` is no phone number");
    // As a spreadsheet writes a number.
    let whole = text.strip_suffix(".0");
    let text = whole.filter(|whole| whole.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or(text);
    let (plus, rest) = match text.strip_prefix('+').or_else(|| text.strip_prefix("00")) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut digits = String::with_capacity(rest.len());
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '.' | '(' | ')' | '/' => {}
            _ => return Err(wrong()),
        }
    }
    if !(5..=15).contains(&digits.len()) {
        return Err(wrong());
    }
    Ok(match (plus, settings.calling_code.as_deref(), digits.strip_prefix('0')) {
        (true, ..) => format!("+{digits}"),
        (false, Some(code), Some(national)) => format!("+{}{national}", code.trim_start_matches('+')),
        (false, ..) => digits,
    })
}
