//! Compiled code on disk. Loading it runs it as native code, so every entry is authenticated with
//! a key that only this folder's owner can read, and the very bytes that were verified are the
//! ones that are loaded.

use hmac::{Hmac, Mac as _};
use rustix::fs::OFlags;
use sha2::Sha256;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use subtle::ConstantTimeEq as _;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::{GuestKind, Loaded};
use crate::host::hex;

const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// Before every entry, so that a file of another format is told apart from a damaged one.
const MAGIC: &[u8; 16] = b"stepwell code 1\n";
/// The ending of an entry's name.
const ENDING: &str = ".code";
/// No entry is larger: what the compiler may make, and then some.
const MOST: u64 = 128 << 20;
/// How the name of a file begins that is being written.
const UNFINISHED: &str = ".new-";
/// A file that is being written and as old as this is nobody's any more.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Machine code that this process, its own child or the owner of the cache's key has made.
/// Nothing else may become one: whoever makes one has to be trusted with this process.
pub(super) struct Artifact(Vec<u8>);

impl Artifact {
    /// Takes what the compiler made just now.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes the code ready to be instantiated.
    #[expect(unsafe_code, reason = "the one place where compiled code is loaded")]
    pub(super) fn load(&self, engine: &Engine, kind: GuestKind) -> wasmtime::Result<Loaded> {
        // SAFETY: both functions run whatever the bytes say as native code, and ask that they were
        // made by this engine's compiler and not changed since. An `Artifact` is either that
        // compiler's output in this process, its output in a child whose pipe nobody else holds,
        // or the content of a file whose authentication code was verified over exactly these
        // bytes in memory.
        unsafe {
            Ok(match kind {
                GuestKind::WasiCommandP1 => Loaded::Module(Module::deserialize(engine, &self.0)?),
                GuestKind::Component | GuestKind::WasiCommandP2 => {
                    Loaded::Component(Component::deserialize(engine, &self.0)?)
                }
            })
        }
    }
}

/// A folder of compiled code. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// What code depends on besides the module: the engine, its settings and the processor.
    fingerprint: [u8; 32],
}

/// Without the key.
impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// An entry, for accounting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// Where it is.
    pub path: PathBuf,
    /// Its size on disk.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

impl Cache {
    /// Opens the folder `dir`, made with a new key if it is not there. What others could have put there or led
    /// elsewhere is refused.
    pub(crate) fn open(dir: &Path, fingerprint: [u8; 32]) -> io::Result<Self> {
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let key = key(dir, &own_folder(dir)?)?;
        sweep(dir);
        Ok(Self { dir: dir.to_owned(), key, fingerprint })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The code of a module, if it is here, whole, and was put here under this key.
    pub(super) fn get(&self, sha256: &[u8; 32]) -> Option<Artifact> {
        let path = self.path(sha256);
        let (file, bytes) = match read(&path, MOST) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read cached code; compiling again");
                return None;
            }
        };
        let Some(artifact) = self.open_entry(sha256, bytes) else {
            tracing::warn!(path = %path.display(), "cached code is damaged or foreign; compiling again");
            return None;
        };
        // The order of eviction; a cache on a read-only disk works without it.
        let _ = file.set_modified(SystemTime::now());
        Some(artifact)
    }

    /// Keeps the code of a module, in the place of whatever was there.
    pub(super) fn put(&self, sha256: &[u8; 32], artifact: &Artifact) -> io::Result<()> {
        let mac = self.mac(sha256, &artifact.0).finalize().into_bytes();
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.dir)?;
        file.write_all(MAGIC)?;
        file.write_all(&mac)?;
        file.write_all(&artifact.0)?;
        // Not synced: an entry that a power cut tore does not verify.
        file.persist(self.path(sha256)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Every entry, for whichever engine, the one not used for longest first.
    pub fn entries(&self) -> io::Result<Vec<CacheEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().ends_with(ENDING) {
                continue;
            }
            // Another process may have evicted it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let (bytes, used) = (metadata.len(), metadata.modified()?);
            entries.push(CacheEntry { path: entry.path(), bytes, used });
        }
        entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        Ok(entries)
    }

    /// Removes what was not used for longest until no more than `bytes` are kept, and says how
    /// many bytes went.
    pub fn shrink(&self, bytes: u64) -> io::Result<u64> {
        let entries = self.entries()?;
        let mut kept: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut freed = 0;
        for entry in entries {
            if kept <= bytes {
                break;
            }
            match fs::remove_file(&entry.path) {
                Ok(()) => freed += entry.bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            kept -= entry.bytes;
        }
        Ok(freed)
    }

    /// One entry a module and fingerprint, so that servers of two versions can share a folder.
    fn path(&self, sha256: &[u8; 32]) -> PathBuf {
        self.dir.join(format!("{}-{}{ENDING}", hex(sha256), hex(&self.fingerprint[..8])))
    }

    fn open_entry(&self, sha256: &[u8; 32], mut bytes: Vec<u8>) -> Option<Artifact> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (mac, code) = rest.split_at_checked(MAC_BYTES)?;
        let right = self.mac(sha256, code).finalize().into_bytes();
        if !bool::from(right.as_slice().ct_eq(mac)) {
            return None;
        }
        bytes.drain(..MAGIC.len() + MAC_BYTES);
        Some(Artifact(bytes))
    }

    fn mac(&self, sha256: &[u8; 32], code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        // All parts but the last have a fixed length, so no two entries share a text.
        mac.update(MAGIC);
        mac.update(&self.fingerprint);
        mac.update(sha256);
        mac.update(code);
        mac
    }
}

