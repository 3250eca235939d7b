//! Records, their objects and views.

use std::path::PathBuf;

use clap::Subcommand;

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
