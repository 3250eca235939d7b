//! Opening sled so that it is found again after whatever ended the process before (rules 1, 4 and 6).
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::SledOptions;
use super::folder::{Folder, OpenError, write_durably};
use crate::blobs::sync_folder;
use crate::full::{is_full, text_is_full};

/// Sled, and the second handle on its file that makes what it wrote durable.
pub(super) struct Opened {
    pub(super) db: sled::Db,
    pub(super) data: File,
}

/// Opens sled's folder, or makes it. On a full disk it gives the ballast up for it; `let_go` answers whether there was any.
pub(super) fn open(
    folder: &Folder,
    options: &SledOptions,
    let_go: impl FnOnce() -> bool,
) -> Result<Opened, OpenError> {
    match open_once(folder, options) {
        Err(OpenError::Io { error, .. }) if is_full(&error) && let_go() => open_once(folder, options),
        opened => opened,
    }
}

fn open_once(folder: &Folder, options: &SledOptions) -> Result<Opened, OpenError> {
    let rows = folder.rows();
    let failed = |error| OpenError::of(&rows, error);
    if rows.exists() {
        remove_unfinished_snapshots(&rows).map_err(failed)?;
        restore_conf(folder).map_err(failed)?;
    } else {
        fs::create_dir(&rows).map_err(failed)?;
    }
    write_through(&rows).map_err(failed)?;
    let db = match try_open(&rows, options) {
        Ok(db) => db,
        Err(Failure::System(error)) => return Err(failed(error)),
        Err(Failure::Data(reason)) => retry_without_snapshots(folder, options, reason)?,
    };
    let data = File::options().write(true).open(rows.join("db")).map_err(failed)?;
    // Rule 1: sled makes its files and their names durable at no time by itself.
    make_durable(folder, &data).map_err(failed)?;
    Ok(Opened { db, data })
}

/// Rule 1: has the system write to the disk, at once and in order, whatever sled writes to its files. Sled uses room again
/// whose rows it has written elsewhere; should a power cut leave the one and not the other, no sync afterwards helps.
/// New files get the mark from their folder.
fn write_through(rows: &Path) -> io::Result<()> {
    let db = rows.join("db");
    for path in [rows, &db].into_iter().filter(|path| path.exists()) {
        let file = File::open(path)?;
        let marked = ioctl_getflags(&file).and_then(|flags| match flags.contains(IFlags::SYNC) {
            true => Ok(()),
            false => ioctl_setflags(&file, flags | IFlags::SYNC),
        });
        match marked {
            Ok(()) => {}
            Err(
                Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::ACCESS,
            ) => {
                tracing::info!(
                    path = %path.display(),
                    "this file system does not write through: a power cut may damage what is stored"
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

enum Failure {
    /// The system failed: nothing to mend in the data.
    System(io::Error),
    /// Sled could not make sense of the data.
    Data(String),
}

impl Failure {
    /// By what sled said.
    fn of(text: String) -> Self {
        match text_is_full(&text) {
            true => Failure::System(io::Error::new(ErrorKind::StorageFull, text)),
            false => Failure::Data(text),
        }
    }
}

fn try_open(rows: &Path, options: &SledOptions) -> Result<sled::Db, Failure> {
    // The file's own lock may still be held for a moment by a thread of sled's that is ending.
    for _ in 0..50 {
        // The thread that flushes from time to time is the one that cleans; nothing waits for its flushes.
        let clean_every = u64::try_from(options.clean_every.as_millis()).unwrap_or(u64::MAX).max(1);
        let config = sled::Config::new()
            .path(rows)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(Some(clean_every));
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(Err(sled::Error::Io(error))) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(Failure::System(error));
            }
            Ok(Err(error)) => return Err(Failure::of(error.to_string())),
            Err(panic) => return Err(Failure::of(format!("sled panicked: {}", panic_text(&*panic)))),
        }
    }
    Err(Failure::System(io::Error::other("sled's file stays locked")))
}

/// The text of a panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// A kill while sled writes a snapshot leaves one that it then stumbles over.
fn remove_unfinished_snapshots(rows: &Path) -> io::Result<()> {
    remove_matching(rows, |name| name.starts_with("snap.") && name.ends_with(".generating"))
}

fn remove_matching(rows: &Path, remove: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(rows)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&remove) {
            tracing::warn!(file = %entry.path().display(), "removing a snapshot of sled's");
            fs::remove_file(entry.path())?;
        }
    }
    sync_folder(rows)
}

/// Sled writes `conf` without syncing it and believes a torn one.
fn restore_conf(folder: &Folder) -> io::Result<()> {
    let conf = folder.rows().join("conf");
    let saved = match fs::read(folder.saved_conf()) {
        Ok(saved) => saved,
        // The process ended before the first opening was done: nothing was acknowledged yet. Sled writes this before it makes
        // its file of rows; without that one it may be half of it.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match conf.exists() && !folder.rows().join("db").exists() {
                true => fs::remove_file(&conf),
                false => Ok(()),
            };
        }
        Err(error) => return Err(error),
    };
    if fs::read(&conf).ok().as_ref() != Some(&saved) {
        tracing::warn!(file = %conf.display(), "sled's configuration file was damaged; restoring the saved copy");
        write_durably(&conf, &saved)?;
    }
    Ok(())
}

fn make_durable(folder: &Folder, data: &File) -> io::Result<()> {
    data.sync_all()?;
    let conf = folder.rows().join("conf");
    File::open(&conf)?.sync_all()?;
    sync_folder(&folder.rows())?;
    sync_folder(folder.path())?;
    if !folder.saved_conf().exists() {
        write_durably(&folder.saved_conf(), &fs::read(&conf)?)?;
    }
    Ok(())
}

/// Snapshots only save sled time at the start: without them it reads its whole log.
fn retry_without_snapshots(
    folder: &Folder,
    options: &SledOptions,
    reason: String,
) -> Result<sled::Db, OpenError> {
    let rows = folder.rows();
    let failed = |error| OpenError::of(&rows, error);
    let aside = folder.path().join("rows.as-found");
    tracing::error!(%reason, copy = %aside.display(), "sled's data cannot be opened; trying without its snapshots");
    // One copy, from the first failure, is the most telling one.
    if !aside.exists() {
        copy_folder(&rows, &aside).map_err(failed)?;
    }
    remove_matching(&rows, |name| name.starts_with("snap.")).map_err(failed)?;
    match try_open(&rows, options) {
        Ok(db) => Ok(db),
        Err(Failure::System(error)) => Err(failed(error)),
        Err(Failure::Data(reason)) => Err(OpenError::Damaged { folder: rows, reason, copied: true }),
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    // Under another name until it is whole.
    let unfinished = to.with_added_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    copy_files(from, &unfinished).inspect_err(|_| {
        // It may take the last of the room; what failed is told all the same.
        let _ = fs::remove_dir_all(&unfinished);
    })?;
    fs::rename(&unfinished, to)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
