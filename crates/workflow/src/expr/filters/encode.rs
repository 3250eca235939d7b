//! Filters that write values in other notations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::budget::Budget;
use super::super::escape::{html, percent};
use super::super::json::{kind, text};
use super::Given;
use crate::depth::MAX_DEPTH;

type Made = Result<Value, String>;

pub(super) fn tojson(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    let mut written = Capped { budget, bytes: Vec::new(), over: None };
    let done = match given.integer(0, "indent")? {
        Some(_) => serde_json::to_writer_pretty(&mut written, input),
        None => serde_json::to_writer(&mut written, input),
    };
    match (done, written.over) {
        (_, Some(message)) => Err(message),
        (Err(error), None) => Err(error.to_string()),
        (Ok(()), None) => {
            String::from_utf8(written.bytes).map(Value::from).map_err(|error| error.to_string())
        }
    }
}

/// A text that is written as far as the budget goes.
struct Capped<'b> {
    budget: &'b Budget,
    bytes: Vec<u8>,
    over: Option<String>,
}

impl std::io::Write for Capped<'_> {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if let Err(message) = self.budget.fits(self.bytes.len() + more.len()) {
            self.over = Some(message);
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn fromjson(budget: &Budget, input: &Value, _: &Given<'_>) -> Made {
    let text = text(input)?;
    // At most so many values, each with its own bytes beside its text; an object has more of them.
    let (mut values, mut objects) = (1usize, 0usize);
    for byte in text.bytes() {
        values += usize::from(matches!(byte, b',' | b'[' | b':'));
        objects += usize::from(byte == b'{');
    }
    budget.steps((values + 32 * objects) as u64 / 8)?;
    budget.fits(text.len())?;
    serde_json::from_str(&text).map_err(|error| match error.to_string() {
        deep if deep.contains("recursion limit") => {
            format!("the value is nested deeper than {MAX_DEPTH} levels")
        }
        error => format!("this is not JSON: {error}"),
    })
}

pub(super) fn b64encode(input: &Value, _: &Given<'_>) -> Made {
    Ok(STANDARD.encode(text(input)?.as_bytes()).into())
}

pub(super) fn b64decode(input: &Value, _: &Given<'_>) -> Made {
    let bytes = STANDARD.decode(text(input)?.trim().as_bytes()).map_err(|_| "this is not base64")?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| "what it decodes to is not text".to_owned())
}

pub(super) fn sha256(input: &Value, _: &Given<'_>) -> Made {
    let digest = Sha256::digest(text(input)?.as_bytes());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

pub(super) fn escape(budget: &Budget, input: &Value, _: &Given<'_>) -> Made {
    let mut out = String::new();
    let text = text(input)?;
    budget.fits(text.len())?;
    html(&text, &mut out);
    Ok(out.into())
}

/// Percent-encodes a text; of an object it makes `a=1&b=2`.
pub(super) fn urlencode(budget: &Budget, input: &Value, _: &Given<'_>) -> Made {
    let mut out = String::new();
    match input {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                if !out.is_empty() {
                    out.push('&');
                }
                percent(name, &mut out);
                out.push('=');
                percent(&text(value).map_err(|error| format!("`{name}`: {error}"))?, &mut out);
                budget.fits(out.len())?;
            }
        }
        Value::Array(_) => return Err(format!("needs a text or an object, not {}", kind(input))),
        input => percent(&text(input)?, &mut out),
    }
    Ok(out.into())
}
