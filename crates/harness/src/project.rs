//! An action's folder: `action.toml` and what it says.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use stepwell_sandbox::LimitsPatch;
use stepwell_sandbox::admit::is_action_name;

use crate::HarnessError;

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
    /// Where that command leaves the module.
    pub module: Option<PathBuf>,
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
        if file.build.is_some() != file.module.is_some() || file.build.as_ref().is_some_and(Vec::is_empty) {
            return Err(HarnessError::file(
                &path,
                "`build` (a command, as a list of words) and `module` (the file that it writes) go together",
            ));
        }
        let folder = folder.canonicalize().map_err(HarnessError::io(folder))?;
        Ok(Self {
            folder,
            name: file.name,
            version: file.version,
            description: file.description,
            limits: file.limits,
            build: file.build,
            module: file.module,
        })
    }
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
            ("nam = \"a\"", "nam"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says) && error.contains(FILE), "{error}");
        }
        let error = Project::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("stepwell action new"), "{error}");
    }
}
