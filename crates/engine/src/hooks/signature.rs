//! Signatures of webhooks: an HMAC-SHA256 over the raw bytes, by the schemes that senders have.
use super::header;
use crate::api::HookRequest;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::hash;
use crate::registry::{Compiled, hooks};
use crate::secrets::Opened;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac as Mac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use stepwell_workflow::model::{Auth, Hmac, HmacScheme};
use zeroize::Zeroizing;

/// What a request says of its signature.
struct Signed<'r> {
    /// In seconds, as it is written.
    time: Option<&'r str>,
    /// What is signed, one after the other.
    parts: Vec<&'r [u8]>,
    /// Any of them may fit: there are several while the sender changes its key.
    macs: Vec<Vec<u8>>,
}

fn refuse(message: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::Unauthorized, "bad_signature", message)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    hash::unhex::<32>(&text.to_ascii_lowercase()).map(|bytes| bytes.to_vec())
}

fn needed<'r>(request: &'r HookRequest, name: &str) -> Result<&'r str, EngineError> {
    let missing = || refuse(format!("this webhook asks for a signature: the header {name} is missing"));
    header(request, name).map(str::trim).ok_or_else(missing)
}

fn read(scheme: HmacScheme, request: &HookRequest) -> Result<Signed<'_>, EngineError> {
    let body: &[u8] = &request.body;
    Ok(match scheme {
        HmacScheme::StandardWebhooks => {
            let (Some(id), Some(time), Some(signatures)) = (
                header(request, "webhook-id"),
                header(request, "webhook-timestamp"),
                header(request, "webhook-signature"),
            ) else {
                return Err(refuse(
                    "this webhook asks for a signature: the headers webhook-id, webhook-timestamp and webhook-signature",
                ));
            };
            let signatures = signatures.split_ascii_whitespace().filter_map(|text| text.strip_prefix("v1,"));
            Signed {
                time: Some(time),
                parts: vec![id.as_bytes(), b".", time.as_bytes(), b".", body],
                macs: signatures.filter_map(|text| STANDARD.decode(text).ok()).collect(),
            }
        }
        HmacScheme::Github => {
            let text = needed(request, "x-hub-signature-256")?;
            let mac = text.strip_prefix("sha256=").and_then(unhex);
            Signed { time: None, parts: vec![body], macs: mac.into_iter().collect() }
        }
        HmacScheme::Stripe => {
            let text = needed(request, "stripe-signature")?;
            let items = || text.split(',').filter_map(|item| item.trim().split_once('='));
            let Some((_, time)) = items().find(|(name, _)| *name == "t") else {
                return Err(refuse("stripe-signature has no time: `t=SECONDS,v1=SIGNATURE`"));
            };
            Signed {
                time: Some(time),
                parts: vec![time.as_bytes(), b".", body],
                macs: items().filter(|(name, _)| *name == "v1").filter_map(|(_, mac)| unhex(mac)).collect(),
            }
        }
        HmacScheme::Shopify => {
            let mac = STANDARD.decode(needed(request, "x-shopify-hmac-sha256")?).ok();
            Signed { time: None, parts: vec![body], macs: mac.into_iter().collect() }
        }
        HmacScheme::Slack | HmacScheme::Zoom => {
            let (time, signature) = versioned(scheme);
            let time = needed(request, time)?;
            let mac = needed(request, signature)?.strip_prefix("v0=").and_then(unhex);
            Signed {
                time: Some(time),
                parts: vec![b"v0:", time.as_bytes(), b":", body],
                macs: mac.into_iter().collect(),
            }
        }
    })
}

/// The headers of time and signature.
fn versioned(scheme: HmacScheme) -> (&'static str, &'static str) {
    match scheme {
        HmacScheme::Zoom => ("x-zm-request-timestamp", "x-zm-signature"),
        _ => ("x-slack-request-timestamp", "x-slack-signature"),
    }
}

/// Refuses a request that no secret of the webhook has signed, or that was signed too long ago.
pub(crate) fn check(
    hmac: &Hmac,
    request: &HookRequest,
    now: Timestamp,
    mut secret: impl FnMut(&str) -> Option<String>,
) -> Result<(), EngineError> {
    let signed = read(hmac.scheme, request)?;
    if let Some(time) = signed.time {
        let Ok(seconds) = time.parse::<i64>() else {
            return Err(refuse(format!("the time of the signature is `{time}`, not a number of seconds")));
        };
        let apart = now.as_second().abs_diff(seconds);
        if u128::from(apart) > hmac.tolerance.as_duration().as_secs().into() {
            let message =
                format!("the request was signed {apart} s from now; at most {} is taken", hmac.tolerance);
            return Err(refuse(message));
        }
    }
    for template in &hmac.secrets {
        let revealed = reference(template).and_then(&mut secret).map(Zeroizing::new);
        let Some(key) = revealed.and_then(|secret| key(hmac.scheme, &secret)) else { continue };
        let Ok(mut mac) = Mac::<Sha256>::new_from_slice(&key) else { continue };
        signed.parts.iter().for_each(|part| mac.update(part));
        // Compared in constant time.
        if signed.macs.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
            return Ok(());
        }
    }
    Err(refuse("no signature of the request fits a secret of this webhook"))
}

