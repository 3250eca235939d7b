//! `code`: an action in the sandbox, and the limits of a call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::empty_object;
use crate::model::action_ref::ActionRef;
use crate::model::units::ByteSize;

/// Runs an action in the sandbox. Output: the action's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    pub action: ActionRef,
    #[serde(default = "empty_object")]
    pub input: Value,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// Limits of one call; what is absent is the action's, or else the host's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<ByteSize>,
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Each limit by the name it has everywhere; sizes in bytes, times in milliseconds.
    pub fn each(&self) -> [(&'static str, Option<u64>); 7] {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.0);
        [
            ("fuel", self.fuel),
            ("memory_bytes", bytes(self.memory_bytes)),
            ("wall_ms", self.wall_ms),
            ("virtual_ms", self.virtual_ms),
            ("input_bytes", bytes(self.input_bytes)),
            ("output_bytes", bytes(self.output_bytes)),
            ("log_bytes", bytes(self.log_bytes)),
        ]
    }
}
