//! E-mail addresses, phone numbers, links and domains: validated, and brought to one spelling each.

use std::borrow::Cow;

use email_address::{EmailAddress, Options};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::Misfit;
use crate::filter::quoted;

/// In lower case, without what mail clients put around it.
pub(super) fn email(text: &str) -> Result<String, Misfit> {
    let address = text.trim().to_lowercase();
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    match EmailAddress::parse_with_options(&address, options) {
        // A quoted local part is legal and never what a form means; control characters would end in a mail header.
        Ok(parsed) if !parsed.local_part().starts_with('"') && !address.contains(char::is_control) => {
            Ok(address)
        }
        _ => Err(Misfit::new(format!("{} is not an e-mail address", quoted(text)))
            .hint("write one like \"ann@example.com\"")),
    }
}

/// Digits, with a leading `+` where the number is international.
pub(super) fn phone(text: &str) -> Result<String, Misfit> {
    let wrong = || {
        Misfit::new(format!("{} is not a phone number", quoted(text)))
            .hint("write digits, with + and the country's code in front, like \"+33 6 12 34 56 78\"")
    };
    let trimmed = text.trim();
    let (plus, rest) = match trimmed.strip_prefix('+').or_else(|| trimmed.strip_prefix("00")) {
        Some(rest) => ("+", rest),
        None => ("", trimmed),
    };
    let mut digits = String::from(plus);
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '\u{a0}' | '-' | '.' | '(' | ')' | '/' => {}
            _ => return Err(wrong()),
        }
    }
    if (3..=20).contains(&(digits.len() - plus.len())) { Ok(digits) } else { Err(wrong()) }
}

fn web(text: &str) -> Option<Url> {
    let text = text.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&text).ok()?;
    let has_host = match url.host()? {
        Host::Domain(domain) => domain == "localhost" || domain.trim_matches('.').contains('.'),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    // A record is no place for a login, and many may read it.
    let has_login = !url.username().is_empty() || url.password().is_some();
    (has_host && matches!(url.scheme(), "http" | "https") && !has_login).then_some(url)
}

/// With its scheme, the host in lower case, without a trailing slash.
pub(super) fn url(text: &str) -> Result<String, Misfit> {
    let Some(url) = web(text) else {
        return Err(Misfit::new(format!("{} is not a link", quoted(text)))
            .hint("write one like \"https://example.com/page\""));
    };
    let text = url.to_string();
    let bare = url.query().is_none() && url.fragment().is_none();
    Ok(if bare { text.trim_end_matches('/').to_owned() } else { text })
}

/// The host name in a link, as that spells it.
fn host_of(text: &str) -> Option<String> {
    match web(text)?.host()? {
        Host::Domain(host) => Some(host.to_owned()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// Whether a text is a host name that [`host_of`] would give as it is, which most are.
fn is_plain_host(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with("xn--")
            && label.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-')
    };
    // The end tells it from an address, such as 10.0.0.1.
    let Some((labels, top)) = text.rsplit_once('.') else { return false };
    !top.is_empty() && top.bytes().all(is_letter) && labels.split('.').all(is_label)
}

/// The host name alone, in lower case and without `www.`.
pub(super) fn domain(text: &str) -> Result<String, Misfit> {
    let wrong =
        || Misfit::new(format!("{} is not a domain", quoted(text))).hint("write one like \"example.com\"");
    let host = match is_plain_host(text) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(host_of(text).ok_or_else(wrong)?),
    };
    let host = host.trim_end_matches('.');
    let host = match host.strip_prefix("www.") {
        Some(rest) if rest.contains('.') => rest,
        _ => host,
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.contains('.') && host.len() <= 253 && host.split('.').all(is_label) {
        Ok(host.to_owned())
    } else {
        Err(wrong())
    }
}

/// One of the secondary links: `{"label", "url"}`.
pub(super) fn link(item: &Value) -> Result<Value, Misfit> {
    let wrong = || Misfit::new("a link is written {\"label\": \"…\", \"url\": \"https://…\"}");
    let Value::Object(object) = item else { return Err(wrong()) };
    let mut link = Map::new();
    for (key, value) in object {
        match (key.as_str(), value) {
            (_, Value::Null) => {}
            ("label", Value::String(_)) => {
                link.insert(key.clone(), value.clone());
            }
            ("url", Value::String(text)) => {
                link.insert(key.clone(), url(text)?.into());
            }
            _ => return Err(wrong()),
        }
    }
    if link.contains_key("url") { Ok(link.into()) } else { Err(wrong()) }
}

/// What an e-mail, phone, link or domain in a filter is compared as: normalised if it is one, else trimmed and in
/// lower case, so that half an address still finds nothing rather than failing.
pub(crate) fn comparable(kind: crate::schema::Kind, text: &str) -> String {
    use crate::schema::Kind;
    let normalised = match kind {
        Kind::Email | Kind::EmailList => Ok(text.trim().to_lowercase()),
        Kind::Phone | Kind::PhoneList => phone(text),
        Kind::Url => url(text),
        Kind::Domain => domain(text),
        _ => return text.to_owned(),
    };
    normalised.unwrap_or_else(|_| text.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_plain_host_is_what_its_link_has(text in "(xn--|www.|0x)?[a-f0-9-]{0,4}([.][a-z0-9-]{0,4}){0,3}") {
            if is_plain_host(&text) {
                prop_assert_eq!(host_of(&text), Some(text));
            }
        }
    }
}
