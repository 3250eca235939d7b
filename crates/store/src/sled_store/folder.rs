//! The data folder: who may use it, what format it has, what lies in it, and how much room is left.
//!
//! ```text
//! <data>/lock         held while a process uses the folder; names that process
//! <data>/format       the format stamp
//! <data>/commits      how many commits were durable when the store was last at rest
//! <data>/wal.0, wal.1 the write-ahead log
//! <data>/rows/        sled's folder
//! <data>/rows.conf    a copy of sled's `conf`, which sled itself writes carelessly
//! <data>/ballast      room that is given up for opening sled on a full disk
//! ```
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::blobs::sync_folder;
use crate::full::is_full;

/// The format that this program reads and writes.
const FORMAT: &str = "stepwell data format 2\n";
/// The one before, without a write-ahead log. A folder of this kind becomes one of the other when it is opened.
const FORMAT_1: &str = "stepwell data format 1\n";

/// A data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use by {holder}; one folder serves one process at a time", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The process that has it, as far as it can be told.
        holder: String,
    },
    /// It has a format that this program does not know.
    #[error(
        "the data folder {} has the format {found:?}, and this program reads {FORMAT:?} only: use the version of \
         Stepwell that wrote it", folder.display()
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// Its stamp.
        found: String,
    },
    /// It holds data without a stamp.
    #[error("{} holds data but no format stamp: it is not a Stepwell data folder, or a part of it is missing", folder.display())]
    NotOurs {
        /// The folder.
        folder: PathBuf,
    },
    /// It was in use, and what was stored is gone.
    #[error(
        "{} is missing, and the data folder was in use before: restore it from a backup. To begin anew instead, \
         remove the data folder or name another", rows.display()
    )]
    Missing {
        /// What is missing.
        rows: PathBuf,
    },
    /// Nothing can be written into it.
    #[error("the data folder {} cannot be written to: {error}", folder.display())]
    ReadOnly {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system failed.
    #[error("the data folder {}: {error}", folder.display())]
    Io {
        /// The folder, or a file in it.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The stored rows cannot be read, and what can be done by itself did not help.
    #[error(
        "the data in {} cannot be opened: {reason}. Restore a backup of the data folder{}", folder.display(),
        if *copied { "; a copy of it as it was found lies beside it" } else { "" }
    )]
    Damaged {
        /// Sled's folder.
        folder: PathBuf,
        /// What sled said.
        reason: String,
        /// Whether a copy was made before anything was tried.
        copied: bool,
    },
}

impl OpenError {
    pub(super) fn of(path: &Path, error: io::Error) -> Self {
        let folder = path.to_owned();
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                OpenError::ReadOnly { folder, error }
            }
            _ => OpenError::Io { folder, error },
        }
    }
}

/// A data folder that this process holds.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Closing it gives the lock back.
    _lock: File,
}

impl Folder {
    /// Notes that so many commits are durable. It may fail, and then less is noticed later.
    pub(super) fn note_commits(&self, seq: u64) {
        let (file, new) = (self.path.join("commits"), self.path.join("commits.new"));
        if let Err(error) = fs::write(&new, format!("{seq}\n")).and_then(|()| fs::rename(&new, &file)) {
            tracing::debug!(%error, "the number of commits was not noted");
        }
    }

    /// How many commits there must be at least; 0 where nothing was noted.
    pub(super) fn noted_commits(&self) -> u64 {
        let text = fs::read_to_string(self.path.join("commits")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Takes the folder, making it if it does not exist, and checks its format.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::of(path, error);
        if !path.is_dir() {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            // What is stored is nobody else's to read. A folder that is there already is its owner's affair.
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
            sync_folder(path.parent().unwrap_or(path)).map_err(failed)?;
        }
        let path = path.canonicalize().map_err(failed)?;
        let lock = lock(&path)?;
        let folder = Self { path, _lock: lock };
        folder.check_format()?;
        Ok(folder)
    }

    fn check_format(&self) -> Result<(), OpenError> {
        let stamp = self.path.join("format");
        match fs::read(&stamp) {
            Ok(found) if found == FORMAT.as_bytes() => self.check_rows(),
            Ok(found) if found == FORMAT_1.as_bytes() => self.check_rows(),
            Ok(found) => {
                let found = String::from_utf8_lossy(&found[..found.len().min(100)]).into_owned();
                Err(OpenError::Format { folder: self.path.clone(), found })
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.rows().exists() => {
                Err(OpenError::NotOurs { folder: self.path.clone() })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write_durably(&stamp, FORMAT.as_bytes()).map_err(|error| OpenError::of(&stamp, error))
            }
            Err(error) => Err(OpenError::of(&stamp, error)),
        }
    }

    /// Stamps a folder of the format before anew: before anything is written that a program which knows only that one would
    /// pass over.
    pub(super) fn stamp(&self) -> io::Result<()> {
        let stamp = self.path.join("format");
        match fs::read(&stamp)? == FORMAT.as_bytes() {
            true => Ok(()),
            false => write_durably(&stamp, FORMAT.as_bytes()),
        }
    }

    /// The stamp comes first, then sled's file, and the copy of `conf` when the first opening is done and before
    /// anything is acknowledged: with the copy and without the file, data were lost.
    fn check_rows(&self) -> Result<(), OpenError> {
        let db = self.rows().join("db");
        if self.saved_conf().exists() && !db.exists() {
            let rows = if self.rows().exists() { db } else { self.rows() };
            return Err(OpenError::Missing { rows });
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sled's folder.
    pub(super) fn rows(&self) -> PathBuf {
        self.path.join("rows")
    }

    /// The copy of sled's `conf`.
    pub(super) fn saved_conf(&self) -> PathBuf {
        self.path.join("rows.conf")
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = path.join("lock");
    let failed = |error| OpenError::of(path, error);
    let mut lock =
        File::options().read(true).write(true).create(true).truncate(false).open(&file).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Who holds it is only told if it can be read.
            let _ = lock.take(20).read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(pid) if pid == std::process::id() => "this process already".to_owned(),
                Ok(pid) => format!("process {pid}"),
                Err(_) => "another process".to_owned(),
            };
            return Err(OpenError::Locked { folder: path.to_owned(), holder });
        }
        Err(error) => return Err(failed(error.into())),
    }
    let id = std::process::id().to_string();
    // Over what is there: on a full disk there is no room but that.
    match lock.write_all(id.as_bytes()).and_then(|()| lock.set_len(id.len() as u64)) {
        // The lock holds without it; only its holder is not named.
        Err(error) if !is_full(&error) => Err(failed(error)),
        _ => Ok(lock),
    }
}

/// Writes a small file so that after a power cut it is there whole, or not at all.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path.parent().unwrap_or(path))
}
