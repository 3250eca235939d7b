//! Calls from beginning to end, through the public API: what guests can do, what stops them, and
//! what comes back.

mod contract;
mod limits;
mod support;
