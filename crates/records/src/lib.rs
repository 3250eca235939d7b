//! Objects, fields, records, filters, indexes and views on top of the store.
