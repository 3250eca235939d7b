//! How rows lie in sled's one tree, and how they are read.
//!
//! ```text
//! key                         1 | crc32 | value                  a value of at most 4 KB
//! key                         2 | crc32 | length(4)              a larger one; its checksum covers all of it
//! key with space|0x80, n(2)   3 | crc32 | piece n                a piece of a larger one
//! key                         4 | crc32 | packed value           a value of which packing leaves at most 4 KB
//! key                         5 | crc32 | length(4)              one of which it leaves more; its packed bytes in pieces
//! 00                          1 | crc32 | sequence number(8)     the last commit that is here
//! ff, ff key                  1 | crc32 | …                      which keys have pieces: see `pieces.rs`
//! ```
//!
//! The first byte is the format; checksums cover the key too, so that a value under a wrong key shows, and the bytes as
//! they are written. How a value is packed: `packed.rs`.
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::packed::{Stored, unpack};
use super::pieces::{Held, MARK, Pieces};
use super::recent::Recent;
use super::threads;
use crate::limits::{CHUNK_BYTES, MAX_VALUE_BYTES};
use crate::types::{Key, Refused, Row, Value, Want};

const WHOLE: u8 = 1;
const HEAD: u8 = 2;
const PIECE: u8 = 3;
const PACKED: u8 = 4;
const PACKED_HEAD: u8 = 5;
const HEADER: usize = 5;
/// Rule 5: no row of sled's is larger.
const MAX_ROW_BYTES: usize = 4096;
const _: () = assert!(CHUNK_BYTES + HEADER <= MAX_ROW_BYTES);
/// Set in the first byte of a piece's key. Spaces have numbers below it.
pub(super) const PIECE_SPACE: u8 = 0x80;
/// Below every space.
const LAST_SEQ: [u8; 1] = [0];

/// Writes rows as they lie in sled.
pub(super) struct Sink<'t> {
    tree: &'t sled::Tree,
    ops: usize,
    /// How many deletions of pieces may come with what is written.
    room: usize,
    /// The row being written, so that not each one allocates.
    row: Vec<u8>,
}

impl<'t> Sink<'t> {
    /// `room`: how many pieces that nothing leads to any more are deleted at once; the others are put off.
    pub(super) fn new(tree: &'t sled::Tree, room: usize) -> Self {
        threads::check();
        Self { tree, ops: 0, room, row: Vec::new() }
    }

    pub(super) fn ops(&self) -> usize {
        self.ops
    }

    /// Writes a value, or deletes it, with what is left of the pieces of the value before.
    pub(super) fn write(
        &mut self,
        key: &Key,
        value: Option<&Stored>,
        pieces: &mut Pieces,
    ) -> Result<(), sled::Error> {
        let was = pieces.of(key);
        let live = match value {
            Some(Stored { bytes, .. }) if bytes.len() > CHUNK_BYTES => {
                bytes.len().div_ceil(CHUNK_BYTES) as u16
            }
            _ => 0,
        };
        let mut held = Held { on_disk: was.on_disk.max(live), live };
        if held.on_disk > was.on_disk {
            // Noted before they are there: a crash in between may leave a note of pieces that are not there, and no pieces
            // without a note.
            self.mark(key, held, pieces)?;
        }
        match value {
            Some(value) if live > 0 => self.write_pieces(key, value)?,
            Some(Stored { packed, bytes }) => {
                self.insert(key, if *packed { PACKED } else { WHOLE }, bytes)?
            }
            None => self.remove(key)?,
        }
        if held.on_disk > was.on_disk || held == was {
            return Ok(());
        }
        let stale = usize::from(held.on_disk - live);
        if stale <= self.room {
            self.room -= stale;
            self.remove_pieces(key, live..held.on_disk)?;
            held.on_disk = live;
        } else {
            pieces.put_off(key.clone());
        }
        self.mark(key, held, pieces)
    }

