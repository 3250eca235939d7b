//! The code-action host: compiles strangers' WebAssembly, runs it under limits and meters it.
//!
//! A [`Host`] loads the bytes of a module (scanned, compiled, cached) into an [`Action`] and calls
//! it: JSON text in, JSON text or a [`CallError`] out, with logs and [`Usage`]. Every call gets a
//! fresh instance without files, network, environment or arguments, on a virtual clock and seeded
//! randomness: the same bytes, input, seed and start time give the same output, logs and fuel.
//!
//! ```
//! use stepwell_sandbox::{Call, Host, HostConfig, Limits, canonical_json};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let host = Host::new(HostConfig { max_concurrent_calls: 8, ..HostConfig::default() })?;
//! // Any language that compiles to WebAssembly will do; this one prints what it is given.
//! let module = wat::parse_str(r#"(module
//!   (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
//!   (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
//!   (memory (export "memory") 1)
//!   (data (i32.const 0) "\20\00\00\00\00\10\00\00") ;; 4096 bytes at 32
//!   (func (export "_start")
//!     (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
//!     (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#)?;
//! let action = host.load(module).await?;
//!
//! let input = canonical_json(&serde_json::json!({"name": "Ada"}));
//! let limits = Limits { fuel: 1_000_000, ..Limits::default() };
//! let outcome = host.call(&action, Call::new(input).limits(limits)).await;
//! assert_eq!(outcome.result?, r#"{"name":"Ada"}"#);
//! println!("{:?} fuel, {} bytes", outcome.usage.fuel, outcome.usage.peak_memory_bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod admit;
mod brisk;
mod call;
mod clock;
pub mod config;
mod error;
mod failure;
mod guests;
mod host;
mod json;
mod limiter;
mod limits;
mod log;
mod names;
mod rng;
mod shelf;
mod sinks;
mod state;
mod stubs;
mod ticker;
mod usage;
mod wasi_p1;
mod wasi_p2;

pub use admit::{Admitted, CompileLimits, CompileStrategy, GuestKind, Metadata, Refusal};
pub use error::{CallError, ErrorSource, code};
pub use host::{Action, ActionInfo, Call, Host, HostConfig, HostError, LoadError, Outcome};
pub use json::canonical_json;
pub use limits::{Limits, LimitsPatch, parse_bytes};
pub use shelf::Shelf;
pub use usage::{LogLevel, LogLine, Usage};
