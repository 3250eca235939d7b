//! Where a step stands in a run: `normalize`, `person.create`, `loop[3].create`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A step of a run. Its segments are the ids of the steps around it and its own, joined by dots; a segment
/// of an iterator carries the item's number, so every item's steps have paths, and journal keys, of their own.
/// Steps of the workflow's `on_failure` list stand under [`StepPath::ON_FAILURE`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct StepPath(Arc<str>);

impl StepPath {
    /// What paths of the `on_failure` list begin with.
    pub const ON_FAILURE: &'static str = "on_failure";

    pub fn new(path: impl AsRef<str>) -> StepPath {
        StepPath(Arc::from(path.as_ref()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The step `id` inside this one.
    pub fn child(&self, id: &str) -> StepPath {
        StepPath(Arc::from([&*self.0, ".", id].concat()))
    }

    /// Item `index` of this iterator.
    pub fn item(&self, index: u64) -> StepPath {
        StepPath(Arc::from(format!("{}[{index}]", self.0)))
    }

    /// The iterator and the number of the item that this is, if it is one and not a step.
    pub fn of_item(&self) -> Option<(StepPath, u64)> {
        let (iterator, index) = self.0.strip_suffix(']')?.rsplit_once('[')?;
        Some((StepPath::new(iterator), index.parse().ok()?))
    }

    /// Whether it is an item, or stands in one. Any other path is what the graph knows the step by.
    pub(crate) fn has_items(&self) -> bool {
        self.0.contains('[')
    }

    /// The innermost item that this is, or stands in.
    pub fn innermost_item(&self) -> Option<StepPath> {
        self.0.rfind(']').map(|end| StepPath::new(&self.0[..=end]))
    }

    /// The path without its last segment.
    pub fn parent(&self) -> Option<StepPath> {
        self.0.rsplit_once('.').map(|(parent, _)| StepPath::new(parent))
    }

    /// The step's own id.
    pub fn id(&self) -> &str {
        let last = self.0.rsplit('.').next().unwrap_or(&self.0);
        last.split('[').next().unwrap_or(last)
    }

    /// The path without item numbers: the same for every item, and what a graph knows the step by.
    pub fn without_items(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        let mut inside = false;
        for c in self.0.chars() {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ if inside => {}
                _ => out.push(c),
            }
        }
        out
    }

    /// Whether it is a step of the `on_failure` list, or inside one.
    pub fn is_on_failure(&self) -> bool {
        self.0.strip_prefix(StepPath::ON_FAILURE).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether `self` is `other`, or a step somewhere inside it.
    pub fn is_within(&self, other: &StepPath) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepPath({})", self.0)
    }
}

impl From<String> for StepPath {
    fn from(path: String) -> StepPath {
        StepPath::new(path)
    }
}

impl From<&str> for StepPath {
    fn from(path: &str) -> StepPath {
        StepPath::new(path)
    }
}

impl From<StepPath> for String {
    fn from(path: StepPath) -> String {
        path.0.to_string()
    }
}

impl Borrow<str> for StepPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_items() {
        let path = StepPath::new("loop").item(3).child("create");
        assert_eq!(path.as_str(), "loop[3].create");
        assert_eq!(path.id(), "create");
        assert_eq!(path.without_items(), "loop.create");
        let item = path.parent().unwrap();
        assert_eq!(item.as_str(), "loop[3]");
        assert_eq!(item.id(), "loop");
        assert_eq!(item.parent(), None);
        assert_eq!(item.of_item(), Some(("loop".into(), 3)));
        assert_eq!((path.of_item(), path.innermost_item()), (None, Some(item)));
        assert_eq!(StepPath::new("loop").innermost_item(), None);
    }

    #[test]
    fn within_counts_whole_segments() {
        let path = StepPath::new("loop[3].create");
        assert!(path.is_within(&"loop".into()));
        assert!(path.is_within(&"loop[3]".into()));
        assert!(path.is_within(&path));
        assert!(!path.is_within(&"lo".into()));
        assert!(!path.is_within(&"loop[3].cre".into()));
    }
}
