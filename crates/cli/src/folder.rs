//! What the server keeps in its data folder beside the store: the folder's own mode, and the file with an admin key.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

const KEY_FILE: &str = "admin.key";

pub fn key_file(data: &Path) -> PathBuf {
    data.join(KEY_FILE)
}

/// One that is there and open to others stays so, for that may be meant; the store makes a new one for its owner alone.
pub fn look_at(data: &Path) {
    let mode = std::fs::metadata(data).map_or(0, |folder| folder.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        tracing::warn!(
            "other users of this machine can look into the data folder (mode {mode:03o}); if that is not meant: chmod 700 {}",
            data.display()
        );
    }
}

/// Writes a key where only the owner of the data folder can read it: whole, or not at all.
pub fn write_key(data: &Path, secret: &str) -> anyhow::Result<PathBuf> {
    let path = key_file(data);
    let new = data.join("admin.key.new");
    let write = || {
        // One that a crash left behind may have another mode.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(file, "{secret}")?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(data)?.sync_all()
    };
    write().with_context(|| format!("cannot write the admin key to {}", path.display()))?;
    Ok(path)
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
