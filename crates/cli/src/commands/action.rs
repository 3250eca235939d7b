//! `stepwell action`: a thin layer over the harness, and over the API for what is uploaded.

use std::path::{Path, PathBuf};

use anyhow::Context;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::{ActionDetail, ActionInfo};
use stepwell_harness::{BuildOptions, Built, Project, TestOptions};

use super::Bad;
use crate::args::{Action, Global};
use crate::client::{Client, ClientError};
use crate::output;

#[derive(Deserialize)]
struct Page {
    actions: Vec<ActionInfo>,
}

/// What an upload answers, as far as it is told to people.
#[derive(Deserialize)]
struct Put {
    #[serde(flatten)]
    info: ActionInfo,
    #[serde(default)]
    warnings: Vec<stepwell_engine::Problem>,
}

pub async fn main(command: Action, global: &Global) -> anyhow::Result<()> {
    match command {
        Action::Delete { reference } => {
            let Some((name, version)) = reference.split_once('@') else {
                anyhow::bail!(
                    "say which version: {reference}@1.2.0; `stepwell action list` shows the latest"
                );
            };
            let client = Client::new(global)?;
            let request = client.request(Method::DELETE, &["actions", name]).query(&[("version", version)]);
            let info: ActionInfo = client.json(request).await?;
            if global.json {
                return output::json(&info);
            }
            output::line(format!("{} {} is deleted; runs that began with it go on", info.name, info.version));
            Ok(())
        }
        Action::New { dir } => {
            stepwell_harness::create(&dir)?;
            if global.json {
                return output::json(&serde_json::json!({ "folder": dir }));
            }
            output::line(format!("made {}; try: stepwell action test {}", dir.display(), dir.display()));
            Ok(())
        }
        Action::Build { dir } => {
            let built = build(&Project::read(&dir)?).await?;
            if global.json {
                return output::json(&built);
            }
            output::line(format!(
                "{} {}: {} ({})",
                built.name,
                built.version,
                built.module.display(),
                output::size(built.size)
            ));
            Ok(())
        }
        Action::Test { dir, accept, junit, only } => {
            test(&dir, TestOptions { accept, only }, junit, global.json).await
        }
        Action::Push { path, name, dev } => push(&Client::new(global)?, &path, name, dev, global.json).await,
        Action::Inspect { target } => inspect(&target, global).await,
        Action::List => list(&Client::new(global)?, global.json).await,
    }
}

async fn build(project: &Project) -> anyhow::Result<Built> {
    stepwell_harness::add_target()?;
    let options = BuildOptions { tell: Some(tell_build), ..BuildOptions::default() };
    Ok(stepwell_harness::build(project, &options).await?)
}

/// A build may take minutes, and whoever waits should know what for.
pub fn tell_build(action: &str) {
    output::complain(format!("building {action}; the first time takes a while …"));
}

async fn test(dir: &Path, options: TestOptions, junit: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let project = Project::read(dir)?;
    let built = build(&project).await?;
    let report = stepwell_harness::test(&project, &built, &options).await?;
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
    Err(Bad(format!("{} failed", output::of(report.failed(), report.cases.len(), "fixture"))).into())
}

async fn push(
    client: &Client,
    path: &Path,
    name: Option<String>,
    dev: bool,
    json: bool,
) -> anyhow::Result<()> {
    let (own_name, module) = if path.is_dir() {
        let built = build(&Project::read(path)?).await?;
        (Some(built.name), built.module)
    } else {
        if !path.exists() {
            anyhow::bail!("{} is not there; push an action's folder, or a module file", path.display());
        }
        let inspection = stepwell_harness::inspect(path)?;
        (inspection.info.metadata.and_then(|m| m.name), path.to_owned())
    };
    let stem = || module.file_stem().and_then(|s| s.to_str()).map(str::to_owned);
    let name = name.or(own_name).or_else(stem).context("the action has no name; give one with --name")?;
    let bytes = std::fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut request = client.request(Method::PUT, &["actions", &name]).body(bytes);
    if dev {
        request = request.query(&[("dev", "true")]);
    }
    let answer = client.send(request).await.map_err(|error| match error {
        ClientError::Refused(problem) if problem.code == "version_exists" && !dev => {
            anyhow::anyhow!(
                "{}\n  the version stands in action.toml; or replace it on a --dev server: stepwell action push --dev",
                problem.detail
            )
        }
        other => other.into(),
    })?;
    let created = answer.status() == reqwest::StatusCode::CREATED;
    let body = answer.bytes().await?;
    if json {
        return output::json(&serde_json::from_slice::<Value>(&body)?);
    }
    let put: Put = serde_json::from_slice(&body)?;
    let what = if created { "uploaded" } else { "was there already" };
    output::line(format!("{} {} {what} ({})", put.info.name, put.info.version, output::size(put.info.size)));
    for warning in &put.warnings {
        output::line(output::place(warning));
    }
    Ok(())
}

async fn inspect(target: &str, global: &Global) -> anyhow::Result<()> {
    let path = Path::new(target);
    if path.is_dir() {
        let built = build(&Project::read(path)?).await?;
        return show_file(&built.module, global.json);
    }
    if path.is_file() {
        return show_file(path, global.json);
    }
    let client = Client::new(global)?;
    let (name, version) =
        target.split_once('@').map_or((target, None), |(name, version)| (name, Some(version)));
    let request = client.get(&["actions", name]).query(&version.map(|v| [("version", v)]));
    if global.json {
        return output::json(&client.json::<Value>(request).await?);
    }
    let detail: ActionDetail = client.json(request).await.map_err(|error| match error {
        ClientError::Refused(problem) if problem.status == 404 => {
            anyhow::anyhow!("{}, and no file or folder of that name here", problem.detail)
        }
        other => other.into(),
    })?;
    let info = &detail.info;
    let versions: Vec<String> = detail.versions.iter().map(ToString::to_string).collect();
    output::line(format!("name         {}", info.name));
    let others = if versions.len() > 1 { format!(" (of {})", versions.join(", ")) } else { String::new() };
    output::line(format!("version      {}{others}", info.version));
    if let Some(description) = &info.description {
        output::line(format!("description  {description}"));
    }
    output::line(format!("size         {}", output::size(info.size)));
    output::line(format!("sha256       {}", info.sha256));
    output::line(format!("uploaded     {} UTC", output::time(info.created_at)));
    let totals = &detail.totals;
    output::line(format!(
        "calls        {}, {} failed, {} fuel",
        output::number(totals.calls),
        output::number(totals.failures),
        output::number(totals.fuel)
    ));
    for (name, schema) in [("input", &info.input_schema), ("output", &info.output_schema)] {
        if let Some(schema) = schema {
            output::line(format!("{name} schema"));
            output::json(schema)?;
        }
    }
    Ok(())
}

fn show_file(path: &Path, json: bool) -> anyhow::Result<()> {
    let inspection = stepwell_harness::inspect(path)?;
    if json {
        return output::json(&inspection);
    }
    output::line(inspection.text().trim_end());
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let request = client.get(&["actions"]);
    if json {
        return output::json(&client.json::<Value>(request).await?);
    }
    let page: Page = client.json(request).await?;
    let rows = page
        .actions
        .iter()
        .map(|action| {
            vec![
                action.name.clone(),
                action.version.to_string(),
                output::size(action.size),
                output::time(action.created_at),
                action.description.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["action", "version", "size", "uploaded (UTC)", "description"], rows);
    Ok(())
}
