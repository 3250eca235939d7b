//! What came of the fixtures: as text for people, as JUnit XML for CI.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use stepwell_sandbox::{LogLine, Usage};

use crate::HarnessError;
use crate::accepted::Accepted;

/// Lines of a problem, log lines, and characters of a line that a person gets to see.
const LINES: usize = 201;
const LOGS: usize = 20;
const COLUMNS: usize = 400;

/// A whole test run.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    pub action: String,
    pub version: semver::Version,
    /// Bytes of the module.
    pub size: u64,
    pub cases: Vec<CaseReport>,
    /// What concerns no case that ran.
    pub notes: Vec<String>,
}

/// One fixture.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    pub name: String,
    pub passed: bool,
    /// Why it did not pass.
    pub problems: Vec<Problem>,
    /// What the call used; missing where the case could not be read, so that nothing was called.
    pub usage: Option<Usage>,
    /// The numbers accepted last, if any were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    pub logs: Vec<LogLine>,
    /// Whether it logged more than is kept.
    pub logs_truncated: bool,
}

impl CaseReport {
    /// A case that cannot be read, and so not be run.
    pub(crate) fn unread(name: &str, error: &HarnessError) -> Self {
        Self {
            name: name.to_owned(),
            passed: false,
            problems: vec![Problem::new(format!("the case cannot be read: {error}"))],
            usage: None,
            accepted: None,
            logs: Vec::new(),
            logs_truncated: false,
        }
    }

    fn add_logs(&self, text: &mut String) {
        for log in self.logs.iter().take(LOGS) {
            let fields = log.fields.as_ref().map(|fields| format!(" {fields}")).unwrap_or_default();
            let message = format!("{}{fields}", log.message);
            for (index, line) in message.lines().enumerate() {
                let head = if index == 0 { "log:" } else { "    " };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "         {head} {}", cut(line));
            }
        }
        if let Some(more @ 1..) = self.logs.len().checked_sub(LOGS) {
            let _ = writeln!(text, "         log: … {more} more; --json has them");
        }
        if self.logs_truncated {
            let _ = writeln!(text, "         log: it logged more than the limit `log_bytes` keeps");
        }
    }
}

/// What is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// In one line.
    pub summary: String,
    /// A difference, or what came, in lines of their own; often empty.
    pub below: String,
}

impl Problem {
    pub(crate) fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), below: String::new() }
    }

    /// Of a message that may have several lines.
    pub(crate) fn of(message: &str) -> Self {
        let (summary, below) = message.split_once('\n').unwrap_or((message, ""));
        Self { summary: summary.to_owned(), below: below.to_owned() }
    }

    pub(crate) fn below(mut self, lines: String) -> Self {
        self.below = lines;
        self
    }
}

impl TestReport {
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.passed).count()
    }

    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{} {} ({} bytes)\n", self.action, self.version, self.size);
        let width = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        for case in &self.cases {
            let mark = if case.passed { "ok    " } else { "FAILED" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {mark} {:<width$}  {}", case.name, numbers(case));
            add_problems(&mut text, &case.problems);
            if !case.passed {
                case.add_logs(&mut text);
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = writeln!(text, "{} passed, {} failed", self.cases.len() - self.failed(), self.failed());
        if self.cases.iter().any(|case| case.accepted.is_none() && case.passed) {
            text.push_str(
                "some numbers were never accepted; --accept records them in fixtures/accepted.toml\n",
            );
        }
        text
    }

    /// The format that CI systems read.
    pub fn junit(&self) -> String {
        let took = |case: &CaseReport| case.usage.as_ref().map_or(0, |usage| usage.wall_us);
        let cases: Vec<_> = self
            .cases
            .iter()
            .map(|case| (case.name.as_str(), took(case), case.problems.as_slice()))
            .collect();
        junit(&self.action, &cases)
    }
}

/// The problems of one case, below its line.
pub(crate) fn add_problems(text: &mut String, problems: &[Problem]) {
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "         {}", problem.summary);
        for line in problem.below.lines().take(LINES) {
            let _ = writeln!(text, "{}", format!("           {}", cut(line)).trim_end());
        }
        if let Some(more @ 1..) = problem.below.lines().count().checked_sub(LINES) {
            let _ = writeln!(text, "           … {more} more lines");
        }
    }
}

