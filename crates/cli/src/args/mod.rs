//! The command line: every command, flag and default.

mod actions;
mod records;
mod runs;
mod server;
mod workflows;

pub use actions::Action;
pub use records::{Object, Record, Schema, View};
pub use runs::{Eval, Run};
pub use server::{Demo, Key, Serve, Workspace};
pub use workflows::{
    Connection, GraphFormat, Mailbox, Schedule, Secret, Setting, StateChange, Webhook, Workflow,
};

use std::any::TypeId;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

/// Runs workflows whose code steps are sandboxed WebAssembly modules.
#[derive(Debug, Parser)]
#[command(name = "stepwell", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process.
    pub fn read() -> clap::error::Result<Self> {
        let mut command = no_empty_names(Self::command());
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// What stands in its place is a name, an id or JSON and never empty; an empty name would make the path of a request
/// that of its list.
fn no_empty_names(command: clap::Command) -> clap::Command {
    let text = |arg: &clap::Arg| {
        arg.is_positional()
            && arg.get_value_parser().type_id() == TypeId::of::<String>()
            && arg.get_possible_values().is_empty()
    };
    command
        .mut_args(|arg| if text(&arg) { arg.value_parser(NonEmptyStringValueParser::new()) } else { arg })
        .mut_subcommands(no_empty_names)
}

const EXIT_CODES: &str = "\
Exit status: 0 done; 1 what was asked for failed (a run, a test, a check, a request); 2 the command line is wrong; \
3 the server cannot be reached.";

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The server that commands talk to
    #[arg(
        long,
        global = true,
        env = "STEPWELL_SERVER",
        default_value = "http://127.0.0.1:7878",
        value_name = "URL"
    )]
    pub server: String,
    /// The API key; for a server on this host the CLI also reads the one in its data folder
    #[arg(long, global = true, env = "STEPWELL_KEY", hide_env_values = true, value_name = "KEY", value_parser = in_header)]
    pub key: Option<String>,
    /// The workspace, where the key does not fix it
    #[arg(long, global = true, env = "STEPWELL_WORKSPACE", value_name = "NAME", value_parser = in_header)]
    pub workspace: Option<String>,
    /// JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

/// What is sent in a header of each request.
fn in_header(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !matches!(c, ' '..='~')) {
        None => Ok(text.to_owned()),
        Some(c) => Err(format!("it may not have {c:?}")),
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole thing once on a temporary folder: forms in, records out
    Demo(Demo),
    /// Run the server
    Serve(Serve),
    /// Code actions: write, build, test, upload
    #[command(subcommand)]
    Action(Action),
    /// Workflows: check, test, apply, activate, run
    #[command(subcommand)]
    Workflow(Workflow),
    /// Runs: what happened, step by step
    #[command(subcommand)]
    Run(Run),
    /// Evaluate an expression as a workflow would, over the values of a run or a file
    Eval(Eval),
    /// Records of the built-in store
    #[command(subcommand)]
    Record(Record),
    /// Objects: what kinds of records there are, and their fields
    #[command(subcommand)]
    Object(Object),
    /// Schema files: objects, fields and views that a folder of workflows needs
    #[command(subcommand)]
    Schema(Schema),
    /// Views: filters and orders saved under a name, for searches to use
    #[command(subcommand)]
    View(View),
    /// E-mail that was caught instead of sent: by a server without SMTP
    #[command(subcommand)]
    Mailbox(Mailbox),
    /// Workspaces: each has workflows, actions, runs and records of its own
    #[command(subcommand)]
    Workspace(Workspace),
    /// Schedules: when active workflows start by themselves
    #[command(subcommand)]
    Schedule(Schedule),
    /// Webhooks: which there are, what came in at them, and starting it again
    #[command(subcommand)]
    Webhook(Webhook),
    /// Settings: values that workflows read as settings.NAME
    #[command(subcommand)]
    Setting(Setting),
    /// Secrets: values that workflows send as secrets.NAME, and nobody is shown
    #[command(subcommand)]
    Secret(Secret),
    /// Connections: how requests of workflows reach other systems
    #[command(subcommand)]
    Connection(Connection),
    /// API keys
    #[command(subcommand)]
    Key(Key),
    /// Compile one module from stdin to stdout, under limits; the server's helper
    #[command(hide = true)]
    Compile,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    #[test]
    fn names_are_not_empty() {
        let refused = |line: &[&str]| {
            let line = std::iter::once("stepwell").chain(line.iter().copied());
            super::no_empty_names(super::Cli::command()).try_get_matches_from(line).unwrap_err().kind()
        };
        for line in [
            &["run", "show", ""][..],
            &["record", "get", "person", ""],
            &["workflow", "run", ""],
            &["connection", "delete", ""],
        ] {
            assert_eq!(refused(line), ErrorKind::InvalidValue, "{line:?}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
