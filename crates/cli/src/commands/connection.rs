//! `stepwell connection`: how requests of workflows reach other systems.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;
use stepwell_engine::{ConnectionInfo, ConnectionSaved};

use super::Bad;
use super::files;
use super::workflow::{documents_in, name_of};
use crate::args::{Connection, Global};
use crate::client::{Client, ClientError};
use crate::output;

pub async fn main(command: Connection, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Connection::Apply { files } => {
            let mut all = Vec::new();
            for path in &files {
                match path.is_dir() {
                    true => all.extend(documents_in(path)?),
                    false => all.push(path.clone()),
                }
            }
            let (saved, bad) = apply(&client, &all, global.json).await?;
            if global.json {
                output::json(&saved)?;
            }
            match bad {
                0 => Ok(()),
                _ => Err(Bad(output::with_problems(bad, all.len(), "connection")).into()),
            }
        }
        Connection::Get { name } => {
            let connection: ConnectionInfo = client.json(client.get(&["connections", &name])).await?;
            output::json(&connection)
        }
        Connection::List => {
            let connections: Vec<ConnectionInfo> = client.all("connections").await?;
            if global.json {
                return output::json(&json!({ "connections": connections }));
            }
            let row = |info: &ConnectionInfo| {
                let connection = &info.connection;
                let rate = connection.rate.map(|rate| format!("{} per {}", rate.requests, rate.per));
                vec![
                    connection.name.clone(),
                    connection.base_url.clone(),
                    rate.unwrap_or_default(),
                    connection.concurrency.map(|n| n.to_string()).unwrap_or_default(),
                    info.waiting.to_string(),
                    info.held_until.map(output::time).unwrap_or_default(),
                ]
            };
            let columns = ["connection", "base_url", "rate", "concurrency", "waiting", "held until (UTC)"];
            output::table(&columns, connections.iter().map(row).collect());
            Ok(())
        }
        Connection::Delete { name } => {
            client.send(client.request(Method::DELETE, &["connections", &name])).await?;
            output::line(format!("{name} is gone"));
            Ok(())
        }
    }
}

/// Saves them. Gives what was saved, and how many have problems.
pub async fn apply(
    client: &Client,
    files: &[PathBuf],
    json: bool,
) -> anyhow::Result<(Vec<ConnectionSaved>, usize)> {
    let (mut saved, mut bad) = (Vec::new(), 0);
    for file in files {
        let name = name_of(file)?;
        let request = client.request(Method::PUT, &["connections", &name]).body(read(file)?);
        let answer: ConnectionSaved = match client.json(request).await {
            Ok(answer) => answer,
            Err(ClientError::Refused(problem)) if !problem.errors.is_empty() => {
                bad += 1;
                output::refused(file, &problem);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !json {
            let what = if answer.changed { "saved" } else { "unchanged" };
            output::line(format!("connection {name} {what}"));
            for secret in &answer.missing_secrets {
                output::line(format!(
                    "  it sends secrets.{secret}, which is not there yet: stepwell secret set {secret}"
                ));
            }
        }
        saved.push(answer);
    }
    Ok((saved, bad))
}

pub fn read(file: &Path) -> anyhow::Result<String> {
    files::text(file)
}
