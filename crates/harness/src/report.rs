//! What came of the fixtures: as text for people, as JUnit XML for CI.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use stepwell_sandbox::{LogLine, Usage};

use crate::test::Accepted;

/// A whole test run.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    pub action: String,
    pub version: semver::Version,
    /// Bytes of the module.
    pub size: u64,
    pub cases: Vec<CaseReport>,
}

/// One fixture.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    pub name: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub usage: Usage,
    /// The numbers accepted last, if any were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    pub logs: Vec<LogLine>,
    #[serde(skip)]
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed { diff: String },
}

impl Verdict {
    pub fn is_pass(&self) -> bool {
        matches!(self, Self::Passed)
    }
}

impl TestReport {
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.verdict.is_pass()).count()
    }

    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{} {} ({} bytes)\n", self.action, self.version, self.size);
        let width = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        for case in &self.cases {
            let mark = if case.verdict.is_pass() { "ok    " } else { "FAILED" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {mark} {:<width$}  {}", case.name, numbers(case));
            if let Verdict::Failed { diff } = &case.verdict {
                for line in diff.lines() {
                    let _ = writeln!(text, "         {line}");
                }
                for log in &case.logs {
                    let _ = writeln!(text, "         log: {}", log.message);
                }
            }
        }
        let _ = writeln!(text, "{} passed, {} failed", self.cases.len() - self.failed(), self.failed());
        if self.cases.iter().any(|case| case.accepted.is_none() && case.verdict.is_pass()) {
            text.push_str(
                "some numbers were never accepted; --accept records them in fixtures/accepted.toml\n",
            );
        }
        text
    }

    /// The format that CI systems read.
    pub fn junit(&self) -> String {
        let time = |took: Duration| format!("{:.6}", took.as_secs_f64());
        let total = self.cases.iter().map(|case| case.took).sum();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            xml,
            "<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{}\">",
            escape(&self.action),
            self.cases.len(),
            self.failed(),
            time(total)
        );
        for case in &self.cases {
            let _ = write!(
                xml,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
                escape(&self.action),
                escape(&case.name),
                time(case.took)
            );
            match &case.verdict {
                Verdict::Passed => xml.push_str("/>\n"),
                Verdict::Failed { diff } => {
                    let _ = writeln!(
                        xml,
                        ">\n      <failure message=\"not as expected\">{}</failure>\n    </testcase>",
                        escape(diff)
                    );
                }
            }
        }
        xml.push_str("  </testsuite>\n</testsuites>\n");
        xml
    }
}

fn numbers(case: &CaseReport) -> String {
    let fuel = match case.usage.fuel {
        None => "fuel unspecified".to_owned(),
        Some(fuel) => format!("{fuel} fuel{}", change(fuel, case.accepted.and_then(|a| a.fuel))),
    };
    let memory = case.usage.peak_memory_bytes;
    format!("{fuel}, {} KiB{}", memory >> 10, change(memory, case.accepted.map(|a| a.peak_memory_bytes)))
}

/// ` (+12.3 % on 1000)`, or nothing where nothing changed.
fn change(now: u64, before: Option<u64>) -> String {
    match before {
        Some(before) if before != now => {
            #[allow(clippy::cast_precision_loss)] // shown with one decimal
            let percent = (now as f64 - before as f64) * 100.0 / before.max(1) as f64;
            format!(" ({percent:+.1} % on {before})")
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
        let usage = |fuel| Usage { fuel: Some(fuel), peak_memory_bytes: 1 << 20, ..Usage::default() };
        let case = |name: &str, verdict, accepted| CaseReport {
            name: name.into(),
            verdict,
            usage: usage(1_100),
            accepted,
            logs: vec![],
            took: Duration::from_millis(2),
        };
        let before = Accepted { fuel: Some(1_000), peak_memory_bytes: 1 << 20 };
        TestReport {
            action: "a".into(),
            version: semver::Version::new(1, 0, 0),
            size: 70_000,
            cases: vec![
                case("good", Verdict::Passed, Some(before)),
                case("bad <case>", Verdict::Failed { diff: "-1\n+2\n".into() }, None),
            ],
        }
    }

    #[test]
    fn people_see_numbers_beside_the_accepted_ones() {
        insta::assert_snapshot!(report().text(), @r"
        a 1.0.0 (70000 bytes)
          ok     good        1100 fuel (+10.0 % on 1000), 1024 KiB
          FAILED bad <case>  1100 fuel, 1024 KiB
                 -1
                 +2
        1 passed, 1 failed
        ");
    }

    #[test]
    fn ci_systems_see_junit() {
        insta::assert_snapshot!(report().junit(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="a" tests="2" failures="1" errors="0" time="0.004000">
            <testcase classname="a" name="good" time="0.002000"/>
            <testcase classname="a" name="bad &lt;case&gt;" time="0.002000">
              <failure message="not as expected">-1
        +2
        </failure>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
