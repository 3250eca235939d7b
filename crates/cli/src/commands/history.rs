//! A run as a person reads it: what started it, every step with its values, and what to do about a failure.

use serde_json::Value;
use stepwell_engine::{
    AttemptDetail, AttemptOutcome, Awaited, FailureDetail, ItemCounts, ItemDetail, Payload, RunDetail,
    RunStatus, StepDetail, StepStatus,
};
use stepwell_sandbox::LogLevel;

use super::told::{hint, started, wakes_at, whose};
use crate::output::{self, Line};

/// How much of a value, and how many log lines, are shown unless all of it is asked for.
const LINES: usize = 16;
const COLUMNS: usize = 120;
const LOGS: usize = 20;
/// A value up to this long stands beside its name.
const SHORT: usize = 88;

/// Writes the whole history of a run; `full` cuts nothing.
pub fn show(run: &RunDetail, full: bool, out: &mut Line) {
    let mut history = History { out, full, cut: false };
    history.head(run);
    // A retry may come long after the run began, with another release of the server.
    let first = run.steps.iter().find_map(|step| step.semantics.as_deref());
    for step in &run.steps {
        history.out.end();
        history.step(step);
        if let Some(other) = step.semantics.as_deref().filter(|own| Some(*own) != first) {
            let first = first.unwrap_or_default();
            let line = format!(
                "    sandbox   counted by other rules ({other}) than the code before it ({first}): the same input need not \
                 come to the same"
            );
            history.out.faint(line).end();
        }
    }
    if let Some(result) = &run.output {
        history.out.end();
        history.value("", "output", result);
    }
    let cut = history.cut;
    if run.summary.status == RunStatus::Failed {
        out.end().add(format!("run its failed steps again: stepwell run retry {}", run.summary.id)).end();
    }
    if run.steps.iter().any(|step| step.items.is_some()) {
        out.end().add(format!("its items, with their steps: stepwell run items {}", run.summary.id)).end();
    }
    if run.summary.status == RunStatus::Paused {
        let id = &run.summary.id;
        out.end().add(format!("mend what failed, and let it go on: stepwell run resume {id}")).end();
    }
    if cut {
        out.end().faint("cut; --full shows everything").end();
    }
}

/// An item of an iterator: how it ended, and what its steps did.
pub fn show_item(item: &ItemDetail, out: &mut Line) {
    let mut history = History { out, full: false, cut: false };
    let (mark, status) = mark(item.status);
    history.out.paint(crate::terminal::status_colour(status), mark);
    history.out.add(format!(" {}[{}]", item.step, item.index));
    if status != "completed" {
        history.out.add(" ").status(status);
    }
    history.out.end();
    if let Some(output) = &item.output {
        history.value("    ", "output", output);
    }
    for step in &item.steps {
        history.out.add("  ");
        step_line(step, history.out);
    }
    if let Some(error) = &item.error {
        history.error(error);
    }
}

struct History<'a> {
    out: &'a mut Line,
    full: bool,
    cut: bool,
}

