//! The `stepwell` binary: reads the command line, runs one command, and ends with a status that means something.

mod args;
mod client;
mod commands;
mod examples;
mod node;
mod output;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use client::ClientError;

const FAILED: u8 = 1;
const UNREACHABLE: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The compile helper limits itself before it does anything else: no runtime, no logging, no threads.
    if matches!(cli.command, Command::Compile) {
        return stepwell_sandbox::admit::compile_child_main();
    }
    install_tls();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let unreachable = matches!(error.downcast_ref(), Some(ClientError::Unreachable { .. }));
            ExitCode::from(if unreachable { UNREACHABLE } else { FAILED })
        }
    }
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
            Command::Demo(demo) => commands::demo::main(demo).await,
            Command::Serve(serve) => commands::serve::main(serve).await,
            Command::Action(action) => commands::action::main(action, &global).await,
            Command::Workflow(workflow) => commands::workflow::main(workflow, &global).await,
            Command::Run(run) => commands::run::main(run, &global).await,
            Command::Record(record) => commands::record::main(record, &global).await,
            Command::Mailbox(mailbox) => commands::mailbox::main(mailbox, &global).await,
            Command::Key(key) => commands::key::main(key, &global).await,
            Command::Compile => unreachable!("handled before the runtime starts"),
        }
    })
}
