//! Steps, triggers and conditions in a few words.

use serde_json::Value;

use crate::model::{Delay, Given, OnError, Step, StepKind, Stop, StopStatus, Trigger};

/// Longer words are cut.
const SHOWN: usize = 60;

/// "webhook POST /hooks/{workspace}/web-form".
pub(super) fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Webhook(webhook) => {
            let methods: Vec<_> = webhook.methods.iter().map(|method| method.as_str()).collect();
            format!("webhook {} /hooks/{{workspace}}/{}", methods.join(", "), webhook.path)
        }
        Trigger::RecordEvent(event) => {
            let on: Vec<_> = event.on.iter().map(|change| change.name()).collect();
            format!("record_event {} {}", event.object, on.join(", "))
        }
        Trigger::Schedule(schedule) => format!("schedule {}", schedule.times()),
        Trigger::Manual(_) => "manual".into(),
    }
}

/// "update_record person".
pub(super) fn what(step: &Step) -> String {
    let detail = match &step.kind {
        StepKind::Code(code) => code.action.to_string(),
        StepKind::SearchRecords(search) => search.object.clone(),
        StepKind::CreateRecord(create) => create.object.clone(),
        StepKind::UpdateRecord(update) => update.object.clone(),
        StepKind::UpsertRecord(upsert) => upsert.object.clone(),
        StepKind::DeleteRecord(delete) => delete.object.clone(),
        StepKind::Delay(Delay { span: Some(span), .. }) => bare(span),
        StepKind::Delay(Delay { until, .. }) => {
            until.as_ref().map(|until| format!("until {}", bare(until))).unwrap_or_default()
        }
        StepKind::SetState(set) => match &set.values {
            Given::Each(values) => values.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            Given::Whole(template) => bare(template),
        },
        StepKind::Filter(filter) => condition(&filter.when),
        StepKind::Stop(Stop { status: StopStatus::Failed, .. }) => "failed".into(),
        StepKind::RunWorkflow(run) => run.workflow.clone(),
        StepKind::WaitForInput(wait) => wait.title.as_deref().map(bare).unwrap_or_default(),
        StepKind::HttpRequest(request) => {
            let through = request.connection.iter().map(|name| format!("{name} ")).collect::<String>();
            format!("{} {through}{}", request.method.as_str(), request.url)
        }
        StepKind::SendEmail(email) => email.to.join(", "),
        StepKind::Iterator(iterate) => match (&iterate.over, &iterate.search) {
            (_, Some(search)) => format!("each {}", search.object),
            (Some(Value::String(over)), _) => format!("each of {}", bare(over)),
            _ => String::new(),
        },
        StepKind::Branch(_) | StepKind::Parallel(_) | StepKind::Set(_) | StepKind::Stop(_) => String::new(),
    };
    cut(format!("{} {detail}", step.kind.type_name()).trim_end())
}

/// What else is worth a word: `if …`, `after a, b`, `continues on error`.
pub(super) fn notes(step: &Step) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(when) = &step.condition {
        notes.push(format!("if {}", condition(when)));
    }
    if !step.needs.is_empty() {
        notes.push(format!("after {}", step.needs.join(", ")));
    }
    if let StepKind::Iterator(iterate) = &step.kind {
        notes.extend(iterate.batch.map(|size| format!("{size} at a time")));
        notes.extend((iterate.concurrency > 1).then(|| format!("{} at once", iterate.concurrency)));
    }
    match step.on_error {
        OnError::Continue => notes.push("continues on error".into()),
        OnError::Pause => notes.push("pauses on error".into()),
        OnError::Fail | OnError::Do { .. } => {}
    }
    notes
}

/// A condition as one would say it: `known.total greater_than 0`.
pub(super) fn condition(condition: &Value) -> String {
    cut(&said(condition))
}

fn said(condition: &Value) -> String {
    let joined = |items: &[Value], word: &str| {
        let parts: Vec<String> = items
            .iter()
            .map(|item| match item.get("all").or_else(|| item.get("any")) {
                Some(_) => format!("({})", said(item)),
                None => said(item),
            })
            .collect();
        parts.join(word)
    };
    match condition {
        Value::String(text) => bare(text),
        Value::Array(items) => joined(items, " and "),
        Value::Object(map) => {
            if let Some(Value::Array(items)) = map.get("all") {
                return joined(items, " and ");
            }
            if let Some(Value::Array(items)) = map.get("any") {
                return joined(items, " or ");
            }
            if let Some(inner) = map.get("not") {
                return format!("not ({})", said(inner));
            }
            let subject = map.get("field").or_else(|| map.get("value")).map(value).unwrap_or_default();
            let tests: Vec<String> = map
                .iter()
                .filter(|(key, _)| *key != "field" && *key != "value")
                .map(|(operand, wanted)| format!("{subject} {} {}", operand.replace('_', " "), value(wanted)))
                .collect();
            tests.join(" and ")
        }
        other => other.to_string(),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => bare(text),
        other => other.to_string(),
    }
}

/// An expression without its braces.
fn bare(text: &str) -> String {
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.map_or(text, str::trim).replace(['\n', '\r'], " ")
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
