//! How many runs of a workflow may be under way at the same time.

use serde::{Deserialize, Serialize};

use super::Template;

/// Of the runs with one key so many are under way, each from its start to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Made of `trigger` and `settings`; all runs of the workflow have one key when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Template>,
    #[serde(default = "Concurrency::default_limit")]
    pub limit: u32,
    #[serde(default)]
    pub when_full: WhenFull,
}

impl Concurrency {
    /// More than this is no limit that anybody counts on.
    pub const MAX_LIMIT: u64 = 1_000;

    fn default_limit() -> u32 {
        1
    }
}

/// What becomes of a run that finds as many under way as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It waits for its turn.
    #[default]
    Wait,
    /// It does not run.
    Skip,
    /// Those that wait and the oldest under way are cancelled for it.
    Replace,
}
