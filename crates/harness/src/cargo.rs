//! Runs cargo for an action, the same way whatever the environment: a build that depended on it
//! would give other bytes on another machine.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::build::{BuildOptions, run};
use crate::error::HarnessError;
use crate::project::Project;
use crate::toolchain::{TARGET, has_target, missing};

/// What cargo made.
pub(crate) struct Compiled {
    pub module: Vec<u8>,
    /// Cargo's list of the files the module was made from.
    pub inputs: Vec<PathBuf>,
}

/// Compiles the action's crate; `settings` are passed to its own compilation alone.
pub(crate) fn compile(
    project: &Project,
    options: &BuildOptions,
    settings: &[&str],
) -> Result<Compiled, HarnessError> {
    let manifest = project.folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(HarnessError::file(
            &project.folder,
            "there is no Cargo.toml; an action that is not a Rust crate says in action.toml which `module` to use, \
             and how to `build` it",
        ));
    }
    if !has_target()? {
        return Err(HarnessError::Toolchain(missing()));
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["rustc", "--quiet", "--release", "--lib", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(options.target_dir.clone().unwrap_or_else(|| project.folder.join("target")))
        .arg("--")
        .args(settings)
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| !belongs(name)) {
        command.env_remove(name);
    }
    // Set, it also keeps out the flags of the machine's cargo configuration.
    command.env("CARGO_ENCODED_RUSTFLAGS", rust_flags());
    let messages = run(command, &format!("cargo build --release --target {TARGET}"))?;
    artifact(&manifest, &messages)
}

/// Whether a variable of the environment may reach cargo: what changes the result may not, nor
/// what an outer cargo tells its own build.
fn belongs(name: &OsStr) -> bool {
    const NOT: [&str; 12] = [
        "CARGO_BIN_",
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_ENCODED_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_RESOLVER_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
        "__CARGO_",
    ];
    let name = name.to_string_lossy();
    !NOT.iter().any(|prefix| name.starts_with(prefix))
        && !matches!(&*name, "RUSTFLAGS" | "RUSTC_WORKSPACE_WRAPPER" | "CARGO_INCREMENTAL")
}

/// Panics carry the paths of sources; that of a home folder is nobody's business.
fn rust_flags() -> OsString {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let mut flags = OsString::new();
    if let Some(home) = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))) {
        flags.push("--remap-path-prefix=");
        flags.push(home);
        flags.push("=cargo");
    }
    flags
}

/// The part of cargo's messages that matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn artifact(manifest: &Path, messages: &[u8]) -> Result<Compiled, HarnessError> {
    let path = messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| {
            message.reason == "compiler-artifact" && same_file(&message.manifest_path, manifest)
        })
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .ok_or_else(|| {
            HarnessError::file(
                manifest,
                "the crate gives no module: under [lib] say crate-type = [\"cdylib\"]",
            )
        })?;
    let module = std::fs::read(&path).map_err(HarnessError::io(&path))?;
    Ok(Compiled { module, inputs: inputs(&path.with_extension("d"))? })
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Reads a file in make's syntax: `output: input input`, spaces in names escaped.
fn inputs(path: &Path) -> Result<Vec<PathBuf>, HarnessError> {
    let text = std::fs::read_to_string(path).map_err(HarnessError::io(path))?;
    let list = text.lines().find_map(|line| line.split_once(".wasm: ")).map_or("", |(_, list)| list);
    let names = list.replace("\\ ", "\0");
    let names = names.split(' ').filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(name.replace('\0', " "))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_does_not_change_what_is_built() {
        let reaches = |name: &str| belongs(OsStr::new(name));
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"] {
            assert!(reaches(name), "{name}");
        }
        for name in [
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_MANIFEST_DIR",
        ] {
            assert!(!reaches(name), "{name}");
        }
    }

    #[test]
    fn names_with_spaces_survive_make_syntax() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.d");
        std::fs::write(&path, "/out\\ put/a.wasm: /my\\ own/lib.rs /b.rs\n").unwrap();
        assert_eq!(inputs(&path).unwrap(), [Path::new("/my own/lib.rs"), Path::new("/b.rs")]);
    }
}
