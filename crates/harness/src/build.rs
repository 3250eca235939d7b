//! `action build`: from an action's folder to a module that carries its metadata.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use sha2::{Digest, Sha256};
use stepwell_sandbox::admit::{Metadata, Strip, is_debug_section, scan, strip, write_metadata};

use crate::cargo;
use crate::describe::{self, Description};
use crate::error::HarnessError;
use crate::names;
use crate::project::Project;

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Where cargo keeps what it builds; the folder's own `target` when absent. Actions that share
    /// one share their compiled dependencies.
    pub target_dir: Option<PathBuf>,
    /// Told an action's name before it is built, which may take long.
    pub tell: Option<fn(&str)>,
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

/// Builds the action. What the compiler says goes to stderr. Needs a tokio runtime.
#[tracing::instrument(skip_all, fields(action = %project.name))]
pub async fn build(project: &Project, options: &BuildOptions) -> Result<Built, HarnessError> {
    if let Some(tell) = options.tell {
        tell(&project.name);
    }
    let out = project.folder.join("target/stepwell");
    let (module, description) = match &project.module {
        Some(module) => (foreign(project, module)?, Description::default()),
        None => {
            let shipped = cargo::compile(project, options, &[])?;
            let description = describe::describe(project, options, &shipped, &out).await?;
            (names::shorten(shipped.module)?, description)
        }
    };
    let debug = Strip { custom: &is_debug_section, exports: &[] };
    let metadata = metadata(project, description);
    let module = write_metadata(&strip(&module, &debug)?, &metadata)?;
    // What a server would refuse is refused here, where it can be mended.
    scan(&module.clone().into())?;
    let path = out.join(format!("{}.wasm", project.name));
    write_whole(&path, &module)?;
    Ok(Built {
        name: project.name.clone(),
        version: project.version.clone(),
        module: path,
        size: module.len() as u64,
        sha256: hex(&Sha256::digest(&module)),
        metadata,
    })
}

fn metadata(project: &Project, description: Description) -> Metadata {
    Metadata {
        name: Some(project.name.clone()),
        version: Some(project.version.clone()),
        description: project.description.clone(),
        sdk: description.sdk,
        contract: description.contract,
        input_schema: project.input_schema.clone().or(description.input_schema),
        output_schema: project.output_schema.clone().or(description.output_schema),
        limits: project.limits,
        grants: Vec::new(),
    }
}

/// Whatever language: the project's own command, if it has one, and the file that it says is there.
fn foreign(project: &Project, module: &Path) -> Result<Vec<u8>, HarnessError> {
    if let Some((program, arguments)) = project.build.as_deref().and_then(<[String]>::split_first) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&project.folder).stdin(Stdio::null());
        run(command, &project.build.as_deref().unwrap_or_default().join(" "))?;
    }
    let path = project.folder.join(module);
    std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            HarnessError::file(&path, "this is what `module` in action.toml names, and it is not there")
        }
        _ => HarnessError::io(&path)(error),
    })
}

/// Runs a command to its end and gives its stdout, if that was piped.
pub(crate) fn run(mut command: Command, shown: &str) -> Result<Vec<u8>, HarnessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .spawn()
        .map_err(|e| HarnessError::Toolchain(format!("`{program}` cannot be run: {e}; is it installed?")))?;
    let out = child.wait_with_output().map_err(|e| HarnessError::Toolchain(format!("`{program}`: {e}")))?;
    if !out.status.success() {
        return Err(HarnessError::Build { command: shown.to_owned(), status: out.status.to_string() });
    }
    Ok(out.stdout)
}

/// Writes a file so that nobody reads half of it.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), HarnessError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(HarnessError::io(folder))?;
    }
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&draft, content).map_err(HarnessError::io(&draft))?;
    std::fs::rename(&draft, path).map_err(HarnessError::io(path))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
