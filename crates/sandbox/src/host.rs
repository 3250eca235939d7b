//! The public face: a [`Host`] loads modules into [`Action`]s and calls them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::admit::{Admitted, CompileStrategy, Compiler, GuestKind, Metadata, Refusal, scan};
use crate::brisk::{Habit, Here, Leave};
use crate::call::{self, Runnable};
use crate::config::{self, Allocation, settings};
use crate::error::{CallError, ErrorSource, code};
use crate::guests::Guests;
use crate::state::CallState;
use crate::ticker::Ticker;
use crate::{Limits, LogLine, Usage, names};

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where compiled modules are kept. `None` compiles at every load.
    pub cache_dir: Option<PathBuf>,
    /// How many bytes of them are kept there; what was not used for longest goes.
    pub cache_bytes: u64,
    /// Where modules are compiled.
    pub compile: CompileStrategy,
    /// How many calls run at once; more wait their turn.
    pub max_concurrent_calls: u32,
    /// How many threads run guests. 0 is one a core.
    pub threads: usize,
    /// What no call can go above.
    pub maxima: Limits,
    /// How often a running guest gives others their turn and has its deadline looked at.
    pub tick: Duration,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_bytes: 1 << 30,
            compile: CompileStrategy::InProcess,
            max_concurrent_calls: 128,
            threads: 0,
            maxima: Limits::HOST_MAXIMA,
            tick: Duration::from_millis(1),
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
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<CallState>,
    compiler: Compiler,
    maxima: Limits,
    permits: Arc<Semaphore>,
    ticker: Ticker,
    guests: Guests,
    here: Here,
    semantics: String,
}

/// A module that was scanned, compiled and loaded, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Action(Arc<Loaded>);

struct Loaded {
    info: ActionInfo,
    code_bytes: u64,
    runnable: Runnable,
    engine: Engine,
    habit: Habit,
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

    fn clone_without_input(&self) -> Self {
        Self { input: String::new(), ..*self }
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

impl Outcome {
    pub(crate) fn not_run(call: &Call, error: CallError) -> Self {
        let usage = Usage { input_bytes: call.input.len() as u64, ..Usage::default() };
        Self { result: Err(error), logs: Vec::new(), logs_truncated: false, usage }
    }
}

impl Host {
    /// Sets up an engine, its pool of memory and its threads.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        fn start(error: impl std::fmt::Display) -> HostError {
            HostError::Start(format!("{error:#}"))
        }
        let calls = config.max_concurrent_calls.max(1);
        let engine = Engine::new(&settings(Allocation::Pooling { calls })).map_err(start)?;
        let linker = call::component_linker(&engine).map_err(start)?;
        let compiler = Compiler::new(engine.clone(), config.compile, config.cache_dir.as_deref());
        let compiler = compiler.map_err(start)?.keep(config.cache_bytes);
        let ticker = Ticker::start(&engine, config.tick).map_err(start)?;
        let guests = Guests::start(config.threads).map_err(start)?;
        let permits = Arc::new(Semaphore::new(calls as usize));
        let (maxima, here, semantics) = (config.maxima, Here::new(), config::semantics());
        let inner = Inner { engine, linker, compiler, maxima, permits, ticker, guests, here, semantics };
        Ok(Self(Arc::new(inner)))
    }

    /// Scans a module and compiles it, or takes it from the cache. Needs a tokio runtime.
    pub async fn load(&self, bytes: impl Into<Bytes>) -> Result<Action, LoadError> {
        let bytes = bytes.into();
        let scanned = tokio::task::spawn_blocking(move || scan(&bytes)).await;
        let admitted =
            scanned.map_err(|error| LoadError::Host(error.to_string()))?.map_err(LoadError::Refused)?;
        self.load_admitted(&admitted).await
    }

    /// Compiles a module that was scanned, or takes it from the cache. Needs a tokio runtime.
    pub async fn load_admitted(&self, admitted: &Admitted) -> Result<Action, LoadError> {
        let inner = &self.0;
        let code = inner.compiler.load(admitted).await?;
        let code_bytes = code.bytes();
        let runnable = Runnable::new(&inner.engine, &inner.linker, admitted.kind, &code);
        // The scan looks at names; whether the types fit too is known only here.
        let runnable = runnable.map_err(|error| {
            let message = format!("the module does not fit its host: {}", names::said(error));
            LoadError::Refused(Refusal::new("link", message))
        })?;
        let (info, engine) = (admitted.into(), inner.engine.clone());
        Ok(Action(Arc::new(Loaded { info, code_bytes, runnable, engine, habit: Habit::default() })))
    }

