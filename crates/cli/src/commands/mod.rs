//! The commands, a file each: thin, over the crates and the API.

pub mod action;
mod apply;
mod check;
pub mod connection;
pub mod demo;
mod dry_run;
pub mod eval;
mod files;
mod fixture;
mod history;
mod import;
pub mod key;
pub mod mailbox;
pub mod record;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod serve;
pub mod setting;
pub mod state;
mod told;
mod turn;
pub mod view;
pub mod webhook;
pub mod workflow;
pub mod workspace;

use anyhow::Context;
use serde_json::Value;
use stepwell_workflow::distinct;

/// What was asked for was done and came out bad: already told, so only the exit status is left to say it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub String);

/// JSON given on the command line, or `@FILE`, or `-` for stdin; `name` is that of the argument as its help has it.
pub fn json_argument(name: &str, text: &str) -> anyhow::Result<Value> {
    let (source, body) = match text.strip_prefix('@') {
        Some(path) => {
            (format!("{name} {path}"), files::given(path.as_ref()).with_context(|| name.to_owned())?)
        }
        None if text == "-" => (format!("{name} -"), std::io::read_to_string(std::io::stdin())?),
        None => (name.to_owned(), text.to_owned()),
    };
    distinct::from_slice(body.as_bytes()).map_err(|e| match e.is_data() {
        true => anyhow::anyhow!("{source}: {e}"),
        false => anyhow::anyhow!("{source} is not JSON: {e}"),
    })
}