impl History<'_> {
    fn head(&mut self, run: &RunDetail) {
        let s = &run.summary;
        self.field("run", &s.id);
        self.field("workflow", &format!("{} v{}, started {}", s.workflow, s.version, started(run)));
        self.out.add("status    ").status(s.status.as_str());
        if let Some(wakes) = &s.wakes {
            self.out.add(format!(" {} (step {})", wakes_at(wakes), wakes.step));
        }
        self.out.end();
        let took = output::took(s.started_at, s.ended_at);
        let took = if took.is_empty() { took } else { format!(", took {took}") };
        self.field("created", &format!("{} UTC{took}", output::time(s.created_at)));
        self.field("steps", &counts(&run.steps));
        if s.fuel > 0 {
            let (fuel, memory) = (output::number(s.fuel), output::size(s.peak_memory_bytes));
            self.field("code", &format!("{fuel} fuel, {memory} memory at most"));
        }
        if let Some(error) = &s.error {
            let step = error.step.as_ref().map(|step| format!(" at step {step}")).unwrap_or_default();
            self.out.add("error     ").bad(&error.message).add(format!(" ({}{step})", error.code)).end();
        }
        if let Some(waits_for) = &s.waits_for {
            let key = waits_for.key.as_ref().map(|key| format!(" of the key {key}")).unwrap_or_default();
            let runs = if waits_for.runs.is_empty() {
                String::new()
            } else {
                format!(": {}", waits_for.runs.join(", "))
            };
            match waits_for.what {
                Awaited::Slot => self.field("waits for", "a slot of the workspace"),
                Awaited::Concurrency => self.field("waits for", &format!("the end of runs{key}{runs}")),
            }
        }
        if let Some(parent) = &s.parent {
            self.field("parent", &format!("run {}, step {}", parent.run_id, parent.step));
        }
        self.value("", "trigger", &run.input);
    }

    fn field(&mut self, name: &str, value: &str) {
        self.out.add(format!("{name:<9} {value}")).end();
    }

    fn step(&mut self, step: &StepDetail) {
        step_line(step, self.out);
        if let Some(run) = &step.run_id {
            self.out.add(format!("    run       {run}")).end();
        }
        for (name, value) in [("input", &step.input), ("output", &step.output)] {
            if let Some(value) = value {
                self.value("    ", name, &as_written(value));
            }
        }
        self.logs(step);
        let tried_again = step.attempts.len() > 1;
        for attempt in
            step.attempts.iter().filter(|a| tried_again || a.outcome == AttemptOutcome::Interrupted)
        {
            self.attempt(attempt);
        }
        if self.full {
            for attempt in &step.attempts {
                self.exchange(attempt, step.input.as_ref());
            }
        }
        if let Some(error) = &step.error {
            self.error(error);
        }
    }

    fn logs(&mut self, step: &StepDetail) {
        let most = if self.full { usize::MAX } else { LOGS };
        for log in step.logs.iter().take(most) {
            let fields = log.fields.as_ref().map(|fields| format!(" {fields}")).unwrap_or_default();
            let message = self.columns(&format!("{}{fields}", log.message));
            self.out.add("    log       ");
            let level = level_name(log.level);
            match log.level {
                LogLevel::Error => self.out.bad(level),
                LogLevel::Warn => self.out.paint(Some("33"), level),
                _ => self.out.faint(level),
            };
            self.out.add(format!(" {}", message.trim_end().replace('\n', "\n                "))).end();
        }
        if let Some(more @ 1..) = step.logs.len().checked_sub(most) {
            self.cut = true;
            self.out.faint(format!("              … {more} more lines")).end();
        }
    }

    fn attempt(&mut self, attempt: &AttemptDetail) {
        let outcome = match attempt.outcome {
            AttemptOutcome::Running => "under way",
            AttemptOutcome::Completed => "completed",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::Interrupted => "interrupted: whether the call was carried out is not known",
        };
        let took = output::took(Some(attempt.started_at), attempt.ended_at);
        let after = if took.is_empty() { String::new() } else { format!(" after {took}") };
        let error =
            attempt.error.as_ref().map(|e| format!(": {} ({})", e.message, e.code)).unwrap_or_default();
        let text = self.columns(&format!("attempt {} {outcome}{after}{error}", attempt.number));
        self.out.add(format!("    {text}")).end();
    }

    /// What went out and what came back, for calls to the outside.
    fn exchange(&mut self, attempt: &AttemptDetail, input: Option<&Payload>) {
        // What goes out is the step's input, as a rule.
        let request = attempt.request.as_ref().filter(|request| Some(*request) != input);
        for (name, value) in [("request", request), ("answer", attempt.answer.as_ref())] {
            if let Some(value) = value {
                self.value("    ", &format!("{name} {}", attempt.number), &as_written(value));
            }
        }
        if let Some(key) = &attempt.key {
            self.out.add(format!("    key {:<5} {key}", attempt.number)).end();
        }
    }

    fn error(&mut self, error: &FailureDetail) {
        self.out.add("    error     ").bad(&error.message).end();
        let mut about = vec![error.code.clone(), format!("from {}", whose(&error.source))];
        match (error.used, error.limit) {
            (Some(used), Some(limit)) => {
                about.push(format!("{} used of {}", output::number(used), output::number(limit)));
            }
            (None, Some(limit)) => about.push(format!("limit {}", output::number(limit))),
            _ => {}
        }
        if error.retryable {
            about.push("worth another attempt".into());
        }
        self.out.faint(format!("              {}", about.join(", "))).end();
        let told = |details: &Value| details["message"].as_str().is_some_and(|m| error.message.contains(m));
        if let Some(details) = error.details.as_ref().filter(|details| self.full || !told(details)) {
            self.value("    ", "details", &Payload::Value(details.clone()));
        }
        if let Some(hint) = hint(error) {
            self.out.add(format!("    hint      {hint}")).end();
        }
    }

    /// A value beside its name, or below it when it is long.
    fn value(&mut self, margin: &str, name: &str, payload: &Payload) {
        let value = match payload {
            Payload::Value(value) => value,
            Payload::Expired { .. } => {
                self.out.add(format!("{margin}{name:<9} ")).faint("no longer kept").end();
                return;
            }
        };
        let short = value.to_string();
        if short.chars().count() <= SHORT {
            self.out.add(format!("{margin}{name:<9} {short}")).end();
            return;
        }
        self.out.add(format!("{margin}{name}")).end();
        let pretty = output::laid_out(value, SHORT);
        let count = pretty.lines().count();
        // A cut that leaves one line out saves nothing.
        let shown = if self.full || count <= LINES + 1 { count } else { LINES };
        for line in pretty.lines().take(shown) {
            let line = self.columns(line);
            self.out.add(format!("{margin}  {line}")).end();
        }
        if shown < count {
            self.cut = true;
            self.out.add(margin).faint(format!("  … {} more lines", count - shown)).end();
        }
    }

    fn columns(&mut self, text: &str) -> String {
        if self.full || text.chars().count() <= COLUMNS {
            return text.to_owned();
        }
        self.cut = true;
        output::cut(text, COLUMNS)
    }
}

