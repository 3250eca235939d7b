//! The write-ahead log: what is committed is durable here first, in one write and one sync, and reaches sled later. Two
//! files take turns: while the rows of one are brought to sled, the other one takes what comes.
//!
//! ```text
//! magic(4) | crc32(4) | use(8) | before(8) | last(8) | bytes(4)     a record: a group of commits, from `before` to `last`
//! kind(1) | bytes of the key(2) | bytes of the value(4) | key | value     each of its rows; kind: see below
//! magic(4) | crc32(4) | use(8)     the last block of a file, so that records are missed whose first one is damaged
//! ```
//!
//! A record begins at a multiple of [`BLOCK`], so writing one touches no block of those before it. `use` is drawn anew
//! each time a file is begun again: what is left in it of an earlier use is told from what is new by it, and nobody can
//! write a value that looks like a record. A record that is not whole was never answered; whatever was is before it.
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::packed::Stored;
use super::recent::Table;
use crate::blobs::sync_folder;
use crate::limits::{MAX_KEY_BYTES, MAX_TX_BYTES, MAX_TX_ROWS, MAX_VALUE_BYTES};
use crate::types::Key;

/// How large each of the files is, from the beginning on: writing into it never needs room.
pub(super) const FILE_BYTES: usize = 2 << 20;
const BLOCK: usize = 4096;
/// The last block has a note of what the file is used for.
const RECORD_BYTES: usize = FILE_BYTES - BLOCK;
const MAGIC: u32 = 0x5357_574c;
const NOTE: u32 = 0x5357_574e;
const HEADER: usize = 36;
const ROW_HEADER: usize = 7;
/// Where the checksummed part of a record begins.
const SUMMED: usize = 8;

const DELETED: u8 = 0;
const WHOLE: u8 = 1;
const PACKED: u8 = 2;

// A transaction of any size fits into a file that is empty.
const _: () = assert!(HEADER + MAX_TX_BYTES + MAX_TX_ROWS * ROW_HEADER + BLOCK <= RECORD_BYTES);
const _: () = assert!(MAX_KEY_BYTES <= u16::MAX as usize);

/// What a group of commits writes, as it will be in the log.
pub(super) struct Record(Vec<u8>);

impl Default for Record {
    fn default() -> Self {
        Self(vec![0; HEADER])
    }
}

impl Record {
    /// How many bytes a record grows by at most for so many rows, and bytes of keys and values.
    pub(super) fn grows_by((rows, bytes): (usize, usize)) -> usize {
        rows * ROW_HEADER + bytes
    }

