//! The server itself, and who may do what in it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
pub enum Workspace {
    /// Make a workspace
    Create { name: String },
    /// List workspaces
    List,
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
