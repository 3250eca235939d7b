//! `stepwell workflow`: checking and testing files without a server; applying, activating and running them on one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{RunDetail, RunStarted, RunStatus, WorkflowDetail, WorkflowInfo};
use stepwell_harness::{BuildOptions, FlowTestOptions};

use super::{Bad, json_argument};
use crate::args::{Global, Workflow};
use crate::client::{Client, ClientError};
use crate::output;

#[derive(Deserialize)]
struct Page {
    workflows: Vec<WorkflowInfo>,
}

pub async fn main(command: Workflow, global: &Global) -> anyhow::Result<()> {
    match command {
        Workflow::Check { files, online } => {
            super::check::check(&workflow_files(&files)?, &connection_files(&files)?, online, global).await
        }
        Workflow::Test { dir, junit, only } => test(&dir, only, junit, global.json).await,
        Workflow::Graph { file, format } => super::check::graph(&file, format, global.json),
        Workflow::Apply { files, activate, plan, prune } => {
            let wish = super::apply::Wish { activate, plan, prune, json: global.json };
            super::apply::main(&Client::new(global)?, &files, wish).await
        }
        Workflow::Activate { name } => {
            let client = Client::new(global)?;
            let answer: WorkflowInfo = client.json(client.post(&["workflows", &name, "activate"])).await?;
            if global.json {
                return output::json(&answer);
            }
            let version = answer.active_version.map(|v| format!(" v{v}")).unwrap_or_default();
            output::line(format!("{name}{version} is active{}", listening(&answer)));
            Ok(())
        }
        Workflow::Deactivate { name } => {
            let client = Client::new(global)?;
            let answer: WorkflowInfo = client.json(client.post(&["workflows", &name, "deactivate"])).await?;
            if global.json {
                return output::json(&answer);
            }
            output::line(format!("{name} starts no more runs"));
            Ok(())
        }
        Workflow::Delete { name } => {
            let client = Client::new(global)?;
            let request = client.request(reqwest::Method::DELETE, &["workflows", &name]);
            let answer: WorkflowInfo = client.json(request).await?;
            if global.json {
                return output::json(&answer);
            }
            output::line(format!("{name} is deleted; its runs can still be read"));
            Ok(())
        }
        Workflow::Run { name, input, records, filter, dry_run, wait } => {
            let input = selected(json_argument("--input", &input)?, &records, filter.as_deref())?;
            if dry_run {
                return super::dry_run::main(&Client::new(global)?, &name, &input, global).await;
            }
            run(global, &name, input, &wait).await
        }
        Workflow::List => {
            let client = Client::new(global)?;
            let request = client.get(&["workflows"]);
            if global.json {
                return output::json(&client.json::<Value>(request).await?);
            }
            let page: Page = client.json(request).await?;
            let version = |v: Option<u32>| v.map(|v| format!("v{v}")).unwrap_or_default();
            let rows = page
                .workflows
                .iter()
                .map(|w| {
                    vec![
                        w.name.clone(),
                        version(w.active_version),
                        version(w.draft_version),
                        w.trigger.clone(),
                        w.hook.clone().unwrap_or_default(),
                        output::time(w.updated_at),
                    ]
                })
                .collect();
            output::table(&["workflow", "active", "draft", "trigger", "hook", "updated (UTC)"], rows);
            Ok(())
        }
        Workflow::State { name, change } => super::state::main(&name, change, global).await,
        Workflow::Show { name } => {
            let client = Client::new(global)?;
            let detail: WorkflowDetail = client.json(client.get(&["workflows", &name])).await?;
            if global.json {
                return output::json(&detail);
            }
            output::document(detail.text.trim_end());
            for problem in &detail.problems {
                output::complain(output::place(problem));
            }
            Ok(())
        }
    }
}

