//! Compiling and loading what the scan let in: in this process or in a child, through the cache.

use bytes::Bytes;
use std::io;
use std::path::Path;
use tokio::sync::Semaphore;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::cache::{Artifact, Cache};
use super::prepare::prepare;
use super::{Admitted, CompileLimits, CompileStrategy, GuestKind, Refusal, child};
use crate::config::compatibility;
use crate::{LoadError, names};

/// Compilations at once: each may take gigabytes.
const AT_ONCE: usize = 2;

/// Machine code that is ready to be instantiated.
#[derive(Clone)]
pub enum Loaded {
    /// Of a component.
    Component(Component),
    /// Of a preview 1 command.
    Module(Module),
}

impl Loaded {
    /// The size of the machine code in memory.
    pub fn bytes(&self) -> u64 {
        let range = match self {
            Self::Component(component) => component.image_range(),
            Self::Module(module) => module.image_range(),
        };
        (range.end as usize).saturating_sub(range.start as usize) as u64
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Component(_) => "Loaded::Component",
            Self::Module(_) => "Loaded::Module",
        })
    }
}

/// Compiles modules for one engine.
#[derive(Debug)]
pub struct Compiler {
    engine: Engine,
    fingerprint: [u8; 32],
    strategy: CompileStrategy,
    cache: Option<Cache>,
    /// How many bytes the cache may hold.
    keep: u64,
    permits: Semaphore,
}

impl Compiler {
    /// A compiler for `engine`, with a cache in `cache_dir` if there is one.
    pub fn new(engine: Engine, strategy: CompileStrategy, cache_dir: Option<&Path>) -> io::Result<Self> {
        let fingerprint = compatibility(&engine);
        let cache = cache_dir.map(|dir| Cache::open(dir, fingerprint)).transpose()?;
        Ok(Self { engine, fingerprint, strategy, cache, keep: u64::MAX, permits: Semaphore::new(AT_ONCE) })
    }

    /// With a bound on the cache, in bytes. What was not used for longest goes when something new comes.
    #[must_use]
    pub fn keep(self, bytes: u64) -> Self {
        Self { keep: bytes, ..self }
    }

    /// The cache, for accounting and eviction.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Machine code for `admitted`, from the cache or compiled now.
    #[tracing::instrument(skip_all, fields(module = %crate::host::hex(&admitted.sha256[..8])))]
    pub async fn load(&self, admitted: &Admitted) -> Result<Loaded, LoadError> {
        if let Some(loaded) = self.cached(admitted).await? {
            return Ok(loaded);
        }
        let artifact = {
            let _permit = self.permits.acquire().await.map_err(LoadError::host)?;
            // Somebody else may have compiled it while this one stood in line.
            if let Some(loaded) = self.cached(admitted).await? {
                return Ok(loaded);
            }
            let started = std::time::Instant::now();
            let artifact = self.compile(admitted).await?;
            let milliseconds = started.elapsed().as_millis() as u64;
            tracing::info!(bytes = artifact.len() as u64, milliseconds, "compiled a module");
            artifact
        };
        let (engine, cache, keep) = (self.engine.clone(), self.cache.clone(), self.keep);
        let (kind, sha256) = (admitted.kind, admitted.sha256);
        blocking(move || {
            // Code that does not load is not kept.
            let loaded = artifact.load(&engine, kind).map_err(|error| {
                let message = format!("the engine cannot load the module: {}", names::said(error));
                LoadError::Refused(Refusal::new("compile_refused", message))
            })?;
            if let Some(cache) = cache
                && let Err(error) = cache.put(&sha256, &artifact).and_then(|()| cache.shrink(keep))
            {
                tracing::warn!(%error, "cannot keep compiled code within its bounds; it may be compiled again");
            }
            Ok(loaded)
        })
        .await
    }

    async fn cached(&self, admitted: &Admitted) -> Result<Option<Loaded>, LoadError> {
        let Some(cache) = self.cache.clone() else { return Ok(None) };
        let (engine, kind, sha256) = (self.engine.clone(), admitted.kind, admitted.sha256);
        blocking(move || {
            let Some(artifact) = cache.get(&sha256) else { return Ok(None) };
            match artifact.load(&engine, kind) {
                Ok(loaded) => Ok(Some(loaded)),
                Err(error) => {
                    tracing::warn!(%error, "cached code does not load; compiling again");
                    Ok(None)
                }
            }
        })
        .await
    }

    async fn compile(&self, admitted: &Admitted) -> Result<Artifact, LoadError> {
        match &self.strategy {
            CompileStrategy::InProcess => {
                let (engine, admitted) = (self.engine.clone(), admitted.clone());
                blocking(move || {
                    let artifact = machine_code(&engine, &admitted).map_err(LoadError::Refused)?;
                    check_size(artifact.len() as u64, &CompileLimits::default())?;
                    Ok(Artifact::new(artifact))
                })
                .await
            }
            CompileStrategy::Child { program, args, limits } => {
                let module = &admitted.module;
                let artifact = child::compile(program, args, limits, &self.fingerprint, module).await?;
                Ok(Artifact::new(artifact))
            }
        }
    }
}

/// Prepares and compiles, here and now.
pub(super) fn machine_code(engine: &Engine, admitted: &Admitted) -> Result<Vec<u8>, Refusal> {
    let runnable: Bytes = prepare(admitted)?;
    let compiled = match admitted.kind {
        GuestKind::WasiCommandP1 => engine.precompile_module(&runnable),
        GuestKind::Component | GuestKind::WasiCommandP2 => engine.precompile_component(&runnable),
    };
    compiled.map_err(|error| {
        let message = format!("the compiler refused the module: {}", names::said(error));
        Refusal::new("compile_refused", message)
    })
}

/// Refuses machine code that is larger than allowed.
pub(super) fn check_size(found: u64, limits: &CompileLimits) -> Result<(), LoadError> {
    if found <= limits.artifact_bytes {
        return Ok(());
    }
    Err(LoadError::Refused(Refusal {
        limit: Some(limits.artifact_bytes),
        found: Some(found),
        ..Refusal::new(
            "artifact_bytes",
            format!("the machine code has {found} bytes, and at most {} are kept", limits.artifact_bytes),
        )
    }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        // A panic of the compiler on somebody's bytes must not be the server's.
        Err(match error.is_panic() {
            true => {
                LoadError::Refused(Refusal::new("compile_crash", "the compiler broke down on the module"))
            }
            false => LoadError::host(error),
        })
    })
}

impl LoadError {
    pub(super) fn host(error: impl std::fmt::Display) -> Self {
        Self::Host(error.to_string())
    }
}
