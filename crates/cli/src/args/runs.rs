//! Runs, and the values in them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
