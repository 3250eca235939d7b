//! Which workflows listen to which object, and to which of its fields. Made anew when a workflow is activated or taken
//! out of service, so that an event is held against those alone whom it may concern, however many there are.
use super::question::Question;
use crate::registry::Compiled;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use stepwell_workflow::model::{RecordChange, RecordEvent, Trigger};
use stepwell_workflow::sieve::Sieve;

/// A workflow that record events start.
pub(crate) struct Listener {
    pub flow: Arc<Compiled>,
    /// The first position of the log whose events count.
    since: u64,
    /// How often it came into service: what waits to settle is of one time in service.
    pub service: u32,
    /// The number of what it asks, among the listeners of its object: those that ask the same have the same.
    question: usize,
}

impl Listener {
    pub(crate) fn new(flow: Arc<Compiled>, since: u64, service: u32) -> Self {
        Self { flow, since: since.max(1), service, question: 0 }
    }

    pub(crate) fn event(&self) -> Option<&RecordEvent> {
        match &self.flow.workflow.trigger {
            Trigger::RecordEvent(event) => Some(event),
            _ => None,
        }
    }

    /// What it asks, if anything, with its number.
    pub(super) fn question(&self) -> Option<(usize, &Question)> {
        self.flow.event_when.as_ref().map(|question| (self.question, question))
    }
}

/// Who of an object's listeners watches something: by their places in its list.
#[derive(Default)]
struct Watchers {
    /// Whatever the record is like.
    always: Vec<usize>,
    /// By the number of what they ask first.
    asking: BTreeMap<usize, Vec<usize>>,
    /// Of those questions.
    sieve: Sieve<usize>,
}

impl Watchers {
    fn add(&mut self, place: usize, listener: &Listener) {
        let settles = listener.event().is_some_and(|event| event.settle.is_some());
        // What settles is asked once of the whole.
        match listener.question().filter(|_| !settles) {
            Some((number, _)) => self.asking.entry(number).or_default().push(place),
            None => self.always.push(place),
        }
    }

    /// After the last was added.
    fn sift(&mut self, all: &[Listener]) {
        let questions = self.asking.iter().filter_map(|(number, places)| {
            let (_, question) = all.get(*places.first()?)?.question()?;
            Some((*number, &question.matters))
        });
        self.sieve = Sieve::of(questions);
    }

    fn is_empty(&self) -> bool {
        self.always.is_empty() && self.asking.is_empty()
    }

    /// Those that an event may be for, and what they ask; all of them where it is not known what it is like.
    fn of(&self, trigger: Option<&Value>, places: &mut Vec<(usize, Option<usize>)>) {
        places.extend(self.always.iter().map(|place| (*place, None)));
        let questions = match trigger {
            Some(trigger) => self.sieve.sift(trigger),
            None => self.asking.keys().copied().collect(),
        };
        for number in questions {
            let asking = self.asking.get(&number).into_iter().flatten();
            places.extend(asking.map(|place| (*place, Some(number))));
        }
    }
}

/// Who watches a change by the fields that it is about.
#[derive(Default)]
struct ByField {
    /// Whatever field it is.
    any: Watchers,
    /// By the field, without its part.
    one: HashMap<String, Watchers>,
}

impl ByField {
    fn add(&mut self, place: usize, listener: &Listener, fields: &[String]) {
        if fields.is_empty() {
            self.any.add(place, listener);
        }
        let fields: BTreeSet<&str> = fields.iter().map(|field| whole(field)).collect();
        for field in fields {
            self.one.entry(field.to_owned()).or_default().add(place, listener);
        }
    }

    fn sift(&mut self, all: &[Listener]) {
        self.any.sift(all);
        self.one.values_mut().for_each(|watchers| watchers.sift(all));
    }

    fn of<'a>(&'a self, fields: &BTreeSet<Cow<'_, str>>) -> Vec<&'a Watchers> {
        let of_fields = fields.iter().filter_map(|field| self.one.get(&**field));
        std::iter::once(&self.any).chain(of_fields).collect()
    }
}

