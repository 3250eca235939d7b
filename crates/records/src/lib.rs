//! Objects, fields, records, filters, indexes and views on top of the store.

pub mod filter;
mod nearest;

pub use nearest::nearest;
