//! Durations (`500ms`, `30s`, `1h30m`) and sizes (`32MiB`) as documents write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time in whole milliseconds; written `500ms`, `30s`, `5m`, `2h`, `7d`, or several (`1h30m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// A number of bytes; written as a number, or with `KB`, `MB`, `GB` (thousands) or `KiB`, `MiB`, `GiB` (1024s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Why a duration or a size could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("a duration is a number with a unit: `500ms`, `30s`, `5m`, `2h`, `7d` or `1h30m`")]
    Duration,
    #[error("a size is a number of bytes, or a number with a unit: `65536`, `64KiB`, `32MiB`")]
    Size,
    #[error("the number is too large")]
    TooLarge,
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// The digits at the start of `text`, the letters after them, and the rest.
fn number_and_unit(text: &str) -> (&str, &str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    (number, unit, rest)
}

impl Millis {
    pub const fn seconds(seconds: u64) -> Millis {
        Millis(seconds * 1_000)
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Millis {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut last_factor = u64::MAX;
        if rest.is_empty() {
            return Err(UnitError::Duration);
        }
        while !rest.is_empty() {
            let (number, unit, after) = number_and_unit(rest);
            if number.is_empty() {
                return Err(UnitError::Duration);
            }
            let factor = DURATION_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, factor)| *factor)
                .filter(|factor| *factor < last_factor)
                .ok_or(UnitError::Duration)?;
            last_factor = factor;
            let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
            total =
                number.checked_mul(factor).and_then(|ms| total.checked_add(ms)).ok_or(UnitError::TooLarge)?;
            rest = after;
        }
        Ok(Millis(total))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0ms");
        }
        let (unit, factor) = DURATION_UNITS
            .iter()
            .rev()
            .find(|(_, factor)| self.0.is_multiple_of(*factor))
            .copied()
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit, after) = number_and_unit(text.trim());
        // `32 MiB` reads the same as `32MiB`.
        let unit = if unit.is_empty() { after.trim_start() } else { unit };
        if number.is_empty() || (!after.is_empty() && after.trim_start() != unit) {
            return Err(UnitError::Size);
        }
        let factor = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or(UnitError::Size)?;
        let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
        number.checked_mul(factor).map(ByteSize).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS[5..]
            .iter()
            .rev()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor))
            .copied()
            .unwrap_or((" bytes", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(from)? {
            Written::Number(bytes) => Ok(ByteSize(bytes)),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_their_largest_whole_unit() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(text.parse(), Ok(Millis(ms)));
            assert_eq!(Millis(ms).to_string(), text);
        }
        assert_eq!("1h30m".parse(), Ok(Millis(5_400_000)));
        assert_eq!("0s".parse(), Ok(Millis(0)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "30 s", "5min", "1.5s", "-1s", "30m1h", "1s1s"] {
            assert!(text.parse::<Millis>().is_err(), "{text:?} was accepted");
        }
        assert_eq!("99999999999999999999s".parse::<Millis>(), Err(UnitError::TooLarge));
        assert_eq!("999999999999999999d".parse::<Millis>(), Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64KiB", 65_536),
            ("32MiB", 33_554_432),
            ("32 MiB", 33_554_432),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize(33_554_432).to_string(), "32MiB");
        assert_eq!(ByteSize(1_000).to_string(), "1000 bytes");
        for text in ["", "MiB", "1.5MiB", "32mib", "32Mi", "-1", "1 2"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text} was accepted");
        }
    }
}
