//! Bare wasmtime, as lean as the rules allow: the product's engine settings, a pooled instance a call, fuel, epochs,
//! a memory limit. No check of input or output, no logs, no virtual world, no accounting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail};
use stepwell_sandbox::config::{Allocation, settings};
use wasmtime::component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};

#[derive(ComponentType, Lift)]
#[component(record)]
struct Failure {
    code: String,
    message: String,
    retryable: bool,
    #[component(name = "retry-after-ms")]
    retry_after_ms: Option<u64>,
    details: Option<String>,
}

/// An engine with its tick.
pub struct Bare {
    engine: Engine,
    over: Arc<AtomicBool>,
}

/// A component that is ready to be called.
pub struct Ready {
    engine: Engine,
    pre: InstancePre<StoreLimits>,
    run: ComponentExportIndex,
}

impl Bare {
    pub fn new() -> anyhow::Result<Self> {
        let engine = Engine::new(&settings(Allocation::Pooling { calls: 128 }))?;
        let over = Arc::new(AtomicBool::new(false));
        let (ticked, stop) = (engine.clone(), over.clone());
        std::thread::Builder::new().name("bare-tick".into()).spawn(move || {
            while !stop.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                ticked.increment_epoch();
            }
        })?;
        Ok(Self { engine, over })
    }

    /// Compiles.
    pub fn load(&self, component: &[u8]) -> anyhow::Result<Ready> {
        let component = Component::new(&self.engine, component)?;
        let mut linker = Linker::<StoreLimits>::new(&self.engine);
        let mut log = linker.instance("stepwell:action/log@1.0.0")?;
        log.func_wrap("log", |_, _: (u8, String, String)| Ok(()))?;
        log.func_wrap("panic", |_, _: (String, String)| Ok(()))?;
        let handler = component.get_export_index(None, "stepwell:action/handler@1.0.0");
        let handler = handler.context("the component exports no handler")?;
        let run = component.get_export_index(Some(&handler), "run").context("the handler has no `run`")?;
        Ok(Ready { engine: self.engine.clone(), pre: linker.instantiate_pre(&component)?, run })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

impl Ready {
    pub async fn call(&self, input: &str) -> anyhow::Result<String> {
        let limits = StoreLimitsBuilder::new().memory_size(64 << 20).build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_fuel(1_000_000_000)?;
        let instance = self.pre.instantiate_async(&mut store).await?;
        let run = instance.get_typed_func::<(&str,), (Result<String, Failure>,)>(&mut store, &self.run)?;
        match run.call_async(&mut store, (input,)).await? {
            (Ok(output),) => Ok(output),
            (Err(Failure { code, message, retryable, retry_after_ms, details }),) => {
                bail!("{code}: {message} ({retryable} {retry_after_ms:?} {details:?})")
            }
        }
    }
}
