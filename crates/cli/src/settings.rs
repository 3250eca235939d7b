//! The server's settings: a TOML file, then the environment, then flags; the later wins. Unknown names are errors.

mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use stepwell_engine::outside::SmtpSettings;
use stepwell_workflow::model::ByteSize;

/// Looked for in the working folder when no file is named.
const DEFAULT_FILE: &str = "stepwell.toml";
const PREFIX: &str = "STEPWELL_";
const A_DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// With less, the store reads the same rows from the disk over and over.
const MIN_CACHE_BYTES: u64 = 16 << 20;
const MAX_CACHE_BYTES: u64 = 1 << 40;
/// Variables with the prefix that are the client's, or are read elsewhere.
const NOT_SETTINGS: [&str; 5] = [
    "STEPWELL_SERVER",
    "STEPWELL_KEY",
    "STEPWELL_WORKSPACE",
    "STEPWELL_CONFIG",
    crate::secrets_key::VARIABLE,
];

/// Everything `stepwell serve` can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The data folder; made when it is not there.
    pub data: PathBuf,
    /// Where to listen. Port 0 takes a free one and prints it.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Where people reach the server; links in e-mails begin with it. Without it: `http://` and the address it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// For development on this machine: no keys, loopback only, e-mail caught unless an SMTP server is set.
    pub dev: bool,
    pub limits: Limits,
    pub sandbox: Sandbox,
    pub outbound: Outbound,
    pub retention: Retention,
    pub secrets: Secrets,
    pub log: Log,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./stepwell-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7878)),
            public_url: None,
            dev: false,
            limits: Limits::default(),
            sandbox: Sandbox::default(),
            outbound: Outbound::default(),
            retention: Retention::default(),
            secrets: Secrets::default(),
            log: Log::default(),
            smtp: None,
        }
    }
}

/// What one request or workspace may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Runs of one workspace that are driven at once; further ones wait in order.
    pub concurrent_runs: usize,
    /// The largest body a webhook takes.
    #[serde(deserialize_with = "bytes")]
    pub hook_body_bytes: usize,
    /// The largest body the API takes, modules aside (a module may have 32 MiB).
    #[serde(deserialize_with = "bytes")]
    pub api_body_bytes: usize,
    /// The memory that the bodies of all requests under way may take together; large ones get 503 beyond it.
    #[serde(deserialize_with = "bytes")]
    pub bodies_bytes: usize,
    /// Writes are refused with 507 while less than this is free on the disk.
    #[serde(deserialize_with = "bytes")]
    pub free_disk_bytes: u64,
    /// Memory for rows of the store: searches among more records than it holds read the disk's copy. Without it: a
    /// quarter of the memory that the process may have, from 128 MiB to 1 GiB.
    #[serde(deserialize_with = "some_bytes", skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// Connections at once; beyond it clients that stall are cut off, and new ones wait. Without it: half of the open
    /// files that the process may have, at most 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// The longest that a request's head may take, and that a connection may be idle.
    pub head_ms: u64,
    /// The longest pause within a request's body.
    pub body_idle_ms: u64,
    /// The longest that a whole body may take.
    pub body_total_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_runs: 100,
            hook_body_bytes: 8 << 20,
            api_body_bytes: 8 << 20,
            bodies_bytes: 256 << 20,
            free_disk_bytes: 256 << 20,
            cache_bytes: None,
            connections: None,
            head_ms: 30_000,
            body_idle_ms: 15_000,
            body_total_ms: 300_000,
        }
    }
}

/// The compiler itself takes some.
const LEAST_COMPILE_BYTES: u64 = 192 << 20;
const MOST_COMPILE_SECONDS: u64 = 3_600;

/// The most that one call of a code action may use (a workflow can only lower it), and what compiling a module may.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// Calls in flight at once; more wait.
    pub concurrent_calls: u32,
    pub max_fuel: u64,
    #[serde(deserialize_with = "bytes")]
    pub max_memory_bytes: u64,
    pub max_wall_ms: u64,
    /// Processor time that compiling one module may take.
    pub compile_seconds: u64,
    /// Memory that it may take.
    #[serde(deserialize_with = "bytes")]
    pub compile_memory_bytes: u64,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            concurrent_calls: 200,
            max_fuel: 10_000_000_000,
            max_memory_bytes: 256 << 20,
            max_wall_ms: 30_000,
            compile_seconds: 60,
            compile_memory_bytes: 2 << 30,
        }
    }
}

