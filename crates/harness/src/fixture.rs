//! Fixtures: `fixtures/<case>/input.json` and what must come of it, `expected.json` or `error.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use stepwell_sandbox::{CallError, LimitsPatch};

use crate::HarnessError;

/// One case.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub name: String,
    pub folder: PathBuf,
    /// As written: the sandbox says what it thinks of it.
    pub input: String,
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

/// The cases of an action, by name.
pub fn read_all(project: &Path) -> Result<Vec<Fixture>, HarnessError> {
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
            fixtures.push(read(&entry.path())?);
        }
    }
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    if fixtures.is_empty() {
        return Err(HarnessError::file(
            &folder,
            "there is no case: make a folder in it with input.json and expected.json",
        ));
    }
    Ok(fixtures)
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
    let expected = match (text("expected.json")?, text("error.json")?) {
        (Some(output), None) => Expected::Output(
            serde_json::from_str(&output)
                .map_err(|e| HarnessError::file(&folder.join("expected.json"), e))?,
        ),
        (None, Some(error)) => Expected::Error(
            serde_json::from_str(&error).map_err(|e| HarnessError::file(&folder.join("error.json"), e))?,
        ),
        (Some(_), Some(_)) => {
            return Err(HarnessError::file(
                folder,
                "the case has both expected.json and error.json; keep one",
            ));
        }
        (None, None) => {
            return Err(HarnessError::file(
                folder,
                "the case says nothing to expect: write expected.json or error.json",
            ));
        }
    };
    let limits = match text("limits.toml")? {
        Some(text) => toml::from_str(&text)
            .map_err(|e| HarnessError::file(&folder.join("limits.toml"), e.to_string().trim_end()))?,
        None => LimitsPatch::default(),
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Fixture { name, folder: folder.to_owned(), input, expected, limits })
}
