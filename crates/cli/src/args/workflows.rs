//! Workflows, what starts them, and what they read.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Workflow {
    /// Report every problem of workflow files; needs no server
    Check {
        /// Files, or folders of them; of a folder its connections/ too
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Ask the server too: it knows the actions, objects, secrets and limits
        #[arg(long)]
        online: bool,
    },
    /// Save workflows as drafts, and the schema and connections of their folders; shows first what changes
    Apply {
        /// Files, or folders of them; of a folder its schema.yaml and connections/ too
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Activate what has no problems
        #[arg(long)]
        activate: bool,
        /// Only show what would change, and the problems that there would be
        #[arg(long)]
        plan: bool,
        /// Take away every other workflow of the workspace: active ones are deactivated first
        #[arg(long)]
        prune: bool,
    },
    /// Let a workflow's trigger start runs
    Activate { name: String },
    /// Stop a workflow's trigger; runs under way go on
    Deactivate { name: String },
    /// Take a workflow away that is not active; its runs stay
    Delete { name: String },
    /// Start a run by hand
    Run {
        name: String,
        /// The input as JSON, or @FILE
        #[arg(long, default_value = "{}", value_name = "JSON")]
        input: String,
        /// The record that the workflow is started on (repeatable, where it takes many)
        #[arg(long = "record", value_name = "ID")]
        records: Vec<String>,
        /// The records that the workflow is started on, by a filter as JSON
        #[arg(long, value_name = "JSON", conflicts_with = "records")]
        filter: Option<String>,
        /// Try the newest version, a draft too: records, peers and mail stay as they are
        #[arg(long, conflicts_with = "wait")]
        dry_run: bool,
        /// How long to wait for the end, or until the run needs a person
        #[arg(long, default_value = "30s", value_name = "TIME")]
        wait: String,
    },
    /// Run the tests of a folder of workflows, offline: time, requests and e-mail belong to the test
    Test {
        /// The workflows' folder; tests are in its tests/
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Write a JUnit report
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Only tests whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Draw a workflow's graph
    Graph {
        file: PathBuf,
        /// [default: text]
        #[arg(long, value_enum)]
        format: Option<GraphFormat>,
    },
    /// List workflows
    List,
    /// Show a workflow's text and state
    #[command(alias = "get")]
    Show { name: String },
    /// Show what a workflow keeps between its runs, or change it
    State {
        name: String,
        #[command(subcommand)]
        change: Option<StateChange>,
    },
}

#[derive(Debug, Subcommand)]
pub enum StateChange {
    /// Give a kept value; runs read it from their next commit on
    Set {
        /// Lower case letters, digits and _
        key: String,
        /// JSON, such as 10, '"eu-west"' or '{"hot": 10}'; or @FILE, or - for stdin
        value: String,
    },
    /// Take a kept value away
    Delete { key: String },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum GraphFormat {
    Text,
    Mermaid,
    Dot,
}

#[derive(Debug, Subcommand)]
pub enum Schedule {
    /// List schedules with their next times
    List,
}

#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// List the webhooks that active workflows listen on
    List,
    /// List what came in, newest first, the refused ones with the reason
    Deliveries {
        /// Below /hooks/WORKSPACE/, such as web-form
        path: String,
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one delivery with what was sent, as far as it is kept
    #[command(alias = "get")]
    Show { path: String, id: String },
    /// Start a run with what was delivered
    Replay { path: String, id: String },
}

#[derive(Debug, Subcommand)]
pub enum Setting {
    /// Give a setting a value; runs that start from now on see it
    Set {
        /// Lower case letters, digits and _
        name: String,
        /// JSON, such as 10, '"eu-west"' or '{"hot": 10}'; or @FILE, or - for stdin
        value: String,
    },
    /// Show the value of a setting
    #[command(alias = "show")]
    Get { name: String },
    /// List settings
    List,
    /// Take a setting away that no active workflow reads
    Delete { name: String },
}

#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Give a secret a value, read from stdin; one line break at its end is left out
    Set {
        /// Letters, digits and _
        name: String,
        /// Take the value of this environment variable instead
        #[arg(long, value_name = "VARIABLE")]
        from_env: Option<String>,
    },
    /// List the names of the secrets
    List,
    /// Take a secret away that no active workflow uses
    Delete { name: String },
    /// Forget the secrets of a stopped server, in all workspaces, after their key was lost
    ForgetAll {
        /// The server's data folder
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum Connection {
    /// Save connections; whatever is sent from then on goes by them
    Apply {
        /// Files, or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show a connection; secrets are in it by name alone
    #[command(alias = "show")]
    Get { name: String },
    /// List connections, and how many requests wait at each
    List,
    /// Take a connection away that no active workflow uses
    Delete { name: String },
}

#[derive(Debug, Subcommand)]
pub enum Mailbox {
    /// List caught e-mail, newest first
    List,
}
