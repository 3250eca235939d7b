//! Blobs in memory, for tests and the simulation. Time passes only when told to.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobId, Blobs, IsNamed, Swept, check_size};
use crate::types::Refused;

/// Blobs in memory. A clone is another handle on the same blobs.
#[derive(Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    now: Duration,
    blobs: BTreeMap<BlobId, (Bytes, Duration)>,
}

impl MemoryBlobs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass, for the sweep.
    pub fn advance(&self, by: Duration) {
        self.lock().now += by;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of a blob that is old enough for the sweep.
    fn old(&self, id: BlobId, age: Duration) -> Option<u64> {
        let inner = self.lock();
        let (bytes, put) = inner.blobs.get(&id)?;
        (*put + age < inner.now).then_some(bytes.len() as u64)
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, bytes: Bytes) -> Result<BlobId, Refused> {
        check_size(&bytes)?;
        let id = BlobId::of(&bytes);
        let mut inner = self.lock();
        let now = inner.now;
        inner.blobs.insert(id, (bytes, now));
        Ok(id)
    }

    async fn get(&self, id: BlobId) -> Result<Option<Bytes>, Refused> {
        Ok(self.lock().blobs.get(&id).map(|(bytes, _)| bytes.clone()))
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, Refused> {
        Ok(self.lock().blobs.get(&id).map(|(bytes, _)| bytes.len() as u64))
    }

    async fn sweep(&self, age: Duration, is_named: &IsNamed<'_>) -> Result<Swept, Refused> {
        let mut swept = Swept::default();
        let ids: Vec<BlobId> = self.lock().blobs.keys().copied().collect();
        for id in ids {
            // Asked again after the wait: it may have been put meanwhile.
            if self.old(id, age).is_some()
                && !is_named(id).await?
                && let Some(bytes) = self.old(id, age)
            {
                self.lock().blobs.remove(&id);
                swept.blobs += 1;
                swept.bytes += bytes;
            } else {
                swept.kept += 1;
            }
        }
        Ok(swept)
    }
}