async fn test(dir: &Path, only: Option<String>, junit: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    if dir.is_file() {
        let folder = dir.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        anyhow::bail!(
            "{} is a file; give its folder: stepwell workflow test {}",
            dir.display(),
            folder.display()
        );
    }
    let build = BuildOptions { tell: Some(super::action::tell_build), ..BuildOptions::default() };
    let options = FlowTestOptions { only, build };
    let report = stepwell_harness::test_workflows(dir, &options).await?;
    if let Some(path) = junit {
        std::fs::write(&path, report.junit()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if json {
        output::json(&report)?;
    } else {
        output::line(report.text().trim_end());
    }
    if report.passed() {
        return Ok(());
    }
    Err(Bad(format!("{} failed", output::of(report.failed(), report.cases.len(), "test"))).into())
}

pub fn listening(info: &WorkflowInfo) -> String {
    info.hook.as_ref().map(|hook| format!(", listening on /hooks/default/{hook}")).unwrap_or_default()
}

/// The input of a start; with the records that it is about beside it, if there are any.
fn selected(input: Value, records: &[String], filter: Option<&str>) -> anyhow::Result<Value> {
    Ok(match (records, filter) {
        ([], None) => input,
        ([], Some(filter)) => json!({ "filter": json_argument("--filter", filter)?, "input": input }),
        ([one], _) => json!({ "record_id": one, "input": input }),
        (many, _) => json!({ "record_ids": many, "input": input }),
    })
}

async fn run(global: &Global, name: &str, input: Value, wait: &str) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let request = client.post(&["workflows", name, "run"]).query(&[("wait", wait)]).json(&input);
    let started: RunStarted = client.json(request).await.map_err(|error| match error {
        ClientError::Refused(problem) if problem.code == "invalid_selection" => {
            anyhow::anyhow!("{}\n  say which records: --record ID, or --filter JSON", problem.detail)
        }
        other => other.into(),
    })?;
    if global.json {
        output::json(&started)?;
    }
    match started.status {
        RunStatus::Completed => {
            if !global.json {
                // Beside the output, which is for a pipe.
                output::complain(format!("run {}", started.run_id));
                output::json(&started.output)?;
            }
            Ok(())
        }
        RunStatus::Failed | RunStatus::Cancelled => {
            Err(Bad(super::told::failure_text(&started.run_id, started.status, started.error.as_ref()))
                .into())
        }
        _ => {
            if global.json {
                return Ok(());
            }
            let id = &started.run_id;
            let run: RunDetail = client.json(client.get(&["runs", id])).await?;
            let wakes = run.summary.wakes.as_ref().map(super::told::wakes_text);
            let wakes = wakes.map(|text| format!(" ({text})")).unwrap_or_default();
            output::line(format!(
                "{id} is {}{wakes}; follow it with: stepwell run watch {id}",
                run.summary.status.as_str()
            ));
            if matches!(run.summary.status, RunStatus::Paused | RunStatus::Waiting) {
                super::turn::say(&run);
            }
            Ok(())
        }
    }
}

/// The files named, and the workflow files of the folders named.
pub fn workflow_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = documents_in(path)?;
        inside.retain(|p| p.file_name().is_none_or(|name| name != stepwell_workflow::schema_file::FILE));
        if inside.is_empty() {
            anyhow::bail!("{} holds no .yaml, .yml or .json file", path.display());
        }
        files.append(&mut inside);
    }
    super::files::by_name(files)
}

/// The files of the folders named that are connections.
pub fn connection_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in paths.iter().map(|path| path.join("connections")).filter(|folder| folder.is_dir()) {
        files.extend(documents_in(&folder)?);
    }
    super::files::by_name(files)
}

/// The YAML and JSON files of a folder, in the order of their names.
pub fn documents_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut inside: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"))
        .collect();
    inside.sort();
    Ok(inside)
}

/// A workflow's file name is its identity.
pub fn name_of(file: &Path) -> anyhow::Result<String> {
    file.file_stem()
        .and_then(|stem| stem.to_str())
        .map(str::to_owned)
        .with_context(|| format!("{} has no file name that could name a workflow", file.display()))
}