/// Rules for `http_request`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Private networks that may be called, as CIDRs or addresses.
    #[serde(deserialize_with = "list")]
    pub allow_private_hosts: Vec<String>,
    /// Plain `http://` to hosts that are neither loopback nor allowed private ones.
    pub allow_plain_http: bool,
}

/// A list, or a text with commas, as the environment gives it.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Items(Vec<String>),
        Text(String),
    }
    Ok(match List::deserialize(deserializer)? {
        List::Items(items) => items,
        List::Text(text) => {
            text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        }
    })
}

/// An address and its port.
fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let given = String::deserialize(deserializer)?;
    given.parse().map_err(|_| {
        let port = given.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(7878);
        serde::de::Error::custom(format!(
            "`{given}` is no address with a port: write 127.0.0.1:{port}, or 0.0.0.0:{port} for every network"
        ))
    })
}

/// A size: a number of bytes, or one with a unit as workflows write it (`8MiB`).
fn bytes<'de, D: serde::Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
    let given = serde_json::Value::deserialize(deserializer)?;
    let ByteSize(bytes) = ByteSize::deserialize(&given)
        .map_err(|error| serde::de::Error::custom(format!("{given} is no size: {error}")))?;
    T::try_from(bytes).map_err(|_| serde::de::Error::custom(format!("{bytes} bytes are too many")))
}

fn some_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    bytes(deserializer).map(Some)
}

/// How long what is over is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    pub runs_days: u64,
    pub runs: u64,
    pub payloads_days: u64,
    pub hook_keys_hours: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { runs_days: 7, runs: 1_000_000, payloads_days: 2, hook_keys_hours: 24 }
    }
}

/// How secrets are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// A file with the key that they are encrypted with: 32 bytes as base64 or hexadecimal. Without it, and without
    /// the variable `STEPWELL_SECRETS_KEY`: `secrets.key` in the data folder, made with the first secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// What is logged, on stderr.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level or a filter such as `info,stepwell_engine=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

/// What flags say; each wins over file and environment.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
    pub public_url: Option<String>,
    pub dev: bool,
    pub allow_private_hosts: Vec<String>,
    pub allow_plain_http: bool,
    pub log: Option<String>,
}

