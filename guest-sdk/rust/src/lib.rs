//! Write a Stepwell action: one function from a [serde] type to a `Result` of another.
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use stepwell_action::{Failure, action};
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Order {
//!     quantity: u32,
//!     unit_price_micros: u64,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Total {
//!     total_micros: u64,
//! }
//!
//! #[action]
//! fn total(order: Order) -> Result<Total, Failure> {
//!     log::info!(quantity = order.quantity; "pricing an order");
//!     let total_micros = u64::from(order.quantity)
//!         .checked_mul(order.unit_price_micros)
//!         .ok_or_else(|| Failure::new("too_large", "the total does not fit 64 bits"))?;
//!     Ok(Total { total_micros })
//! }
//! # assert_eq!(total(Order { quantity: 2, unit_price_micros: 5 }).unwrap().total_micros, 10);
//! ```
//!
//! - **Input** is any type that implements [`serde::de::DeserializeOwned`]. JSON that does not fit it is the failure
//!   `invalid_input`, with the JSON path of the place.
//! - **The result** is `Result<Out, Failure>`, `Result<Out, E>`, or plain `Out`, where `Out`
//!   implements [`serde::Serialize`]. An `E` that converts into a [`Failure`] keeps its code; any
//!   other error that can be displayed arrives with the code `guest_error`.
//! - **Schemas** of both travel in the built module if the types derive `JsonSchema`, so that
//!   `stepwell workflow check` knows what the action takes and gives.
//! - **Logging** is by the macros of the [`log`] crate; key-value pairs become the line's fields.
//! - **A panic** ends the step with the error `panic`, its message and its place.
//!
//! An action sees nothing but its input: no files, network or environment, so that the same input gives the same
//! output. There is **no clock, sleep or randomness** either: on `wasm32-unknown-unknown`, which actions are built for,
//! [`std::thread::sleep`], [`std::time::SystemTime::now`], [`std::time::Instant::now`] and [`std::thread::spawn`] panic.
//! Take the time from the input (`now: "{{ now() }}"` in the workflow's step), and leave waiting to the workflow
//! ([`Failure::retry_after`]). The function stays an ordinary function, so `cargo test` tests it natively.

mod failure;
mod json;
mod place;

#[doc(hidden)]
#[path = "glue.rs"]
pub mod __private;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[rustfmt::skip]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
mod rt;

pub use failure::{Failure, OrFail};
pub use stepwell_action_macro::action;
pub use {log, schemars, serde, serde_json};
