//! What a `code` step needs of the sandbox. A module is named by the SHA-256 of its bytes, in hexadecimal.
use async_trait::async_trait;
use bytes::Bytes;
use stepwell_sandbox::{
    ActionInfo, Call, CallError, ErrorSource, Host, LoadError, Outcome, Shelf, Usage, code,
};

#[async_trait]
pub trait CodeRunner: Send + Sync + 'static {
    /// Scans and compiles a module (or takes it from a cache), and keeps it ready for [`CodeRunner::call`].
    async fn load(&self, module: Bytes) -> Result<ActionInfo, LoadError>;

    /// Whether a module is ready to be called. If so, it stays for a while: whoever asks is about to call it.
    fn loaded(&self, sha256: &str) -> bool;

    /// Calls a module that is ready. The same module, input, seed, start and limits give the same outcome.
    async fn call(&self, sha256: &str, call: Call) -> Outcome;

    /// Lets a module go that was loaded only to be looked at, unless it was called since.
    fn drop_unused(&self, _sha256: &str) {}

    /// What no call can go above.
    fn maxima(&self) -> stepwell_sandbox::Limits;

    /// What an outcome depends on besides that: one that was stored under another need not come out the same. It is kept
    /// with the run, so it is short; nothing is kept where it is empty.
    fn semantics(&self) -> &str {
        ""
    }
}

/// Machine code that is kept loaded; the rest comes from the cache when it is called.
const LOADED_BYTES: u64 = 1 << 30;

/// The real sandbox.
pub struct SandboxRunner {
    host: Host,
    actions: Shelf,
}

impl SandboxRunner {
    pub fn new(host: Host) -> Self {
        Self { host, actions: Shelf::new(LOADED_BYTES) }
    }

    pub fn host(&self) -> &Host {
        &self.host
    }
}

#[async_trait]
impl CodeRunner for SandboxRunner {
    async fn load(&self, module: Bytes) -> Result<ActionInfo, LoadError> {
        let action = self.host.load(module).await?;
        let info = action.info().clone();
        self.actions.keep(action);
        Ok(info)
    }

    fn loaded(&self, sha256: &str) -> bool {
        self.actions.holds(sha256)
    }

    fn drop_unused(&self, sha256: &str) {
        self.actions.drop_unused(sha256);
    }

    async fn call(&self, sha256: &str, call: Call) -> Outcome {
        match self.actions.take(sha256) {
            Some(action) => self.host.call(&action, call).await,
            None => not_loaded(sha256, &call),
        }
    }

    fn maxima(&self) -> stepwell_sandbox::Limits {
        self.host.maxima()
    }

    fn semantics(&self) -> &str {
        self.host.semantic_fingerprint()
    }
}

/// Calling what was not loaded is a fault of the caller, and answered as one of the host's.
pub(crate) fn not_loaded(sha256: &str, call: &Call) -> Outcome {
    let message = format!("module {sha256} is not loaded");
    let usage = Usage { input_bytes: call.input.len() as u64, ..Usage::default() };
    let error = CallError::new(ErrorSource::Engine, code::INTERNAL, message);
    Outcome { result: Err(error), logs: Vec::new(), logs_truncated: false, usage }
}
