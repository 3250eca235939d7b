//! Calls from beginning to end, through the public API: what guests can do, what stops them, and
//! what comes back.

mod contract;
mod determinism;
mod limits;
mod scheduling;
mod support;
mod wasi;
