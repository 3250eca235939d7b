//! Run ids: UUIDs of version 7, so their order is the order in which one process made them.
use crate::ports::{Clock, Random};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use uuid::Uuid;

/// A run's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// When it was made, in milliseconds.
    pub(crate) fn made_ms(&self) -> i64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        i64::from_be_bytes(bytes)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

impl RunId {
    /// The id of a run that another one starts: made of when that was, and of bytes that are the same each time.
    pub(crate) fn of_child(at: jiff::Timestamp, digest: &[u8; 32]) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&digest[..10]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Self(Uuid::from_bytes(bytes))
    }
}

/// Makes ids that only grow.
#[derive(Default)]
pub(crate) struct IdMaker {
    /// Milliseconds in the upper bits, twelve bits of a counter below them.
    last: Mutex<u64>,
}

impl IdMaker {
    pub(crate) fn next(&self, clock: &dyn Clock, random: &dyn Random) -> RunId {
        let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
        let tick = {
            let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            // More than 4,096 ids in a millisecond borrow from the next ones.
            *last = (millis << 12).max(*last + 1);
            *last
        };
        let mut bytes = [0; 16];
        random.fill(&mut bytes[8..]);
        bytes[..6].copy_from_slice(&(tick >> 12).to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&(0x7000 | (tick & 0xfff) as u16).to_be_bytes());
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        RunId(Uuid::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{SystemClock, SystemRandom};

    #[test]
    fn ids_only_grow_and_are_version_7() {
        let (maker, clock, random) = (IdMaker::default(), SystemClock::default(), SystemRandom::default());
        let ids: Vec<RunId> = (0..10_000).map(|_| maker.next(&clock, &random)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0].0.get_version_num(), 7);
        assert_eq!(ids[0].to_string().parse::<RunId>().unwrap(), ids[0]);
    }
}