    /// Deletes pieces that nothing leads to any more, about so many.
    pub(super) fn clean(&mut self, pieces: &mut Pieces, most: usize) -> Result<(), sled::Error> {
        let until = self.ops + most;
        while self.ops < until
            && let Some(key) = pieces.next_stale()
        {
            // Its value may have become larger again meanwhile.
            let Some(Held { on_disk, live }) = pieces.too_much(&key) else { continue };
            let from = on_disk.saturating_sub(u16::try_from(until - self.ops).unwrap_or(u16::MAX)).max(live);
            if from >= on_disk {
                continue;
            }
            self.remove_pieces(&key, from..on_disk)?;
            self.mark(&key, Held { on_disk: from, live }, pieces)?;
            if from > live {
                pieces.put_off(key);
            }
        }
        Ok(())
    }

    fn remove_pieces(&mut self, key: &Key, pieces: Range<u16>) -> Result<(), sled::Error> {
        for n in pieces {
            self.remove(&piece_key(key, n))?;
        }
        Ok(())
    }

    /// Notes how many pieces a key has: before more are written, and when those that it has no more are gone.
    pub(super) fn mark(&mut self, key: &Key, held: Held, pieces: &mut Pieces) -> Result<(), sled::Error> {
        pieces.set(key, held);
        let mark = mark_key(key);
        match held.on_disk {
            0 => self.remove(&mark),
            on_disk => {
                let [a, b] = on_disk.to_be_bytes();
                let [c, d] = held.live.to_be_bytes();
                self.insert(&mark, WHOLE, &[a, b, c, d])
            }
        }
    }

    /// Says that every key that has pieces is marked.
    pub(super) fn all_marked(&mut self) -> Result<(), sled::Error> {
        self.insert(&[MARK], WHOLE, &[])
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), sled::Error> {
        self.ops += 1;
        self.tree.remove(key).map(|_| ())
    }

    fn write_pieces(&mut self, key: &Key, value: &Stored) -> Result<(), sled::Error> {
        for (n, piece) in (0..).zip(value.bytes.chunks(CHUNK_BYTES)) {
            self.insert(&piece_key(key, n), PIECE, piece)?;
        }
        let mut head = [0; HEADER + 4];
        head[0] = if value.packed { PACKED_HEAD } else { HEAD };
        head[1..HEADER].copy_from_slice(&checksum(key, &value.bytes).to_be_bytes());
        head[HEADER..].copy_from_slice(&(value.bytes.len() as u32).to_be_bytes());
        self.put(key, &head)
    }

    fn insert(&mut self, key: &[u8], format: u8, payload: &[u8]) -> Result<(), sled::Error> {
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        row.push(format);
        row.put_u32(checksum(key, payload));
        row.extend_from_slice(payload);
        let put = self.put(key, &row);
        self.row = row;
        put
    }

    fn put(&mut self, key: &[u8], row: &[u8]) -> Result<(), sled::Error> {
        assert!(row.len() <= MAX_ROW_BYTES, "rule 5: a row of sled's has at most 4 KB");
        self.ops += 1;
        self.tree.insert(key, row).map(|_| ())
    }

    /// The number of the last commit of all that was written: the last row.
    pub(super) fn last_seq(&mut self, last_seq: u64) -> Result<(), sled::Error> {
        self.insert(&LAST_SEQ, WHOLE, &last_seq.to_be_bytes())
    }
}

fn piece_key(key: &[u8], n: u16) -> Vec<u8> {
    let mut piece = Vec::with_capacity(key.len() + 2);
    piece.extend_from_slice(key);
    if let Some(space) = piece.first_mut() {
        *space |= PIECE_SPACE;
    }
    piece.extend_from_slice(&n.to_be_bytes());
    piece
}

