//! What this crate's tests share: a store in memory, contexts with a clock of their own, one write per commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Map, Value};
use stepwell_store::{MemoryStore, Store, Txn, WorkspaceId};

use crate::event::{Origin, RecordEvent, WriteContext, Written, record_id};
use crate::records::Records;
use crate::{RecordsError, Upsert};

pub(crate) const WS: WorkspaceId = WorkspaceId(1);
pub(crate) const START: i64 = 1_780_000_000_000;

#[derive(Clone)]
pub(crate) struct Bench {
    pub store: Arc<dyn Store>,
    count: Arc<AtomicU64>,
}

pub(crate) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) fn id(written: &Written) -> String {
    written.record["id"].as_str().unwrap().to_owned()
}

/// The event of a write that changed something, as it is read from the log.
pub(crate) fn told(written: &Written) -> RecordEvent {
    serde_json::from_slice(written.event.as_ref().unwrap().as_bytes()).unwrap()
}

impl Bench {
    pub fn new() -> Bench {
        Bench::on(Arc::new(MemoryStore::new()))
    }

    pub fn on(store: Arc<dyn Store>) -> Bench {
        Bench { store, count: Arc::default() }
    }

    pub fn begin(&self) -> Txn {
        Txn::begin(self.store.clone(), WS.shard())
    }

    /// A millisecond later than the one before, with a new id.
    pub fn context(&self) -> WriteContext {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::from_millisecond(START + n as i64).unwrap();
        let mut unique = [0; 10];
        unique[2..].copy_from_slice(&n.to_be_bytes());
        let origin = Origin { by: "test".into(), ..Origin::default() };
        WriteContext { now, new_id: record_id(now, unique), origin }
    }

    /// Does something in a transaction of its own and commits.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Records<'_>) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        let mut txn = self.begin();
        let done = work(&mut Records::open(&mut txn, WS).await?).await?;
        txn.commit().await?;
        Ok(done)
    }

    pub async fn create(&self, object: &str, record: Value) -> Result<Written, RecordsError> {
        let context = self.context();
        self.run(async |records| records.create(&context, object, &map(record)).await).await
    }

    pub async fn update(&self, object: &str, id: &str, changes: Value) -> Result<Written, RecordsError> {
        let context = self.context();
        self.run(async |records| records.update(&context, object, id, &map(changes), None).await).await
    }

    pub async fn delete(&self, object: &str, id: &str) -> Result<Written, RecordsError> {
        let context = self.context();
        self.run(async |records| records.delete(&context, object, id, None).await).await
    }

    pub async fn upsert(&self, object: &str, on: &str, record: Value) -> Result<Written, RecordsError> {
        let context = self.context();
        let on = [on.to_owned()];
        let upsert = Upsert { match_on: &on, ..Upsert::default() };
        self.run(async |records| records.upsert(&context, object, &map(record), upsert).await).await
    }
}
