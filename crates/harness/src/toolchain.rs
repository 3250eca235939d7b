//! Rust's WebAssembly target: whether it is there, and how to get it.

use std::path::PathBuf;
use std::process::Command;

use crate::HarnessError;

/// What Rust actions are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Whether rustc can build for the target: its standard library is there, whoever installed it.
pub fn has_target() -> Result<bool, HarnessError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output().map_err(|e| {
            HarnessError::Toolchain(format!("rustc cannot be run ({e}); install Rust with rustup"))
        })?;
    let folder = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
    Ok(std::fs::read_dir(folder).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
    }))
}

/// Adds the target with rustup, if it is missing.
pub fn add_target() -> Result<(), HarnessError> {
    if has_target()? {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).output();
    match added {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(HarnessError::Toolchain(format!(
            "{}; rustup said: {}",
            missing(),
            String::from_utf8_lossy(&out.stderr).trim()
        ))),
        Err(_) => Err(HarnessError::Toolchain(format!(
            "the Rust target {TARGET} is missing and rustup is not there to add it: install Rust by https://rustup.rs, \
             or the target as your system packages it (Debian: apt install libstd-rust-dev-wasm32)"
        ))),
    }
}

pub(crate) fn missing() -> String {
    format!("the Rust target {TARGET} is missing: run `rustup target add {TARGET}`")
}
