//! A full disk: how errors tell it, and how much room is left.
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::statvfs;

/// Whether the disk was full, or what stands for it: a quota, a limit on the size of files.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
        || text_is_full(&error.to_string())
}

/// The same where only the text of an error is left: sled hands some on as text, or panics with them.
pub(crate) fn text_is_full(text: &str) -> bool {
    ["StorageFull", "QuotaExceeded", "FileTooLarge"].iter().any(|kind| text.contains(kind))
}

/// How many bytes may still be written below a folder.
pub(crate) fn free_space(folder: &Path) -> io::Result<u64> {
    let stat = statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether so much stays free. Where it cannot be told, writing will tell.
pub(crate) fn stays_free(folder: &Path, floor: u64) -> Result<(), String> {
    match free_space(folder) {
        Ok(free) if free < floor => {
            let folder = folder.display();
            Err(format!("{free} bytes are free in {folder}, and {floor} are to be kept free"))
        }
        _ => Ok(()),
    }
}
