//! Connections: how a workspace's requests reach one other system. A document of its own, read with a table of its own.
//!
//! ```
//! let text = "base_url: https://api.example.com/v1\nauth: { bearer: '{{ secrets.KEY }}' }\n";
//! let (connection, problems) = stepwell_workflow::connection::read(text, "example");
//! assert!(problems.is_empty());
//! assert_eq!(connection.unwrap().secrets(), ["KEY"]);
//! ```

mod form;

pub use form::CONNECTION;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::document::{self, Node, Path, Source};
use crate::expr::{self, ExprError, Mode, Segment, Template, Text, Values};
use crate::model::{Millis, one_or_many};
use crate::problem::Problem;

/// A connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    #[serde(default)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub base_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Sent with every request, unless the step says otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Of the private networks that the server allows, those that it may reach; all of them without it.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub allow_private_hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "PlainHttp::is_refused")]
    pub plain_http: PlainHttp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// So many requests at the same time, of all runs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// How a request says who sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    Bearer(String),
    Basic { username: String, password: String },
    ApiKey(ApiKey),
}

/// A key in a header, or in the query: one of the two is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    pub value: String,
}

/// Certificates as PEM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// Trusted beside those that every client trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
}

/// Whether `http://` may be spoken to a host that is not loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainHttp {
    #[default]
    Refuse,
    Allow,
}

impl PlainHttp {
    fn is_refused(&self) -> bool {
        *self == PlainHttp::Refuse
    }
}

/// At most so many requests in any stretch of time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    pub requests: u32,
    #[serde(default = "Rate::default_per")]
    pub per: Millis,
}

impl Rate {
    fn default_per() -> Millis {
        Millis::seconds(1)
    }
}

/// A text in which secrets stand by reference, ready to be sent.
pub fn filled(text: &str) -> Result<Text, ExprError> {
    Template::compile(text, Mode::Header)?.render_text(&Values::default())
}

impl Connection {
    /// Its texts that may name secrets, with their places.
    fn templates(&self) -> Vec<(String, &str, Must)> {
        let mut all: Vec<(String, &str, Must)> = Vec::new();
        match &self.auth {
            Some(Auth::Bearer(token)) => all.push(("auth.bearer".into(), token, Must::BeSecret)),
            Some(Auth::Basic { username, password }) => {
                all.push(("auth.basic.username".into(), username, Must::Nothing));
                all.push(("auth.basic.password".into(), password, Must::BeSecret));
            }
            Some(Auth::ApiKey(key)) => all.push(("auth.api_key.value".into(), &key.value, Must::BeSecret)),
            None => {}
        }
        for (name, value) in &self.headers {
            all.push((format!("headers.{name}"), value, Must::Nothing));
        }
        if let Some(key) = self.tls.as_ref().and_then(|tls| tls.client_key.as_ref()) {
            all.push(("tls.client_key".into(), key, Must::BeSecret));
        }
        all
    }

    /// The names of the secrets that its requests carry.
    pub fn secrets(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for (_, text, _) in self.templates() {
            for reference in expr::references(text, Mode::Header).unwrap_or_default() {
                if let ("secrets", Some(Segment::Key(name))) =
                    (reference.root.as_str(), reference.path.first())
                {
                    names.insert(name.clone());
                }
            }
        }
        names.into_iter().collect()
    }

    /// The host that it calls without encryption; nothing when it calls none so.
    pub fn plain_host(&self) -> Option<String> {
        let url = Url::parse(&self.base_url).ok()?;
        let plain = url.scheme() == "http" && self.plain_http == PlainHttp::Refuse;
        url.host_str().filter(|_| plain).map(str::to_owned)
    }

