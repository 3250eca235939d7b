//! What a call used, and the log lines it wrote: comes back with every call, good or bad.

use serde::{Deserialize, Serialize};

/// What one call used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Fuel from after instantiation to the end. `None` where it is unspecified: after a trap or
    /// a deadline the engine's own counter is stale.
    pub fuel: Option<u64>,
    /// The most that all memories and tables held together.
    pub peak_memory_bytes: u64,
    /// Virtual time that passed for the guest.
    pub virtual_ms: u64,
    /// Real time from the start of the instance to its end, without waiting for a slot.
    pub wall_us: u64,
    /// Bytes of input.
    pub input_bytes: u64,
    /// Bytes of output the guest wrote, whether it was accepted or not.
    pub output_bytes: u64,
    /// Bytes of logs kept.
    pub log_bytes: u64,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Warn,
    /// 4
    Error,
}

impl From<u8> for LogLevel {
    fn from(level: u8) -> Self {
        match level {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            _ => Self::Error,
        }
    }
}

/// One line of a call's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// Structured fields: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<serde_json::Value>,
    /// When, on the guest's virtual clock: milliseconds since the Unix epoch.
    pub at: u64,
}
