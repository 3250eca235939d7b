//! A run's journal: all events of one commit are one value. Beside each event stands a note of what people want to
//! know of it and the machine does not (input, logs, usage); replaying needs the events alone. Events of an iterator's
//! items stand in a row of their own ([`crate::tables::items`]), so that a run can be read without them.
use crate::tables;
use crate::tables::items::Ended;
use crate::tables::runs::Claim;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use stepwell_sandbox::{LogLine, Usage};
use stepwell_store::{Key, Refused, Value};
use stepwell_workflow::machine::{Call, Event, Failure, Links, Payload, Start, State, StepPath, StepStatus};

/// A commit as it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Commit {
    /// Real time, for display only.
    #[serde(rename = "t")]
    pub at_ms: i64,
    #[serde(rename = "e")]
    pub entries: Vec<Entry>,
    /// Payloads were pruned: they read as null here.
    #[serde(rename = "p", default)]
    pub expired: bool,
    /// From this commit on the run goes by another version.
    #[serde(rename = "s", default)]
    pub switch: Option<Switch>,
    /// The run ended before it began: what it was to begin with is kept here, and is not folded.
    #[serde(rename = "u", default)]
    pub unbegun: bool,
}

/// A retry on newer versions of the workflow and its actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Switch {
    pub version: u32,
    pub actions: BTreeMap<String, String>,
    /// Where the newer version has steps that wait for a person, and the one that the run began with had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
    /// The settings of now: what the run failed by may stand there. None: as it had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Payload>,
}

impl Switch {
    pub(crate) fn apply(&self, state: &mut State) {
        if let Some(start) = &mut state.start {
            start.run.version = self.version.into();
            start.actions.clone_from(&self.actions);
            start.links = self.links.clone().or(start.links.take());
            if let Some(settings) = &self.settings {
                start.settings.clone_from(settings);
            }
        }
    }
}

/// An event, and what people want to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "e")]
    pub event: Event,
    #[serde(rename = "n", default)]
    pub note: Note,
    /// So many events of items came before it in its commit.
    #[serde(rename = "i", default, skip_serializing_if = "crate::tables::is_zero")]
    pub after_items: u32,
}

/// What the history shows of an event besides the event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// What the step was given: the rendered call, or for an outside call the frozen request.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    /// What an outside call answered, where that is more than the step's output.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub answer: Option<Payload>,
    /// The idempotency key that went out.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Log lines, as a list.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub logs: Option<Payload>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The action version that ran.
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the outcome depends on besides, where that is not what the run's head says.
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    pub semantics: Option<String>,
    /// When it began in real time; the event's own time is its end.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<i64>,
    /// What somebody gave was taken, and the run did not come to hear of it.
    #[serde(rename = "z", skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// A note before it is written: it borrows, so that nothing is copied on the way to the journal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoteRef<'a> {
    pub input: Option<Shown<'a>>,
    pub answer: Option<&'a Payload>,
    pub key: Option<&'a str>,
    pub logs: &'a [LogLine],
    /// The log lines once they were moved into a payload.
    pub logs_payload: Option<&'a Payload>,
    pub usage: Option<&'a Usage>,
    pub action: Option<&'a str>,
    pub semantics: Option<&'a str>,
    pub began_ms: Option<i64>,
    pub late: bool,
}

/// A value as the journal keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    Json(&'a serde_json::Value),
    /// What a call was given, without its kind.
    Call(&'a Call),
    Payload(&'a Payload),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fn value<S: Serializer, T: Serialize>(to: S, value: &T) -> Result<S::Ok, S::Error> {
            let mut map = to.serialize_map(Some(1))?;
            map.serialize_entry("value", value)?;
            map.end()
        }
        match self {
            Shown::Payload(payload) => payload.serialize(to),
            Shown::Json(json) => value(to, json),
            Shown::Call(Call::Code(call)) => value(to, &call.input.value),
            Shown::Call(Call::Search(call)) => value(to, call),
            Shown::Call(Call::Create(call)) => value(to, call),
            Shown::Call(Call::Update(call)) => value(to, call),
            Shown::Call(Call::Upsert(call)) => value(to, call),
            Shown::Call(Call::Delete(call)) => value(to, call),
            Shown::Call(Call::SetState(call)) => value(to, call),
            Shown::Call(Call::Run(call)) => value(to, call),
            Shown::Call(Call::Input(call)) => value(to, call),
            Shown::Call(Call::Http(call)) => value(to, call),
            Shown::Call(Call::Email(call)) => value(to, call),
            Shown::Call(Call::List(call)) => value(to, call),
            Shown::Call(Call::Item(call)) => value(to, call),
        }
    }
}

