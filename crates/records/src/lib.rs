//! Objects, fields, records, filters, indexes and views on top of the store.
//!
//! Everything here is pure, or runs on a [`stepwell_store::Txn`] that its caller commits: no clock, no randomness, no
//! tasks of its own. [`Records`] is the handle; [`filter`] is the one filter language of the product.

mod backfill;
mod error;
mod event;
pub mod filter;
mod index;
mod nearest;
mod problems;
mod records;
mod row;
pub mod schema;
mod search;
mod size;
#[cfg(test)]
mod testing;
mod value;
mod values;
mod view;
mod write;

pub use backfill::{Backfill, BackfillPage, Built};
pub use error::{Problem, RecordsError};
pub use event::{EventJson, EventKind, Origin, Outcome, RecordEvent, WriteContext, Written, record_id};
pub use nearest::nearest;
pub use records::Records;
pub use schema::Schema;
pub use search::{DEFAULT_LIMIT, MAX_EXAMINED, MAX_LIMIT, MAX_TOTAL, Page, Query};
pub use size::json_bytes;
pub use value::{MAX_DEPTH, is_deeper, misfit};
pub use view::View;
pub use write::{Guard, Unchanged, Upsert};
