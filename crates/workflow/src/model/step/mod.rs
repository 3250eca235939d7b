//! Steps: what all of them have, and what each kind has.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::action_ref::ActionRef;
use super::outside::{HttpRequest, SendEmail};
use super::units::{ByteSize, Millis};
use super::{Condition, Template, one_or_many, present};

/// Values by name; strings inside may be templates.
pub type Fields = Map<String, Value>;

/// Values by name, each written down, or one template that gives them all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    Each(Fields),
    Whole(Template),
}

impl Given {
    /// The values, where they are written down.
    pub fn each(&self) -> Option<&Fields> {
        match self {
            Given::Each(fields) => Some(fields),
            Given::Whole(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.each().is_some_and(Fields::is_empty)
    }

    pub fn to_value(&self) -> Value {
        match self {
            Given::Each(fields) => Value::Object(fields.clone()),
            Given::Whole(template) => Value::String(template.clone()),
        }
    }
}

impl Default for Given {
    fn default() -> Self {
        Given::Each(Fields::new())
    }
}

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

/// Runs an action in the sandbox. Output: the action's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    pub action: ActionRef,
    #[serde(default = "empty_object")]
    pub input: Value,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

/// Limits of one call; what is absent is the action's, or else the host's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<ByteSize>,
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Each limit by the name it has everywhere; sizes in bytes, times in milliseconds.
    pub fn each(&self) -> [(&'static str, Option<u64>); 7] {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.0);
        [
            ("fuel", self.fuel),
            ("memory_bytes", bytes(self.memory_bytes)),
            ("wall_ms", self.wall_ms),
            ("virtual_ms", self.virtual_ms),
            ("input_bytes", bytes(self.input_bytes)),
            ("output_bytes", bytes(self.output_bytes)),
            ("log_bytes", bytes(self.log_bytes)),
        ]
    }
}

/// Output: `{records, total, index}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRecords {
    pub object: String,
    /// A saved filter and sort; what is beside it narrows it further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Field paths, `-` in front for descending.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
    /// A number, or a template that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Value>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRecord {
    pub object: String,
    #[serde(default)]
    pub record: Given,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateRecord {
    pub object: String,
    pub record_id: Template,
    pub record: Given,
    /// A number, or a template that gives one; another version in the store is `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unchanged: Option<IfUnchanged>,
}

/// Fields that must hold what they did; others in the store are `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IfUnchanged {
    /// The record as it was read.
    pub since: Given,
    /// Fields, or parts of them; those that the step writes when there are none.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpsertRecord {
    pub object: String,
    /// One declared unique field set of the object.
    #[serde(rename = "match", with = "one_or_many")]
    pub match_on: Vec<String>,
    pub record: Given,
    /// Fields of `record` that are written only when the record is new.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub create_only: Vec<String>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteRecord {
    pub object: String,
    pub record_id: Template,
    /// A number, or a template that gives one; another version in the store is `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<Value>,
}

/// The first arm whose `when` holds. Output: the taken arm's `output`, or its last step's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    pub branches: Vec<Arm>,
    #[serde(default, rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Block>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    pub when: Condition,
    #[serde(rename = "do", default)]
    pub steps: Vec<Step>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// A list of steps with an output; documents write `{do, output}`, or the list alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Block {
    #[serde(rename = "do")]
    pub steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            List(Vec<Step>),
            Block {
                #[serde(rename = "do", default)]
                steps: Vec<Step>,
                #[serde(default, deserialize_with = "present")]
                output: Option<Value>,
            },
        }
        Ok(match Written::deserialize(from)? {
            Written::List(steps) => Block { steps, output: None },
            Written::Block { steps, output } => Block { steps, output },
        })
    }
}

/// Ends the innermost item, or else the run as completed, when `when` is false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterStep {
    pub when: Condition,
}

/// Steps that start together, each as soon as what it `needs` is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parallel {
    pub steps: Vec<Step>,
}

/// The same steps for each item of a list, or for each record that a search finds; exactly one of `over` and `search`
/// is there. Output: `{count, succeeded, failed, skipped, results, failures}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Iterate {
    /// A list, or a template that gives one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub over: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<RecordSet>,
    #[serde(rename = "do", default)]
    pub steps: Vec<Step>,
    /// Of one item; its last step's output when absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Numbers of one item, which are added up over all items that succeed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub totals: Fields,
    /// Items under way at the same time.
    #[serde(default = "Iterate::default_concurrency")]
    pub concurrency: u32,
    /// So many at a time: `item` is then a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    #[serde(default, skip_serializing_if = "Tolerate::is_none")]
    pub tolerate: Tolerate,
    /// What all items write is written at once, or nothing of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub atomic: bool,
}

