//! Runs: journal, scheduler, triggers and step executors over store, records, sandbox and workflow.
//!
//! [`Engine::open`] takes an [`EngineConfig`] and [`Ports`]; everything else hangs off the [`Workspace`] handle.
//!
//! How it works, in the order of reading: [`mod@start`] puts a run on disk; [`mod@driver`] drives it, burst after
//! burst; [`mod@burst`] is the one mechanism that makes a run go forward and commits; [`mod@calls`] are what takes
//! time between bursts; [`mod@schedule`], [`mod@timers`] and [`mod@open`] decide who is driven when, and recover
//! that after a restart; [`mod@children`] are the runs that runs start; [`mod@concurrency`] lets so many runs of a key be under way; [`mod@history`] folds the journal for people; [`mod@retention`] removes what is over.
#![allow(rustdoc::private_intra_doc_links)]

mod abandon;
mod api;
mod begin;
mod blobs;
mod bulk;
mod burst;
mod calls;
mod children;
mod concurrency;
mod config;
mod connections;
mod core;
mod deadlock;
mod driver;
mod dry;
mod error;
/// Expressions tried by hand.
pub mod eval;
mod events;
mod feed;
mod hash;
mod history;
mod hooks;
mod id;
mod indexer;
mod inputs;
mod items;
mod journal;
mod keys;
mod load;
mod manual;
mod open;
pub mod outside;
mod pace;
pub mod ports;
mod records;
mod registry;
mod requests;
mod resume;
mod retention;
mod schedule;
mod schemas;
mod secrets;
mod settings;
mod start;
mod state;
mod stats;
mod steps;
mod tables;
mod timers;
mod timetables;
mod views;
mod waiters;
mod wakes;
pub mod weight;

pub use api::*;
pub use config::{BurstLimits, EngineConfig, Retention};
pub use error::{EngineError, ErrorKind, OpenError, Problem, innermost};
pub use keys::reset_admin;
pub use ports::Ports;
pub use secrets::forget_secrets;
