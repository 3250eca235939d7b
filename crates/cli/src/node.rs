//! A server put together: store, blobs, sandbox, engine and HTTP front over one data folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use stepwell_engine::outside::{OutboundHttp, OutboundPolicy, SmtpMailer, parse_network};
use stepwell_engine::ports::{Mailer, SandboxRunner, SystemClock, SystemRandom};
use stepwell_engine::{Engine, EngineConfig, NewKey, Ports, Retention};
use stepwell_sandbox::admit::{CompileLimits, CompileStrategy};
use stepwell_sandbox::{Host, HostConfig, Limits};
use stepwell_server::{App, ConnectionLimits, ServerConfig};
use stepwell_store::{FileBlobs, SledOptions, SledStore};
use tokio::net::TcpListener;

use crate::folder;
use crate::secrets_key::{self, KeyPlace};
use crate::settings::Settings;

/// Requests that are open when the server is told to stop may take so long to end.
const GRACE: Duration = Duration::from_secs(10);

/// An open server that listens, but does not answer until [`Node::serve`].
pub struct Node {
    pub engine: Engine,
    pub data: PathBuf,
    pub address: SocketAddr,
    /// Where the first key was written, if there was none before.
    pub new_key: Option<PathBuf>,
    store: SledStore,
    listener: TcpListener,
    app: App,
}

impl Node {
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let default = SledOptions::default();
        let options = SledOptions {
            cache_bytes: settings.limits.cache_bytes.unwrap_or(default.cache_bytes),
            disk_floor: settings.limits.free_disk_bytes,
            ..default
        };
        use_small_pages();
        let folder = settings.data.clone();
        folder::look_at(&folder);
        let store = tokio::task::spawn_blocking(move || SledStore::open(folder, options)).await??;
        let data = settings
            .data
            .canonicalize()
            .with_context(|| format!("the data folder {}", settings.data.display()))?;
        // Bound before the engine starts runs: a second server on the same address must not.
        let listener =
            TcpListener::bind(settings.listen).await.with_context(|| cannot_listen(settings.listen))?;
        let address = listener.local_addr()?;
        let clock = Arc::new(SystemClock::default());
        let connections = connection_limits(&settings.limits);
        // The other half is for calls that are answered at once.
        let callers = connections.most.div_ceil(2);
        let engine = open_engine(settings, &data, &store, clock.clone(), address, callers).await?;
        let new_key = if settings.dev { None } else { first_key(&engine, &data).await? };
        let config = ServerConfig {
            dev: settings.dev,
            hook_body_bytes: settings.limits.hook_body_bytes,
            api_body_bytes: settings.limits.api_body_bytes,
            bodies_bytes: settings.limits.bodies_bytes,
            module_bytes: stepwell_server::MODULE_BYTES,
            connections,
            clock: settings.dev.then_some(clock),
        };
        let app = App::new(engine.clone(), config);
        Ok(Self { engine, data, address, new_key, store, listener, app })
    }

    /// Answers until `stop` resolves; then lets requests and bursts end, and closes the store.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        stepwell_server::serve(self.listener, self.app, stop, GRACE).await;
        self.engine.close().await;
        self.store.close().await;
    }
}

fn cannot_listen(address: SocketAddr) -> String {
    let free = SocketAddr::new(address.ip(), 0);
    format!("cannot listen on {address} (where another server runs there: --listen {free} takes a free port)")
}

/// Makes the first admin key of a store, and says where it is.
async fn first_key(engine: &Engine, data: &Path) -> anyhow::Result<Option<PathBuf>> {
    let hand_out = |key: &NewKey| folder::write_key(data, &key.secret).map(|_| ());
    let made = engine.keys().create_first(hand_out).await?;
    let file = folder::key_file(data);
    if made.is_none() && !file.exists() {
        tracing::info!(
            "{} is gone; if the key is lost, stop the server and make another: stepwell key reset-admin --data {}",
            file.display(),
            data.display()
        );
    }
    Ok(made.map(|_| file))
}

/// Half of the open files that the process may have, unless the setting says otherwise: the store, modules being
/// compiled and outbound calls need some too.
fn connection_limits(limits: &crate::settings::Limits) -> ConnectionLimits {
    let files = most_files();
    let default = (files / 2).clamp(16, 4096);
    let most = limits.connections.unwrap_or(default);
    if most > files.saturating_sub(64) {
        tracing::warn!(
            "limits.connections is {most}, but the process may open only {files} files; raise that (ulimit -n, LimitNOFILE=)"
        );
    }
    ConnectionLimits {
        most,
        head: Duration::from_millis(limits.head_ms),
        body_idle: Duration::from_millis(limits.body_idle_ms),
        body_total: Duration::from_millis(limits.body_total_ms),
    }
}

