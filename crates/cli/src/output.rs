//! What people see: tables, times, sizes, places of problems; and JSON for programs.

use comfy_table::{Cell, Color, Table, presets};
use serde::Serialize;
use serde_json::Value;
use stepwell_engine::Problem;

pub use crate::terminal::{Line, complain, document, is_read, line};
use crate::terminal::{colour, put, status_colour, visible_json, visible_line};

/// Pretty-printed JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    put(&format!("{}\n", visible_json(&serde_json::to_string_pretty(value)?)));
    Ok(())
}

/// A table without lines: it stays readable when pasted and can be cut by `awk`. What stands under `status` or `state`
/// is coloured on a terminal.
pub fn table(heads: &[&str], rows: Vec<Vec<String>>) {
    columns(&heads.iter().map(|head| head.to_uppercase()).collect::<Vec<_>>(), rows);
}

/// A table whose heads are names that people write elsewhere, and so are shown as they are written.
pub fn columns(heads: &[String], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return line("none");
    }
    put(&table_text(heads, rows, colour()));
}

fn table_text(heads: &[String], rows: Vec<Vec<String>>, colour: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match colour {
        true => table.enforce_styling(),
        false => table.force_no_tty(),
    };
    table.set_header(heads.iter().map(|head| visible_line(head)));
    for row in rows {
        table.add_row(row.iter().zip(heads).map(|(text, head)| {
            let cell = Cell::new(visible_line(text));
            // The colour is the cell's, not a part of its text: it takes no room in the column.
            match status_colour(text)
                .filter(|_| matches!(head.as_str(), "STATUS" | "STATE"))
                .and_then(table_colour)
            {
                Some(colour) => cell.fg(colour),
                None => cell,
            }
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    lines.concat()
}

fn table_colour(code: &str) -> Option<Color> {
    Some(match code {
        "31" => Color::DarkRed,
        "32" => Color::DarkGreen,
        "33" => Color::DarkYellow,
        _ => return None,
    })
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

/// What the server says against a file, with each place.
pub fn refused(file: &std::path::Path, problem: &crate::client::ProblemDocument) {
    complain(format!("{}: {}", file.display(), problem.detail));
    for place_of in &problem.errors {
        complain(place(place_of));
    }
}

/// JSON for people: what fits a line of this width stands on one.
pub fn laid_out(value: &Value, width: usize) -> String {
    let mut out = String::new();
    lay(value, 0, width, &mut out);
    out
}

fn lay(value: &Value, indent: usize, width: usize, out: &mut String) {
    let short = value.to_string();
    let used = out.rsplit('\n').next().unwrap_or_default().chars().count();
    if used + short.chars().count() <= width {
        return out.push_str(&short);
    }
    let items: Vec<(Option<&String>, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (Some(key), value)).collect(),
        Value::Array(items) => items.iter().map(|item| (None, item)).collect(),
        _ => return out.push_str(&short),
    };
    out.push_str(&short[..1]);
    for (index, (key, item)) in items.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(indent + 2));
        if let Some(key) = key {
            out.push_str(&format!("{}: ", Value::from(key.as_str())));
        }
        lay(item, indent + 2, width, out);
    }
    out.push_str(&format!("\n{}{}", " ".repeat(indent), &short[short.len() - 1..]));
}

/// A text, cut where it gets long.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// `1 of 1 test`, `1 of 3 tests`
pub fn of(some: usize, all: usize, noun: &str) -> String {
    format!("{some} of {all} {noun}{}", if all == 1 { "" } else { "s" })
}

/// `1 of 3 workflows has problems`
pub fn with_problems(bad: usize, all: usize, noun: &str) -> String {
    format!("{} {} problems", of(bad, all, noun), if bad == 1 { "has" } else { "have" })
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

/// A time to come, to the second, in UTC.
pub fn second(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
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
    fn columns_stand_under_each_other_whatever_is_in_their_cells() {
        let heads = ["ID", "STATUS", "ERROR"].map(str::to_owned);
        let rows = || {
            vec![
                vec!["1".to_owned(), "completed".to_owned(), "fine".to_owned()],
                vec!["22\n\x1b[2J".to_owned(), "failed".to_owned(), "näh".to_owned()],
            ]
        };
        insta::assert_snapshot!(table_text(&heads, rows(), false), @r"
        ID            STATUS     ERROR
        1             completed  fine
        22⏎\u{1b}[2J  failed     näh
        ");
        assert!(table_text(&heads, rows(), false).lines().all(|line| !line.starts_with(' ')));
        // With colour, the same text with codes in it.
        let coloured = table_text(&heads, rows(), true);
        assert!(coloured.contains("\x1b[") && !coloured.contains("\x1b[2J"), "{coloured:?}");
        let codes = ["\x1b[38;5;2m", "\x1b[38;5;1m", "\x1b[39m"];
        let bare = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        let lines = |text: String| text.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(bare), lines(table_text(&heads, rows(), false)));
    }

    #[test]
    fn json_takes_as_many_lines_as_it_needs() {
        let value = serde_json::json!({ "a": [1, 2, { "b": "c" }], "d": "x".repeat(20), "e": [], "f": {} });
        insta::assert_snapshot!(laid_out(&value, 24), @r#"
        {
          "a": [1,2,{"b":"c"}],
          "d": "xxxxxxxxxxxxxxxxxxxx",
          "e": [],
          "f": {}
        }
        "#);
        assert_eq!(laid_out(&value, 1_000), value.to_string());
        for width in 0..80 {
            assert_eq!(serde_json::from_str::<Value>(&laid_out(&value, width)).unwrap(), value);
        }
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
