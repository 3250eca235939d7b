//! Servers in processes of their own, so that starting, memory and work are theirs alone: this same program, started
//! with a hidden subcommand. It says its address in its first line and ends when its stdin does.

use std::ffi::OsStr;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::guest::Guest;

/// Long enough for anything that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Linux counts a process's time in, whatever the processor.
const TICK_MS: f64 = 10.0;

/// A server, while it runs.
pub struct Node {
    child: Child,
    pub address: SocketAddr,
    /// From before its process was made until `/healthz` answered.
    pub ready_ms: f64,
}

/// Resident memory, in MiB.
pub struct Memory {
    pub now: f64,
    /// The most it ever was.
    pub peak: f64,
}

impl Node {
    /// The product over a data folder.
    pub async fn product(data: &Path) -> anyhow::Result<Self> {
        Self::start(&[OsStr::new("product"), data.as_os_str()]).await
    }

    /// The product, sending its e-mail.
    pub async fn product_with_mail(data: &Path) -> anyhow::Result<Self> {
        Self::start(&[OsStr::new("product"), data.as_os_str(), OsStr::new("--send-mail")]).await
    }

    /// The floor over a data folder.
    pub async fn floor(data: &Path, guest: &Guest) -> anyhow::Result<Self> {
        Self::start(&[OsStr::new("floor"), data.as_os_str(), guest.component_file.as_os_str()]).await
    }

    /// The floor that writes these rows for each form.
    pub async fn floor_with(data: &Path, guest: &Guest, rows: &Path) -> anyhow::Result<Self> {
        let component = guest.component_file.as_os_str();
        Self::start(&[OsStr::new("floor"), data.as_os_str(), component, rows.as_os_str()]).await
    }

    /// The floor without a module.
    pub async fn empty_floor(data: &Path) -> anyhow::Result<Self> {
        Self::start(&[OsStr::new("floor"), data.as_os_str()]).await
    }

    async fn start(args: &[&OsStr]) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .context("the server does not start")??;
        let address = line.context("the server ended before it listened")?.parse()?;
        let mut client = Client::connect(address).await?;
        let answer = client.get("/healthz").await?;
        if answer.status != 200 {
            bail!("/healthz answered {}", answer.status);
        }
        let ready_ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(Self { child, address, ready_ms })
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        let id = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib =
                line.and_then(|line| line.trim().split(' ').next()).and_then(|kib| kib.parse::<f64>().ok());
            kib.map(|kib| kib / 1024.0).with_context(|| format!("the system does not say {name}"))
        };
        Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Processor time that it took so far, its own and the system's for it, in milliseconds.
    pub fn processor_ms(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("the server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The program's name, the second field, may contain anything but stands in parentheses.
        let fields = stat.rsplit_once(')').context("the system does not say what the server used")?.1;
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
        Ok(ticks.iter().sum::<f64>() * TICK_MS)
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status =
            tokio::time::timeout(PATIENCE, self.child.wait()).await.context("the server does not end")??;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

/// In the server: the line that [`Node`] waits for.
pub fn say_address(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}

/// In the server: resolves when whoever started it is done with it, or gone.
pub async fn stdin_ended() {
    let mut sink = Vec::new();
    // However reading ends, nobody is there any more.
    let _ = tokio::io::stdin().read_to_end(&mut sink).await;
}
