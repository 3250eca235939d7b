//! The key space: which spaces there are, how a key is laid out, and how values are put into keys so that
//! the order of the bytes is the order of the values.
//!
//! ```text
//! space(1) | shard(2) | workspace(4) | rest        most spaces
//! space(1) | shard(2) | rest                       timers and the ready queue, read across workspaces
//! ```
//!
//! All numbers are big-endian. Ids in `rest` are time-ordered, so new rows of a workspace lie together.
//! Each space has one owner module, which keeps the codec of its keys and values beside the code that uses
//! them; the table of [`Space`] says what each holds. **Never re-use a number**: stored data carry them.
use std::fmt;
use std::ops::Range;

use crate::types::{Key, SHARDS, Shard, WorkspaceId};

macro_rules! spaces {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The first byte of every key: what kind of row it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Space { $($(#[$doc])* $name = $number,)* }

        impl Space {
            /// Every space, in the order of the numbers.
            pub const ALL: &'static [Space] = &[$(Space::$name),*];

            /// The space with this number.
            pub fn from_number(number: u8) -> Option<Space> {
                match number { $($number => Some(Space::$name),)* _ => None }
            }

            /// Its name, as messages show it.
            pub fn name(self) -> &'static str {
                match self { $(Space::$name => $text,)* }
            }
        }
    };
}

spaces! {
    /// Notes about stored data themselves: versions of layouts, marks of migrations. `name: str`.
    Meta = 0x01, "meta";
    /// Workspace 0 only: `kind: u8 | name: str`, workspaces by name, API keys by hash, secrets' names.
    Names = 0x02, "names";
    /// Settings of a workspace, or in workspace 0 of the whole installation. `name: str`.
    Settings = 0x03, "settings";
    /// The log of a workspace. `position: u64`. Written by the owner through [`crate::Tx::append`] only.
    Log = 0x04, "log";
    /// Counters. `name: str | ...`.
    Counters = 0x05, "counters";
    /// Which blobs a workspace's rows name, so that the sweep leaves them. `sha256: 32 | user`.
    BlobRefs = 0x06, "blob-refs";

    /// Objects and their fields. `object`.
    Objects = 0x10, "objects";
    /// Records. `object | record id`.
    Records = 0x11, "records";
    /// Secondary indexes of records. `index | values | record id`.
    RecordIndexes = 0x12, "record-indexes";
    /// Unique keys of records. `unique set | values`, the value is the record's id.
    UniqueKeys = 0x13, "unique-keys";
    /// Saved filters. `view`.
    Views = 0x14, "views";

    /// The head row of a run: status, version, owner; rewritten by every commit of the run. `run id`.
    Runs = 0x20, "runs";
    /// The snapshot of a run's state that its next burst starts from. `run id`.
    RunStates = 0x21, "run-states";
    /// A run's journal: all events of one commit are one value. `run id | commit number`.
    RunEvents = 0x22, "run-events";
    /// Lists of runs: by workflow, by status, by time. `list | ... | run id`.
    RunLists = 0x23, "run-lists";
    /// What waits to be folded into a run: cancels, answers, inputs, fired timers. `run id | ...`.
    Inbox = 0x24, "inbox";
    /// Timers, across the workspaces of a shard: `space | shard | time | workspace | run | ...`.
    Timers = 0x25, "timers";
    /// Runs ready to be driven, across the workspaces of a shard: `space | shard | time | workspace | run`.
    Ready = 0x26, "ready";
    /// Inputs and outputs of steps that lists never load. `run id | ...`.
    Payloads = 0x27, "payloads";
    /// The state that steps keep between runs (`set_state`). `workflow | name`.
    FlowState = 0x28, "flow-state";

    /// Runs that count together (`concurrency`): how many, those under way, those that wait. `workflow | key | ...`.
    Places = 0x29, "places";

    /// How far the log was dispatched to what it starts, and what waits to settle. `kind: u8 | ...`.
    Dispatch = 0x2c, "dispatch";

    /// Actions by name. `name: str`.
    Actions = 0x30, "actions";
    /// Versions of actions. `name: str | version`.
    ActionVersions = 0x31, "action-versions";
    /// Workflows by name. `name: str`.
    Workflows = 0x32, "workflows";
    /// Versions of workflows. `name: str | version`.
    WorkflowVersions = 0x33, "workflow-versions";
    /// Connections by name. `name: str`.
    Connections = 0x34, "connections";
    /// Secrets by name. `name: str`.
    Secrets = 0x35, "secrets";
    /// Schedules by workflow. `name: str`.
    Schedules = 0x36, "schedules";

    /// The path of a webhook to its workflow. `path: str`.
    Hooks = 0x40, "hooks";
    /// Idempotency keys of hooks to the run each started. `path: str | key: str`.
    HookKeys = 0x41, "hook-keys";
    /// What came in at hooks and started no run. `kind: u8 | path: str | delivery id`.
    Deliveries = 0x42, "deliveries";
    /// E-mail that was caught instead of sent. `time | id`.
    Mailbox = 0x43, "mailbox";
}

/// The shard of a workspace, the same on every backend. **Never change this function**: stored keys carry it.
pub fn shard_of(workspace: WorkspaceId) -> Shard {
    // The finaliser of MurmurHash3: each bit of the number moves half of the bits of the result.
    let mut x = workspace.0;
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^= x >> 16;
    Shard((x % u32::from(SHARDS)) as u16)
}

/// The shard in a key, if it is long enough to have one.
pub fn shard_in(key: &[u8]) -> Option<Shard> {
    let bytes: [u8; 2] = key.get(1..3)?.try_into().ok()?;
    Some(Shard(u16::from_be_bytes(bytes)))
}

/// The space of a key, if it is a known one.
pub fn space_in(key: &[u8]) -> Option<Space> {
    Space::from_number(*key.first()?)
}

pub(crate) fn describe(key: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some((&space, rest)) = key.split_first() else { return f.write_str("(empty key)") };
    match Space::from_number(space) {
        Some(space) => f.write_str(space.name())?,
        None => write!(f, "space {space:#04x}")?,
    }
    let Some(shard) = shard_in(key) else { return hex(f, rest) };
    write!(f, "/s{}", shard.0)?;
    let rest = &rest[2..];
    let across = matches!(Space::from_number(space), Some(Space::Timers | Space::Ready));
    match rest.split_first_chunk::<4>() {
        Some((workspace, rest)) if !across => {
            write!(f, "/w{}", u32::from_be_bytes(*workspace))?;
            hex(f, rest)
        }
        _ => hex(f, rest),
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    if !bytes.is_empty() {
        f.write_str("/")?;
    }
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Builds a key part by part. What is put in keeps its order: compare two keys built from the same kinds of
/// parts and you compare the parts, one after the other. [`KeyReader`] takes them apart again.
///
/// ```
/// use stepwell_store::{WorkspaceId, keys::{KeyBuilder, KeyReader, Space}};
/// let key = KeyBuilder::new(Space::Workflows, WorkspaceId(7)).str("web-form").u32(3).build();
/// let mut parts = KeyReader::new(&key).unwrap();
/// assert_eq!((parts.str().unwrap().as_str(), parts.u32().unwrap()), ("web-form", 3));
/// ```
#[derive(Debug, Clone)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    /// `space | shard | workspace`: how the keys of most spaces begin.
    pub fn new(space: Space, workspace: WorkspaceId) -> Self {
        Self::in_shard(space, workspace.shard()).u32(workspace.0)
    }

    /// `space | shard`: how keys begin that are read across the workspaces of a shard.
    pub fn in_shard(space: Space, shard: Shard) -> Self {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(space as u8);
        bytes.extend_from_slice(&shard.0.to_be_bytes());
        Self(bytes)
    }

    /// One byte.
    pub fn u8(mut self, part: u8) -> Self {
        self.0.push(part);
        self
    }

    /// A truth value; false sorts first.
    pub fn bool(self, part: bool) -> Self {
        self.u8(u8::from(part))
    }

    /// An unsigned number.
    pub fn u16(self, part: u16) -> Self {
        self.fixed(&part.to_be_bytes())
    }

    /// An unsigned number.
    pub fn u32(self, part: u32) -> Self {
        self.fixed(&part.to_be_bytes())
    }

    /// An unsigned number.
    pub fn u64(self, part: u64) -> Self {
        self.fixed(&part.to_be_bytes())
    }

    /// A signed number; negative ones sort first.
    pub fn i64(self, part: i64) -> Self {
        self.u64((part as u64) ^ (1 << 63))
    }

    /// A signed number; negative ones sort first.
    pub fn i128(self, part: i128) -> Self {
        self.fixed(&((part as u128) ^ (1 << 127)).to_be_bytes())
    }

    /// A floating-point number in numeric order; -0 is 0, and NaN sorts behind everything.
    pub fn f64(self, part: f64) -> Self {
        let part = if part.is_nan() { f64::NAN.copysign(1.0) } else { part + 0.0 };
        let bits = part.to_bits();
        self.u64(if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) })
    }

    /// Text of any length, in the order of its UTF-8 bytes, followed by a terminator.
    pub fn str(self, part: &str) -> Self {
        self.bytes(part.as_bytes())
    }

    /// Bytes of any length, followed by a terminator: a zero becomes `00 FF`, the end is `00 01`.
    pub fn bytes(mut self, part: &[u8]) -> Self {
        self.escaped(part);
        self.0.extend_from_slice(&[0, 1]);
        self
    }

    /// The beginning of a [`Self::str`], without its terminator: with [`Self::prefix`] the range of all texts
    /// that begin so.
    pub fn str_prefix(mut self, part: &str) -> Self {
        self.escaped(part.as_bytes());
        self
    }

    /// Bytes of a length that is always the same at this place (an id, a hash): no terminator is needed.
    pub fn fixed(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(part);
        self
    }

    fn escaped(&mut self, part: &[u8]) {
        for (n, piece) in part.split(|&byte| byte == 0).enumerate() {
            if n > 0 {
                self.0.extend_from_slice(&[0, 0xff]);
            }
            self.0.extend_from_slice(piece);
        }
    }

    /// How many bytes it has now.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The key.
    pub fn build(self) -> Key {
        self.0.into()
    }

    /// The range of all keys that begin with what was put in.
    pub fn prefix(self) -> Range<Key> {
        let end = crate::types::after_prefix(&self.0);
        self.build()..end.into()
    }

    /// The range from what was put in to the end of all keys that begin with `of`, for reading on from a cursor.
    pub fn until_end_of(self, of: &KeyBuilder) -> Range<Key> {
        self.build()..crate::types::after_prefix(&of.0).into()
    }
}

