//! Admission: what happens to a module before any of it runs (scan, make a component, compile,
//! cache), and the types in which the answer travels.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::LimitsPatch;

mod cache;
mod child;
mod compile;
mod component_scan;
mod core_scan;
mod features;
mod kind;
mod links;
mod metadata;
mod name_scan;
mod prepare;
mod rules;
#[cfg(test)]
mod samples;
mod scan;
mod sections;
mod signature;

pub use child::compile_child_main;
pub use compile::{Compiler, Loaded};
pub use metadata::{SECTION as METADATA_SECTION, is_action_name, write as write_metadata};
pub use rules::{OTHER_REFUSALS, RULES, Rule, markdown as rules_markdown};
pub use scan::scan;
pub use sections::{Strip, append_custom, is_debug_section, strip};

/// How a guest is run, told from its bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestKind {
    /// A component that exports `stepwell:action/handler@1.x` (or a core module that was made one).
    Component,
    /// A component that exports `wasi:cli/run@0.2.x`: JSON on stdin and stdout, logs on stderr.
    WasiCommandP2,
    /// A core module with `_start` and WASI preview 1 imports; JSON and logs likewise.
    WasiCommandP1,
}

/// A module that the scan let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// How it is run.
    pub kind: GuestKind,
    /// SHA-256 of the bytes as they were uploaded.
    pub sha256: [u8; 32],
    /// Their number.
    pub size: u64,
    /// What the module says about itself, if it does.
    pub metadata: Option<Metadata>,
    /// What it imports, by name.
    pub imports: Vec<String>,
    /// What it exports, by name.
    pub exports: Vec<String>,
    /// The bytes as they were uploaded.
    pub module: Bytes,
}

/// What a module says about itself in its custom section `stepwell:action`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The action's name.
    pub name: Option<String>,
    /// Its semantic version.
    pub version: Option<semver::Version>,
    /// One line for humans.
    pub description: Option<String>,
    /// The SDK it was built with, such as `rust 0.1.0`.
    pub sdk: Option<String>,
    /// The contract it was built for, such as `1.0.0`.
    pub contract: Option<semver::Version>,
    /// JSON Schema of the input.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the output.
    pub output_schema: Option<serde_json::Value>,
    /// Limits to use where the caller names none.
    pub limits: LimitsPatch,
    /// Grants asked for (none exist in contract 1.0).
    pub grants: Vec<String>,
}

/// Why the scan did not let a module in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule that was broken, by its name in the table of rules.
    pub rule: String,
    /// What is wrong and where.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The rule's bound, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What the module has instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(rule: &str, message: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), message: message.into(), hint: None, limit: None, found: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Where strangers' modules are compiled.
#[derive(Clone, Debug)]
pub enum CompileStrategy {
    /// In this process: for one's own modules, and for tests. A hostile module can make the
    /// compiler use any amount of time and memory.
    InProcess,
    /// In a child process that limits itself and is killed when it takes too long.
    Child {
        /// The program, usually `std::env::current_exe()`.
        program: PathBuf,
        /// Its arguments: those that make it call [`compile_child_main`].
        args: Vec<OsString>,
        /// What it may use.
        limits: CompileLimits,
    },
}

/// What a compilation in a child process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileLimits {
    /// Processor time.
    pub cpu_seconds: u64,
    /// Address space.
    pub memory_bytes: u64,
    /// Size of the machine code.
    pub artifact_bytes: u64,
    /// Real time until the child is killed.
    pub wall_ms: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { cpu_seconds: 60, memory_bytes: 2 << 30, artifact_bytes: 64 << 20, wall_ms: 120_000 }
    }
}
