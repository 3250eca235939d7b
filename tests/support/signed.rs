//! Webhooks as others send them: signed by the Standard Webhooks scheme.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use reqwest::Method;
use sha2::Sha256;

use super::Server;
use super::server::Answer;

/// Posts a body to a path below `/hooks/default/`, signed at this time.
pub async fn post(server: &Server, path: &str, key: &[u8], time: i64, id: &str, body: &str) -> Answer {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = server.request(Method::POST, &format!("/hooks/default/{path}"));
    let request = request.header("webhook-id", id).header("webhook-timestamp", time);
    server.send(request.header("webhook-signature", signature).body(body.to_owned())).await
}