/// The HMAC-SHA256 of some parts one after the other.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // A key may be of any length.
    let Ok(mut mac) = Mac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Signs a request as its sender would, with the first of the secrets.
pub(crate) fn sign(
    hmac: &Hmac,
    request: &mut HookRequest,
    now: Timestamp,
    secret: impl FnMut(&str) -> Option<String>,
) -> Result<(), EngineError> {
    let revealed = hmac.secrets.first().and_then(|template| reference(template)).and_then(secret);
    let key = revealed.map(Zeroizing::new).and_then(|secret| key(hmac.scheme, &secret));
    let key = key.ok_or_else(|| EngineError::invalid("invalid_secret", A_KEY))?;
    let time = now.as_second().to_string();
    let body: &[u8] = &request.body;
    let hex = |parts: &[&[u8]]| hash::hex(&mac(&key, parts));
    let mut add: Vec<(&str, String)> = Vec::new();
    match hmac.scheme {
        HmacScheme::StandardWebhooks => {
            let id = header(request, "webhook-id")
                .map_or_else(|| format!("msg_{}", &hash::hex(&hash::sha256(body))[..24]), str::to_owned);
            let mac = mac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
            add.push(("webhook-signature", format!("v1,{}", STANDARD.encode(mac))));
            add.push(("webhook-id", id));
            add.push(("webhook-timestamp", time));
        }
        HmacScheme::Github => add.push(("x-hub-signature-256", format!("sha256={}", hex(&[body])))),
        HmacScheme::Stripe => {
            let mac = hex(&[time.as_bytes(), b".", body]);
            add.push(("stripe-signature", format!("t={time},v1={mac}")));
        }
        HmacScheme::Shopify => {
            add.push(("x-shopify-hmac-sha256", STANDARD.encode(mac(&key, &[body]))));
        }
        HmacScheme::Slack | HmacScheme::Zoom => {
            let (at, signature) = versioned(hmac.scheme);
            add.push((signature, format!("v0={}", hex(&[b"v0:", time.as_bytes(), b":", body]))));
            add.push((at, time));
        }
    }
    request.headers.retain(|(name, _)| add.iter().all(|(added, _)| !name.eq_ignore_ascii_case(added)));
    request.headers.extend(add.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(())
}

/// What a secret must be to sign with by the Standard Webhooks scheme.
pub(crate) const A_KEY: &str =
    "its value must be base64, with or without `whsec_` in front, such as that of `openssl rand -base64 32`";

/// The bytes that sign: of most schemes the secret's text as it is.
fn key(scheme: HmacScheme, secret: &str) -> Option<Zeroizing<Vec<u8>>> {
    let key = match scheme {
        HmacScheme::StandardWebhooks => {
            STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?
        }
        _ => secret.as_bytes().to_vec(),
    };
    Some(key).filter(|key| !key.is_empty()).map(Zeroizing::new)
}

/// Whether one can sign with it by the Standard Webhooks scheme.
pub(crate) fn is_key(secret: &str) -> bool {
    key(HmacScheme::StandardWebhooks, secret).is_some()
}

/// The name in `{{ secrets.NAME }}`, the one way in which the check lets a secret be written here.
pub(super) fn reference(template: &str) -> Option<&str> {
    template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("secrets.")
}

fn hmac_of(flow: &Compiled) -> Option<&Hmac> {
    match hooks::webhook(flow).map(|hook| &hook.auth) {
        Some(Auth::Hmac(hmac)) => Some(hmac),
        _ => None,
    }
}

/// Whether a secret signs the webhook of a workflow by a scheme that only base64 will do for.
pub(crate) fn needs_base64(flow: &Compiled, name: &str) -> bool {
    let hmac = hmac_of(flow).filter(|hmac| hmac.scheme == HmacScheme::StandardWebhooks);
    hmac.is_some_and(|hmac| hmac.secrets.iter().any(|template| reference(template) == Some(name)))
}

/// What keeps the secrets of a webhook from signing anything.
pub(crate) fn unfit(ctx: &Ctx, flow: &Compiled) -> Vec<Problem> {
    let Some(hmac) = hmac_of(flow) else { return Vec::new() };
    let unfit = |name: &&str| {
        Opened::default().reveal(ctx, name).is_none_or(|secret| key(hmac.scheme, &secret).is_none())
    };
    let names = hmac.secrets.iter().filter_map(|template| reference(template)).filter(unfit);
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

    fn request(headers: &[(&str, &str)], body: &str) -> HookRequest {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        HookRequest {
            headers: headers.collect(),
            body: body.as_bytes().to_vec().into(),
            ..HookRequest::default()
        }
    }

    fn hmac(scheme: HmacScheme) -> Hmac {
        Hmac {
            scheme,
            secrets: vec!["{{ secrets.OLD }}".into(), "{{secrets.NEW}}".into()],
            tolerance: Millis::seconds(300),
        }
    }

    fn check(
        scheme: HmacScheme,
        secret: &str,
        request: &HookRequest,
        second: i64,
    ) -> Result<(), EngineError> {
        let known = |name: &str| match name {
            "OLD" => Some("whsec_AAAA".to_owned()),
            "NEW" => Some(secret.to_owned()),
            _ => None,
        };
        super::check(&hmac(scheme), request, Timestamp::from_second(second).unwrap(), known)
    }

    #[test]
    fn the_published_example_is_taken_and_every_change_refused() {
        // The example of the scheme's own documentation.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let signed = |signature: &str| {
            let headers = [
                ("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", signature),
            ];
            request(&headers, r#"{"test": 2432232314}"#)
        };
        let check = |secret: &str, request: &HookRequest, second: i64| {
            check(HmacScheme::StandardWebhooks, secret, request, second)
        };
        let at = 1_614_265_330;
        assert!(check(secret, &signed(signature), at).is_ok());
        assert!(check(secret, &signed(&format!("v1,AAAA {signature}")), at).is_ok());
        assert!(check(secret, &signed(signature), at + 301).unwrap_err().message.contains("301 s"));
        assert!(check("whsec_BBBB", &signed(signature), at).is_err());
        let mut changed = signed(signature);
        changed.body = b"{}".as_slice().into();
        assert!(check(secret, &changed, at).is_err());
        assert!(check(secret, &HookRequest::default(), at).is_err());
    }

    #[test]
    fn other_senders_schemes_are_taken() {
        // The example of GitHub's documentation.
        let github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let hello = request(&[("X-Hub-Signature-256", github)], "Hello, World!");
        assert!(check(HmacScheme::Github, "It's a Secret to Everybody", &hello, 0).is_ok());
        assert!(check(HmacScheme::Github, "It's a secret to Everybody", &hello, 0).is_err());
        // Made with another implementation of HMAC.
        let slack = [
            ("X-Slack-Request-Timestamp", "1531420618"),
            ("X-Slack-Signature", "v0=6086eec281f2bc0f8aa27a4f62aca169ce11183ee45071b7e700bc240d2e61f2"),
        ];
        let body = "token=xyzz0WbapA4vBCDEFa0lx&team_id=T1DC2JH3J";
        let secret = "8f742231b10e8888abcd99yyyzzz85a5";
        let signed = request(&slack, body);
        assert!(check(HmacScheme::Slack, secret, &signed, 1_531_420_618).is_ok());
        assert!(check(HmacScheme::Slack, secret, &signed, 1_531_420_618 - 301).is_err());
    }

    #[test]
    fn what_is_signed_here_is_taken_and_only_so() {
        use HmacScheme::*;
        for scheme in [StandardWebhooks, Github, Stripe, Shopify, Slack, Zoom] {
            let secret = if scheme == StandardWebhooks { "whsec_c2VjcmV0" } else { "sec ret" };
            let mut signed = request(&[], "{\"a\": 1}");
            let known = |_: &str| Some(secret.to_owned());
            sign(&hmac(scheme), &mut signed, Timestamp::from_second(5_000).unwrap(), known).unwrap();
            assert!(check(scheme, secret, &signed, 5_300).is_ok(), "{scheme:?}: the second secret");
            let late = check(scheme, secret, &signed, 5_301);
            assert_eq!(late.is_err(), scheme.has_time(), "{scheme:?}");
            let mut changed = signed.clone();
            changed.body = b"{\"a\": 2}".as_slice().into();
            assert_eq!(check(scheme, secret, &changed, 5_000).unwrap_err().code, "bad_signature");
            assert!(check(scheme, "b3RoZXI=", &signed, 5_000).is_err(), "{scheme:?}");
            for at in 0..signed.headers.len() {
                let mut cut = signed.clone();
                let half = cut.headers[at].1.len() / 2;
                cut.headers[at].1.truncate(half);
                assert!(check(scheme, secret, &cut, 5_000).is_err(), "{scheme:?}");
                cut.headers.remove(at);
                assert!(check(scheme, secret, &cut, 5_000).is_err(), "{scheme:?}");
            }
        }
    }
}
