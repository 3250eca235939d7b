//! What people see: tables, times, sizes, places of problems; and JSON for programs.

use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;
use stepwell_engine::Problem;

/// Writes a line to stdout. A reader that went away (`| head`) ends the program quietly.
pub fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Pretty-printed JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A table without lines: it stays readable when pasted and can be cut by `awk`.
pub fn table(heads: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return line("none");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.iter().map(|h| h.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for text in table.to_string().lines() {
        line(text.trim_end());
    }
}

/// One problem of a document or a request: where, what, and what would be right.
pub fn place(problem: &Problem) -> String {
    let mut at = Vec::new();
    match (problem.line, problem.column) {
        (Some(line), Some(column)) => at.push(format!("line {line}:{column}")),
        (Some(line), None) => at.push(format!("line {line}")),
        _ => {}
    }
    if let Some(step) = &problem.step {
        at.push(format!("step {step}"));
    }
    if at.is_empty()
        && let Some(path) = problem.path.as_ref().filter(|p| !p.is_empty())
    {
        at.push(path.clone());
    }
    let mut text = match at.is_empty() {
        true => format!("  {}", problem.message),
        false => format!("  {}: {}", at.join(", "), problem.message),
    };
    if let Some(hint) = &problem.hint {
        text.push_str(&format!("\n      {hint}"));
    }
    text
}

/// JSON on one line, cut where it gets long.
pub fn brief(value: &Value, most: usize) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    cut(&text.replace('\n', "⏎"), most)
}

pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// 12,345,678
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 512 B, 64.0 KiB, 1.5 MiB
pub fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // shown with one decimal
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", scaled(1 << 10)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", scaled(1 << 20)),
        _ => format!("{:.1} GiB", scaled(1 << 30)),
    }
}

/// A time, to the millisecond, in UTC.
pub fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// <1 ms, 850 µs, 12.3 ms, 4.56 s
pub fn took(from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>) -> String {
    let (Some(from), Some(to)) = (from, to) else { return String::new() };
    micros(to.duration_since(from).as_micros().max(0))
}

/// A length of time. Steps are timed in milliseconds, so nothing means less than one.
pub fn micros(us: i128) -> String {
    match us {
        0 => "<1 ms".to_owned(),
        1..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// Whether colour and live updates make sense.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A status in its colour, on a terminal.
pub fn status(text: &str) -> String {
    let colour = match text {
        "completed" | "active" | "passed" => "32",
        "failed" | "cancelled" => "31",
        "running" | "queued" | "waiting" | "paused" | "draft" => "33",
        _ => return text.to_owned(),
    };
    if is_terminal() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_read_easily() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1_572_864), "1.5 MiB");
    }

    #[test]
    fn places_say_where_what_and_what_would_be_right() {
        let problem = Problem {
            code: "unknown_step".into(),
            message: "`creat` is not a step".into(),
            line: Some(12),
            column: Some(5),
            step: Some("follow_up".into()),
            hint: Some("did you mean `create`?".into()),
            ..Problem::default()
        };
        assert_eq!(
            place(&problem),
            "  line 12:5, step follow_up: `creat` is not a step\n      did you mean `create`?"
        );
    }
}
