//! Code actions.

use std::path::PathBuf;

use clap::Subcommand;

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
