//! Signatures of webhooks over the raw bytes, by the Standard Webhooks scheme.
use crate::api::HookRequest;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::registry::{Compiled, hooks};
use crate::secrets::Opened;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac as Mac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use stepwell_workflow::model::{Auth, Hmac, HmacScheme};
use zeroize::Zeroizing;

/// Refuses a request that no secret of the webhook has signed, or that was signed too long ago.
pub(crate) fn check(
    hmac: &Hmac,
    request: &HookRequest,
    now: Timestamp,
    mut secret: impl FnMut(&str) -> Option<String>,
) -> Result<(), EngineError> {
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
    for template in &hmac.secrets {
        let revealed = reference(template).and_then(&mut secret);
        let Some(key) = revealed.map(Zeroizing::new).and_then(|secret| key(&secret)) else { continue };
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

/// What a secret must be to sign with.
pub(crate) const A_KEY: &str =
    "its value must be base64, with or without `whsec_` in front, such as that of `openssl rand -base64 32`";

fn key(secret: &str) -> Option<Zeroizing<Vec<u8>>> {
    let secret = secret.strip_prefix("whsec_").unwrap_or(secret);
    STANDARD.decode(secret).ok().filter(|key| !key.is_empty()).map(Zeroizing::new)
}

/// Whether one can sign with it.
pub(crate) fn is_key(secret: &str) -> bool {
    key(secret).is_some()
}

/// The name in `{{ secrets.NAME }}`, the one way in which the check lets a secret be written here.
fn reference(template: &str) -> Option<&str> {
    template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("secrets.")
}

/// The secrets that sign the webhook of a workflow.
pub(crate) fn secrets_of(flow: &Compiled) -> Vec<&str> {
    match hooks::webhook(flow).map(|hook| &hook.auth) {
        Some(Auth::Hmac(hmac)) => hmac.secrets.iter().filter_map(|template| reference(template)).collect(),
        _ => Vec::new(),
    }
}

/// What keeps the secrets of a webhook from signing anything.
pub(crate) fn unfit(ctx: &Ctx, flow: &Compiled) -> Vec<Problem> {
    let unfit = |name: &&str| Opened::default().reveal(ctx, name).is_none_or(|secret| !is_key(&secret));
    let names = secrets_of(flow).into_iter().filter(unfit);
    let problem = |name: &str| Problem {
        code: "invalid_secret".into(),
        message: format!("nothing can be signed with the secret `{name}`"),
        path: Some("trigger.auth.hmac.secret".into()),
        hint: Some(A_KEY.into()),
        ..Problem::default()
    };
    names.map(problem).collect()
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

    fn check(secret: &str, request: &HookRequest, now: Timestamp) -> Result<(), EngineError> {
        let hmac = Hmac {
            scheme: HmacScheme::StandardWebhooks,
            secrets: vec!["{{ secrets.OLD }}".into(), "{{secrets.NEW}}".into()],
            tolerance: Millis::seconds(300),
        };
        let known = |name: &str| match name {
            "OLD" => Some("whsec_AAAA".to_owned()),
            "NEW" => Some(secret.to_owned()),
            _ => None,
        };
        super::check(&hmac, request, now, known)
    }

    #[test]
    fn the_published_example_is_taken_and_every_change_refused() {
        // The example of the scheme's own documentation.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let signed = Timestamp::from_second(1614265330).unwrap();
        assert!(check(secret, &request(signature), signed).is_ok());
        let two = format!("v1,AAAA {signature}");
        assert!(check(secret, &request(&two), signed).is_ok());
        let late = Timestamp::from_second(1614265330 + 301).unwrap();
        assert!(check(secret, &request(signature), late).unwrap_err().message.contains("301 s"));
        assert!(check("whsec_BBBB", &request(signature), signed).is_err());
        let mut changed = request(signature);
        changed.body = b"{}".as_slice().into();
        assert!(check(secret, &changed, signed).is_err());
        assert!(check(secret, &HookRequest::default(), signed).is_err());
    }
}
