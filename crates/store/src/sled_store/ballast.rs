//! Room that is kept for opening sled on a full disk (rule 7). After a write that failed for want of room sled must be
//! opened anew before anything can be read, and opening writes: the end of a segment, and a snapshot. A file that takes
//! up as much is given up for it, and made again when there is room.
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::folder::Folder;
use crate::blobs::sync_folder;
use crate::full::{free_space, is_full};

/// How much is kept at least.
const LEAST: u64 = 16 << 20;
/// A snapshot of sled's takes 0.2 to 3 % of its file, by the size of the rows.
const PART_OF_ROWS: u64 = 32;
/// How much must be free beside it before it is made: the disk is not full any more.
const BESIDE: u64 = 8 << 20;
/// It is compared with what it is for once in so many looks.
const LOOKS: u32 = 1024;

pub(super) struct Ballast {
    file: PathBuf,
    /// What it is for.
    rows: PathBuf,
    there: bool,
    looks: u32,
}

impl Ballast {
    pub(super) fn of(folder: &Folder) -> Self {
        let file = folder.path().join("ballast");
        let there = fs::metadata(&file).is_ok_and(|meta| takes(&meta) >= LEAST);
        Self { file, rows: folder.rows().join("db"), there, looks: 0 }
    }

    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// Gives the room away, to be used at once. Answers whether there was any.
    pub(super) fn let_go(&mut self) -> bool {
        self.there = false;
        if let Err(error) = fs::remove_file(&self.file) {
            if error.kind() != ErrorKind::NotFound {
                tracing::error!(%error, file = %self.file.display(), "the ballast cannot be given up");
            }
            return false;
        }
        tracing::warn!(file = %self.file.display(), "the disk is full; the ballast is given up");
        // Some file systems hand room out again only when its giving up is durable.
        let _ = self.file.parent().map(sync_folder);
        true
    }

    /// Makes it, or more of it, where it lacks and there is room. An error says why nothing can be written meanwhile.
    pub(super) fn keep(&mut self) -> Result<(), String> {
        self.looks = self.looks.wrapping_add(1);
        if self.there && self.looks % LOOKS != 1 {
            return Ok(());
        }
        let wanted = self.wanted();
        let has = fs::metadata(&self.file).map_or(0, |meta| takes(&meta));
        let lacks = wanted.saturating_sub(has);
        let folder = self.file.parent().unwrap_or(&self.file);
        let needed = lacks + BESIDE;
        let made = match free_space(folder) {
            _ if lacks == 0 => Ok(()),
            Ok(free) if free < needed => {
                let folder = folder.display();
                Err(format!("{free} bytes are free in {folder}; writing goes on when {needed} are"))
            }
            _ => match make(&self.file, wanted) {
                Ok(()) => Ok(()),
                Err(error) if is_full(&error) => Err(format!("{}: {error}", self.file.display())),
                Err(error) => {
                    // Not for want of room: then it is gone without.
                    tracing::warn!(%error, file = %self.file.display(), "no ballast can be made");
                    Ok(())
                }
            },
        };
        match made {
            // Some is better than none.
            Err(_) if self.there => Ok(()),
            made => {
                self.there = made.is_ok();
                made
            }
        }
    }

    fn wanted(&self) -> u64 {
        let rows = fs::metadata(&self.rows).map_or(0, |meta| meta.len());
        LEAST.max(rows / PART_OF_ROWS)
    }
}

/// How much of the disk a file takes up.
fn takes(meta: &fs::Metadata) -> u64 {
    meta.blocks().saturating_mul(512)
}

fn make(file: &Path, bytes: u64) -> io::Result<()> {
    let mut made = File::options().write(true).create(true).truncate(false).open(file)?;
    match fallocate(&made, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => fill(&mut made, bytes)?,
        other => other?,
    }
    made.sync_all()
}

/// Where room cannot be asked for, bytes take it: such as nothing makes smaller.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut word: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut block = vec![0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        for bytes in block.chunks_exact_mut(8) {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let now = left.min(block.len() as u64);
        file.write_all(&block[..now as usize])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::take(path.path()).unwrap();
        (path, folder)
    }

    #[test]
    fn it_takes_room_is_given_up_and_made_again() {
        let (path, folder) = folder();
        let file = path.path().join("ballast");
        let mut ballast = Ballast::of(&folder);
        assert!(!ballast.is_there() && !ballast.let_go());
        ballast.keep().unwrap();
        assert!(ballast.is_there() && takes(&fs::metadata(&file).unwrap()) >= LEAST);
        assert!(Ballast::of(&folder).is_there());
        assert!(ballast.let_go() && !ballast.is_there() && !file.exists());
        ballast.keep().unwrap();
        assert!(file.exists());
    }

    #[test]
    fn one_without_room_behind_it_is_none() {
        let (path, folder) = folder();
        // As a copy of a folder leaves it.
        File::create(path.path().join("ballast")).unwrap().set_len(LEAST).unwrap();
        let mut ballast = Ballast::of(&folder);
        assert!(!ballast.is_there());
        ballast.keep().unwrap();
        assert!(Ballast::of(&folder).is_there());
    }

    #[test]
    fn it_grows_with_the_rows() {
        let (path, folder) = folder();
        let mut ballast = Ballast::of(&folder);
        ballast.keep().unwrap();
        fs::create_dir(path.path().join("rows")).unwrap();
        File::create(path.path().join("rows/db"))
            .unwrap()
            .set_len(PART_OF_ROWS * (LEAST + (4 << 20)))
            .unwrap();
        for _ in 0..=LOOKS {
            ballast.keep().unwrap();
        }
        assert!(takes(&fs::metadata(path.path().join("ballast")).unwrap()) >= LEAST + (4 << 20));
    }

    #[test]
    fn where_room_cannot_be_asked_for_it_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fill(&mut file.reopen().unwrap(), 200_001).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().len(), 200_001);
    }
}
