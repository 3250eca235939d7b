//! The handshake of a webhook: the other side sends a challenge and wants it back. It starts no run.
use super::signature;
use crate::api::{HookAnswer, HookReply};
use crate::core::Ctx;
use crate::error::EngineError;
use crate::secrets::Opened;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use stepwell_workflow::expr::{Document, ExprError, ExprErrorKind, Mode, Template, Values};
use stepwell_workflow::model::{Answer, Encoding, Handshake};

/// Longer ones are no challenges, and would have the server send back whatever it is sent.
const MAX_CHALLENGE: usize = 4 << 10;
/// A challenge comes alone, and is looked for before anybody has shown who he is: not in what takes long to read.
pub(super) const MAX_BODY: usize = 64 << 10;

fn wrong(why: impl std::fmt::Display) -> EngineError {
    EngineError::invalid("invalid_handshake", format!("the handshake cannot be answered: {why}"))
}

/// What templates of the answer see, if the request is a handshake.
pub(super) fn challenge(
    ctx: &Ctx,
    handshake: &Handshake,
    trigger: Value,
) -> Result<Option<Value>, EngineError> {
    let scope = super::scope(ctx, trigger);
    let rendered =
        Template::compile(&handshake.challenge, Mode::Value).and_then(|template| template.render(&scope));
    let text = match rendered.map(|rendered| rendered.value) {
        Ok(Value::String(text)) if !text.is_empty() => text,
        Ok(Value::Number(number)) => number.to_string(),
        Ok(_) => return Ok(None),
        // What is not there is no challenge; nor is a part of what has none, such as of no body at all.
        Err(ExprError { kind: ExprErrorKind::Undefined | ExprErrorKind::Value, .. }) => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    if text.len() > MAX_CHALLENGE {
        return Err(wrong(format!("the challenge has {} bytes, at most {MAX_CHALLENGE}", text.len())));
    }
    let mut seen = super::unscoped(scope);
    seen["challenge"] = text.into();
    Ok(Some(seen))
}

pub(super) fn answer(
    ctx: &Ctx,
    handshake: &Handshake,
    mut trigger: Value,
) -> Result<HookAnswer, EngineError> {
    let challenge = trigger["challenge"].as_str().unwrap_or_default().to_owned();
    if let Some(hmac) = &handshake.hmac {
        let secret = signature::reference(&hmac.secret).and_then(|name| Opened::default().reveal(ctx, name));
        let Some(secret) = secret else { return Err(wrong("its secret is not there")) };
        let mac = signature::mac(secret.as_bytes(), &[challenge.as_bytes()]);
        trigger["challenge_hmac"] = match hmac.encoding {
            Encoding::Hex => crate::hash::hex(&mac).into(),
            Encoding::Base64 => STANDARD.encode(mac).into(),
        };
    }
    let scope = super::scope(ctx, trigger);
    let reply = match &handshake.respond {
        Some(answer) => filled(answer, &scope, &challenge)?,
        None => HookReply::Handshake { status: 200, headers: Vec::new(), body: challenge.into() },
    };
    Ok(HookAnswer { run_id: String::new(), first: true, reply })
}

fn filled(answer: &Answer, scope: &Values, challenge: &str) -> Result<HookReply, EngineError> {
    let value = |value: &Value| {
        Document::compile(value, Mode::Value).and_then(|document| document.render_value(scope)).map_err(wrong)
    };
    let status = value(&answer.status)?;
    let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (200..600).contains(status));
    let Some(status) = status else { return Err(wrong("its `status` is no number from 200 to 599")) };
    let mut headers = Vec::new();
    for (name, template) in &answer.headers {
        let text = Template::compile(template, Mode::Line).and_then(|template| template.render_text(scope));
        let text = text.map_err(wrong)?.reveal(|_| None).map_err(wrong)?;
        headers.push((name.clone(), text));
    }
    let body = answer.body.as_ref().map(value).transpose()?;
    Ok(HookReply::Handshake { status, headers, body: body.unwrap_or_else(|| challenge.into()) })
}
