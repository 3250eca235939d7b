//! What is put into a fresh product before it is measured: actions and workflows.

use anyhow::Context;

use crate::client::Client;

/// The workflow of the first five minutes, as the examples have it.
pub const WEB_FORM: &str = include_str!("../../examples/workflows/web-form/web-form.yaml");

pub async fn put_action(client: &mut Client, name: &str, module: &[u8]) -> anyhow::Result<()> {
    let path = format!("/api/v1/actions/{name}");
    client.send("PUT", &path, "application/wasm", module).await?.ok().with_context(|| path)?;
    Ok(())
}

/// Saves a workflow and makes it active.
pub async fn put_workflow(client: &mut Client, name: &str, text: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/workflows/{name}");
    client
        .send("PUT", &path, "application/yaml", text.as_bytes())
        .await?
        .ok()
        .with_context(|| path.clone())?;
    client.post(&format!("{path}/activate"), b"").await?.ok().with_context(|| path)?;
    Ok(())
}

/// The web form under another name, changed: each pair is a text of the document and what takes its place.
pub fn web_form(name: &str, changes: &[(&str, &str)]) -> anyhow::Result<String> {
    let named =
        [("name: web-form\n", format!("name: {name}\n")), ("path: web-form ", format!("path: {name} "))];
    let named = named.iter().map(|(old, new)| (*old, new.as_str()));
    let mut text = WEB_FORM.to_owned();
    for (old, new) in named.chain(changes.iter().copied()) {
        anyhow::ensure!(text.contains(old), "the web-form example has no `{old}` any more");
        text = text.replacen(old, new, 1);
    }
    Ok(text)
}

/// The web form without its e-mail.
pub fn without_mail(text: &str) -> anyhow::Result<String> {
    let (before, mail) =
        text.split_once("  - id: tell_sales").context("the web-form example sends no mail")?;
    let (_, after) = mail.split_once("\noutput:").context("the web-form example has no output")?;
    Ok(format!("{before}\noutput:{after}"))
}

/// One of the engine's counters.
pub async fn counter(client: &mut Client, name: &str) -> anyhow::Result<u64> {
    let answer = client.get("/metrics").await?.ok()?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let prefix = format!("stepwell_{name}_total ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("/metrics has no {prefix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_can_be_changed_as_the_benchmarks_do() {
        let result = web_form("form-result", &[("respond: accepted", "respond: result")]).unwrap();
        assert!(result.contains("path: form-result ") && result.contains("respond: result"));
        let quiet = without_mail(&result).unwrap();
        assert!(!quiet.contains("send_email") && quiet.contains("taskId"));
        assert!(web_form("x", &[("no such text", "")]).is_err());
    }
}