/// One suite, with what each of its cases is called, how many microseconds it took, and why it did not pass.
pub(crate) fn junit(suite: &str, cases: &[(&str, u64, &[Problem])]) -> String {
    let time = |us: u64| format!("{:.6}", Duration::from_micros(us).as_secs_f64());
    let total = cases.iter().map(|(_, us, _)| us).sum();
    let failed = cases.iter().filter(|(.., problems)| !problems.is_empty()).count();
    let suite = escape(suite);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites>\n  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{}\">",
        cases.len(),
        time(total)
    );
    for (name, us, problems) in cases {
        let _ = write!(
            xml,
            "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{}\"",
            escape(name),
            time(*us)
        );
        if problems.is_empty() {
            xml.push_str("/>\n");
            continue;
        }
        xml.push_str(">\n");
        for problem in *problems {
            let _ = writeln!(
                xml,
                "      <failure message=\"{}\">{}</failure>",
                escape(&problem.summary),
                escape(&problem.below)
            );
        }
        xml.push_str("    </testcase>\n");
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// A line that is not too long to be read.
pub(crate) fn cut(line: &str) -> String {
    let count = line.chars().count();
    if count <= COLUMNS {
        return line.to_owned();
    }
    let shown: String = line.chars().take(COLUMNS).collect();
    format!("{shown}… ({} more characters)", count - COLUMNS)
}

fn numbers(case: &CaseReport) -> String {
    let Some(usage) = &case.usage else { return "not run".to_owned() };
    let fuel = match usage.fuel {
        None => "fuel unspecified".to_owned(),
        Some(fuel) => format!("{} fuel{}", thousands(fuel), change(fuel, case.accepted.and_then(|a| a.fuel))),
    };
    let memory = usage.peak_memory_bytes;
    format!(
        "{fuel}, {} KiB{}",
        thousands(memory >> 10),
        change(memory, case.accepted.map(|a| a.peak_memory_bytes))
    )
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// ` (+12.3 % on 1,000)`, or nothing where nothing changed.
fn change(now: u64, before: Option<u64>) -> String {
    match before {
        Some(before) if before != now => {
            #[allow(clippy::cast_precision_loss)] // shown with one decimal
            let percent = (now as f64 - before as f64) * 100.0 / before.max(1) as f64;
            format!(" ({percent:+.1} % on {})", thousands(before))
        }
        _ => String::new(),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> TestReport {
        let usage =
            |fuel| Usage { fuel: Some(fuel), peak_memory_bytes: 1 << 20, wall_us: 2_000, ..Usage::default() };
        let case = |name: &str, problems: Vec<Problem>, accepted| CaseReport {
            name: name.into(),
            passed: problems.is_empty(),
            problems,
            usage: Some(usage(1_100)),
            accepted,
            logs: vec![],
            logs_truncated: false,
        };
        let before = Accepted { fuel: Some(1_000), peak_memory_bytes: 1 << 20 };
        TestReport {
            action: "a".into(),
            version: semver::Version::new(1, 0, 0),
            size: 70_000,
            cases: vec![
                case("good", vec![], Some(before)),
                case(
                    "bad <case>",
                    vec![Problem::new("it is \"not\" so:").below("-1\n+2\u{1b}".into())],
                    None,
                ),
            ],
            notes: vec!["accepted.toml has numbers of `old`".into()],
        }
    }

    #[test]
    fn people_see_numbers_beside_the_accepted_ones() {
        insta::assert_snapshot!(report().text(), @r#"
        a 1.0.0 (70000 bytes)
          ok     good        1,100 fuel (+10.0 % on 1,000), 1,024 KiB
          FAILED bad <case>  1,100 fuel, 1,024 KiB
                 it is "not" so:
                   -1
                   +2
        note: accepted.toml has numbers of `old`
        1 passed, 1 failed
        "#);
    }

    #[test]
    fn much_is_cut_and_what_could_not_be_read_is_said() {
        let mut report = report();
        let log = |message: String| LogLine {
            level: stepwell_sandbox::LogLevel::Info,
            message,
            fields: None,
            at: 0,
        };
        let case = &mut report.cases[1];
        case.logs = (0..1_000).map(|n| log(format!("line {n}\n{}", "x".repeat(1_000)))).collect();
        case.logs_truncated = true;
        case.problems[0].below = "y\n".repeat(10_000);
        let error = HarnessError::Project("no input.json".into());
        report.cases.push(CaseReport::unread("broken", &error));
        let text = report.text();
        assert!(text.lines().count() < 300 && text.lines().all(|line| line.chars().count() < 500), "{text}");
        for says in [
            "… 9799 more lines",
            "… 980 more",
            "(600 more characters)",
            "log_bytes",
            "FAILED broken",
            "2 failed",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
        let said = text.lines().find(|line| line.contains("broken")).unwrap();
        assert!(said.ends_with("not run"), "{said}");
        assert!(report.junit().contains("the case cannot be read: no input.json"), "{}", report.junit());
    }

    #[test]
    fn ci_systems_see_junit() {
        insta::assert_snapshot!(report().junit(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="a" tests="2" failures="1" errors="0" time="0.004000">
            <testcase classname="a" name="good" time="0.002000"/>
            <testcase classname="a" name="bad &lt;case&gt;" time="0.002000">
              <failure message="it is &quot;not&quot; so:">-1
        +2�</failure>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