    /// Calls an action. Waits for a free slot; dropping the future stops the guest and frees it.
    pub async fn call(&self, action: &Action, call: Call) -> Outcome {
        let inner = &self.0;
        let call = Call { limits: call.limits.capped_by(inner.maxima), ..call };
        if !Engine::same(&inner.engine, &action.0.engine) {
            let message = "the action was loaded by another host";
            return Outcome::not_run(&call, CallError::new(ErrorSource::Engine, code::INTERNAL, message));
        }
        let (size, limit) = (call.input.len() as u64, call.limits.input_bytes);
        if size > limit {
            let message = format!(
                "the input has {size} bytes, and the limit is {limit}: send less, or raise input_bytes"
            );
            let error = CallError::sandbox(code::INPUT_TOO_LARGE, message).limit(limit, size);
            return Outcome::not_run(&call, error);
        }
        let Ok(permit) = inner.permits.clone().acquire_owned().await else {
            let error = CallError::new(ErrorSource::Engine, code::UNAVAILABLE, "the host is shutting down");
            return Outcome::not_run(&call, error);
        };
        let outcome = self.run(action, call, permit, inner.here.leave(&action.0.habit)).await;
        action.0.habit.used(&outcome.usage);
        let code = outcome.result.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok");
        tracing::debug!(
            action = &action.0.info.sha256[..16],
            code,
            fuel = outcome.usage.fuel,
            wall_us = outcome.usage.wall_us,
            "called"
        );
        outcome
    }

    /// Runs a call that has its slot: beginning here, with leave to, or on the guests' threads.
    async fn run(
        &self,
        action: &Action,
        call: Call,
        permit: OwnedSemaphorePermit,
        leave: Option<Leave<'_>>,
    ) -> Outcome {
        let (host, action, spare) = (self.0.clone(), action.clone(), call.clone_without_input());
        let guest = Box::pin(async move {
            let _permit = permit;
            let _running = host.ticker.run();
            call::run(&host.engine, &action.0.runnable, call).await
        });
        let ended = match leave {
            Some(leave) => self.0.guests.begin_here(guest, leave).await,
            None => self.0.guests.run(guest).await,
        };
        ended.unwrap_or_else(|message| {
            Outcome::not_run(&spare, CallError::new(ErrorSource::Engine, code::INTERNAL, message))
        })
    }

    /// What results depend on besides module, input, seed and start: a result stored under another
    /// fingerprint need not come out the same.
    pub fn semantic_fingerprint(&self) -> &str {
        &self.0.semantics
    }

    /// What no call can go above.
    pub fn maxima(&self) -> Limits {
        self.0.maxima
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("maxima", &self.0.maxima).finish_non_exhaustive()
    }
}

impl Action {
    /// What is known about it without running it.
    pub fn info(&self) -> &ActionInfo {
        &self.0.info
    }

    /// How much memory its machine code takes, with what belongs to that.
    pub fn code_bytes(&self) -> u64 {
        self.0.code_bytes
    }
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Action").field(&self.0.info.sha256).finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs, grows its memory and counts, as often as its input's first digit says.
    const BUSY: &str = r#"
      (func (export "run") (param $ptr i32) (param $len i32) (result i32)
        (local $left i32) (local $n i32)
        (local.set $left (i32.sub (i32.load8_u (local.get $ptr)) (i32.const 48)))
        (loop $again
          (call $log (i32.const 2) (local.get $ptr) (local.get $len) (i32.const 0) (i32.const 0))
          (drop (memory.grow (i32.const 1)))
          (local.set $n (i32.const 0))
          (loop $count
            (br_if $count (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2000000))))
          (br_if $again (i32.gt_s (local.tee $left (i32.sub (local.get $left) (i32.const 1))) (i32.const 0))))
        (call $ok (local.get $ptr) (local.get $len)))"#;

    fn same(outcome: &Outcome) -> Outcome {
        let usage = Usage { wall_us: 0, ..outcome.usage };
        Outcome { usage, ..outcome.clone() }
    }

    #[tokio::test]
    async fn a_call_that_begins_on_the_thread_that_asks_comes_out_as_one_on_the_guests_threads() {
        let tick = Duration::from_micros(50);
        let host = Host::new(HostConfig { threads: 1, tick, ..HostConfig::default() }).unwrap();
        let text = include_str!("../tests/calls/action.wat").replace("@GUEST@", BUSY);
        let action = host.load(wat::parse_str(text).unwrap()).await.unwrap();
        let habit = Habit::default();
        (0..64).for_each(|_| habit.used(&Usage { fuel: Some(1), ..Usage::default() }));
        // One turn is enough for the first, the second is interrupted and goes on elsewhere; one is left without fuel.
        for (input, fuel) in [("0", 1 << 40), ("9", 1 << 40), ("9", 50_000_000)] {
            let call = Call::new(input).limits(Limits { fuel, ..Limits::default() }).seed([7; 32]);
            let mut outcomes = Vec::new();
            for begins_here in [false, true, false, true] {
                // Whoever was here before, and however long that took.
                let here = Here::new();
                let leave = if begins_here { here.leave(&habit) } else { None };
                assert_eq!(leave.is_some(), begins_here);
                let permit = host.0.permits.clone().acquire_owned().await.unwrap();
                outcomes.push(same(&host.run(&action, call.clone(), permit, leave).await));
                // However long it took, the next one may begin here as well.
                (0..20_000).for_each(|_| habit.used(&Usage { fuel: Some(1), ..Usage::default() }));
            }
            assert!(outcomes[0].usage.fuel.is_some() && !outcomes[0].logs.is_empty(), "{:?}", outcomes[0]);
            assert_eq!(outcomes[0].result.is_ok(), fuel > 50_000_000);
            assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:#?}");
        }
    }
}