    /// The whole address for a `url` of a step: a path below `base_url`, or an address on the same host.
    pub fn address(&self, url: &str) -> Result<String, String> {
        if url.is_empty() {
            return Ok(self.base_url.clone());
        }
        if url.starts_with('/') {
            return Ok(format!("{}{url}", self.base_url.trim_end_matches('/')));
        }
        let base =
            Url::parse(&self.base_url).map_err(|error| format!("its `base_url` is no URL: {error}"))?;
        let asked = Url::parse(url).map_err(|error| format!("`url` is no URL: {error}"))?;
        if asked.origin() == base.origin() {
            return Ok(url.to_owned());
        }
        Err(format!(
            "it calls {}, and the step's `url` is on {}; write the path alone, such as /people",
            base.origin().ascii_serialization(),
            asked.origin().ascii_serialization()
        ))
    }
}

/// What must hold of a text.
#[derive(Clone, Copy, PartialEq)]
enum Must {
    Nothing,
    /// Nobody is to read it in a file.
    BeSecret,
}

/// Whether a host, as URLs have it, is this machine itself.
pub fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

/// Reads a document (YAML, or JSON) that is kept under a name. Nothing comes of one with problems.
pub fn read(text: &str, name: &str) -> (Option<Connection>, Vec<Problem>) {
    let source = Source::new(text);
    let (tree, problems) = document::parse(&source);
    let Some(tree) = tree.filter(|_| problems.is_empty()) else { return (None, problems) };
    let (value, problems) = document::read_as(&source, &tree, &CONNECTION);
    let Some(value) = value else { return (None, problems) };
    let mut connection: Connection = match serde_json::from_value(value) {
        Ok(connection) => connection,
        Err(error) => return (None, vec![Problem::at(&source, 0, 0, "invalid_value", error.to_string())]),
    };
    let mut reading = Reading { source: &source, tree: &tree, problems };
    if connection.name.is_empty() {
        connection.name = name.to_owned();
    } else if connection.name != name {
        let message = format!("the document's name is `{}`, and it is kept as `{name}`", connection.name);
        reading.tell("name", "wrong_name", message, format!("write `name: {name}`"));
    }
    reading.base_url(&connection.base_url);
    reading.texts(&connection);
    reading.rest(&connection);
    let problems = reading.problems;
    (Some(connection).filter(|_| problems.is_empty()), problems)
}