/// The store makes and lets go of large buffers all the time. With transparent huge pages the system clears two megabytes
/// for each of them: a tenth of what the server gets done (docs/performance.md).
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay as they are");
    }
}

/// How many files the process may open, after asking for as many as it may ask for.
fn most_files() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    /// More than this is of no use to one server.
    const WANTED: u64 = 65_536;
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(WANTED).min(WANTED);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
    usize::try_from(files).unwrap_or(usize::MAX)
}

async fn open_engine(
    settings: &Settings,
    data: &Path,
    store: &SledStore,
    clock: Arc<SystemClock>,
    address: SocketAddr,
    waiting_callers: usize,
) -> anyhow::Result<Engine> {
    let blobs = data.join("blobs");
    let blobs = if store.used() { FileBlobs::open_used(blobs)? } else { FileBlobs::open(blobs)? };
    blobs.keep_free(settings.limits.free_disk_bytes);
    let mail = match &settings.smtp {
        Some(smtp) => {
            Some(Arc::new(SmtpMailer::new(smtp).map_err(|e| anyhow::anyhow!("smtp: {}", e.message))?)
                as Arc<dyn Mailer>)
        }
        None => None,
    };
    let ports = Ports {
        store: Arc::new(store.clone()),
        blobs: Arc::new(blobs),
        clock,
        random: Arc::new(SystemRandom::default()),
        http: Arc::new(
            OutboundHttp::new(policy(settings)?)
                .map_err(|e| anyhow::anyhow!("the HTTP client: {}", e.message))?,
        ),
        mail,
        code: Arc::new(SandboxRunner::new(sandbox(settings, data)?)),
        secrets_key: Arc::new(secrets_key(settings, data)?),
    };
    let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    // Those who try it out sit at this machine.
    let public_url_is_own = settings.public_url.is_none() && !settings.dev;
    let config = EngineConfig { public_url, public_url_is_own, waiting_callers, ..engine_config(settings) };
    Ok(Engine::open(config, ports).await?)
}

fn secrets_key(settings: &Settings, data: &Path) -> anyhow::Result<KeyPlace> {
    let variable = match std::env::var(secrets_key::VARIABLE) {
        Ok(key) => Some(key),
        Err(std::env::VarError::NotPresent) => None,
        // The error would show what the variable holds.
        Err(std::env::VarError::NotUnicode(_)) => anyhow::bail!("{} is not a text", secrets_key::VARIABLE),
    };
    KeyPlace::find(data, settings.secrets.key_file.as_deref(), variable)
}

fn policy(settings: &Settings) -> anyhow::Result<OutboundPolicy> {
    let allow_private = settings
        .outbound
        .allow_private_hosts
        .iter()
        .map(|host| parse_network(host))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(OutboundPolicy {
        allow_private,
        allow_loopback: settings.dev,
        allow_plain_http: settings.outbound.allow_plain_http,
    })
}

fn sandbox(settings: &Settings, data: &Path) -> anyhow::Result<Host> {
    let sandbox = &settings.sandbox;
    let compile = CompileStrategy::Child {
        program: std::env::current_exe()
            .context("cannot find this program's own file, which compiles modules")?,
        args: vec!["compile".into()],
        limits: CompileLimits {
            cpu_seconds: sandbox.compile_seconds,
            memory_bytes: sandbox.compile_memory_bytes,
            // A machine that does other things as well gives it half of a processor, or it has too much to do anyway.
            wall_ms: sandbox.compile_seconds.saturating_mul(2_000),
            ..CompileLimits::default()
        },
    };
    let config = HostConfig {
        cache_dir: Some(data.join("compiled")),
        compile,
        max_concurrent_calls: sandbox.concurrent_calls,
        maxima: Limits {
            fuel: sandbox.max_fuel,
            memory_bytes: sandbox.max_memory_bytes,
            wall_ms: sandbox.max_wall_ms,
            ..Limits::HOST_MAXIMA
        },
        ..HostConfig::default()
    };
    Ok(Host::new(config)?)
}

fn engine_config(settings: &Settings) -> EngineConfig {
    const HOUR: u64 = 3600;
    let kept = &settings.retention;
    EngineConfig {
        concurrent_runs: settings.limits.concurrent_runs,
        hook_body_bytes: settings.limits.hook_body_bytes,
        retention: Retention {
            runs_for: Duration::from_secs(kept.runs_days.saturating_mul(24 * HOUR)),
            runs: kept.runs,
            payloads_for: Duration::from_secs(kept.payloads_days.saturating_mul(24 * HOUR)),
            hook_keys_for: Duration::from_secs(kept.hook_keys_hours.saturating_mul(HOUR)),
            ..Retention::default()
        },
        ..EngineConfig::default()
    }
}