/// A call as its step is written. The history has it as it is kept until it goes out: texts beside the places of
/// secrets in them, and what every call has.
fn as_written(payload: &Payload) -> Payload {
    match payload {
        Payload::Value(Value::Object(call)) if call.contains_key("method") && call.contains_key("url") => {
            let is_shown = |name: &str| ["method", "url", "headers", "query", "body"].contains(&name);
            let parts = call.iter().filter(|(name, value)| is_shown(name) && !is_empty(value));
            let parts = parts.map(|(name, value)| (name.clone(), filled(value))).collect();
            Payload::Value(Value::Object(parts))
        }
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// `{"text": "x", "secrets": […]}` as `"x"`, at any depth.
fn filled(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let made = ["text", "value"].into_iter().find_map(|name| members.get(name));
            let only = members.keys().all(|name| ["text", "value", "secrets"].contains(&name.as_str()));
            match made.filter(|made| only && (members.contains_key("value") || made.is_string())) {
                Some(made) => made.clone(),
                None => {
                    let members = members.iter().map(|(name, value)| (name.clone(), filled(value)));
                    Value::Object(members.collect())
                }
            }
        }
        Value::Array(items) => items.iter().map(filled).collect(),
        other => other.clone(),
    }
}

/// `3 completed, 1 failed, 1 skipped`
fn counts(steps: &[StepDetail]) -> String {
    let named = [
        (StepStatus::Completed, "completed"),
        (StepStatus::Failed, "failed"),
        (StepStatus::Cancelled, "cancelled"),
        (StepStatus::Skipped, "skipped"),
    ];
    let mut parts = Vec::new();
    let mut rest = steps.len();
    for (status, name) in named {
        let count = steps.iter().filter(|step| step.status == status).count();
        rest -= count;
        if count > 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    if rest > 0 {
        parts.push(format!("{rest} under way"));
    }
    if parts.is_empty() { "none yet".into() } else { parts.join(", ") }
}

fn mark(status: StepStatus) -> (&'static str, &'static str) {
    match status {
        StepStatus::Completed => ("✓", "completed"),
        StepStatus::Failed => ("✗", "failed"),
        StepStatus::Cancelled => ("✗", "cancelled"),
        StepStatus::Skipped => ("·", "skipped"),
        StepStatus::Paused => ("…", "paused"),
        StepStatus::Waiting => ("…", "waiting"),
        StepStatus::Queued => ("…", "queued"),
        StepStatus::Running => ("…", "running"),
    }
}

/// `1,204 of 10,000 items, 3 failed`
fn items(items: &ItemCounts) -> String {
    let over = items.succeeded + items.failed + items.skipped;
    let noun = if items.count == 1 { "item" } else { "items" };
    let mut text = format!("{} of {} {noun}", output::number(over), output::number(items.count));
    for (count, what) in [(items.failed, "failed"), (items.skipped, "skipped")] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", output::number(count)));
        }
    }
    text
}

