//! Counts and flags as records and trackers hold them: `3`, `3.0`, or null where nothing is known.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A count, or none. A part of one does not count.
pub fn maybe<'de, D: Deserializer<'de>>(given: D) -> Result<Option<u32>, D::Error> {
    given.deserialize_any(Count)
}

/// A count; none is 0.
pub fn count<'de, D: Deserializer<'de>>(given: D) -> Result<u32, D::Error> {
    Ok(maybe(given)?.unwrap_or_default())
}

/// True or false; none is false.
pub fn flag<'de, D: Deserializer<'de>>(given: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(given)?.unwrap_or_default())
}

struct Count;

impl Visitor<'_> for Count {
    type Value = Option<u32>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a count from 0 on")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    // What is larger than the largest count is the largest.
    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let count = u64::try_from(number);
        self.visit_u64(count.map_err(|_| E::invalid_value(Unexpected::Signed(number), &Count))?)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        if number < 0.0 {
            Err(E::invalid_value(Unexpected::Float(number), &Count))
        } else {
            Ok(Some(number as u32))
        }
    }
}