    pub(super) fn write(&mut self, key: &Key, value: Option<&Stored>) {
        let (kind, bytes) = match value {
            None => (DELETED, &[][..]),
            Some(Stored { packed, bytes }) => (if *packed { PACKED } else { WHOLE }, &bytes[..]),
        };
        self.0.push(kind);
        self.0.extend_from_slice(&(key.len() as u16).to_be_bytes());
        self.0.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(key);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// The log, open for writing.
pub(super) struct Wal {
    folder: PathBuf,
    files: [File; 2],
    /// The one that is written to.
    current: usize,
    of_use: u64,
    /// Where the next record goes.
    at: usize,
    /// The last commit that was logged, or is in sled.
    last: u64,
}

/// What a log holds when it is opened.
pub(super) struct Found {
    pub(super) table: Table,
    /// The last commit that is in it.
    pub(super) last: u64,
}

impl Wal {
    /// Opens the log, or makes it; `in_sled` is the last commit that sled has. What is found in it has to be in sled before
    /// [`change_files`](Self::change_files), and that before anything is written.
    pub(super) fn open(folder: &Path, in_sled: u64) -> io::Result<(Self, Option<Found>)> {
        let mut halves = FILES.map(|_| None);
        let mut files = FILES.map(|_| None);
        for (n, name) in FILES.iter().enumerate() {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) if bytes.len() == FILE_BYTES => {
                    halves[n] = read(&bytes.into());
                    let file = File::options().write(true).open(&path)?;
                    // What was just read may not be on the disk yet; nobody sees it before it is.
                    file.sync_data()?;
                    files[n] = Some(file);
                }
                Ok(bytes) => {
                    return Err(damaged(format!("{name} has {} bytes instead of {FILE_BYTES}", bytes.len())));
                }
                // It gets its name when it is whole.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let gone = files.iter().position(Option::is_none);
        if let Some(gone) = gone.filter(|_| halves.iter().any(Option::is_some)) {
            return Err(damaged(format!("{} is missing", FILES[gone])));
        }
        let [first, second] = files;
        let open = |file: Option<File>, n: usize| file.map_or_else(|| make(&folder.join(FILES[n])), Ok);
        let files = [open(first, 0)?, open(second, 1)?];
        sync_folder(folder)?;
        let before = |half: &Option<Half>| half.as_ref().map(|half| half.before);
        let current = usize::from(before(&halves[1]) > before(&halves[0]));
        let found = join(halves.into_iter().flatten().collect(), in_sled)?;
        let last = found.as_ref().map_or(in_sled, |found| found.last);
        let log = Self { folder: folder.to_owned(), files, current, of_use: draw(), at: FILE_BYTES, last };
        Ok((log, found))
    }

    /// Whether a record of so many bytes fits into the file that is written to.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.at + bytes <= RECORD_BYTES
    }

    /// Writes a record, whose last commit is `last`. It is durable when `sync` is done.
    pub(super) fn append(
        &mut self,
        record: Record,
        last: u64,
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let Record(mut bytes) = record;
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.of_use.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.last.to_be_bytes());
        bytes[24..32].copy_from_slice(&last.to_be_bytes());
        bytes[32..36].copy_from_slice(&length.to_be_bytes());
        let sum = crc32fast::hash(&bytes[SUMMED..]);
        bytes[4..8].copy_from_slice(&sum.to_be_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        if !self.fits(bytes.len()) {
            return Err(io::Error::other("the write-ahead log's file is full"));
        }
        let file = &self.files[self.current];
        if self.at == 0 {
            file.write_all_at(&note(self.of_use), RECORD_BYTES as u64)?;
        }
        file.write_all_at(&bytes, self.at as u64)?;
        sync(file)?;
        self.at += bytes.len();
        self.last = last;
        Ok(())
    }

    /// Goes on in the other file. All that it holds is in sled.
    pub(super) fn change_files(&mut self) {
        self.current = 1 - self.current;
        self.at = 0;
        self.of_use = draw();
    }

    /// Makes both files anew, after writing to one failed: nobody knows what is in it. All that was answered is in sled.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        for (name, file) in FILES.iter().zip(&mut self.files) {
            *file = make(&self.folder.join(name))?;
        }
        sync_folder(&self.folder)?;
        self.change_files();
        Ok(())
    }

    /// Leaves nothing for the next opening to look at. All that it holds is in sled.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        for file in &self.files {
            file.write_all_at(&[0; 16], RECORD_BYTES as u64)?;
            file.write_all_at(&[0; HEADER], 0)?;
            file.sync_data()?;
        }
        self.change_files();
        Ok(())
    }

    /// The last commit that was logged.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

const FILES: [&str; 2] = ["wal.0", "wal.1"];

/// A file full of zeros, in the place of whatever is there. Zeros that are written take room, and writing over them
/// changes nothing that the file system has to note.
fn make(path: &Path) -> io::Result<File> {
    let new = path.with_added_extension("new");
    let file = File::options().write(true).create(true).truncate(true).open(&new)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(file)
}

/// What tells one use of a file from all others.
fn draw() -> u64 {
    RandomState::new().hash_one(0)
}

/// What one file holds.
struct Half {
    before: u64,
    last: u64,
    records: Vec<Bytes>,
    /// Whether there are more records behind one that is not whole.
    has_hole: bool,
}

/// The header of a record that is whole.
struct Whole {
    of_use: u64,
    before: u64,
    last: u64,
    bytes: usize,
}

fn read(file: &Bytes) -> Option<Half> {
    let Some(first) = whole(file, 0) else {
        let of_use = noted(file)?;
        let mut left = (BLOCK..RECORD_BYTES).step_by(BLOCK).filter_map(|at| whole(file, at));
        let later = left.find(|later| later.of_use == of_use)?;
        return Some(Half { before: later.before, last: later.before, records: Vec::new(), has_hole: true });
    };
    let mut half = Half { before: first.before, last: first.before, records: Vec::new(), has_hole: false };
    let mut at = 0;
    while let Some(next) =
        whole(file, at).filter(|next| next.of_use == first.of_use && next.before == half.last)
    {
        half.records.push(file.slice(at + HEADER..at + next.bytes));
        half.last = next.last;
        at = (at + next.bytes).next_multiple_of(BLOCK);
    }
    // One is written when those before it are durable: behind one that is not whole there is none.
    let mut behind = (at..RECORD_BYTES).step_by(BLOCK).filter_map(|at| whole(file, at));
    half.has_hole = behind.any(|later| later.of_use == first.of_use && later.last > half.last);
    Some(half)
}

