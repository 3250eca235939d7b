//! E-mail addresses: what a form may send, in one spelling.

use serde_json::json;
use stepwell_action::Failure;

/// An address in lower case that has the shape mail servers accept.
#[derive(Debug, PartialEq)]
pub struct Email {
    text: String,
    at: usize,
}

impl Email {
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    pub fn into_string(self) -> String {
        self.text
    }
}

pub fn parse(written: &str) -> Result<Email, Failure> {
    let text = written.trim().to_lowercase();
    let refused = |why: &str| {
        Failure::new("invalid_email", format!("{written:?} is not an e-mail address: {why}"))
            .details(json!({ "field": "email", "reason": why }))
    };
    if text.is_empty() {
        return Err(refused("it is empty"));
    }
    let at = text.rfind('@').ok_or_else(|| refused("there is no @"))?;
    let (local, domain) = (&text[..at], &text[at + 1..]);
    if text.len() > 254 || local.len() > 64 {
        return Err(refused("it is too long"));
    }
    if !is_dotted(local, is_local_part) {
        return Err(refused("what stands before the @ is not a mailbox"));
    }
    if !is_dotted(domain, is_label) || !domain.contains('.') {
        return Err(refused("what stands after the @ is not a domain"));
    }
    let top = domain.rsplit('.').next().unwrap_or(domain);
    if top.len() < 2 || top.chars().all(|digit| digit.is_ascii_digit()) {
        return Err(refused("the domain has no top level"));
    }
    Ok(Email { at, text })
}

fn is_dotted(text: &str, is_part: fn(&str) -> bool) -> bool {
    text.split('.').all(|part| !part.is_empty() && is_part(part))
}

fn is_local_part(part: &str) -> bool {
    part.chars().all(|char| char.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char))
}

fn is_label(label: &str) -> bool {
    label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|char| char.is_alphanumeric() || char == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_one_spelling() {
        let email = parse("  Grace.Hopper+crm@Navy.MIL\n").expect("a good address");
        assert_eq!(email.domain(), "navy.mil");
        assert_eq!(email.into_string(), "grace.hopper+crm@navy.mil");
    }

    #[test]
    fn international_addresses_are_accepted() {
        assert_eq!(parse("jürgen@bücher.example").expect("a good address").domain(), "bücher.example");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "it is empty"),
            ("ada.example.com", "there is no @"),
            ("@example.com", "what stands before the @ is not a mailbox"),
            ("a..b@example.com", "what stands before the @ is not a mailbox"),
            ("ada lovelace@example.com", "what stands before the @ is not a mailbox"),
            ("<script>@example.com", "what stands before the @ is not a mailbox"),
            ("ada@localhost", "what stands after the @ is not a domain"),
            ("ada@-example.com", "what stands after the @ is not a domain"),
            ("ada@example..com", "what stands after the @ is not a domain"),
            ("ada@example.com\r\nBcc: x@y.zz", "what stands before the @ is not a mailbox"),
            ("ada@127.0.0.1", "the domain has no top level"),
            ("ada@example.c", "the domain has no top level"),
        ];
        for (written, why) in cases {
            let failure = parse(written).expect_err(written);
            assert_eq!(failure.code, "invalid_email");
            assert_eq!(
                failure.details,
                Some(json!({ "field": "email", "reason": why }).to_string()),
                "{written}"
            );
        }
        let long = format!("{}@example.com", "a".repeat(65));
        assert!(parse(&long).expect_err("too long").message.ends_with("it is too long"));
    }
}
