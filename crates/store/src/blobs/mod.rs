//! Blobs: what is too large for a row (a payload over 32 KB, every module), named by the SHA-256 of its bytes.
//!
//! A blob is put, durably, *before* the transaction that names it; one that no row names is swept an hour later.
//! So whoever names a blob either puts it first, even if it is known to exist, or rests on a row that names it.
mod file;
mod memory;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

pub(crate) use file::sync_folder;

pub use file::FileBlobs;
pub use memory::MemoryBlobs;

use crate::types::Refused;

/// The largest blob.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// How long a blob is left alone before a sweep asks whether a row names it.
pub const UNNAMED_AGE: Duration = Duration::from_secs(3600);

/// The name of a blob: the SHA-256 of its bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

impl BlobId {
    /// The name that these bytes have.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

/// A text is not the name of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a blob is named by 64 lower-case hexadecimal digits, not by {0:?}")]
pub struct NotABlobId(String);

impl FromStr for BlobId {
    type Err = NotABlobId;

    fn from_str(text: &str) -> Result<Self, NotABlobId> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let parse = || {
            let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
            let bytes: Option<Vec<u8>> =
                pairs.iter().map(|&[a, b]| Some(digit(a)? << 4 | digit(b)?)).collect();
            bytes?.try_into().ok().map(BlobId)
        };
        parse().ok_or_else(|| NotABlobId(text.chars().take(80).collect()))
    }
}

impl serde::Serialize for BlobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for BlobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Answers whether a row names a blob.
pub type IsNamed<'a> = dyn Fn(BlobId) -> BoxFuture<'a, Result<bool, Refused>> + Send + Sync + 'a;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many blobs it removed.
    pub blobs: u64,
    /// How many bytes they held.
    pub bytes: u64,
    /// How many blobs are left.
    pub kept: u64,
}

/// A place for blobs.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Keeps these bytes; durable when it answers. Putting them again is cheap and makes them new for the sweep.
    async fn put(&self, bytes: Bytes) -> Result<BlobId, Refused>;

    /// The bytes of a blob, checked against its name.
    async fn get(&self, id: BlobId) -> Result<Option<Bytes>, Refused>;

    /// The size of a blob, without reading it.
    async fn size(&self, id: BlobId) -> Result<Option<u64>, Refused>;

    /// Whether blobs can be put now, found out by trying.
    async fn probe(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// Removes the blobs that were last put longer ago than `age` (usually [`UNNAMED_AGE`]) and that nothing names.
    async fn sweep(&self, age: Duration, is_named: &IsNamed<'_>) -> Result<Swept, Refused>;
}

fn check_size(bytes: &[u8]) -> Result<(), Refused> {
    if bytes.len() <= MAX_BLOB_BYTES {
        return Ok(());
    }
    Err(Refused::TooBig(format!("a blob of {} bytes, at most {MAX_BLOB_BYTES}", bytes.len())))
}

fn checked(id: BlobId, bytes: Bytes) -> Result<Bytes, Refused> {
    if BlobId::of(&bytes) == id {
        return Ok(bytes);
    }
    Err(Refused::Damaged(format!("the blob {id} does not hold the bytes that its name says")))
}

#[cfg(test)]
mod tests;
