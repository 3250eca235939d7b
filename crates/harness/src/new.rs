//! `action new`: a project that passes its tests at once, in or outside the repository.

use std::path::Path;

use stepwell_sandbox::admit::is_action_name;

use crate::HarnessError;
use crate::project::name_rule;
use crate::sdk;

macro_rules! files {
    ($($to:literal from $path:literal),* $(,)?) => {
        &[$(($to, include_str!(concat!("../template/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "action.toml" from "action.toml",
    "Cargo.toml" from "Cargo.toml.in",
    "Cargo.lock" from "Cargo.lock.in",
    ".gitignore" from "gitignore",
    "README.md" from "README.md",
    "src/lib.rs" from "src/lib.rs",
    "fixtures/known-customer/input.json" from "fixtures/known-customer/input.json",
    "fixtures/known-customer/expected.json" from "fixtures/known-customer/expected.json",
    "fixtures/negative-quantity/input.json" from "fixtures/negative-quantity/input.json",
    "fixtures/negative-quantity/error.json" from "fixtures/negative-quantity/error.json",
    "fixtures/wrong-type/input.json" from "fixtures/wrong-type/input.json",
    "fixtures/wrong-type/error.json" from "fixtures/wrong-type/error.json",
];

/// Makes the folder; its last part is the action's name.
pub fn create(folder: &Path) -> Result<(), HarnessError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !is_action_name(&name) {
        return Err(HarnessError::Project(name_rule(&name)));
    }
    if folder.exists() {
        return Err(HarnessError::file(folder, "this is there already; name a folder that is not"));
    }
    for (path, text) in FILES {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(HarnessError::io(parent))?;
        std::fs::write(&path, text.replace("{{name}}", &name)).map_err(HarnessError::io(&path))?;
    }
    sdk::vendor(&folder.join("vendor/stepwell-action"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_its_name_and_the_sdk_and_is_never_written_over_another() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("price-order");
        create(&folder).unwrap();
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"price-order\"") && !manifest.contains("{{"), "{manifest}");
        assert!(folder.join("vendor/stepwell-action/src/lib.rs").is_file());
        assert!(crate::Project::read(&folder).is_ok());
        assert!(create(&folder).unwrap_err().to_string().contains("there already"));
        for name in ["Price", "9lives", "a b", ".."] {
            let error = create(&parent.path().join(name)).unwrap_err().to_string();
            assert!(error.contains("cannot name an action"), "{name}: {error}");
        }
    }
}
