//! The floor of a search by e-mail: the rows of a filled store in sled alone, and the two of a person looked up in it.

use std::path::Path;

use anyhow::{Context, ensure};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Store, Want, WorkspaceId};

/// Rows that are copied together.
const PAGE: usize = 500;

pub struct BareRows {
    db: sled::Db,
    /// What the keys of e-mail addresses begin with, and those of people.
    emails: KeyBuilder,
    people: KeyBuilder,
}

impl BareRows {
    /// All rows of a workspace, with their keys. `object` and `set` are the numbers of people and of their addresses.
    pub async fn copy(
        store: &dyn Store,
        workspace: WorkspaceId,
        (object, set): (u32, u32),
        folder: &Path,
        cache: u64,
    ) -> anyhow::Result<Self> {
        let db = sled::Config::new().path(folder).cache_capacity(cache).flush_every_ms(None).open()?;
        for space in Space::ALL {
            let mut keys = KeyBuilder::new(*space, workspace).prefix();
            loop {
                let view = store.read(workspace.shard(), vec![Want::range(keys.clone(), PAGE)]).await?;
                let rows = view.rows.into_iter().next().unwrap_or_default();
                let Some((last, _)) = rows.last() else { break };
                keys.start = last.successor();
                let mut batch = sled::Batch::default();
                rows.iter().for_each(|(key, value)| batch.insert(&key[..], &value[..]));
                db.apply_batch(batch)?;
                db.flush()?;
                // As the store does after each of its own: sled's garbage goes.
                (0..PAGE / 80).for_each(|_| crossbeam_epoch::pin().flush());
            }
        }
        let emails = KeyBuilder::new(Space::UniqueKeys, workspace).u32(object).u32(set);
        let people = KeyBuilder::new(Space::Records, workspace).u32(object).u8(0);
        Ok(Self { db, emails, people })
    }

    /// Looks a person up: the id by the address, the record by the id.
    pub fn person(&self, email: &str) -> anyhow::Result<()> {
        let id = self.row(self.emails.clone().str(email).build(), "address")?;
        let person = self.row(self.people.clone().fixed(&id).build(), "person")?;
        ensure!(person.len() > id.len(), "a person of {} bytes", person.len());
        Ok(())
    }

    fn row(&self, key: Key, what: &str) -> anyhow::Result<sled::IVec> {
        self.db.get(&key[..])?.with_context(|| format!("there is no such {what}: {key}"))
    }
}
