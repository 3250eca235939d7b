//! `fixtures/accepted.toml`: the fuel and memory of each case that somebody accepted, and how far
//! they may grow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stepwell_sandbox::Usage;

use crate::HarnessError;

/// Memory comes in pages: one more is no growth yet.
const PAGE: u64 = 64 << 10;

/// What was accepted of a case: the same module gives the same numbers on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Missing where a call ended in a way that leaves fuel unspecified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    pub peak_memory_bytes: u64,
}

/// How far usage may grow before a case fails; `[test]` in `action.toml`. Another compiler gives
/// slightly other numbers, so nothing at all is too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerance {
    pub fuel_tolerance_percent: u64,
    pub memory_tolerance_percent: u64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { fuel_tolerance_percent: 10, memory_tolerance_percent: 10 }
    }
}

impl Tolerance {
    /// What grew too far, in words.
    pub(crate) fn exceeded(self, accepted: Accepted, usage: &Usage) -> Vec<String> {
        let percent = |number: u64, percent: u64| (u128::from(number) * u128::from(percent) / 100) as u64;
        let fuel = accepted.fuel.zip(usage.fuel).map(|(before, now)| {
            ("fuel", before, now, before.saturating_add(percent(before, self.fuel_tolerance_percent)))
        });
        let before = accepted.peak_memory_bytes;
        let slack = percent(before, self.memory_tolerance_percent).max(PAGE);
        let memory = ("peak memory", before, usage.peak_memory_bytes, before.saturating_add(slack));
        fuel.into_iter()
            .chain([memory])
            .filter(|(_, _, now, most)| now > most)
            .map(|(what, before, now, most)| {
                format!("{what} grew from {before} to {now}, above the {most} tolerated; --accept takes it as it is")
            })
            .collect()
    }
}

pub(crate) type Numbers = BTreeMap<String, Accepted>;

fn path(folder: &Path) -> PathBuf {
    folder.join("fixtures/accepted.toml")
}

pub(crate) fn read(folder: &Path) -> Result<Numbers, HarnessError> {
    let path = path(folder);
    if !path.exists() {
        return Ok(Numbers::new());
    }
    let text = std::fs::read_to_string(&path).map_err(HarnessError::io(&path))?;
    toml::from_str(&text).map_err(|e| HarnessError::file(&path, e.to_string().trim_end()))
}

pub(crate) fn write(folder: &Path, numbers: &Numbers) -> Result<(), HarnessError> {
    let path = path(folder);
    let numbers = toml::to_string(numbers).map_err(|e| HarnessError::file(&path, e))?;
    let text = format!("# Written by `stepwell action test --accept`.\n\n{numbers}");
    std::fs::write(&path, text).map_err(HarnessError::io(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_may_grow_by_a_tenth_and_a_page() {
        let accepted = Accepted { fuel: Some(1_000), peak_memory_bytes: 100_000 };
        let usage = |fuel, peak_memory_bytes| Usage { fuel, peak_memory_bytes, ..Usage::default() };
        let exceeded = |fuel, memory| Tolerance::default().exceeded(accepted, &usage(fuel, memory));
        assert_eq!(exceeded(Some(1_100), 100_000 + PAGE), Vec::<String>::new());
        assert_eq!(exceeded(None, 0), Vec::<String>::new());
        insta::assert_snapshot!(exceeded(Some(1_101), 200_000).join("\n"), @r"
        fuel grew from 1000 to 1101, above the 1100 tolerated; --accept takes it as it is
        peak memory grew from 100000 to 200000, above the 165536 tolerated; --accept takes it as it is
        ");
        let strict = Tolerance { fuel_tolerance_percent: 0, memory_tolerance_percent: 0 };
        assert_eq!(strict.exceeded(accepted, &usage(Some(1_001), 0)).len(), 1);
    }
}
