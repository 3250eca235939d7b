//! The trigger `webhook`: who may call it, how repeats are told, and the handshake.

use super::bounds::Type;
use super::checker::Checker;
use super::scope::Place;
use super::steps::open;
use super::types::Ty;
use crate::expr::Mode;
use crate::model::{Auth, Handshake, Hmac, Webhook};

/// What templates see of a request; in a handshake more than elsewhere.
pub(super) fn trigger(body: Ty, more: &[&'static str]) -> Ty {
    let mut fields = vec![
        ("type", Ty::Text),
        ("method", Ty::Text),
        ("path", Ty::Text),
        ("headers", open(Ty::Text)),
        ("query", open(Ty::Any)),
        ("body", body),
    ];
    fields.extend(more.iter().map(|name| (*name, Ty::Text)));
    Ty::object("a webhook's trigger", fields)
}

impl<'w> Checker<'w> {
    pub(super) fn webhook(&mut self, webhook: &'w Webhook) {
        self.path.key("trigger");
        self.place = Place::Trigger;
        if let Some(key) = &webhook.idempotency_key {
            self.under("idempotency_key", |me| me.template(key, Mode::Line));
        }
        if let Some(handshake) = &webhook.handshake {
            self.under("handshake", |me| me.handshake(handshake, &webhook.auth));
        }
        if let Auth::Hmac(hmac) = &webhook.auth {
            self.under("auth", |me| me.under("hmac", |me| me.hmac(hmac)));
        }
        self.place = Place::Steps;
        self.path.pop();
    }

    fn hmac(&mut self, hmac: &'w Hmac) {
        self.place = Place::Secret;
        self.under("secret", |me| {
            for (index, secret) in hmac.secrets.iter().enumerate() {
                me.path.index(index);
                me.secret(secret);
                me.path.pop();
            }
        });
        if !hmac.scheme.has_time() && self.node().get("tolerance").is_some() {
            let message = format!("`{}` signs no time, so there is nothing to tolerate", hmac.scheme.name());
            self.under("tolerance", |me| {
                me.tell_key("misplaced", message)
                    .set_hint("leave `tolerance` out, and tell repeats by an `idempotency_key`");
            });
        }
    }

    /// The body of a handshake need not fit the schema of the others.
    fn handshake(&mut self, handshake: &'w Handshake, auth: &Auth) {
        let whole = std::mem::replace(&mut self.trigger, Type::from(trigger(Ty::Any, &[])));
        self.under("challenge", |me| {
            me.template(&handshake.challenge, Mode::Value);
            if !handshake.challenge.contains("{{") {
                me.tell("invalid_value", "a challenge stands somewhere in the request")
                    .set_hint("such as \"{{ trigger.query.challenge }}\"");
            }
        });
        if let Some(hmac) = &handshake.hmac {
            self.place = Place::Secret;
            self.under("hmac", |me| me.under("secret", |me| me.secret(&hmac.secret)));
            self.place = Place::Trigger;
            // Whoever gets any text signed can sign requests.
            if !matches!(auth, Auth::Hmac(_)) {
                self.under("hmac", |me| {
                    me.tell_key("misplaced", "the challenge would be signed for anybody who asks")
                        .set_hint("add `auth: { hmac: … }`, so that only signed requests are answered so");
                });
            }
        }
        let more: &[&'static str] =
            if handshake.hmac.is_some() { &["challenge", "challenge_hmac"] } else { &["challenge"] };
        self.trigger = Type::from(trigger(Ty::Any, more));
        if let Some(answer) = &handshake.respond {
            self.under("respond", |me| me.answer(answer));
        }
        self.trigger = whole;
    }
}
