//! How a code step names its action: `name`, `name@1`, `name@1.2.0`.

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};

/// An action and which of its versions is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ActionRef {
    pub name: String,
    pub version: VersionWanted,
}

/// Resolved when a run starts, and kept with the run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VersionWanted {
    /// Without `@`: the newest there is.
    Latest,
    /// `@1`: the newest 1.x.
    Major(u64),
    /// `@1.2.0`: this one.
    Exact(Version),
}

impl VersionWanted {
    /// Whether `version` is one of those asked for.
    pub fn accepts(&self, version: &Version) -> bool {
        match self {
            VersionWanted::Latest => true,
            VersionWanted::Major(major) => version.major == *major,
            VersionWanted::Exact(wanted) => version == wanted,
        }
    }
}

/// Why a reference could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionRefError {
    #[error("an action's name is lower case letters, digits and `-`, and starts with a letter")]
    Name,
    #[error("after `@` comes a major version (`@1`) or a whole one (`@1.2.0`)")]
    Version,
}

impl FromStr for ActionRef {
    type Err = ActionRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let all_good = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !starts_well || !all_good || name.len() > 64 {
            return Err(ActionRefError::Name);
        }
        let version = match version {
            None => VersionWanted::Latest,
            Some(v) if !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()) => {
                VersionWanted::Major(v.parse().map_err(|_| ActionRefError::Version)?)
            }
            Some(v) => VersionWanted::Exact(v.parse().map_err(|_| ActionRefError::Version)?),
        };
        Ok(ActionRef { name: name.to_owned(), version })
    }
}

impl fmt::Display for ActionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            VersionWanted::Latest => write!(f, "{}", self.name),
            VersionWanted::Major(major) => write!(f, "{}@{major}", self.name),
            VersionWanted::Exact(version) => write!(f, "{}@{version}", self.name),
        }
    }
}

impl From<ActionRef> for String {
    fn from(action: ActionRef) -> String {
        action.to_string()
    }
}

impl TryFrom<String> for ActionRef {
    type Error = ActionRefError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_name_a_version() {
        for text in ["normalize-lead", "normalize-lead@1", "normalize-lead@1.2.0"] {
            let action: ActionRef = text.parse().unwrap();
            assert_eq!(action.name, "normalize-lead");
            assert_eq!(action.to_string(), text);
        }
        let one: ActionRef = "a@1".parse().unwrap();
        assert!(one.version.accepts(&Version::new(1, 9, 0)));
        assert!(!one.version.accepts(&Version::new(2, 0, 0)));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", "@1", "Normalize", "a b", "a/../b", "a@", "a@1.2", "a@x", "-a", "1a"] {
            assert!(text.parse::<ActionRef>().is_err(), "{text} was accepted");
        }
    }
}
