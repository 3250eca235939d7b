//! Steps: what all of them have, and which kinds there are.

mod code;
mod every_step;
mod flow;
mod iterator;
mod records;
mod values;
mod waits;

pub use code::{Code, Limits};
pub use every_step::{Backoff, OnError, Retry};
pub use flow::{Arm, Block, Branch, FilterStep, Parallel, Stop, StopStatus};
pub use iterator::{Iterate, RecordSet, Tolerate};
pub use records::{CreateRecord, DeleteRecord, IfUnchanged, SearchRecords, UpdateRecord, UpsertRecord};
pub use values::{Fields, Given, Set, SetState};
pub use waits::{Delay, RunWorkflow, WaitForInput};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::outside::{HttpRequest, SendEmail};
use super::units::Millis;
use super::{Condition, Template, one_or_many, present};

/// One step of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The step is skipped when this is false.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Siblings that must be done first; only in the list of a `parallel`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    #[serde(default, skip_serializing_if = "OnError::is_fail")]
    pub on_error: OnError,
    #[serde(flatten)]
    pub kind: StepKind,
}

impl Step {
    /// The lists of steps inside this one, in document order: arms, `else`, the steps of a parallel or an iterator,
    /// `on_error.do`, `on_timeout.do`.
    pub fn blocks(&self) -> Vec<&[Step]> {
        let mut blocks: Vec<&[Step]> = Vec::new();
        match &self.kind {
            StepKind::Branch(branch) => {
                blocks.extend(branch.branches.iter().map(|arm| arm.steps.as_slice()));
                blocks.extend(branch.otherwise.iter().map(|block| block.steps.as_slice()));
            }
            StepKind::Parallel(parallel) => blocks.push(&parallel.steps),
            StepKind::Iterator(iterate) => blocks.push(&iterate.steps),
            _ => {}
        }
        if let OnError::Do { steps } = &self.on_error {
            blocks.push(steps);
        }
        if let StepKind::WaitForInput(wait) = &self.kind
            && let Some(OnError::Do { steps }) = &wait.on_timeout
        {
            blocks.push(steps);
        }
        blocks
    }
}

/// What a step does; told apart by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StepKind {
    Code(Code),
    SearchRecords(SearchRecords),
    CreateRecord(CreateRecord),
    UpdateRecord(UpdateRecord),
    UpsertRecord(UpsertRecord),
    DeleteRecord(DeleteRecord),
    Branch(Branch),
    Filter(FilterStep),
    Parallel(Parallel),
    Iterator(Box<Iterate>),
    Set(Set),
    SetState(SetState),
    Stop(Stop),
    Delay(Delay),
    WaitForInput(WaitForInput),
    RunWorkflow(RunWorkflow),
    HttpRequest(Box<HttpRequest>),
    SendEmail(Box<SendEmail>),
}

impl StepKind {
    /// The `type` as documents write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            StepKind::Code(_) => "code",
            StepKind::SearchRecords(_) => "search_records",
            StepKind::CreateRecord(_) => "create_record",
            StepKind::UpdateRecord(_) => "update_record",
            StepKind::UpsertRecord(_) => "upsert_record",
            StepKind::DeleteRecord(_) => "delete_record",
            StepKind::Branch(_) => "branch",
            StepKind::Filter(_) => "filter",
            StepKind::Parallel(_) => "parallel",
            StepKind::Iterator(_) => "iterator",
            StepKind::Set(_) => "set",
            StepKind::SetState(_) => "set_state",
            StepKind::Stop(_) => "stop",
            StepKind::Delay(_) => "delay",
            StepKind::WaitForInput(_) => "wait_for_input",
            StepKind::RunWorkflow(_) => "run_workflow",
            StepKind::HttpRequest(_) => "http_request",
            StepKind::SendEmail(_) => "send_email",
        }
    }
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests {
    use super::super::Workflow;
    use serde_json::json;

    #[test]
    fn a_definition_reads_what_it_wrote() {
        let document = json!({
            "name": "web-form",
            "trigger": {"type": "webhook", "path": "web-form", "method": "POST",
                        "respond": {"status": 201, "body": "{{ create.record.id }}"},
                        "auth": {"hmac": {"secret": "{{ secrets.HOOK }}"}}},
            "steps": [
                {"id": "normalize", "type": "code", "action": "normalize-lead@1", "input": "{{ trigger.body }}",
                 "limits": {"fuel": 50000000, "memory_bytes": "32MiB", "wall_ms": 500},
                 "retry": {"attempts": 5}, "timeout": "30s"},
                {"id": "person", "type": "branch",
                 "branches": [{"when": {"value": "{{ normalize.score }}", "greater_than": 0},
                               "do": [{"id": "ok", "type": "set", "values": {"a": 1.5}}], "output": "{{ ok }}"}],
                 "else": [{"id": "create", "type": "upsert_record", "object": "person",
                           "match": ["emails.primaryEmail"], "record": {"jobTitle": "x"}}]},
                {"id": "both", "type": "parallel", "steps": [
                    {"id": "get", "type": "http_request", "url": "https://example.com", "response": {"status": ["2xx", 404]},
                     "on_error": {"do": [{"id": "done", "type": "stop", "status": "failed", "message": "no"}]}},
                    {"id": "mail", "type": "send_email", "needs": ["get"], "to": "a@example.com", "subject": "s",
                     "text": "t", "on_error": "continue"}]}
            ],
            "output": {"id": "{{ person.record.id }}"}
        });
        let read: Workflow = serde_json::from_value(document).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        let again: Workflow = serde_json::from_value(written).unwrap();
        assert_eq!(read, again);
        let ids: Vec<_> = read.every_step().iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["normalize", "person", "ok", "create", "both", "get", "done", "mail"]);
    }
}
