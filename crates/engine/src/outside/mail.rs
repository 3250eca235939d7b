//! E-mail behind `send_email`: a frozen message, built by lettre, handed to an SMTP server.
//!
//! Codes: `invalid_email`, `smtp_connect_failed`, `smtp_unavailable`, `smtp_rejected`, `smtp_auth_failed`, `timeout`.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};

use super::{refused, unknown, unreachable};
use crate::ports::{MailMessage, MailReceipt, Mailer, OutsideError};

/// The most recipients one message may have: what common servers take.
pub const MAX_RECIPIENTS: usize = 100;

/// How the connection to the SMTP server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// STARTTLS, and no mail without it.
    #[default]
    Starttls,
    /// TLS from the first byte (port 465).
    Tls,
    /// No protection: for a relay on this host.
    None,
}

/// Where mail is handed in.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpSettings {
    pub host: String,
    /// 587 with STARTTLS, 465 with TLS, 25 without.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: SmtpTls,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<String>,
    /// The sender of mails that name none.
    pub from: String,
    /// A PEM file with further root certificates.
    #[serde(default)]
    pub ca_file: Option<std::path::PathBuf>,
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

impl std::fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("from", &self.from)
            .field("ca_file", &self.ca_file)
            .field("timeout_ms", &self.timeout_ms)
            .finish()
    }
}

/// The real mailer: one kept pool of connections to one SMTP server.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: String,
    domain: String,
    timeout: Duration,
}

impl SmtpMailer {
    /// Checks the settings; connects at the first mail.
    pub fn new(settings: &SmtpSettings) -> Result<Self, OutsideError> {
        let sender = mailbox("smtp.from", &settings.from)?;
        let invalid = |what: String| refused("invalid_smtp_settings", what);
        let parameters = || {
            let mut builder = TlsParameters::builder(settings.host.clone());
            if let Some(path) = &settings.ca_file {
                let pem = std::fs::read(path)
                    .map_err(|e| invalid(format!("smtp.ca_file {}: {e}", path.display())))?;
                let certificate = Certificate::from_pem(&pem)
                    .map_err(|e| invalid(format!("smtp.ca_file {}: {e}", path.display())))?;
                builder = builder.add_root_certificate(certificate);
            }
            builder.build().map_err(|e| invalid(format!("smtp.tls: {e}")))
        };
        let (tls, port) = match settings.tls {
            SmtpTls::Starttls => (Tls::Required(parameters()?), 587),
            SmtpTls::Tls => (Tls::Wrapper(parameters()?), 465),
            SmtpTls::None => (Tls::None, 25),
        };
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port.unwrap_or(port))
            .tls(tls)
            .hello_name(ClientId::default())
            .timeout(Some(timeout));
        match (&settings.username, &settings.password) {
            (Some(user), Some(password)) => {
                builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
            }
            (None, None) => {}
            _ => return Err(invalid("smtp.username and smtp.password go together; one is missing".into())),
        }
        Ok(Self {
            transport: builder.build(),
            from: settings.from.clone(),
            domain: sender.email.domain().to_owned(),
            timeout,
        })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &MailMessage) -> Result<MailReceipt, OutsideError> {
        let message = build(mail, &self.from, &self.domain)?;
        let limit = self.timeout.min(Duration::from_millis(mail.timeout_ms));
        let sent = tokio::time::timeout(limit, self.transport.send(message)).await;
        match sent {
            Err(_) => Err(unknown(
                "timeout",
                format!("the SMTP server did not take the mail within {} ms", limit.as_millis()),
            )),
            Ok(Ok(answer)) => Ok(MailReceipt {
                // A server that refuses one recipient gets no message at all, so these are all of them.
                accepted: [&mail.to, &mail.cc, &mail.bcc].into_iter().flatten().cloned().collect(),
                response: format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" ")),
            }),
            Ok(Err(error)) => Err(smtp_failure(&error)),
        }
    }
}

