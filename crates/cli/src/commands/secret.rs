//! `stepwell secret`: values that go out as `secrets.NAME`. They are given here and shown nowhere.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::json;
use stepwell_engine::SecretInfo;
use stepwell_store::{SledOptions, SledStore, Store};
use zeroize::Zeroizing;

use crate::args::{Global, Secret};
use crate::client::Client;
use crate::output;

pub async fn main(command: Secret, global: &Global) -> anyhow::Result<()> {
    if let Secret::ForgetAll { data } = &command {
        return forget_all(data, global).await;
    }
    let client = Client::new(global)?;
    match command {
        Secret::ForgetAll { .. } => {}
        Secret::Set { name, from_env } => {
            let value = value(&name, from_env.as_deref())?;
            let request =
                client.request(Method::PUT, &["secrets", &name]).json(&json!({ "value": value.as_str() }));
            let set: SecretInfo = client.json(request).await?;
            if global.json {
                return output::json(&set);
            }
            output::line(format!("{name} is set; workflows send it as {{{{ secrets.{name} }}}}"));
        }
        Secret::List => {
            let secrets: Vec<SecretInfo> = client.all("secrets").await?;
            if global.json {
                return output::json(&json!({ "secrets": secrets }));
            }
            let row =
                |s: &SecretInfo| vec![s.name.clone(), output::time(s.created_at), output::time(s.updated_at)];
            output::table(&["secret", "made (UTC)", "changed (UTC)"], secrets.iter().map(row).collect());
        }
        Secret::Delete { name } => {
            client.send(client.request(Method::DELETE, &["secrets", &name])).await?;
            output::line(format!("{name} is gone"));
        }
    }
    Ok(())
}

/// From stdin or a variable: what stands on a command line is seen by other users, and kept by the shell.
fn value(name: &str, variable: Option<&str>) -> anyhow::Result<Zeroizing<String>> {
    if let Some(variable) = variable {
        let value = std::env::var(variable);
        return value
            .map(Zeroizing::new)
            .map_err(|error| anyhow::anyhow!("the variable {variable}: {error}"));
    }
    let mut text = Zeroizing::new(String::new());
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!(
            "The value of {name}, shown as you type it (`stepwell secret set {name} < FILE` shows nothing); Enter ends it:"
        );
        stdin.read_line(&mut text)?;
    } else {
        stdin.lock().read_to_string(&mut text).context("stdin is not a text")?;
    }
    Ok(Zeroizing::new(without_line_break(&text).to_owned()))
}

/// Editors and `echo` end a text with a line break, which is not part of it.
fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// For who has lost the key: without it the secrets are lost, and the server does not start over them.
async fn forget_all(data: &Path, global: &Global) -> anyhow::Result<()> {
    if !data.join("format").is_file() {
        bail!("{} is no data folder of Stepwell; give the one that `stepwell serve` uses", data.display());
    }
    let folder = data.to_owned();
    let options = SledOptions { disk_floor: 0, ..SledOptions::default() };
    let store = tokio::task::spawn_blocking(move || SledStore::open(folder, options)).await?;
    let store = store.context("the server must be stopped before its secrets are forgotten")?;
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let forgotten = stepwell_engine::forget_secrets(&shared).await;
    store.close().await;
    let forgotten = forgotten?;
    if global.json {
        return output::json(&json!({ "forgotten": forgotten }));
    }
    for name in &forgotten {
        output::line(format!("forgotten: {name}"));
    }
    output::line("start the server, and give the secrets again: stepwell secret set NAME");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_not_part_of_the_value() {
        for (text, value) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", ""), ("\n", "")]
        {
            assert_eq!(without_line_break(text), value, "{text:?}");
        }
    }
}