/// Those that listen to one object: all of them in the order of their names, and who of them to what.
#[derive(Default)]
struct OfObject {
    all: Vec<Listener>,
    created: ByField,
    updated: ByField,
    deleted: Watchers,
    restored: Watchers,
}

impl OfObject {
    fn of(mut all: Vec<Listener>) -> Self {
        all.sort_by(|a, b| a.flow.name.cmp(&b.flow.name));
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        for Listener { flow, question, .. } in &mut all {
            if let Some(asked) = &flow.event_when {
                let next = numbers.len();
                *question = *numbers.entry(&asked.text).or_insert(next);
            }
        }
        let mut object = Self::default();
        for (place, listener) in all.iter().enumerate() {
            let Some(event) = listener.event() else { continue };
            if event.takes(RecordChange::Created) {
                object.created.add(place, listener, &event.fields);
            }
            if event.takes(RecordChange::Updated) {
                object.updated.add(place, listener, &event.fields);
            }
            if event.takes(RecordChange::Deleted) {
                object.deleted.add(place, listener);
            }
            if event.takes(RecordChange::Restored) {
                object.restored.add(place, listener);
            }
        }
        object.created.sift(&all);
        object.updated.sift(&all);
        object.deleted.sift(&all);
        object.restored.sift(&all);
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

    /// Whom a change of a record may concern: those that listen for it, and those for whom the record is about to
    /// settle. Nobody, if nobody does.
    pub(crate) fn interested(
        &self,
        object: &str,
        change: RecordChange,
        fields: &BTreeSet<Cow<'_, str>>,
        settling: impl Iterator<Item: AsRef<str>>,
    ) -> Option<Interested<'_>> {
        let object = self.by_object.get(object)?;
        let mut watchers = match change {
            RecordChange::Created => object.created.of(fields),
            RecordChange::Updated | RecordChange::Upserted => object.updated.of(fields),
            RecordChange::Deleted => vec![&object.deleted],
            RecordChange::Restored => vec![&object.restored],
        };
        watchers.retain(|watchers| !watchers.is_empty());
        let settling: Vec<usize> = settling.filter_map(|workflow| object.place(workflow.as_ref())).collect();
        let interested = Interested { all: &object.all, watchers, settling };
        (!interested.watchers.is_empty() || !interested.settling.is_empty()).then_some(interested)
    }
}

/// Whom a change may concern, by what is known of it before it is looked at.
pub(crate) struct Interested<'a> {
    all: &'a [Listener],
    watchers: Vec<&'a Watchers>,
    settling: Vec<usize>,
}

/// One whom a change may concern.
pub(crate) struct Candidate<'a> {
    pub listener: &'a Listener,
    /// The number of what it asks, where the change concerns it only if that holds.
    pub asks: Option<usize>,
}

impl<'a> Interested<'a> {
    /// Those whom it does, as far as one can tell without asking each, in the order of their names: of an event at
    /// this position, with what they see of it where that is known, and after one that had it before.
    pub(crate) fn listeners(
        self,
        trigger: Option<&Value>,
        position: u64,
        after: Option<&str>,
    ) -> Vec<Candidate<'a>> {
        let mut places: Vec<_> = self.settling.into_iter().map(|place| (place, None)).collect();
        self.watchers.iter().for_each(|watchers| watchers.of(trigger, &mut places));
        // Of one who is there twice that stays which asks nothing.
        places.sort_unstable();
        places.dedup_by_key(|(place, _)| *place);
        let found = places
            .into_iter()
            .filter_map(|(place, asks)| self.all.get(place).map(|listener| Candidate { listener, asks }));
        let here = found.filter(|candidate| candidate.listener.since <= position);
        here.filter(|candidate| after.is_none_or(|after| *candidate.listener.flow.name > *after)).collect()
    }
}
