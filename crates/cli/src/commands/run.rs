//! `stepwell run`: lists of runs, the history of one, following one to its end.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{Awaited, ItemDetail, RunDetail, RunStatus, RunSummary, StepDetail, StepStatus};

use super::Bad;
use super::fixture;
use super::history;
use super::told::{self, failure_text};
use super::turn;
use crate::args::{Global, Run};
use crate::client::Client;
use crate::output::{self, Line};

#[derive(Deserialize)]
struct Page {
    runs: Vec<RunSummary>,
    next_cursor: Option<String>,
}

pub async fn main(command: Run, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Run::List { workflow, status, limit } => {
            let mut request = client.get(&["runs"]).query(&[("limit", limit.to_string())]);
            for (name, value) in [("workflow", workflow), ("status", status)] {
                if let Some(value) = value {
                    request = request.query(&[(name, value)]);
                }
            }
            if global.json {
                return output::json(&client.json::<Value>(request).await?);
            }
            let page: Page = client.json(request).await?;
            list(&page.runs);
            if page.next_cursor.is_some() {
                output::line("\nthere are more; raise --limit");
            }
            Ok(())
        }
        Run::Show { id, full } => {
            let id = client.run_id(&id).await?;
            let request = client.get(&["runs", &id]);
            if global.json {
                return output::json(&client.json::<Value>(request).await?);
            }
            let mut text = Line::new();
            history::show(&client.json(request).await?, full, &mut text);
            text.print();
            Ok(())
        }
        Run::Items { id, step, index, status, limit, cursor } => {
            let id = client.run_id(&id).await?;
            let mut request = client.get(&["runs", &id, "items"]).query(&[("limit", limit.to_string())]);
            let index = index.map(|index| index.to_string());
            for (name, value) in [("step", step), ("index", index), ("status", status), ("cursor", cursor)] {
                if let Some(value) = value {
                    request = request.query(&[(name, value)]);
                }
            }
            if global.json {
                return output::json(&client.json::<Value>(request).await?);
            }
            let page: ItemPage = client.json(request).await?;
            if page.items.is_empty() {
                output::line("none");
            }
            let mut text = Line::new();
            page.items.iter().for_each(|item| history::show_item(item, &mut text));
            text.print();
            if let Some(cursor) = page.next_cursor {
                output::line(format!("\nthere are more: --cursor {cursor}"));
            }
            Ok(())
        }
        Run::Fixture { id, step, dir, name } => {
            let id = client.run_id(&id).await?;
            fixture::main(&client, &id, &step, dir, name, global.json).await
        }
        Run::Watch { id } => watch(&client, &client.run_id(&id).await?, global.json).await,
        Run::Cancel { id } => {
            let id = client.run_id(&id).await?;
            let summary: Value = client.json(client.post(&["runs", &id, "cancel"])).await?;
            report(global, &summary, &format!("cancelling {id}"))
        }
        Run::Resume { id, skip, output, step, action, newest } => {
            let id = client.run_id(&id).await?;
            let mut body = match (skip, output) {
                (true, _) => json!({ "action": "skip" }),
                (false, Some(output)) => {
                    let output: Value = serde_json::from_str(&output)
                        .with_context(|| format!("--output is JSON, such as '{{\"n\": 1}}', not {output}"))?;
                    json!({ "action": "output", "output": output })
                }
                (false, None) => json!({ "action": "retry" }),
            };
            if let Some(step) = step {
                body["step"] = step.into();
            }
            for action in action {
                let (name, version) = action
                    .split_once('=')
                    .with_context(|| format!("--action is NAME=VERSION, not {action}"))?;
                body["actions"][name] = version.into();
            }
            if newest {
                body["newest"] = true.into();
            }
            let request = client.post(&["runs", &id, "resume"]).json(&body);
            let summary: Value = client.json(request).await?;
            report(global, &summary, &format!("resuming {id}; follow it with: stepwell run watch {id}"))
        }
        Run::Input { id, data, step } => {
            let id = client.run_id(&id).await?;
            let mut body = json!({ "data": super::json_argument("--data", &data)? });
            if let Some(step) = step {
                body["step"] = step.into();
            }
            let summary: Value = client.json(client.post(&["runs", &id, "input"]).json(&body)).await?;
            report(global, &summary, &format!("given to {id}; follow it with: stepwell run watch {id}"))
        }
        Run::Retry { id, newest } => {
            let id = client.run_id(&id).await?;
            let asked = client.post(&["runs", &id, "retry"]).json(&json!({ "newest": newest }));
            let summary: Value = client.json(asked).await?;
            // What it reads of them it has read at its start.
            let settings = if newest { "" } else { ", with the settings as they were at its start" };
            report(
                global,
                &summary,
                &format!("retrying {id}{settings}; follow it with: stepwell run watch {id}"),
            )
        }
    }
}

