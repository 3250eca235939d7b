//! A page of the journal while it is written: what one commit has, as it will be stored.
use super::{Claim, NoteRef, Switch};
use crate::tables;
use crate::tables::items::Ended;
use serde::Serialize;
use stepwell_store::{Refused, Value};
use stepwell_workflow::machine::{Event, Failure, Start, StepPath, StepStatus};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::read;
    use serde_json::json;
    use stepwell_store::keys::{KeyBuilder, Space};
    use stepwell_store::{Key, WorkspaceId, limits};

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
