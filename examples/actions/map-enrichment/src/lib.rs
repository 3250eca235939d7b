//! Reads what an enrichment service says of a person or a company: facts for fields, whether they are a high-value prospect,
//! and the signals that are worth a mail. What it says in another form than it should is left out and named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stepwell_action::{Failure, action};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Asked {
    pub kind: Kind,
    /// The service's answer.
    pub answer: Value,
    #[serde(default)]
    pub settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Person,
    Company,
}

/// What a workspace can set: `settings: "{{ settings.enrichment }}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// From so many employees on a company is of high value.
    pub min_employees: u64,
    /// Who in such a company is.
    pub seniorities: Vec<String>,
    /// Kinds of signals that are worth a mail.
    pub key_signals: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            min_employees: 200,
            seniorities: texts(&["c_level", "vp", "director"]),
            key_signals: texts(&["funding", "acquisition", "new_executive"]),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Enrichment {
    /// Fields of the record and what they could hold.
    pub facts: Vec<Fact>,
    pub high_value: bool,
    /// Why it is of high value, for people; empty when it is not.
    pub why: String,
    pub signals: Vec<String>,
    /// What was not in the form that it should have.
    pub left_out: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Fact {
    pub field: &'static str,
    pub value: Value,
}

/// An answer being read.
struct Reading<'a> {
    of: &'a Map<String, Value>,
    facts: Vec<Fact>,
    left_out: Vec<String>,
}

impl Reading<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        match self.of.get(name) {
            None | Some(Value::Null) => None,
            // On one line: it goes into fields, titles and mails.
            Some(Value::String(text)) => Some(one_line(text)).filter(|text| !text.is_empty()),
            Some(_) => {
                self.left_out.push(format!("{name} is no text"));
                None
            }
        }
    }

    fn fact(&mut self, name: &str, field: &'static str) {
        let text = self.text(name);
        self.facts.extend(text.map(|text| Fact { field, value: text.into() }));
    }

    fn link(&mut self, name: &str, field: &'static str) {
        match self.text(name) {
            Some(url) if url.starts_with("https://") => {
                self.facts.push(Fact { field, value: json!({ "primaryLinkUrl": url }) });
            }
            Some(_) => self.left_out.push(format!("{name} is no https link")),
            None => {}
        }
    }
}

fn one_line(text: &str) -> String {
    // As nearly all are: no more work than to look, whatever length it has.
    if !text.bytes().any(|byte| byte.is_ascii_control()) {
        return text.trim().to_owned();
    }
    let words = text.split(|char: char| char.is_whitespace() || char.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A whole number, however it is written: `500`, `500.0` or `"500"`.
fn whole(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let digits = text.split_once('.').map_or(text.as_str(), |(digits, rest)| {
        if !rest.is_empty() && rest.bytes().all(|byte| byte == b'0') { digits } else { "" }
    });
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[action]
pub fn map_enrichment(asked: Asked) -> Result<Enrichment, Failure> {
    let Asked { kind, answer, settings } = asked;
    let Value::Object(of) = &answer else {
        return Err(Failure::new("unexpected_answer", "the service's answer is no object"));
    };
    let mut reading = Reading { of, facts: Vec::new(), left_out: Vec::new() };
    let company = match kind {
        Kind::Person => {
            reading.fact("title", "jobTitle");
            reading.fact("city", "city");
            of.get("company").and_then(Value::as_object)
        }
        Kind::Company => {
            reading.fact("name", "name");
            Some(of)
        }
    };
    reading.link("linkedin", "linkedinLink");
    let employees = company.and_then(|company| company.get("employees"));
    let count = employees.and_then(whole);
    if employees.is_some_and(|value| !value.is_null()) && count.is_none() {
        reading.left_out.push("employees is no whole number".into());
    }
    if let (Kind::Company, Some(count)) = (kind, count) {
        reading.facts.push(Fact { field: "employees", value: count.into() });
    }
    let seniority = reading.text("seniority").map(|text| text.to_lowercase());
    let large = count.filter(|count| *count >= settings.min_employees);
    let why = match (kind, large, seniority) {
        (Kind::Company, Some(count), _) => format!("{count} employees"),
        (Kind::Person, Some(count), Some(seniority)) if settings.seniorities.contains(&seniority) => {
            format!("{seniority} in a company of {count} employees")
        }
        _ => String::new(),
    };
    let mut signals = Vec::new();
    for signal in of.get("signals").and_then(Value::as_array).into_iter().flatten() {
        match (signal["type"].as_str(), signal["text"].as_str()) {
            (Some(kind), Some(text)) if settings.key_signals.iter().any(|key| key == kind) => {
                signals.push(format!("{kind}: {}", one_line(text)));
            }
            (Some(_), Some(_)) => {}
            _ => reading.left_out.push("a signal has no type and text".into()),
        }
    }
    let Reading { facts, left_out, .. } = reading;
    log::info!(facts = facts.len(), left_out = left_out.len(); "read");
    Ok(Enrichment { facts, high_value: !why.is_empty(), why, signals, left_out })
}
