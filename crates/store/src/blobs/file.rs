//! Blobs as files: `<folder>/ab/cdef…`, written beside, fsynced, renamed, and the folder fsynced.
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobId, Blobs, IsNamed, Swept, check_size, checked};
use crate::full::{is_full, stays_free};
use crate::types::Refused;

/// Blobs in a folder that one process uses at a time (the store's lock sees to that).
#[derive(Clone)]
pub struct FileBlobs(Arc<Folder>);

struct Folder {
    path: PathBuf,
    /// Files being written have names that no blob has.
    next: AtomicU64,
    /// A sweep removes under the write lock, so that a put never finds a file that is about to go.
    removing: RwLock<()>,
    /// How much is to be kept free on the disk.
    floor: AtomicU64,
}

const UNFINISHED: &str = "unfinished-";
/// A payload becomes a blob when it is larger.
const PROBE_BYTES: usize = 32 << 10;

impl FileBlobs {
    /// Opens the folder, making it if need be, and removes what an earlier process left unfinished.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Refused> {
        let path = path.into();
        let folder =
            Folder { path, next: AtomicU64::new(0), removing: RwLock::new(()), floor: AtomicU64::new(0) };
        folder.prepare().map_err(|error| folder.refused(&folder.path, &error))?;
        Ok(Self(Arc::new(folder)))
    }

    /// The same where rows may name blobs already: a folder that is not there is one that was lost.
    pub fn open_used(path: impl Into<PathBuf>) -> Result<Self, Refused> {
        let path = path.into();
        if !path.exists() {
            let path = path.display();
            return Err(Refused::Damaged(format!(
                "{path} is missing, and the data folder was in use before: restore it from a backup. To go on without \
                 the modules and the large values that were in it, make an empty folder there"
            )));
        }
        Self::open(path)
    }

    /// From now on refuses new blobs that would leave less than this free on the disk: the rows that were to name them
    /// are refused then too, and the blobs would only take the room.
    pub fn keep_free(&self, bytes: u64) {
        self.0.floor.store(bytes, Ordering::Relaxed);
    }

    /// Files are not for tokio's threads.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let folder = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&folder)).await {
            Ok(answer) => answer,
            Err(error) => Err(Refused::Unavailable(format!("the work on a blob ended early: {error}"))),
        }
    }
}

