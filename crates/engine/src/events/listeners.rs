//! Which workflows listen to which object. Made anew when a workflow is activated or taken out of service.
use crate::registry::Compiled;
use std::collections::HashMap;
use std::sync::Arc;
use stepwell_workflow::model::{RecordChange, RecordEvent, Trigger};

/// A workflow that record events start.
pub(crate) struct Listener {
    pub flow: Arc<Compiled>,
    /// The first position of the log whose events count.
    since: u64,
}

impl Listener {
    pub(crate) fn event(&self) -> Option<&RecordEvent> {
        match &self.flow.workflow.trigger {
            Trigger::RecordEvent(event) => Some(event),
            _ => None,
        }
    }
}

/// The listeners of one workspace, by object and in the order of their names.
#[derive(Default)]
pub(crate) struct Listeners {
    by_object: HashMap<String, Vec<Listener>>,
    /// The object of each workflow.
    objects: HashMap<String, String>,
    since: Option<u64>,
}

impl Listeners {
    pub(crate) fn of(flows: impl Iterator<Item = (Arc<Compiled>, u64)>) -> Self {
        let mut all = Self::default();
        for (flow, since) in flows {
            let listener = Listener { flow, since: since.max(1) };
            let Some(object) = listener.event().map(|event| event.object.clone()) else { continue };
            all.since = Some(all.since.map_or(listener.since, |first| first.min(listener.since)));
            all.objects.insert(listener.flow.name.clone(), object.clone());
            all.by_object.entry(object).or_default().push(listener);
        }
        for listeners in all.by_object.values_mut() {
            listeners.sort_by(|a, b| a.flow.name.cmp(&b.flow.name));
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// The first position that matters to any of them; none when there are none.
    pub(crate) fn since(&self) -> Option<u64> {
        self.since
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Listener> {
        self.by_object.values().flatten()
    }

    pub(crate) fn named(&self, workflow: &str) -> Option<&Listener> {
        let listeners = self.by_object.get(self.objects.get(workflow)?)?;
        let place = listeners.binary_search_by(|listener| listener.flow.name.as_str().cmp(workflow)).ok()?;
        listeners.get(place)
    }

    /// Whom a change of a record may concern: those that listen for it, and those for whom a deletion ends what was
    /// about to settle.
    pub(crate) fn interested(
        &self,
        object: &str,
        change: RecordChange,
        position: u64,
    ) -> impl Iterator<Item = &Listener> {
        let listeners = self.by_object.get(object).map_or(&[][..], Vec::as_slice);
        listeners.iter().filter(move |listener| {
            listener.since <= position
                && listener.event().is_some_and(|event| {
                    event.takes(change) || (change == RecordChange::Deleted && event.settle.is_some())
                })
        })
    }

    /// The name of the one before, in the order of their names.
    pub(crate) fn before(&self, object: &str, listener: &Listener) -> Option<&str> {
        let listeners = self.by_object.get(object)?;
        let place = listeners.iter().position(|other| other.flow.name == listener.flow.name)?;
        Some(listeners.get(place.checked_sub(1)?)?.flow.name.as_str())
    }
}
