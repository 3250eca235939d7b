//! Fixtures: `fixtures/<case>/input.json` and what must come of it, `expected.json` or `error.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use stepwell_sandbox::{CallError, Limits, LimitsPatch};

use crate::HarnessError;
use crate::project::above_maxima;

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
