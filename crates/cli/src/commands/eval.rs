//! `stepwell eval`: an expression by the evaluator of production, over the values of a run or of a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stepwell_engine::{FailureDetail, Payload, RunDetail, StepDetail, StepStatus};
use stepwell_workflow::expr::{ExprError, Found, Mode, Scope, Template};

use super::Bad;
use crate::args::{Eval, Global};
use crate::client::Client;
use crate::output;

/// What an expression can see, by name.
#[derive(Debug, Default)]
struct Seen {
    values: BTreeMap<String, Found>,
    now: Timestamp,
}

impl Scope for Seen {
    fn get(&self, root: &str) -> Found {
        self.values.get(root).cloned().unwrap_or(Found::Unknown)
    }

    fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

impl Seen {
    fn add(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), Found::Value(Arc::new(value)));
    }
}

pub async fn main(eval: Eval, global: &Global) -> anyhow::Result<()> {
    let seen = match (&eval.run, &eval.data) {
        (Some(id), _) => {
            let client = Client::new(global)?;
            of_run(client.json(client.get(&["runs", id])).await?)
        }
        (None, Some(path)) => of_file(path)?,
        (None, None) => Seen { now: Timestamp::now(), ..Seen::default() },
    };
    match evaluate(&eval.expression, &seen) {
        Ok(value) => output::json(&value),
        Err(error) if global.json => {
            output::json(&json!({ "error": error }))?;
            Err(Bad(error.message).into())
        }
        Err(error) => Err(Bad(shown(&eval.expression, &error)).into()),
    }
}

/// A bare expression, or a text with `{{ … }}` in it, as a workflow has it.
fn evaluate(expression: &str, seen: &Seen) -> Result<Value, ExprError> {
    let (template, before) = match is_template(expression) {
        true => (expression.to_owned(), 0),
        false => (format!("{BEFORE}{expression} }}}}"), BEFORE.len()),
    };
    let result = Template::compile(&template, Mode::Value).and_then(|template| template.render(seen));
    result.map(|rendered| rendered.value).map_err(|error| {
        let at = error.at.saturating_sub(before).min(expression.len());
        // Of the braces that were put around it, its author knows nothing.
        let message = match before > 0 && error.message.contains("end of variable block") {
            true => "the expression ends where more is expected".into(),
            false => error.message,
        };
        ExprError { at, message, ..error }
    })
}

const BEFORE: &str = "{{ ";

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The message, the line of the expression with the place marked, and the hint.
fn shown(expression: &str, error: &ExprError) -> String {
    let mut at = error.at;
    while !expression.is_char_boundary(at) {
        at -= 1;
    }
    let start = expression[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = expression[start..].lines().next().unwrap_or_default();
    let before: String = expression[start..at].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let room = line.chars().count().saturating_sub(before.chars().count());
    let meant = error.expression.lines().next().unwrap_or_default().chars().count();
    let marks = "^".repeat(meant.min(room).max(1));
    let mut text = format!("{}\n  |\n  | {line}\n  | {before}{marks}", error.message);
    if let Some(hint) = &error.hint {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  = hint: {hint}");
    }
    text
}

/// A JSON object: each member is a name.
fn of_file(path: &PathBuf) -> anyhow::Result<Seen> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).context("stdin cannot be read")?,
        false => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
    };
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{} is not JSON: {error}", path.display()))?;
    let Value::Object(members) = value else {
        anyhow::bail!(
            "{} is not a JSON object: its members are the names, as in {{\"trigger\": {{\"body\": {{}}}}}}",
            path.display()
        );
    };
    let mut seen = Seen { now: Timestamp::now(), ..Seen::default() };
    for (name, value) in members {
        seen.add(name, value);
    }
    Ok(seen)
}

