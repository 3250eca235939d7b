//! The HTTP client behind `http_request`: kept connections, time-outs, size caps, checked redirects.
//!
//! Codes: `invalid_request`, `address_forbidden`, `plain_http_forbidden`, `dns_failed`, `connect_failed`, `timeout`,
//! `connection_lost`, `response_too_large`, `too_many_redirects`.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, LOCATION, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::dns::Lookups;
use super::policy::OutboundPolicy;
use super::{refused, unknown, unreachable};
use crate::error::innermost;
use crate::ports::{HttpClient, HttpRequest, HttpResponse, Link, OutsideError};

/// The real client.
pub struct OutboundHttp {
    plain: Client,
    policy: OutboundPolicy,
    lookups: Arc<Lookups>,
    /// Those of connections, by what they say of their host.
    linked: Mutex<HashMap<Arc<Link>, Client>>,
}

/// So many clients of connections are kept; one costs its kept connections.
const KEPT_CLIENTS: usize = 200;

/// A client, and the rules that it keeps.
#[derive(Clone)]
struct Client {
    client: reqwest::Client,
    policy: Arc<OutboundPolicy>,
    lookups: Arc<Lookups>,
}

tokio::task_local! {
    /// The workspace whose request it is: the client's resolver is only told a name.
    static WORKSPACE: String;
}

impl OutboundHttp {
    /// A client under these rules. The process must have installed its rustls provider before.
    pub fn new(policy: OutboundPolicy) -> Result<Self, OutsideError> {
        let lookups = Arc::new(Lookups::default());
        let plain = Client::new(policy.clone(), lookups.clone(), None)?;
        Ok(Self { plain, policy, lookups, linked: Mutex::default() })
    }

    /// The client for a request: that of its connection, if it has one.
    fn client(&self, link: Option<&Arc<Link>>) -> Result<Client, OutsideError> {
        let Some(link) = link.filter(|link| ***link != Link::default()) else {
            return Ok(self.plain.clone());
        };
        let mut linked = self.linked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(client) = linked.get(link) {
            return Ok(client.clone());
        }
        let client = Client::new(self.policy.within(link), self.lookups.clone(), Some(link))?;
        if linked.len() >= KEPT_CLIENTS {
            linked.clear();
        }
        linked.insert(link.clone(), client.clone());
        Ok(client)
    }
}

/// Those of a text in PEM.
fn certificates(pem: &str) -> Result<Vec<reqwest::Certificate>, String> {
    let all = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| innermost(&error))?;
    if all.is_empty() { Err("it holds no certificate".into()) } else { Ok(all) }
}

impl Client {
    fn new(policy: OutboundPolicy, lookups: Arc<Lookups>, link: Option<&Link>) -> Result<Self, OutsideError> {
        let policy = Arc::new(policy);
        let mut builder = reqwest::Client::builder()
            .dns_resolver(PolicyResolver { policy: policy.clone(), lookups: lookups.clone() })
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve names itself, behind the policy's back.
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(32)
            .user_agent(concat!("stepwell/", env!("CARGO_PKG_VERSION")));
        let unusable = |what: &str, error: &dyn std::fmt::Display| {
            refused("invalid_request", format!("the connection's {what} cannot be used: {error}"))
        };
        if let Some(ca) = link.and_then(|link| link.ca.as_ref()) {
            let certificates = certificates(ca).map_err(|error| unusable("`tls.ca`", &error))?;
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some((certificate, key)) = link.and_then(|link| link.identity.as_ref()) {
            let pem = format!("{certificate}\n{key}\n");
            // What the error says may quote the key.
            let identity = reqwest::Identity::from_pem(pem.as_bytes())
                .map_err(|_| unusable("client certificate and key", &"they are no PEM, or do not fit"))?;
            builder = builder.identity(identity);
        }
        let client = builder
            .build()
            .map_err(|e| refused("invalid_request", format!("no HTTP client: {}", innermost(&e))))?;
        Ok(Self { client, policy, lookups })
    }

    /// The checks that need no name resolution: scheme, credentials, literal addresses.
    fn check_url(&self, text: &str) -> Result<Url, OutsideError> {
        let url = Url::parse(text)
            .map_err(|e| refused("invalid_request", format!("`{text}` is not a URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(
                "invalid_request",
                format!("`{}:` cannot be called; a URL starts with https:// or http://", url.scheme()),
            ));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(a)) => Some(IpAddr::V4(a)),
            Some(Host::Ipv6(a)) => Some(IpAddr::V6(a)),
            Some(Host::Domain(_)) => None,
            None => return Err(refused("invalid_request", format!("`{text}` names no host"))),
        };
        if let Some(address) = literal {
            if !self.policy.permits(address) {
                return Err(OutboundPolicy::refusal(url.host_str().unwrap_or(text), address));
            }
            if url.scheme() == "http" && !self.policy.permits_plain_http(address) {
                return Err(OutboundPolicy::plain_http_refusal(url.host_str().unwrap_or(text)));
            }
        }
        Ok(url)
    }

