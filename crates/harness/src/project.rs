//! An action's folder: `action.toml` and what it says.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use stepwell_sandbox::admit::is_action_name;
use stepwell_sandbox::{Limits, LimitsPatch};

use crate::HarnessError;
use crate::accepted::Tolerance;

const FILE: &str = "action.toml";

/// An action's folder, read.
#[derive(Debug, Clone)]
pub struct Project {
    pub folder: PathBuf,
    pub name: String,
    pub version: semver::Version,
    pub description: Option<String>,
    /// What a call may use where a workflow does not say.
    pub limits: LimitsPatch,
    /// For what is not a Rust crate: the command that builds it, run in the folder.
    pub build: Option<Vec<String>>,
    /// Where that command leaves the module, or where it is already.
    pub module: Option<PathBuf>,
    /// Schemas from files, for what does not give its own.
    pub input_schema: Option<serde_json::Value>,
    pub output_schema: Option<serde_json::Value>,
    /// How far usage may grow before a test fails.
    pub tolerance: Tolerance,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: semver::Version,
    description: Option<String>,
    #[serde(default)]
    limits: LimitsPatch,
    build: Option<Vec<String>>,
    module: Option<PathBuf>,
    input_schema: Option<PathBuf>,
    output_schema: Option<PathBuf>,
    #[serde(default)]
    test: Tolerance,
}

impl Project {
    /// Reads the folder's `action.toml`.
    pub fn read(folder: &Path) -> Result<Self, HarnessError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(HarnessError::Project(format!(
                "{} is no action's folder: it has no {FILE}; `stepwell action new DIR` makes one",
                folder.display()
            )));
        }
        let text = std::fs::read_to_string(&path).map_err(HarnessError::io(&path))?;
        let file: File =
            toml::from_str(&text).map_err(|e| HarnessError::file(&path, e.to_string().trim_end()))?;
        if !is_action_name(&file.name) {
            return Err(HarnessError::file(&path, name_rule(&file.name)));
        }
        if file.build.as_ref().is_some_and(|build| build.is_empty() || file.module.is_none()) {
            return Err(HarnessError::file(
                &path,
                "`build` (a command, as a list of words) and `module` (the file that it writes) go together",
            ));
        }
        if let Some(message) = above_maxima(file.limits.over(Limits::default())) {
            return Err(HarnessError::file(&path, format!("[limits] {message}")));
        }
        let folder = folder.canonicalize().map_err(HarnessError::io(folder))?;
        Ok(Self {
            name: file.name,
            version: file.version,
            description: file.description,
            limits: file.limits,
            build: file.build,
            module: file.module,
            input_schema: schema(&folder, file.input_schema)?,
            output_schema: schema(&folder, file.output_schema)?,
            tolerance: file.test,
            folder,
        })
    }
}

/// What is wrong with limits that no host grants.
pub(crate) fn above_maxima(limits: Limits) -> Option<String> {
    let above = limits.above(Limits::HOST_MAXIMA);
    above
        .first()
        .map(|(name, limit, maximum)| format!("{name} is {limit}; no host grants more than {maximum}"))
}

fn schema(folder: &Path, file: Option<PathBuf>) -> Result<Option<serde_json::Value>, HarnessError> {
    let Some(path) = file.map(|file| folder.join(file)) else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(HarnessError::io(&path))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| HarnessError::file(&path, format!("this is not JSON: {e}")))
}

pub(crate) fn name_rule(name: &str) -> String {
    format!(
        "`{name}` cannot name an action: a name has small letters, digits and hyphens, begins with a letter, and has at \
         most 63 characters, such as normalize-lead"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Project, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        Project::read(folder.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_project_says_name_version_and_limits() {
        let project = read("name = \"a-b\"\nversion = \"1.2.3\"\n[limits]\nmemory_bytes = \"4MiB\"").unwrap();
        assert_eq!((project.name.as_str(), project.version.to_string().as_str()), ("a-b", "1.2.3"));
        assert_eq!(project.limits.memory_bytes, Some(4 << 20));
    }

    #[test]
    fn faults_are_named() {
        for (text, says) in [
            ("name = \"A\"\nversion = \"1.0.0\"", "small letters"),
            ("name = \"a\"\nversion = \"1\"", "version"),
            ("name = \"a\"\nversion = \"1.0.0\"\n[limits]\nfeul = 1", "feul"),
            ("name = \"a\"\nversion = \"1.0.0\"\nbuild = [\"make\"]", "go together"),
            (
                "name = \"a\"\nversion = \"1.0.0\"\n[limits]\nmemory_bytes = \"4GiB\"",
                "no host grants more than 268435456",
            ),
            ("name = \"a\"\nversion = \"1.0.0\"\n[test]\nfuel_percent = 5", "fuel_percent"),
            ("nam = \"a\"", "nam"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says) && error.contains(FILE), "{error}");
        }
        let error = Project::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("stepwell action new"), "{error}");
    }
}
