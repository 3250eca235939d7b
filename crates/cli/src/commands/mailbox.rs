//! `stepwell mailbox`: e-mail that was caught instead of sent.

use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::MailboxEntry;

use crate::args::{Global, Mailbox};
use crate::client::Client;
use crate::output;

#[derive(Deserialize)]
struct Page {
    mailbox: Vec<MailboxEntry>,
}

pub async fn main(command: Mailbox, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let Mailbox::List = command;
    let request = client.get(&["mailbox"]);
    if global.json {
        return output::json(&client.json::<Value>(request).await?);
    }
    let page: Page = client.json(request).await?;
    if page.mailbox.is_empty() {
        output::line("no e-mail was caught");
    }
    for entry in &page.mailbox {
        output::line(mail_text(entry));
    }
    Ok(())
}

/// A caught mail as a person would read it.
pub fn mail_text(entry: &MailboxEntry) -> String {
    let mail = &entry.mail;
    let mut text = format!("{} UTC", output::time(entry.at));
    if let Some(from) = &mail.from {
        text.push_str(&format!("\n  From: {from}"));
    }
    text.push_str(&format!("\n  To: {}", mail.to.join(", ")));
    if !mail.cc.is_empty() {
        text.push_str(&format!("\n  Cc: {}", mail.cc.join(", ")));
    }
    if !mail.bcc.is_empty() {
        text.push_str(&format!("\n  Bcc: {}", mail.bcc.join(", ")));
    }
    text.push_str(&format!("\n  Subject: {}", mail.subject));
    let body = mail.text.as_deref().or(mail.html.as_deref()).unwrap_or_default();
    for line in body.trim_end().lines() {
        text.push_str(&format!("\n  | {line}"));
    }
    text
}
