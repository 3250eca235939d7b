//! The key that secrets are encrypted with: from the environment, from a file that the operator keeps, or from one in
//! the data folder that is made with the first secret.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use stepwell_engine::ports::{Random, SecretsKey, SystemRandom, async_trait};
use zeroize::Zeroizing;

use crate::folder;

/// Takes precedence over files; not a setting, so that no list of settings shows it.
pub const VARIABLE: &str = "STEPWELL_SECRETS_KEY";

type Key = Zeroizing<[u8; 32]>;

/// Where the key is.
pub enum KeyPlace {
    Given(Key),
    File(PathBuf),
    /// `<data>/secrets.key`.
    Own(PathBuf),
}

impl KeyPlace {
    /// By the setting `secrets.key_file` and the environment, of which one may say something.
    pub fn find(data: &Path, key_file: Option<&Path>, variable: Option<String>) -> anyhow::Result<Self> {
        match (variable.map(Zeroizing::new), key_file) {
            (Some(_), Some(file)) => bail!(
                "the key of the secrets is given twice: by {VARIABLE}, and by secrets.key_file ({}); leave one of them out",
                file.display()
            ),
            (Some(text), None) => {
                Ok(Self::Given(read(&text).with_context(|| format!("{VARIABLE} cannot be used"))?))
            }
            (None, Some(file)) => Ok(Self::File(file.to_owned())),
            (None, None) => Ok(Self::Own(folder::secrets_key_file(data))),
        }
    }

    fn take(&self, make: bool) -> anyhow::Result<Option<Key>> {
        let path = match self {
            Self::Given(key) => return Ok(Some(key.clone())),
            Self::File(path) | Self::Own(path) => path,
        };
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                warn_if_open(path);
                Ok(Some(read(&text).with_context(|| path.display().to_string())?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => match self {
                Self::Own(_) if make => self.make(path).map(Some),
                Self::Own(_) => bail!("{} is not there", path.display()),
                _ => bail!("the file of secrets.key_file is not there: {}", path.display()),
            },
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make(&self, path: &Path) -> anyhow::Result<Key> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::default().fill(&mut *key);
        let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(*key));
        folder::write_alone(path, &text).context("cannot keep the key of the secrets")?;
        tracing::info!("the key of the secrets is in {}; without it they are lost", path.display());
        Ok(key)
    }
}

#[async_trait]
impl SecretsKey for KeyPlace {
    async fn key(&self, make: bool) -> Result<Option<Key>, String> {
        // A few bytes, at the start or with the first secret.
        self.take(make).map_err(|error| format!("{error:#}"))
    }
}

fn warn_if_open(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        tracing::warn!(
            "other users of this machine can read the key of the secrets (mode {mode:03o}); if that is not meant: chmod 600 {}",
            path.display()
        );
    }
}

/// 32 bytes as base64 (either alphabet, padded or not) or as hexadecimal.
fn read(text: &str) -> anyhow::Result<Key> {
    let text = text.trim();
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let hex = (text.len() == 64).then(|| {
        let digits = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        (0..64).step_by(2).map(digits).collect::<Option<Vec<u8>>>()
    });
    let bytes = hex.flatten().or_else(|| {
        let decoded = |alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok();
        decoded(&STANDARD).or_else(|| decoded(&URL_SAFE))
    });
    let bytes = bytes.map(Zeroizing::new).and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    match bytes {
        Some(key) => Ok(Zeroizing::new(key)),
        None => bail!(
            "that is no key; 32 bytes as base64 or hexadecimal are needed, such as `openssl rand -base64 32` gives"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_base64_or_hexadecimal_and_nothing_else() {
        let bytes: Vec<u8> = (0..32).map(|n| 255 - n).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let standard = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
        for text in [&hex, &hex.to_uppercase(), &standard, &url, &format!(" {standard}\n")] {
            assert_eq!(read(text).unwrap().to_vec(), bytes, "{text}");
        }
        let short = standard[..40].to_owned();
        for text in ["", "hunter2", &short, &format!("{hex}00"), &"ä".repeat(32), &"é".repeat(64)] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains("32 bytes") && (text.is_empty() || !error.contains(text)), "{error}");
        }
    }

    #[test]
    fn the_own_file_is_made_when_it_is_needed_and_another_never() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let own = KeyPlace::find(data, None, None).unwrap();
        assert!(own.take(false).unwrap_err().to_string().contains("secrets.key is not there"));
        let made = own.take(true).unwrap().unwrap();
        assert_ne!(*made, [0; 32]);
        assert_eq!(own.take(true).unwrap().unwrap(), made);
        assert_eq!(own.take(false).unwrap().unwrap(), made);
        let mode = std::fs::metadata(data.join("secrets.key")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let other = data.join("other.key");
        let named = KeyPlace::find(data, Some(&other), None).unwrap();
        assert!(named.take(true).unwrap_err().to_string().contains("secrets.key_file"));
        assert!(!other.exists());
        std::fs::write(&other, "nonsense").unwrap();
        assert!(format!("{:#}", named.take(true).unwrap_err()).contains("other.key"));
        let twice = KeyPlace::find(data, Some(&other), Some("x".into())).err().unwrap().to_string();
        assert!(twice.contains("given twice"), "{twice}");
        let wrong = format!("{:#}", KeyPlace::find(data, None, Some("x".into())).err().unwrap());
        assert!(wrong.contains(VARIABLE) && wrong.contains("32 bytes"), "{wrong}");
    }
}
