//! What an `http_request` step needs of a client. The request is frozen: it is stored before it is sent, and a retry sends the same bytes.
use super::OutsideError;
use async_trait::async_trait;
use bytes::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A rendered request, as it is stored and as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    pub method: String,
    /// Absolute, `http` or `https`.
    pub url: String,
    /// In the author's order; the idempotency key is among them when the step sends one.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default, with = "super::base64_bytes", skip_serializing_if = "Bytes::is_empty")]
    pub body: Bytes,
    /// The headers that hold a secret, which the client's own log must not show.
    #[serde(skip)]
    pub secret_headers: Vec<String>,
    pub timeout_ms: u64,
    /// A larger answer is the failure `response_too_large`.
    pub max_response_bytes: u64,
    /// How many redirects are followed; each target is held against the address policy again.
    pub max_redirects: u32,
    /// A redirect to another origin is the failure `redirect_refused`.
    #[serde(default)]
    pub stay_on_origin: bool,
    /// Whose it is: no workspace takes all look-ups of names for itself.
    #[serde(skip)]
    pub workspace: String,
    /// What its connection says beside the request itself.
    #[serde(skip)]
    pub link: Option<Arc<Link>>,
}

/// What a connection says of how its host is reached. It holds secrets in the clear: it is not shown, and not stored.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Link {
    pub ca: Option<String>,
    /// Certificate and key.
    pub identity: Option<(String, String)>,
    /// Of the private networks that the policy allows, these; all of them when empty.
    pub private_networks: Vec<IpNet>,
    pub plain_http: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("private_networks", &self.private_networks).finish_non_exhaustive()
    }
}

/// What came back, whole and within the size limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    pub status: u16,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default, with = "super::base64_bytes", skip_serializing_if = "Bytes::is_empty")]
    pub body: Bytes,
}

/// A client with an address policy. Any status is an answer; an error means that no whole answer came.
#[async_trait]
pub trait HttpClient: Send + Sync + 'static {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError>;

    /// Whether plain `http://` to a host may be spoken, as far as its name tells; asked before a workflow is active.
    fn speaks_plainly_to(&self, _host: &str) -> bool {
        true
    }

    /// Why certificates in PEM cannot be used, if they cannot; asked before a connection is kept.
    fn refuses_certificates(&self, _pem: &str) -> Option<String> {
        None
    }
}
