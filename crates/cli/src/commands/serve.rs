//! `stepwell serve`: the server, until it is told to stop.

use std::io::IsTerminal;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::Serve;
use crate::node::Node;
use crate::output;
use crate::settings::{Flags, LogFormat, Settings};

const MAIL_IS_CAUGHT: &str =
    "smtp is not set: e-mail is caught, and nothing goes out; stepwell mailbox list shows it";

pub async fn main(serve: Serve, json: bool) -> anyhow::Result<()> {
    let flags = Flags {
        config: serve.config,
        data: serve.data,
        listen: serve.listen,
        dev: serve.dev,
        public_url: serve.public_url,
        allow_private_hosts: serve.allow_private_hosts,
        allow_plain_http: serve.allow_plain_http,
        log: serve.log,
    };
    let settings = Settings::load(&flags, std::env::vars())?;
    if serve.print_config && json {
        return output::json(&settings.shown());
    }
    if serve.print_config {
        output::line(settings.printed()?.trim_end());
        return Ok(());
    }
    start_log(&settings)?;
    // Listened to before anything is opened, so that a stop during start-up is clean too.
    let stop = stop_signal()?;
    let node = Node::open(&settings).await?;
    if settings.smtp.is_none() && !settings.dev {
        tracing::warn!("{MAIL_IS_CAUGHT}");
    }
    match json {
        true => output::json(&serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"), "url": format!("http://{}", node.address), "data": node.data,
            "dev": settings.dev, "admin_key_file": node.new_key, "mail": if settings.smtp.is_some() { "sent" } else { "caught" },
        }))?,
        false => greet(&node, &settings),
    }
    node.serve(stop).await;
    if !json {
        output::line("stopped");
    }
    Ok(())
}

fn greet(node: &Node, settings: &Settings) {
    output::line(format!("stepwell {} listening on http://{}", env!("CARGO_PKG_VERSION"), node.address));
    output::line(format!("data in {}", node.data.display()));
    if settings.dev {
        output::line("--dev: no keys are asked for");
    }
    if settings.smtp.is_none() {
        output::line(MAIL_IS_CAUGHT);
    }
    if let Some(path) = &node.new_key {
        output::line(format!("the first admin key is in {}", path.display()));
    }
}

/// Resolves at SIGINT or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Logs go to stderr; stdout is for what the command says.
fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log.filter).with_context(|| {
        format!("log.filter: `{}` is not a filter such as info,stepwell_engine=debug", settings.log.filter)
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log.format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}
