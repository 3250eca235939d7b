//! The client against real servers on loopback.

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
        workspace: String::new(),
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
