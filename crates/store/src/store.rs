//! The interface that every backend offers.
use std::ops::Range;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::lines::Turn;
use crate::types::{Key, Log, Refused, Row, Shard, Stamp, Tx, View, Want};

/// An ordered key space with atomic, conditional batches.
///
/// Promised: a commit is all or nothing, durable when it answers, and refused if a range that it rests on was
/// written since that range's stamp, so committed transactions of a shard behave as if each had run alone, in
/// the order of their stamps. Not promised: a snapshot across reads before the commit validates them, an order
/// across shards.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads many wants in one trip, all within the shard `home`.
    async fn read(&self, home: Shard, wants: Vec<Want>) -> Result<View, Refused>;

    /// Writes all of it or nothing; durable when it answers. A backend that does not know whether it wrote finds
    /// out before it answers, or ends the process. Dropping the future neither undoes nor stops a commit.
    async fn commit(&self, tx: Tx) -> Result<Stamp, Refused>;

    /// The next position of a log: everything before it is durable and readable. Positions begin at 1.
    async fn log_head(&self, log: Log) -> Result<u64, Refused>;

    /// Waits in line for each of these keys, first come, first served, and holds them until the turn is dropped.
    /// It excludes only others who ask for a turn: retries stand in line so that a hot key does not starve them.
    async fn turn(&self, home: Shard, keys: Vec<Key>) -> Result<Turn, Refused>;

    /// The shards that this node owns. An embedded store owns all of them, for ever.
    fn owned(&self) -> watch::Receiver<Vec<Shard>>;

    /// Something new in a shard. May be late, doubled or lost: whoever listens also looks now and then.
    fn hints(&self) -> broadcast::Receiver<Shard>;
}

/// Every row of a range, read in pages.
pub async fn all_rows(store: &dyn Store, shard: Shard, mut keys: Range<Key>) -> Result<Vec<Row>, Refused> {
    const PAGE: usize = 500;
    let mut all = Vec::new();
    loop {
        let view = store.read(shard, vec![Want::range(keys.clone(), PAGE)]).await?;
        let rows: Vec<Row> = view.rows.into_iter().flatten().collect();
        let full = rows.len() == PAGE;
        if let Some((last, _)) = rows.last() {
            keys.start = last.successor();
        }
        all.extend(rows);
        if !full {
            return Ok(all);
        }
    }
}
