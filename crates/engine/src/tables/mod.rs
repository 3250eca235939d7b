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
/// MessagePack, structs as maps: a run's journal is most of what a run writes, and so takes half the work that its JSON
/// would. (2 is taken, see `runs::moved`.)
pub(crate) const PACKED: u8 = 3;

/// A value as it is stored.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Value, Refused> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(FORMAT);
    serde_json::to_writer(&mut bytes, value)
        .map_err(|error| Refused::Invalid(format!("a row cannot be written as JSON: {error}")))?;
    Ok(bytes.into())
}

/// The same as MessagePack.
pub(crate) fn pack<T: Serialize>(value: &T) -> Result<Value, Refused> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(PACKED);
    pack_into(&mut bytes, value)?;
    Ok(bytes.into())
}

/// Puts a part of such a value behind what is there.
pub(crate) fn pack_into<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> Result<(), Refused> {
    let mut to = rmp_serde::Serializer::new(bytes).with_struct_map().with_human_readable();
    value
        .serialize(&mut to)
        .map_err(|error| Refused::Invalid(format!("a row cannot be written as MessagePack: {error}")))
}

/// Reads what [`pack_into`] wrote.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    T::deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable())
}

/// Reads what [`encode`] or [`pack`] wrote; `key` is how errors name the row.
pub(crate) fn decode<T: DeserializeOwned>(key: &impl Display, value: &Value) -> Result<T, Refused> {
    let unreadable =
        |error: &dyn Display| Refused::Damaged(format!("the row `{key}` cannot be read: {error}"));
    match value.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|error| unreadable(&error)),
        Some((&PACKED, packed)) => unpack(packed).map_err(|error| unreadable(&error)),
        Some((format, _)) => Err(Refused::Damaged(format!(
            "the row `{key}` has format {format}; this version knows {FORMAT} and {PACKED}"
        ))),
        None => Err(Refused::Damaged(format!("the row `{key}` is empty"))),
    }
}

/// For numbers that are left out when they say nothing.
pub(crate) fn is_zero<T: Default + PartialEq>(n: &T) -> bool {
    *n == T::default()
}
