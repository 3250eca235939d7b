//! The command line: every command, flag and default.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Runs workflows whose code steps are sandboxed WebAssembly modules.
#[derive(Debug, Parser)]
#[command(name = "stepwell", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
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
    #[arg(long, global = true, env = "STEPWELL_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// The workspace, where the key does not fix it
    #[arg(long, global = true, env = "STEPWELL_WORKSPACE", value_name = "NAME")]
    pub workspace: Option<String>,
    /// JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
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

#[derive(Debug, Args)]
pub struct Demo {
    /// Keep the data folder and say where it is
    #[arg(long)]
    pub keep: bool,
    /// Where cargo keeps what it builds for the example action [default: with the data]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Eval {
    /// Such as 'trigger.body.email | lower', or a text with {{ … }} in it
    #[arg(value_name = "EXPR")]
    pub expression: String,
    /// With the values of this run: trigger, settings, the outputs of its steps, steps, error
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// And with the steps of this item of the run, as in `rows[3]`
    #[arg(long, value_name = "ITEM", requires = "run")]
    pub item: Option<String>,
    /// With the members of this JSON file as names; - for stdin. Alone it needs no server
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Settings file [default: ./stepwell.toml, if there]
    #[arg(long, env = "STEPWELL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder [default: ./stepwell-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7878]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// For development: no keys, loopback only
    #[arg(long)]
    pub dev: bool,
    /// Where people reach the server: links in e-mails begin with it [default: http:// and the address it listens on]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Let workflows call this private network or address (repeatable)
    #[arg(long = "allow-private-hosts", value_name = "CIDR")]
    pub allow_private_hosts: Vec<String>,
    /// Let workflows call plain http:// hosts that are not loopback
    #[arg(long)]
    pub allow_plain_http: bool,
    /// Log filter, such as debug or info,stepwell_engine=debug
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Print the settings in force and stop
    #[arg(long)]
    pub print_config: bool,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a new action project that passes its tests at once
    New {
        /// Folder to make; its last part is the action's name
        dir: PathBuf,
    },
    /// Compile an action to a WebAssembly module
    Build {
        /// The action's folder
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Run the fixtures of an action in the production sandbox
    Test {
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Record fuel and memory as the accepted numbers
        #[arg(long)]
        accept: bool,
        /// Write a JUnit report
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Only fixtures whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Upload an action: a folder (built first) or a module file
    Push {
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The action's name [default: from the module or the file's name]
        #[arg(long)]
        name: Option<String>,
        /// Replace a version that is there with other bytes
        #[arg(long)]
        dev: bool,
    },
    /// Show what a module is: kind, size, imports, exports, schemas
    Inspect {
        /// A module file, an action's folder, or the name of an uploaded action
        target: String,
    },
    /// List uploaded actions
    List,
    /// Take a version away from new runs; runs that began with it go on
    Delete {
        /// Such as normalize-lead@1.2.0
        #[arg(value_name = "NAME@VERSION")]
        reference: String,
    },
}

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
pub enum Run {
    /// List runs, newest first
    List {
        #[arg(long)]
        workflow: Option<String>,
        /// Only those that are
        #[arg(long, value_parser = ["queued", "running", "waiting", "paused", "completed", "failed", "cancelled"])]
        status: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show a run with every step's input, output, logs and usage
    #[command(alias = "get")]
    Show {
        /// Of the run: here and below the whole, a beginning that only one has, or last for the newest
        id: String,
        /// Cut nothing, and show what went out and came back in every attempt
        #[arg(long)]
        full: bool,
    },
    /// Show the items of a run's iterators that are over, with their steps
    Items {
        id: String,
        // Not a comment of documentation, which would take the brackets for a link.
        #[arg(long, help = "Only this iterator's, by its path, such as rows or 'rows[3].users'")]
        step: Option<String>,
        /// Only the item of this number, from 0
        #[arg(long, value_name = "N")]
        index: Option<u64>,
        /// Only those that are
        #[arg(long, value_parser = ["completed", "failed", "skipped", "cancelled"])]
        status: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Make a fixture of its action out of a code step of a run: the step's input, and what came of it
    Fixture {
        id: String,
        // Not a comment of documentation, which would take the brackets for a link.
        #[arg(help = "The step, by its path, such as normalize or 'rows[3].score'")]
        step: String,
        /// The action's folder [default: this one, or one of the action's name in it, in actions/ or in examples/actions/]
        #[arg(long)]
        dir: Option<PathBuf>,
        /// The case's name [default: from the run and the step]
        #[arg(long)]
        name: Option<String>,
    },
    /// Follow a run until it ends
    Watch { id: String },
    /// Stop a run
    Cancel { id: String },
    /// Run the failed steps of a failed run again
    Retry {
        id: String,
        /// On the active version of the workflow, and the newest fitting versions of its actions, with the settings of now
        #[arg(long)]
        newest: bool,
    },
    /// Give a step what it waits for
    Input {
        id: String,
        /// JSON, such as '{"approved": true}', or @FILE, or - for stdin
        #[arg(long, value_name = "JSON")]
        data: String,
        /// The step, by its path; needed when several wait
        #[arg(long)]
        step: Option<String>,
    },
    /// Say how a paused run goes on: try the failed step again, unless told otherwise
    Resume {
        id: String,
        /// As if the step had been skipped
        #[arg(long, conflicts_with = "output")]
        skip: bool,
        /// As if the step had given this
        #[arg(long, value_name = "JSON")]
        output: Option<String>,
        /// The step, by its path; needed when several wait
        #[arg(long)]
        step: Option<String>,
        /// Go on with another version of an action, such as price=1.2.1 or price=latest; may be repeated
        #[arg(long, value_name = "NAME=VERSION", conflicts_with_all = ["skip", "output"])]
        action: Vec<String>,
        /// Go on with the active version of the workflow and the newest fitting versions of its actions, with the settings of now
        #[arg(long)]
        newest: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Record {
    /// List records of an object
    List {
        /// person, company, task, …
        object: String,
        /// Filter as JSON, such as '{"field": "emails.primaryEmail", "is": "ada@example.com"}'
        #[arg(long, value_name = "JSON")]
        filter: Option<String>,
        /// Field to sort by; a leading - turns it round
        #[arg(long, allow_hyphen_values = true)]
        sort: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one record
    #[command(alias = "show")]
    Get { object: String, id: String },
    /// Make a record, and print its id
    Create {
        object: String,
        /// Its fields as JSON, such as '{"name": "Acme"}', or @FILE, or - for stdin
        fields: String,
    },
    /// Change fields of a record
    Update {
        object: String,
        id: String,
        /// The fields that change, as JSON, or @FILE, or - for stdin
        fields: String,
    },
    /// Delete a record; it can be restored
    Delete { object: String, id: String },
    /// Bring a deleted record back
    Restore { object: String, id: String },
    /// Write the records of a file: JSON lines, or CSV with the fields' names in its first line
    Import {
        object: String,
        /// Ending in .csv, or else JSON lines; - for JSON lines from stdin
        file: PathBuf,
        /// What is done with them
        #[arg(long, default_value = "create", value_parser = ["create", "update", "upsert", "delete", "restore"])]
        action: String,
        /// Of an upsert: the unique set by which records are found, with commas between
        #[arg(long = "match", value_name = "FIELDS", value_delimiter = ',')]
        match_on: Vec<String>,
        /// Of an upsert: fields that only a new record gets
        #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
        create_only: Vec<String>,
        /// Start no workflows
        #[arg(long)]
        no_events: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Object {
    /// List objects
    List,
    /// Show an object: its fields, unique sets and indexes
    #[command(alias = "show")]
    Get { name: String },
}

#[derive(Debug, Subcommand)]
pub enum Schema {
    /// Say what applying would change
    Plan {
        /// A schema file, or a folder with a schema.yaml
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Bring the workspace to the schema; what the file does not name stays
    Apply {
        /// A schema file, or a folder with a schema.yaml
        #[arg(default_value = ".")]
        path: PathBuf,
        /// How long to wait for unique sets and indexes to be built
        #[arg(long, default_value = "30s", value_name = "TIME")]
        wait: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum View {
    /// List views
    List {
        /// Only those of this object
        object: Option<String>,
    },
    /// Show a view
    #[command(alias = "show")]
    Get { object: String, name: String },
    /// Save a view, over one of the same name if there is one
    Save {
        object: String,
        name: String,
        /// Filter as JSON, or @FILE; every record when left out
        #[arg(long, value_name = "JSON")]
        filter: Option<String>,
        /// Field to sort by; a leading - turns it round (repeatable)
        #[arg(long, allow_hyphen_values = true)]
        sort: Vec<String>,
    },
    /// Give a view another name that no active workflow uses
    Rename { object: String, name: String, to: String },
    /// Take a view away that no active workflow uses
    Delete { object: String, name: String },
}

#[derive(Debug, Subcommand)]
pub enum Mailbox {
    /// List caught e-mail, newest first
    List,
}

#[derive(Debug, Subcommand)]
pub enum Workspace {
    /// Make a workspace
    Create { name: String },
    /// List workspaces
    List,
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
pub enum Key {
    /// Make a key; its secret is shown this once
    Create {
        name: String,
        /// What it may do (repeatable)
        #[arg(long = "scope", default_values = ["write"], value_parser = ["read", "write", "hooks", "admin"])]
        scopes: Vec<String>,
    },
    /// List keys
    List,
    /// Make a key useless
    Revoke { id: String },
    /// Make another admin key for a stopped server whose own was lost
    ResetAdmin {
        /// The server's data folder
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
