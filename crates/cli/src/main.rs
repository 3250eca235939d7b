//! The `stepwell` binary: reads the command line, runs one command, and ends with a status that means something.

mod args;
mod client;
mod commands;
mod examples;
mod folder;
mod node;
mod output;
#[cfg(test)]
mod reference;
mod secrets_key;
mod settings;
mod terminal;

use std::process::ExitCode;

use args::{Cli, Command};
use client::ClientError;

/// A run is many small values made on one thread and dropped on another: a third of the server's time was the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const UNREACHABLE: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(said) => return tell(&said),
    };
    // The compile helper limits itself before it does anything else: no runtime, no logging, no threads.
    if matches!(cli.command, Command::Compile) {
        return stepwell_sandbox::admit::compile_child_main();
    }
    install_tls();
    let status = match run(cli) {
        Ok(()) => 0,
        Err(error) => {
            output::complain(format!("error: {error:#}"));
            let unreachable = matches!(error.downcast_ref(), Some(ClientError::Unreachable { .. }));
            if unreachable { UNREACHABLE } else { FAILED }
        }
    };
    // What was asked for and could not be written was not done.
    ExitCode::from(if status == 0 && terminal::is_broken() { FAILED } else { status })
}

/// Help, the version, or what is wrong with the command line.
fn tell(said: &clap::Error) -> ExitCode {
    if let Err(error) = said.print()
        && !said.use_stderr()
    {
        terminal::stdout_failed(&error);
    }
    let status = u8::try_from(said.exit_code()).unwrap_or(FAILED);
    ExitCode::from(if terminal::is_broken() { FAILED } else { status })
}

/// One TLS implementation for the whole process: the HTTP client, SMTP and the server use it.
fn install_tls() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("stepwell").build()?;
    runtime.block_on(async {
        match command {
            Command::Demo(_) if global.json => anyhow::bail!("the demo is told to people: it has no --json"),
            Command::Demo(demo) => commands::demo::main(demo).await,
            Command::Serve(serve) => commands::serve::main(serve, global.json).await,
            Command::Action(action) => commands::action::main(action, &global).await,
            Command::Workflow(workflow) => commands::workflow::main(workflow, &global).await,
            Command::Run(run) => commands::run::main(run, &global).await,
            Command::Eval(eval) => commands::eval::main(eval, &global).await,
            Command::Record(record) => commands::record::main(record, &global).await,
            Command::Mailbox(mailbox) => commands::mailbox::main(mailbox, &global).await,
            Command::Workspace(workspace) => commands::workspace::main(workspace, &global).await,
            Command::Schedule(schedule) => commands::schedule::main(schedule, &global).await,
            Command::Object(object) => commands::schema::object(object, &global).await,
            Command::Schema(schema) => commands::schema::main(schema, &global).await,
            Command::View(view) => commands::view::main(view, &global).await,
            Command::Webhook(webhook) => commands::webhook::main(webhook, &global).await,
            Command::Setting(setting) => commands::setting::main(setting, &global).await,
            Command::Connection(connection) => commands::connection::main(connection, &global).await,
            Command::Secret(secret) => commands::secret::main(secret, &global).await,
            Command::Key(key) => commands::key::main(key, &global).await,
            Command::Compile => unreachable!("handled before the runtime starts"),
        }
    })
}
