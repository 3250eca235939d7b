//! Signatures of webhooks over the raw bytes, by the Standard Webhooks scheme.
use crate::api::HookRequest;
use crate::error::{EngineError, ErrorKind};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac as Mac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use stepwell_workflow::model::{Hmac, HmacScheme};

/// Refuses a request that no secret of the webhook has signed, or that was signed too long ago.
pub(crate) fn check(hmac: &Hmac, request: &HookRequest, now: Timestamp) -> Result<(), EngineError> {
    let HmacScheme::StandardWebhooks = hmac.scheme;
    let refuse = |message: String| Err(EngineError::new(ErrorKind::Unauthorized, "bad_signature", message));
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let (Some(id), Some(time), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return refuse(
            "this webhook asks for a signature: the headers webhook-id, webhook-timestamp and webhook-signature".into(),
        );
    };
    let Ok(seconds) = time.parse::<i64>() else {
        return refuse(format!("webhook-timestamp is `{time}`, not a number of seconds"));
    };
    let apart = now.as_second().abs_diff(seconds);
    if u128::from(apart) > hmac.tolerance.as_duration().as_secs().into() {
        return refuse(format!(
            "the request was signed {apart} s from now; at most {} is taken",
            hmac.tolerance
        ));
    }
    for secret in &hmac.secrets {
        let Some(key) = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok() else {
            continue;
        };
        let Ok(mut mac) = Mac::<Sha256>::new_from_slice(&key) else { continue };
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(&request.body);
        for signature in signatures.split_ascii_whitespace() {
            let Some(signature) = signature.strip_prefix("v1,") else { continue };
            let Ok(signature) = STANDARD.decode(signature) else { continue };
            // Compared in constant time.
            if mac.clone().verify_slice(&signature).is_ok() {
                return Ok(());
            }
        }
    }
    refuse("no signature of the request fits a secret of this webhook".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stepwell_workflow::model::Millis;

    fn request(signature: &str) -> HookRequest {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        HookRequest {
            headers: vec![
                header("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                header("webhook-timestamp", "1614265330"),
                header("webhook-signature", signature),
            ],
            body: br#"{"test": 2432232314}"#.as_slice().into(),
            ..HookRequest::default()
        }
    }

    fn hmac(secret: &str) -> Hmac {
        Hmac {
            scheme: HmacScheme::StandardWebhooks,
            secrets: vec!["whsec_AAAA".into(), secret.into()],
            tolerance: Millis::seconds(300),
        }
    }

    #[test]
    fn the_published_example_is_taken_and_every_change_refused() {
        // The example of the scheme's own documentation.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let signed = Timestamp::from_second(1614265330).unwrap();
        assert!(check(&hmac(secret), &request(signature), signed).is_ok());
        let two = format!("v1,AAAA {signature}");
        assert!(check(&hmac(secret), &request(&two), signed).is_ok());
        let late = Timestamp::from_second(1614265330 + 301).unwrap();
        assert!(check(&hmac(secret), &request(signature), late).unwrap_err().message.contains("301 s"));
        assert!(check(&hmac("whsec_BBBB"), &request(signature), signed).is_err());
        let mut changed = request(signature);
        changed.body = b"{}".as_slice().into();
        assert!(check(&hmac(secret), &changed, signed).is_err());
        assert!(check(&hmac(secret), &HookRequest::default(), signed).is_err());
    }
}
