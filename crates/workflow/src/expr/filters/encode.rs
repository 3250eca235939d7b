//! Filters that write values in other notations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::escape::{html, percent};
use super::super::json::{kind, text};
use super::Given;

type Made = Result<Value, String>;

pub(super) fn tojson(input: &Value, given: &Given<'_>) -> Made {
    let written = match given.integer(0, "indent")? {
        Some(_) => serde_json::to_string_pretty(input),
        None => serde_json::to_string(input),
    };
    written.map(Value::from).map_err(|error| error.to_string())
}

pub(super) fn fromjson(input: &Value, _: &Given<'_>) -> Made {
    serde_json::from_str(&text(input)?).map_err(|error| format!("this is not JSON: {error}"))
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

pub(super) fn escape(input: &Value, _: &Given<'_>) -> Made {
    let mut out = String::new();
    html(&text(input)?, &mut out);
    Ok(out.into())
}

/// Percent-encodes a text; of an object it makes `a=1&b=2`.
pub(super) fn urlencode(input: &Value, _: &Given<'_>) -> Made {
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
            }
        }
        Value::Array(_) => return Err(format!("needs a text or an object, not {}", kind(input))),
        input => percent(&text(input)?, &mut out),
    }
    Ok(out.into())
}
