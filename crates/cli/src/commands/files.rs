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
    let kind = std::fs::metadata(path).with_context(|| cannot_read(path))?;
    if !kind.is_file() {
        bail!(
            "{} is no file: it is {}",
            path.display(),
            if kind.is_dir() { "a folder" } else { "a device or a pipe" }
        );
    }
    at_most(path, MOST, ", which no document has")
}

/// The text of a file.
pub fn text(path: &Path) -> anyhow::Result<String> {
    utf8(path, bytes(path)?)
}

/// The text of what somebody named: a pipe will do.
pub fn given(path: &Path) -> anyhow::Result<String> {
    utf8(path, at_most(path, MOST_GIVEN, "")?)
}

/// Everything, unless it is more than that: then nobody waits for the rest.
fn at_most(path: &Path, most: u64, which: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| cannot_read(path))?;
    file.take(most + 1).read_to_end(&mut bytes).with_context(|| cannot_read(path))?;
    if bytes.len() as u64 > most {
        bail!("{} has more than {} MiB{which}", path.display(), most >> 20);
    }
    Ok(bytes)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

fn utf8(path: &Path, bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
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
        for read in [text, given] {
            assert!(read(&at("latin.yaml")).unwrap_err().to_string().contains("byte 6 is wrong"));
        }
    }
}
