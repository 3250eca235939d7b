//! The limits of one call, their defaults, and the host-wide maxima that no call can raise.

use serde::{Deserialize, Deserializer, Serialize};

/// What one call may use. The names are spelled the same everywhere: in documents, in the API, in
/// errors and in fixtures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Fuel: about one unit an instruction, with prices of its own for what costs more.
    pub fuel: u64,
    /// All memories and tables of the call together. A number of bytes, or text as `32MiB`.
    #[serde(deserialize_with = "bytes")]
    pub memory_bytes: u64,
    /// Real time. A backstop: fuel is what bounds work.
    pub wall_ms: u64,
    /// Time that may pass on the guest's virtual clock, by sleeping.
    pub virtual_ms: u64,
    /// Size of the input.
    #[serde(deserialize_with = "bytes")]
    pub input_bytes: u64,
    /// Size of the output.
    #[serde(deserialize_with = "bytes")]
    pub output_bytes: u64,
    /// Size of all log lines together; the rest is cut and marked.
    #[serde(deserialize_with = "bytes")]
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000,
            memory_bytes: 64 << 20,
            wall_ms: 5_000,
            virtual_ms: 30_000,
            input_bytes: 8 << 20,
            output_bytes: 1 << 20,
            log_bytes: 64 << 10,
        }
    }
}

impl Limits {
    /// The host-wide maxima of [`HostConfig::default`](crate::HostConfig).
    pub const HOST_MAXIMA: Limits = Limits {
        fuel: 100_000_000_000,
        memory_bytes: 256 << 20,
        wall_ms: 60_000,
        virtual_ms: 24 * 3_600_000,
        input_bytes: 32 << 20,
        output_bytes: 16 << 20,
        log_bytes: 1 << 20,
    };

    /// Each limit, by name.
    fn each(&mut self) -> [(&'static str, &mut u64); 7] {
        [
            ("fuel", &mut self.fuel),
            ("memory_bytes", &mut self.memory_bytes),
            ("wall_ms", &mut self.wall_ms),
            ("virtual_ms", &mut self.virtual_ms),
            ("input_bytes", &mut self.input_bytes),
            ("output_bytes", &mut self.output_bytes),
            ("log_bytes", &mut self.log_bytes),
        ]
    }

    /// These limits, none of them above `maxima`: a call may only lower what the host allows.
    #[must_use]
    pub fn capped_by(mut self, mut maxima: Limits) -> Limits {
        for ((_, limit), (_, maximum)) in self.each().into_iter().zip(maxima.each()) {
            *limit = (*limit).min(*maximum);
        }
        self
    }

    /// The names, amounts and maxima of the limits that are above `maxima`, for a clear refusal
    /// where somebody writes limits down.
    pub fn above(mut self, mut maxima: Limits) -> Vec<(&'static str, u64, u64)> {
        let both = self.each().into_iter().zip(maxima.each());
        both.filter(|((_, limit), (_, maximum))| limit > maximum)
            .map(|((name, limit), (_, maximum))| (name, *limit, *maximum))
            .collect()
    }
}

/// Some of the limits: what a workflow's step, a module's metadata or a fixture writes down. What
/// is left out stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsPatch {
    /// See [`Limits::fuel`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// See [`Limits::memory_bytes`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_bytes")]
    pub memory_bytes: Option<u64>,
    /// See [`Limits::wall_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// See [`Limits::virtual_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_ms: Option<u64>,
    /// See [`Limits::input_bytes`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_bytes")]
    pub input_bytes: Option<u64>,
    /// See [`Limits::output_bytes`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_bytes")]
    pub output_bytes: Option<u64>,
    /// See [`Limits::log_bytes`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_bytes")]
    pub log_bytes: Option<u64>,
}

impl LimitsPatch {
    /// `base` with what this patch names put in its place.
    #[must_use]
    pub fn over(self, base: Limits) -> Limits {
        Limits {
            fuel: self.fuel.unwrap_or(base.fuel),
            memory_bytes: self.memory_bytes.unwrap_or(base.memory_bytes),
            wall_ms: self.wall_ms.unwrap_or(base.wall_ms),
            virtual_ms: self.virtual_ms.unwrap_or(base.virtual_ms),
            input_bytes: self.input_bytes.unwrap_or(base.input_bytes),
            output_bytes: self.output_bytes.unwrap_or(base.output_bytes),
            log_bytes: self.log_bytes.unwrap_or(base.log_bytes),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u64),
    Text(String),
}

impl Size {
    fn bytes<E: serde::de::Error>(self) -> Result<u64, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => parse_bytes(&text).ok_or_else(|| {
                E::custom(format!(
                    "\"{text}\" is not a size: write a whole number of bytes, or one with KiB, MiB \
                     or GiB, such as 32MiB"
                ))
            }),
        }
    }
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Size::deserialize(from)?.bytes()
}

fn some_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::<Size>::deserialize(from)?.map(Size::bytes).transpose()
}

/// A size as people write it: `65536`, `64KiB`, `32 MiB`, `1GiB`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read = |json: &str| serde_json::from_str::<LimitsPatch>(json);
        let patch = read(r#"{"memory_bytes": "32MiB", "output_bytes": 5, "fuel": 7}"#).unwrap();
        assert_eq!(patch.memory_bytes, Some(32 << 20));
        let limits = patch.over(Limits::default());
        assert_eq!((limits.output_bytes, limits.fuel, limits.wall_ms), (5, 7, 5_000));

        let wrong = read(r#"{"memory_bytes": "32 megs"}"#).unwrap_err().to_string();
        assert!(wrong.contains("\"32 megs\" is not a size"), "{wrong}");
        assert!(read(r#"{"memory": 5}"#).unwrap_err().to_string().contains("unknown field"));
        assert_eq!(parse_bytes("99999999999GiB"), None);
        assert_eq!(parse_bytes("-1"), None);
    }

    #[test]
    fn a_call_only_lowers_the_hosts_maxima() {
        let asked = Limits { fuel: u64::MAX, wall_ms: 1, ..Limits::default() };
        let capped = asked.capped_by(Limits::HOST_MAXIMA);
        assert_eq!(capped.fuel, Limits::HOST_MAXIMA.fuel);
        assert_eq!(capped.wall_ms, 1);
        let above = asked.above(Limits::HOST_MAXIMA);
        assert_eq!(above, [("fuel", u64::MAX, Limits::HOST_MAXIMA.fuel)]);
    }
}