/// A stored key does not have the parts that its space's codec expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key `{key}` has no {expected} at byte {at}")]
pub struct KeyError {
    key: Key,
    expected: &'static str,
    at: usize,
}

impl From<KeyError> for crate::Refused {
    fn from(error: KeyError) -> Self {
        crate::Refused::Damaged(error.to_string())
    }
}

/// Takes a key apart that [`KeyBuilder`] built.
#[derive(Debug, Clone)]
pub struct KeyReader<'a> {
    key: &'a Key,
    at: usize,
}

impl<'a> KeyReader<'a> {
    /// Begins behind `space | shard | workspace`.
    pub fn new(key: &'a Key) -> Result<Self, KeyError> {
        Self::begin(key, 7)
    }

    /// Begins behind `space | shard`.
    pub fn in_shard(key: &'a Key) -> Result<Self, KeyError> {
        Self::begin(key, 3)
    }

    fn begin(key: &'a Key, header: usize) -> Result<Self, KeyError> {
        let mut reader = Self { key, at: 0 };
        reader.take(header, "header")?;
        Ok(reader)
    }

    fn error(&self, expected: &'static str) -> KeyError {
        KeyError { key: self.key.clone(), expected, at: self.at }
    }

    fn take(&mut self, length: usize, expected: &'static str) -> Result<&'a [u8], KeyError> {
        let part = self.key.get(self.at..self.at + length).ok_or_else(|| self.error(expected))?;
        self.at += length;
        Ok(part)
    }

    /// Bytes whose length is always the same at this place.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let part = self.take(N, "part of fixed length")?;
        Ok(*part.first_chunk().expect("`take` gave N bytes"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, KeyError> {
        Ok(self.fixed::<1>()?[0])
    }

    /// A truth value.
    pub fn bool(&mut self) -> Result<bool, KeyError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("truth value")),
        }
    }