fn mark_key(key: &[u8]) -> Vec<u8> {
    let mut mark = Vec::with_capacity(1 + key.len());
    mark.push(MARK);
    mark.extend_from_slice(key);
    mark
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

/// Whatever sled reports, as the interface does.
pub(super) fn refused(error: &sled::Error) -> Refused {
    match error {
        sled::Error::Corruption { .. } => Refused::Damaged(error.to_string()),
        _ => Refused::Unavailable(error.to_string()),
    }
}

fn damaged(key: &[u8], what: &str) -> Refused {
    Refused::Damaged(format!("the row `{}` {what}", Key::from(key)))
}

/// How many pieces the value of a key has.
fn live_pieces(tree: &sled::Tree, key: &Key) -> Result<u16, Refused> {
    match tree.get(&key[..]).map_err(|error| refused(&error))? {
        Some(row) if matches!(row.first(), Some(&(HEAD | PACKED_HEAD))) => {
            let length = row.get(HEADER..).and_then(|length| length.first_chunk::<4>());
            let length = length.ok_or_else(|| damaged(key, "is cut short"))?;
            Ok((u32::from_be_bytes(*length) as usize).min(MAX_VALUE_BYTES).div_ceil(CHUNK_BYTES) as u16)
        }
        _ => Ok(0),
    }
}

/// Whether there is such a row.
pub(super) fn has(tree: &sled::Tree, key: &[u8]) -> Result<bool, Refused> {
    tree.contains_key(key).map_err(|error| refused(&error))
}

/// Calls `each` with every marked key and what is known of its pieces.
pub(super) fn each_mark(tree: &sled::Tree, mut each: impl FnMut(Key, Held)) -> Result<(), Refused> {
    for row in tree.range(&[MARK, 0][..]..) {
        let (mark, row) = row.map_err(|error| refused(&error))?;
        let value = value_of(tree, &mark, &row)?;
        let Ok([a, b, c, d]) = <[u8; 4]>::try_from(&value[..]) else {
            return Err(damaged(&mark, "does not tell pieces"));
        };
        let held = Held { on_disk: u16::from_be_bytes([a, b]), live: u16::from_be_bytes([c, d]) };
        each(Key::from(&mark[1..]), held);
    }
    Ok(())
}

/// Every key of which there are pieces, found by looking at all of these.
pub(super) fn all_in_pieces(tree: &sled::Tree) -> Result<BTreeMap<Key, Held>, Refused> {
    let mut found: BTreeMap<Key, Held> = BTreeMap::new();
    for piece in tree.range(&[PIECE_SPACE][..]..&[MARK][..]).keys() {
        let piece = piece.map_err(|error| refused(&error))?;
        let Some((key, n)) = piece.split_last_chunk::<2>().filter(|(key, _)| !key.is_empty()) else {
            return Err(damaged(&piece, "is no piece"));
        };
        let mut key = key.to_vec();
        key[0] &= !PIECE_SPACE;
        let held = found.entry(key.into()).or_default();
        held.on_disk = held.on_disk.max(u16::from_be_bytes(*n).saturating_add(1));
    }
    for (key, held) in &mut found {
        held.live = live_pieces(tree, key)?.min(held.on_disk);
    }
    Ok(found)
}

/// The number of the last commit; 0 in a new folder.
pub(super) fn last_seq(tree: &sled::Tree) -> Result<u64, Refused> {
    match tree.get(LAST_SEQ).map_err(|error| refused(&error))? {
        Some(row) => {
            let value = value_of(tree, &LAST_SEQ, &row)?;
            let bytes = value[..].try_into().map_err(|_| damaged(&LAST_SEQ, "is no sequence number"))?;
            Ok(u64::from_be_bytes(bytes))
        }
        None => Ok(0),
    }
}

fn value_of(tree: &sled::Tree, key: &[u8], row: &[u8]) -> Result<Value, Refused> {
    let Some((header, payload)) = row.split_first_chunk::<HEADER>() else {
        return Err(damaged(key, "is cut short"));
    };
    let [format, sum @ ..] = *header;
    let sum = u32::from_be_bytes(sum);
    match format {
        WHOLE if checksum(key, payload) == sum => Ok(Bytes::copy_from_slice(payload)),
        PACKED if checksum(key, payload) == sum => unpacked(key, payload),
        HEAD | PACKED_HEAD => {
            let length = payload.try_into().map_err(|_| damaged(key, "is cut short"))?;
            let value = join(tree, key, u32::from_be_bytes(length) as usize)?;
            if checksum(key, &value) != sum {
                return Err(damaged(key, "has a wrong checksum"));
            }
            if format == HEAD { Ok(value) } else { unpacked(key, &value) }
        }
        WHOLE | PACKED => Err(damaged(key, "has a wrong checksum")),
        _ => Err(damaged(key, &format!("has the unknown format {format}"))),
    }
}

/// A value that is not in sled yet.
fn unwritten(key: &Key, stored: &Stored) -> Result<Value, Refused> {
    if stored.packed { unpacked(key, &stored.bytes) } else { Ok(stored.bytes.clone()) }
}

fn unpacked(key: &[u8], packed: &[u8]) -> Result<Value, Refused> {
    unpack(packed).ok_or_else(|| damaged(key, "cannot be unpacked"))
}

fn join(tree: &sled::Tree, key: &[u8], length: usize) -> Result<Value, Refused> {
    if length > MAX_VALUE_BYTES {
        return Err(damaged(key, "claims to be larger than any value"));
    }
    let mut value = BytesMut::with_capacity(length);
    for n in 0..length.div_ceil(CHUNK_BYTES) as u16 {
        let piece = tree.get(piece_key(key, n)).map_err(|error| refused(&error))?;
        match piece.as_deref().and_then(|piece| piece.split_first_chunk::<HEADER>()) {
            Some((header, payload)) if header[0] == PIECE => value.extend_from_slice(payload),
            _ => return Err(damaged(key, &format!("lacks piece {n}"))),
        }
    }
    Ok(value.freeze())
}

/// All that is committed: what is in sled, and what is not yet.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) tree: &'s sled::Tree,
    pub(super) recent: &'s Recent,
}