impl NoteRef<'_> {
    /// How many of its parts are there.
    fn parts(&self) -> usize {
        let there = [
            self.input.is_some(),
            self.answer.is_some(),
            self.key.is_some(),
            self.logs_payload.is_some(),
            !self.logs.is_empty(),
            self.usage.is_some(),
            self.action.is_some(),
            self.semantics.is_some(),
            self.began_ms.is_some(),
            self.late,
        ];
        there.into_iter().filter(|there| *there).count()
    }

    /// With values of its own, so that large ones can be stored elsewhere.
    pub(crate) fn owned(&self) -> Result<Note, Refused> {
        let json = serde_json::to_value(self).map_err(unwritable)?;
        serde_json::from_value(json).map_err(unwritable)
    }
}

impl Serialize for NoteRef<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Lines<'a>(&'a [LogLine]);
        impl Serialize for Lines<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("value", self.0)?;
                map.end()
            }
        }
        // What is not there takes no room.
        let mut map = to.serialize_map(Some(self.parts()))?;
        macro_rules! put {
            ($name:literal, $value:expr) => {
                if let Some(value) = $value {
                    map.serialize_entry($name, value)?;
                }
            };
        }
        put!("i", &self.input);
        put!("a", &self.answer);
        put!("k", &self.key);
        put!("l", &self.logs_payload);
        put!("l", (!self.logs.is_empty()).then_some(&Lines(self.logs)));
        put!("u", &self.usage);
        put!("v", &self.action);
        put!("f", &self.semantics);
        put!("b", &self.began_ms);
        put!("z", self.late.then_some(&true));
        map.end()
    }
}

impl Note {
    pub(crate) fn by_ref(&self) -> NoteRef<'_> {
        NoteRef {
            input: self.input.as_ref().map(Shown::Payload),
            answer: self.answer.as_ref(),
            key: self.key.as_deref(),
            logs: &[],
            logs_payload: self.logs.as_ref(),
            usage: self.usage.as_ref(),
            action: self.action.as_deref(),
            semantics: self.semantics.as_deref(),
            began_ms: self.began_ms,
            late: self.late,
        }
    }
}

/// The entries of one commit, written down as they come, so that their size is known at every moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    entries: Listed,
    /// Those of items.
    items: Listed,
    /// Items that are over.
    ended: Listed,
    /// Claims on blobs that only a snapshot named, and does no longer.
    claims: Listed,
    unbegun: bool,
}

/// The elements of a list, as they will be stored.
#[derive(Debug, Clone, Default)]
struct Listed {
    packed: Vec<u8>,
    count: u32,
}

impl Listed {
    fn push<T: Serialize>(&mut self, value: &T) -> Result<(), Refused> {
        tables::pack_into(&mut self.packed, value)?;
        self.count += 1;
        Ok(())
    }

    fn mark(&self) -> (usize, u32) {
        (self.packed.len(), self.count)
    }

    fn back_to(&mut self, (bytes, count): (usize, u32)) {
        self.packed.truncate(bytes);
        self.count = count;
    }

    fn put_into(&self, row: &mut Row, name: &str) {
        row.name(name);
        // Nothing fails that writes to memory.
        let _ = rmp::encode::write_array_len(&mut row.bytes, self.count);
        row.bytes.extend_from_slice(&self.packed);
    }
}

/// A row that is put together of parts: a map.
struct Row {
    bytes: Vec<u8>,
}

impl Row {
    fn of(entries: u32, bytes: usize) -> Self {
        let mut row = Self { bytes: Vec::with_capacity(bytes + 40) };
        row.bytes.push(tables::PACKED);
        let _ = rmp::encode::write_map_len(&mut row.bytes, entries);
        row
    }

