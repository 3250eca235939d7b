//! Files of documents as a command line names them: read up to a size, and none twice.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::workflow::name_of;

/// No document of any kind has more: a workflow may have 500 KiB, a body of the API 8 MiB.
const MOST: u64 = 8 << 20;

/// Values for a command may have more.
const MOST_GIVEN: u64 = 64 << 20;

/// The bytes of a file. A device or a pipe among a folder's files is none, and might never end.
pub fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let kind = std::fs::metadata(path).with_context(cannot)?;
    if !kind.is_file() {
        bail!(
            "{} is no file: it is {}",
            path.display(),
            if kind.is_dir() { "a folder" } else { "a device or a pipe" }
        );
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .with_context(cannot)?
        .take(MOST + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    if bytes.len() as u64 > MOST {
        bail!("{} has more than {} MiB, which no document has", path.display(), MOST >> 20);
    }
    Ok(bytes)
}

/// The text of what somebody named: a pipe will do.
pub fn given(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut text = String::new();
    std::fs::File::open(path)
        .with_context(cannot)?
        .take(MOST_GIVEN + 1)
        .read_to_string(&mut text)
        .with_context(cannot)?;
    if text.len() as u64 > MOST_GIVEN {
        bail!("{} has more than {} MiB", path.display(), MOST_GIVEN >> 20);
    }
    Ok(text)
}

/// The text of a file.
pub fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{} is not UTF-8 text: byte {at} is wrong", path.display())
    })
}

/// The files once each. Two that give one name would be applied over each other, each time anew.
pub fn by_name(files: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let mut known: HashMap<String, PathBuf> = HashMap::new();
    let mut kept = Vec::new();
    for file in files {
        let name = name_of(&file)?;
        let same = |other: &PathBuf| other.canonicalize().ok() == file.canonicalize().ok();
        match known.get(&name) {
            Some(other) if other == &file || same(other) => continue,
            Some(other) => bail!(
                "{} and {} both give the name `{name}`: keep one of them, or name one otherwise",
                other.display(),
                file.display()
            ),
            None => {
                known.insert(name, file.clone());
                kept.push(file);
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_by_one_file_and_what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one.yaml", "one.json", "two.yml"] {
            std::fs::write(at(name), "name: x").unwrap();
        }
        let twice = vec![at("one.yaml"), at("two.yml"), folder.path().join("./one.yaml")];
        assert_eq!(by_name(twice).unwrap(), [at("one.yaml"), at("two.yml")]);
        let error = by_name(vec![at("one.yaml"), at("one.json")]).unwrap_err().to_string();
        assert!(error.contains("one.yaml and ") && error.contains("both give the name `one`"), "{error}");
        assert_eq!(text(&at("one.yaml")).unwrap(), "name: x");
        assert!(text(folder.path()).unwrap_err().to_string().contains("is no file: it is a folder"));
        assert!(text(Path::new("/dev/zero")).unwrap_err().to_string().contains("a device or a pipe"));
        std::fs::File::create(at("large.yaml")).unwrap().set_len(MOST + 1).unwrap();
        assert!(text(&at("large.yaml")).unwrap_err().to_string().contains("more than 8 MiB"));
        std::fs::write(at("latin.yaml"), b"name: \xe9").unwrap();
        assert!(text(&at("latin.yaml")).unwrap_err().to_string().contains("byte 6 is wrong"));
    }
}
