//! Requests to other servers: literal hosts, header names, bodies.

use std::collections::BTreeMap;

use super::bounds::Type;
use super::catalog::ConnectionLookup;
use super::checker::Checker;
use super::steps::{open_texts, schema_or_any};
use super::types::Ty;
use crate::expr::Mode;
use crate::model::{Body, HttpRequest, Method, StepKind};

impl<'w> Checker<'w> {
    pub(super) fn http(&mut self, request: &'w HttpRequest) -> Type {
        match &request.connection {
            Some(name) => self.through(name, request),
            None => self.under("url", |me| me.url(&request.url)),
        }
        self.under("headers", |me| me.headers(&request.headers, Mode::Header, Sender::Request));
        self.under("query", |me| me.given("query", &request.query, Mode::Secrets));
        if let Some(body) = &request.body {
            self.path.key("body");
            if matches!(request.method, Method::Get | Method::Head) {
                self.tell_key("misplaced", format!("a {} request has no body", request.method.as_str()))
                    .set_hint("use `method: POST`, or put the values into `query`");
            }
            match body {
                Body::Json(value) => self.under("json", |me| me.value(value, Mode::Secrets)),
                Body::Form(fields) => self.under("form", |me| me.given("form", fields, Mode::Secrets)),
                Body::Text(text) => self.under("text", |me| me.template(text, Mode::Secrets)),
                Body::Bytes(text) => self.under("bytes", |me| me.template(text, Mode::Value)),
            }
            self.path.pop();
        }
        if let Some(key) = &request.idempotency_key {
            self.under("idempotency_key", |me| me.template(key, Mode::Line));
        }
        if let Some(pagination) = &request.pagination {
            let items = self.under("pagination", |me| me.pagination(pagination, request));
            let gives = vec![("items", items), ("pages", Ty::Number)];
            return Type::from(Ty::object("an http_request step with `pagination`", gives));
        }
        let body = schema_or_any(request.response.schema.as_ref(), "the `response.schema`");
        Type::from(Ty::object(
            "an http_request step",
            vec![("status", Ty::Number), ("headers", open_texts()), ("body", body)],
        ))
    }