    fn name(&mut self, name: &str) {
        let _ = rmp::encode::write_str(&mut self.bytes, name);
    }

    fn put<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), Refused> {
        self.name(name);
        tables::pack_into(&mut self.bytes, value)
    }
}

/// How much of a page is there, to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageMark {
    entries: (usize, u32),
    items: (usize, u32),
}

impl PageMark {
    pub(crate) fn bytes(self) -> usize {
        self.entries.0 + self.items.0
    }
}

impl Page {
    pub(crate) fn push(&mut self, event: &Event, note: &NoteRef<'_>) -> Result<(), Refused> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            e: &'a Event,
            #[serde(skip_serializing_if = "Option::is_none")]
            n: Option<&'a NoteRef<'a>>,
            #[serde(skip_serializing_if = "crate::tables::is_zero")]
            i: u32,
        }
        let note = (note.parts() > 0).then_some(note);
        let is_item = event.path().is_some_and(|path| path.as_str().contains('['));
        let (to, after_items) =
            if is_item { (&mut self.items, 0) } else { (&mut self.entries, self.items.count) };
        to.push(&Borrowed { e: event, n: note, i: after_items })
    }

    /// The page of a run that ends before it begins.
    pub(crate) fn unbegun(start: Box<Start>) -> Result<Self, Refused> {
        let mut page = Self { unbegun: true, ..Self::default() };
        page.push(&Event::Started(start), &NoteRef::default())?;
        Ok(page)
    }

    /// Notes that an item is over.
    pub(crate) fn item_ended(&mut self, ended: &Ended) -> Result<(), Refused> {
        self.ended.push(ended)
    }

    /// What the items of an iterator wrote is undone: those that had succeeded are over without having done anything.
    pub(crate) fn undo_items(&mut self, iterator: &StepPath, failure: &Failure) -> Result<(), Refused> {
        let mut list = Vec::with_capacity(self.ended.packed.len() + 5);
        let _ = rmp::encode::write_array_len(&mut list, self.ended.count);
        list.extend_from_slice(&self.ended.packed);
        let all: Vec<Ended> = tables::unpack(&list).map_err(|error| {
            Refused::Invalid(format!("what was written of ended items cannot be read: {error}"))
        })?;
        self.ended = Listed::default();
        for mut ended in all {
            if ended.path.is_within(iterator) && ended.status == StepStatus::Completed {
                ended.status = StepStatus::Cancelled;
                ended.error = Some(failure.clone());
            }
            self.item_ended(&ended)?;
        }
        Ok(())
    }

    /// Takes over claims that the run's snapshot gives up: what removes the run's rows finds them here.
    pub(crate) fn let_go(&mut self, claims: &[Claim]) -> Result<(), Refused> {
        claims.iter().try_for_each(|claim| self.claims.push(claim))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.count == 0 && self.items.count == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.packed.len() + self.items.packed.len() + self.ended.packed.len()
    }

    pub(crate) fn mark(&self) -> PageMark {
        PageMark { entries: self.entries.mark(), items: self.items.mark() }
    }

    pub(crate) fn back_to(&mut self, mark: PageMark) {
        self.entries.back_to(mark.entries);
        self.items.back_to(mark.items);
    }

    /// What a push since then has added.
    pub(crate) fn bytes_since(&self, mark: PageMark) -> usize {
        self.mark().bytes() - mark.bytes()
    }

    /// The value of the row for items, if something happened to any.
    pub(crate) fn items_value(&self) -> Option<Value> {
        let lists = [("e", &self.items), ("s", &self.ended), ("c", &self.claims)];
        let there = lists.iter().filter(|(_, list)| list.count > 0);
        let bytes = lists.iter().map(|(_, list)| list.packed.len()).sum();
        let mut row = Row::of(u32::try_from(there.clone().count()).ok().filter(|count| *count > 0)?, bytes);
        there.for_each(|(name, list)| list.put_into(&mut row, name));
        Some(row.bytes.into())
    }

    /// The value of the journal's row; none when it would tell nothing.
    pub(crate) fn value(&self, at_ms: i64, switch: Option<&Switch>) -> Result<Option<Value>, Refused> {
        if self.entries.count == 0 && switch.is_none() {
            return Ok(None);
        }
        let entries = 2 + u32::from(switch.is_some()) + u32::from(self.unbegun);
        let mut row = Row::of(entries, self.entries.packed.len());
        row.put("t", &at_ms)?;
        if let Some(switch) = switch {
            row.put("s", switch)?;
        }
        if self.unbegun {
            row.put("u", &true)?;
        }
        self.entries.put_into(&mut row, "e");
        Ok(Some(row.bytes.into()))
    }
}

