//! `stepwell workspace`: making and listing workspaces, with an admin key.

use serde_json::{Value, json};

use crate::args::{Global, Workspace};
use crate::client::Client;
use crate::output;

pub async fn main(command: Workspace, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let request = match &command {
        Workspace::Create { name } => client.post(&["workspaces"]).json(&json!({ "name": name })),
        Workspace::List => client.get(&["workspaces"]),
    };
    let answer: Value = client.json(request).await?;
    if global.json {
        return output::json(&answer);
    }
    match command {
        Workspace::Create { name } => {
            output::line(format!("{name} is there; use it with --workspace {name}, or make a key for it"));
        }
        Workspace::List => {
            let names = answer["workspaces"].as_array().into_iter().flatten();
            let rows = names.map(|w| vec![w["name"].as_str().unwrap_or_default().to_owned()]).collect();
            output::table(&["workspace"], rows);
        }
    }
    Ok(())
}
