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
use stepwell_server::{App, ServerConfig};
use stepwell_store::{FileBlobs, SledOptions, SledStore};
use tokio::net::TcpListener;

use crate::settings::Settings;

/// Requests that are open when the server is told to stop may take so long to end.
const GRACE: Duration = Duration::from_secs(10);
const KEY_FILE: &str = "admin.key";

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
        let options = SledOptions { disk_floor: settings.limits.free_disk_bytes, ..SledOptions::default() };
        let folder = settings.data.clone();
        let store = tokio::task::spawn_blocking(move || SledStore::open(folder, options)).await??;
        let data = settings
            .data
            .canonicalize()
            .with_context(|| format!("the data folder {}", settings.data.display()))?;
        // Bound before the engine starts runs: a second server on the same address must not.
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let clock = Arc::new(SystemClock::default());
        let engine = open_engine(settings, &data, &store, clock.clone()).await?;
        let new_key = match settings.dev {
            true => None,
            false => engine.keys().create_first().await?.map(|key| write_key(&data, &key)).transpose()?,
        };
        let config = ServerConfig {
            dev: settings.dev,
            hook_body_bytes: settings.limits.hook_body_bytes,
            api_body_bytes: settings.limits.api_body_bytes,
            clock: settings.dev.then_some(clock),
            ..ServerConfig::default()
        };
        let app = App::new(engine.clone(), config);
        Ok(Self { engine, data, address, new_key, store, listener, app })
    }

    /// Answers until `stop` resolves; then lets requests and bursts end, and closes the store.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        stepwell_server::serve(self.listener, stepwell_server::router(self.app), stop, GRACE).await;
        self.engine.close().await;
        self.store.close().await;
    }
}

async fn open_engine(
    settings: &Settings,
    data: &Path,
    store: &SledStore,
    clock: Arc<SystemClock>,
) -> anyhow::Result<Engine> {
    let blobs = FileBlobs::open(data.join("blobs"))?;
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
    };
    Ok(Engine::open(engine_config(settings), ports).await?)
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
    let compile = CompileStrategy::Child {
        program: std::env::current_exe()
            .context("cannot find this program's own file, which compiles modules")?,
        args: vec!["compile".into()],
        limits: CompileLimits::default(),
    };
    let sandbox = &settings.sandbox;
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
            runs_for: Duration::from_secs(kept.runs_days * 24 * HOUR),
            runs: kept.runs,
            payloads_for: Duration::from_secs(kept.payloads_days * 24 * HOUR),
            hook_keys_for: Duration::from_secs(kept.hook_keys_hours * HOUR),
            ..Retention::default()
        },
        ..EngineConfig::default()
    }
}

/// Writes the first key where only the owner of the data folder can read it.
fn write_key(data: &Path, key: &NewKey) -> anyhow::Result<PathBuf> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = data.join(KEY_FILE);
    let write = || {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{}", key.secret)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write the first key to {}", path.display()))?;
    Ok(path)
}
