//! The HTTP client behind `http_request`: kept connections, time-outs, size caps, checked redirects.
//!
//! Codes: `invalid_request`, `address_forbidden`, `plain_http_forbidden`, `dns_failed`, `connect_failed`, `timeout`,
//! `connection_lost`, `response_too_large`, `too_many_redirects`.

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

use super::policy::OutboundPolicy;
use super::{refused, unknown, unreachable};
use crate::error::innermost;
use crate::ports::{HttpClient, HttpRequest, HttpResponse, Link, OutsideError};

/// The real client.
pub struct OutboundHttp {
    plain: Client,
    policy: OutboundPolicy,
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
}

impl OutboundHttp {
    /// A client under these rules. The process must have installed its rustls provider before.
    pub fn new(policy: OutboundPolicy) -> Result<Self, OutsideError> {
        Ok(Self { plain: Client::new(policy.clone(), None)?, policy, linked: Mutex::default() })
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
        let client = Client::new(self.policy.within(link), Some(link))?;
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
    fn new(policy: OutboundPolicy, link: Option<&Link>) -> Result<Self, OutsideError> {
        let policy = Arc::new(policy);
        let mut builder = reqwest::Client::builder()
            .dns_resolver(PolicyResolver { policy: policy.clone() })
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
        Ok(Self { client, policy })
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
        let addresses = permitted_addresses(name, &self.policy).await?;
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
        match tokio::time::timeout(limit, self.exchange(request)).await {
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
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let addresses = permitted_addresses(name.as_str(), &policy).await.map_err(Refusal)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name that may be called; an error when there are none.
async fn permitted_addresses(name: &str, policy: &OutboundPolicy) -> Result<Vec<SocketAddr>, OutsideError> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0))
        .await
        .map_err(|e| unreachable("dns_failed", format!("the name {name} cannot be resolved: {e}")))?
        .collect();
    let permitted: Vec<SocketAddr> = found.iter().copied().filter(|a| policy.permits(a.ip())).collect();
    match (permitted.is_empty(), found.first()) {
        (false, _) => Ok(permitted),
        (true, Some(address)) => Err(OutboundPolicy::refusal(name, address.ip())),
        (true, None) => Err(unreachable("dns_failed", format!("the name {name} has no address"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::Request;
    use axum::response::{IntoResponse, Redirect};
    use axum::routing::{any, get};

    /// A real server on a free port of loopback.
    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn client(policy: OutboundPolicy) -> OutboundHttp {
        // The second of two tests finds a provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        OutboundHttp::new(policy).unwrap()
    }

    fn dev() -> OutboundPolicy {
        OutboundPolicy { allow_loopback: true, ..OutboundPolicy::default() }
    }

    #[tokio::test]
    async fn what_a_connection_says_of_its_host_counts_for_no_other() {
        let networks = vec!["10.1.0.0/16".parse().unwrap()];
        let link = Arc::new(Link { plain_http: true, private_networks: networks.clone(), ..Link::default() });
        let policy = OutboundPolicy { allow_private: vec!["10.0.0.0/8".parse().unwrap()], ..dev() };
        let http = client(policy);
        let own = http.client(Some(&link)).unwrap().policy;
        let other = http.elsewhere(Some(&link)).unwrap().policy;
        assert_eq!((own.allow_plain_http, other.allow_plain_http), (true, false));
        // Nor does a redirect open networks that the connection keeps closed.
        assert_eq!((&own.allow_private, &other.allow_private), (&networks, &networks));
        let linked: Vec<_> = http.linked.lock().unwrap().keys().map(|link| link.plain_http).collect();
        assert_eq!(linked.len(), 2, "each has a client of its own");
    }

    fn request(method: &str, url: String) -> HttpRequest {
        HttpRequest {
            method: method.into(),
            url,
            headers: vec![],
            body: Bytes::new(),
            secret_headers: vec![],
            timeout_ms: 5_000,
            max_response_bytes: 1_000,
            max_redirects: 3,
            stay_on_origin: false,
            link: None,
        }
    }

    async fn echo(request: Request) -> impl IntoResponse {
        let own = request.headers().get("x-api-key").or(request.headers().get("authorization"));
        let head = format!("{} {own:?}", request.method());
        let body = axum::body::to_bytes(request.into_body(), 10_000).await.unwrap();
        format!("{head} {}", String::from_utf8_lossy(&body))
    }

    fn text(answer: &HttpResponse) -> String {
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    #[tokio::test]
    async fn method_headers_and_body_arrive_and_any_status_is_an_answer() {
        let base = serve(Router::new().route("/", any(echo))).await;
        let client = client(dev());
        let mut post = request("POST", base.clone());
        post.headers = vec![("Authorization".into(), "Bearer x".into())];
        post.body = Bytes::from_static(b"{\"a\":1}");
        let answer = client.send(&post).await.unwrap();
        assert_eq!((answer.status, text(&answer).as_str()), (200, "POST Some(\"Bearer x\") {\"a\":1}"));
        assert_eq!(client.send(&request("GET", format!("{base}/nowhere"))).await.unwrap().status, 404);
    }

    #[tokio::test]
    async fn loopback_is_refused_by_address_name_and_redirect() {
        let base = serve(Router::new().route("/", any(echo))).await;
        let client = client(OutboundPolicy::default());
        let by_name = base.replace("127.0.0.1", "localhost");
        for url in [base.clone(), by_name.clone(), base.replace("127.0.0.1", "[::ffff:127.0.0.1]")] {
            let error = client.send(&request("GET", url.clone())).await.unwrap_err();
            assert_eq!(error.code, "address_forbidden", "{url}: {}", error.message);
            assert!(!error.retryable && !error.outcome_unknown);
            assert!(error.message.contains("--allow-private-hosts"), "{}", error.message);
        }
        // A permitted host that sends the client inside.
        let inside =
            OutboundPolicy { allow_private: vec!["127.0.0.1/32".parse().unwrap()], ..Default::default() };
        let hop =
            serve(Router::new().route("/", get(|| async { Redirect::temporary("http://10.0.0.1/") }))).await;
        let error = self::client(inside).send(&request("GET", hop)).await.unwrap_err();
        assert_eq!(error.code, "address_forbidden");
        assert!(error.outcome_unknown, "the first hop was reached");
    }

    #[test]
    fn a_header_with_a_secret_is_not_shown_by_the_client_s_own_log() {
        let mut post = request("POST", "https://example.com/".into());
        post.headers = vec![("X-Api-Key".into(), "hunter2".into()), ("X-Other".into(), "shown".into())];
        post.secret_headers = vec!["X-Api-Key".into()];
        let headers = header_map(&post).unwrap();
        assert_eq!(format!("{:?}", headers["x-api-key"]), "Sensitive");
        assert_eq!(format!("{:?}", headers["x-other"]), "\"shown\"");
    }

    #[tokio::test]
    async fn redirects_are_followed_to_a_limit_and_show_no_credentials_to_another_host() {
        let target = serve(Router::new().route("/", any(echo))).await;
        let (there, kept) = (target.clone(), target.clone());
        let base = serve(
            Router::new()
                .route("/303", any(move || async move { (StatusCode::SEE_OTHER, [(LOCATION, there)]) }))
                .route("/307", any(move || async move { Redirect::temporary(&kept) }))
                .route("/nowhere", get(|| async { (StatusCode::FOUND, [(LOCATION, "http://[")]) }))
                .route("/loop", get(|| async { Redirect::temporary("/loop") })),
        )
        .await;
        let client = client(dev());
        for header in ["Authorization", "X-Api-Key"] {
            let mut post = request("POST", format!("{base}/303"));
            post.headers = vec![(header.into(), "Bearer x".into())];
            post.body = Bytes::from_static(b"secret");
            assert_eq!(text(&client.send(&post).await.unwrap()), "GET None ");
            post.url = format!("{base}/307");
            let error = client.send(&post).await.unwrap_err();
            assert_eq!(error.code, "redirect_refused", "{}", error.message);
            assert!(error.outcome_unknown && !error.retryable);
            post.body = Bytes::new();
            assert_eq!(text(&client.send(&post).await.unwrap()), "POST None ");
        }
        let error = client.send(&request("GET", format!("{base}/loop"))).await.unwrap_err();
        assert_eq!(error.code, "too_many_redirects");
        let error = client.send(&request("GET", format!("{base}/nowhere"))).await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.retryable, error.outcome_unknown),
            ("invalid_request", false, true)
        );
        let mut stay = request("GET", format!("{base}/loop"));
        stay.max_redirects = 0;
        assert_eq!(client.send(&stay).await.unwrap().status, 307);
    }

    #[tokio::test]
    async fn an_answer_past_the_cap_and_one_that_does_not_come_are_failures() {
        let base = serve(
            Router::new()
                .route("/big", get(|| async { "x".repeat(1_001) }))
                .route("/never", get(|| async { std::future::pending::<()>().await })),
        )
        .await;
        let client = client(dev());
        let error = client.send(&request("GET", format!("{base}/big"))).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("response_too_large", false));
        let mut slow = request("GET", format!("{base}/never"));
        slow.timeout_ms = 50;
        let error = client.send(&slow).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.outcome_unknown), ("timeout", true));
    }

    #[tokio::test]
    async fn a_cut_answer_is_an_unknown_outcome_and_a_closed_port_is_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let _ = socket.read(&mut buffer).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        });
        let client = client(dev());
        let error = client.send(&request("POST", format!("http://{address}"))).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.outcome_unknown), ("connection_lost", true));
        server.await.unwrap();
        let error = client.send(&request("POST", format!("http://{address}"))).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.outcome_unknown), ("connect_failed", false));
        assert!(error.retryable);
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_before_anything_is_sent() {
        let client = client(dev());
        let mut broken = request("GET", "https://example.com".into());
        broken.headers = vec![("X-Note".into(), "a\r\nEvil: b".into())];
        for (request, says) in [
            (request("GET", "ftp://example.com".into()), "`ftp:` cannot be called"),
            (request("GET", "example.com/x".into()), "is not a URL"),
            (request("G T", "https://example.com".into()), "is not an HTTP method"),
            (broken, "line break"),
            (request("GET", "http://93.184.216.34/".into()), "plain http://"),
        ] {
            let error = client.send(&request).await.unwrap_err();
            assert!(error.message.contains(says), "{}", error.message);
            assert!(!error.retryable && !error.outcome_unknown);
        }
    }
}