impl Settings {
    /// Reads file, environment and flags.
    pub fn load(flags: &Flags, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut builder = config::Config::builder();
        let environment = own_variables(environment);
        if let Some(file) = settings_file(flags)? {
            names::check_file(&file)?;
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        names::check_variables(environment.keys())?;
        builder = builder.add_source(
            config::Environment::with_prefix("STEPWELL")
                .prefix_separator("_")
                .separator("__")
                // Everything is text until a setting says what it is: a password may look like a number.
                .try_parsing(false)
                .source(Some(environment)),
        );
        if let Some(data) = &flags.data {
            builder = builder.set_override("data", data.to_string_lossy().into_owned())?;
        }
        if let Some(url) = &flags.public_url {
            builder = builder.set_override("public_url", url.clone())?;
        }
        if let Some(listen) = &flags.listen {
            builder = builder.set_override("listen", listen.clone())?;
        }
        if flags.dev {
            builder = builder.set_override("dev", true)?;
        }
        if !flags.allow_private_hosts.is_empty() {
            builder =
                builder.set_override("outbound.allow_private_hosts", flags.allow_private_hosts.clone())?;
        }
        if flags.allow_plain_http {
            builder = builder.set_override("outbound.allow_plain_http", true)?;
        }
        if let Some(log) = &flags.log {
            builder = builder.set_override("log.filter", log.clone())?;
        }
        let settings: Self = builder.build().and_then(config::Config::try_deserialize).map_err(explain)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(url) = &self.public_url
            && !begins_links(url)
        {
            bail!("public_url: `{url}` is no address such as https://flows.example.com");
        }
        if self.dev && !self.listen.ip().is_loopback() {
            bail!(
                "--dev asks for no key, so it listens on loopback only; `{}` is not: use 127.0.0.1:{} or leave --dev out",
                self.listen,
                self.listen.port()
            );
        }
        if self.limits.concurrent_runs == 0 || self.sandbox.concurrent_calls == 0 {
            bail!("limits.concurrent_runs and sandbox.concurrent_calls must be at least 1");
        }
        let seconds = self.sandbox.compile_seconds;
        if !(1..=MOST_COMPILE_SECONDS).contains(&seconds) {
            bail!(
                "sandbox.compile_seconds is {seconds}; it must be from 1 to {MOST_COMPILE_SECONDS} (an hour)"
            );
        }
        if self.sandbox.compile_memory_bytes < LEAST_COMPILE_BYTES {
            bail!("sandbox.compile_memory_bytes must be at least 192 MiB: with less no module compiles");
        }
        let limits = &self.limits;
        if limits.connections == Some(0) {
            bail!("limits.connections must be at least 1");
        }
        if let Some(bytes) = limits.cache_bytes
            && !(MIN_CACHE_BYTES..=MAX_CACHE_BYTES).contains(&bytes)
        {
            bail!(
                "limits.cache_bytes is {bytes}; it must be from {MIN_CACHE_BYTES} (16 MiB) to {MAX_CACHE_BYTES} (1 TiB)"
            );
        }
        let largest = limits.hook_body_bytes.max(limits.api_body_bytes).max(stepwell_server::MODULE_BYTES);
        if limits.bodies_bytes < largest {
            bail!(
                "limits.bodies_bytes is {}; the largest single body may have {largest}, and would never be read",
                limits.bodies_bytes
            );
        }
        // Half of them is all that callers without a key may take, which most senders of webhooks are.
        let of_strangers = limits.bodies_bytes / 2;
        if of_strangers < limits.hook_body_bytes {
            bail!(
                "limits.hook_body_bytes is {}; it must be at most half of limits.bodies_bytes ({of_strangers}), which is what the bodies of callers without a key may take",
                limits.hook_body_bytes
            );
        }
        let times = [
            ("limits.head_ms", limits.head_ms),
            ("limits.body_idle_ms", limits.body_idle_ms),
            ("limits.body_total_ms", limits.body_total_ms),
        ];
        if let Some((name, ms)) = times.into_iter().find(|(_, ms)| !(1..=A_DAY_MS).contains(ms)) {
            bail!("{name} is {ms}; it must be from 1 to {A_DAY_MS} (a day)");
        }
        for host in &self.outbound.allow_private_hosts {
            stepwell_engine::outside::parse_network(host)
                .with_context(|| format!("outbound.allow_private_hosts: `{host}`"))?;
        }
        Ok(())
    }

    /// The settings with the password hidden.
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        if let Some(password) = shown.smtp.as_mut().and_then(|smtp| smtp.password.as_mut()) {
            *password = "***".into();
        }
        shown
    }

    /// The same as TOML, with the names of those that are not set.
    pub fn printed(&self) -> anyhow::Result<String> {
        let text = toml::to_string(&self.shown()).context("the settings cannot be written as TOML")?;
        let set = names::in_text(&text);
        let unset: Vec<String> = names::all().into_iter().filter(|name| !set.contains(name)).collect();
        let lines: String = unset.iter().map(|name| format!("# {name}\n")).collect();
        Ok(if lines.is_empty() { text } else { format!("{text}\n# not set:\n{lines}") })
    }
}

/// The file named by flag or environment must be there; the default one may be.
fn settings_file(flags: &Flags) -> anyhow::Result<Option<PathBuf>> {
    let named = flags.config.clone();
    match named {
        Some(path) if path.is_file() => Ok(Some(path)),
        Some(path) => bail!("the settings file {} is not there", path.display()),
        None => Ok(Some(PathBuf::from(DEFAULT_FILE)).filter(|p: &PathBuf| Path::is_file(p))),
    }
}

fn own_variables(environment: impl Iterator<Item = (String, String)>) -> config::Map<String, String> {
    let own: BTreeMap<String, String> = environment
        .filter(|(name, _)| name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str()))
        .collect();
    own.into_iter().collect()
}

/// The crate's message, which names the setting or the place in the file.
fn explain(error: config::ConfigError) -> anyhow::Error {
    let told = error.to_string().replace("\n in ", " in ");
    anyhow::anyhow!("the settings cannot be used: {}", told.trim_end())
}

/// Whether a path can be put behind it.
fn begins_links(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
    })
}