    /// An unsigned number.
    pub fn u16(&mut self) -> Result<u16, KeyError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// An unsigned number.
    pub fn u32(&mut self) -> Result<u32, KeyError> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// An unsigned number.
    pub fn u64(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_be_bytes(self.fixed()?))
    }

    /// A signed number.
    pub fn i64(&mut self) -> Result<i64, KeyError> {
        Ok((self.u64()? ^ (1 << 63)) as i64)
    }

    /// A signed number.
    pub fn i128(&mut self) -> Result<i128, KeyError> {
        Ok((u128::from_be_bytes(self.fixed()?) ^ (1 << 127)) as i128)
    }

    /// A floating-point number.
    pub fn f64(&mut self) -> Result<f64, KeyError> {
        let bits = self.u64()?;
        Ok(f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits }))
    }

    /// Text, up to its terminator.
    pub fn str(&mut self) -> Result<String, KeyError> {
        let start = self.at;
        String::from_utf8(self.bytes()?).map_err(|_| KeyError { at: start, ..self.error("text") })
    }

    /// Bytes, up to their terminator.
    pub fn bytes(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut part = Vec::new();
        loop {
            match self.u8().map_err(|_| self.error("end of text"))? {
                0 => match self.u8()? {
                    1 => return Ok(part),
                    0xff => part.push(0),
                    _ => return Err(self.error("end of text")),
                },
                byte => part.push(byte),
            }
        }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.key[self.at..]
    }
}

/// The workspace in a key of a space that has one there (all but timers and the ready queue).
pub fn workspace_in(key: &[u8]) -> Option<WorkspaceId> {
    let bytes: [u8; 4] = key.get(3..7)?.try_into().ok()?;
    Some(WorkspaceId(u32::from_be_bytes(bytes)))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
