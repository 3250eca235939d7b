//! Fixtures: `fixtures/<case>/input.json` and what must come of it, `expected.json` or `error.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use stepwell_sandbox::{CallError, Limits, LimitsPatch, code};

use crate::HarnessError;
use crate::compare::pretty;
use crate::project::{Project, above_maxima};

/// One case.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub name: String,
    pub folder: PathBuf,
    pub input: Value,
    pub expected: Expected,
    /// From `limits.toml`, for cases about limits.
    pub limits: LimitsPatch,
}

/// What must come of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Exactly this output.
    Output(Value),
    /// An error that has at least these parts.
    Error(ExpectedError),
    /// Nobody has said yet.
    Nothing,
}

/// The parts of an error that a fixture names; those it leaves out are free.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedError {
    pub code: String,
    pub source: Option<String>,
    pub message: Option<String>,
    pub retryable: Option<bool>,
    pub limit: Option<u64>,
    pub details: Option<Value>,
}

impl ExpectedError {
    /// The error that came, reduced to the parts that are named here, and those parts.
    pub fn compared(&self, error: &CallError) -> (Value, Value) {
        let came = serde_json::to_value(error).unwrap_or_default();
        let mut wanted = serde_json::json!({ "code": self.code });
        for (name, value) in [
            ("source", self.source.clone().map(Value::from)),
            ("message", self.message.clone().map(Value::from)),
            ("retryable", self.retryable.map(Value::from)),
            ("limit", self.limit.map(Value::from)),
            ("details", self.details.clone()),
        ] {
            if let Some(value) = value {
                wanted[name] = value;
            }
        }
        let named = wanted.as_object().into_iter().flatten().map(|(name, _)| name);
        let came = named.map(|name| (name.clone(), came.get(name).cloned().unwrap_or_default())).collect();
        (Value::Object(came), wanted)
    }
}

/// The parts of an error that stay the same while its action is worked on: details hold places in its source.
pub(crate) fn kept_error(error: &CallError) -> Value {
    let whole = serde_json::to_value(error).unwrap_or_default();
    let parts = ["source", "code", "message", "retryable", "limit"];
    let kept = parts.iter().filter_map(|part| Some(((*part).to_owned(), whole.get(*part)?.clone())));
    Value::Object(kept.collect())
}

/// The limit that an error hit, as a case has it.
fn limit_hit(error: &CallError) -> LimitsPatch {
    let mut limits = LimitsPatch::default();
    let limit = match error.code.as_str() {
        code::FUEL_EXHAUSTED => &mut limits.fuel,
        code::MEMORY_LIMIT => &mut limits.memory_bytes,
        code::SLEEP_LIMIT => &mut limits.virtual_ms,
        code::INPUT_TOO_LARGE => &mut limits.input_bytes,
        code::OUTPUT_TOO_LARGE => &mut limits.output_bytes,
        _ => return limits,
    };
    *limit = error.limit;
    limits
}

/// Makes a case of a call: its input, and what came of it where that is known. Gives the case's folder.
pub fn save(
    project: &Project,
    name: &str,
    input: &Value,
    result: Option<Result<&Value, &CallError>>,
) -> Result<PathBuf, HarnessError> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(known) {
        return Err(HarnessError::Project(format!(
            "`{name}` cannot name a case: letters, digits, `-`, `_` and `.`, at most 100, and no `.` first"
        )));
    }
    let folder = project.folder.join("fixtures").join(name);
    if folder.exists() {
        return Err(HarnessError::file(&folder, "this case is there already; give the new one another name"));
    }
    std::fs::create_dir_all(&folder).map_err(HarnessError::io(&folder))?;
    let write = |file: &str, text: String| {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(HarnessError::io(&path))
    };
    write("input.json", pretty(input) + "\n")?;
    match result {
        Some(Ok(output)) => write("expected.json", pretty(output) + "\n")?,
        Some(Err(error)) => {
            write("error.json", pretty(&kept_error(error)) + "\n")?;
            let limits = limit_hit(error);
            if limits != LimitsPatch::default() {
                let text = toml::to_string(&limits).map_err(|e| HarnessError::file(&folder, e))?;
                write("limits.toml", text)?;
            }
        }
        None => {}
    }
    Ok(folder)
}

/// A case's name, and the case or why it cannot be read.
pub type Read = (String, Result<Fixture, HarnessError>);

/// The cases of an action, by name. One that cannot be read keeps no other from being run.
pub fn read_all(project: &Path) -> Result<Vec<Read>, HarnessError> {
    let folder = project.join("fixtures");
    if !folder.is_dir() {
        return Err(HarnessError::file(
            &folder,
            "there are no fixtures: make fixtures/<case>/input.json and expected.json (or error.json)",
        ));
    }
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(HarnessError::io(&folder))? {
        let entry = entry.map_err(HarnessError::io(&folder))?;
        if entry.path().is_dir() {
            fixtures.push((case_name(&entry.path()), read(&entry.path())));
        }
    }
    fixtures.sort_by(|a, b| a.0.cmp(&b.0));
    if fixtures.is_empty() {
        return Err(HarnessError::file(
            &folder,
            "there is no case: make a folder in it with input.json and expected.json",
        ));
    }
    Ok(fixtures)
}

