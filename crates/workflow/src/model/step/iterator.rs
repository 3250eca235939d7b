//! `iterator`: the same steps for each item of a list, or for each record of a search.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Fields, Step, one_or_many, present};

/// The same steps for each item of a list, or for each record that a search finds; exactly one of `over` and `search`
/// is there. Output: `{count, succeeded, failed, skipped, results, failures}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Iterate {
    /// A list, or a template that gives one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub over: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<RecordSet>,
    #[serde(rename = "do", default)]
    pub steps: Vec<Step>,
    /// Of one item; its last step's output when absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Numbers of one item, which are added up over all items that succeed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub totals: Fields,
    /// Items under way at the same time.
    #[serde(default = "Iterate::default_concurrency")]
    pub concurrency: u32,
    /// So many at a time: `item` is then a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    #[serde(default, skip_serializing_if = "Tolerate::is_none")]
    pub tolerate: Tolerate,
    /// What all items write is written at once, or nothing of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub atomic: bool,
}

impl Iterate {
    /// Items that may be under way at the same time: their steps are the part of a run's state that grows.
    pub const MAX_CONCURRENCY: u64 = 100;
    /// Sums that one keeps: they are in the run's state.
    pub const MAX_TOTALS: usize = 20;
    /// A batch over a search is read at once.
    pub const MAX_BATCH: u64 = stepwell_records::MAX_LIMIT as u64;

    fn default_concurrency() -> u32 {
        1
    }
}

/// Records of an object, all of them that a filter holds of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordSet {
    pub object: String,
    /// A saved filter and sort; what is beside it narrows it further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Field paths, `-` in front for descending.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
}

/// How many items may fail before the iterator does; with both, each is kept. Without either, none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tolerate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
}

impl Tolerate {
    pub(crate) fn is_none(&self) -> bool {
        *self == Tolerate::default()
    }

    /// Of so many items.
    pub fn allowed(&self, count: u64) -> u64 {
        // Whole items: half of three is one.
        let share = |percent: f64| (count as f64 * percent / 100.0).floor() as u64;
        match (self.failures, self.percent.map(share)) {
            (Some(failures), Some(share)) => failures.min(share),
            (Some(allowed), None) | (None, Some(allowed)) => allowed,
            (None, None) => 0,
        }
    }
}