/// The folder itself, if it is one, and nobody else's to write to. It is looked at through this handle, so that it
/// cannot become another meanwhile.
fn own_folder(dir: &Path) -> io::Result<File> {
    let refused = |why: &str| {
        let message = format!(
            "the folder of compiled code {} {why}: what lies in it is run; give Stepwell a folder of its own there, \
             or remove it",
            dir.display()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    };
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32;
    let folder = match OpenOptions::new().read(true).custom_flags(flags).open(dir) {
        Ok(folder) => folder,
        Err(_) if fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_symlink()) => {
            return refused("is a symbolic link");
        }
        Err(_) if fs::symlink_metadata(dir).is_ok_and(|metadata| !metadata.is_dir()) => {
            return refused("is no folder");
        }
        Err(error) => return Err(error),
    };
    let metadata = folder.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refused("belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return refused("can be written to by others");
    }
    Ok(folder)
}

/// Removes what a process left that ended while it wrote. Another one may write here now, so only old files go; what
/// cannot be removed changes nothing.
fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        let age = age.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
        if unfinished && age.is_some_and(|age| age >= FORGOTTEN) {
            tracing::debug!(path = %entry.path().display(), "removing what was left unfinished");
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The key in the folder, or a new one. A key that others could have read or written is replaced,
/// and with it everything that was authenticated by it.
fn key(dir: &Path, folder: &File) -> io::Result<[u8; KEY_BYTES]> {
    let path = dir.join(KEY_FILE);
    if folder.metadata()?.mode() & 0o077 != 0 {
        tracing::warn!(dir = %dir.display(), "the folder of compiled code was open to others; its key is replaced");
        folder.set_permissions(Permissions::from_mode(0o700))?;
        remove(&path)?;
    }
    for _ in 0..100 {
        match read_key(&path)? {
            Some(key) => return Ok(key),
            None => new_key(dir, &path)?,
        }
    }
    Err(io::Error::other(format!("the key {} keeps changing", path.display())))
}

fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let file = match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let mut key = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    let mine = metadata.uid() == rustix::process::geteuid().as_raw();
    match key.try_into() {
        Ok(key) if mine && metadata.mode() & 0o077 == 0 => Ok(Some(key)),
        _ => {
            tracing::warn!(path = %path.display(), "the key of compiled code is damaged or open to others; it is replaced");
            remove(path)?;
            Ok(None)
        }
    }
}