/// Reads a range onwards: at most `most` rows more, of the `limit` that are wanted. Answers whether it is done.
pub(super) struct Cursor {
    start: Key,
    end: Key,
    limit: usize,
    backwards: bool,
    pub(super) rows: Vec<Row>,
}

impl Cursor {
    pub(super) fn new(want: Want) -> Self {
        let (keys, limit, backwards) = match want {
            Want::Key(key) => (key.only(), 1, false),
            Want::Range { keys, limit, backwards } => (keys, limit, backwards),
        };
        Self { start: keys.start, end: keys.end, limit, backwards, rows: Vec::new() }
    }

    pub(super) fn advance(&mut self, all: Seen<'_>, most: usize) -> Result<bool, Refused> {
        threads::check();
        if self.start >= self.end {
            return Ok(true);
        }
        let stop = self.limit.min(self.rows.len().saturating_add(most));
        let mut recent = all.recent.range(&self.start, &self.end, self.backwards).peekable();
        let mut in_sled = all.tree.range(&self.start[..]..&self.end[..]);
        let mut pull = || if self.backwards { in_sled.next_back() } else { in_sled.next() }.transpose();
        // The next row of sled's, once it is known.
        let mut older = None;
        while self.rows.len() < stop {
            let row = match older.take() {
                Some(row) => row,
                None => pull().map_err(|error| refused(&error))?,
            };
            let order = match (recent.peek(), &row) {
                (None, None) => return Ok(true),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((newer, _)), Some((row, _))) if self.backwards => row[..].cmp(newer),
                (Some((newer, _)), Some((row, _))) => newer[..].cmp(row),
            };
            if let (Ordering::Greater, Some((key, row))) = (order, &row) {
                let value = value_of(all.tree, key, row)?;
                self.rows.push((Key::from(&key[..]), value));
                continue;
            }
            if order.is_lt() {
                older = Some(row);
            }
            if let Some((key, Some(stored))) = recent.next() {
                self.rows.push((key.clone(), unwritten(key, stored)?));
            }
        }
        if let Some((last, _)) = self.rows.last() {
            if self.backwards {
                self.end = last.clone();
            } else {
                self.start = last.successor();
            }
        }
        Ok(self.rows.len() >= self.limit)
    }
}

/// The value of a key.
pub(super) fn get(all: Seen<'_>, key: &Key) -> Result<Option<Value>, Refused> {
    threads::check();
    if let Some(recent) = all.recent.get(key) {
        return recent.map(|stored| unwritten(key, stored)).transpose();
    }
    let row = all.tree.get(&key[..]).map_err(|error| refused(&error))?;
    row.map(|row| value_of(all.tree, key, &row)).transpose()
}
