//! A workspace for tests: the standard objects, a few actions, the host's maxima.

use std::sync::Arc;

use semver::Version;
use serde_json::{Value, json};
use stepwell_records::schema::Schema;
use stepwell_workflow::check::{
    ActionInfo, ActionLookup, Catalog, ConnectionLookup, NoCatalog, StandardObjects, WorkflowLookup, check,
};
use stepwell_workflow::model::{ActionRef, ByteSize, Limits, Workflow};

const CHARGE: &str = "\
name: charge
trigger:
  type: manual
  input_schema: { type: object, required: [amount], properties: { amount: { type: integer }, note: { type: string } } }
steps:
  - { id: done, type: set, values: { ok: true } }
";

const PING: &str = "\
name: ping
trigger: { type: manual }
steps:
  - { id: maybe, type: run_workflow, workflow: charge, input: { amount: 1 }, if: '{{ trigger.input.n is defined }}' }
  - { id: back, type: run_workflow, workflow: pong, wait: false }
";

const TASKS: &str = "\
name: tasks
trigger: { type: manual }
steps:
  - { id: made, type: create_record, object: task, record: { title: One } }
";

/// Deletes each note that is created.
const NO_NOTES: &str = "\
name: no-notes
trigger: { type: record_event, object: note, on: created }
steps:
  - { id: gone, type: delete_record, object: note, record_id: '{{ trigger.record_id }}' }
";

pub struct Workspace {
    actions: Vec<Arc<ActionInfo>>,
}

impl Workspace {
    pub fn new() -> Workspace {
        let lead = json!({
            "type": "object",
            "required": ["email"],
            "properties": {
                "email": {"type": "string"},
                "name": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "source": {"type": "object", "properties": {"kind": {"type": "string"}}}
            },
            "additionalProperties": false
        });
        let person = json!({
            "type": "object",
            "properties": {"email": {"type": "string"}, "firstName": {"type": "string"}}
        });
        let score_in =
            json!({"type": "object", "properties": {"score": {"type": "number"}}, "required": ["person"]});
        let score_out = json!({"type": "object", "properties": {"score": {"type": "integer"}}});
        Workspace {
            actions: vec![
                action("normalize-lead", "1.1.0", Some(lead.clone()), Some(person.clone())),
                action("normalize-lead", "1.2.0", Some(lead), Some(person)),
                action("score-lead", "0.3.1", Some(score_in), Some(score_out)),
                action("legacy", "0.0.1", None, None),
            ],
        }
    }
}

fn action(name: &str, version: &str, input: Option<Value>, output: Option<Value>) -> Arc<ActionInfo> {
    Arc::new(ActionInfo {
        name: name.into(),
        version: version.parse().unwrap(),
        input_schema: input,
        output_schema: output,
    })
}

impl Catalog for Workspace {
    fn schema(&self) -> Option<Arc<Schema>> {
        Some(Schema::standard())
    }

    fn action(&self, wanted: &ActionRef) -> ActionLookup {
        let named: Vec<_> = self.actions.iter().filter(|action| action.name == wanted.name).collect();
        if named.is_empty() {
            let mut names: Vec<String> = self.actions.iter().map(|action| action.name.clone()).collect();
            names.dedup();
            return ActionLookup::Unknown(names);
        }
        let fitting = named.iter().filter(|action| wanted.version.accepts(&action.version));
        match fitting.max_by_key(|action| action.version.clone()) {
            Some(action) => ActionLookup::Found(Arc::clone(action)),
            None => {
                let versions: Vec<Version> = named.iter().map(|action| action.version.clone()).collect();
                ActionLookup::OtherVersions(versions)
            }
        }
    }

    fn connection(&self, name: &str) -> ConnectionLookup {
        let text = match name {
            "crm" => "base_url: https://crm.example.com/v1\n",
            "keyed" => "base_url: https://crm.example.com\nauth: { bearer: '{{ secrets.GONE }}' }\n",
            "plain" => "base_url: http://crm.example.com\n",
            _ => {
                let names = ["crm", "keyed", "plain"];
                return ConnectionLookup::Unknown(names.map(str::to_owned).to_vec());
            }
        };
        ConnectionLookup::Found(Arc::new(stepwell_workflow::connection::read(text, name).0.unwrap()))
    }

    fn plain_http(&self, host: &str) -> Option<bool> {
        StandardObjects.plain_http(host)
    }

    fn maxima(&self) -> Limits {
        Limits {
            fuel: Some(100_000_000_000),
            memory_bytes: Some(ByteSize(256 << 20)),
            wall_ms: Some(60_000),
            virtual_ms: None,
            input_bytes: None,
            output_bytes: Some(ByteSize(16 << 20)),
            log_bytes: None,
        }
    }

    fn listening(&self) -> Vec<Arc<Workflow>> {
        vec![Arc::new(check(NO_NOTES, &NoCatalog).workflow.unwrap())]
    }

    fn workflow(&self, name: &str) -> WorkflowLookup {
        let text = match name {
            "charge" => CHARGE,
            "ping" => PING,
            "tasks" => TASKS,
            "later" => return WorkflowLookup::Draft,
            _ => {
                let names = ["charge", "later", "ping", "tasks"];
                return WorkflowLookup::Unknown(names.map(str::to_owned).to_vec());
            }
        };
        WorkflowLookup::Found(Arc::new(check(text, &NoCatalog).workflow.unwrap()))
    }

    fn views(&self, object: &str) -> Option<Vec<String>> {
        Some(if object == "person" { vec!["subscribers".into()] } else { Vec::new() })
    }

    fn secrets(&self) -> Option<Vec<String>> {
        Some(vec!["API_KEY".into()])
    }
}