fn case_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(folder: &Path) -> Result<Fixture, HarnessError> {
    let text = |name: &str| -> Result<Option<String>, HarnessError> {
        let path = folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        std::fs::read_to_string(&path).map(Some).map_err(HarnessError::io(&path))
    };
    let input =
        text("input.json")?.ok_or_else(|| HarnessError::file(folder, "the case has no input.json"))?;
    let json = |name: &str, text: &str| {
        serde_json::from_str::<Value>(text)
            .map_err(|e| HarnessError::file(&folder.join(name), format!("this is not JSON: {e}")))
    };
    let input = json("input.json", &input)?;
    let expected = match (text("expected.json")?, text("error.json")?) {
        (Some(output), None) => Expected::Output(json("expected.json", &output)?),
        (None, Some(error)) => Expected::Error(
            serde_json::from_str(&error).map_err(|e| HarnessError::file(&folder.join("error.json"), e))?,
        ),
        (Some(_), Some(_)) => {
            return Err(HarnessError::file(
                folder,
                "the case has both expected.json and error.json; keep one",
            ));
        }
        (None, None) => Expected::Nothing,
    };
    let limits = match text("limits.toml")? {
        Some(text) => toml::from_str::<LimitsPatch>(&text)
            .map_err(|e| HarnessError::file(&folder.join("limits.toml"), e.to_string().trim_end()))?,
        None => LimitsPatch::default(),
    };
    if let Some(message) = above_maxima(limits.over(Limits::default())) {
        return Err(HarnessError::file(&folder.join("limits.toml"), message));
    }
    Ok(Fixture { name: case_name(folder), folder: folder.to_owned(), input, expected, limits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(files: &[(&str, &str)]) -> Result<Fixture, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let shown = format!("{}", folder.path().display());
        read(folder.path()).map_err(|error| error.to_string().replace(&shown, "case"))
    }

    #[test]
    fn a_case_may_have_limits_of_its_own() {
        let case =
            fixture(&[("input.json", "1"), ("limits.toml", "fuel = 5\nmemory_bytes = \"1MiB\"")]).unwrap();
        assert_eq!((case.limits.fuel, case.limits.memory_bytes), (Some(5), Some(1 << 20)));
        assert_eq!(case.expected, Expected::Nothing);
    }

    #[test]
    fn a_call_becomes_a_case_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("action.toml"), "name = \"a\"\nversion = \"1.0.0\"").unwrap();
        let project = Project::read(folder.path()).unwrap();
        let error = CallError {
            limit: Some(7),
            details: Some(serde_json::json!({ "at": "a.rs:1" })),
            ..CallError::new(stepwell_sandbox::ErrorSource::Sandbox, code::FUEL_EXHAUSTED, "m")
        };
        let input = serde_json::json!({ "b": 1, "a": 2.5 });
        save(&project, "good", &input, Some(Ok(&input))).unwrap();
        save(&project, "bad", &input, Some(Err(&error))).unwrap();
        save(&project, "open", &input, None).unwrap();
        let cases: Vec<Fixture> =
            read_all(folder.path()).unwrap().into_iter().map(|(_, case)| case.unwrap()).collect();
        assert!(cases.iter().all(|case| case.input == input));
        assert_eq!((cases[0].limits.fuel, &cases[1].expected), (Some(7), &Expected::Output(input.clone())));
        assert_eq!(cases[2].expected, Expected::Nothing);
        let Expected::Error(expected) = &cases[0].expected else { panic!("{:?}", cases[0]) };
        assert_eq!((expected.limit, &expected.details), (Some(7), &None));
        let again = save(&project, "good", &input, None).unwrap_err().to_string();
        assert!(again.contains("fixtures/good: this case is there already"), "{again}");
        assert!(save(&project, "../x", &input, None).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said() {
        let wrong = |files: &[(&str, &str)]| fixture(files).unwrap_err();
        insta::assert_snapshot!(wrong(&[]), @"case: the case has no input.json");
        insta::assert_snapshot!(wrong(&[("input.json", "{\"a\":\n}")]), @"case/input.json: this is not JSON: expected value at line 2 column 1");
        let both = wrong(&[("input.json", "1"), ("expected.json", "1"), ("error.json", "{}")]);
        insta::assert_snapshot!(both, @"case: the case has both expected.json and error.json; keep one");
        insta::assert_snapshot!(wrong(&[("input.json", "1"), ("error.json", "{\"message\": \"x\"}")]), @"case/error.json: missing field `code` at line 1 column 16");
        insta::assert_snapshot!(wrong(&[("input.json", "1"), ("error.json", "{\"codes\": \"x\"}")]), @"case/error.json: unknown field `codes`, expected one of `code`, `source`, `message`, `retryable`, `limit`, `details` at line 1 column 8");
        insta::assert_snapshot!(wrong(&[("input.json", "1"), ("limits.toml", "wall_ms = 9000000")]), @"case/limits.toml: wall_ms is 9000000; no host grants more than 60000");
    }
}