    /// Plain HTTP to a name is checked on the name's addresses; the connection resolves again, under the policy.
    async fn check_plain_http(&self, url: &Url) -> Result<(), OutsideError> {
        let (Some(Host::Domain(name)), "http") = (url.host(), url.scheme()) else { return Ok(()) };
        if self.policy.allow_plain_http {
            return Ok(());
        }
        let addresses = permitted_addresses(name, &self.policy, &self.lookups).await?;
        if addresses.iter().all(|a| self.policy.permits_plain_http(a.ip())) {
            return Ok(());
        }
        Err(OutboundPolicy::plain_http_refusal(name))
    }
}

impl OutboundHttp {
    /// For another host than the connection's: it reaches no other networks than that one, and nothing of what was
    /// meant for that host alone goes along: whom it trusts, who we are, that it may be spoken to in the clear.
    fn elsewhere(&self, link: Option<&Arc<Link>>) -> Result<Client, OutsideError> {
        let networks = link.map(|link| link.private_networks.clone()).unwrap_or_default();
        self.client(Some(&Arc::new(Link { private_networks: networks, ..Link::default() })))
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
        let mut client = self.client(request.link.as_ref())?;
        let mut method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| refused("invalid_request", format!("`{}` is not an HTTP method", request.method)))?;
        let mut headers = header_map(request)?;
        let mut body = request.body.clone();
        let mut url = client.check_url(&request.url)?;
        let mut sent = false;
        for _ in 0..=request.max_redirects {
            client.check_plain_http(&url).await.map_err(|e| after(sent, e))?;
            let answer = client
                .client
                .request(method.clone(), url.clone())
                .headers(headers.clone())
                .body(body.clone())
                .send()
                .await
                .map_err(|e| after(sent, failure(&e, &url)))?;
            sent = true;
            let Some(next) = redirect_target(&answer, &url) else {
                return read_answer(answer, &url, request.max_response_bytes).await;
            };
            if request.max_redirects == 0 {
                return read_answer(answer, &url, request.max_response_bytes).await;
            }
            let next = next?;
            if next.origin() != url.origin() {
                client = self.elsewhere(request.link.as_ref()).map_err(|e| after(sent, e))?;
            }
            let next = client.check_url(next.as_str()).map_err(|e| after(sent, e))?;
            if becomes_get(answer.status(), &method) {
                method = Method::GET;
                body = Bytes::new();
                headers.remove(CONTENT_TYPE);
            }
            if next.origin() != url.origin() {
                if request.stay_on_origin {
                    return Err(after(true, redirected_elsewhere(&url, &next)));
                }
                // What was meant for one host is not shown to another: neither what headers carry, nor the body.
                if !body.is_empty() {
                    return Err(after(true, redirected_body(&url, &next)));
                }
                headers = (headers.into_iter())
                    .filter_map(|(name, value)| Some((name?, value)))
                    .filter(|(name, _)| GO_ANYWHERE.contains(name))
                    .collect();
            }
            url = next;
        }
        Err(after(
            true,
            refused(
                "too_many_redirects",
                format!("more than {} redirects from {}", request.max_redirects, request.url),
            ),
        ))
    }
}

#[async_trait]
impl HttpClient for OutboundHttp {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
        let limit = Duration::from_millis(request.timeout_ms);
        let exchange = WORKSPACE.scope(request.workspace.clone(), self.exchange(request));
        match tokio::time::timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(unknown(
                "timeout",
                format!("no answer from {} within {} ms", display_host(&request.url), request.timeout_ms),
            )),
        }
    }

    fn speaks_plainly_to(&self, host: &str) -> bool {
        self.policy.may_speak_plainly_to(host)
    }

    fn refuses_certificates(&self, pem: &str) -> Option<String> {
        // What they hold is looked at when a client is made with them.
        let made = certificates(pem).and_then(|certificates| {
            let builder = reqwest::Client::builder().no_proxy().tls_certs_only(certificates);
            builder.build().map_err(|error| innermost(&error))
        });
        made.err()
    }
}

/// The headers that a redirect takes along to another origin.
const GO_ANYWHERE: [HeaderName; 3] = [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT];

fn redirected_elsewhere(from: &Url, to: &Url) -> OutsideError {
    let message = format!(
        "{} redirects to {}, and the step follows on the same origin only (`redirects: same_origin`)",
        display_host(from.as_str()),
        display_host(to.as_str())
    );
    refused("redirect_refused", message)
}

