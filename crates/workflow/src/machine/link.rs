//! The links by which a person gives a step its input. A link stands for a run and a step, and is signed with a key of
//! the run's own: it can be made before the step starts, and nobody else can make one. That it is used once, and not
//! for ever, is kept by the step that waits; of the steps of `on_failure`, which are forgotten when the run is retried,
//! a link stands for one round.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::event::Start;
use super::path::StepPath;
use super::state::State;

/// How many bytes of the signature are in a link.
const SIGNATURE: usize = 18;

/// Between a path and its round: no id has it.
const ROUND: char = '#';

/// The token of a step's link: `run.path.signature`.
pub fn token_of(run: &str, path: &StepPath, round: u32, key: &str) -> String {
    let step = match round {
        0 => path.to_string(),
        _ => format!("{path}{ROUND}{round}"),
    };
    let signed = format!("{}.{}", run.replace('-', ""), URL_SAFE_NO_PAD.encode(step));
    let signature = URL_SAFE_NO_PAD.encode(&mac(&signed, key).finalize().into_bytes()[..SIGNATURE]);
    format!("{signed}.{signature}")
}

/// The link of a step, in a run that has links.
pub(super) fn link_of(start: &Start, path: &StepPath, round: u32) -> Option<String> {
    let links = start.links.as_ref()?;
    Some(format!("{}/{}", links.base, token_of(&start.run.id, path, round, &links.key)))
}

impl State {
    /// The round that a step's links are good for: every failure of the run is told anew, and what was answered then
    /// is no answer now.
    pub fn link_round(&self, path: &StepPath) -> u32 {
        if path.is_on_failure() { self.retries } else { 0 }
    }
}

fn mac(signed: &str, key: &str) -> Hmac<Sha256> {
    // Every key fits.
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(b"input:");
    mac.update(signed.as_bytes());
    mac
}

/// A token as it came, not held against a key yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkToken {
    /// The run's id, without hyphens.
    pub run: String,
    pub path: StepPath,
    /// See [`State::link_round`].
    pub round: u32,
    signed: String,
    signature: Vec<u8>,
}

impl LinkToken {
    /// Nothing when it is no token.
    pub fn read(token: &str) -> Option<LinkToken> {
        /// Paths are made of ids, which are short.
        const LONGEST: usize = 8 << 10;
        let (signed, signature) = token.rsplit_once('.').filter(|_| token.len() <= LONGEST)?;
        let (run, path) = signed.split_once('.')?;
        let step = String::from_utf8(URL_SAFE_NO_PAD.decode(path).ok()?).ok()?;
        let (path, round) = match step.split_once(ROUND) {
            Some((path, round)) => (path, round.parse().ok()?),
            None => (step.as_str(), 0),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).ok().filter(|bytes| bytes.len() == SIGNATURE)?;
        Some(LinkToken {
            run: run.to_owned(),
            path: StepPath::new(path),
            round,
            signed: signed.to_owned(),
            signature,
        })
    }

    /// Whether the run's key has signed it.
    pub fn is_signed_with(&self, key: &str) -> bool {
        mac(&self.signed, key).verify_truncated_left(&self.signature).is_ok()
    }
}

/// What stands where a link's signature was, for those who may not answer.
const HIDDEN: &str = "***";
/// Characters of a signature, and of a run's id.
const SIGNATURE_CHARS: usize = SIGNATURE / 3 * 4;
const RUN_CHARS: usize = 32;

/// Takes the signatures out of all links in a value, wherever they stand and whichever run they are of. False when
/// there was none.
pub fn hide_links(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match without_signatures(text) {
            Some(without) => {
                *text = without;
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |found, item| hide_links(item) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, field| hide_links(field) | found),
        _ => false,
    }
}

fn without_signatures(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_coded = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let mut out = String::new();
    let (mut copied, mut from) = (0, RUN_CHARS);
    while let Some(dot) = bytes.get(from..).and_then(|rest| rest.iter().position(|b| *b == b'.')) {
        let dot = from + dot;
        from = dot + 1;
        if !bytes[dot - RUN_CHARS..dot].iter().all(u8::is_ascii_hexdigit) {
            continue;
        }
        let path = bytes[from..].iter().take_while(|b| is_coded(b)).count();
        let signature = from + path + 1;
        let end = signature + SIGNATURE_CHARS;
        let is_signed = path > 0
            && bytes.get(signature - 1) == Some(&b'.')
            && bytes.get(signature..end).is_some_and(|chars| chars.iter().all(is_coded));
        if is_signed {
            // All that is looked at is ASCII, so these are whole characters.
            out.push_str(&text[copied..signature]);
            out.push_str(HIDDEN);
            (copied, from) = (end, end);
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_link_is_shown_without_its_signature() {
        let run = "01a0c450-6fdb-7000-bb32-43f2b2c8db34";
        let token = token_of(run, &StepPath::new("rows[3].approve"), 2, "key");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut value = json!({"a": [format!("ä https://x.example/inputs/default/{token}."), 7, {"b": &token}],
            "c": format!("{token}{token}é"), "d": signed});
        assert!(hide_links(&mut value));
        let hidden = format!("{signed}.***");
        assert_eq!(
            value,
            json!({"a": [format!("ä https://x.example/inputs/default/{hidden}."), 7, {"b": &hidden}],
            "c": format!("{hidden}{hidden}é"), "d": signed})
        );
        assert!(!value.to_string().contains(signature));
        assert!(!hide_links(&mut value), "what is hidden is no link");
        let other = format!("{}.x.{}", &run.replace('-', "")[1..], signature);
        for text in ["", ".", "a.b.c", &".".repeat(100), &"0".repeat(40), &other, &token[..token.len() - 1]] {
            assert!(!hide_links(&mut json!(text)), "{text}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_run_step_and_key_alone() {
        let (run, path) = ("01a0c450-6fdb-7000-bb32-43f2b2c8db34", StepPath::new("rows[3].approve"));
        let token = token_of(run, &path, 0, "key");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{token}");
        let read = LinkToken::read(&token).unwrap();
        assert_eq!(
            (read.run.as_str(), &read.path, read.round),
            ("01a0c4506fdb7000bb3243f2b2c8db34", &path, 0)
        );
        assert!(read.is_signed_with("key") && !read.is_signed_with("other"));
        let later = token_of(run, &path, 12, "key");
        let read = LinkToken::read(&later).unwrap();
        assert!((&read.path, read.round) == (&path, 12) && read.is_signed_with("key"));
        let (_, signature) = token.rsplit_once('.').unwrap();
        for other in [token_of(run, &StepPath::new("rows[4].approve"), 0, "key"), later] {
            let (signed, _) = other.rsplit_once('.').unwrap();
            assert!(!LinkToken::read(&format!("{signed}.{signature}")).unwrap().is_signed_with("key"));
        }
        for wrong in ["", "a", "a.b.c", &token[1..token.len() - 1], &format!("{token}x"), &"x".repeat(10_000)]
        {
            assert!(LinkToken::read(wrong).is_none_or(|token| !token.is_signed_with("key")), "{wrong}");
        }
    }
}