/// What a template at the end of the run would see.
fn of_run(run: RunDetail) -> Seen {
    let summary = run.summary;
    let mut seen = Seen { now: summary.started_at.unwrap_or(summary.created_at), ..Seen::default() };
    let at = seen.now.to_string();
    seen.values.insert("trigger".into(), kept(&run.input));
    seen.add("run", json!({ "id": summary.id, "started_at": at }));
    seen.add("workflow", json!({ "name": summary.workflow, "version": summary.version }));
    if let Some(error) = &summary.error {
        seen.add("error", error_value(error));
    }
    let mut steps = Map::new();
    for step in &run.steps {
        let output = output_of(step);
        let value = match &output {
            Found::Value(value) => Value::clone(value),
            _ => Value::Null,
        };
        let error = step.error.as_ref().map(error_value);
        steps.insert(step.id.clone(), json!({ "status": step.status, "error": error, "output": value }));
        seen.values.insert(step.id.clone(), output);
    }
    seen.add("steps", Value::Object(steps));
    let settings = "of the workspace are not a part of a run's history; use --data";
    seen.values.insert("settings".into(), Found::Nothing(settings.into()));
    seen
}

fn kept(payload: &Payload) -> Found {
    match payload {
        Payload::Value(value) => Found::Value(Arc::new(value.clone())),
        Payload::Expired { .. } => Found::Nothing("is no longer kept".into()),
    }
}

/// The words are those of the engine.
fn output_of(step: &StepDetail) -> Found {
    let why = match (step.status, &step.output) {
        (StepStatus::Completed, Some(output)) => return kept(output),
        (StepStatus::Completed, None) => "gave no output",
        (StepStatus::Skipped, _) => "was skipped",
        (StepStatus::Failed, _) => "failed, so it has no output",
        (StepStatus::Cancelled, _) => "was cancelled",
        _ => "is not done",
    };
    Found::Nothing(why.into())
}

fn error_value(error: &FailureDetail) -> Value {
    let mut value = serde_json::to_value(error).unwrap_or_default();
    if let Some(status) = error.details.as_ref().and_then(|details| details.get("status")) {
        value["status"] = status.clone();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let mut seen = Seen::default();
        seen.add("trigger", json!({ "body": { "email": "Ada@Example.com", "n": 3 } }));
        seen.values.insert("note".into(), Found::Nothing("was skipped".into()));
        seen
    }

    #[test]
    fn expressions_and_texts_are_evaluated_as_in_a_workflow() {
        let value = |text: &str| evaluate(text, &seen()).unwrap();
        assert_eq!(value("trigger.body.n + 1"), json!(4));
        assert_eq!(value("{{ trigger.body }}"), json!({ "email": "Ada@Example.com", "n": 3 }));
        assert_eq!(value("to {{ trigger.body.email | lower }}"), json!("to ada@example.com"));
        assert_eq!(value("note.x | default('none')"), json!("none"));
        assert_eq!(value("now()"), json!("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = |text: &str| shown(text, &evaluate(text, &seen()).unwrap_err());
        let errors = [
            "'ü' ~ trigger.body.emial | lower",
            "trigger.body.n +",
            "to {{ trigger.body.email | lowr }}",
            "note",
            "trigger.\n  body.x",
            "nothing.here",
            "",
            "{{ a",
        ];
        insta::assert_snapshot!(errors.map(error).join("\n\n"));
    }

    #[test]
    fn a_run_is_seen_as_at_its_end() {
        let run = r#"{ "id": "r", "workflow": "w", "version": 2, "status": "failed", "trigger": "manual",
            "created_at": "2026-03-01T12:00:00Z", "steps_done": 1, "fuel": 0, "peak_memory_bytes": 0,
            "input": { "input": { "a": 1 } }, "actions": {},
            "steps": [
              { "id": "one", "path": "one", "type": "set", "status": "completed", "output": [1], "attempts": [] },
              { "id": "two", "path": "two", "type": "code", "status": "failed", "attempts": [],
                "error": { "code": "http_status", "message": "m", "source": "engine", "retryable": false,
                           "details": { "status": 404 } } }
            ] }"#;
        let seen = of_run(serde_json::from_str(run).unwrap());
        let value = |text: &str| evaluate(text, &seen).map_err(|error| error.message);
        assert_eq!(value("trigger.input.a + one[0]"), Ok(json!(2)));
        assert_eq!(value("steps.two.error.status"), Ok(json!(404)));
        assert_eq!(value("steps.two.status"), Ok(json!("failed")));
        assert_eq!(value("workflow.name ~ run.id ~ now()"), Ok(json!("wr2026-03-01T12:00:00Z")));
        assert!(value("two").unwrap_err().contains("failed, so it has no output"));
    }
}
