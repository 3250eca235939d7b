//! One row as the warehouse gives it, or why it cannot be used.

use serde_json::Value;

use crate::time::Instant;

#[derive(Debug)]
pub struct Row {
    pub domain: String,
    pub active_users: u64,
    pub api_calls: Option<u64>,
    /// When it was written, and how the warehouse says that.
    pub at: (Instant, String),
}

/// Whole numbers up to here have no neighbours that they could be taken for, whoever reads the JSON.
const MOST: u64 = 1 << 53;

pub fn read(value: &Value, latest: Instant) -> Result<Row, String> {
    let Value::Object(fields) = value else { return Err("it is no object".into()) };
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Err(format!("it has no {name}")),
        Some(Value::String(text)) => Ok(text.trim()),
        Some(_) => Err(format!("{name} is no text")),
    };
    let domain = domain(text("domain")?).ok_or("domain is no domain such as example.com")?;
    let at = text("updated_at")?;
    let instant = Instant::read(at).ok_or("updated_at is no time such as 2026-03-02T02:00:00Z")?;
    if instant > latest {
        return Err("updated_at lies more than a day ahead".into());
    }
    let active_users = count(fields.get("active_users"), "active_users")?.ok_or("it has no active_users")?;
    let api_calls = count(fields.get("api_calls"), "api_calls")?;
    Ok(Row { domain, active_users, api_calls, at: (instant, at.to_owned()) })
}

/// A whole number, or a text that is one.
fn count(value: Option<&Value>, name: &str) -> Result<Option<u64>, String> {
    let read = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if text.trim().bytes().all(|b| b.is_ascii_digit()) => {
            text.trim().parse().ok()
        }
        Some(_) => None,
    };
    match read {
        Some(number) if number <= MOST => Ok(Some(number)),
        _ => Err(format!("{name} is no whole number from 0 to 2^53")),
    }
}

/// The bare domain, as companies are known by: without scheme, `www.`, port and path.
fn domain(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let rest = ["https://", "http://"].iter().find_map(|scheme| lower.strip_prefix(scheme)).unwrap_or(&lower);
    let host = rest.split(['/', '?', '#', ':']).next()?.trim_end_matches('.');
    let bare = host.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let numbers = bare.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit()));
    (bare.contains('.') && bare.len() <= 253 && !numbers && bare.split('.').all(is_label))
        .then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why(value: Value) -> String {
        read(&value, Instant::read("2026-03-03T00:00:00Z").expect("a time")).expect_err("malformed")
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        let row = |change: &str, value: Value| {
            let mut row =
                json!({ "domain": "a.example", "active_users": 1, "updated_at": "2026-03-02T00:00:00Z" });
            row[change] = value;
            row
        };
        for (row, said) in [
            (json!([]), "it is no object"),
            (json!({}), "it has no domain"),
            (row("domain", json!(7)), "domain is no text"),
            (row("domain", json!("localhost")), "domain is no domain such as example.com"),
            (row("domain", json!("a b.example")), "domain is no domain such as example.com"),
            (row("domain", json!("10.0.0.1")), "domain is no domain such as example.com"),
            (row("updated_at", json!("yesterday")), "updated_at is no time such as 2026-03-02T02:00:00Z"),
            (row("updated_at", json!("2026-03-04T00:00:00Z")), "updated_at lies more than a day ahead"),
            (row("active_users", json!(null)), "it has no active_users"),
            (row("active_users", json!(-1)), "active_users is no whole number from 0 to 2^53"),
            (row("active_users", json!("")), "active_users is no whole number from 0 to 2^53"),
            (row("active_users", json!("12k")), "active_users is no whole number from 0 to 2^53"),
            (row("api_calls", json!(1.5)), "api_calls is no whole number from 0 to 2^53"),
            (row("api_calls", json!(u64::MAX)), "api_calls is no whole number from 0 to 2^53"),
        ] {
            assert_eq!(why(row.clone()), said, "{row}");
        }
    }

    #[test]
    fn domains_get_one_spelling() {
        for text in
            ["a.example", " A.Example ", "https://www.a.example/x?y#z", "www.a.example.", "a.example:8080"]
        {
            assert_eq!(domain(text.trim()).as_deref(), Some("a.example"), "{text}");
        }
        assert_eq!(domain("www.example").as_deref(), Some("www.example"));
    }

    #[test]
    fn numbers_may_come_as_texts() {
        assert_eq!(count(Some(&json!(" 12 ")), "n"), Ok(Some(12)));
        assert_eq!(count(None, "n"), Ok(None));
    }
}