struct Reading<'r> {
    source: &'r Source<'r>,
    tree: &'r Node,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn tell(&mut self, path: &str, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        let mut way = Path::default();
        way.extend(path);
        let (node, _) = self.tree.find(&way);
        let problem = Problem::at(self.source, node.from, node.to, code, message);
        self.problems.push(Problem { path: path.to_owned(), ..problem }.hint(hint.into()));
    }

    fn base_url(&mut self, text: &str) {
        const HINT: &str = "write https://api.example.com/v1";
        if text.contains("{{") {
            return self.tell(
                "base_url",
                "template_not_allowed",
                "`base_url` is literal: data may not decide who is called",
                HINT,
            );
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                return self.tell(
                    "base_url",
                    "invalid_value",
                    format!("`base_url` is no URL: {error}"),
                    HINT,
                );
            }
        };
        let wrong = if !matches!(url.scheme(), "http" | "https") {
            format!("`base_url` is called over https or http, not `{}`", url.scheme())
        } else if !matches!(url.host(), Some(Host::Domain(name)) if !name.is_empty())
            && !matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)))
        {
            "`base_url` names no host".into()
        } else if !url.username().is_empty() || url.password().is_some() {
            "`base_url` holds a user name or a password; they belong into `auth.basic`".into()
        } else if url.query().is_some() || url.fragment().is_some() {
            "`base_url` ends with its path: what stands behind `?` or `#` belongs to each step".into()
        } else {
            return;
        };
        self.tell("base_url", "invalid_value", wrong, HINT);
    }

    fn texts(&mut self, connection: &Connection) {
        for (path, text, must) in connection.templates() {
            let references = match expr::references(text, Mode::Header) {
                Ok(references) => references,
                Err(error) => {
                    self.tell(&path, "template_syntax", error.to_string(), "write `{{ secrets.NAME }}`");
                    continue;
                }
            };
            if let Some(other) = references.iter().find(|reference| reference.root != "secrets") {
                let message = format!("`{path}` uses `{other}`; only `secrets.NAME` can stand here");
                self.tell(&path, "unknown_reference", message, "what differs by run belongs into the step");
            } else if must == Must::BeSecret && references.is_empty() {
                let message = format!("`{path}` stands in the file for all to read");
                let hint = "store it, `stepwell secret set NAME`, and write `{{ secrets.NAME }}`";
                self.tell(&path, "invalid_value", message, hint);
            } else if let Err(error) = filled(text) {
                self.tell(&path, "invalid_value", error.to_string(), "a text of one line");
            }
        }
    }

    fn rest(&mut self, connection: &Connection) {
        let header = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        // What differs by request, or is the client's own.
        let kept = ["host", "content-length", "transfer-encoding", "connection", "idempotency-key"];
        for name in connection.headers.keys() {
            let path = format!("headers.{name}");
            if !header(name) {
                let message = format!("{name:?} is no name of a header");
                self.tell("headers", "invalid_value", message, "letters, digits and `-`");
            } else if kept.contains(&name.to_ascii_lowercase().as_str()) {
                let message = format!("the header `{name}` follows from each request");
                self.tell(&path, "invalid_value", message, "leave it out");
            }
        }
        if let Some(Auth::ApiKey(key)) = &connection.auth {
            match (&key.header, &key.query) {
                (Some(name), None) if kept.contains(&name.to_ascii_lowercase().as_str()) => self.tell(
                    "auth.api_key.header",
                    "invalid_value",
                    format!("the header `{name}` follows from each request, and can carry no key"),
                    "write `header: X-Api-Key`",
                ),
                (Some(name), None) if header(name) => {}
                (None, Some(name)) if !name.is_empty() => {}
                (Some(name), None) => self.tell(
                    "auth.api_key.header",
                    "invalid_value",
                    format!("{name:?} is no name of a header"),
                    "write `header: X-Api-Key`",
                ),
                _ => self.tell(
                    "auth.api_key",
                    "invalid_value",
                    "a key goes into a header or into the query: one of the two",
                    "write `header: X-Api-Key`, or `query: key`",
                ),
            }
        }
        if let Some(tls) = &connection.tls {
            if tls.client_certificate.is_some() != tls.client_key.is_some() {
                self.tell(
                    "tls",
                    "missing_key",
                    "a client certificate has a key: `client_certificate` and `client_key` belong together",
                    "write `client_key: \"{{ secrets.CLIENT_KEY }}\"`",
                );
            }
            for (path, pem) in [("tls.ca", &tls.ca), ("tls.client_certificate", &tls.client_certificate)] {
                if pem.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
                    let message = format!("`{path}` is no certificate in PEM");
                    self.tell(path, "invalid_value", message, "it begins with -----BEGIN CERTIFICATE-----");
                }
            }
        }
        for (index, network) in connection.allow_private_hosts.iter().enumerate() {
            if !is_network(network) {
                let message = format!("`{network}` is neither an address nor a network");
                let path = match self.tree.get("allow_private_hosts").map(|entry| &entry.value.data) {
                    Some(document::Data::List(_)) => format!("allow_private_hosts[{index}]"),
                    _ => "allow_private_hosts".into(),
                };
                self.tell(&path, "invalid_value", message, "write 10.1.2.3 or 10.0.0.0/8");
            }
        }
        if let Some(rate) = connection.rate
            && rate.per.0 < 100
        {
            let message = format!("`rate.per` is {}; it takes 100ms at least", rate.per);
            self.tell("rate.per", "invalid_value", message, "write `per: 1s`");
        }
    }
}

/// An address, or a network as CIDR.
fn is_network(text: &str) -> bool {
    let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(a, b)| (a, Some(b)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    // As they are written: no sign, no zero in front.
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|n| n <= most && n.to_string() == bits))
}

#[cfg(test)]
mod tests;
