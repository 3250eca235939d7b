//! The example of the demo, carried in the program, so that an installed `stepwell` has it too.

use std::path::{Path, PathBuf};

use anyhow::Context;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "examples/actions/normalize-lead/Cargo.toml",
    "examples/actions/normalize-lead/Cargo.lock",
    "examples/actions/normalize-lead/action.toml",
    "examples/actions/normalize-lead/src/lib.rs",
    "examples/actions/normalize-lead/src/company.rs",
    "examples/actions/normalize-lead/src/email.rs",
    "examples/actions/normalize-lead/src/name.rs",
    "examples/actions/normalize-lead/src/phone.rs",
];

/// The workflow, and the forms that the demo posts: what each is, and its body.
pub const WORKFLOW: &str = include_str!("../../../examples/workflows/web-form/web-form.yaml");
pub const FORMS: [(&str, &str); 5] = [
    (
        "a new person with a new company",
        include_str!("../../../examples/workflows/web-form/samples/1-new-person.json"),
    ),
    (
        "a second person of that company",
        include_str!("../../../examples/workflows/web-form/samples/2-same-company.json"),
    ),
    (
        "the first again, with a new job title",
        include_str!("../../../examples/workflows/web-form/samples/3-same-person.json"),
    ),
    (
        "one with a malformed e-mail address",
        include_str!("../../../examples/workflows/web-form/samples/4-malformed-address.json"),
    ),
    ("one that is not JSON", include_str!("../../../examples/workflows/web-form/samples/5-no-json.txt")),
];

/// Writes the action's sources and the SDK that they name, laid out as in the repository.
pub fn write_action(folder: &Path) -> anyhow::Result<PathBuf> {
    for (name, text) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    stepwell_harness::vendor(&folder.join("guest-sdk/rust"))?;
    Ok(folder.join("examples/actions/normalize-lead"))
}
