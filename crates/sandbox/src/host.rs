//! The public face: a [`Host`] loads modules into [`Action`]s and calls them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

use crate::admit::{Admitted, CompileStrategy, GuestKind, Metadata, Refusal};
use crate::error::{CallError, ErrorSource, code};
use crate::{Limits, LogLine, Usage};

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where compiled modules are kept. `None` compiles at every load.
    pub cache_dir: Option<PathBuf>,
    /// Where modules are compiled.
    pub compile: CompileStrategy,
    /// How many calls run at once; more wait their turn.
    pub max_concurrent_calls: u32,
    /// How many threads run guests. 0 is one a core.
    pub threads: usize,
    /// What no call can go above.
    pub maxima: Limits,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            compile: CompileStrategy::InProcess,
            max_concurrent_calls: 128,
            threads: 0,
            maxima: Limits::HOST_MAXIMA,
        }
    }
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine, its pool of memory or its threads could not be set up.
    #[error("the sandbox cannot start: {0}")]
    Start(String),
}

/// Why a module did not become an action.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The module broke a rule: its owner's to mend.
    #[error("{0}")]
    Refused(Refusal),
    /// The host could not load it; nothing is known about the module.
    #[error("cannot load the module: {0}")]
    Host(String),
}

/// Runs actions. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    config: Arc<HostConfig>,
}

/// A module that was scanned, compiled and loaded, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Action {
    info: Arc<ActionInfo>,
}

/// What is known about an action without running it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionInfo {
    /// How it is run.
    pub kind: GuestKind,
    /// SHA-256 of the bytes as uploaded, in hexadecimal.
    pub sha256: String,
    /// Their number.
    pub size: u64,
    /// What the module says about itself.
    pub metadata: Option<Metadata>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// One call: exactly these decide output, logs and fuel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// One JSON value. [`canonical_json`](crate::canonical_json) makes the text that is equal for
    /// equal values.
    pub input: String,
    /// What the call may use; what is above the host's maxima is lowered to them.
    pub limits: Limits,
    /// Where the guest's randomness starts.
    pub seed: [u8; 32],
    /// Where the guest's clock starts: milliseconds since the Unix epoch.
    pub start_ms: u64,
}

impl Call {
    /// A call with default limits, a seed of zeros, in 1970.
    pub fn new(input: impl Into<String>) -> Self {
        Self { input: input.into(), limits: Limits::default(), seed: [0; 32], start_ms: 0 }
    }

    /// The same call with other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same call with another seed.
    #[must_use]
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = seed;
        self
    }

    /// The same call at another time.
    #[must_use]
    pub fn start_ms(mut self, start_ms: u64) -> Self {
        self.start_ms = start_ms;
        self
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The output, exactly one JSON value as text; or why there is none.
    pub result: Result<String, CallError>,
    /// What the guest logged.
    pub logs: Vec<LogLine>,
    /// Whether more was logged than the limit keeps.
    pub logs_truncated: bool,
    /// What it used.
    pub usage: Usage,
}

impl Host {
    /// Sets up an engine, its pool of memory and its threads.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        Ok(Self { config: Arc::new(config) })
    }

    /// Scans a module and compiles it, or takes it from the cache.
    pub async fn load(&self, bytes: impl Into<Bytes>) -> Result<Action, LoadError> {
        let _ = bytes.into();
        Err(LoadError::Host("not here yet".into()))
    }

    /// Calls an action. Dropping the future stops the guest.
    pub async fn call(&self, _action: &Action, call: Call) -> Outcome {
        let error = CallError::new(ErrorSource::Engine, code::UNAVAILABLE, "not here yet");
        let usage = Usage { input_bytes: call.input.len() as u64, ..Usage::default() };
        Outcome { result: Err(error), logs: Vec::new(), logs_truncated: false, usage }
    }

    /// What results depend on besides module, input, seed and start: a result stored under another
    /// fingerprint need not come out the same.
    pub fn semantic_fingerprint(&self) -> &str {
        ""
    }

    /// What no call can go above.
    pub fn maxima(&self) -> Limits {
        self.config.maxima
    }
}

impl Action {
    /// What is known about it without running it.
    pub fn info(&self) -> &ActionInfo {
        &self.info
    }
}

impl From<&Admitted> for ActionInfo {
    fn from(admitted: &Admitted) -> Self {
        Self {
            kind: admitted.kind,
            sha256: hex(&admitted.sha256),
            size: admitted.size,
            metadata: admitted.metadata.clone(),
            imports: admitted.imports.clone(),
            exports: admitted.exports.clone(),
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
