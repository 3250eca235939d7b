//! The product, put together as `stepwell serve --dev` does, on a free port of loopback.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stepwell_engine::outside::{OutboundHttp, OutboundPolicy};
use stepwell_engine::ports::{
    CodeRunner, MailMessage, MailReceipt, Mailer, OutsideError, SandboxRunner, SystemClock, SystemRandom,
};
use stepwell_engine::{Engine, EngineConfig, Ports};
use stepwell_sandbox::admit::{CompileLimits, CompileStrategy};
use stepwell_sandbox::{Host, HostConfig, Limits};
use stepwell_server::{App, ServerConfig};
use stepwell_store::{FileBlobs, SledOptions, SledStore, Store};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::nodes;

/// Serves until stdin ends.
pub async fn serve(data: &Path, send_mail: bool) -> anyhow::Result<()> {
    // What is not written costs, too: the log is on, at the level that is usual.
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info")).with_writer(std::io::sink).init();
    // Without one it is caught in the mailbox.
    let mail = send_mail.then(|| Arc::new(Taken) as Arc<dyn Mailer>);
    let code = Arc::new(SandboxRunner::new(host(data.join("compiled"))?));
    let Opened { engine, store, clock } = open(data, mail, code).await?;
    let config = ServerConfig { dev: true, clock: Some(clock), ..ServerConfig::default() };
    let app = App::new(engine.clone(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    nodes::say_address(listener.local_addr()?)?;
    stepwell_server::serve(listener, app, nodes::stdin_ended(), Duration::from_secs(10)).await;
    engine.close().await;
    store.close().await;
    Ok(())
}

/// An engine and what it stands on.
pub struct Opened {
    pub engine: Engine,
    pub store: SledStore,
    pub clock: Arc<SystemClock>,
}

/// The product's engine over a data folder.
pub async fn open(
    data: &Path,
    mail: Option<Arc<dyn Mailer>>,
    code: Arc<dyn CodeRunner>,
) -> anyhow::Result<Opened> {
    let folder = data.to_owned();
    let store =
        tokio::task::spawn_blocking(move || SledStore::open(folder, SledOptions::default())).await??;
    let clock = Arc::new(SystemClock::default());
    let engine = over(Arc::new(store.clone()), data, clock.clone(), mail, code).await?;
    Ok(Opened { engine, store, clock })
}

/// The product's engine over a store, with its blobs in a folder.
pub async fn over(
    store: Arc<dyn Store>,
    data: &Path,
    clock: Arc<SystemClock>,
    mail: Option<Arc<dyn Mailer>>,
    code: Arc<dyn CodeRunner>,
) -> anyhow::Result<Engine> {
    // Only where there was one before does this fail.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let policy = OutboundPolicy { allow_private: Vec::new(), allow_loopback: true, allow_plain_http: false };
    let http =
        OutboundHttp::new(policy).map_err(|error| anyhow::anyhow!("the HTTP client: {}", error.message))?;
    let ports = Ports {
        store,
        blobs: Arc::new(FileBlobs::open(data.join("blobs"))?),
        clock,
        random: Arc::new(SystemRandom::default()),
        http: Arc::new(http),
        mail,
        code,
        secrets_key: Arc::new([0; 32]),
    };
    Ok(Engine::open(EngineConfig::default(), ports).await?)
}

/// The sandbox with the program's default settings; it compiles in a child process.
fn host(cache_dir: PathBuf) -> anyhow::Result<Host> {
    let compile = CompileStrategy::Child {
        program: std::env::current_exe()?,
        args: vec!["compile".into()],
        limits: CompileLimits::default(),
    };
    let config = HostConfig {
        cache_dir: Some(cache_dir),
        compile,
        max_concurrent_calls: 200,
        maxima: Limits { fuel: 10_000_000_000, wall_ms: 30_000, ..Limits::HOST_MAXIMA },
        ..HostConfig::default()
    };
    Ok(Host::new(config)?)
}

/// A mail system that takes every message at once: what is left is what the engine does to send one safely.
struct Taken;

#[async_trait]
impl Mailer for Taken {
    async fn send(&self, message: &MailMessage) -> Result<MailReceipt, OutsideError> {
        Ok(MailReceipt { accepted: message.to.clone(), response: "250 OK".into() })
    }
}
