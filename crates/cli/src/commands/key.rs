//! `stepwell key`: API keys.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::ports::{SystemClock, SystemRandom};
use stepwell_engine::{KeyInfo, NewKey};
use stepwell_store::{SledOptions, SledStore, Store};

use crate::args::{Global, Key};
use crate::client::Client;
use crate::{folder, output};

#[derive(Deserialize)]
struct Page {
    api_keys: Vec<KeyInfo>,
}

pub async fn main(command: Key, global: &Global) -> anyhow::Result<()> {
    if let Key::ResetAdmin { data } = &command {
        return reset_admin(data, global).await;
    }
    let client = Client::new(global)?;
    match command {
        Key::ResetAdmin { .. } => Ok(()),
        Key::Create { name, scopes } => {
            let request = client.post(&["api-keys"]).json(&json!({ "name": name, "scopes": scopes }));
            let made: NewKey = client.json(request).await?;
            if global.json {
                return output::json(&made);
            }
            output::line(&made.secret);
            eprintln!(
                "This is the only time that the key is shown; it may {}. Revoke it with: stepwell key revoke {}",
                scopes.join(", "),
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

/// Works on the folder itself: who may write there may have a key. The store's lock keeps a running server out of it.
async fn reset_admin(data: &Path, global: &Global) -> anyhow::Result<()> {
    if !data.join("format").is_file() {
        bail!("{} is no data folder of Stepwell; give the one that `stepwell serve` uses", data.display());
    }
    let folder = data.to_owned();
    let options = SledOptions { disk_floor: 0, ..SledOptions::default() };
    let store =
        tokio::task::spawn_blocking(move || SledStore::open(folder, options)).await?.map_err(|error| {
            anyhow::Error::from(error).context("the server must be stopped before its admin key is made anew")
        })?;
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let hand_out = |key: &NewKey| folder::write_key(data, &key.secret).map(|_| ());
    let made =
        stepwell_engine::reset_admin(&shared, &SystemClock::default(), &SystemRandom::default(), hand_out)
            .await;
    store.close().await;
    let key = made?;
    let file = folder::key_file(data);
    if global.json {
        return output::json(&json!({ "id": key.info.id, "file": file }));
    }
    output::line(format!("a new admin key is in {}", file.display()));
    output::line(
        "earlier keys stay valid: start the server, and see `stepwell key list` and `stepwell key revoke`",
    );
    Ok(())
}