/// What the last block says of a use.
fn note(of_use: u64) -> [u8; 16] {
    let mut note = [0; 16];
    note[..4].copy_from_slice(&NOTE.to_be_bytes());
    note[8..].copy_from_slice(&of_use.to_be_bytes());
    let sum = crc32fast::hash(&note[8..]);
    note[4..8].copy_from_slice(&sum.to_be_bytes());
    note
}

fn noted(file: &[u8]) -> Option<u64> {
    let found = file.get(RECORD_BYTES..)?.first_chunk::<16>()?;
    let of_use = u64::from_be_bytes(*found.last_chunk()?);
    (*found == note(of_use)).then_some(of_use)
}

fn whole(file: &[u8], at: usize) -> Option<Whole> {
    let record = file.get(at..)?;
    let number = |from: usize| Some(u64::from_be_bytes(*record.get(from..)?.first_chunk()?));
    let small = |from: usize| Some(u32::from_be_bytes(*record.get(from..)?.first_chunk()?));
    let bytes = small(32)? as usize;
    let summed = record.get(SUMMED..bytes)?;
    let is_whole = small(0)? == MAGIC && bytes >= HEADER && crc32fast::hash(summed) == small(4)?;
    is_whole.then_some(Whole { of_use: number(8)?, before: number(16)?, last: number(24)?, bytes })
}

/// What both files hold that sled may not have, in the order in which it was committed.
fn join(mut halves: Vec<Half>, in_sled: u64) -> io::Result<Option<Found>> {
    halves.sort_by_key(|half| half.before);
    let Some(newest) = halves.pop() else { return Ok(None) };
    if newest.has_hole {
        return Err(damaged(format!("what came after commit {} cannot be read", newest.last)));
    }
    if newest.last < in_sled {
        // Such as what is left when the clearing of both files was cut short.
        tracing::info!(newest.last, in_sled, "the write-ahead log holds nothing that is not in sled");
        return Ok(None);
    }
    // Sled may have part of what the older one holds, or all of it; only in the latter case is it written over, so it
    // need not be whole.
    let older = halves.pop().filter(|older| older.last == newest.before);
    let before = older.as_ref().map_or(newest.before, |older| older.before);
    if before > in_sled {
        return Err(damaged(format!(
            "the rows end with commit {in_sled}, and the write-ahead log begins after {before}"
        )));
    }
    let mut table = Table::default();
    for record in older.iter().chain([&newest]).flat_map(|half| &half.records) {
        take_rows(record, &mut table)
            .ok_or_else(|| damaged("a record of the write-ahead log makes no sense".to_owned()))?;
    }
    Ok(Some(Found { table, last: newest.last }))
}

fn take_rows(record: &Bytes, table: &mut Table) -> Option<()> {
    let mut at = 0;
    while at < record.len() {
        let header = record.get(at..at + ROW_HEADER)?;
        let [kind, a, b, sizes @ ..] = header else { return None };
        let key = usize::from(u16::from_be_bytes([*a, *b]));
        let value = u32::from_be_bytes(sizes.try_into().ok()?) as usize;
        at += ROW_HEADER;
        if key > MAX_KEY_BYTES || value > MAX_VALUE_BYTES || record.len() - at < key + value {
            return None;
        }
        let stored = match *kind {
            DELETED if value == 0 => None,
            WHOLE | PACKED => {
                // A copy: what stays in memory is not to hold on to the whole file.
                let bytes = Bytes::copy_from_slice(&record[at + key..at + key + value]);
                Some(Stored { packed: *kind == PACKED, bytes })
            }
            _ => return None,
        };
        table.write(Key::from(&record[at..at + key]), stored);
        at += key + value;
    }
    Some(())
}

fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Value;

    type Rows = Vec<(u8, Option<Vec<u8>>)>;

    fn key(n: u8) -> Key {
        Key::from(vec![1, 0, n])
    }

    fn record(rows: &Rows) -> Record {
        let mut record = Record::default();
        for (n, value) in rows {
            let stored = value.as_ref().map(|value| Stored::from(Value::from(value.clone())));
            record.write(&key(*n), stored.as_ref());
        }
        record
    }

    fn append(wal: &mut Wal, rows: &Rows) {
        let last = wal.last() + 1;
        wal.append(record(rows), last, |_| Ok(())).unwrap();
    }

    /// What each key comes to after these commits.
    fn rows_after(commits: &[Rows]) -> Vec<(Key, Option<Vec<u8>>)> {
        let mut table = std::collections::BTreeMap::new();
        for (n, value) in commits.iter().flatten() {
            table.insert(key(*n), value.clone());
        }
        table.into_iter().collect()
    }

    fn rows_of(found: &Found) -> Vec<(Key, Option<Vec<u8>>)> {
        let value = |stored: &Stored| match stored.packed {
            true => super::super::packed::unpack(&stored.bytes).unwrap().to_vec(),
            false => stored.bytes.to_vec(),
        };
        found.table.changes().map(|(key, stored)| (key.clone(), stored.map(value))).collect()
    }

    /// A log whose first file may be written to.
    fn new(folder: &Path, in_sled: u64) -> Wal {
        let (mut wal, found) = Wal::open(folder, in_sled).unwrap();
        assert!(found.is_none());
        assert!(!wal.fits(1), "what was there is in sled before anything is written");
        wal.change_files();
        wal
    }

    fn commits() -> impl Strategy<Value = Vec<Rows>> {
        let value = prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(b'a'..b'c', 1000..9000),
        ]);
        prop::collection::vec(prop::collection::vec((0u8..20, value), 1..6), 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Whatever of the last write reaches the disk, and whatever was in the file before: all that was synced is found,
        /// and what was not synced is found whole or not at all.
        #[test]
        fn a_power_cut_takes_at_most_what_was_not_synced(
            first in commits(),
            second in commits(),
            third in commits(),
            reached in prop::collection::vec(any::<bool>(), 32),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut wal = new(folder.path(), 7);
            let mut in_sled = 7;
            let mut before = Vec::new();
            for (n, commits) in [&first, &second, &third].into_iter().enumerate() {
                if n > 0 {
                    // What was in this file two turns ago is in sled by now.
                    in_sled = wal.last() - if n == 1 { first.len() } else { second.len() } as u64;
                    wal.change_files();
                }
                for (place, rows) in commits.iter().enumerate() {
                    if n == 2 && place == commits.len() - 1 {
                        before = std::fs::read(folder.path().join(FILES[wal.current])).unwrap();
                    }
                    append(&mut wal, rows);
                }
            }
            // The last record is cut: of its blocks some are there, and of the others what was there before.
            let path = folder.path().join(FILES[wal.current]);
            let whole = std::fs::read(&path).unwrap();
            let mut cut = whole.clone();
            let last = record(third.last().unwrap()).bytes().next_multiple_of(BLOCK);
            for (block, reached) in (wal.at - last..wal.at).step_by(BLOCK).zip(&reached) {
                if !reached {
                    cut[block..block + BLOCK].copy_from_slice(&before[block..block + BLOCK]);
                }
            }
            std::fs::write(&path, &cut).unwrap();
            let (again, found) = Wal::open(folder.path(), in_sled).unwrap();
            let found = found.unwrap();
            let lost = usize::from(cut != whole);
            prop_assert_eq!(found.last, wal.last() - lost as u64);
            prop_assert_eq!(again.last(), found.last);
            // Over what sled has.
            let mut rows: std::collections::BTreeMap<_, _> = rows_after(&first).into_iter().collect();
            rows.extend(rows_of(&found));
            let kept = [&first[..], &second, &third[..third.len() - lost]].concat();
            prop_assert_eq!(rows.into_iter().collect::<Vec<_>>(), rows_after(&kept));
        }
    }

    #[test]
    fn it_goes_on_in_the_older_file_after_a_restart_and_is_empty_after_it_was_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let rows = |n: u8| vec![(n, Some(vec![n; 10]))];
        let mut wal = new(folder.path(), 0);
        append(&mut wal, &rows(1));
        wal.change_files();
        append(&mut wal, &rows(2));
        for n in 3..20 {
            let (mut wal, found) = Wal::open(folder.path(), u64::from(n) - 3).unwrap();
            let found = found.unwrap();
            assert_eq!(found.last, u64::from(n) - 1);
            assert_eq!(rows_of(&found), rows_after(&[rows(n - 2), rows(n - 1)]));
            wal.change_files();
            append(&mut wal, &rows(n));
        }
        let (mut wal, _) = Wal::open(folder.path(), 18).unwrap();
        wal.clear().unwrap();
        append(&mut wal, &rows(20));
        wal.begin_anew().unwrap();
        assert_eq!(wal.last(), 20);
        assert!(Wal::open(folder.path(), 20).unwrap().1.is_none());
    }

    #[test]
    fn what_is_damaged_or_missing_is_told_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let rows = |n: u8| vec![(n, Some(vec![n; 10]))];
        let mut wal = new(folder.path(), 0);
        (1..=3).for_each(|n| append(&mut wal, &rows(n)));
        wal.change_files();
        (4..=6).for_each(|n| append(&mut wal, &rows(n)));
        let [first, second] = FILES.map(|name| folder.path().join(name));
        let (older, newer) = if wal.current == 1 { (first, second) } else { (second, first) };
        let error = |in_sled| Wal::open(folder.path(), in_sled).map(|_| ()).unwrap_err().to_string();
        let [old, new] = [&older, &newer].map(|path| std::fs::read(path).unwrap());

        let mut broken = new.clone();
        broken[BLOCK + 50] ^= 1;
        std::fs::write(&newer, &broken).unwrap();
        assert_eq!(error(3), "what came after commit 4 cannot be read");
        std::fs::write(&newer, &new).unwrap();

        // The first one, too.
        let mut broken = new.clone();
        broken[50] ^= 1;
        std::fs::write(&newer, &broken).unwrap();
        for in_sled in 2..=4 {
            assert_eq!(error(in_sled), "what came after commit 4 cannot be read");
        }
        std::fs::write(&newer, &new[..FILE_BYTES - 1]).unwrap();
        assert!(error(3).ends_with("has 2097151 bytes instead of 2097152"));
        std::fs::remove_file(&newer).unwrap();
        assert!(error(3).ends_with("is missing"));
        std::fs::write(&newer, &new).unwrap();

        // The older one is needed as long as sled has not all of it.
        let torn = [&old[..BLOCK], &vec![1; FILE_BYTES - BLOCK]].concat();
        let mut first_gone = old.clone();
        first_gone[..BLOCK].fill(0);
        for broken in [&vec![0; FILE_BYTES], &torn, &first_gone] {
            std::fs::write(&older, broken).unwrap();
            assert_eq!(error(2), "the rows end with commit 2, and the write-ahead log begins after 3");
            let found = Wal::open(folder.path(), 3).unwrap().1.unwrap();
            assert_eq!(rows_of(&found), rows_after(&[rows(4), rows(5), rows(6)]));
        }
        assert!(Wal::open(folder.path(), 7).unwrap().1.is_none(), "rows that are newer need nothing of it");
    }

    #[test]
    fn a_value_that_looks_like_a_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = new(folder.path(), 0);
        append(&mut wal, &vec![(1, Some(b"first".to_vec()))]);
        // At the beginning of a block, as a record would be, of a use that is guessed.
        let mut fake = record(&vec![(9, None)]).0;
        fake[..4].copy_from_slice(&MAGIC.to_be_bytes());
        fake[24..32].copy_from_slice(&9u64.to_be_bytes());
        let length = fake.len() as u32;
        fake[32..36].copy_from_slice(&length.to_be_bytes());
        let sum = crc32fast::hash(&fake[SUMMED..]);
        fake[4..8].copy_from_slice(&sum.to_be_bytes());
        let front = BLOCK - HEADER - ROW_HEADER - 3;
        let mut value: Vec<u8> = (0..front).map(|n| ((n * n) >> 3) as u8).collect();
        value.extend(fake);
        let mut record = Record::default();
        record.write(&key(2), Some(&Stored { packed: false, bytes: value.into() }));
        let torn = wal.append(record, 2, |file| {
            file.write_all_at(&[0; 8], BLOCK as u64)?;
            Err(io::Error::other("cut"))
        });
        assert!(torn.is_err());
        let bytes = std::fs::read(folder.path().join(FILES[wal.current])).unwrap();
        assert!(whole(&bytes, 2 * BLOCK).is_some(), "it does look like one");
        let found = Wal::open(folder.path(), 0).unwrap().1.unwrap();
        assert_eq!(rows_of(&found), rows_after(&[vec![(1, Some(b"first".to_vec()))]]));
    }

    #[test]
    fn a_file_that_is_full_takes_nothing_and_the_other_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = new(folder.path(), 0);
        let large =
            vec![(1, Some((0..500_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect::<Vec<u8>>()))];
        while wal.fits(record(&large).bytes()) {
            append(&mut wal, &large);
        }
        let last = wal.last();
        assert!(last >= 3 && wal.append(record(&large), last + 1, |_| Ok(())).is_err());
        wal.change_files();
        append(&mut wal, &large);
        assert_eq!(Wal::open(folder.path(), 0).unwrap().1.unwrap().last, last + 1);
    }
}
