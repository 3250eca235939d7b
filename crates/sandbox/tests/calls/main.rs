//! Calls from beginning to end, through the public API: what guests can do, what stops them, and
//! what comes back.
#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod contract;
mod determinism;
mod limits;
mod scheduling;
mod support;
mod wasi;
