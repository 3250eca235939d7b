//! `workflow test`: the engine and the sandbox of production over an empty store, with the world outside as a test
//! says it is.

mod clock;
mod code;
mod document;
mod folder;
mod form;
mod judge;
mod matching;
mod outside;
mod report;
mod world;

pub use report::{FlowCase, FlowReport};

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use stepwell_sandbox::{Host, HostConfig};

use crate::build::BuildOptions;
use crate::error::HarnessError;
use crate::report::Problem;
use code::Sandbox;
use document::Test;
use folder::Folder;
use judge::{Judge, trace};
use world::World;

/// How to test.
#[derive(Debug, Clone, Default)]
pub struct FlowTestOptions {
    /// Only tests whose name contains this.
    pub only: Option<String>,
    /// How actions are built.
    pub build: BuildOptions,
}

/// Runs the tests of a folder of workflows. Needs a tokio runtime.
#[tracing::instrument(skip_all, fields(folder = %folder.display()))]
pub async fn test_workflows(folder: &Path, options: &FlowTestOptions) -> Result<FlowReport, HarnessError> {
    let read = Folder::read(folder, &options.build).await?;
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only));
    let chosen: Vec<_> = read.tests.iter().filter(|(name, _)| wanted(name)).cloned().collect();
    if chosen.is_empty() {
        let only = options.only.as_deref().unwrap_or_default();
        let names: Vec<&str> = read.tests.iter().map(|(name, _)| name.as_str()).collect();
        return Err(HarnessError::Test(format!(
            "no test's name contains `{only}`; there are {}",
            names.join(", ")
        )));
    }
    let host = Host::new(HostConfig::default()).map_err(|e| HarnessError::Sandbox(e.to_string()))?;
    let sandbox = Arc::new(Sandbox::new(host));
    let read = Arc::new(read);
    let mut cases = Vec::new();
    for (name, path) in chosen {
        let began = Instant::now();
        let (read, sandbox) = (read.clone(), sandbox.clone());
        let case = tokio::task::spawn_blocking(move || one(&name, &path, &read, sandbox)).await;
        let mut case = case.map_err(|error| HarnessError::Test(format!("a test broke off: {error}")))??;
        case.wall_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        cases.push(case);
    }
    let whole = folder.canonicalize().map_err(HarnessError::io(folder))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(FlowReport { folder: name, cases })
}

/// One test, on a thread of its own whose runtime says when nothing can go on.
fn one(name: &str, path: &Path, folder: &Folder, sandbox: Arc<Sandbox>) -> Result<FlowCase, HarnessError> {
    let test = match document::read(path, path) {
        Ok(test) => test,
        Err(error) => {
            return Ok(FlowCase::new(
                name,
                vec![Problem::new("the test cannot be read:").below(error.to_string())],
            ));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| HarnessError::Sandbox(error.to_string()))?;
    Ok(runtime.block_on(run(name, &test, folder, sandbox)))
}

async fn run(name: &str, test: &Test, folder: &Folder, sandbox: Arc<Sandbox>) -> FlowCase {
    let mut world = match World::open(test, folder, sandbox).await {
        Ok(world) => world,
        Err(error) => {
            return FlowCase::new(name, vec![Problem::new("the test cannot begin:").below(error)]);
        }
    };
    let mut problems = Vec::new();
    let mut judge = Judge::default();
    for (index, step) in test.steps.iter().enumerate() {
        let done = match step.kind.as_str() {
            "expect" => judge.look(step, &world).await.map(|found| problems.extend(found)),
            _ => world.step(step).await,
        };
        // A trigger that started nothing is told here, unless what comes next is about it.
        problems.extend(judge.refusal(step, &world, test.steps.get(index + 1)));
        if let Err(error) = done {
            problems.push(Problem::of(&error));
        }
        // What follows would only say so again.
        if !problems.is_empty() {
            break;
        }
    }
    match judge.close(&world, problems.is_empty()).await {
        // Why something came out otherwise stands before what did.
        Ok(found) => drop(problems.splice(..0, found)),
        Err(error) => problems.push(Problem::of(&error)),
    }
    let runs = world.runs().await.unwrap_or_default();
    let mut case = FlowCase::new(name, problems);
    case.runs = runs.iter().map(trace).collect();
    case.requests = world.http.sent().len();
    case.mails = world.mail.sent().len();
    world.close().await;
    case
}
