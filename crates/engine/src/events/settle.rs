//! Changes that wait for their record to settle: when each is due, in memory over the rows in the store.
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// A workflow and a record.
pub(crate) type Of = (String, Uuid);

/// At most so many are started by one commit's worth of work.
const AT_ONCE: usize = 200;

#[derive(Default)]
pub(crate) struct Settlings {
    due: BTreeSet<(i64, Of)>,
    by_record: HashMap<Of, i64>,
}

impl Settlings {
    /// When it is due; nothing takes it away. Call it once that is on disk.
    pub(crate) fn set(&mut self, of: Of, due: Option<i64>) {
        if let Some(before) = self.by_record.remove(&of) {
            self.due.remove(&(before, of.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, of.clone()));
            self.by_record.insert(of, due);
        }
    }

    pub(crate) fn contains(&self, of: &Of) -> bool {
        self.by_record.contains_key(of)
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is due, the longest waiting first.
    pub(crate) fn due(&self, now_ms: i64) -> Vec<Of> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now_ms).take(AT_ONCE);
        due.map(|(_, of)| of.clone()).collect()
    }
}