fn report(global: &Global, answer: &Value, text: &str) -> anyhow::Result<()> {
    if global.json {
        return output::json(answer);
    }
    output::line(text);
    Ok(())
}

fn list(runs: &[RunSummary]) {
    let rows = runs
        .iter()
        .map(|run| {
            vec![
                run.id.clone(),
                format!("{} v{}", run.workflow, run.version),
                run.status.as_str().to_owned(),
                output::time(run.created_at),
                output::took(run.started_at, run.ended_at),
                run.steps_done.to_string(),
                output::number(run.fuel),
                run.error
                    .as_ref()
                    .map(|e| output::cut(&e.message, 60))
                    .or_else(|| waits_for(run))
                    .or_else(|| run.wakes.as_ref().map(told::wakes_text))
                    .unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["run", "workflow", "status", "created (UTC)", "took", "calls", "fuel", "why"], rows);
}

/// Why a queued run has not begun, where it is not for a slot.
fn waits_for(run: &RunSummary) -> Option<String> {
    let waits_for = run.waits_for.as_ref().filter(|waits_for| waits_for.what == Awaited::Concurrency)?;
    Some(match &waits_for.key {
        Some(key) => format!("waits for the key {}", output::cut(key, 40)),
        None => "waits for other runs of the workflow".to_owned(),
    })
}

#[derive(Deserialize)]
pub(super) struct ItemPage {
    pub items: Vec<ItemDetail>,
    pub next_cursor: Option<String>,
}

/// Follows a run by asking for its end again and again; each ask waits on the server.
async fn watch(client: &Client, id: &str, json: bool) -> anyhow::Result<()> {
    let (mut shown, mut asked) = (0, false);
    let mut waited = BTreeSet::new();
    loop {
        let second = tokio::time::sleep(Duration::from_secs(1));
        let run: RunDetail = client.json(client.get(&["runs", id]).query(&[("wait", "1s")])).await?;
        let over = run.summary.status.ended() || run.summary.status == RunStatus::Paused;
        if !json {
            let settled: Vec<&StepDetail> = run.steps.iter().filter(|s| is_settled(s.status)).collect();
            let mut text = Line::new();
            for step in settled.iter().skip(shown) {
                history::step_line(step, &mut text);
            }
            for step in &run.steps {
                // Each wait once: an attempt that failed is told when it has, and not when all have.
                let Some(wakes) = &step.wakes else { continue };
                if waited.insert((step.path.clone(), wakes.at)) {
                    history::step_line(step, &mut text);
                    told::why_it_waits(step, &mut text);
                }
            }
            text.print();
            shown = settled.len().max(shown);
        }
        if !output::is_read() {
            return Ok(());
        }
        if !over {
            if run.summary.status == RunStatus::Waiting {
                if !json && !std::mem::replace(&mut asked, true) {
                    turn::say(&run);
                }
                // The server answers at once while only a person can let it go on.
                second.await;
            }
            continue;
        }
        if json {
            output::json(&run)?;
        } else {
            Line::new().add(format!("{id} ")).status(run.summary.status.as_str()).end().print();
            turn::say(&run);
        }
        return match run.summary.status {
            RunStatus::Completed => Ok(()),
            status => Err(Bad(failure_text(id, status, run.summary.error.as_ref())).into()),
        };
    }
}

fn is_settled(status: StepStatus) -> bool {
    matches!(status, StepStatus::Completed | StepStatus::Failed | StepStatus::Skipped | StepStatus::Cancelled)
}
