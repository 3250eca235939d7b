//! What an action in Rust says about itself: its schemas, and the SDK it was made with.
//!
//! The action is compiled a second time, with a setting that makes it answer every input with its
//! description, and called in the sandbox like any other. So the shipped module carries none of
//! the code that makes schemas. A description is kept under a hash of everything that the module
//! was made from: a doc comment changes a schema, and not one byte of the module.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stepwell_sandbox::{Call, Host, HostConfig, Limits};

use crate::build::{BuildOptions, hex, write_whole};
use crate::cargo::{self, Compiled};
use crate::error::HarnessError;
use crate::project::Project;

#[derive(Clone, Default, Deserialize, Serialize)]
pub(crate) struct Description {
    pub sdk: Option<String>,
    pub contract: Option<semver::Version>,
    pub input_schema: Option<serde_json::Value>,
    pub output_schema: Option<serde_json::Value>,
}

#[derive(Deserialize, Serialize)]
struct Kept {
    made_from: String,
    description: Description,
}

pub(crate) async fn describe(
    project: &Project,
    options: &BuildOptions,
    shipped: &Compiled,
    out: &Path,
) -> Result<Description, HarnessError> {
    let made_from = hash(project, shipped);
    let path = out.join(format!("{}.description.json", project.name));
    let known = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    if let Some(known) = known.filter(|known| known.made_from == made_from) {
        return Ok(known.description);
    }
    let describing = cargo::compile(project, options, &["--cfg", "stepwell_describe"])?;
    let kept = Kept { made_from, description: ask(describing.module).await? };
    let text = serde_json::to_vec_pretty(&kept).map_err(|e| HarnessError::file(&path, e))?;
    write_whole(&path, &text)?;
    Ok(kept.description)
}

fn hash(project: &Project, shipped: &Compiled) -> String {
    let mut hash = Sha256::new();
    hash.update(&shipped.module);
    for path in shipped.inputs.iter().chain([&project.folder.join("Cargo.lock")]) {
        hash.update(path.as_os_str().as_encoded_bytes());
        // A file that is gone changes the hash too.
        hash.update(std::fs::read(path).map(|content| Sha256::digest(content).to_vec()).unwrap_or_default());
    }
    hex(&hash.finalize())
}

/// Calls the describing build, in the sandbox like any action.
async fn ask(module: Vec<u8>) -> Result<Description, HarnessError> {
    let host = Host::new(HostConfig { max_concurrent_calls: 1, threads: 1, ..HostConfig::default() })
        .map_err(|e| HarnessError::Sandbox(e.to_string()))?;
    let action = host.load(module).await?;
    let limits = Limits { wall_ms: Limits::HOST_MAXIMA.wall_ms, ..Limits::default() };
    let outcome = host.call(&action, Call::new("null").limits(limits)).await;
    let text =
        outcome.result.map_err(|e| HarnessError::Sandbox(format!("the schemas cannot be read: {e}")))?;
    serde_json::from_str(&text).map_err(|e| {
        HarnessError::Sandbox(format!(
            "the schemas cannot be read: {e}; does the crate use #[stepwell_action::action]?"
        ))
    })
}
