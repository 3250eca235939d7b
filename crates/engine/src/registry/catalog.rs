//! What `workflow check` may know of a workspace: its objects, its actions, the host's limits.
use crate::core::Ctx;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stepwell_records::schema::Schema;
use stepwell_workflow::check::{ActionInfo, ActionLookup, Catalog, ConnectionLookup, WorkflowLookup};
use stepwell_workflow::model::{ActionRef, ByteSize, Limits, Workflow};

/// A workspace as it is now.
pub(crate) struct WorkspaceCatalog {
    ctx: Ctx,
    schema: Arc<Schema>,
    /// By object.
    views: BTreeMap<String, Vec<String>>,
    /// Workflows that come along.
    workflows: BTreeSet<String>,
}

impl WorkspaceCatalog {
    pub(crate) fn new(ctx: &Ctx, schema: Arc<Schema>, views: BTreeMap<String, Vec<String>>) -> Self {
        Self { ctx: ctx.clone(), schema, views, workflows: BTreeSet::new() }
    }

    /// The same once these texts of workflows have been saved.
    pub(crate) fn with(mut self, workflows: &BTreeMap<String, String>) -> Self {
        self.workflows.extend(workflows.keys().cloned());
        self
    }
}

impl Catalog for WorkspaceCatalog {
    fn schema(&self) -> Option<Arc<Schema>> {
        Some(self.schema.clone())
    }

    fn views(&self, object: &str) -> Option<Vec<String>> {
        Some(self.views.get(object).cloned().unwrap_or_default())
    }

    fn action(&self, wanted: &ActionRef) -> ActionLookup {
        let actions = self.ctx.ws.registry.actions();
        if let Some(action) = actions.resolve(wanted) {
            let info = &action.row.info;
            return ActionLookup::Found(Arc::new(ActionInfo {
                name: info.name.clone(),
                version: info.version.clone(),
                input_schema: info.input_schema.clone(),
                output_schema: info.output_schema.clone(),
            }));
        }
        match actions.versions(&wanted.name) {
            Some(versions) => ActionLookup::OtherVersions(versions.keys().rev().cloned().collect()),
            None => ActionLookup::Unknown(actions.names().cloned().collect()),
        }
    }

    fn maxima(&self) -> Limits {
        let maxima = self.ctx.core.ports.code.maxima();
        Limits {
            fuel: Some(maxima.fuel),
            memory_bytes: Some(ByteSize(maxima.memory_bytes)),
            wall_ms: Some(maxima.wall_ms),
            virtual_ms: Some(maxima.virtual_ms),
            input_bytes: Some(ByteSize(maxima.input_bytes)),
            output_bytes: Some(ByteSize(maxima.output_bytes)),
            log_bytes: Some(ByteSize(maxima.log_bytes)),
        }
    }

    fn workflow(&self, name: &str) -> WorkflowLookup {
        let registry = &self.ctx.ws.registry;
        match registry.workflow(name) {
            _ if self.workflows.contains(name) => WorkflowLookup::Draft,
            // What is active was compiled when it was activated, or read.
            Some(row) => match row.active.and_then(|version| registry.compiled(name, version)) {
                Some(flow) => WorkflowLookup::Found(flow.workflow.clone()),
                None => WorkflowLookup::Draft,
            },
            None => WorkflowLookup::Unknown(registry.workflow_names()),
        }
    }

    fn listening(&self) -> Vec<Arc<Workflow>> {
        self.ctx.ws.events.listeners().all().map(|listener| listener.flow.workflow.clone()).collect()
    }

    fn connection(&self, name: &str) -> ConnectionLookup {
        let table = self.ctx.ws.registry.connections();
        match table.get(name) {
            Some(row) => ConnectionLookup::Found(Arc::new(row.connection.clone())),
            None => ConnectionLookup::Unknown(table.keys().cloned().collect()),
        }
    }

    fn plain_http(&self, host: &str) -> Option<bool> {
        Some(self.ctx.core.ports.http.speaks_plainly_to(host))
    }

    fn secrets(&self) -> Option<Vec<String>> {
        Some(self.ctx.ws.registry.secrets().keys().cloned().collect())
    }

    fn settings(&self) -> Option<Vec<String>> {
        Some(self.ctx.ws.registry.settings().rows().keys().cloned().collect())
    }
}