fn unwritable(error: serde_json::Error) -> Refused {
    Refused::Invalid(format!("a part of the journal cannot be written as JSON: {error}"))
}

/// Reads a journal's row.
pub(crate) fn read(key: &Key, value: &Value) -> Result<Commit, Refused> {
    tables::decode(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stepwell_store::keys::{KeyBuilder, Space};
    use stepwell_store::{WorkspaceId, limits};

    fn key() -> Key {
        KeyBuilder::new(Space::RunEvents, WorkspaceId(1)).build()
    }

    fn done(path: &str, output: serde_json::Value) -> Event {
        serde_json::from_value(json!({
            "event": "step_done",
            "path": path,
            "attempt": 1,
            "result": { "ok": { "value": output } },
            "at": "2026-03-01T10:00:00Z",
        }))
        .unwrap()
    }

    /// Numbers of every kind, names that JSON would escape, nothing and a lot.
    fn outputs() -> Vec<serde_json::Value> {
        let wide: Vec<u64> = (0..70_000).collect();
        let deep = (0..100).fold(json!(null), |inner, _| json!([inner]));
        vec![
            json!(null),
            json!({ "a\"\n\u{1f600}": [i64::MIN, u64::MAX, -1, 127, 128, 1.0, -0.0, 1e300, true], "": {} }),
            json!(wide),
            json!("x".repeat(limits::CHUNK_BYTES * 20)),
            deep,
        ]
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let note = NoteRef { key: Some("k"), began_ms: Some(-7), late: true, ..NoteRef::default() };
        let mut page = Page::default();
        let events: Vec<Event> = outputs().into_iter().map(|output| done("step", output)).collect();
        events.iter().for_each(|event| page.push(event, &note).unwrap());
        let mark = page.mark();
        page.push(&done("step", json!("taken back")), &NoteRef::default()).unwrap();
        assert!(page.bytes_since(mark) > 0);
        page.back_to(mark);
        page.push(&done("loop[0].step", json!(1)), &NoteRef::default()).unwrap();
        page.push(&done("last", json!(2)), &NoteRef::default()).unwrap();
        let commit = read(&key(), &page.value(5, None).unwrap().unwrap()).unwrap();
        assert_eq!((commit.at_ms, commit.entries.len()), (5, events.len() + 1));
        for (entry, event) in commit.entries.iter().zip(&events) {
            assert_eq!(&entry.event, event);
            assert_eq!(entry.note, note.owned().unwrap());
        }
        assert_eq!(commit.entries.last().map(|entry| entry.after_items), Some(1));
        let items: crate::tables::items::ItemEvents =
            tables::decode(&key(), &page.items_value().unwrap()).unwrap();
        assert_eq!((items.entries.len(), items.ended.len()), (1, 0));
    }

    /// As folders have it that were written before.
    #[test]
    fn a_page_of_json_is_read_too() {
        let event = serde_json::to_value(done("step", json!({ "n": 1 }))).unwrap();
        let commit = json!({ "t": 5, "e": [{ "e": event, "n": { "k": "k" } }] });
        let commit = read(&key(), &tables::encode(&commit).unwrap()).unwrap();
        assert_eq!(commit.entries[0].event, done("step", json!({ "n": 1 })));
        assert_eq!(commit.entries[0].note.key.as_deref(), Some("k"));
        let cut = tables::pack(&json!({ "t": 5, "e": [] })).unwrap();
        for value in [cut.slice(..cut.len() - 1), Value::from_static(&[9, 1]), Value::new()] {
            assert!(matches!(read(&key(), &value), Err(Refused::Damaged(_))), "{value:?}");
        }
    }
}
