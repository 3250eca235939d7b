//! An ordered key space with atomic, conditional batches: the one place where Stepwell keeps things.
//!
//! [`Store`] is the small interface on which everything else stands; [`Txn`] and [`transact`] make it comfortable.
//! [`MemoryStore`] is its model, for tests and the simulation, and [`Watched`] stands before one in tests;
//! [`SledStore`] keeps a data folder.
//! [`Blobs`] keeps what is too large for a row. [`keys`] documents the whole key space.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stepwell_store::Refused> {
//! use std::sync::Arc;
//! use stepwell_store::{MemoryStore, Refused, Store, WorkspaceId, keys::{KeyBuilder, Space}, transact};
//! let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
//! let key = KeyBuilder::new(Space::Counters, WorkspaceId(1)).str("visits").build();
//! let visits = transact(&store, WorkspaceId(1).shard(), |mut tx| {
//!     let key = &key;
//!     Box::pin(async move {
//!         let seen = tx.get(key).await?.map_or(0, |value| value[0]);
//!         tx.put(key.clone(), vec![seen + 1]);
//!         Ok::<_, Refused>(seen + 1)
//!     })
//! })
//! .await?;
//! assert_eq!(visits, 1);
//! # Ok(()) }
//! ```

mod blobs;
mod full;
pub mod keys;
pub mod limits;
mod lines;
mod logs;
mod memory;
mod resolver;
mod sled_store;
mod store;
mod transact;
mod txn;
mod types;
mod watched;

pub use blobs::{
    BlobId, Blobs, FileBlobs, IsNamed, MAX_BLOB_BYTES, MemoryBlobs, NotABlobId, Swept, UNNAMED_AGE,
};
pub use lines::Turn;
pub use logs::{LogError, LogPage, first_position, prune_log, read_log};
pub use memory::{Fault, MemoryStore};
pub use sled_store::{OpenError, ReadCounts, SledOptions, SledStore};
pub use store::{Store, all_rows};
pub use transact::{Attempt, Contention, transact};
pub use txn::{Savepoint, Txn};
pub use types::{Key, Log, Refused, Row, SHARDS, Shard, Stamp, Tx, Value, View, Want, WorkspaceId};
pub use watched::{Watch, Watched};
