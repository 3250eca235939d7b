//! The Rust SDK, carried in the program: an action made outside the repository gets a copy.

use std::path::Path;

use crate::HarnessError;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../guest-sdk/rust/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "Cargo.toml",
    "Cargo.lock",
    "src/bindings.rs",
    "src/failure.rs",
    "src/glue.rs",
    "src/guest.rs",
    "src/json.rs",
    "src/lib.rs",
    "src/place.rs",
    "src/rt.rs",
    "macro/Cargo.toml",
    "macro/src/lib.rs",
];

/// Writes the SDK into a folder.
pub fn vendor(folder: &Path) -> Result<(), HarnessError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(HarnessError::io(parent))?;
        std::fs::write(&path, text).map_err(HarnessError::io(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A file added to the SDK and not listed here would be missing from new projects.
    #[test]
    fn every_source_file_of_the_sdk_is_carried() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk/rust");
        let mut there = BTreeSet::new();
        for folder in ["src", "macro/src"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                there.insert(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        let carried =
            FILES.iter().map(|(path, _)| (*path).to_owned()).filter(|p| p.contains("src/")).collect();
        assert_eq!(there, carried);
    }

    #[test]
    fn the_kept_bindings_are_those_of_the_contract() {
        use sha2::{Digest, Sha256};
        let contract = include_bytes!("../../../guest-sdk/wit/action.wit");
        let hash = crate::build::hex(&Sha256::digest(contract));
        let bindings = FILES.iter().find(|(path, _)| *path == "src/bindings.rs").unwrap().1;
        assert!(bindings.contains(&hash), "run: cargo run --manifest-path guest-sdk/bindgen/Cargo.toml");
    }
}
