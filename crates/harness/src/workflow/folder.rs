//! The folder that is tested: its workflows, its tests, and the actions that the workflows name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use stepwell_workflow::check::{Catalog, Rehearsal, check_as};
use stepwell_workflow::document::{Data, Source, parse};
use stepwell_workflow::model::{StepKind, Workflow};
use stepwell_workflow::problem::render_all;
use stepwell_workflow::schema_file::{self, WithSchema};

use crate::build::{BuildOptions, build};
use crate::error::HarnessError;
use crate::project::Project;
use crate::toolchain::add_target;

/// A workflow's file.
pub(super) struct Flow {
    pub name: String,
    pub file: PathBuf,
    pub text: String,
}

/// What is the same for all tests of a folder.
pub(super) struct Folder {
    /// The text of its schema file.
    pub schema: Option<String>,
    pub flows: Vec<Flow>,
    /// Those of its `connections/`.
    pub connections: Vec<Flow>,
    /// Modules by the action's name.
    pub actions: BTreeMap<String, Bytes>,
    /// By name, in the order of the names.
    pub tests: Vec<(String, PathBuf)>,
}

impl Folder {
    /// Reads the folder, and builds the actions.
    pub async fn read(folder: &Path, options: &BuildOptions) -> Result<Self, HarnessError> {
        if !folder.is_dir() {
            return Err(HarnessError::file(folder, "there is no such folder"));
        }
        let tests = tests(folder)?;
        let (schema, catalog) = schema(folder)?;
        let (flows, wanted) = flows(folder, &*catalog)?;
        let mut actions = BTreeMap::new();
        for (name, by) in wanted {
            let module = module(folder, &name, &by, options).await?;
            actions.insert(name, module);
        }
        Ok(Self { schema, flows, connections: connections(folder)?, actions, tests })
    }
}

/// The files of a folder with such an ending, in the order of their names.
fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, HarnessError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(HarnessError::io(folder))? {
        let path = entry.map_err(HarnessError::io(folder))?.path();
        // In the folder where somebody is, its name says nothing.
        let path = path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| endings.contains(&ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn tests(folder: &Path) -> Result<Vec<(String, PathBuf)>, HarnessError> {
    let inside = folder.join("tests");
    let none = || HarnessError::file(&inside, "there are no tests: make tests/NAME.yaml");
    if !inside.is_dir() {
        return Err(none());
    }
    let tests: Vec<_> =
        files(&inside, &["yaml", "yml", "json"])?.into_iter().map(|path| (stem(&path), path)).collect();
    if tests.is_empty() { Err(none()) } else { Ok(tests) }
}

fn connections(folder: &Path) -> Result<Vec<Flow>, HarnessError> {
    let inside = folder.join("connections");
    if !inside.is_dir() {
        return Ok(Vec::new());
    }
    let mut connections = Vec::new();
    for file in files(&inside, &["yaml", "yml", "json"])? {
        let text = std::fs::read_to_string(&file).map_err(HarnessError::io(&file))?;
        let name = stem(&file);
        let (_, problems) = stepwell_workflow::connection::read(&text, &name);
        if !problems.is_empty() {
            let told = render_all(&problems, &file.display().to_string(), &text);
            return Err(HarnessError::Test(told.trim_end().to_owned()));
        }
        connections.push(Flow { name, file, text });
    }
    Ok(connections)
}

/// The actions that are named, and by which file.
type Wanted = BTreeMap<String, PathBuf>;

/// The folder's schema file, and what it makes of a workspace.
fn schema(folder: &Path) -> Result<(Option<String>, Box<dyn Catalog>), HarnessError> {
    let file = folder.join(schema_file::FILE);
    if !file.is_file() {
        return Ok((None, Box::new(Rehearsal)));
    }
    let text = std::fs::read_to_string(&file).map_err(HarnessError::io(&file))?;
    let made = schema_file::read(&text)
        .and_then(|wanted| WithSchema::new(&wanted).map_err(|error| schema_file::told(&text, &error)));
    match made {
        Ok(catalog) => Ok((Some(text), Box::new(catalog.rehearsal()))),
        Err(problems) => {
            let told = render_all(&problems, &file.display().to_string(), &text);
            Err(HarnessError::Test(told.trim_end().to_owned()))
        }
    }
}

fn flows(folder: &Path, catalog: &dyn Catalog) -> Result<(Vec<Flow>, Wanted), HarnessError> {
    let (mut flows, mut wanted) = (Vec::new(), Wanted::new());
    for file in files(folder, &["yaml", "yml", "json"])? {
        let text = std::fs::read_to_string(&file).map_err(HarnessError::io(&file))?;
        if !is_workflow(&text) {
            continue;
        }
        let name = stem(&file);
        let checked = check_as(&text, &name, catalog);
        let (Some(workflow), true) = (checked.workflow, checked.problems.is_empty()) else {
            let told = render_all(&checked.problems, &file.display().to_string(), &text);
            return Err(HarnessError::Test(told.trim_end().to_owned()));
        };
        for action in actions(&workflow) {
            wanted.entry(action).or_insert_with(|| file.clone());
        }
        flows.push(Flow { name, file, text });
    }
    if flows.is_empty() {
        return Err(HarnessError::file(
            folder,
            "there is no workflow: no .yaml or .json file here has a `trigger`",
        ));
    }
    Ok((flows, wanted))
}

/// A folder may hold other documents too. What cannot be read counts, so that somebody hears of it.
fn is_workflow(text: &str) -> bool {
    match parse(&Source::new(text)).0 {
        Some(tree) => {
            matches!(tree.data, Data::Map(_))
                && (tree.get("trigger").is_some() || tree.get("steps").is_some())
        }
        None => true,
    }
}

fn actions(workflow: &Workflow) -> Vec<String> {
    let steps = workflow.every_step().into_iter();
    let named = steps.filter_map(|step| match &step.kind {
        StepKind::Code(code) => Some(code.action.name.clone()),
        _ => None,
    });
    named.collect()
}

/// Of `actions/NAME` (a folder with an action.toml, built first) and `actions/NAME.wasm`, the nearest, in the folder
/// or above it.
async fn module(folder: &Path, name: &str, by: &Path, options: &BuildOptions) -> Result<Bytes, HarnessError> {
    let whole = folder.canonicalize().map_err(HarnessError::io(folder))?;
    for above in whole.ancestors() {
        let place = above.join("actions");
        let source = place.join(name);
        let file = place.join(format!("{name}.wasm"));
        let path = if source.join("action.toml").is_file() {
            let project = Project::read(&source)?;
            if project.module.is_none() {
                add_target()?;
            }
            build(&project, options).await?.module
        } else if file.is_file() {
            file
        } else {
            continue;
        };
        return std::fs::read(&path).map(Bytes::from).map_err(HarnessError::io(&path));
    }
    Err(HarnessError::file(
        by,
        format!(
            "the action `{name}` is not there: neither actions/{name}/action.toml nor actions/{name}.wasm, in {} or a folder above it",
            folder.display()
        ),
    ))
}
