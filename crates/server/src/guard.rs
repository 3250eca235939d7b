//! What `--dev`, which asks for no key, refuses instead: requests that a web page of somebody else sent.
//!
//! A page can make a browser send requests to loopback. It cannot forge `Host` (so a foreign one means that its
//! name was rebound to loopback), `Origin` or `Sec-Fetch-Site`.

use std::borrow::Cow;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, StatusCode};

use crate::problem::Problem;

const SITE: &str = "sec-fetch-site";

/// Middleware of a `--dev` server.
pub async fn loopback_only(request: Request, next: Next) -> Response {
    // A link of an e-mail may be followed from anywhere: the page that it shows does nothing by itself.
    let is_page = request.method() == http::Method::GET && request.uri().path().starts_with("/inputs/");
    let mut headers = Cow::Borrowed(request.headers());
    if is_page {
        headers.to_mut().remove(SITE);
    }
    match check(&headers, request.uri().host()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap, uri_host: Option<&str>) -> Result<(), Problem> {
    let forbidden = |code: &str, detail: String| Problem::new(StatusCode::FORBIDDEN, code, detail);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let host = headers.get(HOST).map(text).or_else(|| uri_host.map(str::to_owned)).unwrap_or_default();
    if !is_loopback(&host) {
        return Err(forbidden(
            "foreign_host",
            format!("a --dev server answers to localhost and loopback addresses only, not to Host `{host}`"),
        ));
    }
    if let Some(origin) = headers.get(ORIGIN).map(text) {
        let same =
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(&host));
        if !same {
            return Err(forbidden(
                "foreign_origin",
                format!(
                    "a --dev server takes no request from a page of `{origin}`; start it without --dev and use a key"
                ),
            ));
        }
    }
    if headers.get(SITE).is_some_and(|v| v.as_bytes() == b"cross-site") {
        return Err(forbidden(
            "foreign_origin",
            "a --dev server takes no request from a page of another site".into(),
        ));
    }
    Ok(())
}

/// `localhost`, `127.0.0.1` or `[::1]`, with or without a port.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    let host = authority.host();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || literal.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), http::HeaderValue::from_str(v).unwrap()))
            .collect()
    }

    fn code(pairs: &[(&str, &str)]) -> Option<String> {
        check(&headers(pairs), None).err().map(|p| p.code)
    }

    #[test]
    fn local_callers_pass() {
        for host in
            ["localhost", "localhost:7878", "127.0.0.1:7878", "[::1]:7878", "LOCALHOST:1", "127.9.9.9"]
        {
            assert_eq!(code(&[("host", host)]), None, "{host}");
        }
        assert_eq!(code(&[("host", "localhost:7878"), ("origin", "http://localhost:7878")]), None);
        assert_eq!(code(&[("host", "localhost:7878"), ("sec-fetch-site", "same-origin")]), None);
    }

    #[test]
    fn a_rebound_name_is_refused() {
        for host in ["evil.example", "evil.example:7878", "localhost.evil.example", "10.0.0.1", "", "a b"] {
            assert_eq!(code(&[("host", host)]).as_deref(), Some("foreign_host"), "{host}");
        }
        assert_eq!(code(&[]).as_deref(), Some("foreign_host"));
    }

    #[test]
    fn pages_of_others_are_refused() {
        for origin in ["https://evil.example", "http://localhost:9999", "null"] {
            assert_eq!(
                code(&[("host", "localhost:7878"), ("origin", origin)]).as_deref(),
                Some("foreign_origin")
            );
        }
        assert_eq!(
            code(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]).as_deref(),
            Some("foreign_origin")
        );
    }
}