/// Puts a whole new key in place unless another process was first.
fn new_key(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Made with permissions for its owner alone.
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// A link in the key's place would be a key that somebody else chose.
const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path, most: u64) -> io::Result<(File, Vec<u8>)> {
    let file = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(most) as usize);
    (&file).take(most).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Allocation, settings};
    use std::os::unix::fs::symlink;

    const MODULE: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];

    fn open(dir: &Path) -> Cache {
        Cache::open(&dir.join("code"), [7; 32]).unwrap()
    }

    fn put(cache: &Cache, module: &[u8; 32], code: &[u8]) {
        cache.put(module, &Artifact::new(code.to_vec())).unwrap();
    }

    fn get(cache: &Cache, module: &[u8; 32]) -> Option<Vec<u8>> {
        cache.get(module).map(|artifact| artifact.0)
    }

    #[test]
    fn what_was_put_is_got_by_every_process_with_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        assert_eq!(get(&cache, &MODULE), None);
        put(&cache, &MODULE, b"code");
        put(&cache, &MODULE, b"newer");
        assert_eq!(get(&open(dir.path()), &MODULE), Some(b"newer".to_vec()));
        assert_eq!(get(&cache, &OTHER), None);
    }

    #[test]
    fn an_entry_changed_anywhere_or_cut_is_ignored_and_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        put(&cache, &MODULE, b"code");
        let path = cache.path(&MODULE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_eq!(get(&cache, &MODULE), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(get(&cache, &MODULE), None, "cut at {at}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert_eq!(get(&cache, &MODULE), None);
        put(&cache, &MODULE, b"code");
        assert_eq!(get(&cache, &MODULE), Some(b"code".to_vec()));
    }

    #[test]
    fn an_entry_of_another_module_engine_or_key_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        put(&cache, &MODULE, b"code");
        let entry = fs::read(cache.path(&MODULE)).unwrap();
        fs::write(cache.path(&OTHER), &entry).unwrap();
        assert_eq!(get(&cache, &OTHER), None);

        let engine = Cache::open(cache.dir(), [8; 32]).unwrap();
        assert_eq!(get(&engine, &MODULE), None);
        fs::write(engine.path(&MODULE), &entry).unwrap();
        assert_eq!(get(&engine, &MODULE), None);

        let elsewhere = tempfile::tempdir().unwrap();
        let foreign = open(elsewhere.path());
        fs::write(foreign.path(&MODULE), &entry).unwrap();
        assert_eq!(get(&foreign, &MODULE), None);
    }

    #[test]
    fn what_a_process_left_unfinished_is_removed_at_the_next_start_and_what_is_new_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        put(&cache, &MODULE, b"code");
        let [old, new] = ["old", "new"].map(|name| cache.dir().join(format!("{UNFINISHED}{name}")));
        fs::write(&new, b"co").unwrap();
        fs::write(&old, b"co").unwrap();
        let long_ago = SystemTime::now() - FORGOTTEN * 2;
        for path in [&old, &cache.path(&MODULE)] {
            File::options().append(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
        let cache = open(dir.path());
        assert!(!old.exists() && new.exists());
        assert_eq!(get(&cache, &MODULE), Some(b"code".to_vec()));
    }

    #[test]
    fn folder_and_files_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        put(&cache, &MODULE, b"code");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(cache.dir()), 0o700);
        assert_eq!(mode(&cache.dir().join(KEY_FILE)), 0o600);
        assert_eq!(mode(&cache.path(&MODULE)), 0o600);
    }

    #[test]
    fn a_key_that_others_could_have_read_or_chosen_is_replaced() {
        let spoil: [fn(&Path); 5] = [
            |dir| fs::set_permissions(dir, Permissions::from_mode(0o750)).unwrap(),
            |dir| fs::set_permissions(dir.join(KEY_FILE), Permissions::from_mode(0o640)).unwrap(),
            |dir| fs::write(dir.join(KEY_FILE), b"short").unwrap(),
            |dir| fs::write(dir.join(KEY_FILE), [0; 33]).unwrap(),
            |dir| fs::remove_file(dir.join(KEY_FILE)).unwrap(),
        ];
        for spoil in spoil {
            let dir = tempfile::tempdir().unwrap();
            let cache = open(dir.path());
            put(&cache, &MODULE, b"code");
            spoil(cache.dir());
            let reopened = open(dir.path());
            assert_ne!(reopened.key, cache.key);
            assert_eq!(get(&reopened, &MODULE), None);
            assert_eq!(fs::metadata(reopened.dir()).unwrap().mode() & 0o777, 0o700);
            assert_eq!(open(dir.path()).key, reopened.key);
        }
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        fs::write(dir.path().join("chosen"), [0; KEY_BYTES]).unwrap();
        fs::remove_file(cache.dir().join(KEY_FILE)).unwrap();
        symlink(dir.path().join("chosen"), cache.dir().join(KEY_FILE)).unwrap();
        assert!(Cache::open(cache.dir(), [7; 32]).is_err());
    }

    #[test]
    fn a_folder_that_others_chose_or_can_write_to_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let refused = |path: &Path| Cache::open(path, [7; 32]).unwrap_err().to_string();
        let target = dir.path().join("target");
        DirBuilder::new().mode(0o755).create(&target).unwrap();
        let link = dir.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(
            refused(&link).contains("link is a symbolic link: what lies in it is run"),
            "{}",
            refused(&link)
        );
        assert_eq!((mode(&target), fs::read_dir(&target).unwrap().count()), (0o755, 0));
        for open in [0o720, 0o702, 0o777] {
            fs::set_permissions(&target, Permissions::from_mode(open)).unwrap();
            assert!(refused(&target).contains("can be written to by others"));
            assert_eq!((mode(&target), fs::read_dir(&target).unwrap().count()), (open, 0));
        }
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(refused(&file).contains("is no folder"));
        // Only root can give a folder away.
        fs::set_permissions(&target, Permissions::from_mode(0o700)).unwrap();
        if std::os::unix::fs::chown(&target, Some(12_345), None).is_ok() {
            assert!(refused(&target).contains("belongs to another user"));
        }
    }

    #[test]
    fn caches_opened_at_the_same_instant_have_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| open(dir.path()).key);
            let threads: Vec<_> = (0..8).map(|_| open()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn shrinking_removes_what_was_not_used_for_longest() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        let hour = Duration::from_secs(3600);
        for number in 0..4u8 {
            put(&cache, &[number; 32], b"code");
            let file = File::options().append(true).open(cache.path(&[number; 32])).unwrap();
            file.set_modified(SystemTime::now() - hour * (10 - u32::from(number))).unwrap();
        }
        // Being used makes the oldest one the newest.
        assert!(get(&cache, &[0; 32]).is_some());
        let entries = cache.entries().unwrap();
        let one = entries[0].bytes;
        assert_eq!(entries.len(), 4);
        assert_eq!(cache.shrink(2 * one).unwrap(), 2 * one);
        let left: Vec<_> = (0..4u8).filter(|number| get(&cache, &[*number; 32]).is_some()).collect();
        assert_eq!(left, [0, 3]);
        assert_eq!(cache.shrink(0).unwrap(), 2 * one);
        assert!(cache.dir().join(KEY_FILE).exists());
    }

    #[test]
    fn code_of_the_wrong_kind_does_not_load() {
        let engine = Engine::new(&settings(Allocation::OnDemand)).unwrap();
        let module = Artifact::new(engine.precompile_module(b"\0asm\x01\0\0\0").unwrap());
        assert!(matches!(module.load(&engine, GuestKind::WasiCommandP1), Ok(Loaded::Module(_))));
        assert!(module.load(&engine, GuestKind::Component).is_err());
    }
}
