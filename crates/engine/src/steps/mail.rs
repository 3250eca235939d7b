//! `send_email`: the rendered call becomes the message that is sent, or caught in the workspace's mailbox.
use super::outside_failure;
use crate::hash;
use crate::ports::{MailMessage, Mailer};
use crate::tables::{self, mailbox};
use serde_json::{Value, json};
use stepwell_store::{Refused, Txn, WorkspaceId};
use stepwell_workflow::machine::{EmailCall, Execute, Failure};

/// Without a `timeout:` an attempt takes no longer than this.
const DEFAULT_TIMEOUT_MS: u64 = 60_000;

/// The message as it goes out. Its id is made from the step's key, so every attempt has the same.
pub(crate) fn message(call: &EmailCall, execute: &Execute) -> Result<MailMessage, Failure> {
    let id = hash::hex(&hash::sha256(execute.key.as_bytes())[..16]);
    let message = MailMessage {
        from: call.from.clone(),
        to: call.to.clone(),
        cc: call.cc.clone(),
        bcc: call.bcc.clone(),
        reply_to: call.reply_to.clone(),
        subject: subject(&call.subject),
        text: call.text.clone(),
        html: call.html.clone(),
        headers: call.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        message_id: id,
        timeout_ms: execute.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS),
    };
    crate::outside::mail::check_addresses(&message).map_err(outside_failure)?;
    Ok(message)
}

/// The longest word of a subject: a line of a header, which is broken at blanks alone, has 998 characters at most
/// (RFC 5322, 2.1.1).
const LONGEST_WORD: usize = 500;

/// A subject as a mail can have it, whatever a stranger's form put into it: line breaks and other control characters are
/// blanks, and a word that fits no line is parted.
fn subject(text: &str) -> String {
    let mut subject = String::with_capacity(text.len());
    let mut word = 0;
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        word = if c == ' ' { 0 } else { word + 1 };
        if word > LONGEST_WORD {
            subject.push(' ');
            word = 1;
        }
        subject.push(c);
    }
    subject
}

/// Sends it; the output is `{message_id, accepted}`.
pub(crate) async fn send(mailer: &dyn Mailer, message: &MailMessage) -> Result<Value, Failure> {
    let receipt = mailer.send(message).await.map_err(outside_failure)?;
    Ok(json!({ "message_id": message.message_id, "accepted": receipt.accepted }))
}

/// Catches it: a row of the mailbox in the burst's own transaction. Nothing leaves the process, so it is no
/// call to the outside.
pub(crate) fn catch(
    txn: &mut Txn,
    workspace: WorkspaceId,
    run: crate::id::RunId,
    execute: &Execute,
    message: MailMessage,
    at_ms: i64,
) -> Result<Value, Refused> {
    let digest = hash::sha256(execute.key.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    let accepted: Vec<&String> = message.to.iter().chain(&message.cc).chain(&message.bcc).collect();
    let output = json!({ "message_id": message.message_id, "accepted": accepted });
    let step = Some(execute.path.as_str().to_owned());
    let row = mailbox::CaughtMail { run: Some(run), step, at_ms, mail: message };
    txn.put(mailbox::key(workspace, at_ms, &id), tables::pack(&row)?);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::subject;

    #[test]
    fn a_subject_is_one_line_that_a_server_takes() {
        assert_eq!(subject("Größe & more"), "Größe & more");
        assert_eq!(subject("Hi\r\nBcc: evil@example.com\u{7}"), "Hi  Bcc: evil@example.com ");
        let long = subject(&"x".repeat(1201));
        assert_eq!(long.split(' ').map(str::len).collect::<Vec<_>>(), [500, 500, 201]);
    }
}