/// `✓ normalize  code normalize-lead@1.0.0  1.2 ms  84,211 fuel  1.1 MiB`
pub fn step_line(step: &StepDetail, out: &mut Line) {
    let (mark, status) = mark(step.status);
    out.paint(crate::terminal::status_colour(status), mark);
    out.add(format!(" {:<22} {:<14}", step.path, step.kind));
    if let Some(action) = &step.action {
        out.add(format!(" {action}"));
    }
    // A completed step says so by its mark.
    if status != "completed" {
        out.add(" ").status(status);
    }
    if let Some(wakes) = &step.wakes {
        out.add(format!(" {}", wakes_at(wakes)));
    }
    // The sandbox times its calls more finely.
    let took = match &step.usage {
        Some(usage) => output::micros(usage.wall_us.into()),
        None => output::took(step.started_at, step.ended_at.filter(|_| step.wakes.is_none())),
    };
    if !took.is_empty() && step.status != StepStatus::Skipped {
        out.add(format!("  {took}"));
    }
    if let Some(usage) = &step.usage {
        if let Some(fuel) = usage.fuel {
            out.add(format!("  {} fuel", output::number(fuel)));
        }
        out.add(format!("  {}", output::size(usage.peak_memory_bytes)));
    }
    if let Some(counts) = &step.items {
        out.add(format!("  {}", items(counts)));
    }
    if step.attempts.len() > 1 {
        out.add(format!("  {} attempts", step.attempts.len()));
    }
    out.end();
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

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{
      "id": "01900000-0000-7000-8000-000000000001", "workflow": "order", "version": 3, "status": "failed",
      "trigger": "webhook", "created_at": "2026-03-01T12:00:00Z", "started_at": "2026-03-01T12:00:00.001Z",
      "ended_at": "2026-03-01T12:00:00.250Z", "steps_done": 4, "fuel": 84211, "peak_memory_bytes": 1179648,
      "error": { "code": "busy", "message": "try later", "source": "action", "step": "price", "retryable": true },
      "input": { "body": { "customer": "Ada", "quantity": 3 }, "headers": {} }, "actions": {},
      "steps": [
        { "id": "shape", "path": "shape", "type": "set", "status": "completed", "output": { "long": LONG },
          "attempts": [] },
        { "id": "note", "path": "note", "type": "create_record", "status": "skipped", "attempts": [] },
        { "id": "price", "path": "price", "type": "code", "status": "failed", "action": "price-order@1.0.0",
          "input": { "error": "payload_expired" }, "started_at": "2026-03-01T12:00:00.002Z",
          "ended_at": "2026-03-01T12:00:00.240Z",
          "usage": { "fuel": 84211, "peak_memory_bytes": 1179648, "wall_us": 1234, "virtual_ms": 0, "input_bytes": 1,
                     "output_bytes": 1, "log_bytes": 1 },
          "logs": [
            { "level": "info", "message": "pricing", "fields": { "quantity": 3 }, "at": 0 },
            { "level": "warn", "message": "\u001b[2Jtwo\nlines", "at": 0 }
          ],
          "error": { "code": "busy", "message": "try later", "source": "action", "retryable": true,
                     "details": { "queue": 7 } },
          "attempts": [
            { "number": 1, "outcome": "interrupted", "started_at": "2026-03-01T12:00:00.002Z" },
            { "number": 2, "outcome": "failed", "started_at": "2026-03-01T12:00:00.100Z",
              "ended_at": "2026-03-01T12:00:00.240Z", "request": { "sent": true }, "key": "k-2",
              "error": { "code": "busy", "message": "try later", "source": "action", "retryable": true } }
          ] }
      ]
    }"#;

    fn run() -> RunDetail {
        let long: Vec<u32> = (1_000_000..1_000_040).collect();
        serde_json::from_str(&RUN.replace("LONG", &format!("{long:?}"))).unwrap()
    }

    #[test]
    fn a_run_reads_from_top_to_bottom() {
        let mut text = Line::plain();
        show(&run(), false, &mut text);
        insta::assert_snapshot!(text.text());
    }

    #[test]
    fn a_call_reads_as_its_step_is_written() {
        let kept = r#"{ "method": "POST", "url": { "text": "https://x.example/a" }, "headers": {}, "query": [],
            "body": { "json": { "value": { "text": { "deep": 1 } }, "secrets": [] } }, "max_bytes": 1048576,
            "response": { "status": ["200-299"] }, "idempotency_key": "k" }"#;
        let Payload::Value(shown) = as_written(&serde_json::from_str(kept).unwrap()) else { unreachable!() };
        insta::assert_snapshot!(shown, @r#"{"body":{"json":{"text":{"deep":1}}},"method":"POST","url":"https://x.example/a"}"#);
        let other = serde_json::from_str::<Payload>(r#"{ "text": "x" }"#).unwrap();
        assert_eq!(as_written(&other), other);
    }

    #[test]
    fn a_step_that_ran_under_other_rules_says_so() {
        let mut run = run();
        let mut shown = |semantics: [Option<&str>; 2]| {
            for (step, semantics) in run.steps.iter_mut().zip(semantics) {
                step.semantics = semantics.map(str::to_owned);
            }
            let mut text = Line::plain();
            show(&run, false, &mut text);
            text.text().to_owned()
        };
        assert!(!shown([None, None]).contains("other rules"));
        assert!(!shown([Some("0aa0"), Some("0aa0")]).contains("other rules"));
        let text = shown([Some("0aa0"), Some("0bb0")]);
        let wanted = "counted by other rules (0bb0) than the code before it (0aa0)";
        assert_eq!(text.matches(wanted).count(), 1, "{text}");
    }

    #[test]
    fn all_of_it_is_shown_on_request() {
        let mut text = Line::plain();
        show(&run(), true, &mut text);
        let text = text.text();
        assert!(text.contains("1000039\n") && !text.contains("--full") && !text.contains('…'), "{text}");
        assert!(text.contains("request 2 {\"sent\":true}") && text.contains("k-2"), "{text}");
    }
}
