//! Expressions tried by hand: over what a run knew, or over values that are given.
use crate::api::{
    EvalRequest, FailureDetail, ItemDetail, ItemFilter, PageRequest, Payload, RunDetail, StepDetail,
    StepStatus,
};
use crate::core::Ctx;
use crate::error::{EngineError, Problem};
use crate::id::RunId;
use crate::{blobs, history, items};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use stepwell_workflow::expr::{ExprError, Found, Mode, Scope, Template};
use stepwell_workflow::machine;

/// What an expression can see, by name.
#[derive(Debug, Default)]
pub struct Seen {
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
    /// These names and values, at a time.
    pub fn of(members: Map<String, Value>, now: Timestamp) -> Self {
        let mut seen = Self { now, ..Self::default() };
        members.into_iter().for_each(|(name, value)| seen.add(name, value));
        seen
    }

    fn add(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), Found::Value(Arc::new(value)));
    }

    fn nothing(&mut self, name: &str, why: &str) {
        self.values.insert(name.into(), Found::Nothing(why.into()));
    }
}

/// A bare expression, or a text with `{{ … }}` in it, as a workflow has it.
pub fn evaluate(expression: &str, seen: &Seen) -> Result<Value, ExprError> {
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

/// The expression of a request, over what its run knew and what it gives itself.
pub(crate) async fn eval(ctx: &Ctx, request: EvalRequest) -> Result<Value, EngineError> {
    if request.item.is_some() && request.run.is_none() {
        return Err(EngineError::invalid("invalid_body", "`item` is one of a run: give `run` as well"));
    }
    let mut seen = Seen { now: ctx.core.ports.clock.now(), ..Seen::default() };
    if let Some(id) = &request.run {
        let run: RunId = crate::api::run_id(id)?;
        seen = of_run(history::detail(ctx, run).await?);
        match history::start(ctx, run).await? {
            Some(start) => {
                let mut settings = start.settings;
                blobs::fill_one(ctx, &mut settings).await?;
                seen.values.insert("settings".into(), kept(&history::shown(&settings)));
            }
            None => seen.nothing("settings", "is no longer kept"),
        }
        if let Some(path) = &request.item {
            let detail = item(ctx, run, path).await?;
            seen.within(detail);
        }
    }
    for (name, value) in request.data {
        seen.add(name, value);
    }
    // It is a stranger's, as those of workflows are.
    let expression = request.expression;
    let clock = &ctx.core.ports.clock;
    let pace = crate::pace::Pace::slow();
    let result = ctx.core.lane.run(&pace, || clock.elapsed(), || evaluate(&expression, &seen)).await;
    result.map_err(|error| {
        let before = expression.get(..error.at).unwrap_or_default();
        let problem = Problem {
            code: "invalid_expression".into(),
            message: error.message.clone(),
            path: Some("expression".into()),
            line: Some(before.matches('\n').count() as u32 + 1),
            column: Some(before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1),
            hint: error.hint.clone(),
            ..Problem::default()
        };
        EngineError::invalid("invalid_expression", error.message).with_problems(vec![problem])
    })
}

/// An item that is over, by its path: `rows[3]`.
async fn item(ctx: &Ctx, run: RunId, path: &str) -> Result<ItemDetail, EngineError> {
    let unknown = || {
        let message = format!(
            "`{path}` is no item of run {run} that is over; write an iterator's path and a number, as in `rows[3]`"
        );
        EngineError::not_found("unknown_item", message)
    };
    let (step, index) = machine::StepPath::new(path).of_item().ok_or_else(unknown)?;
    let filter = ItemFilter { step: Some(step.to_string()), index: Some(index), status: None };
    let (mut page, mut last) = (PageRequest::default(), None);
    loop {
        let found = items::list(ctx, run, filter.clone(), page).await?;
        // One that was retried ended more than once.
        last = found.items.into_iter().next_back().or(last);
        match found.next_cursor {
            Some(cursor) => page = PageRequest { cursor: Some(cursor), ..PageRequest::default() },
            None => return last.ok_or_else(unknown),
        }
    }
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
    seen.add("steps", Value::Object(Map::new()));
    seen.steps(&run.steps);
    seen
}

impl Seen {
    fn steps(&mut self, steps: &[StepDetail]) {
        let known = match self.values.remove("steps") {
            Some(Found::Value(known)) => known.as_object().cloned(),
            _ => None,
        };
        let mut known = known.unwrap_or_default();
        for step in steps {
            let output = output_of(step);
            let value = match &output {
                Found::Value(value) => Value::clone(value),
                _ => Value::Null,
            };
            let error = step.error.as_ref().map(error_value);
            known.insert(step.id.clone(), json!({ "status": step.status, "error": error, "output": value }));
            self.values.insert(step.id.clone(), output);
        }
        self.add("steps", Value::Object(known));
    }

    /// What stands inside an item sees its steps too.
    fn within(&mut self, item: ItemDetail) {
        self.add("index", item.index.into());
        self.nothing("item", "is not kept with the history; give it as `data`");
        self.steps(&item.steps);
    }
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
