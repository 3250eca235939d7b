//! What came of the tests: as text for people, as JUnit XML for CI.

use std::fmt::Write;

use serde::Serialize;

use crate::report::{Problem, add_problems, cut, junit};

/// Runs that a person gets to see under a test that failed.
const RUNS: usize = 10;

/// The tests of a folder.
#[derive(Debug, Clone, Serialize)]
pub struct FlowReport {
    /// Its name.
    pub folder: String,
    pub cases: Vec<FlowCase>,
}

/// One test.
#[derive(Debug, Clone, Serialize)]
pub struct FlowCase {
    pub name: String,
    pub passed: bool,
    /// Why it did not pass.
    pub problems: Vec<Problem>,
    /// Each run in a line.
    pub runs: Vec<String>,
    /// Requests and e-mails that went out.
    pub requests: usize,
    pub mails: usize,
    pub wall_us: u64,
}

impl FlowCase {
    pub(super) fn new(name: &str, problems: Vec<Problem>) -> Self {
        Self {
            name: name.to_owned(),
            passed: problems.is_empty(),
            problems,
            runs: Vec::new(),
            requests: 0,
            mails: 0,
            wall_us: 0,
        }
    }
}

impl FlowReport {
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.passed).count()
    }

    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.folder);
        let width = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        for case in &self.cases {
            let mark = if case.passed { "ok    " } else { "FAILED" };
            let counts =
                [(case.runs.len(), "run"), (case.requests, "request"), (case.mails, "e-mail")].map(counted);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {mark} {:<width$}  {}", case.name, counts.join(", "));
            add_problems(&mut text, &case.problems);
            if !case.passed {
                for run in case.runs.iter().take(RUNS) {
                    let _ = writeln!(text, "         run: {}", cut(run));
                }
                if let Some(more @ 1..) = case.runs.len().checked_sub(RUNS) {
                    let _ = writeln!(text, "         run: … {more} more; --json has them");
                }
            }
        }
        let _ = writeln!(text, "{} passed, {} failed", self.cases.len() - self.failed(), self.failed());
        text
    }

    /// The format that CI systems read.
    pub fn junit(&self) -> String {
        let cases: Vec<_> = self
            .cases
            .iter()
            .map(|case| (case.name.as_str(), case.wall_us, case.problems.as_slice()))
            .collect();
        junit(&self.folder, &cases)
    }
}

fn counted((count, noun): (usize, &str)) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}
