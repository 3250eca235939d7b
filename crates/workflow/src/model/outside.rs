//! What steps that call the outside have: requests, their pages and answers, e-mail.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::step::Given;
use super::trigger::Method;
use super::units::ByteSize;
use super::{Template, one_or_many};
use crate::expr::Mode;

/// Output: `{status, headers, body}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The connection that the request goes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    #[serde(default)]
    pub method: Method,
    /// Scheme and host are literal; with a connection a path below its `base_url`. Parts filled in are percent-encoded.
    pub url: Template,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    pub query: Given,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    #[serde(default)]
    pub response: Response,
    #[serde(default, skip_serializing_if = "Redirects::is_default")]
    pub redirects: Redirects,
    /// Of the answer's body.
    #[serde(default = "HttpRequest::default_max_bytes")]
    pub max_bytes: ByteSize,
    /// Sent as `Idempotency-Key`, the same in every attempt; made from the run and the step when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<Template>,
    /// The answer comes in pages, and all of them are wanted. Output: `{items, pages}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
}

/// How an answer comes in pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pagination {
    pub next: NextPage,
    /// Where a page has its items: a path in the answer.
    #[serde(default = "Pagination::default_items")]
    pub items: String,
    /// A path in the answer: a page where it says no, or nothing, is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
    #[serde(default = "Pagination::default_max_pages")]
    pub max_pages: u32,
    /// Of the items of all pages together.
    #[serde(default = "Pagination::default_max_bytes")]
    pub max_bytes: ByteSize,
}

/// How the next page is found; one of the three stands in the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextPage {
    /// At `path` the answer says what to send as `query`; without that, it says the next page's address.
    Cursor {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query: Option<String>,
    },
    /// Pages have numbers; one without items is the end.
    Page {
        #[serde(default = "NextPage::default_query")]
        query: String,
        #[serde(default = "NextPage::default_first")]
        first: u64,
    },
    /// The `Link` header leads to it, by this relation.
    Link(String),
}

impl Pagination {
    fn default_items() -> String {
        "body".into()
    }

    fn default_max_pages() -> u32 {
        100
    }

    fn default_max_bytes() -> ByteSize {
        ByteSize(8 << 20)
    }
}

impl NextPage {
    fn default_query() -> String {
        "page".into()
    }

    fn default_first() -> u64 {
        1
    }
}

impl HttpRequest {
    pub const DEFAULT_MAX_BYTES: ByteSize = ByteSize(1 << 20);

    /// What `url` is: a path below a connection's address, or a whole address.
    pub fn url_mode(&self) -> Mode {
        match self.connection {
            Some(_) if self.url.starts_with('/') || !self.url.contains("://") => Mode::Path,
            _ => Mode::Url,
        }
    }

    fn default_max_bytes() -> ByteSize {
        Self::DEFAULT_MAX_BYTES
    }
}

/// A request's body: `{json: …}`, `{form: …}`, `{text: …}` or `{bytes: …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Json(Value),
    Form(Given),
    Text(Template),
    /// As base64.
    Bytes(Template),
}

/// Which redirects are followed. A target on another origin never gets headers or a body that were meant for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Redirects {
    /// At most so many, wherever they lead.
    AtMost(u32),
    Named(NamedRedirects),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedRedirects {
    /// The redirect is the answer.
    None,
    /// Only those that stay on scheme, host and port.
    SameOrigin,
}

impl Redirects {
    const DEFAULT: u32 = 5;

    /// How many are followed.
    pub fn most(self) -> u32 {
        match self {
            Redirects::AtMost(n) => n,
            Redirects::Named(NamedRedirects::None) => 0,
            Redirects::Named(NamedRedirects::SameOrigin) => Self::DEFAULT,
        }
    }

    /// Whether another origin is refused.
    pub fn stays(self) -> bool {
        self == Redirects::Named(NamedRedirects::SameOrigin)
    }

    fn is_default(&self) -> bool {
        *self == Redirects::default()
    }
}

impl Default for Redirects {
    fn default() -> Self {
        Redirects::AtMost(Self::DEFAULT)
    }
}

/// What answer counts as success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    #[serde(default = "any_success", with = "one_or_many")]
    pub status: Vec<StatusRange>,
    /// JSON Schema of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// How the body is read, where that is not by what the answer says of it.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub read_as: Option<ReadAs>,
}

/// How the body of an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// As the text that it is, also where the answer says that it is JSON.
    Text,
}

impl Default for Response {
    fn default() -> Self {
        Response { status: any_success(), schema: None, read_as: None }
    }
}

impl Response {
    pub fn accepts(&self, status: u16) -> bool {
        self.status.iter().any(|range| range.contains(status))
    }
}

fn any_success() -> Vec<StatusRange> {
    vec![StatusRange { from: 200, to: 299 }]
}

/// Statuses of HTTP answers: `404`, `2xx`, `200-204`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    pub from: u16,
    pub to: u16,
}

impl StatusRange {
    pub fn contains(&self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }

    /// From a number, or text such as `2xx` or `200-204`.
    pub fn parse(value: &Value) -> Option<StatusRange> {
        let number = |text: &str| {
            let status: u16 = text.parse().ok()?;
            (100..=599).contains(&status).then_some(status)
        };
        let (from, to) = match value {
            Value::Number(n) => {
                let status = number(&n.to_string())?;
                (status, status)
            }
            Value::String(text) => match text.split_once('-') {
                Some((from, to)) => (number(from)?, number(to)?),
                None => match text.strip_suffix("xx") {
                    Some(class) if class.len() == 1 => {
                        let from = number(&format!("{class}00"))?;
                        (from, from + 99)
                    }
                    _ => {
                        let status = number(text)?;
                        (status, status)
                    }
                },
            },
            _ => return None,
        };
        (from <= to).then_some(StatusRange { from, to })
    }
}

impl Serialize for StatusRange {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.from == self.to {
            to.serialize_u16(self.from)
        } else {
            to.collect_str(&format_args!("{}-{}", self.from, self.to))
        }
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        StatusRange::parse(&value)
            .ok_or_else(|| serde::de::Error::custom("a status is `404`, `2xx` or a range `200-204`"))
    }
}

/// Output: `{message_id, accepted}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendEmail {
    /// Addresses; a template may give one or a list.
    #[serde(with = "one_or_many")]
    pub to: Vec<Template>,
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Template>,
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Template>,
    /// The server's default sender when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Template>,
    pub subject: Template,
    /// At least one of `text` and `html` is there. `{% … %}` works here too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Template>,
    /// What is filled in is escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<Template>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statuses_are_numbers_classes_or_ranges() {
        let range = |v| StatusRange::parse(&v).map(|r| (r.from, r.to));
        assert_eq!(range(json!(404)), Some((404, 404)));
        assert_eq!(range(json!("2xx")), Some((200, 299)));
        assert_eq!(range(json!("200-204")), Some((200, 204)));
        for wrong in [json!(99), json!(600), json!("6xx"), json!("204-200"), json!("ok"), json!(true)] {
            assert_eq!(range(wrong.clone()), None, "{wrong}");
        }
    }
}
