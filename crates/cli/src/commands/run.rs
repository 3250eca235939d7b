//! `stepwell run`: lists of runs, the history of one, following one to its end.

use serde::Deserialize;
use serde_json::Value;
use stepwell_engine::{FailureDetail, Payload, RunDetail, RunStatus, RunSummary, StepDetail, StepStatus};

use stepwell_sandbox::LogLevel;

use super::Bad;
use crate::args::{Global, Run};
use crate::client::Client;
use crate::output;

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
        Run::Show { id } => {
            let request = client.get(&["runs", &id]);
            if global.json {
                return output::json(&client.json::<Value>(request).await?);
            }
            show(&client.json(request).await?);
            Ok(())
        }
        Run::Watch { id } => watch(&client, &id, global.json).await,
        Run::Cancel { id } => {
            let summary: Value = client.json(client.post(&["runs", &id, "cancel"])).await?;
            report(global, &summary, &format!("cancelling {id}"))
        }
        Run::Retry { id } => {
            let summary: Value = client.json(client.post(&["runs", &id, "retry"])).await?;
            report(global, &summary, &format!("retrying {id}; follow it with: stepwell run watch {id}"))
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
                output::status(run.status.as_str()),
                output::time(run.created_at),
                output::took(run.started_at, run.ended_at),
                run.steps_done.to_string(),
                output::number(run.fuel),
                run.error.as_ref().map(|e| output::cut(&e.message, 60)).unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["run", "workflow", "status", "created (UTC)", "took", "steps", "fuel", "error"], rows);
}

/// Follows a run by asking for its end again and again; each ask waits on the server.
async fn watch(client: &Client, id: &str, json: bool) -> anyhow::Result<()> {
    let mut shown = 0;
    loop {
        let run: RunDetail = client.json(client.get(&["runs", id]).query(&[("wait", "1s")])).await?;
        let over = run.summary.status.ended() || run.summary.status == RunStatus::Paused;
        if !json {
            let settled: Vec<&StepDetail> = run.steps.iter().filter(|s| is_settled(s.status)).collect();
            for step in settled.iter().skip(shown) {
                output::line(step_line(step));
            }
            shown = settled.len().max(shown);
        }
        if !over {
            continue;
        }
        if json {
            output::json(&run)?;
        } else {
            output::line(format!("{id} {}", output::status(run.summary.status.as_str())));
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

/// Why a run is not completed, in a line.
pub fn failure_text(id: &str, status: RunStatus, error: Option<&FailureDetail>) -> String {
    match error {
        None => format!("run {id} is {}", status.as_str()),
        Some(error) => {
            let step = error.step.as_ref().map(|s| format!(" at step {s}")).unwrap_or_default();
            format!("run {id} {}{step}: {} ({})", status.as_str(), error.message, error.code)
        }
    }
}

/// The whole history of a run.
pub fn show(run: &RunDetail) {
    let s = &run.summary;
    output::line(format!("run       {}", s.id));
    output::line(format!("workflow  {} v{}, started by {}", s.workflow, s.version, s.trigger));
    output::line(format!("status    {}", output::status(s.status.as_str())));
    output::line(format!(
        "created   {} UTC, took {}",
        output::time(s.created_at),
        output::took(s.started_at, s.ended_at)
    ));
    if s.fuel > 0 {
        output::line(format!(
            "code      {} fuel, {} memory at most",
            output::number(s.fuel),
            output::size(s.peak_memory_bytes)
        ));
    }
    if let Some(error) = &s.error {
        output::line(failure_text(&s.id, s.status, Some(error)));
    }
    output::line(format!("trigger   {}", payload(&run.input)));
    output::line("");
    for step in &run.steps {
        output::line(step_line(step));
        for (name, value) in [("input", &step.input), ("output", &step.output)] {
            if let Some(value) = value {
                output::line(format!("    {name:<7} {}", payload(value)));
            }
        }
        if let Some(error) = &step.error {
            output::line(format!("    error   {} ({}, {})", error.message, error.code, error.source));
        }
        for log in &step.logs {
            output::line(format!("    log     {} {}", level_name(log.level), log.message));
        }
        for attempt in step.attempts.iter().filter(|_| step.attempts.len() > 1) {
            let error = attempt.error.as_ref().map(|e| format!(": {}", e.message)).unwrap_or_default();
            let outcome = format!("{:?}", attempt.outcome).to_lowercase();
            output::line(format!("    attempt {} {outcome}{error}", attempt.number));
        }
    }
    if let Some(result) = &run.output {
        output::line(format!("\noutput    {}", payload(result)));
    }
}

/// `✓ normalize  code normalize-lead@1.0.0  1.2 ms  84,211 fuel  1.1 MiB`
pub fn step_line(step: &StepDetail) -> String {
    let mark = match step.status {
        StepStatus::Completed => "✓",
        StepStatus::Failed | StepStatus::Cancelled => "✗",
        StepStatus::Skipped => "·",
        _ => "…",
    };
    let mut text = format!("{mark} {:<22} {:<14}", step.path, step.kind);
    if let Some(action) = &step.action {
        text.push_str(&format!(" {action}"));
    }
    // The sandbox times its calls more finely.
    let took = match &step.usage {
        Some(usage) => output::micros(usage.wall_us.into()),
        None => output::took(step.started_at, step.ended_at),
    };
    if !took.is_empty() && step.status != StepStatus::Skipped {
        text.push_str(&format!("  {took}"));
    }
    if let Some(usage) = &step.usage {
        if let Some(fuel) = usage.fuel {
            text.push_str(&format!("  {} fuel", output::number(fuel)));
        }
        text.push_str(&format!("  {}", output::size(usage.peak_memory_bytes)));
    }
    if step.status == StepStatus::Skipped {
        text.push_str(" skipped");
    }
    text.trim_end().to_owned()
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Value(value) => output::brief(value, 400),
        Payload::Expired { .. } => "(no longer kept)".into(),
    }
}
