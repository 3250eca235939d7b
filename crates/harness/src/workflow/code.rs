//! The sandbox of production under a virtual clock: it lives in real time, on a runtime of its own, and is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use stepwell_engine::ports::{CodeRunner, SandboxRunner, async_trait};
use stepwell_sandbox::{ActionInfo, Call, CallError, ErrorSource, Limits, LoadError, Outcome, Usage, code};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::build::hex;

/// What all tests of a folder share: modules are compiled once.
pub(super) struct Sandbox {
    runner: Arc<SandboxRunner>,
    real: Handle,
    known: Mutex<HashMap<String, ActionInfo>>,
}

impl Sandbox {
    /// On the runtime that calls this.
    pub fn new(host: stepwell_sandbox::Host) -> Self {
        let runner = Arc::new(SandboxRunner::new(host));
        Self { runner, real: Handle::current(), known: Mutex::default() }
    }

    fn known(&self, sha256: &str) -> Option<ActionInfo> {
        let known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.get(sha256).filter(|_| self.runner.loaded(sha256)).cloned()
    }
}

/// One test's way to the sandbox.
pub(super) struct CountedCode {
    sandbox: Arc<Sandbox>,
    /// Calls and loads under way.
    busy: watch::Sender<usize>,
}

impl CountedCode {
    pub fn new(sandbox: Arc<Sandbox>) -> Self {
        Self { sandbox, busy: watch::Sender::new(0) }
    }

    pub fn busy(&self) -> watch::Receiver<usize> {
        self.busy.subscribe()
    }

    /// Does something of the sandbox in real time; nothing when it panicked.
    async fn really<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let _count = Count::new(&self.busy);
        self.sandbox.real.spawn(work).await.ok()
    }
}

/// Counts one call, however it ends.
struct Count<'b>(&'b watch::Sender<usize>);

impl<'b> Count<'b> {
    fn new(busy: &'b watch::Sender<usize>) -> Self {
        busy.send_modify(|busy| *busy += 1);
        Self(busy)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

#[async_trait]
impl CodeRunner for CountedCode {
    async fn load(&self, module: Bytes) -> Result<ActionInfo, LoadError> {
        let sha256 = hex(&Sha256::digest(&module));
        if let Some(info) = self.sandbox.known(&sha256) {
            return Ok(info);
        }
        let runner = self.sandbox.runner.clone();
        let loaded = self.really(async move { runner.load(module).await }).await;
        let info = loaded.unwrap_or_else(|| Err(LoadError::Host("the sandbox panicked".into())))?;
        let mut known = self.sandbox.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.insert(sha256, info.clone());
        Ok(info)
    }

    fn loaded(&self, sha256: &str) -> bool {
        self.sandbox.runner.loaded(sha256)
    }

    async fn call(&self, sha256: &str, call: Call) -> Outcome {
        let (runner, sha256) = (self.sandbox.runner.clone(), sha256.to_owned());
        let outcome = self.really(async move { runner.call(&sha256, call).await }).await;
        outcome.unwrap_or_else(|| {
            let error = CallError::new(ErrorSource::Engine, code::INTERNAL, "the sandbox panicked");
            Outcome { result: Err(error), logs: vec![], logs_truncated: false, usage: Usage::default() }
        })
    }

    fn maxima(&self) -> Limits {
        self.sandbox.runner.maxima()
    }

    fn semantics(&self) -> &str {
        self.sandbox.runner.semantics()
    }
}
