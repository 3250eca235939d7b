//! Encryption of one text: AES-256-GCM with a random nonce, bound to the place it is stored at.
use crate::ports::Random;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use stepwell_store::WorkspaceId;
use zeroize::Zeroizing;

/// How a sealed text is written; part of what is authenticated, so that no other way can be passed off as this one.
pub(crate) const FORMAT: u8 = 1;

/// What seals and opens. Its `Debug` says nothing of the key.
pub(crate) struct Sealer(LessSafeKey);

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?)))
    }

    /// Nonce, ciphertext and tag, as base64. A nonce is random: with fewer than 2³² texts under a key none comes twice.
    pub(crate) fn seal(
        &self,
        random: &dyn Random,
        workspace: WorkspaceId,
        name: &str,
        text: &str,
    ) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut bytes = Zeroizing::new(text.as_bytes().to_vec());
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                bound_to(workspace, name),
                &mut bytes,
            )
            .ok()?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&bytes);
        sealed.extend_from_slice(tag.as_ref());
        Some(STANDARD.encode(sealed))
    }

    /// `None` when it was sealed under another key, for another place, or was changed since.
    pub(crate) fn open(&self, workspace: WorkspaceId, name: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let sealed = STANDARD.decode(sealed).ok()?;
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.0.open_in_place(nonce, bound_to(workspace, name), &mut bytes).ok()?;
        Some(Zeroizing::new(std::str::from_utf8(text).ok()?.to_owned()))
    }
}

fn bound_to(workspace: WorkspaceId, name: &str) -> Aad<Vec<u8>> {
    let mut place = b"stepwell secret".to_vec();
    place.push(FORMAT);
    place.extend_from_slice(&workspace.0.to_be_bytes());
    place.extend_from_slice(name.as_bytes());
    Aad::from(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SystemRandom;

    #[test]
    fn a_text_opens_only_under_its_key_and_at_its_place() {
        let random = SystemRandom::default();
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let (one, two) = (WorkspaceId(1), WorkspaceId(2));
        let sealed = sealer.seal(&random, one, "CRM_KEY", "hunter2").unwrap();
        assert_eq!(sealer.open(one, "CRM_KEY", &sealed).unwrap().as_str(), "hunter2");
        assert_ne!(sealed, sealer.seal(&random, one, "CRM_KEY", "hunter2").unwrap(), "nonces differ");
        assert!(sealer.open(two, "CRM_KEY", &sealed).is_none(), "moved to another workspace");
        assert!(sealer.open(one, "OTHER", &sealed).is_none(), "moved to another name");
        assert!(Sealer::new(&[8; 32]).unwrap().open(one, "CRM_KEY", &sealed).is_none());
        let mut bytes = STANDARD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(sealer.open(one, "CRM_KEY", &STANDARD.encode(&bytes)).is_none(), "byte {at} was changed");
            bytes[at] ^= 1;
        }
        for short in ["", "AAAA", "not base64"] {
            assert!(sealer.open(one, "CRM_KEY", short).is_none());
        }
    }
}
