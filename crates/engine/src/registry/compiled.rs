//! A version of a workflow compiled to what the engine runs.
use super::schema;
use super::workflows::refused;
use crate::concurrency;
use crate::core::Ctx;
use crate::error::{EngineError, Problem};
use crate::events::Question;
use crate::pace::Pace;
use crate::tables::registry as rows;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stepwell_workflow::expr::{self, Mode, Reference, Segment};
use stepwell_workflow::graph::Graph;
use stepwell_workflow::machine::Payload;
use stepwell_workflow::model::{ActionRef, StepKind, Trigger, Workflow};
use stepwell_workflow::timetable::Timetable;

/// A version of a workflow as the engine runs it.
pub(crate) struct Compiled {
    pub name: String,
    pub version: u32,
    pub workflow: Arc<Workflow>,
    pub graph: Graph,
    /// Of a webhook's body, or of what a manual start is given.
    pub input_schema: Option<schema::Compiled>,
    /// The times of a schedule.
    pub timetable: Option<Timetable>,
    /// What must hold of a record event.
    pub event_when: Option<Question>,
    /// How many of its runs may be under way.
    pub concurrency: Option<concurrency::Limits>,
    /// The actions that it names.
    pub actions: Vec<ActionRef>,
    /// The secrets that it names.
    pub secrets: Arc<[String]>,
    /// The connections that it goes through.
    pub connections: Vec<String>,
    /// The settings that it names.
    pub settings: Vec<String>,
    /// Whether it may read settings, these or those that it finds by a name of its data.
    reads_settings: bool,
    /// Whether it may read or write what it keeps between runs.
    pub reads_state: bool,
    /// How long its events take to fold in.
    pub pace: Pace,
}

impl Compiled {
    /// What its runs that start now see as `settings`. The others are given none: a run keeps what it is given.
    pub(crate) fn settings_now(&self, ctx: &Ctx) -> Payload {
        match self.reads_settings {
            true => crate::settings::for_runs(ctx).into(),
            false => Payload::new(json!({})),
        }
    }

    /// What each action that it names is now; kept with a run from its start.
    pub(crate) fn resolve_actions(&self, ctx: &Ctx) -> Result<BTreeMap<String, String>, EngineError> {
        let actions = ctx.ws.registry.actions();
        let resolve = |reference: &ActionRef| match actions.resolve(reference) {
            Some(action) => Ok((reference.to_string(), action.reference())),
            None => {
                let message =
                    format!("workflow `{}` uses the action `{reference}`, which is not there", self.name);
                Err(EngineError::conflict("unknown_action", message))
            }
        };
        self.actions.iter().map(resolve).collect()
    }
}

/// Compiles a stored version. It was checked before it was stored, so a failure here is a defect.
pub(crate) fn compile(
    name: &str,
    version: u32,
    row: &rows::WorkflowVersionRow,
) -> Result<Compiled, EngineError> {
    let Some(workflow) = row.definition.clone() else {
        let message = format!("version {version} of `{name}` has problems; they keep it from running");
        return Err(EngineError::conflict("workflow_has_problems", message));
    };
    let input_schema = match &workflow.trigger {
        Trigger::Webhook(hook) => hook.body_schema.as_ref(),
        Trigger::Manual(manual) => manual.input_schema.as_ref(),
        Trigger::Schedule(_) | Trigger::RecordEvent(_) => None,
    };
    let input_schema = input_schema.map(schema::compile).transpose().map_err(|error| {
        EngineError::conflict("invalid_schema", format!("the trigger's schema of `{name}` is wrong: {error}"))
    })?;
    let mut actions: Vec<ActionRef> = Vec::new();
    let mut connections: Vec<String> = Vec::new();
    for step in workflow.every_step() {
        if let StepKind::HttpRequest(request) = &step.kind {
            connections.extend(request.connection.clone().filter(|name| !connections.contains(name)));
        }
        if let StepKind::Code(code) = &step.kind
            && !actions.contains(&code.action)
        {
            actions.push(code.action.clone());
        }
    }
    let graph = Graph::compile(&workflow).map_err(|errors| {
        let problems = errors.iter().map(|error| Problem {
            code: "invalid_template".into(),
            message: error.message.clone(),
            path: Some(error.place.clone()).filter(|place| !place.is_empty()),
            step: Some(error.step.clone()).filter(|step| !step.is_empty()),
            ..Problem::default()
        });
        refused(name, problems.collect())
    })?;
    let unfit = |why: String| {
        let message = format!("the trigger of version {version} of `{name}` is wrong: {why}");
        EngineError::conflict("workflow_has_problems", message)
    };
    let timetable = match &workflow.trigger {
        Trigger::Schedule(schedule) => Some(Timetable::of(schedule).map_err(unfit)?),
        _ => None,
    };
    let event_when = match &workflow.trigger {
        Trigger::RecordEvent(event) => event.when.as_ref(),
        _ => None,
    };
    let event_when = event_when.map(Question::of).transpose().map_err(unfit)?;
    let limits = workflow.concurrency.as_ref().map(concurrency::Limits::of).transpose().map_err(|why| {
        let message = format!("`concurrency` of version {version} of `{name}` is wrong: {why}");
        EngineError::conflict("workflow_has_problems", message)
    })?;
    let writes_state = workflow.every_step().iter().any(|step| matches!(step.kind, StepKind::SetState(_)));
    let mut named = Named::default();
    named.look(&serde_json::to_value(&workflow).unwrap_or_default());
    Ok(Compiled {
        name: name.to_owned(),
        version,
        graph,
        input_schema,
        timetable,
        event_when,
        concurrency: limits,
        actions,
        secrets: named.secrets.into_iter().collect(),
        connections,
        settings: named.settings.into_iter().collect(),
        reads_settings: named.reads_settings,
        reads_state: named.reads_state || writes_state,
        pace: Pace::default(),
        workflow: workflow.into(),
    })
}

/// What the templates of a workflow name of its workspace. Texts that are no templates count too: that a
/// description names a secret costs little.
#[derive(Default)]
struct Named {
    secrets: BTreeSet<String>,
    settings: BTreeSet<String>,
    reads_settings: bool,
    reads_state: bool,
}

impl Named {
    fn look(&mut self, value: &Value) {
        match value {
            Value::String(text)
                if ["secrets", "settings", "state"].iter().any(|name| text.contains(name)) =>
            {
                self.reads_settings |= text.contains("settings");
                self.reads_state |= text.contains("state");
                for Reference { root, path, .. } in expr::references(text, Mode::Secrets).unwrap_or_default()
                {
                    let Some(Segment::Key(name)) = path.into_iter().next() else { continue };
                    match root.as_str() {
                        "secrets" => self.secrets.insert(name),
                        "settings" => self.settings.insert(name),
                        _ => false,
                    };
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.look(field)),
            _ => {}
        }
    }
}
