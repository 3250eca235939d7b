//! The words of the store: keys, values, stamps, what is read, what is committed, and how either is refused.
use std::borrow::Borrow;
use std::fmt;
use std::ops::{Deref, Range};

use bytes::Bytes;

/// How many shards there are, on every backend and for ever.
pub const SHARDS: u16 = 1024;

/// A part of the key space with one owner: `0..1024`, a hash of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

/// A workspace's number. [`WorkspaceId::NAMES`] (0) holds names, key hashes and settings of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct WorkspaceId(pub u32);

impl WorkspaceId {
    /// The workspace that holds what belongs to none: names of workspaces, API keys, settings.
    pub const NAMES: Self = Self(0);

    /// The shard that this workspace lives in.
    pub fn shard(self) -> Shard {
        crate::keys::shard_of(self)
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The log of a workspace: what happened in it, in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log(pub WorkspaceId);

impl Log {
    /// The shard that this log lives in: its workspace's.
    pub fn shard(self) -> Shard {
        self.0.shard()
    }
}

/// A key. Cloning it copies no bytes. Build one with [`crate::keys::KeyBuilder`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Bytes);

impl Key {
    /// The smallest key that is greater than this one.
    pub fn successor(&self) -> Key {
        self.only().end
    }

    /// The range that holds this key and no other.
    pub fn only(&self) -> Range<Key> {
        // One buffer serves both ends: the key, and the key with a zero behind it.
        let mut buffer = Vec::with_capacity(self.len() + 1);
        buffer.extend_from_slice(self);
        buffer.push(0);
        let end = Bytes::from(buffer);
        Key(end.slice(..self.len()))..Key(end)
    }

    /// The range of all keys that begin with this one, itself included.
    pub fn prefix(&self) -> Range<Key> {
        self.clone()..Key(after_prefix(self).into())
    }

    /// The bytes, without copying them.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// The smallest byte string above everything that begins with `prefix`; keys never begin with 255, so it exists.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; 2]
}

impl Deref for Key {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Key(bytes.into())
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Key(bytes)
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Key(Bytes::copy_from_slice(bytes))
    }
}

/// `records/s17/w3/0a1b2c`: the space's name, the shard, the workspace, and the rest in hexadecimal.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::keys::describe(self, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::keys::describe(self, f)
    }
}

/// A value: bytes whose meaning is the caller's. Cloning it copies nothing.
pub type Value = Bytes;

/// A row as it is read: its key and its value.
pub type Row = (Key, Value);

/// A point in the commits of a shard's owner. Opaque: compare nothing, store nothing, only hand it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Which incarnation of the owner gave it; stamps of an earlier one always conflict.
    pub term: u64,
    /// The last commit that reads after it are certain to see.
    pub seq: u64,
}

/// One thing to read.
#[derive(Debug, Clone)]
pub enum Want {
    /// The row of this key: no rows or one.
    Key(Key),
    /// At most `limit` rows of a range, in ascending order of keys or, `backwards`, in descending order.
    Range {
        /// The keys to read, the end left out.
        keys: Range<Key>,
        /// How many rows at most; [`usize::MAX`] for all.
        limit: usize,
        /// From the end of the range to its start.
        backwards: bool,
    },
}

impl Want {
    /// All rows of `keys` in ascending order, at most `limit` of them.
    pub fn range(keys: Range<Key>, limit: usize) -> Want {
        Want::Range { keys, limit, backwards: false }
    }
}

/// What was read.
#[derive(Debug, Clone)]
pub struct View {
    /// For each [`Want`], in the order asked, its rows.
    pub rows: Vec<Vec<Row>>,
    /// Taken before the first row was read. Not a snapshot: rows may be newer than this, never older.
    pub at: Stamp,
}

/// What is to be written, and what that rests on. [`crate::Txn`] builds one.
#[derive(Debug, Clone)]
pub struct Tx {
    /// The shard that every key and every log of this transaction lives in.
    pub home: Shard,
    /// Ranges that must be unwritten since their own stamp.
    pub rests_on: Vec<(Range<Key>, Stamp)>,
    /// What is written; `None` deletes; a key at most once.
    pub writes: Vec<(Key, Option<Value>)>,
    /// Rows for logs; each gets its log's next position, in commit order.
    pub append: Vec<(Log, Value)>,
}

/// Why a read or a commit was refused. Each one means: nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another transaction wrote what this one rests on. Trying again from the first read is right.
    #[error("another transaction wrote `{key}` at the same time")]
    Conflict {
        /// The key that was lost: what a retry stands in line for.
        key: Key,
    },
    /// Another node owns this shard.
    #[error("shard {} is owned by another node", .0.0)]
    NotOwner(Shard),
    /// The transaction, a key or a value is over a limit of [`crate::limits`].
    #[error("too big for one transaction: {0}")]
    TooBig(String),
    /// The request breaks a rule of the interface: a mistake in the program that made it.
    #[error("invalid store request: {0}")]
    Invalid(String),
    /// The disk is full, or free space is under the configured floor. Reading still works.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The backend cannot serve now. Trying again later may work.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What was read is not what was written: a bad checksum, a missing part, an unknown format.
    #[error("damaged data: {0}")]
    Damaged(String),
}

impl Refused {
    /// Whether it was a conflict, so that the same work done again may succeed at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Refused::Conflict { .. })
    }
}
