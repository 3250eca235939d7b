//! The module that is run everywhere: the example action normalize-lead, built once from its source.

use std::path::{Path, PathBuf};

use anyhow::Context;
use stepwell_harness::{BuildOptions, Project};
use stepwell_sandbox::admit::{Metadata, write_metadata};

pub struct Guest {
    /// As it is uploaded: a core module that describes itself.
    pub module: Vec<u8>,
    /// The component made of it, for what knows no uploads.
    pub component: Vec<u8>,
    /// A file of that.
    pub component_file: PathBuf,
    metadata: Metadata,
}

/// Builds it; its component goes into `dir`.
pub async fn build(dir: &Path) -> anyhow::Result<Guest> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/actions/normalize-lead");
    let project = Project::read(&folder)?;
    let built = stepwell_harness::build(&project, &BuildOptions::default()).await?;
    let module = std::fs::read(&built.module).with_context(|| built.module.display().to_string())?;
    let component = encode(&module)?;
    let component_file = dir.join("component.wasm");
    std::fs::write(&component_file, &component)?;
    Ok(Guest { module, component, component_file, metadata: built.metadata })
}

/// The component of a core module.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    wit_component::ComponentEncoder::default().module(module)?.encode()
}

impl Guest {
    /// The same code as another module: other bytes under another name.
    pub fn named(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let metadata = Metadata { name: Some(name.to_owned()), ..self.metadata.clone() };
        write_metadata(&self.module, &metadata).map_err(|refusal| anyhow::anyhow!("{refusal}"))
    }
}