/// Builds the message: text, HTML or both. What a header holds is checked here and encoded by lettre.
fn build(mail: &MailMessage, default_from: &str, domain: &str) -> Result<Message, OutsideError> {
    check_recipients(mail)?;
    let mut builder = Message::builder()
        .message_id(Some(format!("<{}@{domain}>", one_line("message_id", &mail.message_id)?)))
        .from(mailbox("from", mail.from.as_deref().unwrap_or(default_from))?)
        .subject(one_line("subject", &mail.subject)?);
    for address in &mail.to {
        builder = builder.to(mailbox("to", address)?);
    }
    for address in &mail.cc {
        builder = builder.cc(mailbox("cc", address)?);
    }
    for address in &mail.bcc {
        builder = builder.bcc(mailbox("bcc", address)?);
    }
    if let Some(address) = &mail.reply_to {
        builder = builder.reply_to(mailbox("reply_to", address)?);
    }
    let built = match (mail.text.clone(), mail.html.clone()) {
        (Some(text), Some(html)) => builder.multipart(MultiPart::alternative_plain_html(text, html)),
        (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
        (text, None) => builder.singlepart(SinglePart::plain(text.unwrap_or_default())),
    };
    let mut built = built.map_err(|e| refused("invalid_email", format!("the mail cannot be built: {e}")))?;
    for (name, value) in &mail.headers {
        let value = one_line(name, value)?.to_owned();
        built.headers_mut().insert_raw(HeaderValue::new(own_header(name)?, value));
    }
    Ok(built)
}

fn check_recipients(mail: &MailMessage) -> Result<(), OutsideError> {
    let recipients = mail.to.len() + mail.cc.len() + mail.bcc.len();
    if recipients == 0 {
        return Err(refused("invalid_email", "the mail has no recipient: `to`, `cc` and `bcc` are empty"));
    }
    if recipients > MAX_RECIPIENTS {
        let message = format!("the mail has {recipients} recipients; {MAX_RECIPIENTS} are allowed");
        return Err(refused("invalid_email", message));
    }
    Ok(())
}

/// Whether all addresses of a mail are such, and as many as there may be. Asked before a mail goes anywhere, the mailbox of `--dev` included: what
/// passes a test is not refused by the server later.
pub(crate) fn check_addresses(mail: &MailMessage) -> Result<(), OutsideError> {
    check_recipients(mail)?;
    let lists = [("to", &mail.to), ("cc", &mail.cc), ("bcc", &mail.bcc)];
    let many = lists.into_iter().flat_map(|(field, list)| list.iter().map(move |address| (field, address)));
    let one = [("from", &mail.from), ("reply_to", &mail.reply_to)];
    let one = one.into_iter().filter_map(|(field, address)| Some((field, address.as_ref()?)));
    many.chain(one).try_for_each(|(field, address)| mailbox(field, address).map(|_| ()))
}

/// The name of a header of the author's own: none that the message itself is made of.
fn own_header(name: &str) -> Result<HeaderName, OutsideError> {
    const TAKEN: [&str; 9] =
        ["from", "sender", "to", "cc", "bcc", "subject", "reply-to", "message-id", "date"];
    let lower = name.to_ascii_lowercase();
    if TAKEN.contains(&lower.as_str()) || lower.starts_with("content-") || lower == "mime-version" {
        let message = format!("`headers` cannot set `{name}`: it is made from the step's other fields");
        return Err(refused("invalid_email", message));
    }
    HeaderName::new_from_ascii(name.to_owned())
        .map_err(|_| refused("invalid_email", format!("`{name}` is not the name of a mail header")))
}

fn mailbox(field: &str, address: &str) -> Result<Mailbox, OutsideError> {
    one_line(field, address)?.trim().parse().map_err(|e| {
        refused(
            "invalid_email",
            format!("`{field}`: `{address}` is not an e-mail address ({e}); write user@example.com or Name <user@example.com>"),
        )
    })
}

/// A line break in a header value would start a header of the sender's choosing.
fn one_line<'a>(field: &str, value: &'a str) -> Result<&'a str, OutsideError> {
    if value.contains(['\r', '\n', '\0']) {
        return Err(refused(
            "invalid_email",
            format!("`{field}` holds a line break, which a mail header may not"),
        ));
    }
    Ok(value)
}

fn smtp_failure(error: &lettre::transport::smtp::Error) -> OutsideError {
    let cause = cause(error);
    let code = error.status().map(u16::from);
    match code {
        Some(534 | 535 | 538 | 530) => refused(
            "smtp_auth_failed",
            format!("the SMTP server refused the login: {cause}; check smtp.username and smtp.password"),
        ),
        Some(_) if error.is_permanent() => {
            refused("smtp_rejected", format!("the SMTP server refused the mail: {cause}"))
        }
        Some(_) => unreachable("smtp_unavailable", format!("the SMTP server put the mail off: {cause}")),
        None if error.is_timeout() => {
            unknown("timeout", format!("the SMTP server did not answer in time: {cause}"))
        }
        None if error.is_tls() => unreachable(
            "smtp_connect_failed",
            format!("no protected connection to the SMTP server: {cause}; see smtp.tls and smtp.ca_file"),
        ),
        None if error.is_client() => refused(
            "smtp_connect_failed",
            format!("the SMTP server does not offer what is configured: {cause}; see smtp.tls"),
        ),
        // The server may have taken the mail and lost the connection after it.
        None => unknown("smtp_connect_failed", format!("the SMTP server cannot be reached: {cause}")),
    }
}

fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(e) = next {
        let text = e.to_string();
        if !parts.iter().any(|p| p.contains(&text)) {
            parts.push(text);
        }
        next = e.source();
    }
    parts.join(": ")
}

fn default_timeout_ms() -> u64 {
    30_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> MailMessage {
        MailMessage {
            message_id: "k1".into(),
            to: vec!["Ada Lovelace <ada@example.com>".into()],
            subject: "Größe & more".into(),
            text: Some("Hello".into()),
            timeout_ms: 1000,
            ..MailMessage::default()
        }
    }

    fn built(mail: &MailMessage) -> Result<String, OutsideError> {
        let message = build(mail, "Stepwell <flow@example.com>", "example.com")?;
        Ok(String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn the_configured_sender_and_the_step_s_key_are_used() {
        let text = built(&mail()).unwrap();
        assert!(text.contains("Message-ID: <k1@example.com>"), "{text}");
        assert!(text.contains("From: Stepwell <flow@example.com>"), "{text}");
        assert!(text.contains("Ada Lovelace") && text.contains("<ada@example.com>"), "{text}");
    }

    #[test]
    fn text_and_html_become_alternatives() {
        let text = built(&MailMessage { html: Some("<p>Hello</p>".into()), ..mail() }).unwrap();
        assert!(text.contains("multipart/alternative"), "{text}");
        let text = built(&MailMessage { html: Some("<p>Hello</p>".into()), text: None, ..mail() }).unwrap();
        assert!(text.contains("Content-Type: text/html; charset=utf-8"), "{text}");
    }

    #[test]
    fn headers_of_the_authors_own_are_added_and_others_refused() {
        let with = |name: &str, value: &str| {
            let mail = MailMessage { headers: vec![(name.to_owned(), value.to_owned())], ..mail() };
            build(&mail, "from@example.com", "example.com").map(|m| String::from_utf8(m.formatted()).unwrap())
        };
        assert!(with("X-Lead", "7").unwrap().contains("\r\nX-Lead: 7\r\n"));
        for (name, value) in
            [("Bcc", "x@y.z"), ("content-type", "text/html"), ("X A", "1"), ("X-A", "1\r\nBcc: x")]
        {
            assert_eq!(with(name, value).unwrap_err().code, "invalid_email", "{name}");
        }
    }

    #[test]
    fn a_line_break_adds_no_header() {
        for broken in [
            MailMessage { subject: "Hi\r\nBcc: evil@example.com".into(), ..mail() },
            MailMessage { to: vec!["a@example.com\nBcc: evil@example.com".into()], ..mail() },
            MailMessage { from: Some("a@example.com\r\nX: y".into()), ..mail() },
            MailMessage { message_id: "k\r\nBcc: evil@example.com".into(), ..mail() },
        ] {
            let error = built(&broken).unwrap_err();
            assert_eq!(error.code, "invalid_email");
            assert!(error.message.contains("line break"), "{}", error.message);
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        let error = built(&MailMessage { to: vec!["ada at example".into()], ..mail() }).unwrap_err();
        assert!(
            error.message.starts_with("`to`: `ada at example` is not an e-mail address"),
            "{}",
            error.message
        );
        let error = built(&MailMessage { to: vec![], ..mail() }).unwrap_err();
        assert!(error.message.contains("no recipient"), "{}", error.message);
    }

    /// A test of a workflow and the mailbox of `--dev` ask this alone.
    #[test]
    fn a_mail_has_a_recipient_and_not_too_many() {
        let all = |count: usize| {
            let one = |n: usize| format!("a{n}@example.com");
            let (to, cc) = ((0..count.min(60)).map(one).collect(), (60..count).map(one).collect());
            MailMessage { to, cc, ..mail() }
        };
        for (count, says) in [(0, "no recipient"), (MAX_RECIPIENTS + 1, "101 recipients; 100 are allowed")] {
            for error in [check_addresses(&all(count)).unwrap_err(), built(&all(count)).unwrap_err()] {
                assert!(error.code == "invalid_email" && error.message.contains(says), "{}", error.message);
            }
        }
        check_addresses(&all(MAX_RECIPIENTS)).unwrap();
        built(&all(MAX_RECIPIENTS)).unwrap();
    }

    #[test]
    fn a_password_is_not_shown() {
        let settings = SmtpSettings {
            host: "mail.example.com".into(),
            port: None,
            tls: SmtpTls::Starttls,
            username: Some("flow".into()),
            password: Some("hunter2".into()),
            from: "flow@example.com".into(),
            ca_file: None,
            timeout_ms: 1000,
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
