//! `stepwell workflow state`: what a workflow keeps between its runs.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use stepwell_engine::StateInfo;

use super::setting::json_value;
use crate::args::{Global, StateChange};
use crate::client::Client;
use crate::output;

/// As many columns of a value as a list shows.
const SHOWN: usize = 60;

#[derive(Deserialize)]
struct Page {
    state: Vec<StateInfo>,
}

pub async fn main(workflow: &str, change: Option<StateChange>, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let path = |key| ["workflows", workflow, "state", key];
    match change {
        None => {
            let request = client.get(&["workflows", workflow, "state"]).query(&[("limit", "500")]);
            let Page { state } = client.json(request).await?;
            if global.json {
                return output::json(&json!({ "state": state }));
            }
            let row = |one: &StateInfo| {
                let value = output::cut(&one.value.to_string(), SHOWN);
                let by = one.run.clone().unwrap_or_else(|| "by hand".into());
                vec![one.name.clone(), value, output::time(one.updated_at), by]
            };
            output::table(&["state", "value", "changed (UTC)", "by run"], state.iter().map(row).collect());
        }
        Some(StateChange::Set { key, value }) => {
            let value = json_value(&value)?;
            let request = client.request(Method::PUT, &path(&key)).json(&json!({ "value": value }));
            let set: StateInfo = client.json(request).await?;
            if global.json {
                return output::json(&set);
            }
            output::line(format!("state.{key} of {workflow} is set"));
        }
        Some(StateChange::Delete { key }) => {
            client.send(client.request(Method::DELETE, &path(&key))).await?;
            output::line(format!("state.{key} of {workflow} is gone"));
        }
    }
    Ok(())
}
