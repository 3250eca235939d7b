//! The links by which a person gives a step its input. A link stands for a run and a step, and is signed with a key of
//! the run's own: it can be made before the step starts, and nobody else can make one. That it is used once, and not
//! for ever, is kept by the step that waits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::event::Start;
use super::path::StepPath;

/// How many bytes of the signature are in a link.
const SIGNATURE: usize = 18;

/// The token of a step's link: `run.path.signature`.
pub fn token_of(run: &str, path: &StepPath, key: &str) -> String {
    let signed = format!("{}.{}", run.replace('-', ""), URL_SAFE_NO_PAD.encode(path.as_str()));
    let signature = URL_SAFE_NO_PAD.encode(&mac(&signed, key).finalize().into_bytes()[..SIGNATURE]);
    format!("{signed}.{signature}")
}

/// The link of a step, in a run that has links.
pub(super) fn link_of(start: &Start, path: &StepPath) -> Option<String> {
    let links = start.links.as_ref()?;
    Some(format!("{}/{}", links.base, token_of(&start.run.id, path, &links.key)))
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
        let path = String::from_utf8(URL_SAFE_NO_PAD.decode(path).ok()?).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok().filter(|bytes| bytes.len() == SIGNATURE)?;
        Some(LinkToken {
            run: run.to_owned(),
            path: StepPath::new(path),
            signed: signed.to_owned(),
            signature,
        })
    }

    /// Whether the run's key has signed it.
    pub fn is_signed_with(&self, key: &str) -> bool {
        mac(&self.signed, key).verify_truncated_left(&self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_run_step_and_key_alone() {
        let (run, path) = ("01a0c450-6fdb-7000-bb32-43f2b2c8db34", StepPath::new("rows[3].approve"));
        let token = token_of(run, &path, "key");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{token}");
        let read = LinkToken::read(&token).unwrap();
        assert_eq!((read.run.as_str(), &read.path), ("01a0c4506fdb7000bb3243f2b2c8db34", &path));
        assert!(read.is_signed_with("key") && !read.is_signed_with("other"));
        let other = token_of(run, &StepPath::new("rows[4].approve"), "key");
        let (_, signature) = token.rsplit_once('.').unwrap();
        let (signed, _) = other.rsplit_once('.').unwrap();
        assert!(!LinkToken::read(&format!("{signed}.{signature}")).unwrap().is_signed_with("key"));
        for wrong in ["", "a", "a.b.c", &token[1..token.len() - 1], &format!("{token}x"), &"x".repeat(10_000)]
        {
            assert!(LinkToken::read(wrong).is_none_or(|token| !token.is_signed_with("key")), "{wrong}");
        }
    }
}
