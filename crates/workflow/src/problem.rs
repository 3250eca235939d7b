//! What is wrong with a document: one type for every finding, and how a person gets to see it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::document::{Path, Source};

/// More problems than this are not looked for: who has so many mends some and asks again.
pub const MAX_PROBLEMS: usize = 100;

/// One finding. Serialises to what the API's problem documents list under `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where in the document, as `steps[2].filter.is`; empty for the document itself.
    pub path: String,
    /// From 1; 0 when there is no text to point into.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The id of the innermost step concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// One of [`CODES`].
    pub code: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How many characters to underline; at least 1.
    #[serde(skip, default = "one")]
    pub length: usize,
}

fn one() -> usize {
    1
}

impl Problem {
    /// A finding at the bytes `from..to` of the source.
    pub fn at(
        source: &Source<'_>,
        from: usize,
        to: usize,
        code: &'static str,
        message: impl Into<String>,
    ) -> Problem {
        let (line, column) = source.line_and_column(from);
        let line_end = source.line_end(line);
        let underlined = source.slice(from, to.min(line_end).max(from));
        Problem {
            path: String::new(),
            line,
            column,
            step: None,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            length: underlined.trim_end().chars().count().max(1),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Problem {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn set_hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }

    pub(crate) fn path(mut self, path: &Path<'_>) -> Problem {
        self.path = path.to_string();
        self
    }

    pub(crate) fn step(mut self, step: Option<&str>) -> Problem {
        self.step = step.filter(|id| !id.is_empty()).map(str::to_owned);
        self
    }

    /// As a compiler shows it: code, message, place, the line itself with carets, the hint.
    pub fn render(&self, file: &str, text: &str) -> String {
        let mut out = String::new();
        let step = match &self.step {
            Some(id) => format!(" (step `{id}`)"),
            None => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "error[{}]: {}", self.code, self.message);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        if self.line == 0 {
            let _ = writeln!(out, " --> {file}{step}");
        } else {
            let _ = writeln!(out, "{margin}--> {file}:{}:{}{step}", self.line, self.column);
        }
        if let Some(line) = self.line.checked_sub(1).and_then(|n| text.lines().nth(n)) {
            let (shown, shift) = window(line, self.column);
            let before: String = shown
                .chars()
                .take(self.column - 1 - shift)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let room = shown.chars().count().saturating_sub(before.chars().count());
            let carets = "^".repeat(self.length.min(room).max(1));
            let _ = writeln!(out, "{margin} |");
            let _ = writeln!(out, "{number} | {shown}");
            let _ = writeln!(out, "{margin} | {before}{carets}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "{margin} = hint: {hint}");
        }
        out
    }
}

/// What is wrong with a document, as far as it is looked for.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// One after the last that is told says only that there are more.
    pub fn push(&mut self, problem: Problem) -> &mut Problem {
        self.0.truncate(MAX_PROBLEMS);
        self.0.push(problem);
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// Whether there are more than are told, so that nobody need look for others.
    pub fn is_over(&self) -> bool {
        self.0.len() > MAX_PROBLEMS
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn into_found(self) -> Vec<Problem> {
        self.0
    }
}

/// The first of the problems that were found, and at the place of the next that there are more.
pub(crate) fn told(mut problems: Vec<Problem>) -> Vec<Problem> {
    if let Some(next) = problems.get_mut(MAX_PROBLEMS) {
        next.code = MORE.to_owned();
        next.message = format!("there are more problems than these {MAX_PROBLEMS}; here is the next");
        next.hint = Some("mend these first, and check again".to_owned());
    }
    problems.truncate(MAX_PROBLEMS + 1);
    problems
}

const MORE: &str = "more_problems";

/// All problems one after the other, with a closing count.
pub fn render_all(problems: &[Problem], file: &str, text: &str) -> String {
    let mut out = String::new();
    for problem in problems {
        out.push_str(&problem.render(file, text));
        out.push('\n');
    }
    let _ = match problems {
        [_] => writeln!(out, "{file}: 1 problem"),
        [told @ .., last] if last.code == MORE => writeln!(out, "{file}: more than {} problems", told.len()),
        all => writeln!(out, "{file}: {} problems", all.len()),
    };
    out
}

/// The part of a long line around a column, and how many characters were cut before it.
fn window(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 160;
    let count = line.chars().count();
    if count <= WIDTH {
        return (line.to_owned(), 0);
    }
    let from = column.saturating_sub(WIDTH / 2).min(count - WIDTH);
    (line.chars().skip(from).take(WIDTH).collect(), from)
}

/// Every code a problem of a workflow document can have, and what it means.
pub const CODES: &[(&str, &str)] = &[
    ("too_large", "The document is larger, or has more values, than is read."),
    ("too_deep", "Lists and maps are nested deeper than is read."),
    ("not_utf8", "The document is not UTF-8 text."),
    ("empty", "There is no document."),
    ("syntax", "The text is not YAML 1.2, or not JSON."),
    ("several_documents", "A file holds more than one document."),
    ("duplicate_key", "A map has the same key twice."),
    ("complex_key", "A key is a list or a map."),
    ("merge_key", "`<<`, which YAML 1.2 does not have."),
    ("tag", "A YAML tag such as `!!str`."),
    ("alias_limit", "Aliases repeat more than is read."),
    ("unquoted_template", "`{{ … }}` stands without quotes, so YAML reads a map."),
    ("number", "A number that JSON cannot hold, or that YAML reads differently than it looks."),
    ("unknown_key", "A key that has no meaning here."),
    ("missing_key", "A key that must be there is not."),
    ("wrong_type", "A value of another type than the key takes."),
    ("invalid_value", "A value of the right type that is not allowed."),
    ("wrong_name", "The document has another name than its file, or than it is uploaded under."),
    ("unknown_type", "A step or trigger type that does not exist."),
    ("invalid_id", "A step's id is not `[a-z][a-z0-9_]*`, or too long."),
    ("reserved_id", "A step's id is a word that means something else in templates."),
    ("duplicate_id", "Two steps have the same id."),
    ("invalid_schema", "A JSON Schema that is none."),
    ("template_syntax", "A template that cannot be read."),
    ("template_not_allowed", "A template where only a plain value can stand."),
    ("unknown_reference", "A template uses a name that nothing has."),
    ("not_yet_run", "A template uses a step that has not certainly run before."),
    ("unknown_path", "A template uses a path that its source does not give."),
    (
        "may_be_missing",
        "A path that some arm of a branch does not give, or an output of a step that may not have run or have failed, without `default()`.",
    ),
    (
        "type_mismatch",
        "An expression that can never be made, or a condition that can never be asked: its values are of types that do not go together.",
    ),
    ("unknown_step", "`needs` names a step that is no sibling."),
    ("misplaced", "A step or a key stands where it cannot work."),
    ("cycle", "Steps need each other in a circle."),
    (
        "event_loop",
        "A workflow's runs would certainly start runs of it for ever, by the records that they create or delete.",
    ),
    ("workflow_loop", "A workflow's runs would certainly run it again for ever, by `run_workflow`."),
    ("unreachable", "A step comes after the run has certainly ended."),
    ("unknown_connection", "No connection has that name."),
    (
        "plain_http_forbidden",
        "Plain `http://` to a host that is not loopback, which neither the server nor a connection allows.",
    ),
    ("unknown_action", "No action, or none in this version, has that name."),
    ("unknown_workflow", "No workflow has that name."),
    ("unknown_object", "No object has that name."),
    ("unknown_view", "No view of the object has that name."),
    ("unknown_field", "The object has no such field."),
    ("invalid_input", "A code step's input cannot fit the action's schema."),
    ("invalid_field_value", "A value that the field cannot hold."),
    ("invalid_filter", "A filter or condition that cannot be read."),
    ("missing_field", "A record lacks a field that it cannot be without."),
    ("not_unique", "`match` names no declared unique field set of the object."),
    ("limit_too_high", "A limit above the host's maximum."),
    (MORE, "There are more than the 100 problems that are told; its place is that of the next."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_carets() {
        let text = "name: demo\nsteps:\n  - id: Ärger\n";
        let source = Source::new(text);
        let from = text.find("Ärger").unwrap();
        let problem = Problem::at(&source, from, from + 6, "invalid_id", "no capital letters")
            .step(Some("Ärger"))
            .hint("write `aerger`");
        assert_eq!((problem.line, problem.column), (3, 9));
        assert_eq!(
            problem.render("demo.yaml", text),
            "error[invalid_id]: no capital letters\n \
             --> demo.yaml:3:9 (step `Ärger`)\n  \
             |\n3 |   - id: Ärger\n  \
             |         ^^^^^\n  \
             = hint: write `aerger`\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("a: {}HERE{}", "x".repeat(500), "y".repeat(500));
        let source = Source::new(&text);
        let from = text.find("HERE").unwrap();
        let shown = Problem::at(&source, from, from + 4, "syntax", "m").render("f", &text);
        assert!(shown.lines().all(|line| line.chars().count() < 180), "{shown}");
        let lines: Vec<_> = shown.lines().collect();
        let caret = lines[4].find('^').unwrap();
        assert_eq!(&lines[3][caret..caret + 4], "HERE");
    }

    #[test]
    fn it_serialises_to_the_seven_members_of_the_contract() {
        let source = Source::new("a: 1");
        let problem = Problem::at(&source, 0, 1, "syntax", "m").step(Some("s")).hint("h");
        let json = serde_json::to_value(&problem).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["code", "column", "hint", "line", "message", "path", "step"]);
    }

    #[test]
    fn the_problem_after_the_hundredth_says_that_there_are_more() {
        let text = "a\n".repeat(200);
        let source = Source::new(&text);
        let found = |count: usize| (0..count).map(|n| Problem::at(&source, n * 2, n * 2 + 1, "syntax", "m"));
        let all = told(found(MAX_PROBLEMS).collect());
        assert_eq!(all.len(), MAX_PROBLEMS);
        assert!(all.iter().all(|problem| problem.code == "syntax"));
        assert!(render_all(&all, "f", &text).ends_with("f: 100 problems\n"));
        let first = told(found(150).collect());
        assert_eq!(first.len(), MAX_PROBLEMS + 1);
        assert_eq!((first[99].line, first[99].code.as_str()), (100, "syntax"));
        assert_eq!((first[100].line, first[100].code.as_str()), (101, "more_problems"));
        assert!(render_all(&first, "f", &text).ends_with("f: more than 100 problems\n"));
        let mut problems = Problems::default();
        for (count, problem) in found(MAX_PROBLEMS + 9).enumerate() {
            assert_eq!(problems.is_over(), count > MAX_PROBLEMS, "{count}");
            problems.push(problem);
        }
        assert_eq!(problems.into_found().len(), MAX_PROBLEMS + 1);
    }

    #[test]
    fn a_code_is_listed_once() {
        let mut codes: Vec<_> = CODES.iter().map(|(code, _)| code).collect();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }
}
