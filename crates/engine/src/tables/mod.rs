//! The rows the engine keeps: a file a table, with the codec of its keys and values beside it.
pub(crate) mod connections;
pub(crate) mod deliveries;
pub(crate) mod dispatch;
pub(crate) mod hooks;
pub(crate) mod inbox;
pub(crate) mod items;
pub(crate) mod mailbox;
pub(crate) mod names;
pub(crate) mod places;
pub(crate) mod registry;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod timers;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use stepwell_store::{Refused, Value};

/// The first byte of every value: how the rest is written. 1 is JSON.
pub(crate) const FORMAT: u8 = 1;

/// A value as it is stored.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Value, Refused> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(FORMAT);
    serde_json::to_writer(&mut bytes, value)
        .map_err(|error| Refused::Invalid(format!("a row cannot be written as JSON: {error}")))?;
    Ok(bytes.into())
}

/// Reads what [`encode`] wrote; `key` is how errors name the row.
pub(crate) fn decode<T: DeserializeOwned>(key: &impl Display, value: &Value) -> Result<T, Refused> {
    match value.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json)
            .map_err(|error| Refused::Damaged(format!("the row `{key}` cannot be read: {error}"))),
        Some((format, _)) => {
            Err(Refused::Damaged(format!("the row `{key}` has format {format}; this version knows {FORMAT}")))
        }
        None => Err(Refused::Damaged(format!("the row `{key}` is empty"))),
    }
}

/// For numbers that are left out when they say nothing.
pub(crate) fn is_zero<T: Default + PartialEq>(n: &T) -> bool {
    *n == T::default()
}
