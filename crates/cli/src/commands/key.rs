//! `stepwell key`: API keys.

use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{KeyInfo, NewKey};

use crate::args::{Global, Key};
use crate::client::Client;
use crate::output;

#[derive(Deserialize)]
struct Page {
    api_keys: Vec<KeyInfo>,
}

pub async fn main(command: Key, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Key::Create { name, scopes } => {
            let request = client.post(&["api-keys"]).json(&json!({ "name": name, "scopes": scopes }));
            let made: NewKey = client.json(request).await?;
            if global.json {
                return output::json(&made);
            }
            output::line(&made.secret);
            eprintln!(
                "This is the only time that the key is shown. Revoke it with: stepwell key revoke {}",
                made.info.id
            );
            Ok(())
        }
        Key::List => {
            let request = client.get(&["api-keys"]);
            if global.json {
                return output::json(&client.json::<Value>(request).await?);
            }
            let page: Page = client.json(request).await?;
            let rows = page
                .api_keys
                .iter()
                .map(|key| {
                    let scopes: Vec<String> = key
                        .scopes
                        .iter()
                        .map(|s| {
                            serde_json::to_value(s)
                                .ok()
                                .and_then(|v| v.as_str().map(str::to_owned))
                                .unwrap_or_default()
                        })
                        .collect();
                    vec![
                        key.id.clone(),
                        key.name.clone(),
                        format!("{}…", key.prefix),
                        scopes.join(","),
                        output::time(key.created_at),
                        if key.revoked_at.is_some() { "revoked".into() } else { "active".into() },
                    ]
                })
                .collect();
            output::table(&["id", "name", "key", "scopes", "created (UTC)", "state"], rows);
            Ok(())
        }
        Key::Revoke { id } => {
            client.send(client.request(reqwest::Method::DELETE, &["api-keys", &id])).await?;
            output::line(format!("revoked {id}"));
            Ok(())
        }
    }
}
