//! A store in front of another one, for tests that look at what is read, hold it up, or let it fail.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::lines::Turn;
use crate::store::Store;
use crate::types::{Key, Log, Refused, Shard, Stamp, Tx, View, Want};

/// What comes between whoever reads or writes and a store.
#[async_trait]
pub trait Watch: Send + Sync + 'static {
    /// Before a trip; what it refuses does not come to the store.
    async fn before(&self, _wants: &[Want]) -> Result<(), Refused> {
        Ok(())
    }

    /// After one that was answered.
    fn after(&self, _wants: &[Want], _view: &View) {}

    /// Before a commit; what it refuses does not come to the store.
    async fn before_commit(&self) -> Result<(), Refused> {
        Ok(())
    }
}

/// Every read and every commit goes by the watch; all the rest is the store's.
pub struct Watched<W> {
    store: Arc<dyn Store>,
    pub watch: W,
}

impl<W: Watch> Watched<W> {
    pub fn new(store: impl Store, watch: W) -> Self {
        Self { store: Arc::new(store), watch }
    }
}

#[async_trait]
impl<W: Watch> Store for Watched<W> {
    async fn read(&self, home: Shard, wants: Vec<Want>) -> Result<View, Refused> {
        self.watch.before(&wants).await?;
        let asked = wants.clone();
        let view = self.store.read(home, wants).await?;
        self.watch.after(&asked, &view);
        Ok(view)
    }

    async fn commit(&self, tx: Tx) -> Result<Stamp, Refused> {
        self.watch.before_commit().await?;
        self.store.commit(tx).await
    }

    async fn log_head(&self, log: Log) -> Result<u64, Refused> {
        self.store.log_head(log).await
    }

    async fn turn(&self, home: Shard, keys: Vec<Key>) -> Result<Turn, Refused> {
        self.store.turn(home, keys).await
    }

    fn owned(&self) -> watch::Receiver<Vec<Shard>> {
        self.store.owned()
    }

    fn hints(&self) -> broadcast::Receiver<Shard> {
        self.store.hints()
    }
}
