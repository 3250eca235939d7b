//! Changes that wait for their record to settle: when each is due, in memory over the rows in the store.
use crate::core::Ctx;
use crate::tables::{self, dispatch};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use stepwell_store::{Refused, Want};
use uuid::Uuid;

/// A workflow and a record.
pub(crate) type Of = (String, Uuid);

/// Rows read at once when the engine opens; each may hold a whole record.
const PAGE: usize = 64;

#[derive(Default)]
pub(crate) struct Settlings {
    due: BTreeSet<(i64, Of)>,
    by_record: HashMap<Uuid, BTreeMap<String, i64>>,
}

impl Settlings {
    /// Of each row only what is kept here: there may be more of them than fit the memory.
    pub(crate) async fn load(ctx: &Ctx) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        struct Due {
            #[serde(rename = "d")]
            due_ms: i64,
        }
        let mut all = Self::default();
        let mut keys = dispatch::all_settling(ctx.ws.id);
        loop {
            let view = ctx.core.ports.store.read(ctx.ws.shard, vec![Want::range(keys.clone(), PAGE)]).await?;
            let rows = view.rows.into_iter().next().unwrap_or_default();
            for (key, value) in &rows {
                let of = match dispatch::settling_parts(key) {
                    Ok(Some(of)) => of,
                    Ok(None) => continue,
                    Err(refused) => {
                        tracing::error!(workspace = %ctx.ws.name, %refused, "a change that settles is lost");
                        continue;
                    }
                };
                // One that cannot be read is due at once: then it is told and dropped.
                let due = tables::decode::<Due>(key, value).map_or(0, |row| row.due_ms);
                all.set(of, Some(due));
            }
            match rows.last() {
                Some((last, _)) if rows.len() == PAGE => keys.start = last.successor(),
                _ => return Ok(all),
            }
        }
    }

    /// When it is due; nothing takes it away. Call it once that is on disk.
    pub(crate) fn set(&mut self, of: Of, due: Option<i64>) {
        let of_record = self.by_record.entry(of.1).or_default();
        if let Some(before) = of_record.remove(&of.0) {
            self.due.remove(&(before, of.clone()));
        }
        if let Some(due) = due {
            of_record.insert(of.0.clone(), due);
            self.due.insert((due, of));
        } else if of_record.is_empty() {
            self.by_record.remove(&of.1);
        }
    }

    pub(crate) fn contains(&self, workflow: &str, record: Uuid) -> bool {
        self.by_record.get(&record).is_some_and(|workflows| workflows.contains_key(workflow))
    }

    /// The workflows for which a record is about to settle.
    pub(crate) fn of_record(&self, record: Uuid) -> impl Iterator<Item = &str> {
        self.by_record.get(&record).into_iter().flatten().map(|(workflow, _)| workflow.as_str())
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is due, the longest waiting first.
    pub(crate) fn due(&self, now_ms: i64, most: usize) -> Vec<Of> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now_ms).take(most);
        due.map(|(_, of)| of.clone()).collect()
    }
}