impl Folder {
    fn prepare(&self) -> io::Result<()> {
        if !self.path.is_dir() {
            fs::create_dir_all(&self.path)?;
            if let Some(parent) = self.path.parent() {
                sync_folder(parent)?;
            }
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn place(&self, id: BlobId) -> (PathBuf, PathBuf) {
        let name = id.to_string();
        let folder = self.path.join(&name[..2]);
        let file = folder.join(&name[2..]);
        (folder, file)
    }

    fn refused(&self, path: &Path, error: &io::Error) -> Refused {
        let path = path.display();
        match is_full(error) {
            true => Refused::Full(format!("{path}: {error}")),
            false => Refused::Unavailable(format!("{path}: {error}")),
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<BlobId, Refused> {
        let id = BlobId::of(bytes);
        let (folder, file) = self.place(id);
        let stays = self.removing.read().unwrap_or_else(PoisonError::into_inner);
        let done = match File::options().append(true).open(&file) {
            // It was whole before it got its name, so a file of another length is damaged: write it anew.
            Ok(known) if known.metadata().is_ok_and(|meta| meta.len() == bytes.len() as u64) => {
                // The folder too: whoever renamed it may not have got that far.
                known.set_modified(SystemTime::now()).and_then(|()| sync_folder(&folder))
            }
            _ => {
                let floor = self.floor.load(Ordering::Relaxed);
                if floor > 0 {
                    stays_free(&self.path, floor.saturating_add(bytes.len() as u64))
                        .map_err(Refused::Full)?;
                }
                self.write(&folder, &file, bytes)
            }
        };
        drop(stays);
        done.map_err(|error| self.refused(&file, &error))?;
        Ok(id)
    }

    fn write(&self, folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
        match fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        // Even if it was there: whoever made it may not have got that far.
        sync_folder(&self.path)?;
        let unfinished = self.path.join(format!("{UNFINISHED}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let write = || {
            let mut new = File::create(&unfinished)?;
            new.write_all(bytes)?;
            new.sync_all()?;
            fs::rename(&unfinished, file)?;
            sync_folder(folder)
        };
        write().inspect_err(|_| {
            // It takes room that may be what is lacking; a failure here changes nothing.
            let _ = fs::remove_file(&unfinished);
        })
    }

    /// Writes as much as a small blob, and takes it away again.
    fn probe(&self) -> Result<(), Refused> {
        let file = self.path.join(format!("{UNFINISHED}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let tried = File::create(&file).and_then(|mut new| {
            new.write_all(&[0; PROBE_BYTES])?;
            new.sync_all()
        });
        // Whatever came of it; where there is none there is nothing to remove.
        let _ = fs::remove_file(&file);
        tried.map_err(|error| self.refused(&file, &error))
    }

    fn get(&self, id: BlobId) -> Result<Option<Bytes>, Refused> {
        let (_, file) = self.place(id);
        match fs::read(&file) {
            Ok(bytes) => checked(id, bytes.into()).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.refused(&file, &error)),
        }
    }

    fn size(&self, id: BlobId) -> Result<Option<u64>, Refused> {
        let (_, file) = self.place(id);
        match fs::metadata(&file) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.refused(&file, &error)),
        }
    }

    fn list(&self) -> io::Result<Vec<BlobId>> {
        let mut ids = Vec::new();
        for folder in fs::read_dir(&self.path)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let name = format!("{}{}", folder.file_name().display(), file?.file_name().display());
                // What has another name is not a blob and not ours to remove.
                ids.extend(name.parse::<BlobId>());
            }
        }
        Ok(ids)
    }

    fn old(&self, id: BlobId, age: Duration) -> Option<u64> {
        let meta = fs::metadata(self.place(id).1).ok()?;
        // A time in the future (a clock set back) counts as new.
        let put = SystemTime::now().duration_since(meta.modified().ok()?).ok()?;
        (put > age).then_some(meta.len())
    }

    fn remove_if_old(&self, id: BlobId, age: Duration) -> Result<Option<u64>, Refused> {
        let _alone = self.removing.write().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = self.old(id, age) else { return Ok(None) };
        let (_, file) = self.place(id);
        fs::remove_file(&file).map_err(|error| self.refused(&file, &error))?;
        Ok(Some(bytes))
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn put(&self, bytes: Bytes) -> Result<BlobId, Refused> {
        check_size(&bytes)?;
        self.work(move |folder| folder.put(&bytes)).await
    }

    async fn get(&self, id: BlobId) -> Result<Option<Bytes>, Refused> {
        self.work(move |folder| folder.get(id)).await
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, Refused> {
        self.work(move |folder| folder.size(id)).await
    }

    async fn probe(&self) -> Result<(), Refused> {
        self.work(Folder::probe).await
    }

    async fn sweep(&self, age: Duration, is_named: &IsNamed<'_>) -> Result<Swept, Refused> {
        let ids =
            self.work(|folder| folder.list().map_err(|error| folder.refused(&folder.path, &error))).await?;
        let mut swept = Swept::default();
        for id in ids {
            let old = self.work(move |folder| Ok(folder.old(id, age).is_some())).await?;
            let removed = match old && !is_named(id).await? {
                // Looked at again before it goes: it may have been put meanwhile.
                true => self.work(move |folder| folder.remove_if_old(id, age)).await?,
                false => None,
            };
            match removed {
                Some(bytes) => {
                    swept.blobs += 1;
                    swept.bytes += bytes;
                }
                None => swept.kept += 1,
            }
        }
        Ok(swept)
    }
}

#[cfg(test)]
impl FileBlobs {
    pub(super) fn file_of(&self, id: BlobId) -> PathBuf {
        self.0.place(id).1
    }
}
