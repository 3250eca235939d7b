//! Which workflows listen to which object, and to which of its fields. Made anew when a workflow is activated or taken
//! out of service, so that an event is held against those alone whom it may concern.
use crate::registry::Compiled;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use stepwell_workflow::model::{RecordChange, RecordEvent, Trigger};

/// A workflow that record events start.
pub(crate) struct Listener {
    pub flow: Arc<Compiled>,
    /// The first position of the log whose events count.
    since: u64,
    /// How often it came into service: what waits to settle is of one time in service.
    pub service: u32,
}

impl Listener {
    pub(crate) fn new(flow: Arc<Compiled>, since: u64, service: u32) -> Self {
        Self { flow, since: since.max(1), service }
    }

    pub(crate) fn event(&self) -> Option<&RecordEvent> {
        match &self.flow.workflow.trigger {
            Trigger::RecordEvent(event) => Some(event),
            _ => None,
        }
    }
}

/// Those that listen to one object: all of them in the order of their names, and places in that list.
#[derive(Default)]
struct OfObject {
    all: Vec<Listener>,
    created: Vec<usize>,
    deleted: Vec<usize>,
    restored: Vec<usize>,
    /// Whatever field changed.
    updated: Vec<usize>,
    /// By the field that has to change, without its part.
    updated_fields: HashMap<String, Vec<usize>>,
}

impl OfObject {
    fn of(mut all: Vec<Listener>) -> Self {
        all.sort_by(|a, b| a.flow.name.cmp(&b.flow.name));
        let mut object = Self::default();
        for (place, listener) in all.iter().enumerate() {
            let Some(event) = listener.event() else { continue };
            for (change, list) in [
                (RecordChange::Created, &mut object.created),
                (RecordChange::Deleted, &mut object.deleted),
                (RecordChange::Restored, &mut object.restored),
            ] {
                if event.takes(change) {
                    list.push(place);
                }
            }
            if !event.takes(RecordChange::Updated) {
                continue;
            }
            if event.fields.is_empty() {
                object.updated.push(place);
            }
            let fields: BTreeSet<&str> = event.fields.iter().map(|field| whole(field)).collect();
            for field in fields {
                object.updated_fields.entry(field.to_owned()).or_default().push(place);
            }
        }
        object.all = all;
        object
    }

    fn place(&self, workflow: &str) -> Option<usize> {
        self.all.binary_search_by(|listener| listener.flow.name.as_str().cmp(workflow)).ok()
    }
}

/// The field that a part belongs to.
fn whole(field: &str) -> &str {
    field.split_once('.').map_or(field, |(whole, _)| whole)
}

/// The listeners of one workspace.
#[derive(Default)]
pub(crate) struct Listeners {
    by_object: HashMap<String, OfObject>,
    /// The object of each workflow.
    objects: HashMap<String, String>,
    since: Option<u64>,
}

impl Listeners {
    pub(crate) fn of(listeners: impl Iterator<Item = Listener>) -> Self {
        let mut all = Self::default();
        let mut by_object: HashMap<String, Vec<Listener>> = HashMap::new();
        for listener in listeners {
            let Some(object) = listener.event().map(|event| event.object.clone()) else { continue };
            all.since = Some(all.since.map_or(listener.since, |first| first.min(listener.since)));
            all.objects.insert(listener.flow.name.clone(), object.clone());
            by_object.entry(object).or_default().push(listener);
        }
        all.by_object = by_object.into_iter().map(|(name, all)| (name, OfObject::of(all))).collect();
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
        self.by_object.values().flat_map(|object| &object.all)
    }

    pub(crate) fn named(&self, workflow: &str) -> Option<&Listener> {
        let object = self.by_object.get(self.objects.get(workflow)?)?;
        object.all.get(object.place(workflow)?)
    }

    /// Whom a change of a record may concern, in the order of their names: those that listen for it, and those for
    /// whom the record is about to settle.
    pub(crate) fn interested(
        &self,
        object: &str,
        change: RecordChange,
        fields: &BTreeSet<Cow<'_, str>>,
        settling: impl Iterator<Item: AsRef<str>>,
        position: u64,
    ) -> Places<'_> {
        let Some(object) = self.by_object.get(object) else { return Places::default() };
        let mut places: Vec<usize> = match change {
            RecordChange::Created => object.created.clone(),
            RecordChange::Deleted => object.deleted.clone(),
            RecordChange::Restored => object.restored.clone(),
            RecordChange::Updated | RecordChange::Upserted => {
                let of_fields = fields.iter().filter_map(|field| object.updated_fields.get(&**field));
                object.updated.iter().chain(of_fields.flatten()).copied().collect()
            }
        };
        places.extend(settling.filter_map(|workflow| object.place(workflow.as_ref())));
        places.sort_unstable();
        places.dedup();
        places.retain(|place| object.all.get(*place).is_some_and(|listener| listener.since <= position));
        Places { all: &object.all, places: places.into_iter() }
    }
}

/// Listeners by their places.
#[derive(Default)]
pub(crate) struct Places<'a> {
    all: &'a [Listener],
    places: std::vec::IntoIter<usize>,
}

impl<'a> Iterator for Places<'a> {
    type Item = &'a Listener;

    fn next(&mut self) -> Option<&'a Listener> {
        self.all.get(self.places.next()?)
    }
}
