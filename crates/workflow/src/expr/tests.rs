//! What expressions promise, by example.
