//! What every backend of the store promises, run on each of them.
#![allow(clippy::unwrap_used)] // all of this is test code, its helpers too

mod concurrent;
mod history;
mod logs;
#[path = "../noise/mod.rs"]
mod noise;
mod refusals;
mod txn;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, MemoryStore, SledOptions, SledStore, Store, WorkspaceId};

/// A store to try, and a workspace in it that nobody else uses.
pub struct Case {
    pub store: Arc<dyn Store>,
    pub workspace: WorkspaceId,
}

impl Case {
    /// Another workspace of the same store.
    pub fn fresh(&self) -> Case {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Case { store: self.store.clone(), workspace: WorkspaceId(NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    pub fn home(&self) -> stepwell_store::Shard {
        self.workspace.shard()
    }

    pub fn key(&self, name: &str) -> Key {
        KeyBuilder::new(Space::Records, self.workspace).fixed(name.as_bytes()).build()
    }

    pub fn begin(&self) -> stepwell_store::Txn {
        stepwell_store::Txn::begin(self.store.clone(), self.home())
    }

    pub fn range(&self, from: &str, to: &str) -> std::ops::Range<Key> {
        self.key(from)..self.key(to)
    }

    /// Commits these rows, without resting on anything.
    pub async fn put(&self, rows: &[(&str, &str)]) {
        let mut tx = self.begin();
        for (key, value) in rows {
            tx.put(self.key(key), value.to_string());
        }
        tx.commit().await.unwrap();
    }

    /// The names behind the workspace, and the values, of rows.
    pub fn plain(&self, rows: &[(Key, bytes::Bytes)]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        rows.iter().map(|(key, value)| (text(&key[7..]), text(value))).collect()
    }
}

/// A case on a new store in memory.
pub fn memory() -> Case {
    Case { store: Arc::new(MemoryStore::new().with_yields()), workspace: WorkspaceId(0) }.fresh()
}

/// A case on a new data folder; the folder goes with what is returned beside it.
pub fn sled() -> (Case, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path(), small()).unwrap();
    (Case { store: Arc::new(store), workspace: WorkspaceId(0) }.fresh(), folder)
}

pub fn small() -> SledOptions {
    SledOptions { cache_bytes: 16 << 20, disk_floor: 0, ..SledOptions::default() }
}

/// Makes a test of each case for each backend.
macro_rules! on_every_backend {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                super::$case(crate::memory()).await;
            })*
        }
        mod sled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let (case, _folder) = crate::sled();
                super::$case(case).await;
            })*
        }
    };
}
pub(crate) use on_every_backend;