    /// A request through a connection.
    fn through(&mut self, name: &'w str, request: &'w HttpRequest) {
        let connection = match self.catalog.connection(name) {
            ConnectionLookup::Found(connection) => Some(connection),
            ConnectionLookup::NotKnown => None,
            ConnectionLookup::Unknown(names) => {
                let message =
                    format!("{} goes through `{name}`, but there is no such connection", self.user());
                let hint = match self.nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add it: stepwell connection apply connections/{name}.yaml"),
                };
                self.under("connection", |me| me.tell("unknown_connection", message).set_hint(hint));
                None
            }
        };
        if let Some(connection) = &connection {
            let known = self.catalog.secrets();
            for secret in connection.secrets() {
                if known.as_ref().is_some_and(|known| !known.contains(&secret)) {
                    let message = format!(
                        "the connection `{name}` sends `secrets.{secret}`, but there is no such secret"
                    );
                    let hint = format!("add it to the workspace: stepwell secret set {secret}");
                    self.under("connection", |me| me.tell("unknown_reference", message).set_hint(hint));
                }
            }
            if let Some(host) = connection.plain_host() {
                self.under("connection", |me| me.plain_http(&host));
            }
        }
        if request.url_mode() == Mode::Path {
            if !request.url.starts_with('/') || request.url.starts_with("//") {
                return self.under("url", |me| {
                    me.tell("invalid_value", "with a connection, `url` is a path that begins with `/`")
                        .set_hint("write `/people/{{ … }}`");
                });
            }
            return self.under("url", |me| me.template(&request.url, Mode::Path));
        }
        self.under("url", |me| {
            me.url(&request.url);
            if let Some(Err(why)) = connection.map(|connection| connection.address(&blanked(&request.url))) {
                me.tell("invalid_value", format!("the connection `{name}` is for one host: {why}"));
            }
        });
    }

    /// What is not encrypted can be read on the way.
    fn plain_http(&mut self, host: &str) {
        if self.catalog.plain_http(host) == Some(false) {
            self.tell(
                "plain_http_forbidden",
                format!("plain `http://` to {host} can be read on the way, and is refused"),
            )
            .set_hint(
                "use https://, or a connection with `plain_http: allow`; an operator can allow it to all with --allow-plain-http",
            );
        }
    }

    /// Who is called is decided by the author, never by data.
    fn url(&mut self, url: &'w str) {
        let mode = if self.literal_host(url) { Mode::Url } else { Mode::Secrets };
        self.template(url, mode);
    }

    /// Whether scheme and host are good; tells what is wrong with them.
    fn literal_host(&mut self, url: &str) -> bool {
        let rest = match url.split_once("://") {
            Some((scheme, rest))
                if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) =>
            {
                rest
            }
            Some((scheme, _)) if !scheme.contains('{') => {
                self.tell("invalid_value", format!("`url` is called over https or http, not `{scheme}`"));
                return false;
            }
            None if !url.contains("{{") => {
                let hint = format!("write \"https://{}\"", url.trim_start_matches('/'));
                self.tell("invalid_value", "`url` has no scheme").set_hint(hint);
                return false;
            }
            _ => {
                self.host_is_template();
                return false;
            }
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains("{{") || authority.contains("{%") {
            self.host_is_template();
            return false;
        }
        match url::Url::parse(&blanked(url)) {
            Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
                self.tell("invalid_value", "`url` holds a user name or a password")
                    .set_hint("send them in the `authorization` header, from `{{ secrets.NAME }}`");
                false
            }
            Ok(parsed) => {
                if let (None, "http", Some(host)) =
                    (self.connection_of_step(), parsed.scheme(), parsed.host_str())
                {
                    self.plain_http(host);
                }
                true
            }
            Err(error) => {
                self.tell("invalid_value", format!("`url` is no URL: {error}"));
                false
            }
        }
    }

    fn connection_of_step(&self) -> Option<&'w str> {
        match &self.steps.last()?.kind {
            StepKind::HttpRequest(request) => request.connection.as_deref(),
            _ => None,
        }
    }

    fn host_is_template(&mut self) {
        self.tell(
            "template_not_allowed",
            "scheme and host of `url` must be literal: data may not decide who is called",
        )
        .set_hint("write \"https://api.example.com/{{ … }}\", and choose between hosts with `branch`");
    }

    pub(super) fn headers(&mut self, headers: &'w BTreeMap<String, String>, mode: Mode, sender: Sender) {
        for (name, value) in headers {
            let twice = headers.keys().find(|other| *other < name && other.eq_ignore_ascii_case(name));
            self.under(name, |me| {
                if let Some(other) = twice {
                    me.tell_key("duplicate_key", format!("`{name}` and `{other}` are one header"))
                        .set_hint("keep one of them");
                }
                if let Some((why, hint)) = sender.keeps(name) {
                    me.tell_key("invalid_value", format!("the header `{name}` {why}")).set_hint(hint);
                }
                let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
                if name.is_empty() || !name.bytes().all(token) {
                    me.tell_key("invalid_value", format!("{name:?} is no name of a header"))
                        .set_hint("letters, digits and `-`");
                }
                me.template(value, mode);
                // Of what stands in the document itself; what is filled in is looked at when it is.
                let strange = |c: &char| !matches!(c, ' '..='~' | '\t' | '\r' | '\n');
                if let (Some(c), true) = (value.chars().find(strange), sender != Sender::Mail) {
                    let shown = if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("`{c}`") };
                    me.tell(
                        "invalid_value",
                        format!("the header `{name}` holds {shown}, and headers are ASCII"),
                    )
                    .set_hint("other letters are percent-encoded: `{{ text | urlencode }}`");
                }
                if value.trim_end().contains(['\r', '\n']) {
                    me.tell("invalid_value", format!("the header `{name}` holds a line break"))
                        .set_hint("a long value can be folded with `>-`");
                }
            });
        }
    }
}

/// Whose headers they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// A request of an http_request step.
    Request,
    /// The answer of a webhook.
    Answer,
    Mail,
}

impl Sender {
    /// Why a header is not the author's to set, and what to do instead.
    fn keeps(self, name: &str) -> Option<(&'static str, &'static str)> {
        let name = name.to_ascii_lowercase();
        let leave = "leave it out";
        match (self, name.as_str()) {
            (Sender::Mail, _) => None,
            (_, "content-length" | "transfer-encoding") => Some(("follows from the body", leave)),
            (_, "connection" | "keep-alive" | "upgrade" | "te" | "trailer" | "http2-settings" | "expect") => {
                Some(("is about the connection, which Stepwell keeps", leave))
            }
            (_, name) if name.starts_with("proxy-") => {
                Some(("is between a client and its proxy", "the operator of the server sets a proxy"))
            }
            (Sender::Request, "host") => Some(("follows from `url`", "put the host into `url`")),
            (Sender::Answer, "host") => Some(("belongs to requests, not to answers", leave)),
            (Sender::Answer, "date" | "server") => Some(("is set by the server", leave)),
            (Sender::Answer, "stepwell-run-id" | "idempotent-replayed") => {
                Some(("is set by Stepwell", "use another name"))
            }
            _ => None,
        }
    }
}

/// The text with every template replaced by a letter.
fn blanked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        out.push('x');
        rest = rest[start..].find("}}").map_or("", |end| &rest[start + end + 2..]);
    }
    out.push_str(rest);
    out
}
