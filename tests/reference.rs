//! The reference says what the program does: no error code is missing from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::guests;

/// What stands before a code in the sources, blanks left out.
const BEFORE: [&str; 15] = [
    "EngineError::not_found(\"",
    "EngineError::invalid(\"",
    "EngineError::conflict(\"",
    "Failure::engine(\"",
    "Failure::new(Source::Engine,\"",
    "Problem::bad_request(\"",
    "Problem::not_found(\"",
    "refused(\"",
    "unreachable(\"",
    "unknown(\"",
    "waits(\"",
    "code:\"",
    "=>(StatusCode::",
    "EngineError::new(ErrorKind::",
    "::new(StatusCode::",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What the scan of a module refuses has a reference of its own.
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("admit") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The codes of a source file.
fn codes(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let mut found = Vec::new();
    for before in BEFORE {
        for (at, _) in bare.match_indices(before) {
            let mut rest = &bare[at + before.len()..];
            if !before.ends_with('"') {
                // The kind or the status, a comma, then the code; or something made elsewhere.
                let Some((_, after)) = rest.split_once(',') else { continue };
                let Some(after) = after.strip_prefix('"') else { continue };
                rest = after;
            }
            found.extend(rest.split_once('"').map(|(code, _)| code.to_owned()));
        }
    }
    if path.ends_with("sandbox/src/error.rs") {
        found.extend(
            bare.split(":&str=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
        );
    }
    if path.ends_with("records/src/error.rs") {
        found.extend(bare.split("=>\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    found.retain(|code| {
        code.chars().all(|c| c.is_ascii_lowercase() || c == '_') && code.contains(|c: char| c != '_')
    });
    found
}

#[test]
fn every_error_code_is_in_the_reference() {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for part in ["engine", "server", "sandbox", "records"] {
        let mut files = Vec::new();
        sources(&guests::root().join("crates").join(part).join("src"), &mut files);
        for file in files {
            for code in codes(&file) {
                known.insert(code, file.display().to_string());
            }
        }
    }
    assert!(known.len() > 60, "codes are found: {known:?}");
    let page = std::fs::read_to_string(guests::root().join("docs/reference/errors.md")).unwrap();
    let told: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let missing: Vec<_> = known.iter().filter(|(code, _)| !told.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "docs/reference/errors.md does not tell of {missing:#?}");
}
