//! Which webhook starts which workflow, and what a request to an unknown one is told.
use super::Compiled;
use crate::api::HookInfo;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::events::{Listener, Listeners};
use std::collections::BTreeMap;
use std::sync::Arc;
use stepwell_workflow::model::{Trigger, Webhook};

/// Webhooks of active workflows, by path; several workflows may share one with different methods.
#[derive(Default)]
pub(crate) struct HookTable {
    by_path: BTreeMap<String, Vec<Arc<Compiled>>>,
}

impl HookTable {
    pub(crate) fn of(flows: impl IntoIterator<Item = Arc<Compiled>>) -> Self {
        let mut table = Self::default();
        for flow in flows {
            if let Some(hook) = webhook(&flow) {
                table.by_path.entry(clean(&hook.path).to_owned()).or_default().push(flow);
            }
        }
        table
    }

    /// The workflow that a request starts.
    pub(crate) fn find(&self, method: &str, path: &str) -> Result<&Arc<Compiled>, EngineError> {
        let Some(flows) = self.by_path.get(clean(path)) else {
            return Err(EngineError::unknown_hook(path));
        };
        let heard = |flow: &&Arc<Compiled>| {
            webhook(flow).is_some_and(|hook| hook.heard().any(|heard| heard.as_str() == method))
        };
        flows.iter().find(heard).ok_or_else(|| self.not_taken(method, path))
    }

    /// The refusal of a method that starts no run.
    pub(crate) fn not_taken(&self, method: &str, path: &str) -> EngineError {
        let flows = self.by_path.get(clean(path)).map(Vec::as_slice).unwrap_or_default();
        let message = format!("`{path}` does not take {method}; it takes {}", methods(flows).join(", "));
        EngineError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", message)
    }

    /// The path as it is kept, if something listens on it.
    pub(crate) fn known(&self, path: &str) -> Option<String> {
        self.by_path.get_key_value(clean(path)).map(|(path, _)| path.clone())
    }

    /// A path that resembles this one.
    pub(crate) fn near(&self, path: &str) -> Option<String> {
        stepwell_records::nearest(clean(path), self.by_path.keys().map(String::as_str)).map(Into::into)
    }

    /// A workflow that already listens where this one wants to.
    pub(crate) fn rival(
        &self,
        name: &str,
        wanted: &Webhook,
        beside: &(dyn Fn(&str) -> bool + Sync),
    ) -> Option<(&str, String)> {
        let flows = self.by_path.get(clean(&wanted.path))?;
        let others = flows.iter().filter(|flow| flow.name != name && !beside(&flow.name));
        others
            .filter_map(|flow| Some((flow, webhook(flow)?)))
            .find_map(|(flow, hook)| Some((flow.name.as_str(), both_hear(wanted, hook)?)))
    }

    pub(crate) fn list(&self) -> Vec<HookInfo> {
        let flows = self.by_path.iter().flat_map(|(path, flows)| flows.iter().map(move |flow| (path, flow)));
        flows
            .map(|(path, flow)| HookInfo {
                path: path.clone(),
                methods: methods(std::slice::from_ref(flow)),
                workflow: flow.name.clone(),
                version: flow.version,
            })
            .collect()
    }
}

/// A method that two webhooks take on the same path.
pub(crate) fn both_hear(one: &Webhook, other: &Webhook) -> Option<String> {
    let mut heard = one.heard().filter(|_| clean(&one.path) == clean(&other.path));
    let both = heard.find(|method| other.heard().any(|heard| heard == *method))?;
    Some(both.as_str().to_owned())
}

fn clean(path: &str) -> &str {
    path.trim_matches('/')
}

pub(crate) fn webhook(flow: &Compiled) -> Option<&Webhook> {
    match &flow.workflow.trigger {
        Trigger::Webhook(hook) => Some(hook),
        Trigger::Schedule(_) | Trigger::RecordEvent(_) | Trigger::Manual(_) => None,
    }
}

fn methods(flows: &[Arc<Compiled>]) -> Vec<String> {
    let hooks = flows.iter().filter_map(|flow| webhook(flow));
    let mut methods: Vec<String> =
        hooks.flat_map(|hook| hook.methods.iter().map(|method| method.as_str().to_owned())).collect();
    methods.sort();
    methods.dedup();
    methods
}

/// Makes the table anew from the active workflows, and those of schedules and of who listens to record events.
pub(crate) async fn rebuild(ctx: &Ctx) -> Result<(), EngineError> {
    let active = ctx.ws.registry.active();
    let mut flows = Vec::with_capacity(active.len());
    for (name, version) in active {
        match ctx.ws.registry.flow(ctx, &name, version).await {
            Ok(flow) => flows.push(flow),
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::StorageFull) => {
                return Err(error);
            }
            // One that cannot be read takes no hooks; the others, and the way to deactivate it, are not its to close.
            Err(error) => {
                tracing::error!(workflow = %name, version, %error, "an active workflow cannot be read")
            }
        }
    }
    let listeners = {
        let workflows = ctx.ws.registry.workflows();
        let listens = |flow: &Arc<Compiled>| {
            let (since, service) = workflows.get(&flow.name).map_or((0, 0), |row| (row.since, row.service));
            Listener::new(flow.clone(), since, service)
        };
        Listeners::of(flows.iter().map(listens))
    };
    ctx.ws.events.set_listeners(listeners);
    ctx.ws.timetables.set_flows(flows.iter());
    ctx.ws.registry.set_hooks(HookTable::of(flows));
    Ok(())
}
