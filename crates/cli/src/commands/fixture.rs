//! `stepwell run fixture`: a code step of a past run becomes a case of its action's tests.

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::{Value, json};
use stepwell_engine::{FailureDetail, Payload, RunDetail, StepDetail, StepStatus};
use stepwell_harness::{Project, save_fixture};
use stepwell_sandbox::{CallError, ErrorSource};
use stepwell_workflow::machine::hide_links;

use super::run::ItemPage;
use crate::client::Client;
use crate::output;

/// Where the folder of an action may be, as seen from here.
const PLACES: [&str; 3] = ["", "actions", "examples/actions"];

/// What stands where a secret was.
const REDACTED: [&str; 2] = ["***", "{{ secrets."];

pub async fn main(
    client: &Client,
    run: &str,
    step: &str,
    dir: Option<PathBuf>,
    name: Option<String>,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut step = find(client, run, step).await?;
    // A fixture is kept with the code: it gives nobody the run's links.
    for payload in [&mut step.input, &mut step.output] {
        if let Some(Payload::Value(value)) = payload {
            hide_links(value);
        }
    }
    let Some(action) = step.action.as_deref().filter(|_| step.kind == "code") else {
        bail!("`{}` is a {} step that called no action: a fixture is of a code step", step.path, step.kind);
    };
    let (action_name, version) = action.split_once('@').unwrap_or((action, ""));
    let project = project(dir, action_name)?;
    let input = kept(&step, step.input.as_ref())?;
    let error = step.error.as_ref().map(call_error);
    let result = match (&error, &step.output) {
        // Whether it was the action's doing is what the fixture is to tell.
        (Some(error), _) if error.source == ErrorSource::Engine || error.code == "deadline" => None,
        (Some(error), _) => Some(Err(error)),
        (None, Some(_)) if step.status == StepStatus::Completed => {
            Some(Ok(kept(&step, step.output.as_ref())?))
        }
        (None, _) => None,
    };
    let name = name.unwrap_or_else(|| case_name(run, &step.path));
    let folder = save_fixture(&project, &name, input, result)?;
    let expects = match result {
        Some(Ok(_)) => "expected.json",
        Some(Err(_)) => "error.json",
        None => "",
    };
    if as_json {
        return output::json(&json!({ "fixture": folder, "action": action, "expects": expects }));
    }
    output::line(format!("made {}", folder.display()));
    match result {
        Some(_) => output::line(format!("{expects} is what came of it; change it to what should have come")),
        None => output::line(
            "what came of it says nothing about the action: `stepwell action test --accept` writes what it gives",
        ),
    }
    if project.version.to_string() != version {
        output::line(format!("the run had version {version}; the folder is at {}", project.version));
    }
    let here = stepwell_sandbox::config::semantics();
    if let Some(there) = step.semantics.as_ref().filter(|there| **there != here) {
        output::line(format!(
            "the run's sandbox counted by other rules ({there}) than this one ({here}): output, logs and fuel need not be the same here"
        ));
    }
    let text = input.to_string();
    if REDACTED.iter().any(|mark| text.contains(mark)) {
        output::complain(
            "the input held a secret, which is not kept: put something in its place into input.json",
        );
    }
    Ok(())
}

/// The step, among those of the run or of the item that its path names.
async fn find(client: &Client, run: &str, step: &str) -> anyhow::Result<StepDetail> {
    let detail: RunDetail = client.json(client.get(&["runs", run])).await?;
    if let Some(found) = pick(&detail.steps, step) {
        return Ok(found);
    }
    if let Some((iterator, index)) = item_of(step) {
        let mut found = None;
        let mut cursor: Option<String> = None;
        loop {
            let index = index.to_string();
            let mut request =
                client.get(&["runs", run, "items"]).query(&[("step", iterator), ("index", &index)]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: ItemPage = client.json(request).await?;
            // One that was retried comes again: the last counts.
            found = page.items.iter().rev().find_map(|item| pick(&item.steps, step)).or(found);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        bail!(
            "run {run} has no step `{step}`; see what item {index} of `{iterator}` has: stepwell run items {run} --step \
             '{iterator}' --index {index}"
        );
    }
    let code: Vec<&str> =
        detail.steps.iter().filter(|step| step.kind == "code").map(|step| step.path.as_str()).collect();
    let iterators = detail.steps.iter().filter(|step| step.items.is_some());
    let inside: Vec<String> = iterators.map(|iterator| format!("{}[0].{step}", iterator.path)).collect();
    let mut message = format!("run {run} has no step `{step}`");
    if !code.is_empty() {
        message += &format!("; its code steps are {}", code.join(", "));
    }
    if !inside.is_empty() {
        message += &format!("; a step of an item has a path such as {}", inside.join(" or "));
    }
    bail!(message)
}

/// By its path, or by its id where that is enough.
fn pick(steps: &[StepDetail], wanted: &str) -> Option<StepDetail> {
    let mut by_id = steps.iter().filter(|step| step.id == wanted);
    let by_path = steps.iter().find(|step| step.path == wanted);
    by_path.or_else(|| by_id.next().filter(|_| by_id.next().is_none())).cloned()
}

/// The iterator of the innermost item that a path names, and the item.
fn item_of(path: &str) -> Option<(&str, u64)> {
    let (iterator, rest) = path.rsplit_once('[')?;
    Some((iterator, rest.split_once(']')?.0.parse().ok()?))
}

fn project(dir: Option<PathBuf>, action: &str) -> anyhow::Result<Project> {
    let here = Path::new(".");
    let dir = match dir {
        Some(dir) => dir,
        None if Project::read(here).is_ok_and(|project| project.name == action) => here.to_owned(),
        None => {
            let places = PLACES.iter().map(|place| here.join(place).join(action));
            let mut found = places.filter(|place| place.join("action.toml").is_file());
            let Some(found) = found.next() else {
                bail!("where is the folder of the action `{action}`? Say it with --dir");
            };
            found
        }
    };
    let project = Project::read(&dir)?;
    if project.name != action {
        bail!("{} is the folder of `{}`; the step ran `{action}`", dir.display(), project.name);
    }
    Ok(project)
}

fn kept<'a>(step: &StepDetail, payload: Option<&'a Payload>) -> anyhow::Result<&'a Value> {
    match payload {
        Some(Payload::Value(value)) => Ok(value),
        Some(Payload::Expired { .. }) => bail!("the payloads of this run are no longer kept"),
        None => bail!("nothing is kept of what `{}` was given", step.path),
    }
}

fn call_error(error: &FailureDetail) -> CallError {
    let source = match error.source.as_str() {
        "action" => ErrorSource::Action,
        "sandbox" => ErrorSource::Sandbox,
        _ => ErrorSource::Engine,
    };
    CallError {
        limit: error.limit,
        retryable: error.retryable,
        ..CallError::new(source, &error.code, &*error.message)
    }
}

/// `rows[3].score` of the run …9f3ab2c1 is `run-9f3ab2c1-rows-3-score`. The end of an id tells runs apart.
fn case_name(run: &str, path: &str) -> String {
    let place: Vec<&str> = path.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
    let end = run.char_indices().rev().nth(7).map_or(0, |(at, _)| at);
    format!("run-{}-{}", &run[end..], place.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_items_and_cases() {
        assert_eq!(item_of("rows[3].users[12].score"), Some(("rows[3].users", 12)));
        assert_eq!(item_of("score"), None);
        let run = "01996d2a-35b0-7000-8a5f-7c0e9f3ab2c1";
        assert_eq!(case_name(run, "rows[3].score"), "run-9f3ab2c1-rows-3-score");
    }
}