impl Iterate {
    /// Items that may be under way at the same time: their steps are the part of a run's state that grows.
    pub const MAX_CONCURRENCY: u64 = 100;
    /// Sums that one keeps: they are in the run's state.
    pub const MAX_TOTALS: usize = 20;
    /// A batch over a search is read at once.
    pub const MAX_BATCH: u64 = stepwell_records::MAX_LIMIT as u64;

    fn default_concurrency() -> u32 {
        1
    }
}

/// Records of an object, all of them that a filter holds of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordSet {
    pub object: String,
    /// A saved filter and sort; what is beside it narrows it further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Field paths, `-` in front for descending.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
}

/// How many items may fail before the iterator does; with both, each is kept. Without either, none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tolerate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
}

impl Tolerate {
    pub(crate) fn is_none(&self) -> bool {
        *self == Tolerate::default()
    }

    /// Of so many items.
    pub fn allowed(&self, count: u64) -> u64 {
        // Whole items: half of three is one.
        let share = |percent: f64| (count as f64 * percent / 100.0).floor() as u64;
        match (self.failures, self.percent.map(share)) {
            (Some(failures), Some(share)) => failures.min(share),
            (Some(allowed), None) | (None, Some(allowed)) => allowed,
            (None, None) => 0,
        }
    }
}

/// Output: the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Set {
    pub values: Given,
}

/// Keeps values for later runs of the workflow, which read them as `state.NAME`; null takes one away. Output: the
/// values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetState {
    pub values: Given,
}

impl SetState {
    /// How many names a workflow keeps.
    pub const MAX_NAMES: usize = 100;
    /// The largest value, as JSON.
    pub const MAX_VALUE: usize = 64 << 10;
    /// Of all together: a run that reads one is given all.
    pub const MAX_TOGETHER: usize = 256 << 10;

    /// Whether a value can be kept under this name.
    pub fn is_name(name: &str) -> bool {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(known)
    }
}

/// Ends the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    #[serde(default)]
    pub status: StopStatus,
    /// Why the run failed; only with `status: failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
    /// The run's result; only with `status: completed`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// Waits; exactly one of the two is there. Output: `{until}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delay {
    /// So long from when the step starts: a duration, or a template that gives one.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<Template>,
    /// Up to a time: `2026-03-31T09:00:00Z`, or a template that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Template>,
}

impl Delay {
    /// Nobody waits longer in earnest.
    pub const LONGEST: Millis = Millis::seconds(366 * 24 * 3600);
}

/// Waits for a person, who gives it by a link or the API. Output: what they gave.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WaitForInput {
    /// Of what is given; without it everything is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Above the form that the link shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
    /// When nobody gave it in time; `on_error` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnError>,
}

impl WaitForInput {
    /// How long it waits that does not say.
    pub const DEFAULT_TIMEOUT: Millis = Millis::seconds(7 * 24 * 3600);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopStatus {
    #[default]
    Completed,
    Failed,
}

/// Starts a run of another workflow, as if by hand. Output: the run's result, or `{run_id}` when it is not waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunWorkflow {
    pub workflow: String,
    #[serde(default = "empty_object")]
    pub input: Value,
    #[serde(default = "RunWorkflow::waits")]
    pub wait: bool,
}

impl RunWorkflow {
    fn waits() -> bool {
        true
    }
}

/// When and how often a failed attempt is made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// All attempts, the first one included.
    #[serde(default = "Retry::default_attempts")]
    pub attempts: u32,
    #[serde(default)]
    pub backoff: Backoff,
    /// No attempt starts later than this after the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Millis>,
    /// A filter over the error (`code`, `source`, `status`, …); without it, what can be retried is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Value>,
}

impl Retry {
    pub const DEFAULT_ATTEMPTS: u32 = 3;

    fn default_attempts() -> u32 {
        Self::DEFAULT_ATTEMPTS
    }
}

/// The wait before attempt n + 1: `initial × factor^(n-1)`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    pub initial: Millis,
    pub factor: f64,
    pub max: Millis,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { initial: Millis::seconds(1), factor: 2.0, max: Millis::seconds(300) }
    }
}

/// What happens when a step has failed for good.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on; the step reads like a skipped one.
    Continue,
    /// The run waits for a person, who says how the step goes on.
    Pause,
    /// These steps run, seeing `error`; their last output is the step's, and the run goes on.
    #[serde(untagged)]
    Do {
        #[serde(rename = "do")]
        steps: Vec<Step>,
    },
}

impl OnError {
    fn is_fail(&self) -> bool {
        *self == OnError::Fail
    }
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
