//! Cursors: where a page ended, opaque to whoever carries it, and good for one query only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::Problem;
use crate::filter::Filter;
use crate::schema::Object;

const FORMAT: u8 = 1;
const FINGERPRINT: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Of the last record that was given, by [`super::sort::Order::position`].
    pub position: Vec<u8>,
    pub total: u64,
    pub total_is_exact: bool,
}

/// What a query is, apart from its page.
pub(super) fn fingerprint(
    object: &Object,
    filter: Option<&Filter>,
    sort: &[String],
    deleted: bool,
) -> [u8; FINGERPRINT] {
    let query = json!([object.id.0, filter.map(Filter::to_json), sort, deleted]);
    let hash = Sha256::digest(query.to_string());
    let mut fingerprint = [0; FINGERPRINT];
    fingerprint.copy_from_slice(&hash[..FINGERPRINT]);
    fingerprint
}

impl Cursor {
    pub fn to_text(&self, fingerprint: &[u8; FINGERPRINT]) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend(fingerprint);
        bytes.push(u8::from(self.total_is_exact));
        bytes.extend((self.total as u32).to_be_bytes());
        bytes.extend(&self.position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn parse(text: &str, fingerprint: &[u8; FINGERPRINT]) -> Result<Cursor, Problem> {
        let wrong = |message: &str| {
            Err(Problem::new("cursor", message)
                .hint("take `next_cursor` of the page before, with the same filter and sort"))
        };
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) else {
            return wrong("this is no cursor");
        };
        let Some((head, position)) = bytes.split_at_checked(1 + FINGERPRINT + 1 + 4) else {
            return wrong("this is no cursor");
        };
        if head[0] != FORMAT || position.len() < 16 {
            return wrong("this is no cursor");
        }
        if head[1..=FINGERPRINT] != fingerprint[..] {
            return wrong("this cursor belongs to another search");
        }
        let total = head[FINGERPRINT + 2..].iter().fold(0, |total, byte| total << 8 | u64::from(*byte));
        let total_is_exact = head[FINGERPRINT + 1] == 1;
        Ok(Cursor { position: position.to_vec(), total, total_is_exact })
    }
}
