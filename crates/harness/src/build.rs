//! `action build`: from an action's folder to a module that carries its metadata.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stepwell_sandbox::admit::{Metadata, Strip, is_debug_section, strip, write_metadata};
use stepwell_sandbox::{Call, Host, HostConfig};

use crate::error::HarnessError;
use crate::project::Project;
use crate::toolchain::{TARGET, has_target, missing};

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Where cargo keeps what it builds; the folder's own `target` when absent.
    pub target_dir: Option<PathBuf>,
}

/// A module, ready to be uploaded.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    pub name: String,
    pub version: semver::Version,
    /// The file.
    pub module: PathBuf,
    pub size: u64,
    pub sha256: String,
    pub metadata: Metadata,
}

/// What an action built with the cfg `stepwell_describe` answers.
#[derive(Clone, Deserialize, Serialize)]
struct Description {
    sdk: String,
    contract: semver::Version,
    input_schema: Option<serde_json::Value>,
    output_schema: Option<serde_json::Value>,
}

/// The description of a module, kept beside it: describing costs a second build.
#[derive(Deserialize, Serialize)]
struct Described {
    module_sha256: String,
    description: Description,
}

/// Builds the action. What the compiler says goes to stderr. Needs a tokio runtime.
pub async fn build(project: &Project, options: &BuildOptions) -> Result<Built, HarnessError> {
    let out = project.folder.join("target/stepwell");
    std::fs::create_dir_all(&out).map_err(HarnessError::io(&out))?;
    let (module, description) = match (&project.build, &project.module) {
        (Some(command), Some(module)) => (foreign(project, command, module)?, None),
        _ => {
            let (module, description) = rust(project, options, &out).await?;
            (module, Some(description))
        }
    };
    let debug = Strip { custom: &is_debug_section, exports: &[] };
    let module = strip(&module, &debug).map_err(|refusal| HarnessError::Refused(refusal.to_string()))?;
    let metadata = metadata(project, description);
    let module =
        write_metadata(&module, &metadata).map_err(|refusal| HarnessError::Refused(refusal.to_string()))?;
    let path = out.join(format!("{}.wasm", project.name));
    std::fs::write(&path, &module).map_err(HarnessError::io(&path))?;
    Ok(Built {
        name: project.name.clone(),
        version: project.version.clone(),
        module: path,
        size: module.len() as u64,
        sha256: hex(&Sha256::digest(&module)),
        metadata,
    })
}

fn metadata(project: &Project, description: Option<Description>) -> Metadata {
    let (sdk, contract, input_schema, output_schema) = match description {
        Some(d) => (Some(d.sdk), Some(d.contract), d.input_schema, d.output_schema),
        None => (None, None, None, None),
    };
    Metadata {
        name: Some(project.name.clone()),
        version: Some(project.version.clone()),
        description: project.description.clone(),
        sdk,
        contract,
        input_schema,
        output_schema,
        limits: project.limits.clone(),
        grants: Vec::new(),
    }
}

/// Whatever language: the project's own command, and the file that it says it writes.
fn foreign(project: &Project, command: &[String], module: &Path) -> Result<Vec<u8>, HarnessError> {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).current_dir(&project.folder).stdin(Stdio::null());
    run(process, command.join(" "))?;
    let path = project.folder.join(module);
    std::fs::read(&path).map_err(HarnessError::io(&path))
}

async fn rust(
    project: &Project,
    options: &BuildOptions,
    out: &Path,
) -> Result<(Vec<u8>, Description), HarnessError> {
    if !has_target()? {
        return Err(HarnessError::Toolchain(missing()));
    }
    let module = cargo(project, options, &[])?;
    let module_sha256 = hex(&Sha256::digest(&module));
    let kept = out.join(format!("{}.description.json", project.name));
    let known = std::fs::read(&kept).ok().and_then(|text| serde_json::from_slice::<Described>(&text).ok());
    if let Some(known) = known.filter(|known| known.module_sha256 == module_sha256) {
        return Ok((module, known.description));
    }
    let described = cargo(project, options, &["--cfg", "stepwell_describe"])?;
    let description = describe(described).await?;
    let kept_text = Described { module_sha256, description: description.clone() };
    let text = serde_json::to_vec(&kept_text).map_err(|e| HarnessError::file(&kept, e))?;
    std::fs::write(&kept, text).map_err(HarnessError::io(&kept))?;
    Ok((module, description))
}

/// Builds the crate and gives its module's bytes.
fn cargo(project: &Project, options: &BuildOptions, rustc: &[&str]) -> Result<Vec<u8>, HarnessError> {
    let manifest = project.folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(HarnessError::file(
            &project.folder,
            "there is no Cargo.toml; an action that is not a Rust crate says `build` and `module` in action.toml",
        ));
    }
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&program);
    command
        .args(["rustc", "--quiet", "--release", "--lib", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(options.target_dir.clone().unwrap_or_else(|| project.folder.join("target")))
        .arg("--")
        .args(rustc)
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // Settings for building this program or its tests must not change what a guest is.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    let shown = format!("cargo rustc --release --target {TARGET}");
    let messages = run(command, shown)?;
    let file = messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| {
            message.reason == "compiler-artifact" && same_file(&message.manifest_path, &manifest)
        })
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|e| e == "wasm"))
        .ok_or_else(|| {
            HarnessError::file(
                &manifest,
                "the crate gives no module: under [lib] say crate-type = [\"cdylib\"]",
            )
        })?;
    std::fs::read(&file).map_err(HarnessError::io(&file))
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

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Runs a command to its end and gives its stdout, if that was piped.
fn run(mut command: Command, shown: String) -> Result<Vec<u8>, HarnessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .spawn()
        .map_err(|e| HarnessError::Toolchain(format!("`{program}` cannot be run: {e}; is it installed?")))?;
    let out = child.wait_with_output().map_err(|e| HarnessError::Toolchain(format!("`{program}`: {e}")))?;
    if !out.status.success() {
        return Err(HarnessError::Build { command: shown, status: out.status.to_string() });
    }
    Ok(out.stdout)
}

/// Calls the describing build, in the sandbox like any action.
async fn describe(module: Vec<u8>) -> Result<Description, HarnessError> {
    let host = Host::new(HostConfig { max_concurrent_calls: 1, threads: 1, ..HostConfig::default() })
        .map_err(|e| HarnessError::Sandbox(e.to_string()))?;
    let action = host.load(module).await?;
    let outcome = host.call(&action, Call::new("null")).await;
    let text =
        outcome.result.map_err(|e| HarnessError::Sandbox(format!("the schemas cannot be read: {e}")))?;
    serde_json::from_str(&text).map_err(|e| {
        HarnessError::Sandbox(format!(
            "the schemas cannot be read: {e}; does the crate use #[stepwell_action::action]?"
        ))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