fn redirected_body(from: &Url, to: &Url) -> OutsideError {
    let message = format!(
        "{} asks to send the body on to {}, which the step does not name; call that one if it is meant",
        display_host(from.as_str()),
        display_host(to.as_str())
    );
    refused("redirect_refused", message)
}

/// A failure after a first request went out is no longer one where nothing was sent.
fn after(sent: bool, error: OutsideError) -> OutsideError {
    OutsideError { outcome_unknown: error.outcome_unknown || sent, ..error }
}

fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => method != Method::HEAD,
        301 | 302 => method == Method::POST,
        _ => false,
    }
}

fn redirect_target(answer: &reqwest::Response, base: &Url) -> Option<Result<Url, OutsideError>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = String::from_utf8_lossy(answer.headers().get(LOCATION)?.as_bytes()).into_owned();
    Some(base.join(&location).map_err(|e| {
        let told = unknown("invalid_request", format!("redirect to `{location}`, which is not a URL: {e}"));
        // It would lead there again.
        OutsideError { retryable: false, ..told }
    }))
}

async fn read_answer(
    mut answer: reqwest::Response,
    url: &Url,
    cap: u64,
) -> Result<HttpResponse, OutsideError> {
    let too_large = || {
        // The call was made and answered: the same bytes would get the same answer.
        OutsideError {
            retryable: false,
            ..unknown(
                "response_too_large",
                format!("the answer of {} is larger than {cap} bytes", display_host(url.as_str())),
            )
        }
    };
    if answer.content_length().is_some_and(|n| n > cap) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| after(true, failure(&e, url)))? {
        if (body.len() + chunk.len()) as u64 > cap {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let headers = answer
        .headers()
        .iter()
        .map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
        .collect();
    Ok(HttpResponse { status: answer.status().as_u16(), headers, body: body.freeze() })
}

/// The frozen headers, checked: framing is the client's, and a value carries no line break.
fn header_map(request: &HttpRequest) -> Result<HeaderMap, OutsideError> {
    let invalid = |what: String| refused("invalid_request", what);
    let mut map = HeaderMap::new();
    for (name, value) in &request.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name}` is not a header name")))?;
        if [CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&header) {
            return Err(invalid(format!("the header `{name}` is set by the client itself; leave it out")));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            invalid(format!("the header `{name}` holds a line break or another control character"))
        })?;
        // The client's own log shows no such value.
        value.set_sensitive(request.secret_headers.contains(name));
        map.append(header, value);
    }
    Ok(map)
}

fn failure(error: &reqwest::Error, url: &Url) -> OutsideError {
    if let Some(Refusal(refusal)) = source(error) {
        return refusal.clone();
    }
    let host = display_host(url.as_str());
    let cause = innermost(error);
    if error.is_connect() {
        return unreachable("connect_failed", format!("cannot connect to {host}: {cause}"));
    }
    if error.is_builder() {
        return refused("invalid_request", format!("the request to {host} cannot be made: {cause}"));
    }
    unknown("connection_lost", format!("the connection to {host} broke: {cause}"))
}

fn source<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Refusal> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref::<Refusal>() {
            return Some(found);
        }
        next = e.source();
    }
    None
}

/// Scheme, host and port alone: a path or query may hold what is not to be shown.
pub(crate) fn display_host(text: &str) -> String {
    Url::parse(text).map_or_else(|_| "the address".to_owned(), |url| url.origin().ascii_serialization())
}

/// A refusal of the policy on its way through the client's own error type.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct Refusal(OutsideError);

struct PolicyResolver {
    policy: Arc<OutboundPolicy>,
    lookups: Arc<Lookups>,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookups) = (self.policy.clone(), self.lookups.clone());
        // The client may go on connecting in a task of its own.
        let workspace = WORKSPACE.try_with(String::clone).unwrap_or_default();
        Box::pin(WORKSPACE.scope(workspace, async move {
            let addresses = permitted_addresses(name.as_str(), &policy, &lookups).await.map_err(Refusal)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }))
    }
}

/// The addresses of a name that may be called; an error when there are none.
async fn permitted_addresses(
    name: &str,
    policy: &OutboundPolicy,
    lookups: &Lookups,
) -> Result<Vec<SocketAddr>, OutsideError> {
    let workspace = WORKSPACE.try_with(String::clone).unwrap_or_default();
    let found = lookups
        .addresses(&workspace, name)
        .await
        .map_err(|e| unreachable("dns_failed", format!("the name {name} cannot be resolved: {e}")))?;
    let permitted: Vec<SocketAddr> = found.iter().copied().filter(|a| policy.permits(a.ip())).collect();
    match (permitted.is_empty(), found.first()) {
        (false, _) => Ok(permitted),
        (true, Some(address)) => Err(OutboundPolicy::refusal(name, address.ip())),
        (true, None) => Err(unreachable("dns_failed", format!("the name {name} has no address"))),
    }
}
