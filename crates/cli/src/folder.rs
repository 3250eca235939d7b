//! What the server keeps in its data folder beside the store: the folder's own mode, and the files with keys.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

const KEY_FILE: &str = "admin.key";
const SECRETS_KEY_FILE: &str = "secrets.key";

pub fn key_file(data: &Path) -> PathBuf {
    data.join(KEY_FILE)
}

/// One that is there and open to others stays so, for that may be meant; the store makes a new one for its owner alone.
pub fn look_at(data: &Path) {
    let folder = std::fs::metadata(data).ok().filter(std::fs::Metadata::is_dir);
    let mode = folder.map_or(0, |folder| folder.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        tracing::warn!(
            "other users of this machine can look into the data folder (mode {mode:03o}); if that is not meant: chmod 700 {}",
            data.display()
        );
    }
}

pub fn secrets_key_file(data: &Path) -> PathBuf {
    data.join(SECRETS_KEY_FILE)
}

/// Writes an admin key where only the owner of the data folder can read it.
pub fn write_key(data: &Path, secret: &str) -> anyhow::Result<PathBuf> {
    let path = key_file(data);
    write_alone(&path, secret).context("cannot keep the admin key")?;
    Ok(path)
}

/// Writes a line that only its owner can read: whole, or not at all.
pub fn write_alone(path: &Path, line: &str) -> anyhow::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || {
        // One that a crash left behind may have another mode.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(file, "{line}")?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_whole_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        std::fs::write(data.join("admin.key.new"), "torn").unwrap();
        for secret in ["one", "two"] {
            let path = write_key(&data, secret).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{secret}\n"));
            assert_eq!(mode(&path), 0o600);
        }
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    }
}
